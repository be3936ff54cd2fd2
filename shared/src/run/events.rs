//! The events of a run: a pure fold of its row, its journal and the pieces of its model's answers. Knows no store.
//!
//! What a number tells of is in a slot or a piece, which are written once, or in a part of the row that only grows. So a fold at a
//! later time begins with exactly what an earlier one told, whoever asks.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Approval, CallEvent, CallState, Delta, Reason, Run, Status, Usage,
    told::{CREATED, STARTED, Told},
};
use crate::{
    clock::Timestamp,
    id::MessageId,
    message::{self, Message, Record, Slot},
    model::ToolCall,
};

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number: from 1, without gaps.
    pub seq: u32,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub happened: Happened,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// It was accepted.
    Created,
    /// A worker took it for the first time.
    Started,
    /// The model has said a piece of its answer: only in a run that is streamed. The answer may come differently in the end.
    Delta {
        /// The message that it will be a piece of.
        message_id: MessageId,
        /// Which of the run's model calls it is of, from 1: what other calls have said of the same message does not count any more.
        attempt: u32,
        /// The piece.
        text: String,
    },
    /// The model has answered; or it was told what is wrong with its answer.
    Said(Message),
    /// What the run has used by now.
    Used(Usage),
    /// A tool call is sent.
    Sent {
        /// The call.
        call: ToolCall,
        /// For the how many-th time, from 1.
        attempt: u32,
    },
    /// A person is asked about a tool call.
    Asked(Approval),
    /// A tool call has ended, well or not.
    Returned {
        /// What the model is told.
        message: Message,
        /// How often it was sent.
        attempts: u32,
    },
    /// It ended.
    Ended {
        /// What the agent said at its end, if it ended well.
        result: Option<String>,
        /// The tool calls that had not: nothing is told of them any more.
        open: Vec<OpenCall>,
    },
}

/// A tool call of the model's last answer that had not ended when its run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// The call.
    pub call: ToolCall,
    /// Where it stood: one that was sent may have taken place.
    pub state: CallState,
    /// How often it was sent.
    pub attempts: u32,
}

/// Events as they become known, told in order.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// The number of the last event that was told.
    after: u32,
    /// Events that are known and not told yet.
    known: BTreeMap<u32, Event>,
    /// The slots that were folded.
    seen: BTreeSet<u32>,
    /// The calls that each answer asked for, by its slot.
    asked: BTreeMap<u32, Vec<ToolCall>>,
    /// The last answer's slot and text.
    said: Option<(u32, String)>,
    /// How many slots were folded that are older than numbers.
    unnumbered: u32,
}

impl Fold {
    /// Events with greater numbers than this.
    pub(super) fn after(seq: u32) -> Self {
        Self { after: seq, ..Self::default() }
    }

    /// The number of the last event that was told.
    pub(super) const fn told(&self) -> u32 {
        self.after
    }

    /// The filled slots that were not folded yet.
    pub(super) fn unseen(&self, run: &Run) -> Vec<u32> {
        run.slots().filter(|number| !self.seen.contains(number)).collect()
    }

    /// Whether an event up to that number is neither told nor known.
    pub(super) fn lacks(&self, upto: u32) -> bool {
        let wanted = usize::try_from(upto.saturating_sub(self.after)).unwrap_or(usize::MAX);
        self.known.range(..=upto).count() < wanted
    }

    /// Folds slots that were not folded yet, in order.
    pub(super) fn slots(&mut self, run: &Run, slots: impl IntoIterator<Item = (u32, Slot)>) {
        for (number, slot) in slots {
            self.seen.insert(number);
            self.slot(run, number, slot);
        }
    }

    fn slot(&mut self, run: &Run, number: u32, mut slot: Slot) {
        let at = slot.at;
        let attempts = match &slot.record {
            Record::Input { .. } => return,
            Record::Repair { .. } => None,
            Record::Answer { text, tool_calls, .. } => {
                self.asked.insert(number, tool_calls.clone());
                self.said = Some((number, text.clone()));
                None
            }
            Record::Result { attempts, .. } => Some(*attempts),
        };
        let Told { seq, usage, before, attempt: _ } = slot.told.take().unwrap_or_else(|| self.number());
        for event in before {
            self.of_call(run, number, event);
        }
        let message = message::message(run.id, number, slot);
        self.know(
            seq,
            at,
            match attempts {
                Some(attempts) => Happened::Returned { message, attempts },
                None => Happened::Said(message),
            },
        );
        if let Some(usage) = usage {
            self.know(seq.saturating_add(1), at, Happened::Used(usage));
        }
    }

    /// The number of a slot that has none: they are counted in order, before all that have.
    fn number(&mut self) -> Told {
        self.unnumbered = self.unnumbered.saturating_add(1);
        Told::new(STARTED.saturating_add(self.unnumbered))
    }

    /// The call that fills that slot.
    fn call(&self, slot: u32) -> Option<&ToolCall> {
        let (answer, calls) = self.asked.range(..slot).next_back()?;
        let index = slot.checked_sub(*answer)?.checked_sub(1)?;
        calls.get(usize::try_from(index).ok()?)
    }

    fn of_call(&mut self, run: &Run, slot: u32, event: CallEvent) {
        let Some(call) = self.call(slot).cloned() else { return };
        match event {
            CallEvent::Sent { seq, at, attempt } => self.know(seq, at, Happened::Sent { call, attempt }),
            CallEvent::Asked { seq, at, unclear, change } => {
                let approval = Approval {
                    id: run.approval_of(slot),
                    call,
                    reason: Reason::of_question(unclear, change.is_some()),
                    change,
                    expires_at: run.deadline_at,
                };
                self.know(seq, at, Happened::Asked(approval));
            }
        }
    }

    /// Folds the row, after the slots that it says are filled.
    pub(super) fn row(&mut self, run: &Run) {
        self.know(CREATED, run.created_at, Happened::Created);
        if let Some(at) = run.started_at {
            self.know(STARTED, at, Happened::Started);
        }
        for (index, call) in run.calls.iter().enumerate().filter(|(_, call)| call.state != CallState::Filled) {
            for event in call.told.clone() {
                self.of_call(run, run.call_slot(index), event);
            }
        }
        if let Some(at) = run.ended_at.filter(|_| run.status.terminal()) {
            let last = self.said.as_ref().filter(|(slot, _)| slot.saturating_add(1) == run.step);
            let result = last.filter(|_| run.status == Status::Done).map(|(_, text)| text.clone());
            let open = run.calls.iter().enumerate().filter(|(_, call)| call.state != CallState::Filled);
            let open = open.filter_map(|(index, pending)| {
                let call = self.call(run.call_slot(index))?.clone();
                Some(OpenCall { call, state: pending.state, attempts: pending.attempts })
            });
            let open = open.collect();
            self.know(run.events(), at, Happened::Ended { result, open });
        }
    }

    /// Folds pieces of answers.
    pub(super) fn deltas(&mut self, run: &Run, deltas: Vec<Delta>) {
        for Delta { seq, at, slot, attempt, text } in deltas {
            self.know(seq, at, Happened::Delta { message_id: message::id(run.id, slot), attempt, text });
        }
    }

    fn know(&mut self, seq: u32, at: Timestamp, happened: Happened) {
        if seq > self.after {
            self.known.entry(seq).or_insert(Event { seq, at, happened });
        }
    }

    /// Tells the next events, at most so many.
    pub(super) fn take(&mut self, most: u32) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..most {
            let Some(event) = self.known.remove(&self.after.saturating_add(1)) else { break };
            self.after = event.seq;
            events.push(event);
        }
        events
    }
}

#[cfg(test)]
mod tests;
