//! What can go wrong, by what a client can do about it. Knows no status code and no body: those are the surfaces'.

use crate::{evaluation::GateFailure, store, tenant::Scope};

/// The core's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that is wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as a path in the request (`items[3].message`); empty when it is the request as a whole.
    pub field: String,
    /// What is wrong with it, for a person.
    pub message: String,
}

/// Why a request was refused. `Display` is what a stranger may read; `source()` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is wrong; nothing was stored or started. At least one problem.
    #[error("{}", summary(.0))]
    Invalid(Vec<Problem>),
    /// The model is not one that this deployment can call.
    #[error("model '{name}' is not available{}", unset(*.variable))]
    UnknownModel {
        /// The field that names it.
        field: String,
        /// The name that was asked for.
        name: String,
        /// The names that would do.
        known: Vec<String>,
        /// The variable that this deployment would need for it, when the name is right.
        variable: Option<&'static str>,
    },
    /// No key, or none that is valid. The same for unknown, revoked, expired and malformed ones.
    #[error("the API key is missing or not valid")]
    Unauthorized,
    /// The key is valid but may not do this.
    #[error("{message}")]
    Forbidden {
        /// Why, for a person.
        message: String,
        /// The scopes that the key lacks; empty when it is not a matter of scopes.
        missing: Vec<Scope>,
    },
    /// There is no such thing in the caller's organisation.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The path exists, the method does not.
    #[error("method not allowed; allowed: {allowed}")]
    MethodNotAllowed {
        /// The methods that exist, as in an `Allow` header.
        allowed: String,
    },
    /// The thing is not in a state that allows this.
    #[error("{0}")]
    Conflict(String),
    /// A change was tried and does not come to what was asked of it; nothing was changed.
    #[error("{0}")]
    GateFailed(GateFailure),
    /// A request with the same idempotency key is under way.
    #[error("a request with this Idempotency-Key is in progress; try again")]
    InProgress,
    /// An idempotency key was used again for something else.
    #[error("this Idempotency-Key was used with a different request")]
    IdempotencyMismatch,
    /// The body is larger than 6 MiB.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The most that is accepted, in bytes.
        limit_bytes: usize,
    },
    /// Too many requests, or too many at once.
    #[error("rate limit exceeded: {limit}")]
    RateLimited {
        /// The limit, for a person (`6000 requests per minute`).
        limit: String,
        /// The limit of requests a minute, when it is that one.
        requests_per_minute: Option<u32>,
        /// When to try again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// Something below is not answering; nothing was lost, and trying again is right.
    #[error("temporarily unavailable, try again")]
    Unavailable(#[source] Fault),
    /// Our own mistake.
    #[error("internal error")]
    Internal(#[source] Fault),
}

/// What was underneath, for the log.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// The error for one bad field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Problem { field: field.into(), message: message.into() }])
    }

    /// The same with the fields that are wrong as `name` calls them, for a surface that has other names than the core.
    #[must_use]
    pub fn with_fields(self, name: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Invalid(problems) => {
                let renamed = |problem: Problem| Problem { field: name(&problem.field), ..problem };
                Self::Invalid(problems.into_iter().map(renamed).collect())
            }
            Self::UnknownModel { field, name: model, known, variable } => {
                Self::UnknownModel { field: name(&field), name: model, known, variable }
            }
            Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound(_)
            | Self::MethodNotAllowed { .. }
            | Self::Conflict(_)
            | Self::GateFailed(_)
            | Self::InProgress
            | Self::IdempotencyMismatch
            | Self::TooLarge { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable(_)
            | Self::Internal(_) => self,
        }
    }

    /// Whether the same request may succeed later without any change.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::InProgress | Self::Unavailable(_) => true,
            Self::Invalid(_)
            | Self::UnknownModel { .. }
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound(_)
            | Self::MethodNotAllowed { .. }
            | Self::Conflict(_)
            | Self::GateFailed(_)
            | Self::IdempotencyMismatch
            | Self::TooLarge { .. }
            | Self::Internal(_) => false,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(_) | store::Error::Conflict { .. } => Self::Unavailable(error.into()),
            store::Error::TooLarge(_) | store::Error::Broken(_) => Self::Internal(error.into()),
        }
    }
}

/// Why a model that exists cannot be called.
pub(crate) fn unset(variable: Option<&str>) -> String {
    variable.map(|variable| format!(": {variable} is not set")).unwrap_or_default()
}

fn summary(problems: &[Problem]) -> String {
    let parts: Vec<String> = problems
        .iter()
        .map(|problem| match problem.field.as_str() {
            "" => problem.message.clone(),
            field => format!("{field}: {}", problem.message),
        })
        .collect();
    parts.join("; ")
}
