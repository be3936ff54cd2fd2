//! Time: one clock for the whole process, which tests can set.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment that many milliseconds after 1970 began.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970 began.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970 began; 0 before it.
    #[must_use]
    pub fn millis_unsigned(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// Whole seconds since 1970 began, rounded up: what a time-to-live is written in.
    #[must_use]
    pub const fn seconds_ceil(self) -> i64 {
        self.0.saturating_add(999) / 1000
    }

    /// This moment and so many milliseconds; less than that at the end of time.
    #[must_use]
    pub const fn plus_ms(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment; 0 when it is not earlier.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// RFC 3339 in UTC with milliseconds, as in `2026-11-22T18:30:00.123Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let shape = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0).saturating_mul(1_000_000))
            .ok()
            .and_then(|moment| moment.format(&shape).ok())
            .unwrap_or_else(|| "9999-12-31T23:59:59.999Z".to_owned())
    }

    /// The same in whole seconds, as in `2026-11-22T18:30:00Z`.
    #[must_use]
    pub fn rfc3339_seconds(self) -> String {
        format!("{}Z", self.rfc3339().get(..19).unwrap_or_default())
    }

    /// The day in UTC, as in `2026-11-22`.
    #[must_use]
    pub fn day(self) -> String {
        self.rfc3339().get(..10).unwrap_or_default().to_owned()
    }

    /// The month in UTC, as in `2026-11`.
    #[must_use]
    pub fn month(self) -> String {
        self.rfc3339().get(..7).unwrap_or_default().to_owned()
    }

    /// The beginning of a day as in `2026-11-22`; `None` when the text is something else.
    #[must_use]
    pub fn parse_day(text: &str) -> Option<Self> {
        let shaped = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if shaped { Self::parse_rfc3339(&format!("{text}T00:00:00Z")) } else { None }
    }

    /// Reads RFC 3339; `None` when the text is something else or out of range.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }
}

/// Where the time comes from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// The machine's clock moved forward by so many milliseconds: for tests of what takes days.
    Shifted(Arc<AtomicI64>),
    /// A simulation's: the moment at which it began, and what the runtime's clock says has passed since.
    #[cfg(feature = "simulation")]
    Simulated {
        /// What this clock showed at the beginning.
        began: Timestamp,
        /// When that was.
        since: tokio::time::Instant,
    },
}

impl Clock {
    /// This moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::System => Timestamp(millis),
            Self::Shifted(by) => Timestamp(millis.saturating_add(by.load(Ordering::Relaxed))),
            #[cfg(feature = "simulation")]
            Self::Simulated { began, since } => {
                began.plus_ms(i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_text() {
        let moment = Timestamp::from_millis(1_795_372_200_123);
        assert_eq!(moment.rfc3339(), "2026-11-22T18:30:00.123Z");
        assert_eq!(Timestamp::parse_rfc3339(&moment.rfc3339()), Some(moment));
        assert_eq!(Timestamp::parse_rfc3339("2026-11-22T19:30:00.123+01:00"), Some(moment));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
        assert_eq!((moment.day().as_str(), moment.month().as_str()), ("2026-11-22", "2026-11"));
        assert_eq!(Timestamp::parse_day("2026-11-22").map(Timestamp::day).as_deref(), Some("2026-11-22"));
        assert_eq!(["2026-11-31", "2026-1-1", "22-11-2026", "2026-11-22T"].map(Timestamp::parse_day), [None; 4]);
        assert_eq!(Timestamp::from_millis(i64::MAX).rfc3339(), "9999-12-31T23:59:59.999Z");
    }
}
