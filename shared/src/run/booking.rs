//! What a run's model calls cost: reserved before, booked after, and what becomes of it in its ledgers. Pure. Nothing else changes a
//! run's attempts, its usage, or its call in flight.

use super::{ATTEMPTS_KEPT, Attempt, AttemptEnd, InFlight, Reason, Run, Usage};
use crate::{
    clock::Timestamp,
    model::{Tokens, price::Price},
    money::{Books, Budget, Ledger, Limit},
};

impl Run {
    /// The budgets besides its own that apply to what it does now, with those of its organisation.
    pub(crate) fn limits(&self, now: Timestamp, organisation: Vec<Limit>) -> Vec<Limit> {
        let batch = self.batch.as_ref().and_then(|batch| {
            let ledger = Ledger::new(Budget::Batch, batch.id.to_string(), now);
            Some(Limit::new(ledger, batch.budget_micro_usd?))
        });
        let key = self.key_budget.iter().flat_map(|key| key.limits(now));
        let shared = self.shared_budgets.iter().map(|shared| Limit::new(shared.ledger.clone(), shared.micro_usd));
        batch.into_iter().chain(shared).chain(key).chain(organisation).collect()
    }

    /// Says what is about to be done, and reserves what it may cost under these budgets. What an earlier worker was doing when it
    /// died is booked as lost.
    pub(crate) fn intend(&mut self, next: InFlight, limits: Vec<Limit>, now: Timestamp) {
        self.book_lost(now, AttemptEnd::Lost);
        let micro_usd = next.reserved_micro_usd.unwrap_or(0);
        let ledgers = limits.iter().map(|limit| limit.ledger.clone()).collect();
        for limit in limits {
            self.books.reserve(limit, micro_usd);
        }
        self.in_flight = Some(InFlight { ledgers, ..next });
        self.updated_at = now;
    }

    /// What was about to be done is not done: nothing was sent, so nothing is booked.
    pub(crate) fn withdraw(&mut self) {
        if let Some(call) = self.in_flight.take() {
            self.books.give_back(&call.ledgers, call.reserved_micro_usd.unwrap_or(0));
        }
    }

    /// Ends the run because this budget, of which so much is committed, has no room for the call that was to be made.
    pub(crate) fn refuse(&mut self, limit: &Limit, committed_micro_usd: u64, now: Timestamp) {
        let next = self.in_flight.as_ref().and_then(|call| call.reserved_micro_usd).unwrap_or(0);
        self.withdraw();
        self.exceed(limit.ledger.budget, limit.refusal(next, committed_micro_usd), now);
    }

    /// Ends the run because a budget has no room.
    pub(crate) fn exceed(&mut self, budget: Budget, message: String, now: Timestamp) {
        self.fail(Reason::BudgetExceeded, message, now);
        self.refused_by = Some(budget);
    }

    /// Books how an attempt ended and what it used, at this price. `None` for the tokens books what was reserved.
    pub(crate) fn book(
        &mut self,
        end: AttemptEnd,
        tokens: Option<Tokens>,
        price: Option<&Price>,
        message: Option<String>,
        now: Timestamp,
    ) {
        let Some(call) = self.in_flight.take() else { return };
        let cost_micro_usd = match (tokens, price) {
            (None, _) => call.reserved_micro_usd,
            (Some(tokens), _) if tokens == Tokens::default() => Some(0),
            (Some(tokens), price) => price.map(|price| price.cost_micro_usd(tokens)).or(call.reserved_micro_usd),
        };
        let attempt = Attempt {
            slot: call.slot,
            model: call.model,
            started_at: call.started_at,
            ended_at: now,
            end,
            tokens: tokens.unwrap_or(call.reserved),
            estimated: tokens.is_none(),
            cost_micro_usd,
            message,
            ledgers: call.ledgers,
        };
        self.books.settle(&attempt.ledgers, call.reserved_micro_usd.unwrap_or(0), cost_micro_usd.unwrap_or(0));
        self.note(attempt);
    }

    /// Books a call whose end nobody knows: it may have been billed, so it counts as reserved.
    pub(crate) fn book_lost(&mut self, now: Timestamp, end: AttemptEnd) {
        self.book(end, None, None, None, now);
    }

    /// The answer of an attempt that was given up came after all: it is booked as what it was, whether its call still stands in the
    /// row or was booked as lost. One that is not among the kept attempts any more stays as it was booked.
    pub(crate) fn correct(&mut self, came: Attempt) {
        let same = |slot, started_at| slot == came.slot && started_at == came.started_at;
        if let Some(call) = self.in_flight.take_if(|call| same(call.slot, call.started_at)) {
            let reserved = call.reserved_micro_usd.unwrap_or(0);
            self.books.settle(&call.ledgers, reserved, came.cost_micro_usd.unwrap_or(0));
            self.note(Attempt { ledgers: call.ledgers, ..came });
            return;
        }
        let Some(lost) = self.attempts.iter_mut().rev().find(|lost| lost.estimated && same(lost.slot, lost.started_at))
        else {
            return;
        };
        let reserved = lost.cost_micro_usd.unwrap_or(0);
        self.books.settle(&lost.ledgers, reserved, came.cost_micro_usd.unwrap_or(0));
        self.books.uncount(lost);
        self.books.count(&came);
        self.usage.subtract(&Usage::of(lost));
        self.usage.add(&Usage::of(&came));
        *lost = Attempt { ledgers: std::mem::take(&mut lost.ledgers), ..came };
    }

    /// Counts an attempt, and keeps it among the last ones. The first to go are those that were answered, which are kept with their
    /// answers; what others used that go is added up.
    fn note(&mut self, attempt: Attempt) {
        self.usage.add(&Usage::of(&attempt));
        self.books.count(&attempt);
        if self.attempts.len() >= ATTEMPTS_KEPT {
            let answered = self.attempts.iter().position(|attempt| attempt.end == AttemptEnd::Answered);
            let gone = self.attempts.remove(answered.unwrap_or(0));
            if answered.is_none() {
                self.left_out.add(&Usage::of(&gone));
            }
        }
        self.attempts.push(attempt);
    }

    /// The attempt that the answer in that slot came of, to be kept with it: its ledgers are settled.
    pub(crate) fn answered_for(&self, slot: u32) -> Option<Attempt> {
        let answered = |attempt: &&Attempt| attempt.slot == slot && attempt.end == AttemptEnd::Answered;
        self.attempts.iter().rev().find(answered).map(|attempt| Attempt { ledgers: Vec::new(), ..attempt.clone() })
    }

    /// The row was written, and what goes with it.
    pub(crate) fn written(&mut self) {
        self.placed = self.takes_place();
        self.books = Books::default();
    }

    /// How the row's next write changes the number of its batch's runs that are in hand: `None` when it does not.
    pub(crate) fn place_step(&self) -> Option<i64> {
        match (self.placed, self.takes_place()) {
            (false, true) => Some(1),
            (true, false) => Some(-1),
            (true, true) | (false, false) => None,
        }
    }

    /// Whether the run is to be counted among its batch's runs that are in hand: from its taking until it ends, waits or is handed on,
    /// whoever holds it.
    pub(crate) fn takes_place(&self) -> bool {
        self.lease.is_some() && self.batch.as_ref().is_some_and(|batch| batch.max_concurrency.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::ModelName,
        run::{
            Status,
            transition::tests::{LEASE_MS, at, queued},
        },
    };

    const TOKENS: Tokens = Tokens { input: 10, cached_input: 0, output: 100 };

    fn call(now: Timestamp) -> InFlight {
        InFlight {
            slot: 1,
            attempt: 1,
            model: ModelName("m".to_owned()),
            started_at: now,
            reserved: TOKENS,
            reserved_micro_usd: Some(7),
            ledgers: Vec::new(),
        }
    }

    fn limit(budget: Budget) -> Limit {
        Limit::new(Ledger::new(budget, "it", at(0)), 100)
    }

    /// What goes into ledgers, and what they may be at; and forgets it, as a write does.
    fn moves(run: &mut Run) -> Vec<(Budget, i64, Option<i64>)> {
        let books = std::mem::take(&mut run.books);
        books.moves().map(|(ledger, micro_usd, most)| (ledger.budget, micro_usd, most)).collect()
    }

    fn costing(micro_usd: u64) -> Price {
        Price { input: 0, cached_input: None, output: micro_usd * 10_000, long_prompt: None }
    }

    #[test]
    fn what_a_dead_worker_was_doing_is_booked_at_what_was_reserved() {
        let mut run = queued();
        run.acquire("one", at(0), LEASE_MS, None);
        run.intend(call(at(0)), Vec::new(), at(0));
        run.acquire("two", at(LEASE_MS), LEASE_MS, None);
        run.intend(call(at(LEASE_MS)), Vec::new(), at(LEASE_MS));
        assert_eq!((run.usage.model_calls, run.usage.cost_micro_usd()), (1, Some(7)));
        assert_eq!((run.attempts[0].end, run.attempts[0].estimated), (AttemptEnd::Lost, true));
        run.book(AttemptEnd::Answered, Some(Tokens::default()), None, None, at(LEASE_MS));
        assert_eq!((run.usage.model_calls, run.usage.cost_micro_usd()), (2, Some(7)));
    }

    #[test]
    fn tokens_without_a_price_make_the_cost_unknown() {
        let mut run = queued();
        run.intend(InFlight { reserved_micro_usd: None, ..call(at(0)) }, Vec::new(), at(0));
        run.book(AttemptEnd::Answered, Some(Tokens { input: 1, cached_input: 0, output: 1 }), None, None, at(1));
        assert_eq!(run.usage.cost_micro_usd(), None);
    }

    #[test]
    fn what_was_reserved_is_settled_in_the_ledgers_of_its_period_whenever_it_ends() {
        let mut run = queued();
        let day = limit(Budget::OrganisationDay);
        run.intend(call(at(0)), vec![day.clone(), limit(Budget::Batch)], at(0));
        assert_eq!(moves(&mut run), [(Budget::Batch, 7, Some(100)), (Budget::OrganisationDay, 7, Some(100))]);
        run.book(AttemptEnd::Answered, Some(TOKENS), Some(&costing(3)), None, at(30 * 3_600_000));
        let settled: Vec<_> = run.books.moves().map(|(ledger, micro_usd, _)| (ledger.clone(), micro_usd)).collect();
        assert_eq!(settled, [(limit(Budget::Batch).ledger, -4), (day.ledger, -4)]);
    }

    #[test]
    fn settling_and_the_next_reservation_are_one_move_under_the_budget() {
        let mut run = queued();
        run.intend(call(at(0)), vec![limit(Budget::Batch)], at(0));
        moves(&mut run);
        run.book(AttemptEnd::Answered, Some(TOKENS), Some(&costing(3)), None, at(1));
        run.intend(call(at(1)), vec![limit(Budget::Batch)], at(1));
        assert_eq!(moves(&mut run), [(Budget::Batch, 3, Some(100))]);
    }

    #[test]
    fn what_is_withdrawn_or_refused_leaves_no_trace_and_what_was_settled_with_it_stays() {
        let mut run = queued();
        run.intend(call(at(0)), vec![limit(Budget::Batch)], at(0));
        run.withdraw();
        assert_eq!((moves(&mut run), run.usage), (vec![], Usage::default()));
        run.intend(call(at(0)), vec![limit(Budget::Batch)], at(0));
        moves(&mut run);
        run.book(AttemptEnd::Answered, Some(TOKENS), Some(&costing(3)), None, at(1));
        run.intend(call(at(1)), vec![limit(Budget::Batch)], at(1));
        run.refuse(&limit(Budget::Batch), 97, at(1));
        assert_eq!(moves(&mut run), [(Budget::Batch, -4, None)]);
        assert_eq!((run.status, run.reason), (Status::Error, Some(Reason::BudgetExceeded)));
        assert_eq!(run.refused_by, Some(Budget::Batch));
        let said =
            "the next model call may cost 7 micro-USD, and 97 of the 100 of the batch budget are spent or reserved";
        assert_eq!(run.error.as_deref(), Some(said));
    }

    #[test]
    fn every_end_of_a_run_with_a_call_in_flight_keeps_what_was_reserved_as_spent() {
        let ends: [fn(&mut Run); 3] = [
            |run| run.interrupt(at(1)),
            |run| run.fail(Reason::Deadline, String::new(), at(1)),
            |run| run.finish(None, at(1)),
        ];
        for end in ends {
            let mut run = queued();
            run.intend(call(at(0)), vec![limit(Budget::Batch)], at(0));
            moves(&mut run);
            end(&mut run);
            // Nothing is given back: what was reserved is what it cost.
            assert_eq!((moves(&mut run), run.usage.priced_micro_usd), (vec![], 7));
        }
    }

    #[test]
    fn attempts_that_are_not_kept_are_with_their_answers_or_added_up() {
        let mut run = queued();
        for number in 0..60 {
            run.intend(call(at(number)), Vec::new(), at(number));
            let end = if number % 2 == 0 { AttemptEnd::Answered } else { AttemptEnd::Lost };
            run.book(end, Some(TOKENS), Some(&costing(1)), None, at(number));
            assert!(run.attempts.len() <= ATTEMPTS_KEPT);
            assert_eq!(run.answered_for(1).is_some(), run.attempts.iter().any(|one| one.end == AttemptEnd::Answered));
        }
        // The last is always there, and of those that failed all but the last ones are added up.
        assert_eq!(run.attempts.last().unwrap().started_at, at(59));
        let failed = run.attempts.iter().filter(|attempt| attempt.end == AttemptEnd::Lost).count();
        assert_eq!((failed, run.left_out.model_calls, run.left_out.priced_micro_usd), (20, 10, 10));
        assert_eq!(run.usage.model_calls, 60);
    }

    #[test]
    fn an_answer_that_came_after_all_is_counted_once_and_at_its_cost() {
        let mut run = queued();
        run.intend(call(at(0)), vec![limit(Budget::Batch)], at(0));
        let mut first = run.clone();
        first.book(AttemptEnd::Answered, Some(TOKENS), Some(&costing(2)), None, at(9));
        let came = first.attempts[0].clone();
        let mut still_there = run.clone();
        run.intend(call(at(5)), vec![limit(Budget::Batch)], at(5));
        for run in [&mut run, &mut still_there] {
            moves(run);
            run.correct(came.clone());
            assert_eq!((run.usage.model_calls, run.usage.priced_micro_usd, run.attempts.len()), (1, 2, 1));
            assert_eq!((run.attempts[0].end, run.attempts[0].estimated), (AttemptEnd::Answered, false));
            assert_eq!(moves(run), [(Budget::Batch, -5, None)]);
        }
        assert!(run.in_flight.is_some() && still_there.in_flight.is_none());
    }
}
