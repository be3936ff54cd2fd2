//! What is answered: text or tool calls that depend only on the request.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::{format::Call, judge, script, spec::Spec};

/// A tool call: id, name, arguments as JSON.
pub(crate) type ToolCall = (String, String, String);

pub(crate) enum Said {
    Text(String),
    ToolCalls(Vec<ToolCall>),
}

/// Why the answer ends.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

/// An answer, before it is put in a format.
pub(crate) struct Answer {
    pub(crate) said: Said,
    pub(crate) finish: Finish,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) completion_tokens: u64,
}

const WORDS: [&str; 8] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];

/// The same text hashes alike in every process: `DefaultHasher::new()` has fixed keys.
pub(crate) fn hash_of(text: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Answer {
    /// Of a request with that hash; a prompt's tokens are a quarter of its body's bytes. `truncated` tells whether arguments of
    /// calls end half-way.
    pub(crate) fn to(call: &Call, spec: &Spec, hash: u64, body_bytes: usize, truncated: bool) -> Answer {
        let prompt_tokens = (body_bytes as u64 / 4).max(1);
        let cached_tokens = spec.cached.min(prompt_tokens);
        let calls = calls_due(call, spec, hash);
        let (said, finish, completion_tokens) = if calls.is_empty() {
            let words = call.max_tokens.map_or(spec.words, |most| spec.words.min(most));
            let finish = if words < spec.words { Finish::Length } else { Finish::Stop };
            let told = || script::said(&call.prompt).or_else(|| script::said(&call.system)).map(str::to_owned);
            let verdict = spec.judges.then(|| judge::verdict(&call.prompt)).flatten();
            let text = verdict.or_else(told).unwrap_or_else(|| text(words, hash));
            (Said::Text(text), finish, words as u64)
        } else {
            let tokens = 12 * calls.len() as u64;
            let finish = if truncated { Finish::Length } else { Finish::ToolCalls };
            (Said::ToolCalls(if truncated { cut(calls) } else { calls }), finish, tokens)
        };
        let finish = if spec.says_stop { Finish::Stop } else { finish };
        Answer { said, finish, prompt_tokens, cached_tokens, completion_tokens }
    }

    /// The same, billed as high as a provider can: a token for each byte of text in the request, and the most tokens of the answer.
    pub(crate) fn billed_the_most(mut self, call: &Call, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        self.prompt_tokens = TEXTS.into_iter().map(|key| text_bytes(&body[key])).sum();
        self.completion_tokens = call.max_tokens.unwrap_or(self.completion_tokens as usize) as u64;
        self
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.said {
            Said::Text(text) => Some(text),
            Said::ToolCalls(_) => None,
        }
    }
}

/// Where the texts of a request are, in some format.
const TEXTS: [&str; 4] = ["system", "messages", "tools", "response_format"];

/// How many bytes the texts have, without names of fields and what they are about.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "role" | "type"))
            .map(|(_, value)| text_bytes(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn text(words: usize, hash: u64) -> String {
    let mut text = if words == 0 { String::new() } else { format!("fake-{hash:016x}") };
    for i in 1..words {
        text.push(' ');
        text.push_str(WORDS[(hash.rotate_left(i as u32 * 3) & 7) as usize]);
    }
    text
}

/// What the prompt tells to call in this round; otherwise what the model's name does.
fn calls_due(call: &Call, spec: &Spec, hash: u64) -> Vec<ToolCall> {
    if call.tools.is_empty() {
        return Vec::new();
    }
    let rounds = script::rounds(&call.prompt, &call.tools);
    if rounds.is_empty() {
        let due = call.tool_rounds_done < spec.tool_rounds;
        return if due { tool_calls(&call.tools, spec.parallel, hash) } else { Vec::new() };
    }
    let due = rounds.into_iter().nth(call.tool_rounds_done).unwrap_or_default();
    (0_usize..).zip(due).map(|(i, (name, arguments))| (format!("call_{hash:016x}_{i}"), name, arguments)).collect()
}

/// The calls with the arguments of the last one ending half-way.
fn cut(mut calls: Vec<ToolCall>) -> Vec<ToolCall> {
    if let Some((_, _, arguments)) = calls.last_mut() {
        arguments.truncate(arguments.floor_char_boundary(arguments.len() / 2));
    }
    calls
}

fn tool_calls(tools: &[(String, Value)], parallel: usize, hash: u64) -> Vec<ToolCall> {
    (0..parallel)
        .map(|i| {
            let (name, schema) = &tools[i % tools.len()];
            (format!("call_{hash:016x}_{i}"), name.clone(), example_arguments(schema).to_string())
        })
        .collect()
}

/// Arguments that satisfy a tool's schema: each required property with a value of its type.
fn example_arguments(schema: &Value) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some("object") | None => {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let example = |name: &str| (name.to_owned(), example_arguments(&schema["properties"][name]));
            Value::Object(required.filter_map(Value::as_str).map(example).collect::<Map<_, _>>())
        }
        Some("integer") => json!(7),
        Some("number") => json!(7.5),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        Some(_) => schema.pointer("/enum/0").cloned().unwrap_or_else(|| json!("example")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, InPath};

    fn answer(model: &str, rest: &str) -> Answer {
        let body = format!(r#"{{"model":"{model}",{rest}}}"#);
        let call = Format::OpenAi.parse(InPath::default(), body.as_bytes()).unwrap();
        Answer::to(&call, &Spec::parse(&call.model, 0), hash_of(body.as_str()), body.len(), false)
    }

    const TOOLS: &str = r#""tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object",
        "properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"]}}}]"#;

    #[test]
    fn the_same_request_has_the_same_answer() {
        let said = || answer("fake", r#""messages":[{"role":"user","content":"hi"}]"#);
        assert_eq!(said().text(), said().text());
        assert_eq!(said().text().unwrap().split(' ').count(), 12);
    }

    #[test]
    fn tool_rounds_are_counted_from_the_last_user_message() {
        let first = answer("fake-t1", &format!(r#""messages":[{{"role":"user","content":"hi"}}],{TOOLS}"#));
        let Said::ToolCalls(calls) = first.said else { panic!("a tool call was due") };
        assert_eq!((calls[0].1.as_str(), calls[0].2.as_str()), ("add", r#"{"a":7}"#));
        let second = answer(
            "fake-t1",
            &format!(
                r#""messages":[{{"role":"user","content":"hi"}},
                {{"role":"assistant","content":null,"tool_calls":[]}},{{"role":"tool","content":"3"}}],{TOOLS}"#
            ),
        );
        assert!(second.text().is_some());
    }

    #[test]
    fn an_answer_is_cut_at_the_most_tokens() {
        let cut = answer("fake-o10", r#""messages":[],"max_tokens":3"#);
        assert!(cut.finish == Finish::Length && cut.completion_tokens == 3);
        assert_eq!(cut.text().unwrap().split(' ').count(), 3);
    }
}
