//! What an operator sets: read from the environment here, once, and nowhere else.

use secrecy::SecretString;

use crate::model::settings;

/// How long calls that wait for a run may wait, and who runs it meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncRuns {
    /// The process that took the call runs the run; the call waits up to so many milliseconds.
    InProcess {
        /// The most that a call waits, in milliseconds.
        limit_ms: u64,
    },
    /// A worker runs it, and the call looks at the row; for gateways that hang up after 29 seconds.
    ThroughQueue {
        /// The most that a call waits, in milliseconds.
        limit_ms: u64,
    },
}

impl SyncRuns {
    /// The most that a call waits, in milliseconds.
    #[must_use]
    pub const fn limit_ms(self) -> u64 {
        match self {
            Self::InProcess { limit_ms } | Self::ThroughQueue { limit_ms } => limit_ms,
        }
    }
}

/// The settings of one deployment.
#[derive(Debug, Clone)]
pub struct Config {
    /// The secret from which key digests and sealing keys are derived: at least 16 bytes.
    pub pepper: SecretString,
    /// Providers and their keys, prices.
    pub models: settings::Settings,
    /// How long a worker holds a run without renewing, in milliseconds; it renews after a third of it.
    pub lease_ms: i64,
    /// How long a model may take for one answer, in milliseconds.
    pub model_timeout_ms: u64,
    /// How calls wait for runs.
    pub sync_runs: SyncRuns,
    /// What distinguishes this process from one that held leases before it on the same store and is dead: the embedded
    /// host knows that it is alone. `None` where others may be alive.
    pub sole_epoch: Option<String>,
}

/// How long a worker holds a run without renewing, in milliseconds (reliability design, 2.1.2).
pub const LEASE_MS: i64 = 60_000;

/// How long a model may take for one answer unless set otherwise, in milliseconds.
pub const MODEL_TIMEOUT_MS: u64 = 600_000;

/// How long a waiting call waits where the connection may stay open: a Lambda function's 15 minutes less half a minute.
pub const LONG_WAIT_MS: u64 = 870_000;

/// How long a waiting call waits behind a gateway that hangs up after 29 seconds.
pub const SHORT_WAIT_MS: u64 = 25_000;

/// A setting that is missing or makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct Invalid {
    /// The variable.
    pub name: &'static str,
    /// What is wrong with it; never its value.
    pub problem: String,
}

impl Config {
    /// The settings from the environment, with this pepper.
    ///
    /// # Errors
    /// [`Invalid`] when a variable makes no sense.
    pub fn from_environment(
        pepper: SecretString,
        sync_runs: SyncRuns,
        sole_epoch: Option<String>,
    ) -> Result<Self, Invalid> {
        Ok(Self {
            pepper,
            models: settings::Settings::from_lookup(variable),
            lease_ms: number("MUSTER_LEASE_MS", LEASE_MS)?,
            model_timeout_ms: number("MUSTER_MODEL_TIMEOUT_MS", MODEL_TIMEOUT_MS)?,
            sync_runs,
            sole_epoch,
        })
    }
}

/// The variable's value, if it is set and not empty.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The variable's value, which must be there.
///
/// # Errors
/// [`Invalid`] when it is not set.
pub fn required(name: &'static str) -> Result<String, Invalid> {
    variable(name).ok_or_else(|| Invalid { name, problem: "is not set".to_owned() })
}

fn number<T: std::str::FromStr + PartialOrd + From<u8>>(name: &'static str, default: T) -> Result<T, Invalid> {
    let Some(text) = variable(name) else { return Ok(default) };
    text.trim()
        .parse()
        .ok()
        .filter(|value| *value >= T::from(1))
        .ok_or_else(|| Invalid { name, problem: "must be a whole number greater than 0".to_owned() })
}
