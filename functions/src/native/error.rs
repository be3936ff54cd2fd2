//! How an error looks on the native surface. Knows no handler.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use shared::{
    Error,
    error::Problem,
    evaluation::{GateFailure, Missed},
};

/// The body of an error.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErrorBody {
    error: ErrorView,
    /// The request's id, as in the header `x-request-id`.
    request_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ErrorView {
    /// The kind: what to do about it.
    r#type: ErrorType,
    /// Which error of that kind, for a program.
    code: &'static str,
    /// What went wrong, for a person.
    message: String,
    /// The field that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
    /// More about it; its shape depends on the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    /// Whether the same request may succeed later.
    retryable: bool,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ErrorType {
    InvalidRequest,
    Authentication,
    Permission,
    NotFound,
    Conflict,
    RateLimit,
    Server,
}

/// The body of this error.
pub(crate) fn body(error: &Error, request_id: &str) -> ErrorBody {
    let (r#type, code) = kind(error);
    ErrorBody {
        error: ErrorView {
            r#type,
            code,
            message: error.to_string(),
            param: param(error),
            details: details(error),
            retryable: error.retryable(),
        },
        request_id: request_id.to_owned(),
    }
}

/// The body for an event without a proof of its sender.
pub(super) fn unproven(request_id: &str) -> ErrorBody {
    let body = body(&Error::Unauthorized, request_id);
    let message = "there is no such trigger, or the event has no proof that holds".to_owned();
    ErrorBody { error: ErrorView { message, ..body.error }, ..body }
}

const fn kind(error: &Error) -> (ErrorType, &'static str) {
    match error {
        Error::Invalid(_) => (ErrorType::InvalidRequest, "invalid_input"),
        Error::UnknownModel { .. } => (ErrorType::InvalidRequest, "unknown_model"),
        Error::Unauthorized => (ErrorType::Authentication, "unauthorized"),
        Error::Forbidden { .. } => (ErrorType::Permission, "forbidden"),
        Error::NotFound(_) => (ErrorType::NotFound, "not_found"),
        Error::MethodNotAllowed { .. } => (ErrorType::InvalidRequest, "method_not_allowed"),
        Error::Conflict(_) => (ErrorType::Conflict, "conflict"),
        Error::GateFailed(_) => (ErrorType::InvalidRequest, "gate_failed"),
        Error::InProgress => (ErrorType::Conflict, "in_progress"),
        Error::IdempotencyMismatch => (ErrorType::InvalidRequest, "idempotency_mismatch"),
        Error::TooLarge { .. } => (ErrorType::InvalidRequest, "too_large"),
        Error::RateLimited { .. } => (ErrorType::RateLimit, "rate_limited"),
        Error::Unavailable(_) => (ErrorType::Server, "unavailable"),
        Error::Internal(_) => (ErrorType::Server, "internal"),
    }
}

fn param(error: &Error) -> Option<String> {
    match error {
        Error::Invalid(problems) => {
            problems.first().map(|problem| problem.field.clone()).filter(|field| !field.is_empty())
        }
        Error::UnknownModel { field, .. } => Some(field.clone()),
        Error::IdempotencyMismatch => Some("Idempotency-Key".to_owned()),
        Error::Unauthorized
        | Error::Forbidden { .. }
        | Error::NotFound(_)
        | Error::MethodNotAllowed { .. }
        | Error::Conflict(_)
        | Error::GateFailed(_)
        | Error::InProgress
        | Error::TooLarge { .. }
        | Error::RateLimited { .. }
        | Error::Unavailable(_)
        | Error::Internal(_) => None,
    }
}

fn details(error: &Error) -> Option<Value> {
    match error {
        Error::Invalid(problems) => Some(json!({ "problems": problems.iter().map(problem).collect::<Vec<_>>() })),
        Error::UnknownModel { name, known, .. } => Some(json!({ "model": name, "known_models": known })),
        Error::Forbidden { missing, .. } if !missing.is_empty() => Some(json!({ "missing_scopes": missing })),
        Error::GateFailed(GateFailure { evaluation_id, missed }) => {
            let missed: Vec<Value> = missed.iter().map(threshold).collect();
            Some(json!({ "evaluation_id": evaluation_id.prefixed(), "missed": missed }))
        }
        Error::MethodNotAllowed { allowed } => Some(json!({ "allowed": allowed.split(", ").collect::<Vec<_>>() })),
        Error::TooLarge { limit_bytes } => Some(json!({ "limit_bytes": limit_bytes })),
        Error::RateLimited { limit, retry_after_ms, .. } => {
            Some(json!({ "limit": limit, "retry_after_ms": retry_after_ms }))
        }
        Error::Forbidden { .. }
        | Error::Unauthorized
        | Error::NotFound(_)
        | Error::Conflict(_)
        | Error::InProgress
        | Error::IdempotencyMismatch
        | Error::Unavailable(_)
        | Error::Internal(_) => None,
    }
}

fn problem(Problem { field, message }: &Problem) -> Value {
    json!({ "field": field, "message": message })
}

fn threshold(Missed { threshold, limit, figure }: &Missed) -> Value {
    json!({ "threshold": threshold, "limit": limit, "figure": figure.ok(), "reason": figure.err() })
}
