//! How an error looks on Cotool's surface. Knows no handler.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{Error, Scope, error::Problem};

/// The body of an error.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// What went wrong, for a person.
    error: String,
    /// Each thing that is wrong with the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    issues: Option<Vec<Issue>>,
    /// The permissions that the key lacks, in the vendor's words: our own choice. `agent.read` is for the scopes `agents:read` and `runs:read`,
    /// `agent.create` for `agents:write`, `agent.execute` for `runs:write`, `setting.perms.manage` for `keys:manage`, `tool.manage` for
    /// `secrets:write`. `error` names the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_perms: Option<Vec<&'static str>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Issue {
    /// The field, as a path in the request; empty when it is the request as a whole.
    path: String,
    /// What is wrong with it.
    message: String,
}

impl ErrorBody {
    /// The body that says just this.
    pub(super) const fn message(error: String) -> Self {
        Self { error, issues: None, missing_perms: None }
    }
}

/// The body of this error.
pub(crate) fn body(error: &Error) -> ErrorBody {
    ErrorBody { error: error.to_string(), issues: issues(error), missing_perms: missing_perms(error) }
}

fn issues(error: &Error) -> Option<Vec<Issue>> {
    match error {
        Error::Invalid(problems) => Some(problems.iter().map(issue).collect()),
        Error::UnknownModel { field, known, .. } => {
            let message = format!("not available; known: {}", known.join(", "));
            Some(vec![Issue { path: field.clone(), message }])
        }
        Error::Unauthorized
        | Error::Forbidden { .. }
        | Error::NotFound(_)
        | Error::MethodNotAllowed { .. }
        | Error::Conflict(_)
        | Error::GateFailed(_)
        | Error::InProgress
        | Error::IdempotencyMismatch
        | Error::TooLarge { .. }
        | Error::RateLimited { .. }
        | Error::Unavailable(_)
        | Error::Internal(_) => None,
    }
}

fn issue(Problem { field, message }: &Problem) -> Issue {
    Issue { path: field.clone(), message: message.clone() }
}

fn missing_perms(error: &Error) -> Option<Vec<&'static str>> {
    let Error::Forbidden { missing, .. } = error else {
        return None;
    };
    let perms: Vec<&str> = missing.iter().copied().map(perm).collect();
    Some(perms).filter(|perms| !perms.is_empty())
}

/// The vendor's name for what the scope allows. It has one for reading, whether agents or runs: which of both, the message says.
const fn perm(scope: Scope) -> &'static str {
    match scope {
        Scope::AgentsRead | Scope::RunsRead => "agent.read",
        Scope::AgentsWrite => "agent.create",
        Scope::RunsWrite => "agent.execute",
        Scope::KeysManage => "setting.perms.manage",
        Scope::SecretsWrite => "tool.manage",
    }
}
