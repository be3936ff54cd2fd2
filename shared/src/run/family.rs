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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            PendingCall,
            transition::tests::{LEASE_MS, at, queued},
        },
        *,
    };

    /// A run that has started a run for the second of its two tool calls.
    fn parent() -> Run {
        let mut run = queued();
        run.acquire("w", at(0), LEASE_MS, None);
        let calls = [CallState::Filled, CallState::Sent].map(|state| PendingCall::new("t", state));
        run.fill(1, calls.to_vec(), at(0));
        run.started_for = vec![3];
        run
    }

    #[test]
    fn who_waits_for_children_may_be_taken_at_once_and_is_handed_on_as_often_as_it_has_children() {
        let mut run = parent();
        for _ in 0..super::super::HOPS_LIMIT.saturating_mul(2) {
            run.wait(Reason::SubAgent, at(LEASE_MS), at(0));
            assert!(run.waits_for_children() && run.free(at(1), None) && run.hops == 0);
        }
        assert_eq!(run.waits_until(), Some(run.deadline_at));
        run.wait(Reason::ApprovalRequired, at(LEASE_MS), at(0));
        assert!(!run.free(at(1), None));
    }

    #[test]
    fn a_child_is_known_by_the_slot_that_it_fills() {
        let mut run = parent();
        let child = RunId::of_parent(run.id, 3);
        assert_eq!((run.children(), run.open_children()), (vec![(3, child)], vec![(1, child)]));
        assert_eq!((run.child_at(3), run.child_at(2)), (Some(child), None));
        assert!(child.same_moment(run.id) && child < run.id.last_of_moment());
        let grandchild = Run { parent: Some(run.parent_of(3)), ..queued() }.parent_of(7);
        assert_eq!((grandchild.root, grandchild.depth), (run.id, 2));
        run.fill(3, Vec::new(), at(1));
        assert_eq!((run.children().len(), run.open_children().len()), (1, 0));
    }

    #[test]
    fn an_end_that_is_put_off_is_decided_again() {
        let mut run = parent();
        run.cancel_requested = true;
        run.interrupt(at(1));
        run.put_off_end(at(LEASE_MS));
        assert!(run.waits_for_children() && run.ended_at.is_none() && run.must_end(at(1)));
        assert!(run.ends_now(at(2)));
        assert_eq!((run.status, run.ended_at), (Status::Interrupted, Some(at(2))));
    }
}
