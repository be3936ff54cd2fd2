//! Embeddings in OpenAI's format: vectors that count the words of a text, so that texts of the same words have the same.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::hash_of;

/// How many numbers a vector has.
const LENGTH: u64 = 64;

/// What is asked.
#[derive(Deserialize)]
pub(crate) struct Asked {
    pub(crate) model: String,
    input: Input,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

impl Asked {
    fn texts(&self) -> Vec<&str> {
        match &self.input {
            Input::One(text) => vec![text],
            Input::Many(texts) => texts.iter().map(String::as_str).collect(),
        }
    }

    /// The tokens of the texts: a quarter of their bytes.
    pub(crate) fn tokens(&self) -> u64 {
        self.texts().iter().map(|text| text.len() as u64).sum::<u64>().div_ceil(4)
    }

    /// The answer: the last text's vector first, as each says which it is.
    pub(crate) fn answer(&self) -> Value {
        let one =
            |(index, text): (usize, &&str)| json!({"object": "embedding", "index": index, "embedding": vector(text)});
        let data: Vec<Value> = self.texts().iter().enumerate().map(one).rev().collect();
        let usage = json!({"prompt_tokens": self.tokens(), "total_tokens": self.tokens()});
        json!({"object": "list", "data": data, "model": self.model, "usage": usage})
    }
}

fn vector(text: &str) -> Vec<u64> {
    let mut counts = vec![0; LENGTH as usize];
    text.split_whitespace().for_each(|word| counts[(hash_of(word) % LENGTH) as usize] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_make_the_same_vector() {
        let asked = |input: Value| serde_json::from_value::<Asked>(json!({"model": "fake", "input": input})).unwrap();
        let answer = asked(json!(["a b", "b a", "c"])).answer();
        let vectors: Vec<&Value> = answer["data"].as_array().unwrap().iter().map(|one| &one["embedding"]).collect();
        assert_eq!((&answer["data"][0]["index"], vectors[1]), (&json!(2), vectors[2]));
        assert_ne!(vectors[0], vectors[1]);
        assert_eq!(asked(json!("a b")).answer()["data"][0]["embedding"], *vectors[1]);
    }
}
