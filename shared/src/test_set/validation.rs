//! Validations: what must hold of a run's answer for a case to be passed. Checked when they are stored, so that each can be tried later.

use std::ops::RangeInclusive;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{error::Problem, tool::schema};

/// The longest pattern, in bytes.
pub const PATTERN_LIMIT_BYTES: usize = 2_000;
/// The longest name of a tool that may be asked for, in bytes.
const TOOL_NAME_LIMIT_BYTES: usize = 256;
/// The least score with which a judge lets an answer pass.
pub const PASSING_SCORE: u8 = 7;
/// The scores that a judge may give.
pub const SCORES: RangeInclusive<u8> = 1..=10;
/// The longest criteria of a judge, in bytes.
pub const CRITERIA_LIMIT_BYTES: usize = 10_000;
/// The longest sentence that an answer is compared with, in bytes: what models of embeddings take with certainty.
pub const SENTENCE_LIMIT_BYTES: usize = 8_000;
/// The longest id of a validation, in characters.
const ID_CHARS: usize = 64;
/// The largest compiled pattern, in bytes.
const COMPILED_LIMIT_BYTES: usize = 256 * 1024;

/// What must hold, under the caller's own id of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The caller's own id of it: 1 to 64 characters.
    pub id: Option<String>,
    /// What must hold.
    pub kind: Kind,
}

/// What must hold of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The answer is this text, but for white space at its ends; or, when this is no string, it is this value as JSON, in a
    /// code fence or not: numbers as they are written, so that 1 is not 1.0.
    Exact {
        /// The text or the value.
        expected: Value,
    },
    /// The pattern matches somewhere in the answer.
    ContentMatch {
        /// A regular expression of the `regex` crate: matched in linear time, so without look-around and back-references.
        pattern: String,
    },
    /// The answer is JSON, in a code fence or not, that satisfies the schema.
    JsonSchema {
        /// A JSON Schema (2020-12).
        schema: Value,
    },
    /// A model of the run asked for a call of the tool.
    ToolCall {
        /// The tool.
        tool_name: String,
        /// What must be among the call's arguments, each name with an equal value: any arguments unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<Map<String, Value>>,
    },
    /// A judge scores the answer by these criteria from 1 to 10, and gives at least [`PASSING_SCORE`].
    LlmV0 {
        /// What the judge scores by: at most [`CRITERIA_LIMIT_BYTES`].
        llm_criteria: String,
        /// The model that judges; the deployment's judge unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model_reference: Option<String>,
    },
    /// The answer means much the same as the sentence: the cosine similarity of their embeddings is at least the threshold.
    SemanticSimilarity {
        /// What the answer is compared with: at most [`SENTENCE_LIMIT_BYTES`].
        sentence: String,
        /// The least similarity, 0 to 1.
        threshold: f64,
        /// The model that makes the embeddings; the deployment's unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
}

impl Kind {
    /// Whether a model decides it: a judge, or one that makes embeddings.
    pub(crate) const fn asks_model(&self) -> bool {
        matches!(self, Self::LlmV0 { .. } | Self::SemanticSimilarity { .. })
    }

    /// The model that it names for that, with the name of the field.
    pub(crate) fn names_model(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::LlmV0 { model_reference, .. } => Some(("model_reference", model_reference.as_deref()?)),
            Self::SemanticSimilarity { model, .. } => Some(("model", model.as_deref()?)),
            Self::Exact { .. } | Self::ContentMatch { .. } | Self::JsonSchema { .. } | Self::ToolCall { .. } => None,
        }
    }
}

impl Validation {
    /// What is wrong with it; `at` stands before the names of fields.
    pub(crate) fn problem(&self, at: &str) -> Option<Problem> {
        let problem = |field: &str, message: String| Some(Problem { field: format!("{at}.{field}"), message });
        if self.id.as_ref().is_some_and(|id| id.is_empty() || id.chars().count() > ID_CHARS) {
            return problem("id", format!("must be 1 to {ID_CHARS} characters long"));
        }
        let text = |field: &str, text: &str, most: usize| match text.trim() {
            "" => problem(field, "must not be empty".to_owned()),
            _ if text.len() > most => problem(field, format!("must be at most {most} bytes long")),
            _ => None,
        };
        match &self.kind {
            Kind::Exact { .. } => None,
            Kind::ContentMatch { pattern } => compiled(pattern).err().and_then(|message| problem("pattern", message)),
            Kind::JsonSchema { schema } => {
                schema::check_output(schema).err().and_then(|message| problem("schema", message))
            }
            Kind::ToolCall { tool_name, .. } if !(1..=TOOL_NAME_LIMIT_BYTES).contains(&tool_name.len()) => {
                problem("tool_name", format!("must be 1 to {TOOL_NAME_LIMIT_BYTES} bytes long"))
            }
            Kind::ToolCall { .. } => None,
            Kind::LlmV0 { llm_criteria, .. } => text("llm_criteria", llm_criteria, CRITERIA_LIMIT_BYTES),
            Kind::SemanticSimilarity { threshold, .. } if !(0.0..=1.0).contains(threshold) => {
                problem("threshold", "must be from 0 to 1".to_owned())
            }
            Kind::SemanticSimilarity { sentence, .. } => text("sentence", sentence, SENTENCE_LIMIT_BYTES),
        }
    }
}

/// The pattern, ready to be matched.
///
/// # Errors
/// Why it cannot be, for its author.
pub(crate) fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_LIMIT_BYTES {
        return Err(format!("must be at most {PATTERN_LIMIT_BYTES} bytes long"));
    }
    let built =
        RegexBuilder::new(pattern).size_limit(COMPILED_LIMIT_BYTES).dfa_size_limit(COMPILED_LIMIT_BYTES).build();
    built.map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return format!("is larger than {COMPILED_LIMIT_BYTES} bytes when compiled");
        }
        // Its last line says what is wrong; the lines before show where.
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default();
        format!("is no regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_tried_is_refused_with_its_field() {
        let content = |pattern: &str| json!({"content_match": {"pattern": pattern}});
        let judge = |criteria: &str| json!({"llm_v0": {"llm_criteria": criteria}});
        let similar = |sentence: &str, threshold: f64| json!({"semantic_similarity": {"sentence": sentence, "threshold": threshold}});
        let huge = "(a{1000}){1000}".to_owned();
        for (kind, expected) in [
            (json!({"exact": {"expected": null}}), ""),
            (content("^Oslo( |$)"), ""),
            (content("("), "v.pattern: is no regular expression: unclosed group"),
            (content("(?=a)"), "v.pattern: is no regular expression: look-around, including look-ahead"),
            (content(&huge), "v.pattern: is larger than 262144 bytes when compiled"),
            (content(&"a".repeat(2_001)), "v.pattern: must be at most 2000 bytes long"),
            (json!({"json_schema": {"schema": {"type": "string"}}}), ""),
            (json!({"json_schema": {"schema": {"type": 5}}}), "v.schema: "),
            (json!({"tool_call": {"tool_name": "add"}}), ""),
            (json!({"tool_call": {"tool_name": ""}}), "v.tool_name: must be 1 to 256 bytes long"),
            (judge("a"), ""),
            (judge(" \n"), "v.llm_criteria: must not be empty"),
            (judge(&"a".repeat(10_001)), "v.llm_criteria: must be at most 10000 bytes long"),
            (similar("a", 0.0), ""),
            (similar("a", 1.0), ""),
            (similar("a", 1.01), "v.threshold: must be from 0 to 1"),
            (similar("a", -0.1), "v.threshold: must be from 0 to 1"),
            (similar("", 0.5), "v.sentence: must not be empty"),
            (similar(&"a".repeat(8_001), 0.5), "v.sentence: must be at most 8000 bytes long"),
        ] {
            let validation = Validation { id: None, kind: serde_json::from_value(kind.clone()).unwrap() };
            let said = validation.problem("v").map(|problem| format!("{}: {}", problem.field, problem.message));
            let said = said.unwrap_or_default();
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{kind}: {said}");
        }
        let unnamed = Validation { id: Some(String::new()), kind: Kind::Exact { expected: json!(1) } };
        assert_eq!(unnamed.problem("v").unwrap().field, "v.id");
    }
}
