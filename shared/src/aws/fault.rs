//! What a failed call of AWS means: whether it was applied, and whether to try again. Knows no operation.

use std::{error::Error, fmt::Write};

use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::StatusCode,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A failed call, without what was sent or received: rows are nobody's business in a log.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {message}")]
pub(crate) struct CallFault {
    operation: &'static str,
    message: String,
}

impl CallFault {
    pub(crate) fn new(operation: &'static str, message: impl Into<String>) -> Self {
        Self { operation, message: message.into() }
    }

    /// The service's code and message, or the chain of causes when it did not answer.
    pub(crate) fn of<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(answer) = error.as_service_error() {
            let code = answer.code().unwrap_or("no code");
            return Self::new(operation, format!("{code}: {}", answer.message().unwrap_or_default()));
        }
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(message, ": {error}");
            cause = error.source();
        }
        Self::new(operation, message)
    }
}

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not applied, and trying again is right.
    Busy,
    /// It may have been applied.
    Unknown,
    /// It was not applied, and trying again changes nothing.
    Refused,
}

/// Reads the outcome from an error.
pub(crate) fn outcome<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Outcome {
    if let SdkError::ConstructionFailure(_) = error {
        return Outcome::Refused;
    }
    if let SdkError::ServiceError(context) = error {
        return answered(context.err().code().unwrap_or_default(), context.raw().status());
    }
    // Timeouts, broken connections, answers that cannot be read, and whatever the SDK adds.
    Outcome::Unknown
}

/// Whether no connection came about, so that nothing was sent.
pub(crate) fn never_connected(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |cause| Error::source(*cause));
    causes.any(|cause| cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect))
}

fn answered(code: &str, status: StatusCode) -> Outcome {
    if passing(code) {
        return Outcome::Busy;
    }
    if code == "TransactionInProgressException" || status.is_server_error() {
        return Outcome::Unknown;
    }
    Outcome::Refused
}

/// Whether a code, of an error or of one item of a transaction, says that nothing was written but may be soon.
pub(crate) fn passing(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "ProvisionedThroughputExceeded"
            | "ThrottlingException"
            | "ThrottlingError"
            | "Throttling"
            | "RequestThrottled"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "TransactionConflictException"
            | "TransactionConflict"
            | "ReplicatedWriteConflictException"
    )
}
