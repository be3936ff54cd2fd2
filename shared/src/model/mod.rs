//! Language models: one trait, the providers behind it, what a call costs, and what a failed call means.

pub mod breaker;
mod call_id;
pub mod catalogue;
mod embedding;
pub mod json_tools;
mod lookup;
pub mod price;
pub mod provider;
pub mod request;
pub mod retry;
mod sample;
mod script;
pub mod scripted;
pub mod settings;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::embedding::Embedded;
pub use self::request::{Deltas, Image, Offer, Request, ToolMode, Turn};

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

impl Finish {
    /// Why an answer with calls ended: whatever the provider says, but for one that is not whole.
    #[must_use]
    pub const fn with_calls(self) -> Self {
        match self {
            Self::Length | Self::Filtered => self,
            Self::Stop | Self::ToolCalls | Self::Other => Self::ToolCalls,
        }
    }
}

/// A tool that a model wants to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id of the call, or one made of the call's place in the conversation when it gave none. No two calls of a
    /// conversation have the same.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments as the model wrote them: not checked, and maybe no JSON. `{}` when it wrote none.
    pub arguments: String,
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it said; may be empty when it calls tools.
    pub text: String,
    /// The tools that it wants to be called; they are told whatever the reason for which it stopped.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped. An answer with calls ends with `ToolCalls`, unless it was cut or filtered: then the last call may be a part
    /// of one.
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
    /// Most calls of this model failed a moment ago, so nothing was sent: the run waits.
    CircuitOpen,
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
    /// A fault of that kind with no answer of a provider behind it.
    pub(crate) const fn new(kind: FaultKind, message: String) -> Self {
        Self { kind, status: None, retry_after_ms: None, message }
    }

    /// The fault of a call that was not sent, as most calls of its model failed a moment ago.
    pub(crate) fn circuit_open(wait_ms: u64) -> Self {
        let message =
            "most calls of this model failed within the last 30 s, so it is left alone for a moment".to_owned();
        Self { retry_after_ms: Some(wait_ms), ..Self::new(FaultKind::CircuitOpen, message) }
    }

    /// Whether another model may answer where this one did not: everything but a refusal of the request itself.
    #[must_use]
    pub const fn another_may_answer(&self) -> bool {
        !matches!((self.kind, self.status), (FaultKind::Refused, Some(400 | 413 | 414 | 415 | 422 | 431)))
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        match self.kind {
            FaultKind::Busy
            | FaultKind::Lost
            | FaultKind::RateLimited
            | FaultKind::Incomprehensible
            | FaultKind::CircuitOpen => true,
            FaultKind::Quota | FaultKind::Refused => false,
        }
    }
}

/// A language model's wire: one call, one answer, no retry of its own.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Calls the model once.
    fn call<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_request_itself_is_every_models() {
        let fault = |kind, status| ModelFault { status, ..ModelFault::new(kind, String::new()) };
        for status in [None, Some(401), Some(403), Some(404), Some(429)] {
            assert!(fault(FaultKind::Refused, status).another_may_answer(), "{status:?}");
        }
        assert!(!fault(FaultKind::Refused, Some(400)).another_may_answer());
        assert!(!fault(FaultKind::Refused, Some(422)).another_may_answer());
        assert!(fault(FaultKind::Quota, Some(402)).another_may_answer());
        assert!(fault(FaultKind::Busy, Some(503)).another_may_answer());
    }
}
