//! The tool calls of a model's last answer: where each stands. They fill the slots after the answer's, in the order of the answer,
//! each when it is done; the run goes on when all are filled.

use serde::{Deserialize, Serialize};

use super::{AttemptEnd, CallEvent, Reason, Run, Status};
use crate::{clock::Timestamp, id::KeyId, tool::Change};

/// Where a tool call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// It may be sent, or was decided against.
    Ready,
    /// A person is asked; see [`PendingCall::unclear`] for what.
    AwaitsApproval,
    /// It was sent, or is about to be, by the holder whose fence is [`PendingCall::fence`].
    Sent,
    /// Its slot is filled.
    Filled,
}

/// What a person said of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether it may be sent.
    pub approved: bool,
    /// The key that it was said with.
    pub by: KeyId,
    /// When.
    pub at: Timestamp,
    /// What the model is told with it.
    pub message: Option<String>,
}

/// A tool call of the model's last answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingCall {
    /// The tool's name.
    pub tool: String,
    /// Where it stands.
    pub state: CallState,
    /// How often it was sent.
    pub attempts: u32,
    /// How often it failed in a way that may pass.
    pub failures: u32,
    /// Whether it was sent and nobody knows whether it took place: a person is asked whether to send it again.
    pub unclear: bool,
    /// When it was sent last.
    pub sent_at: Option<Timestamp>,
    /// The fence of the holder that sent it last.
    pub fence: u64,
    /// What a person said.
    pub decision: Option<Decision>,
    /// What was told of it; once its slot is filled, that is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) told: Vec<CallEvent>,
    /// How its tool was found to differ from what it was when the agent was saved: a person is asked, or was, whether to call it
    /// nevertheless.
    #[serde(default)]
    pub changed: Option<Change>,
}

impl PendingCall {
    pub(crate) fn new(tool: &str, state: CallState) -> Self {
        Self {
            tool: tool.to_owned(),
            state,
            attempts: 0,
            failures: 0,
            unclear: false,
            sent_at: None,
            fence: 0,
            decision: None,
            told: Vec::new(),
            changed: None,
        }
    }

    /// What a person is asked about it, if one is.
    pub(crate) fn asked_for(&self) -> Option<Reason> {
        let reason = Reason::of_question(self.unclear, self.changed.is_some());
        (self.state == CallState::AwaitsApproval).then_some(reason)
    }

    /// The change of its tool with which a person approved it.
    pub(crate) fn accepted(&self) -> Option<&Change> {
        self.changed.as_ref().filter(|_| self.decision.as_ref().is_some_and(|decision| decision.approved))
    }

    /// A person said that it must not be sent.
    pub(crate) fn denied(&self) -> Option<&Decision> {
        self.decision.as_ref().filter(|decision| !decision.approved)
    }
}

impl Run {
    /// Whether something was sent and its end is not known: calls of tools or models that are under way, or were when it was cancelled.
    pub(crate) fn has_sent(&self) -> bool {
        let cancelled = self.attempts.iter().any(|attempt| attempt.end == AttemptEnd::Cancelled);
        cancelled || self.in_flight.is_some() || self.calls.iter().any(|call| call.state == CallState::Sent)
    }

    /// The slot of the call at that place of the model's last answer.
    #[must_use]
    pub fn call_slot(&self, index: usize) -> u32 {
        self.step.saturating_add(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The key of the call that fills that slot: the same for every try of it, so that a tool can tell a repeated one.
    #[must_use]
    pub fn idempotency_key(&self, slot: u32) -> String {
        format!("{}/{slot}", self.id.prefixed())
    }

    /// The call whose answer fills that slot.
    pub(crate) fn call_at(&self, slot: u32) -> Option<&PendingCall> {
        self.calls.get(usize::try_from(slot.checked_sub(self.step)?).ok()?)
    }

    /// Every slot that is filled, in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        let filled = self.calls.iter().enumerate().filter(|(_, call)| call.state == CallState::Filled);
        (0..self.step).chain(filled.map(|(index, _)| self.call_slot(index)))
    }

    /// Whether that slot is the next to be filled, or one of those.
    pub(crate) fn open(&self, slot: u32) -> bool {
        if self.calls.is_empty() {
            return slot == self.step;
        }
        self.call_at(slot).is_some_and(|call| call.state != CallState::Filled)
    }

    /// Fills that open slot; `calls` are those that it asks for.
    pub(crate) fn fill(&mut self, slot: u32, calls: Vec<PendingCall>, now: Timestamp) {
        if self.calls.is_empty() {
            self.step = self.step.saturating_add(1);
            self.called.add(&calls);
            self.calls = calls;
        } else {
            let index = slot.checked_sub(self.step).and_then(|index| usize::try_from(index).ok());
            if let Some(call) = index.and_then(|index| self.calls.get_mut(index)) {
                call.state = CallState::Filled;
            }
            if self.calls.iter().all(|call| call.state == CallState::Filled) {
                self.step = self.call_slot(self.calls.len());
                self.calls.clear();
            }
        }
        self.passed_over.clear();
        self.takeovers = 0;
        self.updated_at = now;
    }

    /// How many slots are filled.
    pub(crate) fn filled(&self) -> usize {
        self.slots().count()
    }

    /// Takes over what others than the holder may write: that it shall end, and what a person said of its calls. Whether a person
    /// said something. If the run was about to wait, it waits no more after either, and the reaper looks at it at `check_at`: who wrote
    /// it saw a holder, and leaves the rest to that one.
    pub(crate) fn adopt(&mut self, found: &Self, check_at: Timestamp) -> bool {
        let shall_end = found.cancel_requested && !self.cancel_requested;
        self.cancel_requested |= shall_end;
        let mut said = false;
        for (mine, theirs) in self.calls.iter_mut().zip(&found.calls) {
            if mine.state == CallState::AwaitsApproval && theirs.state == CallState::Ready {
                *mine = theirs.clone();
                said = true;
            }
        }
        if (said || shall_end) && self.status == Status::Waiting {
            self.ask_for_worker(check_at);
        }
        said
    }

    /// Whether a person is asked about a call.
    #[must_use]
    pub fn awaits_approval(&self) -> bool {
        self.calls.iter().any(|call| call.state == CallState::AwaitsApproval)
    }
}
