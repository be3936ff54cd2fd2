//! Waiting between attempts: exponential, with full jitter, bounded in number and time. Knows not what is attempted.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use super::{ATTEMPTS, FIRST_BACKOFF, LONGEST_BACKOFF, OPERATION_TIMEOUT};

/// The waits of one operation.
#[derive(Debug)]
pub(crate) struct Backoff {
    attempts: u32,
    bound: Duration,
    until: Instant,
}

impl Backoff {
    /// Before the first attempt.
    pub(crate) fn new() -> Self {
        Self { attempts: 1, bound: FIRST_BACKOFF, until: Instant::now() + OPERATION_TIMEOUT }
    }

    /// Waits before the next attempt; `false`, at once, when there have been enough.
    pub(crate) async fn wait(&mut self) -> bool {
        let pause = jitter(self.bound);
        if self.attempts >= ATTEMPTS || Instant::now() + pause >= self.until {
            return false;
        }
        self.attempts += 1;
        self.bound = LONGEST_BACKOFF.min(self.bound * 2);
        tokio::time::sleep(pause).await;
        true
    }

    /// Waits as [`Backoff::wait`] does; but before the second attempt only if the first one's reply was not lost: then
    /// waiting makes it only harder to find out what became of it.
    pub(crate) async fn wait_after(&mut self, lost: bool) -> bool {
        if lost && self.attempts == 1 {
            self.attempts += 1;
            return true;
        }
        self.wait().await
    }

    /// The last attempt did a part of the work: what is left has all attempts before it.
    pub(crate) fn progressed(&mut self) {
        self.attempts = 1;
        self.bound = FIRST_BACKOFF;
    }
}

/// A random wait from 0 to `bound`.
fn jitter(bound: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness no connection could be opened either.
    let _ = SystemRandom::new().fill(&mut bytes);
    bound.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
