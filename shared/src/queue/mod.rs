//! The queue: hints that runs want a worker. The rows are the truth: a lost message is sent again by the reaper, and a
//! repeated one finds its runs taken or ended.

#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "aws")]
pub mod sqs;

use serde::{Deserialize, Serialize};

use crate::{
    error::Fault,
    id::{OrgId, RunId, ScheduleId},
    tenant::Tenant,
};

/// The most runs that one message names: one worker invocation runs them side by side.
pub const CHUNK_LIMIT: usize = 50;

/// The longest delay of a message, in seconds: the limit of SQS.
pub const DELAY_LIMIT_S: u32 = 900;

/// A message: runs of one organisation that want a worker, or a schedule that wants to be looked at. It holds ids and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    org: OrgId,
    /// 1 to [`CHUNK_LIMIT`] runs; none beside a schedule.
    #[serde(default)]
    pub runs: Vec<RunId>,
    /// A schedule whose time has come, or for which something has ended.
    #[serde(default)]
    pub schedule: Option<ScheduleId>,
}

impl Chunk {
    /// A message for runs of this organisation.
    #[must_use]
    pub const fn new(tenant: Tenant, runs: Vec<RunId>) -> Self {
        Self { org: tenant.org(), runs, schedule: None }
    }

    /// A message for a schedule of this organisation.
    #[must_use]
    pub const fn of_schedule(tenant: Tenant, id: ScheduleId) -> Self {
        Self { org: tenant.org(), runs: Vec::new(), schedule: Some(id) }
    }

    /// The organisation that the message was written under.
    #[must_use]
    pub const fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    /// The message as a text.
    #[must_use]
    pub fn body(&self) -> String {
        let Self { org, runs, schedule } = self;
        match schedule {
            None => serde_json::json!({ "org": org, "runs": runs }).to_string(),
            Some(schedule) => serde_json::json!({ "org": org, "schedule": schedule }).to_string(),
        }
    }

    /// Reads what [`Chunk::body`] wrote.
    ///
    /// # Errors
    /// The reason why the text is no message.
    pub fn from_body(body: &str) -> Result<Self, Fault> {
        let chunk: Self = serde_json::from_str(body)?;
        if chunk.runs.is_empty() && chunk.schedule.is_none() || chunk.runs.len() > CHUNK_LIMIT {
            return Err(format!("a message names {} runs", chunk.runs.len()).into());
        }
        Ok(chunk)
    }

    /// Messages of at most [`CHUNK_LIMIT`] runs each, in order.
    #[must_use]
    pub fn split(tenant: Tenant, runs: &[RunId]) -> Vec<Self> {
        runs.chunks(CHUNK_LIMIT).map(|runs| Self::new(tenant, runs.to_vec())).collect()
    }
}

/// The messages could not be sent; the reaper will send them again.
#[derive(Debug, thiserror::Error)]
#[error("the queue is not available")]
pub struct Unavailable(#[source] pub Fault);

/// Where messages go.
#[derive(Debug, Clone)]
pub enum Queue {
    /// SQS.
    #[cfg(feature = "aws")]
    Sqs(sqs::Sqs),
    /// A channel to the worker in the same process.
    #[cfg(feature = "embedded")]
    Embedded(embedded::Embedded),
    /// What a simulation makes of it.
    #[cfg(feature = "simulation")]
    Simulated,
}

impl Queue {
    /// Sends the messages, to be received after `delay_s` seconds (at most [`DELAY_LIMIT_S`]).
    ///
    /// # Errors
    /// [`Unavailable`] when some could not be sent after retries.
    pub async fn send(&self, chunks: Vec<Chunk>, delay_s: u32) -> Result<(), Unavailable> {
        if chunks.is_empty() {
            return Ok(());
        }
        match self {
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.send(chunks, delay_s).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(queue) => queue.send(chunks, delay_s).await,
            #[cfg(feature = "simulation")]
            Self::Simulated => {
                crate::simulation::held_up().await;
                let taken = crate::simulation::outside().is_some_and(|outside| outside.send(chunks, delay_s));
                crate::simulation::held_up().await;
                if taken { Ok(()) } else { Err(Unavailable("not taken".into())) }
            }
        }
    }
}
