//! Validations of test cases as bodies have them: the same on every surface that has test sets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::test_set::Kind;

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
}

impl From<KindView> for Kind {
    fn from(view: KindView) -> Self {
        match view {
            KindView::Exact { expected } => Self::Exact { expected },
            KindView::ContentMatch { pattern } => Self::ContentMatch { pattern },
            KindView::JsonSchema { schema } => Self::JsonSchema { schema },
            KindView::ToolCall { tool_name, arguments } => Self::ToolCall { tool_name, arguments },
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
        }
    }
}
