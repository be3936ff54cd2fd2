//! How an error looks on CoAgent's surface. Knows no handler.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use shared::{Error, run::Run};

use crate::surface::retry_after_s;

/// The body of an error.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErrorBody {
    error: ErrorView,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ErrorView {
    /// What went wrong, for a program.
    code: Code,
    /// What went wrong, for a person.
    message: String,
    /// More about it; its shape depends on the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Code {
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    Unauthorized,
    Forbidden,
    NotFound,
    Conflict,
    Internal,
    UpstreamError,
    Unavailable,
}

/// The body of this error.
pub(crate) fn body(error: &Error) -> ErrorBody {
    ErrorBody { error: ErrorView { code: code(error), message: error.to_string(), details: details(error) } }
}

/// The error with its fields as they are called here, where the core has other words.
pub(super) fn in_our_words(error: Error) -> Error {
    error.with_fields(|field| match field.rsplit_once('.') {
        Some((at, last)) => format!("{at}.{}", our_word(last)),
        None => our_word(field).to_owned(),
    })
}

fn our_word(field: &str) -> &str {
    match field {
        "budget_micro_usd" => "budget_usd",
        "message" => "prompt",
        "model" => "model_ref",
        "system_prompt" => "preamble",
        "test_set_id" => "testset_id",
        same => same,
    }
}

/// The body that says why a run has no answer, with this status.
pub(crate) fn of_run(run: &Run, status: StatusCode) -> ErrorBody {
    let code = match status {
        StatusCode::CONFLICT => Code::Conflict,
        StatusCode::BAD_GATEWAY => Code::UpstreamError,
        _ => Code::Internal,
    };
    let (stands, reason) = (run.status.name(), run.reason.map(|reason| reason.name()));
    let why = run.error.as_deref().or(reason).unwrap_or(stands);
    let message = if run.status.terminal() {
        format!("run {} ended badly: {why}", run.id)
    } else {
        format!("run {} has not ended yet; it is {stands}", run.id)
    };
    let details = json!({ "run_id": run.id, "status": stands, "reason": reason });
    ErrorBody { error: ErrorView { code, message, details: Some(details) } }
}

const fn code(error: &Error) -> Code {
    match error {
        Error::Invalid(_)
        | Error::MethodNotAllowed { .. }
        | Error::GateFailed(_)
        | Error::IdempotencyMismatch
        | Error::TooLarge { .. } => Code::InvalidRequest,
        Error::UnknownModel { .. } => Code::ModelNotFound,
        Error::Unauthorized => Code::Unauthorized,
        Error::Forbidden { .. } => Code::Forbidden,
        Error::NotFound(_) => Code::NotFound,
        Error::Conflict(_) | Error::InProgress => Code::Conflict,
        Error::RateLimited { .. } => Code::RateLimited,
        Error::Unavailable(_) => Code::Unavailable,
        Error::Internal(_) => Code::Internal,
    }
}

fn details(error: &Error) -> Option<Value> {
    match error {
        Error::Invalid(problems) => {
            let first = problems.first()?;
            Some(json!({ "field": first.field, "reason": first.message }))
        }
        Error::UnknownModel { name, known, .. } => {
            let (provider_id, model_name) =
                name.split_once('/').map_or((None, name.as_str()), |(id, name)| (Some(id), name));
            // Those of its provider, as far as any are known.
            let before = provider_id.map(|id| format!("{id}/"));
            let of_it: Vec<&String> =
                known.iter().filter(|known| before.as_ref().is_some_and(|id| known.starts_with(id))).collect();
            let available = if of_it.is_empty() { known.iter().collect() } else { of_it };
            Some(json!({ "provider_id": provider_id, "model_name": model_name, "available_models": available }))
        }
        Error::RateLimited { limit, .. } => {
            Some(json!({ "retry_after_seconds": retry_after_s(error), "limit": limit }))
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
        | Error::Unavailable(_)
        | Error::Internal(_) => None,
    }
}
