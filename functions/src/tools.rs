//! An agent's tools as bodies have them: the same on every surface.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::tool::{self, Approval, Http, Kind, Lambda, Method, OnUnknown, Policy, Tool};

/// A tool of an agent.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ToolView {
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
        match view {
            ToolView::Http {
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
            ToolView::Lambda { name, description, parameters, policy, approval, on_unknown, timeout_ms, function } => {
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
        let (policy, timeout_ms) = (Some(policy.into()), Some(timeout_ms));
        let (approval, on_unknown) = (approval.into(), on_unknown.into());
        match kind {
            Kind::Http(Http { method, url, headers, lookup_url }) => Self::Http {
                name,
                description,
                parameters,
                policy,
                approval,
                on_unknown,
                timeout_ms,
                method: method.into(),
                url,
                headers,
                lookup_url,
            },
            Kind::Lambda(Lambda { function }) => {
                Self::Lambda { name, description, parameters, policy, approval, on_unknown, timeout_ms, function }
            }
        }
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
