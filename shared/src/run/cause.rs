//! What started a run or batch that no call started, and how long the chain is that it belongs to. Pure.

use serde::{Deserialize, Serialize};

use super::{Origin, Run};
use crate::{
    batch::Batch,
    id::{RunId, ScheduleId, TriggerId},
};

/// How many starts one after the other there may be in a chain, each by the end of the one before.
pub const CHAIN_LIMIT: u8 = 8;
/// How many runs there may be in all chains that begin with the same run.
pub const CHAIN_RUNS_LIMIT: i64 = 10_000;

/// What started a run or batch that no call started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Who did.
    pub by: By,
    /// The chain that it goes on with, if it was the end of something that made it start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
}

/// A schedule or a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A schedule whose time had come.
    Schedule(ScheduleId),
    /// A trigger whose event had come.
    Trigger(TriggerId),
}

/// A chain of starts, each by the end of what was started before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The run whose end it was; `None` when a batch's was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The run with which the chain begins.
    pub(crate) root: RunId,
    /// How many starts there are up to this one: 1 for the first.
    pub(crate) length: u8,
}

impl Cause {
    /// Started by that, and by no end of anything.
    pub(crate) const fn of(by: By) -> Self {
        Self { by, chain: None }
    }

    pub(crate) const fn origin(&self) -> Origin {
        match self.by {
            By::Schedule(_) => Origin::Schedule,
            By::Trigger(_) => Origin::Trigger,
        }
    }
}

impl Chain {
    /// That of what the end of this run starts.
    pub(crate) fn after_run(run: &Run) -> Self {
        Self::after(run.cause, Some(run.id), run.id)
    }

    /// That of what the end of this batch starts.
    pub(crate) fn after_batch(batch: &Batch) -> Self {
        Self::after(batch.cause, None, RunId::of_batch(batch.id, 0))
    }

    fn after(cause: Option<Cause>, run: Option<RunId>, first: RunId) -> Self {
        let before = cause.and_then(|cause| cause.chain);
        let (root, length) = before.map_or((first, 0), |before| (before.root, before.length));
        Self { run, root, length: length.saturating_add(1) }
    }
}
