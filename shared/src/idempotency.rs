//! Idempotency keys: the same key with the same request answers what was answered, and starts nothing again.
//!
//! The record is written in the transaction of the effect, so that there is no moment with one and without the other.
//! Answers may hold a new API key, so they are sealed.

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    error::{Error, Result},
    id::{OrgId, RunId},
    seal::fingerprint,
    store::row::{Row, When, Write},
    tenant::Caller,
};

/// How long a key is remembered, in milliseconds: 7 days.
pub const KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// An answer, to be given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Location` header, if there was one.
    pub location: Option<String>,
    /// The body.
    pub body: String,
}

/// What is stored under a key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) fingerprint: String,
    pub(crate) expires_at_ms: i64,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The answer, sealed.
    Answer(String),
    /// The run whose end is the answer.
    Run(RunId),
}

/// The right to do the work under an idempotency key, or without one.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    open: Option<Open>,
    answer: Option<Answer>,
}

#[derive(Debug, Clone)]
struct Open {
    org: OrgId,
    hash: String,
    fingerprint: String,
    when: When,
}

/// What is known of a key.
#[derive(Debug)]
pub enum Seen {
    /// Nothing: do the work, and hand the claim to it.
    New(Claim),
    /// This was answered.
    Answered(Answer),
    /// This run was started; its end is the answer.
    Run(RunId),
}

impl Claim {
    /// No key: nothing is remembered.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Looks the key up. `request` is what must be the same next time: method, route, path parameters and body.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`] when the key was used for something else.
    pub async fn check(app: &App, caller: &Caller, key: Option<&str>, route: &str, request: &[&[u8]]) -> Result<Seen> {
        let Some(key) = key else { return Ok(Seen::New(Self::none())) };
        let org = caller.tenant().org();
        let mut open = Open {
            org,
            hash: fingerprint(&[route.as_bytes(), key.as_bytes()]),
            fingerprint: fingerprint(request),
            when: When::Absent,
        };
        let Some(found) = app.store().idempotency_record(caller.tenant(), &open.hash).await? else {
            return Ok(Seen::New(Self { open: Some(open), answer: None }));
        };
        if found.value.expires_at_ms <= app.now().millis() {
            open.when = When::Rev(found.rev);
            return Ok(Seen::New(Self { open: Some(open), answer: None }));
        }
        if found.value.fingerprint != open.fingerprint {
            return Err(Error::IdempotencyMismatch);
        }
        match found.value.outcome {
            Outcome::Run(run) => Ok(Seen::Run(run)),
            Outcome::Answer(sealed) => {
                let opened = app.sealer().open(&purpose(org, &open.hash), &sealed)?;
                let answer = serde_json::from_slice(&opened).map_err(|error| Error::Internal(error.into()))?;
                Ok(Seen::Answered(answer))
            }
        }
    }

    /// The claim with the answer that is given when the work succeeds.
    #[must_use]
    pub fn with(self, answer: impl FnOnce() -> Answer) -> Self {
        if self.open.is_none() {
            return self;
        }
        Self { answer: Some(answer()), ..self }
    }

    /// The error for a request whose twin is under way.
    #[must_use]
    pub fn in_progress() -> Error {
        Error::InProgress
    }

    /// The write that belongs into the transaction of the effect. Without an answer the run's end is the answer.
    pub(crate) fn write(self, app: &App, run: Option<RunId>) -> Result<Option<Write>> {
        let Some(open) = self.open else { return Ok(None) };
        let outcome = match (self.answer, run) {
            (Some(answer), _) => {
                let text = serde_json::to_vec(&answer).map_err(|error| Error::Internal(error.into()))?;
                Outcome::Answer(app.sealer().seal(&purpose(open.org, &open.hash), &text)?)
            }
            (None, Some(run)) => Outcome::Run(run),
            (None, None) => return Err(Error::Internal("an idempotent call without an answer".into())),
        };
        let expires = app.now().plus_ms(KEPT_MS);
        let record = Record { fingerprint: open.fingerprint, expires_at_ms: expires.millis(), outcome };
        let row: Row = app.store().idempotency_row(open.org, &open.hash, &record, expires)?;
        Ok(Some(Write::Put(row, open.when)))
    }
}

fn purpose(org: OrgId, hash: &str) -> String {
    format!("answer/{org}/{hash}")
}
