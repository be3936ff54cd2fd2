//! Calls of a model: what a worker says before one, what is known after it, and what a run has used with all of them.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    model::{FaultKind, ModelName, Tokens},
    money::Ledger,
};

/// What a run or batch has used: of every attempt, also of failed and killed ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Attempts to call a model.
    pub model_calls: u32,
    /// Tokens; of an attempt whose answer was lost, an estimate on the high side.
    pub tokens: Tokens,
    /// What the priced attempts cost, in micro-USD.
    pub priced_micro_usd: u64,
    /// Attempts that used tokens at a price that is not known.
    pub unpriced_calls: u32,
}

impl Usage {
    /// The whole cost in micro-USD; `None` when the price of a part is not known.
    #[must_use]
    pub fn cost_micro_usd(&self) -> Option<u64> {
        (self.unpriced_calls == 0).then_some(self.priced_micro_usd)
    }

    pub(super) fn of(attempt: &Attempt) -> Self {
        Self {
            model_calls: 1,
            tokens: attempt.tokens,
            priced_micro_usd: attempt.cost_micro_usd.unwrap_or(0),
            unpriced_calls: u32::from(attempt.cost_micro_usd.is_none()),
        }
    }

    /// Takes away what another used that is part of this.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.model_calls = self.model_calls.saturating_sub(other.model_calls);
        self.tokens.input = self.tokens.input.saturating_sub(other.tokens.input);
        self.tokens.cached_input = self.tokens.cached_input.saturating_sub(other.tokens.cached_input);
        self.tokens.output = self.tokens.output.saturating_sub(other.tokens.output);
        self.priced_micro_usd = self.priced_micro_usd.saturating_sub(other.priced_micro_usd);
        self.unpriced_calls = self.unpriced_calls.saturating_sub(other.unpriced_calls);
    }

    /// Adds what another used.
    pub fn add(&mut self, other: &Self) {
        self.model_calls = self.model_calls.saturating_add(other.model_calls);
        self.tokens.input = self.tokens.input.saturating_add(other.tokens.input);
        self.tokens.cached_input = self.tokens.cached_input.saturating_add(other.tokens.cached_input);
        self.tokens.output = self.tokens.output.saturating_add(other.tokens.output);
        self.priced_micro_usd = self.priced_micro_usd.saturating_add(other.priced_micro_usd);
        self.unpriced_calls = self.unpriced_calls.saturating_add(other.unpriced_calls);
    }
}

/// How an attempt to call a model ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// With an answer.
    Answered,
    /// With a fault.
    Failed(FaultKind),
    /// The worker that made it died or was stopped before it could write the answer down.
    Lost,
    /// The run was cancelled meanwhile.
    Cancelled,
}

/// One attempt to call a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The slot of the journal that it was made for.
    pub slot: u32,
    /// Which model.
    pub model: ModelName,
    /// When it was made.
    pub started_at: Timestamp,
    /// When its end was known.
    pub ended_at: Timestamp,
    /// How it ended.
    pub end: AttemptEnd,
    /// What it used, or an estimate on the high side.
    pub tokens: Tokens,
    /// Whether `tokens` is an estimate.
    pub estimated: bool,
    /// What it cost, in micro-USD; `None` when the price is not known.
    pub cost_micro_usd: Option<u64>,
    /// The provider's message when it failed.
    pub message: Option<String>,
    /// The ledgers that its cost is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ledgers: Vec<Ledger>,
}

/// What a worker said that it is about to do, before it did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The slot of the journal that it fills.
    pub slot: u32,
    /// Which try of this model for this slot it is, from 1.
    pub attempt: u32,
    /// The model that is called.
    pub model: ModelName,
    /// When.
    pub started_at: Timestamp,
    /// The most tokens that it may use.
    pub reserved: Tokens,
    /// What they cost at most, in micro-USD; `None` when the price is not known.
    pub reserved_micro_usd: Option<u64>,
    /// The ledgers in which that is reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ledgers: Vec<Ledger>,
}
