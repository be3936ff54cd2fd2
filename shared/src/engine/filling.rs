//! A slot of a run's journal between what fills it and the write that does.

use crate::{
    clock::Timestamp,
    message::Slot,
    run::{PendingCall, Run, Usage},
};

/// A slot that is about to be filled.
#[derive(Debug, Clone)]
pub(super) struct Filling {
    pub(super) number: u32,
    pub(super) slot: Slot,
    /// The tool calls that it asks for.
    pub(super) calls: Vec<PendingCall>,
    /// What was used for it by others than this run.
    pub(super) usage: Usage,
}

impl Filling {
    /// Numbers what it tells of that run, and fills the slot there.
    pub(super) fn fill(&mut self, run: &mut Run, now: Timestamp) {
        run.tell_filled(self.number, &mut self.slot, &mut self.calls);
        run.fill(self.number, self.calls.clone(), now);
        run.usage.add(&self.usage);
    }
}
