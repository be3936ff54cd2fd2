//! How a run goes from state to state: pure, without a clock or a store. Whoever applies one writes the row back only if it
//! is still the row that was read, so what held when it was decided holds when it is written.

use super::{AttemptEnd, HOPS_LIMIT, Lease, Reason, Run, SOLE_TAKEOVERS_LIMIT, Status, TAKEOVERS_LIMIT};
use crate::clock::Timestamp;

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
        // Who waits for sub-agents is told of their ends by messages, and looks for itself.
        let waits = self.status == Status::Waiting && self.reason != Some(Reason::SubAgent);
        let waits = waits && self.next_check_at > now && !self.cancel_requested;
        let held = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.until > now && sole_epoch.is_none_or(|epoch| lease.owner.starts_with(epoch)));
        !self.status.terminal() && !waits && !held
    }

    /// Whether who holds the run has held it for longer than was written, so that others may have taken it.
    pub(crate) fn lease_is_over(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until <= now)
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
        let limit = if sole_epoch.is_some() { SOLE_TAKEOVERS_LIMIT } else { TAKEOVERS_LIMIT };
        if self.takeovers > limit {
            let message = format!("{limit} workers died one after the other while they held the run");
            self.fail(Reason::WorkerCrashLoop, message, now);
            return Acquired::Ended;
        }
        self.status = Status::Running;
        self.reason = None;
        self.accepted = true;
        self.fence = self.fence.saturating_add(1);
        if self.started_at.is_none() {
            self.tell();
            self.started_at = Some(now);
        }
        self.lease = Some(Lease { owner: owner.to_owned(), until: now.plus_ms(lease_ms) });
        self.check_at(now.plus_ms(lease_ms), now);
        Acquired::Held
    }

    /// Ends the run if it was cancelled or its deadline has passed.
    pub(crate) fn ends_now(&mut self, now: Timestamp) -> bool {
        if self.cancel_requested {
            self.interrupt(now);
        } else if self.deadline_at <= now {
            let (reason, message) = if self.awaits_approval() {
                (Reason::ApprovalExpired, "nobody said before the deadline whether a tool may be called")
            } else {
                (Reason::Deadline, "the run did not end before its deadline")
            };
            self.fail(reason, message.to_owned(), now);
        }
        self.status.terminal()
    }

    /// Renews the lease.
    pub(crate) fn renew(&mut self, now: Timestamp, lease_ms: i64) {
        if let Some(lease) = &mut self.lease {
            lease.until = now.plus_ms(lease_ms);
        }
        self.check_at(now.plus_ms(lease_ms), now);
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

    /// Lets the run wait until then. That is no hop: what it waits for is outside, and its deadline ends it.
    pub(crate) fn wait(&mut self, reason: Reason, until: Timestamp, now: Timestamp) {
        self.lease = None;
        self.status = Status::Waiting;
        self.reason = Some(reason);
        self.next_check_at = until.min(self.deadline_at);
        self.updated_at = now;
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        agent::{Metadata, Mode},
        id::{AgentId, KeyId, OrgId, RunId},
        model::ModelName,
        money::Books,
        run::{Called, Origin, Usage},
        webhook::Notices,
    };

    pub(in crate::run) const LEASE_MS: i64 = 60_000;

    pub(in crate::run) fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_780_000_000_000 + millis)
    }

    pub(in crate::run) fn queued() -> Run {
        let now = at(0);
        let id = RunId::new(now);
        Run {
            id,
            org: OrgId::new(now),
            key_id: KeyId::new(now),
            origin: Origin::Native,
            cause: None,
            agent_id: AgentId::new(now),
            agent_version: 1,
            agent_name: "a".to_owned(),
            model: ModelName("m".to_owned()),
            mode: Mode::Auto,
            structured: false,
            streams: false,
            title: "t".to_owned(),
            metadata: Metadata::new(),
            webhook_url: None,
            chat_id: id,
            continued_by: Vec::new(),
            batch: None,
            parent: None,
            started_for: Vec::new(),
            reduces: None,
            grades: None,
            judges: false,
            graded: false,
            evaluation: None,
            accepted: true,
            status: Status::Queued,
            reason: None,
            error: None,
            step: 1,
            in_flight: None,
            calls: Vec::new(),
            called: Called::default(),
            told: 1,
            passed_over: Vec::new(),
            lease: None,
            fence: 0,
            takeovers: 0,
            hops: 0,
            cancel_requested: false,
            deadline_at: at(3_600_000),
            next_check_at: now,
            max_steps: 25,
            budget_micro_usd: None,
            key_budget: None,
            shared_budgets: Vec::new(),
            refused_by: None,
            placed: false,
            stamp: 0,
            usage: Usage::default(),
            attempts: Vec::new(),
            left_out: Usage::default(),
            created_at: now,
            started_at: None,
            ended_at: None,
            updated_at: now,
            books: Books::default(),
            notices: Notices::default(),
        }
    }

    #[test]
    fn a_held_run_is_nobody_elses_until_its_lease_runs_out() {
        let mut run = queued();
        assert_eq!(run.acquire("one", at(0), LEASE_MS, None), Acquired::Held);
        assert_eq!(run.acquire("two", at(LEASE_MS - 1), LEASE_MS, None), Acquired::NotNow);
        assert_eq!(run.acquire("two", at(LEASE_MS), LEASE_MS, None), Acquired::Held);
        assert_eq!((run.fence, run.takeovers), (2, 1));
    }

    #[test]
    fn a_process_that_is_alone_takes_over_what_an_earlier_one_held() {
        let mut run = queued();
        assert_eq!(run.acquire("epoch1", at(0), LEASE_MS, Some("epoch1")), Acquired::Held);
        assert_eq!(run.acquire("epoch1", at(1), LEASE_MS, Some("epoch1")), Acquired::NotNow);
        assert_eq!(run.acquire("epoch2", at(1), LEASE_MS, Some("epoch2")), Acquired::Held);
    }

    #[test]
    fn the_fourth_worker_in_a_row_that_would_take_an_abandoned_run_ends_it() {
        let mut run = queued();
        let taken = |run: &mut Run, n| run.acquire("w", at(n * LEASE_MS), LEASE_MS, None);
        for n in 0..=3 {
            assert_eq!(taken(&mut run, n), Acquired::Held, "worker {n}");
        }
        assert_eq!(taken(&mut run, 4), Acquired::Ended);
        assert_eq!((run.status, run.reason), (Status::Error, Some(Reason::WorkerCrashLoop)));
    }

    #[test]
    fn a_filled_slot_forgives_earlier_take_overs_and_a_hand_over_is_none() {
        let mut run = queued();
        for n in 0..3 {
            assert_eq!(run.acquire("w", at(n * LEASE_MS), LEASE_MS, None), Acquired::Held);
        }
        run.fill(1, Vec::new(), at(1));
        assert_eq!((run.takeovers, run.step), (0, 2));
        run.hand_on(at(2), at(2));
        assert_eq!(run.acquire("w", at(3), LEASE_MS, None), Acquired::Held);
        assert_eq!((run.takeovers, run.hops), (0, 1));
    }

    #[test]
    fn a_run_is_handed_on_so_often_and_not_more() {
        let mut run = queued();
        for _ in 0..HOPS_LIMIT {
            run.hand_on(at(0), at(0));
            assert_eq!(run.status, Status::Queued);
        }
        run.hand_on(at(0), at(0));
        assert_eq!((run.status, run.reason), (Status::Error, Some(Reason::HopLimit)));
    }

    #[test]
    fn a_cancel_ends_a_run_that_nobody_holds_when_it_is_taken_and_a_deadline_does_too() {
        let mut cancelled = Run { cancel_requested: true, ..queued() };
        assert_eq!(cancelled.acquire("w", at(0), LEASE_MS, None), Acquired::Ended);
        assert_eq!((cancelled.status, cancelled.fence), (Status::Interrupted, 0));
        let mut late = queued();
        assert_eq!(late.acquire("w", late.deadline_at, LEASE_MS, None), Acquired::Ended);
        assert_eq!((late.status, late.reason), (Status::Error, Some(Reason::Deadline)));
    }

    #[test]
    fn a_waiting_run_is_taken_when_its_time_has_come_or_it_is_cancelled() {
        let mut run = queued();
        run.wait(Reason::ProviderRateLimit, at(90_000), at(0));
        assert_eq!(run.status, Status::Waiting);
        assert!(!run.free(at(89_999), None));
        assert!(run.free(at(90_000), None));
        run.cancel_requested = true;
        assert!(run.free(at(0), None));
    }

    #[test]
    fn the_reaper_never_looks_after_the_deadline() {
        let mut run = Run { deadline_at: at(10_000), ..queued() };
        run.acquire("w", at(0), LEASE_MS, None);
        assert_eq!(run.next_check_at, at(10_000));
    }

    #[test]
    fn a_cancel_that_comes_as_the_holder_lets_go_is_not_waited_out() {
        let cancelled = Run { cancel_requested: true, ..queued() };
        let mut run = queued();
        run.wait(Reason::ApprovalRequired, at(1_000_000), at(1));
        run.adopt(&cancelled, at(LEASE_MS));
        assert_eq!((run.status, run.reason, run.next_check_at), (Status::Queued, None, at(LEASE_MS)));
        assert!(run.cancel_requested);
        // Who waits although it knew of that waits for what its end takes.
        run.wait(Reason::SubAgent, at(1_000_000), at(2));
        run.adopt(&cancelled, at(LEASE_MS));
        assert_eq!((run.status, run.next_check_at), (Status::Waiting, at(1_000_000)));
    }
}
