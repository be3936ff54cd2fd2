//! When a model that keeps failing is left alone: the circuit breaker of reliability.md 2.10. Knows no clock: it is told the time.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;

use super::FaultKind;

/// How far back failures count, in seconds.
const WINDOW_S: usize = 30;
/// How many calls must have ended within the window before it is judged.
const LEAST_CALLS: u32 = 20;
/// How long after it opened, and after each probe, the next probe is let through, in milliseconds.
pub const PROBE_EVERY_MS: u64 = 10_000;
/// How many models' breakers a process keeps: users choose the names.
const MODELS: NonZeroUsize = match NonZeroUsize::new(1_000) {
    Some(models) => models,
    None => NonZeroUsize::MIN,
};

/// The breakers of this process, one for each vendor or organisation's provider, and model.
#[derive(Debug)]
pub struct Breakers(Mutex<LruCache<String, Arc<Breaker>>>);

impl Default for Breakers {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MODELS)))
    }
}

impl Breakers {
    /// The breaker of that name: of a model's canonical one, with its organisation before it when its provider is that's own.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<Breaker> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = known.get(name) {
            return Arc::clone(breaker);
        }
        let breaker = Arc::<Breaker>::default();
        known.put(name.to_owned(), Arc::clone(&breaker));
        breaker
    }
}

/// Opens when half of at least 20 calls within 30 s failed; then nothing passes but a probe every 10 s, and the first one that
/// succeeds closes it.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    seconds: [Second; WINDOW_S],
    /// When the next probe may pass; `None` when it is closed.
    next_probe_ms: Option<u64>,
}

/// What ended within one second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    calls: u32,
    failed: u32,
}

/// Leave to call, to be handed back with what came of it. A probe that is never handed back is followed by the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The breaker is closed.
    Normal,
    /// It is open, and this call tells whether it stays so.
    Probe,
}

impl Breaker {
    /// Leave to call now.
    ///
    /// # Errors
    /// After how many milliseconds to ask again, when it is open.
    pub fn admit(&self, now_ms: u64) -> Result<Pass, u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.next_probe_ms {
            None => Ok(Pass::Normal),
            Some(at) if at > now_ms => Err(at.saturating_sub(now_ms)),
            Some(_) => {
                state.next_probe_ms = Some(now_ms.saturating_add(PROBE_EVERY_MS));
                Ok(Pass::Probe)
            }
        }
    }

    /// After how many milliseconds a call would be let through; `None` for at once. Takes no probe's place.
    #[must_use]
    pub fn closed_for_ms(&self, now_ms: u64) -> Option<u64> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.next_probe_ms.map(|at| at.saturating_sub(now_ms)).filter(|wait_ms| *wait_ms > 0)
    }

    /// What came of a call that was let through.
    pub fn record(&self, pass: Pass, now_ms: u64, failed: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pass {
            Pass::Probe if failed => state.next_probe_ms = Some(now_ms.saturating_add(PROBE_EVERY_MS)),
            Pass::Probe => *state = State::default(),
            // Calls that began before it opened end late; they change nothing.
            Pass::Normal if state.next_probe_ms.is_some() => {}
            Pass::Normal => {
                state.count(now_ms, failed);
                if failed && state.is_bad(now_ms) {
                    state.next_probe_ms = Some(now_ms.saturating_add(PROBE_EVERY_MS));
                }
            }
        }
    }
}

impl State {
    fn count(&mut self, now_ms: u64, failed: bool) {
        let number = now_ms / 1_000;
        let place = usize::try_from(number % WINDOW_S as u64).unwrap_or(0);
        let Some(second) = self.seconds.get_mut(place) else { return };
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        second.calls = second.calls.saturating_add(1);
        second.failed = second.failed.saturating_add(u32::from(failed));
    }

    fn is_bad(&self, now_ms: u64) -> bool {
        let now = now_ms / 1_000;
        let within = self.seconds.iter().filter(|second| second.number.saturating_add(WINDOW_S as u64) > now);
        let (calls, failed) = within.fold((0_u32, 0_u32), |(calls, failed), second| {
            (calls.saturating_add(second.calls), failed.saturating_add(second.failed))
        });
        calls >= LEAST_CALLS && failed.saturating_mul(2) >= calls
    }
}

/// Whether a fault is the model's or its provider's failing. One that limits the rate, wants money or refuses is well.
#[must_use]
pub const fn counts(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Busy | FaultKind::Lost | FaultKind::Incomprehensible => true,
        FaultKind::RateLimited | FaultKind::Quota | FaultKind::Refused | FaultKind::CircuitOpen => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That many calls end now, of which the last `failed` fail.
    fn end(breaker: &Breaker, now_ms: u64, calls: u32, failed: u32) {
        for number in 0..calls {
            breaker.record(Pass::Normal, now_ms, number >= calls - failed);
        }
    }

    #[test]
    fn it_opens_at_half_of_twenty_calls() {
        let breaker = Breaker::default();
        end(&breaker, 1_000, 19, 19);
        assert_eq!(breaker.admit(1_000), Ok(Pass::Normal));
        end(&breaker, 2_000, 1, 1);
        assert_eq!(breaker.admit(2_001), Err(9_999));
        assert_eq!(breaker.closed_for_ms(2_001), Some(9_999));

        let breaker = Breaker::default();
        end(&breaker, 1_000, 41, 20);
        assert_eq!(breaker.admit(1_000), Ok(Pass::Normal), "fewer than half");
        end(&breaker, 1_000, 1, 1);
        assert_eq!(breaker.admit(1_000), Err(10_000));
    }

    #[test]
    fn what_is_older_than_thirty_seconds_does_not_count() {
        let breaker = Breaker::default();
        end(&breaker, 1_000, 19, 19);
        end(&breaker, 31_000, 1, 1);
        assert_eq!(breaker.admit(31_000), Ok(Pass::Normal));
        end(&breaker, 60_999, 19, 19);
        assert_eq!(breaker.admit(60_999), Err(10_000));
    }

    #[test]
    fn one_probe_passes_every_ten_seconds_and_a_success_closes_it() {
        let breaker = Breaker::default();
        end(&breaker, 0, 20, 20);
        assert_eq!(breaker.admit(9_999), Err(1));
        assert_eq!(breaker.admit(10_000), Ok(Pass::Probe));
        assert_eq!(breaker.admit(10_000), Err(10_000), "one at a time");
        breaker.record(Pass::Probe, 15_000, true);
        assert_eq!(breaker.admit(24_999), Err(1), "from when the probe failed");
        assert_eq!(breaker.admit(25_000), Ok(Pass::Probe), "and this one is lost with its caller");
        assert_eq!(breaker.admit(35_000), Ok(Pass::Probe));
        breaker.record(Pass::Normal, 35_001, false);
        assert_eq!(breaker.admit(35_001), Err(9_999), "a call from before it opened says nothing");
        breaker.record(Pass::Probe, 35_002, false);
        assert_eq!(breaker.admit(35_002), Ok(Pass::Normal));
        end(&breaker, 35_003, 19, 19);
        assert_eq!(breaker.admit(35_003), Ok(Pass::Normal), "it begins anew");
    }

    #[test]
    fn each_model_has_its_own_and_the_oldest_is_forgotten() {
        let breakers = Breakers::default();
        end(&breakers.of("openai/a"), 0, 20, 20);
        assert!(breakers.of("openai/a").admit(1).is_err());
        assert!(breakers.of("openai/b").admit(1).is_ok());
        for number in 0..1_000 {
            let _ = breakers.of(&format!("openai/{number}"));
        }
        assert!(breakers.of("openai/a").admit(1).is_ok());
    }
}
