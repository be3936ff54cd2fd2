//! An agent's tools as bodies have them: the same on every surface.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::Error as _,
    ser::{Error as _, SerializeMap},
};
use serde_json::{Map, Value, json};
use shared::{
    id::AgentId,
    tool::{self, Approval, Http, Kind, Lambda, Mcp, Method, OnUnknown, Pinned, Policy, SubAgent, Tool},
};

use crate::decode;

/// The kinds of tools.
const KINDS: [&str; 4] = ["http", "mcp", "lambda", "agent"];

/// A tool of an agent: an object whose `type` says what else is in it. It is read in two steps, so that a wrong field is named.
#[derive(Debug, Clone)]
pub(crate) struct ToolView(Fields);

impl<'de> Deserialize<'de> for ToolView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let kind = match fields.remove("type") {
            None => return Err(decode::located("type", "is required")),
            Some(Value::String(kind)) if KINDS.contains(&kind.as_str()) => kind,
            Some(_) => return Err(decode::located("type", "must be one of `http`, `mcp`, `lambda`, `agent`")),
        };
        decode::within(json!({ kind: fields })).map(Self)
    }
}

impl Serialize for ToolView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Ok(Value::Object(tagged)) = serde_json::to_value(&self.0) else {
            return Err(S::Error::custom("a tool is no object"));
        };
        let mut map = serializer.serialize_map(None)?;
        for (kind, fields) in tagged {
            map.serialize_entry("type", &kind)?;
            for (name, value) in fields.as_object().into_iter().flatten() {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

impl JsonSchema for ToolView {
    fn schema_name() -> Cow<'static, str> {
        "ToolView".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Fields::json_schema(generator)
    }
}

/// A tool of an agent.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(tag = "type")]
enum Fields {
    /// An HTTP request.
    Http {
        /// What the model calls it: `A-Z a-z 0-9 _ -`, different within an agent.
        #[schemars(length(min = 1, max = 64))]
        name: String,
        /// What the model reads about it.
        #[schemars(length(max = 2_000))]
        #[serde(default)]
        description: String,
        /// The JSON Schema (2020-12) of its arguments, an object's: no arguments unless given. A call whose arguments do not satisfy it
        /// is never made.
        #[serde(default = "no_arguments")]
        parameters: Value,
        /// What may be done when a call was sent and nobody knows whether it took place: `read` for GET and HEAD, `once` otherwise,
        /// unless given.
        policy: Option<PolicyView>,
        /// Whether a person is asked before each call: `never` unless given.
        #[serde(default)]
        approval: ApprovalView,
        /// What happens when a call of policy `once` may or may not have taken place: `tell` unless given.
        #[serde(default)]
        on_unknown: OnUnknownView,
        /// How long one call may take, in milliseconds: 30,000 unless given.
        #[schemars(range(min = 1, max = 300_000))]
        timeout_ms: Option<u64>,
        method: MethodView,
        /// Where it goes. `{name}` takes an argument, in the path or the query; the other arguments go into the query of a GET, HEAD or
        /// DELETE, and into a JSON body otherwise.
        url: String,
        /// Headers; `{{secret:NAME}}` takes a secret when the request is sent.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// For policy `verify`: a URL that answers 2xx when the call took place and 404 when it did not; `{idempotency_key}` takes the
        /// call's key.
        lookup_url: Option<String>,
    },
    /// A server of the Model Context Protocol, over streamable HTTP. When the agent is saved with it, the server is asked for its tools;
    /// what they are is kept with the version. A tool that has changed when it is called is not called, and a person is asked.
    Mcp {
        /// What the names of its tools begin with: `<name>__<tool>`. `A-Z a-z 0-9 _ -`, different within an agent.
        #[schemars(length(min = 1, max = 32))]
        name: String,
        /// Where it is.
        url: String,
        /// Headers; `{{secret:NAME}}` takes a secret when a request is sent.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The tools allowed, as the server names them: all that it has, unless given.
        #[schemars(length(min = 1, max = 128))]
        tools: Option<Vec<String>>,
        /// What may be done when a call was sent and nobody knows whether it took place: `once` unless given; not `verify`. The server's
        /// own hints make it stricter for a tool, and never laxer.
        policy: Option<PolicyView>,
        /// Whether a person is asked before each call: `never` unless given.
        #[serde(default)]
        approval: ApprovalView,
        /// What happens when a call of policy `once` may or may not have taken place: `tell` unless given.
        #[serde(default)]
        on_unknown: OnUnknownView,
        /// How long one call may take, in milliseconds, asking what the tool is included: 30,000 unless given.
        #[schemars(range(min = 1, max = 300_000))]
        timeout_ms: Option<u64>,
        /// The tools as they were when the agent was saved: only read; what is given here is passed over.
        #[serde(default)]
        pinned: Vec<PinnedView>,
    },
    /// A Lambda function in the same account and region, invoked with the arguments as its event; only where Muster itself runs on
    /// Lambda.
    Lambda {
        /// What the model calls it: `A-Z a-z 0-9 _ -`, different within an agent.
        #[schemars(length(min = 1, max = 64))]
        name: String,
        /// What the model reads about it.
        #[schemars(length(max = 2_000))]
        #[serde(default)]
        description: String,
        /// The JSON Schema (2020-12) of its arguments, an object's: no arguments unless given. A call whose arguments do not satisfy it
        /// is never made.
        #[serde(default = "no_arguments")]
        parameters: Value,
        /// What may be done when a call was sent and nobody knows whether it took place: `once` unless given; not `verify`.
        policy: Option<PolicyView>,
        /// Whether a person is asked before each call: `never` unless given.
        #[serde(default)]
        approval: ApprovalView,
        /// What happens when a call of policy `once` may or may not have taken place: `tell` unless given.
        #[serde(default)]
        on_unknown: OnUnknownView,
        /// How long one call may take, in milliseconds: 30,000 unless given.
        #[schemars(range(min = 1, max = 300_000))]
        timeout_ms: Option<u64>,
        /// Its name or ARN, with `:VERSION` or `:ALIAS` or not: one of those that the deployment may invoke. It finds the call's
        /// idempotency key in its client context, under `custom.idempotencyKey`.
        #[schemars(length(min = 1, max = 300))]
        function: String,
    },
    /// Another agent of the organisation, or this one. A call starts a run of it, whose result is the answer; the run that called goes on
    /// when it has ended. It is started exactly once, and takes as long as the calling run may.
    Agent {
        /// What the model calls it: `A-Z a-z 0-9 _ -`, different within an agent.
        #[schemars(length(min = 1, max = 64))]
        name: String,
        /// What the model reads about it.
        #[schemars(length(max = 2_000))]
        #[serde(default)]
        description: String,
        /// The id of the agent, as in `agent_…`.
        #[serde(deserialize_with = "agent_id", serialize_with = "prefixed")]
        #[schemars(with = "String")]
        agent_id: AgentId,
        /// Which version of it; unless given, the one that is current when it is called.
        #[schemars(range(min = 1))]
        version: Option<u32>,
        /// The JSON Schema (2020-12) of its arguments: the inputs that the agent declares, or `message`, unless given. The agent is given
        /// them as inputs, or as its message when there is nothing but `message`.
        parameters: Option<Value>,
        /// Only `idempotent`: a sub-agent is started exactly once.
        policy: Option<PolicyView>,
        /// Whether a person is asked before each call: `never` unless given.
        #[serde(default)]
        approval: ApprovalView,
    },
}

/// A tool of a server, as it was when the agent was saved.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub(crate) struct PinnedView {
    /// What the model calls it.
    name: String,
    /// What the server calls it.
    tool: String,
    /// What is done when nobody knows whether a call took place.
    policy: PolicyView,
    /// SHA-256, in hex, of its name, description and schema as JSON: `{"description","inputSchema","name"}`, all keys in order, no
    /// blanks.
    sha256: String,
}

fn agent_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AgentId, D::Error> {
    let text = String::deserialize(deserializer)?;
    AgentId::parse_prefixed(&text).map_err(|_| D::Error::custom("must be the id of an agent, as in agent_…"))
}

fn prefixed<S: Serializer>(id: &AgentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.prefixed())
}

fn no_arguments() -> Value {
    json!({"type": "object", "properties": {}, "additionalProperties": false})
}

/// Declares the view of an enum of the core: the same words, and conversions both ways.
macro_rules! views {
    ($($(#[$doc:meta])* $view:ident of $core:ident, $case:literal, $default:ident: $($name:ident)*;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
        #[serde(rename_all = $case)]
        pub(crate) enum $view {
            $(#[doc = concat!("`", stringify!($name), "`.")] $name,)*
        }

        impl From<$view> for $core {
            fn from(view: $view) -> Self {
                match view {
                    $($view::$name => Self::$name,)*
                }
            }
        }

        impl From<$core> for $view {
            fn from(core: $core) -> Self {
                match core {
                    $($core::$name => Self::$name,)*
                }
            }
        }

        impl Default for $view {
            fn default() -> Self {
                Self::$default
            }
        }
    )*};
}

views! {
    /// What may be done when a call was sent and nobody knows whether it took place: call again (`read`), call again with the same
    /// idempotency key (`idempotent`), ask `lookup_url` first (`verify`), never call again (`once`).
    PolicyView of Policy, "lowercase", Once: Read Idempotent Verify Once;
    /// Whether a person is asked before each call.
    ApprovalView of Approval, "lowercase", Never: Never Always;
    /// What happens when a call of policy `once` may or may not have taken place: the model is told (`tell`), or a person is asked
    /// whether to call again (`halt`).
    OnUnknownView of OnUnknown, "lowercase", Tell: Tell Halt;
    /// An HTTP method.
    MethodView of Method, "UPPERCASE", Get: Get Head Post Put Patch Delete;
}

impl From<ToolView> for Tool {
    fn from(view: ToolView) -> Self {
        match view.0 {
            Fields::Http {
                name,
                description,
                parameters,
                policy,
                approval,
                on_unknown,
                timeout_ms,
                method,
                url,
                headers,
                lookup_url,
            } => Self {
                name,
                description,
                parameters,
                policy: policy.map_or_else(|| Policy::of(method.into()), Into::into),
                approval: approval.into(),
                on_unknown: on_unknown.into(),
                timeout_ms: timeout_ms.unwrap_or(tool::TIMEOUT_MS),
                kind: Kind::Http(Http { method: method.into(), url, headers, lookup_url }),
            },
            Fields::Mcp { name, url, headers, tools, policy, approval, on_unknown, timeout_ms, pinned: _ } => Self {
                name,
                description: String::new(),
                parameters: Value::Null,
                policy: policy.unwrap_or_default().into(),
                approval: approval.into(),
                on_unknown: on_unknown.into(),
                timeout_ms: timeout_ms.unwrap_or(tool::TIMEOUT_MS),
                kind: Kind::Mcp(Mcp { url, headers, tools, pinned: Vec::new() }),
            },
            Fields::Agent { name, description, agent_id, version, parameters, policy, approval } => Self {
                name,
                description,
                parameters: parameters.unwrap_or_default(),
                policy: policy.map_or(Policy::Idempotent, Into::into),
                approval: approval.into(),
                on_unknown: OnUnknown::default(),
                timeout_ms: tool::TIMEOUT_MS,
                kind: Kind::Agent(SubAgent { agent_id, version }),
            },
            Fields::Lambda { name, description, parameters, policy, approval, on_unknown, timeout_ms, function } => {
                Self {
                    name,
                    description,
                    parameters,
                    policy: policy.unwrap_or_default().into(),
                    approval: approval.into(),
                    on_unknown: on_unknown.into(),
                    timeout_ms: timeout_ms.unwrap_or(tool::TIMEOUT_MS),
                    kind: Kind::Lambda(Lambda { function }),
                }
            }
        }
    }
}

impl From<Tool> for ToolView {
    fn from(tool: Tool) -> Self {
        let Tool { name, description, parameters, policy, approval, on_unknown, timeout_ms, kind } = tool;
        Self(match kind {
            Kind::Http(Http { method, url, headers, lookup_url }) => Fields::Http {
                name,
                description,
                parameters,
                policy: Some(policy.into()),
                approval: approval.into(),
                on_unknown: on_unknown.into(),
                timeout_ms: Some(timeout_ms),
                method: method.into(),
                url,
                headers,
                lookup_url,
            },
            Kind::Mcp(Mcp { url, headers, tools, pinned }) => Fields::Mcp {
                name,
                url,
                headers,
                tools,
                policy: Some(policy.into()),
                approval: approval.into(),
                on_unknown: on_unknown.into(),
                timeout_ms: Some(timeout_ms),
                pinned: pinned.into_iter().map(PinnedView::from).collect(),
            },
            Kind::Agent(SubAgent { agent_id, version }) => Fields::Agent {
                name,
                description,
                agent_id,
                version,
                parameters: Some(parameters),
                policy: Some(policy.into()),
                approval: approval.into(),
            },
            Kind::Lambda(Lambda { function }) => Fields::Lambda {
                name,
                description,
                parameters,
                policy: Some(policy.into()),
                approval: approval.into(),
                on_unknown: on_unknown.into(),
                timeout_ms: Some(timeout_ms),
                function,
            },
        })
    }
}

impl From<Pinned> for PinnedView {
    fn from(pinned: Pinned) -> Self {
        let Pinned { tool, name, description: _, parameters: _, policy, sha256 } = pinned;
        Self { name, tool, policy: policy.into(), sha256 }
    }
}

/// The tools that these views mean.
pub(crate) fn tools(views: Vec<ToolView>) -> Vec<Tool> {
    views.into_iter().map(Into::into).collect()
}

/// The views of these tools.
pub(crate) fn views(tools: Vec<Tool>) -> Vec<ToolView> {
    tools.into_iter().map(Into::into).collect()
}
