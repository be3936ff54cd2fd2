//! How a run goes from state to state: pure, without a clock or a store. Whoever applies one writes the row back only if it
//! is still the row that was read, so what held when it was decided holds when it is written.

use super::{
    ATTEMPTS_KEPT, Attempt, AttemptEnd, HOPS_LIMIT, InFlight, Lease, Reason, Run, Status, TAKEOVERS_LIMIT, Usage,
};
use crate::{
    clock::Timestamp,
    model::{Tokens, price::Price},
};

/// What came of asking for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// It is held now.
    Held,
    /// It ended now, instead of being held: cancelled, past its deadline, or in a crash loop.
    Ended,
    /// Nothing to do: it has ended, another holds it, or it waits for a time to come.
    NotNow,
}

/// How the next check is rounded, in milliseconds, so that its index entry seldom moves.
const CHECK_EXACT_MS: i64 = 30_000;

impl Run {
    /// Whether somebody may take the run now. A lease of another epoch of a process that is alone is nobody's.
    pub(crate) fn free(&self, now: Timestamp, sole_epoch: Option<&str>) -> bool {
        let waits = self.status == Status::Waiting && self.next_check_at > now && !self.cancel_requested;
        let held = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.until > now && sole_epoch.is_none_or(|epoch| lease.owner.starts_with(epoch)));
        !self.status.terminal() && !waits && !held
    }

    /// Takes the run for `owner`, or ends it when it must not go on.
    pub(crate) fn acquire(&mut self, owner: &str, now: Timestamp, lease_ms: i64, sole_epoch: Option<&str>) -> Acquired {
        if !self.free(now, sole_epoch) {
            return Acquired::NotNow;
        }
        let abandoned = self.lease.is_some();
        if abandoned {
            self.takeovers = self.takeovers.saturating_add(1);
        }
        if self.ends_now(now) {
            return Acquired::Ended;
        }
        if self.takeovers > TAKEOVERS_LIMIT {
            let message = format!("{TAKEOVERS_LIMIT} workers died one after the other while they held the run");
            self.fail(Reason::WorkerCrashLoop, message, now);
            return Acquired::Ended;
        }
        self.status = Status::Running;
        self.reason = None;
        self.accepted = true;
        self.fence = self.fence.saturating_add(1);
        self.started_at.get_or_insert(now);
        self.lease = Some(Lease { owner: owner.to_owned(), until: now.plus_ms(lease_ms) });
        self.check_at(now.plus_ms(lease_ms), now);
        Acquired::Held
    }

    /// Ends the run if it was cancelled or its deadline has passed.
    pub(crate) fn ends_now(&mut self, now: Timestamp) -> bool {
        if self.cancel_requested {
            self.interrupt(now);
        } else if self.deadline_at <= now {
            self.fail(Reason::Deadline, "the run did not end before its deadline".to_owned(), now);
        }
        self.status.terminal()
    }

    /// Says what is about to be done. What an earlier worker was doing when it died is booked as lost.
    pub(crate) fn intend(&mut self, next: InFlight, now: Timestamp) {
        self.book_lost(now, AttemptEnd::Lost);
        self.in_flight = Some(next);
        self.updated_at = now;
    }

    /// Renews the lease.
    pub(crate) fn renew(&mut self, now: Timestamp, lease_ms: i64) {
        if let Some(lease) = &mut self.lease {
            lease.until = now.plus_ms(lease_ms);
        }
        self.check_at(now.plus_ms(lease_ms), now);
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
            (Some(tokens), price) => price.map(|price| price.cost_micro_usd(tokens)),
        };
        let estimated = tokens.is_none();
        let tokens = tokens.unwrap_or(call.reserved);
        let attempt = Attempt {
            slot: call.slot,
            model: call.model,
            started_at: call.started_at,
            ended_at: now,
            end,
            tokens,
            estimated,
            cost_micro_usd,
            message,
        };
        self.note(attempt);
    }

    /// Counts an attempt, and keeps it among the last ones.
    pub(crate) fn note(&mut self, attempt: Attempt) {
        self.usage.add(&Usage {
            model_calls: 1,
            tokens: attempt.tokens,
            priced_micro_usd: attempt.cost_micro_usd.unwrap_or(0),
            unpriced_calls: u32::from(attempt.cost_micro_usd.is_none()),
        });
        if self.attempts.len() >= ATTEMPTS_KEPT {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
    }

    /// Books a call whose end nobody knows: it may have been billed, so it counts as reserved.
    pub(crate) fn book_lost(&mut self, now: Timestamp, end: AttemptEnd) {
        self.book(end, None, None, None, now);
    }

    /// A slot of the journal was filled.
    pub(crate) fn filled(&mut self, now: Timestamp) {
        self.step = self.step.saturating_add(1);
        self.takeovers = 0;
        self.updated_at = now;
    }

    /// Gives the run back for another worker to go on with.
    pub(crate) fn hand_on(&mut self, now: Timestamp, check_at: Timestamp) {
        self.hops = self.hops.saturating_add(1);
        self.lease = None;
        if self.hops > HOPS_LIMIT {
            self.fail(Reason::HopLimit, format!("the run was handed on more than {HOPS_LIMIT} times"), now);
            return;
        }
        self.status = Status::Queued;
        self.check_at(check_at, now);
    }

    /// Lets the run wait until then.
    pub(crate) fn wait(&mut self, reason: Reason, until: Timestamp, now: Timestamp) {
        self.hand_on(now, until);
        if !self.status.terminal() {
            self.status = Status::Waiting;
            self.reason = Some(reason);
            self.next_check_at = until.min(self.deadline_at);
        }
    }

    /// A worker is asked for, and will be again after this time. Who waited until now waits no more: the next check is not
    /// what a waiting run waits for.
    pub(crate) fn ask_for_worker(&mut self, check_at: Timestamp) {
        if self.status == Status::Waiting {
            self.status = Status::Queued;
            self.reason = None;
        }
        self.next_check_at = check_at.min(self.deadline_at);
    }

    /// Ends it well.
    pub(crate) fn finish(&mut self, reason: Option<Reason>, now: Timestamp) {
        self.end(Status::Done, now);
        self.reason = reason;
    }

    /// Ends it badly.
    pub(crate) fn fail(&mut self, reason: Reason, message: String, now: Timestamp) {
        self.end(Status::Error, now);
        self.reason = Some(reason);
        self.error = Some(message);
    }

    /// Ends it because somebody wanted it to.
    pub(crate) fn interrupt(&mut self, now: Timestamp) {
        self.end(Status::Interrupted, now);
        self.reason = Some(Reason::Cancelled);
    }

    fn end(&mut self, status: Status, now: Timestamp) {
        self.book_lost(now, if status == Status::Interrupted { AttemptEnd::Cancelled } else { AttemptEnd::Lost });
        self.status = status;
        self.accepted = true;
        self.lease = None;
        self.ended_at = Some(now);
        self.updated_at = now;
    }

    /// The next look is never after the deadline, and rounded up otherwise.
    fn check_at(&mut self, at: Timestamp, now: Timestamp) {
        let rounded =
            at.millis().saturating_add(CHECK_EXACT_MS).div_euclid(CHECK_EXACT_MS).saturating_mul(CHECK_EXACT_MS);
        self.next_check_at = Timestamp::from_millis(rounded).min(self.deadline_at);
        self.updated_at = now;
    }

    /// When the reaper looks first, for a run that was accepted now.
    pub(crate) fn first_check(&mut self, now: Timestamp, lease_ms: i64) {
        self.check_at(now.plus_ms(lease_ms), now);
    }
}
