//! Language models: one trait, the providers behind it, what a call costs, and what a failed call means.

pub mod catalogue;
pub mod price;
pub mod provider;
pub mod retry;
pub mod scripted;
pub mod settings;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// A model, as the user names it: `provider/model` or an alias.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelName(pub(crate) String);

impl ModelName {
    /// The name as the user wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ModelName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The agent's instructions.
    System,
    /// The caller.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// One message of a conversation, as a model is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// What the caller said.
    User {
        /// What was said.
        text: String,
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
    /// What was said, without the calls.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::User { text } | Self::Assistant { text, .. } => text,
            Self::Tool { content, .. } => content,
        }
    }

    /// How many bytes the model is given, without what the wire adds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let calls: &[ToolCall] = if let Self::Assistant { tool_calls, .. } = self { tool_calls } else { &[] };
        let of_calls = calls.iter().map(|call| call.name.len().saturating_add(call.arguments.len()));
        of_calls.fold(self.text().len(), usize::saturating_add)
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
    pub parameters: serde_json::Value,
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
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// The sampling temperature, 0 to 2; `None` is the provider's default.
    pub temperature: Option<f64>,
    /// How long to wait for the whole answer, in milliseconds.
    pub timeout_ms: u64,
}

/// Tokens of one call, as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens of the request, the cached ones among them.
    pub input: u64,
    /// Those of `input` that the provider had in its cache.
    pub cached_input: u64,
    /// Tokens of the answer, the hidden reasoning among them.
    pub output: u64,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was done.
    Stop,
    /// It reached the most tokens that it may write.
    Length,
    /// It wants tools to be called.
    ToolCalls,
    /// The provider's filter stopped it.
    Filtered,
    /// For another reason, or none was given.
    Other,
}

/// A tool that a model wants to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments: JSON as the model wrote it, not checked.
    pub arguments: String,
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it said; may be empty when it calls tools.
    pub text: String,
    /// The tools that it wants to be called.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub finish: Finish,
    /// What it used; `None` when the provider did not say.
    pub tokens: Option<Tokens>,
}

/// What a failed call means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Passing: overload, a server error, a connection that did not come about. Nothing was billed, as far as known.
    Busy,
    /// The connection broke or timed out after the request was sent: it may have been billed.
    Lost,
    /// The provider's limit of requests or tokens for a time.
    RateLimited,
    /// The account's money or quota is used up: trying again does not help.
    Quota,
    /// The request was refused (bad key, bad request, unknown model): trying again does not help.
    Refused,
    /// An answer came that makes no sense.
    Incomprehensible,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelFault {
    /// What it means.
    pub kind: FaultKind,
    /// The provider's HTTP status, if there was one.
    pub status: Option<u16>,
    /// When the provider says to try again, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// What a user may read: status and the provider's own message cut to 500 characters; no credential, no URL.
    pub message: String,
}

impl ModelFault {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        match self.kind {
            FaultKind::Busy | FaultKind::Lost | FaultKind::RateLimited | FaultKind::Incomprehensible => true,
            FaultKind::Quota | FaultKind::Refused => false,
        }
    }
}

/// A language model's wire: one call, one answer, no retry of its own.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Calls the model once.
    fn call<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>>;
}
