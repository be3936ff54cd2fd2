//! Models that a run passes over for the answer that it needs next. It is in the row, so that every worker passes over the same.

use serde::{Deserialize, Serialize};

use super::{Reason, Run};
use crate::{clock::Timestamp, model::ModelName};

/// A model that is not called for the next slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Which.
    pub model: ModelName,
    /// Until when; `None` is for good.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Reason,
}

impl Run {
    /// Does not call that model for the next slot: before then, or at all.
    pub(crate) fn pass_over(&mut self, model: &ModelName, until: Option<Timestamp>, reason: Reason) {
        self.passed_over.retain(|passed| passed.model != *model);
        self.passed_over.push(PassedOver { model: model.clone(), until, reason });
    }

    /// Whether that model may be called for the next slot now.
    pub(crate) fn may_call(&self, model: &ModelName, now: Timestamp) -> bool {
        let mut passed = self.passed_over.iter().filter(|passed| passed.model == *model);
        passed.all(|passed| passed.until.is_some_and(|until| until <= now))
    }

    /// The model that may be called first of those that may be called later.
    pub(crate) fn awaited(&self, now: Timestamp) -> Option<(Reason, Timestamp)> {
        let later = self.passed_over.iter().filter_map(|passed| Some((passed.reason, passed.until?)));
        later.filter(|(_, until)| *until > now).min_by_key(|(_, until)| *until)
    }

    /// What a waiting run waits for, if it is a model.
    pub(super) fn waits_for(&self) -> Option<&PassedOver> {
        let waited = |passed: &&PassedOver| {
            Some(passed.reason) == self.reason && passed.until.is_some_and(|until| until >= self.next_check_at)
        };
        self.passed_over.iter().filter(waited).min_by_key(|passed| passed.until)
    }
}
