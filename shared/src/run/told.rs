//! The numbers of a run's events. Each is given in memory together with the change that it tells of, and written in the same write.
//! So a number that anybody has seen never tells of anything else, and none is left out.

use serde::{Deserialize, Serialize};

use super::{Attempt, CallState, PendingCall, Run, Usage};
use crate::{
    clock::Timestamp,
    message::{Record, Slot},
    tool::Change,
};

/// The number of the event that tells of a run's acceptance.
pub(crate) const CREATED: u32 = 1;
/// The number of the event that tells of its start: nothing is told between the two, but for an end without a start.
pub(crate) const STARTED: u32 = 2;

/// What is told with a slot of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The number of the event that tells of the slot.
    pub(crate) seq: u32,
    /// With an answer: what the run had used by then, which the next number tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    /// With an answer: the attempt that it came of. The row does not keep all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<Box<Attempt>>,
    /// With what came of a tool call: what was told of the call before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) before: Vec<CallEvent>,
}

impl Told {
    pub(super) const fn new(seq: u32) -> Self {
        Self { seq, usage: None, attempt: None, before: Vec::new() }
    }
}

/// What is told of a tool call before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallEvent {
    /// It was sent, or is about to be, for the `attempt`th time.
    Sent { seq: u32, at: Timestamp, attempt: u32 },
    /// A person is asked about it; see [`PendingCall::unclear`] and [`PendingCall::changed`].
    Asked {
        seq: u32,
        at: Timestamp,
        unclear: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
    },
}

/// A piece of an answer that is being written: a row of its own, which is written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delta {
    /// The number of the event that tells of it.
    pub(crate) seq: u32,
    pub(crate) at: Timestamp,
    /// The slot that the answer will fill.
    pub(crate) slot: u32,
    /// Which of the run's model calls it is of, from 1.
    pub(crate) attempt: u32,
    pub(crate) text: String,
}

impl PendingCall {
    fn asked(&self, seq: u32, at: Timestamp) -> CallEvent {
        CallEvent::Asked { seq, at, unclear: self.unclear, change: self.changed.clone() }
    }
}

impl Run {
    /// How many events have been told of the run: the number of the last one.
    #[must_use]
    pub fn events(&self) -> u32 {
        self.told_so_far().saturating_add(u32::from(self.status.terminal()))
    }

    /// The number of the last event before the end. A row of before events had numbers has one for each slot but the input.
    pub(crate) fn told_so_far(&self) -> u32 {
        if self.told > 0 {
            return self.told;
        }
        let slots = u32::try_from(self.filled()).unwrap_or(u32::MAX).max(1);
        slots.saturating_add(u32::from(self.started_at.is_some()))
    }

    /// Takes the next number. To be asked for before the change that it tells of.
    pub(crate) fn tell(&mut self) -> u32 {
        self.told = self.told_so_far().saturating_add(1);
        self.told
    }

    /// Numbers what filling that slot tells, and what the calls that it asks for tell at once. To be done before it is filled.
    pub(crate) fn tell_filled(&mut self, number: u32, slot: &mut Slot, calls: &mut [PendingCall]) {
        let told = match slot.record {
            Record::Input { .. } => return,
            Record::Repair { .. } => Told::new(self.tell()),
            Record::Answer { .. } => {
                let attempt = self.answered_for(number).map(Box::new);
                let told = Told { usage: Some(self.usage), attempt, ..Told::new(self.tell()) };
                self.tell();
                told
            }
            Record::Result { .. } => {
                let seq = self.tell();
                let index = number.checked_sub(self.step).and_then(|index| usize::try_from(index).ok());
                let call = index.and_then(|index| self.calls.get_mut(index));
                let before = call.map(|call| std::mem::take(&mut call.told)).unwrap_or_default();
                Told { before, ..Told::new(seq) }
            }
        };
        slot.told = Some(told);
        for call in calls {
            call.told.clear();
            if call.state == CallState::AwaitsApproval {
                call.told.push(call.asked(self.tell(), slot.at));
            }
        }
    }

    /// Tells that the call at that place of the model's last answer is sent, as its row says now.
    pub(crate) fn tell_sent(&mut self, index: usize, at: Timestamp) {
        let seq = self.tell();
        if let Some(call) = self.calls.get_mut(index) {
            call.told.push(CallEvent::Sent { seq, at, attempt: call.attempts });
        }
    }

    /// Tells that a person is asked about the call at that place, as its row says now.
    pub(crate) fn tell_asked(&mut self, index: usize, at: Timestamp) {
        let seq = self.tell();
        if let Some(call) = self.calls.get_mut(index) {
            let asked = call.asked(seq, at);
            call.told.push(asked);
        }
    }
}
