//! What an operator sets: read from the environment here, once, and nowhere else.

use std::net::IpAddr;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::{file, model::settings};

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
    /// The model that grades results against acceptance criteria; `None` is the deployment's default model, and the run's own
    /// where that is the scripted one, which judges nothing unless it is named here.
    pub judge_model: Option<String>,
    /// The model whose embeddings say how alike texts are; `None` is the deployment's default one.
    pub embedding_model: Option<String>,
    /// How long a worker holds a run without renewing, in milliseconds; it renews after a third of it.
    pub lease_ms: i64,
    /// How long a model may take for one answer, in milliseconds.
    pub model_timeout_ms: u64,
    /// How calls wait for runs.
    pub sync_runs: SyncRuns,
    /// The ranges that tools, MCP servers and webhooks may reach besides public addresses, also by plain http.
    pub allow_cidrs: Vec<IpNet>,
    /// A path of the operator's own for completions on the CoAgent surface, beside the one that they always have.
    pub completions_path: Option<String>,
    /// How much there may be of files.
    pub files: file::Limits,
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
            judge_model: variable("MUSTER_JUDGE_MODEL").map(|name| name.trim().to_owned()),
            embedding_model: variable("MUSTER_EMBEDDING_MODEL").map(|name| name.trim().to_owned()),
            lease_ms: number("MUSTER_LEASE_MS", LEASE_MS)?,
            model_timeout_ms: number("MUSTER_MODEL_TIMEOUT_MS", MODEL_TIMEOUT_MS)?,
            sync_runs,
            allow_cidrs: ranges("MUSTER_ALLOW_CIDRS", &variable("MUSTER_ALLOW_CIDRS").unwrap_or_default())?,
            completions_path: variable("MUSTER_COMPLETIONS_PATH").map(|path| path.trim().to_owned()),
            files: file_limits()?,
            sole_epoch,
        })
    }
}

fn file_limits() -> Result<file::Limits, Invalid> {
    let default = file::Limits::default();
    Ok(file::Limits {
        files: number("MUSTER_FILES_LIMIT", default.files)?,
        bytes: number("MUSTER_FILES_LIMIT_BYTES", default.bytes)?,
        shown_bytes: number("MUSTER_SHOWN_LIMIT_BYTES", default.shown_bytes)?,
    })
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

/// The ranges in a list such as `10.0.0.0/8, fd12::/16`, with commas or blanks between them. An address alone is a range of one.
fn ranges(name: &'static str, text: &str) -> Result<Vec<IpNet>, Invalid> {
    let parts = text.split(|between: char| between == ',' || between.is_whitespace()).filter(|part| !part.is_empty());
    let parsed = parts.zip(1..).map(|(part, place)| {
        let range = part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
        range.ok().filter(|range: &IpNet| range.trunc() == *range).ok_or_else(|| Invalid {
            name,
            problem: format!("number {place} is not a range such as 10.0.0.0/8, or has bits set behind its length"),
        })
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_a_list_of_networks() {
        let read = |text| ranges("MUSTER_ALLOW_CIDRS", text);
        assert_eq!(read("").unwrap(), []);
        let three = ["10.0.0.0/8", "192.0.2.7/32", "fd12::/16"].map(|range| range.parse().unwrap());
        assert_eq!(read("10.0.0.0/8, 192.0.2.7 ,fd12::/16").unwrap(), three);
        for bad in ["10.0.0.1/8", "10/8", "0/0", "example.com", "10.0.0.0/33", "10.0.0.0/8;10.0.0.0/8", "::1/0"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.starts_with("MUSTER_ALLOW_CIDRS: number 1 "), "{error}");
            assert!(!error.contains(bad), "{error}");
        }
    }
}
