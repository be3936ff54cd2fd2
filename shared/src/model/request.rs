//! What a model is asked: the conversation, the tools it may call, the shape of its answer.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ModelName, ToolCall};

/// One message of a conversation, as a model is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// What the caller said.
    User {
        /// What was said.
        text: String,
        /// What is shown with it.
        images: Vec<Image>,
    },
    /// What the model said.
    Assistant {
        /// What was said; may be empty when tools are called.
        text: String,
        /// The tools that it wanted to be called. Each is answered by a [`Turn::Tool`] before the next turn of another kind.
        tool_calls: Vec<ToolCall>,
    },
    /// What a tool answered.
    Tool {
        /// The call that it answers: [`ToolCall::id`].
        call_id: String,
        /// The tool's name.
        name: String,
        /// What the model is given.
        content: String,
    },
}

impl Turn {
    /// What the caller said, without images.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { text: text.into(), images: Vec::new() }
    }

    /// What was said, without the calls.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::User { text, .. } | Self::Assistant { text, .. } => text,
            Self::Tool { content, .. } => content,
        }
    }

    /// How many bytes of text the model is given, without what the wire adds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let called = match self {
            Self::Assistant { tool_calls, .. } => {
                sum(tool_calls.iter().map(|call| call.name.len() + call.arguments.len()))
            }
            Self::User { .. } | Self::Tool { .. } => 0,
        };
        self.text().len().saturating_add(called)
    }

    /// How many images the model is shown.
    #[must_use]
    pub const fn images(&self) -> usize {
        match self {
            Self::User { images, .. } => images.len(),
            Self::Assistant { .. } | Self::Tool { .. } => 0,
        }
    }
}

/// An image. PNG, JPEG, GIF and WebP are what providers have in common; others are refused before anything is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// As in `image/png`.
    pub media_type: String,
    /// The file's bytes.
    pub data: Bytes,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}, {} bytes)", self.media_type, self.data.len())
    }
}

/// What a model is told of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
}

/// How a model is told of tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolMode {
    /// By the provider's own mechanism.
    #[default]
    Native,
    /// In the system prompt, and the model answers with JSON: for models that have no such mechanism.
    Json,
}

/// Who is given each piece of an answer's text as it comes. What is given is for display: an attempt that fails later has given
/// pieces too, and the next one begins anew.
#[derive(Clone)]
pub struct Deltas(Arc<dyn Fn(&str) + Send + Sync>);

impl Deltas {
    /// Calls that function with each piece. It must not block.
    pub fn new(take: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(crate) fn give(&self, piece: &str) {
        if !piece.is_empty() {
            (self.0)(piece);
        }
    }
}

impl fmt::Debug for Deltas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deltas")
    }
}

/// One call of a model.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which model.
    pub model: ModelName,
    /// The agent's instructions; may be empty.
    pub system: String,
    /// The conversation, oldest first; the last one is the user's or a tool's.
    pub turns: Vec<Turn>,
    /// The tools that it may want to be called.
    pub tools: Vec<Offer>,
    /// How it is told of them.
    pub tool_mode: ToolMode,
    /// The JSON Schema that the answer's text is to satisfy. Asked for, not checked: the provider may ignore it.
    pub output_schema: Option<Value>,
    /// Who is given the answer's text piece by piece. The answer is the same as without.
    pub deltas: Option<Deltas>,
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// The sampling temperature, 0 to 2; `None` is the provider's default.
    pub temperature: Option<f64>,
    /// How long to wait for the whole answer, in milliseconds.
    pub timeout_ms: u64,
}

impl Request {
    /// How many images the model is shown.
    #[must_use]
    pub fn images(&self) -> usize {
        sum(self.turns.iter().map(Turn::images))
    }

    /// How many bytes of text the model is given, without what the wire adds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let offers = self
            .tools
            .iter()
            .map(|tool| sum([tool.name.len(), tool.description.len(), tool.parameters.to_string().len()].into_iter()));
        let schema = self.output_schema.as_ref().map_or(0, |schema| schema.to_string().len());
        sum([self.system.len(), schema].into_iter().chain(offers).chain(self.turns.iter().map(Turn::bytes)))
    }
}

fn sum(sizes: impl Iterator<Item = usize>) -> usize {
    sizes.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_model_is_given_counts() {
        let image = Image { media_type: "image/png".to_owned(), data: Bytes::from_static(b"canary") };
        assert!(!format!("{image:?}").contains("canary"));
        let call = ToolCall { id: "1".to_owned(), name: "add".to_owned(), arguments: "{}".to_owned() };
        let request = Request {
            model: ModelName("demo/scripted".to_owned()),
            system: "12".to_owned(),
            turns: vec![
                Turn::User { text: "123".to_owned(), images: vec![image] },
                Turn::Assistant { text: String::new(), tool_calls: vec![call] },
                Turn::Tool { call_id: "1".to_owned(), name: "add".to_owned(), content: "12".to_owned() },
            ],
            tools: vec![Offer {
                name: "add".to_owned(),
                description: "Adds.".to_owned(),
                parameters: Value::Bool(true),
            }],
            tool_mode: ToolMode::Native,
            output_schema: Some(Value::Bool(true)),
            deltas: None,
            max_tokens: 1,
            temperature: None,
            timeout_ms: 1,
        };
        assert_eq!((request.bytes(), request.images()), (2 + 3 + 5 + 2 + 12 + 4, 1));
    }
}
