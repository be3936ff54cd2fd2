//! Texts as vectors: what a model's answer is, and what `demo/scripted` makes of a text.

use super::{Tokens, scripted};

/// How many numbers `demo/scripted` makes of a text.
const LENGTH: usize = 4_096;

/// Texts as vectors: those of texts that mean the like have a small angle.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One for each text, in their order, all of the same length, of finite numbers.
    pub vectors: Vec<Vec<f32>>,
    /// What it used; `None` when the provider did not say.
    pub tokens: Option<Tokens>,
}

impl Embedded {
    /// The answer for so many texts, if it is one.
    pub(super) fn checked(vectors: Vec<Vec<f32>>, tokens: Option<Tokens>, texts: usize) -> Option<Self> {
        let length = vectors.first().map_or(0, Vec::len);
        let alike =
            vectors.iter().all(|vector| vector.len() == length && vector.iter().all(|number| number.is_finite()));
        (vectors.len() == texts && (texts == 0 || length > 0) && alike).then_some(Self { vectors, tokens })
    }
}

/// The texts as `demo/scripted` has them. It knows no meaning: a vector counts the words of its text, in small letters, each at the place
/// that its FNV-1a hash has among 4,096, and has the length 1. So texts are alike as far as they have the same words. A text without any has
/// the empty one.
pub(super) fn scripted(texts: &[String]) -> Embedded {
    let bytes = texts.iter().map(String::len).fold(0, usize::saturating_add);
    let tokens = Tokens { input: scripted::tokens(bytes), ..Tokens::default() };
    Embedded { vectors: texts.iter().map(|text| words(text)).collect(), tokens: Some(tokens) }
}

fn words(text: &str) -> Vec<f32> {
    let mut counts = vec![0_f32; LENGTH];
    let text = text.to_lowercase();
    let mut words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        words.push("");
    }
    for word in words {
        let place = usize::try_from(scripted::hash(word) % LENGTH as u64).unwrap_or_default();
        if let Some(count) = counts.get_mut(place) {
            *count += 1.0;
        }
    }
    let length = counts.iter().map(|count| count * count).sum::<f32>().sqrt();
    counts.iter_mut().for_each(|count| *count /= length);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(one: &str, other: &str) -> f32 {
        let both = scripted(&[one.to_owned(), other.to_owned()]);
        both.vectors[0].iter().zip(&both.vectors[1]).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn texts_of_the_same_words_are_alike() {
        assert!((likeness("The weather in Oslo", "Oslo: the WEATHER, in!") - 1.0).abs() < 1e-5);
        let (some, none) = (likeness("rain in Oslo", "rain in Rome"), likeness("rain in Oslo", "a cheap flight"));
        assert!(some > 0.5 && some < 0.9 && none < 0.1, "{some} {none}");
        assert!((likeness("", "—") - 1.0).abs() < 1e-5);
        let said = scripted(&["abcde".to_owned()]);
        assert_eq!((said.vectors[0].len(), said.tokens.unwrap().input), (LENGTH, 2));
    }

    #[test]
    fn an_answer_has_a_vector_for_each_text() {
        let checked =
            |vectors: &[&[f32]], texts| Embedded::checked(vectors.iter().map(|v| v.to_vec()).collect(), None, texts);
        assert!(checked(&[&[1.0, 0.0], &[0.0, 1.0]], 2).is_some() && checked(&[], 0).is_some());
        for (vectors, texts) in
            [(&[&[1.0_f32][..]][..], 2), (&[&[1.0], &[1.0, 2.0]], 2), (&[&[]], 1), (&[&[f32::NAN]], 1), (&[&[1.0]], 0)]
        {
            assert!(checked(vectors, texts).is_none(), "{vectors:?}");
        }
    }
}
