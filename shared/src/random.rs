//! Randomness that spreads retries; not for secrets.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::simulation;

/// The longest pause of [`pause`] for each attempt, in milliseconds.
const PAUSE_MS: f64 = 4.0;

/// Fills the bytes at random: for what must differ and need not be secret.
pub(crate) fn fill(bytes: &mut [u8]) {
    if !simulation::draw(bytes) {
        // Without randomness a process cannot even open a connection; zeros would only make conflicts likelier.
        let _ = SystemRandom::new().fill(bytes);
    }
}

/// Uniform in 0..1.
pub(crate) fn unit() -> f64 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

/// Waits before a write is tried again that others were faster with: at random, and longer at most with each attempt.
pub(crate) async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_secs_f64(unit() * PAUSE_MS * f64::from(attempt) / 1_000.0)).await;
}

/// One of 0..`end`; 0 when there is none.
pub(crate) fn below(end: u8) -> u8 {
    if end <= 1 {
        return 0;
    }
    let mut bytes = [0; 4];
    fill(&mut bytes);
    u8::try_from(u32::from_le_bytes(bytes) % u32::from(end)).unwrap_or(0)
}
