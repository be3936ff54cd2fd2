//! Tools: what an agent may call, and what comes of a call. Knows nothing of runs; the engine decides when and how often.

mod answer;
mod check;
mod execute;
pub mod http;
pub mod lambda;
pub(crate) mod mcp;
pub mod schema;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::mcp::{Change, Mcp, PINNED_LIMIT_BYTES, Pinned, SERVER_NAME_LIMIT, SERVERS_LIMIT};
pub(crate) use self::{
    answer::within_limit,
    check::check,
    execute::{execute, look_up},
    http::Found,
    mcp::Pins,
};

use crate::id::AgentId;

/// A tool of an agent: what its model is told of it, and how it is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// What the model calls it: 1 to 64 of `A-Z a-z 0-9 _ -`, different within an agent.
    pub name: String,
    /// What the model reads about it: at most 2,000 characters.
    pub description: String,
    /// The JSON Schema (2020-12) of its arguments: an object's. In a draft, `null` for a sub-agent is what that agent takes.
    pub parameters: Value,
    /// What may be done when nobody knows whether a call took place.
    pub policy: Policy,
    /// Whether a person is asked before each call.
    pub approval: Approval,
    /// What happens when a call of policy `once` may or may not have taken place.
    pub on_unknown: OnUnknown,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u64,
    /// How it is called.
    #[serde(flatten)]
    pub kind: Kind,
}

/// How a tool is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// By an HTTP request.
    Http(Http),
    /// By a server of the Model Context Protocol. Such an entry stands for several tools: see [`callable`].
    Mcp(Mcp),
    /// By invoking a Lambda function.
    Lambda(Lambda),
    /// By a run of another agent.
    Agent(SubAgent),
}

/// Another agent of the organisation, or the same. Calling it starts a run of it, whose result is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubAgent {
    /// Which.
    pub agent_id: AgentId,
    /// Which version; `None` is the one that is current when it is called.
    pub version: Option<u32>,
}

/// An HTTP request. `{name}` in the URL takes an argument; the others go into the query of a GET, HEAD or DELETE, and into a JSON
/// body otherwise. `{{secret:NAME}}` in a header takes a secret when the request is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// The method.
    pub method: Method,
    /// The URL's template; scheme, host and port take no argument.
    pub url: String,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
    /// The template of a URL that tells, with a 2xx or a 404, whether a call took place: for policy `verify`. `{idempotency_key}`
    /// takes the call's key.
    pub lookup_url: Option<String>,
}

/// A Lambda function, invoked with the arguments as its event. It finds the call's key in its context, under
/// `client_context.custom.idempotencyKey`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lambda {
    /// Its name or ARN, with a version or an alias behind a colon or not: one of those that the deployment may invoke.
    pub function: String,
}

/// An HTTP method that a tool may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// The tools that a model is offered: those of servers one by one, all others as they are.
pub(crate) fn callable(tools: &[Tool]) -> impl Iterator<Item = Cow<'_, Tool>> {
    tools.iter().flat_map(mcp::callable)
}

/// The tool that a model calls by this name.
pub(crate) fn named<'a>(tools: &'a [Tool], name: &str) -> Option<Cow<'a, Tool>> {
    tools.iter().find_map(|tool| mcp::named(tool, name))
}

/// What may be done when a call was sent and nobody knows whether it took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It changes nothing: call again.
    Read,
    /// The tool knows the call by its idempotency key: call again with the same key.
    Idempotent,
    /// Ask the tool whether it took place, then decide.
    Verify,
    /// Never call again.
    Once,
}

/// Whether a person is asked before a tool is called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Only in runs of mode `manual`.
    #[default]
    Never,
    /// Before each call.
    Always,
}

/// What happens when a call of policy `once` may or may not have taken place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// The model is told so, and goes on.
    #[default]
    Tell,
    /// The run waits for a person, who says whether to call again.
    Halt,
}

impl Policy {
    /// The policy of a tool that does not say: reading is harmless, everything else happens once.
    #[must_use]
    pub const fn of(method: Method) -> Self {
        match method {
            Method::Get | Method::Head => Self::Read,
            Method::Post | Method::Put | Method::Patch | Method::Delete => Self::Once,
        }
    }
}

/// The most tools of an agent.
pub const TOOLS_LIMIT: usize = 128;
/// The longest description of a tool, in characters.
pub const DESCRIPTION_LIMIT: usize = 2_000;
/// How long a call may take unless the tool says otherwise, in milliseconds.
pub const TIMEOUT_MS: u64 = 30_000;
/// The longest that a tool may allow, in milliseconds.
pub const TIMEOUT_LIMIT_MS: u64 = 300_000;
/// The most of a tool's answer that the model is given, in bytes; the rest is cut off, and the model is told.
pub const ANSWER_LIMIT_BYTES: usize = 256 * 1024;

impl Tool {
    /// How long one call may take in the process that makes it, in milliseconds: no time for a sub-agent, which has a run of its own.
    pub(crate) const fn call_ms(&self) -> u64 {
        match self.kind {
            Kind::Http(_) | Kind::Mcp(_) | Kind::Lambda(_) => self.timeout_ms,
            Kind::Agent(_) => 0,
        }
    }
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The tool answered.
    Answered {
        /// What the model is given.
        content: String,
        /// Whether the tool says that it failed.
        failed: bool,
        /// Whether the same call may succeed later: overload, a server error.
        passing: bool,
    },
    /// Nothing was sent: the address is refused, nobody answers there, a secret is missing. What the model is told; `passing` as above.
    NotSent {
        /// What the model is told: no address that the agent's author did not write, no secret.
        message: String,
        /// Whether the same call may succeed later.
        passing: bool,
    },
    /// Nothing was called: the tool is not what it was when the agent was saved, and a person has to say what is done.
    Changed(Box<Change>),
    /// A gateway in front of the tool answered, or may have: it may have passed the call on, and nobody knows whether it took place.
    Gateway {
        /// What the model is given, where nothing depends on that.
        content: String,
    },
    /// It was sent, and no answer came: nobody knows whether it took place.
    Unclear {
        /// What the model is told.
        message: String,
    },
}

/// The arguments of a call, parsed and checked against the tool's schema.
pub type Arguments = serde_json::Map<String, Value>;
