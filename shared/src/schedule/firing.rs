//! Firings: a schedule's times as they came, and what became of each.

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, error::Error, id::ScheduleId, order::Started};

/// How long a firing is kept in the history after it was decided, in milliseconds: 90 days.
pub const KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How many bytes of an error's words are kept.
const WORDS_BYTES: usize = 1_000;

/// Which one of a schedule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// The time that it is of; when somebody asked for it, if somebody did.
    pub scheduled_at: Timestamp,
    /// Whether somebody asked for it (`POST …/run`), instead of its time having come.
    pub manual: bool,
}

impl Which {
    /// Of that time, as the schedule says.
    pub(crate) const fn of(scheduled_at: Timestamp) -> Self {
        Self { scheduled_at, manual: false }
    }

    /// As somebody asks for it at that moment.
    pub(crate) const fn asked(at: Timestamp) -> Self {
        Self { scheduled_at: at, manual: true }
    }
}

/// A firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The schedule's.
    pub schedule_id: ScheduleId,
    /// Which one.
    #[serde(flatten)]
    pub which: Which,
    /// When it became what it is.
    pub decided_at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It started that.
    Started(Started),
    /// It starts when those before it have ended.
    Waiting,
    /// It started nothing.
    Skipped(Skipped),
    /// It was to start something, and could not.
    Failed(Failed),
}

/// Why a firing started nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// What was started before had not ended.
    Overlap,
    /// It was missed: a later one was due as well, or it was too late.
    Misfire,
    /// Too many were waiting.
    QueueFull,
}

impl Skipped {
    /// Its name, as it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overlap => "overlap",
            Self::Misfire => "misfire",
            Self::QueueFull => "queue_full",
        }
    }
}

/// Why a firing could start nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// For a program: what the error is called, as in `not_found`.
    pub code: String,
    /// For a person.
    pub message: String,
}

impl Failed {
    /// What this error is, unless it passes by itself.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let code = match error {
            Error::Unavailable(_) | Error::InProgress | Error::RateLimited { .. } => return None,
            Error::Invalid(_) => "invalid_input",
            Error::UnknownModel { .. } => "unknown_model",
            Error::NotFound(_) => "not_found",
            Error::Forbidden { .. } => "forbidden",
            Error::Conflict(_) => "conflict",
            Error::TooLarge { .. } => "too_large",
            Error::Unauthorized
            | Error::MethodNotAllowed { .. }
            | Error::GateFailed(_)
            | Error::IdempotencyMismatch
            | Error::Internal(_) => "internal",
        };
        let mut message = error.to_string();
        message.truncate(message.floor_char_boundary(WORDS_BYTES));
        Some(Self { code: code.to_owned(), message })
    }
}
