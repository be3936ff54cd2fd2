//! Random kills that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::asked;

/// A small generator of random numbers: the same seed, the same kills.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = asked("MUSTER_TEST_SEED").map_or(now, |text| text.parse().unwrap());
        println!("MUSTER_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// Another generator, which follows from this one.
    pub(crate) fn another(&mut self) -> Self {
        Self(self.between(1, u64::MAX - 1) | 1)
    }

    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + self.0 % (most - least + 1)
    }
}
