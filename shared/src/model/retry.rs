//! When a failed model call is tried again: arithmetic only. Knows no clock, no sleep and no network.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;

use super::{FaultKind, ModelFault, breaker};

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after so many milliseconds, in this invocation.
    After(u64),
    /// The provider asks for a longer pause than an invocation should wait: let go of the run and try again in so many
    /// milliseconds from now.
    Yield(u64),
    /// Do not try again.
    GiveUp,
}

/// How often and how long. The numbers are those of reliability.md 2.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most calls of one model request, the first one among them.
    pub max_attempts: u32,
    /// The longest first pause, in milliseconds; it doubles with each attempt.
    pub base_ms: u64,
    /// The longest pause within an invocation, in milliseconds.
    pub cap_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 4, base_ms: 500, cap_ms: 20_000 }
    }
}

impl RetryPolicy {
    /// What to do after the call number `attempt` (the first is 1) failed. A provider that limits the rate is never given up: the
    /// run waits; and so it does when the provider's allowance of retries is used up, or the model's circuit is open. `random` is uniform in 0..1: with full jitter the
    /// pause is that part of the longest one. `remaining_ms` is how long this invocation may still run.
    #[must_use]
    pub fn next(&self, bucket: &Bucket, attempt: u32, fault: &ModelFault, random: f64, remaining_ms: u64) -> Next {
        if fault.kind == FaultKind::CircuitOpen {
            // Spread over the time until the next probe, so that waiting runs do not come back at once.
            let wait_ms = fault.retry_after_ms.unwrap_or(0);
            return Next::Yield(wait_ms.saturating_add(part(random, breaker::PROBE_EVERY_MS)));
        }
        if !fault.retryable() || (attempt >= self.max_attempts && fault.kind != FaultKind::RateLimited) {
            return Next::GiveUp;
        }
        let later = self.cap_ms.saturating_add(part(random, self.cap_ms));
        if attempt >= self.max_attempts {
            return Next::Yield(later);
        }
        let pause = match fault.retry_after_ms {
            // Some more than asked, so that a thousand runs do not come back in the same millisecond.
            Some(asked) => asked.saturating_add(part(random, self.base_ms)),
            None => part(random, self.longest_pause_ms(attempt)),
        };
        if fault.retry_after_ms.is_some_and(|asked| asked > self.cap_ms) || pause > remaining_ms {
            return Next::Yield(pause);
        }
        if bucket.take(fault.kind) { Next::After(pause) } else { Next::Yield(later) }
    }

    fn longest_pause_ms(&self, attempt: u32) -> u64 {
        let doubled = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        self.base_ms.saturating_mul(doubled).min(self.cap_ms)
    }
}

/// A provider's allowance of retries in this process: when everything fails, retries stop instead of multiplying the load.
#[derive(Debug)]
pub struct Bucket(Mutex<u32>);

/// What a full bucket holds.
const BUCKET_TOKENS: u32 = 500;

impl Default for Bucket {
    fn default() -> Self {
        Self(Mutex::new(BUCKET_TOKENS))
    }
}

impl Bucket {
    /// Takes what a retry after that fault costs: 10 after a call that was lost or timed out, 5 otherwise. False when there is not
    /// enough left.
    fn take(&self, kind: FaultKind) -> bool {
        let cost = if kind == FaultKind::Lost { 10 } else { 5 };
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match tokens.checked_sub(cost) {
            Some(rest) => {
                *tokens = rest;
                true
            }
            None => false,
        }
    }

    /// A call succeeded: one token comes back.
    pub fn refund(&self) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = tokens.saturating_add(1).min(BUCKET_TOKENS);
    }
}

/// How many allowances of organisations' own providers a process keeps: users choose the names.
const BUCKETS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// The allowances of providers that organisations bring, by name.
#[derive(Debug)]
pub(super) struct Buckets(Mutex<LruCache<String, Arc<Bucket>>>);

impl Default for Buckets {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(BUCKETS)))
    }
}

impl Buckets {
    /// The allowance of that name.
    pub(super) fn of(&self, name: &str) -> Arc<Bucket> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.get_or_insert(name.to_owned(), Arc::default))
    }
}

/// That part of `whole`, in milliseconds.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a pause of milliseconds is far below 2^52, and `as` saturates"
)]
fn part(random: f64, whole: u64) -> u64 {
    (random.clamp(0.0, 1.0) * whole as f64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(kind: FaultKind, retry_after_ms: Option<u64>) -> ModelFault {
        ModelFault { kind, status: None, retry_after_ms, message: String::new() }
    }

    #[test]
    fn pauses_double_to_the_cap_and_end_after_four_calls() {
        let policy = RetryPolicy::default();
        let next = |attempt| policy.next(&Bucket::default(), attempt, &fault(FaultKind::Busy, None), 1.0, u64::MAX);
        assert_eq!(
            [next(1), next(2), next(3), next(4)],
            [Next::After(500), Next::After(1_000), Next::After(2_000), Next::GiveUp]
        );
    }

    #[test]
    fn a_long_retry_after_lets_go_of_the_run() {
        let policy = RetryPolicy::default();
        let next = |ms, left| policy.next(&Bucket::default(), 1, &fault(FaultKind::RateLimited, Some(ms)), 0.0, left);
        assert_eq!(next(20_000, u64::MAX), Next::After(20_000));
        assert_eq!(next(20_001, u64::MAX), Next::Yield(20_001));
        assert_eq!(next(5_000, 4_999), Next::Yield(5_000));
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again() {
        let policy = RetryPolicy::default();
        for kind in [FaultKind::Quota, FaultKind::Refused] {
            assert_eq!(policy.next(&Bucket::default(), 1, &fault(kind, Some(1)), 0.5, u64::MAX), Next::GiveUp);
        }
    }

    #[test]
    fn an_empty_bucket_lets_runs_wait_until_calls_succeed() {
        let (policy, bucket) = (RetryPolicy::default(), Bucket::default());
        let next = |kind| policy.next(&bucket, 1, &fault(kind, None), 0.0, u64::MAX);
        let retried =
            std::iter::repeat_with(|| next(FaultKind::Lost)).take_while(|next| *next == Next::After(0)).count();
        assert_eq!(retried, 50);
        (0..5).for_each(|_| bucket.refund());
        assert_eq!(next(FaultKind::Lost), Next::Yield(20_000));
        assert_eq!(next(FaultKind::Busy), Next::After(0));
    }

    #[test]
    fn a_provider_that_limits_the_rate_is_never_given_up() {
        let next = |fault| RetryPolicy::default().next(&Bucket::default(), 4, &fault, 0.0, u64::MAX);
        assert_eq!(next(fault(FaultKind::RateLimited, None)), Next::Yield(20_000));
        assert_eq!(next(fault(FaultKind::Busy, None)), Next::GiveUp);
        assert_eq!(next(fault(FaultKind::Quota, None)), Next::GiveUp);
    }

    #[test]
    fn a_run_waits_while_the_circuit_is_open_however_often_it_tried() {
        for attempt in [1, 4, 100] {
            let next = RetryPolicy::default().next(
                &Bucket::default(),
                attempt,
                &fault(FaultKind::CircuitOpen, Some(3_000)),
                0.5,
                u64::MAX,
            );
            assert_eq!(next, Next::Yield(8_000));
        }
    }

    proptest! {
        #[test]
        fn a_pause_stays_within_its_limits(attempt in 0_u32..200, random in 0.0_f64..1.0, left in 0_u64..100_000) {
            let policy = RetryPolicy { max_attempts: u32::MAX, ..RetryPolicy::default() };
            match policy.next(&Bucket::default(), attempt, &fault(FaultKind::Busy, None), random, left) {
                Next::After(ms) => prop_assert!(ms <= left && ms <= policy.cap_ms),
                Next::Yield(ms) => prop_assert!(ms > left && ms <= policy.cap_ms),
                Next::GiveUp => prop_assert!(false),
            }
        }
    }
}
