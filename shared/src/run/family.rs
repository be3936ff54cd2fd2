//! Runs that a run starts as sub-agents: where a child stands among its relatives, and what its parent's row says of it. Pure.

use serde::{Deserialize, Serialize};

use super::{CallState, Reason, Run, Status};
use crate::{
    clock::Timestamp,
    id::RunId,
    money::{Budget, Ledger},
};

/// How deep sub-agents may be nested: a run that nobody started as a sub-agent has the depth 0.
pub const DEPTH_LIMIT: u32 = 8;
/// How many runs there may be below one that nobody started as a sub-agent, itself among them.
pub const FAMILY_LIMIT: i64 = 1_000;

/// Which run started a run as a sub-agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// That run.
    pub run: RunId,
    /// The slot of the parent's journal that the child's result fills.
    pub slot: u32,
    /// The first of the line: the run that nobody started as a sub-agent.
    pub root: RunId,
    /// How many runs are above it: 1 to [`DEPTH_LIMIT`].
    pub depth: u32,
}

/// A budget under which several runs of a family spend: each reserves in its ledger before it calls a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedBudget {
    pub(crate) ledger: Ledger,
    pub(crate) micro_usd: u64,
}

impl Run {
    /// The budgets under which what its children spend counts.
    pub(crate) fn budgets_of_children(&self, now: Timestamp) -> Vec<SharedBudget> {
        let batch = self.batch.as_ref().and_then(|batch| {
            let ledger = Ledger::new(Budget::Batch, batch.id.to_string(), now);
            Some(SharedBudget { ledger, micro_usd: batch.budget_micro_usd? })
        });
        batch.into_iter().chain(self.shared_budgets.iter().cloned()).collect()
    }

    /// How many runs are above it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.parent.map_or(0, |parent| parent.depth)
    }

    /// The first of its line: itself, unless it was started as a sub-agent.
    #[must_use]
    pub fn root(&self) -> RunId {
        self.parent.map_or(self.id, |parent| parent.root)
    }

    /// What a run that it starts for its tool call of that slot is told of its relatives.
    pub(crate) fn parent_of(&self, slot: u32) -> Parent {
        Parent { run: self.id, slot, root: self.root(), depth: self.depth().saturating_add(1) }
    }

    /// The runs that it started as sub-agents, in the order of its journal, each with the slot that its result fills.
    #[must_use]
    pub fn children(&self) -> Vec<(u32, RunId)> {
        self.started_for.iter().map(|slot| (*slot, RunId::of_parent(self.id, *slot))).collect()
    }

    /// The child that was started for that slot.
    #[must_use]
    pub fn child_at(&self, slot: u32) -> Option<RunId> {
        self.started_for.contains(&slot).then(|| RunId::of_parent(self.id, slot))
    }

    /// The children whose results it still waits for, each with its call's place in the model's last answer.
    pub(crate) fn open_children(&self) -> Vec<(usize, RunId)> {
        let sent = self.calls.iter().enumerate().filter(|(_, call)| call.state == CallState::Sent);
        sent.filter_map(|(index, _)| Some((index, self.child_at(self.call_slot(index))?))).collect()
    }

    /// Until when it waits, if it waits: for children no longer than its deadline.
    #[must_use]
    pub fn waits_until(&self) -> Option<Timestamp> {
        let until = if self.waits_for_children() { self.deadline_at } else { self.next_check_at };
        (self.status == Status::Waiting).then_some(until)
    }

    /// Whether it goes on when children have ended.
    pub(crate) fn waits_for_children(&self) -> bool {
        self.status == Status::Waiting && self.reason == Some(Reason::SubAgent)
    }

    /// Whether somebody wants it to end, or its deadline has passed.
    pub(crate) fn must_end(&self, now: Timestamp) -> bool {
        self.cancel_requested || self.deadline_at <= now
    }

    /// Its end is put off until its children have ended: why it ends is found out again then.
    pub(crate) fn put_off_end(&mut self, check_at: Timestamp) {
        (self.status, self.reason) = (Status::Waiting, Some(Reason::SubAgent));
        (self.error, self.ended_at) = (None, None);
        self.next_check_at = check_at;
    }
}
