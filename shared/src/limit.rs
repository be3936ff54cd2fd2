//! Limits per key: requests a minute (GCRA, the generic cell rate algorithm of ITU-T I.371), and requests in flight.
//!
//! Where one process serves everything, the state is in its memory. Where many do, it is in the store: a row per key for
//! the rate, of which a process takes a few requests at a time, and a row per place for the requests in flight, each with
//! an end, so that a process that died holds none for long.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{KeyId, TriggerId},
    random, store,
    tenant::Caller,
};

/// The limits that were set when a key was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimits {
    /// Requests a minute; 0 is no limit; `None` is the surface's default.
    pub requests_per_minute: Option<u32>,
    /// Requests in flight at a time; 0 is no limit; `None` is the surface's default.
    pub in_flight: Option<u32>,
    /// The most that the key's runs may cost on a day (UTC), in micro-USD: at least 1; `None` is no budget.
    #[serde(default)]
    pub day_budget_micro_usd: Option<u64>,
    /// The same in a month (UTC).
    #[serde(default)]
    pub month_budget_micro_usd: Option<u64>,
}

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// All calls but those below.
    Calls,
    /// Calls of the CoAgent surface, whose rate is so low that it would use up the others'.
    Coagent,
    /// Entries that are written to logs: clients of those give up when they are refused, so that other calls must not be in their way.
    Logs,
    /// Events of a trigger, whose id stands in the place of a key's.
    Events,
}

/// The limits that apply to a request: 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Together with which other requests.
    pub counted: Counted,
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// Requests in flight at a time.
    pub in_flight: u32,
}

/// The limits of a key that has none of its own, on every surface but CoAgent's.
pub const DEFAULT: Applied = Applied { counted: Counted::Calls, requests_per_minute: 6_000, in_flight: 200 };

/// The limits of a key that has none of its own on the CoAgent surface: its vendor's documented numbers.
pub const COAGENT: Applied = Applied { counted: Counted::Coagent, requests_per_minute: 100, in_flight: 20 };

/// The limits of every key for calls that write to logs: our own choice.
pub const LOGS: Applied = Applied { counted: Counted::Logs, requests_per_minute: 60_000, in_flight: 200 };

impl KeyLimits {
    /// The limits that apply where the surface has these defaults.
    #[must_use]
    pub fn or(self, default: Applied) -> Applied {
        if default.counted == Counted::Logs {
            return default;
        }
        Applied {
            requests_per_minute: self.requests_per_minute.unwrap_or(default.requests_per_minute),
            in_flight: self.in_flight.unwrap_or(default.in_flight),
            ..default
        }
    }
}

/// How long a place in flight is held at most when nobody gives it back: longer than the longest call.
const PLACE_MS: i64 = 16 * 60 * 1000;
/// How many places are tried at random before all are looked at.
const PLACES_TRIED: usize = 3;
/// Of the requests that would pass now, the part that a process takes from the store at a time: a sixteenth, so that fifty processes
/// that begin at once all get some.
const SHARE: u32 = 16;
/// Of the limit, the part that may come at once: a fifth.
const BURST: u32 = 5;
/// How often a row that other processes write is tried again: with the pauses, some 400 ms, for 50 of them.
const TRIES: u32 = 20;
/// When to try again when all places are taken, in milliseconds: nobody knows when one gets free.
const BUSY_RETRY_MS: u64 = 1_000;

/// Whose requests, and which of them, are counted together.
pub type Whose = (KeyId, Counted);

/// Where the state of the limits is.
#[derive(Debug)]
pub enum Limiter {
    /// In this process, which serves everything.
    Memory(Mutex<HashMap<Whose, Usage>>),
    /// In the store; here only what this process has taken in advance. Of the requests that want more, one asks the store.
    Store(Mutex<HashMap<Whose, Arc<tokio::sync::Mutex<Advance>>>>),
}

/// What the store said last to a process.
#[derive(Debug, Default)]
pub struct Advance {
    /// Requests that were taken and not let in yet.
    left: u32,
    /// What was left in the store then.
    beyond: Quota,
    /// None is let in before this.
    full_until: Timestamp,
}

impl Advance {
    /// Lets one in, and says what is left here and in the store together.
    fn take(&mut self) -> Option<Quota> {
        self.left = self.left.checked_sub(1)?;
        Some(Quota { remaining: self.beyond.remaining.saturating_add(self.left), ..self.beyond })
    }
}

/// What a key uses at the moment.
#[derive(Debug, Default)]
pub struct Usage {
    arrival: Arrival,
    in_flight: u32,
}

/// GCRA's state: the theoretical arrival time of the next request.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Arrival {
    /// In microseconds since 1970, so that no limit up to 60 million a minute is rounded to nothing.
    next_us: i64,
}

/// The outcome for one request: for the `RateLimit` headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests a minute; 0 is no limit.
    pub limit: u32,
    /// Requests that would pass at this moment: a fifth of a minute's may come at once.
    pub remaining: u32,
    /// Until all would pass again, in milliseconds.
    pub reset_ms: u64,
}

impl Arrival {
    /// Takes `n` requests at once, or says how long to wait, in milliseconds.
    fn take(&mut self, now: Timestamp, per_minute: u32, n: u32) -> std::result::Result<Quota, u64> {
        let now_us = now.millis().saturating_mul(1_000);
        let each_us = 60_000_000 / i64::from(per_minute.max(1));
        let window_us = each_us.saturating_mul(i64::from((per_minute / BURST).max(1)));
        let next = self.next_us.max(now_us).saturating_add(each_us.saturating_mul(i64::from(n)));
        let over_us = next.saturating_sub(now_us.saturating_add(window_us));
        if over_us > 0 {
            return Err(u64::try_from(over_us).unwrap_or(0).div_ceil(1_000));
        }
        self.next_us = next;
        let used_us = next.saturating_sub(now_us);
        let remaining = window_us.saturating_sub(used_us) / each_us;
        Ok(Quota {
            limit: per_minute,
            remaining: u32::try_from(remaining).unwrap_or(0),
            reset_ms: u64::try_from(used_us / 1_000).unwrap_or(0),
        })
    }
}

/// A place among the requests in flight: given back by [`Place::leave`], or when it is dropped.
#[derive(Debug)]
#[must_use = "a place that is dropped is free again"]
pub struct Place {
    app: App,
    held: Mutex<Held>,
}

#[derive(Debug)]
enum Held {
    Nothing,
    Memory(Whose),
    Store(store::limits::HeldPlace),
}

impl Place {
    /// Gives the place back, and returns when others can have it. A place that cannot be given back gets free by itself.
    pub async fn leave(&self) {
        if let Some(place) = self.let_go()
            && let Err(error) = self.app.store().leave_place(place).await
        {
            tracing::debug!(%error, "a place in flight was not given back");
        }
    }

    /// Gives a place in memory back, and says which one in the store is left to give back.
    fn let_go(&self) -> Option<store::limits::HeldPlace> {
        let held = std::mem::replace(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner), Held::Nothing);
        match held {
            Held::Nothing => None,
            Held::Store(place) => Some(place),
            Held::Memory(whose) => {
                self.app.limiter().free_in_memory(whose);
                None
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(place), Ok(runtime)) = (self.let_go(), tokio::runtime::Handle::try_current()) {
            let app = self.app.clone();
            runtime.spawn(async move { app.store().leave_place(place).await });
        }
    }
}

impl Limiter {
    /// For a process that serves everything.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    fn free_in_memory(&self, whose: Whose) {
        let Self::Memory(usages) = self else { return };
        let mut usages = usages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = usages.get_mut(&whose) {
            usage.in_flight = usage.in_flight.saturating_sub(1);
        }
    }

    /// For processes that share a store.
    #[must_use]
    pub fn in_store() -> Self {
        Self::Store(Mutex::default())
    }
}

/// Lets a request in, or says when to try again.
///
/// # Errors
/// [`Error::RateLimited`].
pub async fn enter(app: &App, caller: &Caller, applied: Applied) -> Result<(Place, Quota)> {
    let whose = (caller.key_id(), applied.counted);
    let quota = take(app, caller, whose, applied.requests_per_minute).await?;
    let place = take_place(app, caller, whose, applied.in_flight).await?;
    Ok((place, quota))
}

/// How many events a minute a trigger takes.
pub const EVENTS_PER_MINUTE: u32 = 600;

/// Lets an event of a trigger in, or says when to try again.
///
/// # Errors
/// [`Error::RateLimited`].
pub(crate) async fn take_event(app: &App, caller: &Caller, trigger: TriggerId) -> Result<()> {
    let whose = (KeyId::from(trigger.uuid()), Counted::Events);
    take(app, caller, whose, EVENTS_PER_MINUTE).await.map(|_| ())
}

async fn take(app: &App, caller: &Caller, whose: Whose, per_minute: u32) -> Result<Quota> {
    if per_minute == 0 {
        return Ok(Quota { limit: 0, remaining: 0, reset_ms: 0 });
    }
    let taken = match app.limiter() {
        Limiter::Memory(usages) => {
            let mut usages = usages.lock().unwrap_or_else(PoisonError::into_inner);
            usages.entry(whose).or_default().arrival.take(app.now(), per_minute, 1)
        }
        Limiter::Store(advance) => take_from_store(app, caller, whose, per_minute, advance).await?,
    };
    taken.map_err(|retry_after_ms| Error::RateLimited {
        limit: format!("{per_minute} requests per minute"),
        requests_per_minute: Some(per_minute),
        retry_after_ms,
    })
}

async fn take_from_store(
    app: &App,
    caller: &Caller,
    whose: Whose,
    per_minute: u32,
    advances: &Mutex<HashMap<Whose, Arc<tokio::sync::Mutex<Advance>>>>,
) -> Result<std::result::Result<Quota, u64>> {
    let advance = Arc::clone(advances.lock().unwrap_or_else(PoisonError::into_inner).entry(whose).or_default());
    let mut advance = advance.lock().await;
    if let Some(quota) = advance.take() {
        return Ok(Ok(quota));
    }
    let full_for_ms = advance.full_until.since_ms(app.now());
    if full_for_ms > 0 {
        return Ok(Err(full_for_ms));
    }
    for attempt in 1..=TRIES {
        let mut seen = app.store().arrival(caller.tenant(), whose).await?;
        let mut taken = seen.arrival.take(app.now(), per_minute, 1);
        let more = taken.map_or(0, |quota| quota.remaining / SHARE);
        if more > 0 {
            taken = seen.arrival.take(app.now(), per_minute, more);
        }
        let beyond = match taken {
            Ok(beyond) => beyond,
            Err(wait_ms) => {
                advance.full_until = app.now().plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
                return Ok(Err(wait_ms));
            }
        };
        match app.store().save_arrival(seen, app.now()).await {
            Ok(()) => {
                *advance = Advance { left: more, beyond, ..Advance::default() };
                return Ok(Ok(Quota { remaining: beyond.remaining.saturating_add(more), ..beyond }));
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the key's requests are being counted by others all the time".into()))
}

async fn take_place(app: &App, caller: &Caller, whose: Whose, most: u32) -> Result<Place> {
    let held = |held| Place { app: app.clone(), held: Mutex::new(held) };
    let full = || Error::RateLimited {
        limit: format!("{most} requests in flight"),
        requests_per_minute: None,
        retry_after_ms: BUSY_RETRY_MS,
    };
    if most == 0 {
        return Ok(held(Held::Nothing));
    }
    match app.limiter() {
        Limiter::Memory(usages) => {
            let mut usages = usages.lock().unwrap_or_else(PoisonError::into_inner);
            let usage = usages.entry(whose).or_default();
            if usage.in_flight >= most {
                return Err(full());
            }
            usage.in_flight = usage.in_flight.saturating_add(1);
            Ok(held(Held::Memory(whose)))
        }
        Limiter::Store(_) => {
            let (now, until) = (app.now(), app.now().plus_ms(PLACE_MS));
            let place = app.store().take_place(caller.tenant(), whose, most, PLACES_TRIED, (now, until)).await?;
            place.map(|place| held(Held::Store(place))).ok_or_else(full)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(per_minute: u32, seconds: i64, each_ms: usize) -> usize {
        let mut arrival = Arrival::default();
        let begin = 1_780_000_000_000;
        (begin..begin + seconds * 1_000)
            .step_by(each_ms)
            .filter(|now| arrival.take(Timestamp::from_millis(*now), per_minute, 1).is_ok())
            .count()
    }

    #[test]
    fn a_minute_lets_in_what_the_limit_says_and_the_burst() {
        assert_eq!(accepted(100, 60, 10), 119);
        assert_eq!(accepted(6_000, 60, 1), 7_199);
        assert_eq!(accepted(1, 180, 100), 3);
    }

    #[test]
    fn who_waits_as_long_as_it_is_told_is_let_in() {
        let mut arrival = Arrival::default();
        let now = Timestamp::from_millis(1_780_000_000_000);
        arrival.take(now, 7, 1).unwrap();
        let wait = arrival.take(now, 7, 1).unwrap_err();
        assert!(arrival.take(now.plus_ms(i64::try_from(wait).unwrap() - 2), 7, 1).is_err());
        assert!(arrival.take(now.plus_ms(i64::try_from(wait).unwrap()), 7, 1).is_ok());
    }
}
