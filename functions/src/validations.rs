//! Validations of test cases as bodies have them: the same on every surface that has test sets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::test_set::Kind;

use crate::model_ref::ModelRef;

/// What must hold of an answer: exactly one of these, by name.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum KindView {
    /// The answer is this text, but for white space at its ends; or, when it is no string, this value as JSON, with numbers as they
    /// are written: 1 is not 1.0.
    Exact {
        /// The text or the value.
        expected: Value,
    },
    /// The pattern matches somewhere in the answer.
    ContentMatch {
        /// A regular expression that is matched in linear time: without look-around and back-references. At most 2,000 bytes.
        pattern: String,
    },
    /// The answer is JSON, in a code fence or not, that satisfies the schema.
    JsonSchema {
        /// A JSON Schema (2020-12) of a value of any type.
        schema: Value,
    },
    /// A model of the run asked for a call of the tool.
    ToolCall {
        #[schemars(length(min = 1, max = 256))]
        tool_name: String,
        /// What must be among the call's arguments, each name with an equal value: any arguments unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<Map<String, Value>>,
    },
    /// A model judges the answer: it gives at least 7 of 10.
    LlmV0 { llm0: JudgeView },
    /// The answer means much the same as the sentence: the cosine similarity of their embeddings is at least the threshold.
    SemanticSimilarity {
        /// At most 8,000 bytes.
        #[schemars(length(min = 1, max = 8_000))]
        sentence: String,
        #[schemars(range(min = 0.0, max = 1.0))]
        threshold: f64,
        /// The model that makes the embeddings: the deployment's, `MUSTER_EMBEDDING_MODEL`, unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model_reference: Option<ModelRef>,
    },
}

/// Who judges by what.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JudgeView {
    /// What the judge scores the answer by, from 1 to 10. At most 10,000 bytes.
    #[schemars(length(min = 1, max = 10_000))]
    llm_criteria: String,
    /// The model that judges: the deployment's judge unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_reference: Option<ModelRef>,
}

/// Where a kind's body has a field of the core's.
pub(crate) fn path(field: &str) -> Option<&'static str> {
    Some(match field {
        "pattern" => "pattern",
        "schema" => "schema",
        "tool_name" => "tool_name",
        "llm_criteria" => "llm0.llm_criteria",
        "model_reference" => "llm0.model_reference",
        "sentence" => "sentence",
        "threshold" => "threshold",
        "model" => "model_reference",
        _ => return None,
    })
}

impl From<KindView> for Kind {
    fn from(view: KindView) -> Self {
        match view {
            KindView::Exact { expected } => Self::Exact { expected },
            KindView::ContentMatch { pattern } => Self::ContentMatch { pattern },
            KindView::JsonSchema { schema } => Self::JsonSchema { schema },
            KindView::ToolCall { tool_name, arguments } => Self::ToolCall { tool_name, arguments },
            KindView::LlmV0 { llm0: JudgeView { llm_criteria, model_reference } } => {
                Self::LlmV0 { llm_criteria, model_reference: model_reference.map(|model| model.name()) }
            }
            KindView::SemanticSimilarity { sentence, threshold, model_reference } => {
                Self::SemanticSimilarity { sentence, threshold, model: model_reference.map(|model| model.name()) }
            }
        }
    }
}

impl From<Kind> for KindView {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Exact { expected } => Self::Exact { expected },
            Kind::ContentMatch { pattern } => Self::ContentMatch { pattern },
            Kind::JsonSchema { schema } => Self::JsonSchema { schema },
            Kind::ToolCall { tool_name, arguments } => Self::ToolCall { tool_name, arguments },
            Kind::LlmV0 { llm_criteria, model_reference } => {
                let model_reference = model_reference.as_deref().map(ModelRef::of);
                Self::LlmV0 { llm0: JudgeView { llm_criteria, model_reference } }
            }
            Kind::SemanticSimilarity { sentence, threshold, model } => {
                let model_reference = model.as_deref().map(ModelRef::of);
                Self::SemanticSimilarity { sentence, threshold, model_reference }
            }
        }
    }
}
