//! What a run's row books and the store has not written yet: it goes into the transaction that writes the row. Pure.

use std::collections::BTreeMap;

use super::{Ledger, Limit, Used};
use crate::{model::ModelName, run::Attempt};

/// What changed since the run's row was read or written. Everything that changes a run's attempts or its call in flight goes
/// through here, and the one method of the store that writes a run's row writes this with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Books {
    moves: BTreeMap<Ledger, Move>,
    used: BTreeMap<(String, ModelName), Used>,
}

/// What goes into a ledger.
#[derive(Debug, Clone, Default, PartialEq)]
struct Move {
    micro_usd: i64,
    /// The budget that must hold after it, if something is reserved.
    limit: Option<Limit>,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Books {
    /// So much is reserved under this budget.
    pub(crate) fn reserve(&mut self, limit: Limit, micro_usd: u64) {
        let entry = self.moves.entry(limit.ledger.clone()).or_default();
        entry.micro_usd = entry.micro_usd.saturating_add(signed(micro_usd));
        entry.limit = Some(limit);
    }

    /// What was reserved in these ledgers is given back: nothing was sent.
    pub(crate) fn give_back(&mut self, ledgers: &[Ledger], micro_usd: u64) {
        self.settle(ledgers, micro_usd, 0);
        for ledger in ledgers {
            if let Some(entry) = self.moves.get_mut(ledger) {
                entry.limit = None;
            }
        }
        self.tidy();
    }

    /// What changes nothing and asks for nothing is not written.
    fn tidy(&mut self) {
        self.moves.retain(|_, entry| entry.micro_usd != 0 || entry.limit.is_some());
    }

    /// What was reserved in these ledgers has become a cost.
    pub(crate) fn settle(&mut self, ledgers: &[Ledger], reserved_micro_usd: u64, cost_micro_usd: u64) {
        let difference = signed(cost_micro_usd).saturating_sub(signed(reserved_micro_usd));
        if difference == 0 {
            return;
        }
        for ledger in ledgers {
            let entry = self.moves.entry(ledger.clone()).or_default();
            entry.micro_usd = entry.micro_usd.saturating_add(difference);
        }
        self.tidy();
    }

    /// An attempt was counted.
    pub(crate) fn count(&mut self, attempt: &Attempt) {
        self.add(attempt, 1);
    }

    /// An attempt was counted before that turned out to be another.
    pub(crate) fn uncount(&mut self, attempt: &Attempt) {
        self.add(attempt, -1);
    }

    fn add(&mut self, attempt: &Attempt, sign: i64) {
        let used = self.used.entry((attempt.started_at.day(), attempt.model.clone())).or_default();
        let add = |to: &mut i64, number: i64| *to = to.saturating_add(number.saturating_mul(sign));
        add(&mut used.model_calls, 1);
        add(&mut used.input_tokens, signed(attempt.tokens.input));
        add(&mut used.cached_input_tokens, signed(attempt.tokens.cached_input));
        add(&mut used.output_tokens, signed(attempt.tokens.output));
        add(&mut used.cost_micro_usd, signed(attempt.cost_micro_usd.unwrap_or(0)));
        add(&mut used.unpriced_calls, i64::from(attempt.cost_micro_usd.is_none()));
    }

    /// What goes into which ledger, and the most that it may be at afterwards, in the order in which it is written.
    pub(crate) fn moves(&self) -> impl Iterator<Item = (&Ledger, i64, Option<i64>)> {
        self.moves.iter().map(|(ledger, entry)| (ledger, entry.micro_usd, entry.limit.as_ref().map(Limit::most)))
    }

    /// The budget of the move at that place.
    pub(crate) fn limit(&self, place: usize) -> Option<&Limit> {
        self.moves.values().nth(place).and_then(|entry| entry.limit.as_ref())
    }

    /// What was used on which day, of which model.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&str, &ModelName, Used)> {
        self.used.iter().map(|((day, model), used)| (day.as_str(), model, *used))
    }
}
