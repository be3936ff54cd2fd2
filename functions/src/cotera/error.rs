//! How an error looks on Cotera's surface. Knows no handler.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use shared::{Error, error::Problem};

/// The body of an error.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// Always `false`.
    success: bool,
    /// What went wrong, for a program.
    error_type: ErrorType,
    /// What went wrong, for a person.
    message: String,
    /// More about it; its shape depends on the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Value>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
enum ErrorType {
    InvalidInput,
    Unauthorized,
    Forbidden,
    NotFound,
    Conflict,
    RateLimited,
    ServerError,
}

/// The body of this error.
pub(crate) fn body(error: &Error) -> ErrorBody {
    ErrorBody { success: false, error_type: error_type(error), message: error.to_string(), info: info(error) }
}

const fn error_type(error: &Error) -> ErrorType {
    match error {
        Error::Invalid(_)
        | Error::UnknownModel { .. }
        | Error::MethodNotAllowed { .. }
        | Error::GateFailed(_)
        | Error::IdempotencyMismatch
        | Error::TooLarge { .. } => ErrorType::InvalidInput,
        Error::Unauthorized => ErrorType::Unauthorized,
        Error::Forbidden { .. } => ErrorType::Forbidden,
        Error::NotFound(_) => ErrorType::NotFound,
        Error::Conflict(_) | Error::InProgress => ErrorType::Conflict,
        Error::RateLimited { .. } => ErrorType::RateLimited,
        Error::Unavailable(_) | Error::Internal(_) => ErrorType::ServerError,
    }
}

fn info(error: &Error) -> Option<Value> {
    match error {
        Error::Invalid(problems) => Some(json!({ "problems": problems.iter().map(problem).collect::<Vec<_>>() })),
        Error::UnknownModel { field, name, known, .. } => {
            Some(json!({ "field": field, "model": name, "knownModels": known }))
        }
        Error::Forbidden { missing, .. } if !missing.is_empty() => Some(json!({ "missingScopes": missing })),
        Error::RateLimited { limit, retry_after_ms, .. } => {
            Some(json!({ "limit": limit, "retryAfterMs": retry_after_ms }))
        }
        Error::Forbidden { .. }
        | Error::Unauthorized
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

fn problem(Problem { field, message }: &Problem) -> Value {
    json!({ "field": field, "message": message })
}
