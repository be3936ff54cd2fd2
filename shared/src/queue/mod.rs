//! The queue: hints that runs want a worker. The rows are the truth: a lost message is sent again by the reaper, and a
//! repeated one finds its runs taken or ended.

#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "aws")]
pub mod sqs;

use serde::{Deserialize, Serialize};

use crate::{
    error::Fault,
    id::{EventId, OrgId, RunId, ScheduleId},
    tenant::Tenant,
    webhook::{Delivery, Target},
};

/// The most runs that one message names: one worker invocation runs them side by side.
pub const CHUNK_LIMIT: usize = 50;

/// The longest delay of a message, in seconds: the limit of SQS.
pub const DELAY_LIMIT_S: u32 = 900;

/// A message: what of one organisation wants a worker. It holds ids and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    org: OrgId,
    /// At most [`CHUNK_LIMIT`] runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunId>,
    /// At most [`CHUNK_LIMIT`] deliveries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parcels: Vec<Parcel>,
    /// A schedule whose time has come, or for which something has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
}

/// An event for who is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parcel {
    /// Who that is.
    pub to: Target,
    /// The event.
    pub event_id: EventId,
}

impl Chunk {
    /// A message for runs of this organisation.
    #[must_use]
    pub const fn new(tenant: Tenant, runs: Vec<RunId>) -> Self {
        Self { org: tenant.org(), runs, parcels: Vec::new(), schedule: None }
    }

    /// A message for a schedule of this organisation.
    #[must_use]
    pub const fn of_schedule(tenant: Tenant, id: ScheduleId) -> Self {
        Self { org: tenant.org(), runs: Vec::new(), parcels: Vec::new(), schedule: Some(id) }
    }

    /// The organisation that the message was written under.
    #[must_use]
    pub const fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    /// The message as a text.
    #[must_use]
    pub fn body(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Chunk::body`] wrote.
    ///
    /// # Errors
    /// The reason why the text is no message.
    pub fn from_body(body: &str) -> Result<Self, Fault> {
        let chunk: Self = serde_json::from_str(body)?;
        let named = chunk.runs.len().saturating_add(chunk.parcels.len()).saturating_add(chunk.schedule.iter().len());
        if !(1..=CHUNK_LIMIT).contains(&named) {
            return Err(format!("a message names {named} things").into());
        }
        Ok(chunk)
    }

    /// Messages of at most [`CHUNK_LIMIT`] runs each, in order.
    #[must_use]
    pub fn split(tenant: Tenant, runs: &[RunId]) -> Vec<Self> {
        runs.chunks(CHUNK_LIMIT).map(|runs| Self::new(tenant, runs.to_vec())).collect()
    }

    /// Messages of at most [`CHUNK_LIMIT`] deliveries each, those to endpoints apart from others.
    #[must_use]
    pub fn of_parcels(tenant: Tenant, parcels: &[Parcel]) -> Vec<Self> {
        let of = |parcels: &[Parcel]| Self { parcels: parcels.to_vec(), ..Self::new(tenant, Vec::new()) };
        let (posts, others): (Vec<Parcel>, Vec<Parcel>) = parcels.iter().partition(|parcel| parcel.is_post());
        posts.chunks(CHUNK_LIMIT).chain(others.chunks(CHUNK_LIMIT)).map(of).collect()
    }

    /// Whether it is of deliveries to endpoints, which may take long.
    #[must_use]
    pub fn posts(&self) -> bool {
        self.parcels.first().is_some_and(Parcel::is_post)
    }
}

impl Parcel {
    const fn is_post(&self) -> bool {
        matches!(self.to, Target::Webhook(_))
    }

    /// That of this delivery.
    pub(crate) const fn of(delivery: &Delivery) -> Self {
        Self { to: delivery.to, event_id: delivery.event_id }
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
