//! The embedded host as a process that is killed, frozen and started again. What was accepted ends, once.
//!
//! The model server is the witness: it counts how often it was called with each prompt. `MUSTER_TEST_LONG=1` runs the long
//! form, `MUSTER_TEST_SEED` repeats a run of random kills, and the feature `fault-points` adds the kills at named points.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::excessive_nesting,
    reason = "a test fails by panicking, in its helper functions too, and may print"
)]

mod accepted;
#[cfg(feature = "fault-points")]
mod adversity;
mod cancelled;
mod chains;
mod client;
mod evaluation;
mod families;
#[cfg(feature = "fault-points")]
mod faults;
mod frozen;
mod grading;
mod judges;
mod keys;
mod kills;
mod malformed;
mod model_faults;
mod one_at_a_time;
#[cfg(feature = "fault-points")]
mod points;
mod random;
mod reductions;
mod schedules;
mod served;
mod streams;
mod together;
mod tools;
mod triggers;
mod webhooks;
#[cfg(feature = "fault-points")]
mod written_points;

#[expect(clippy::disallowed_methods, reason = "what a developer asks of a test")]
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The value for the short form, or that for the long one.
fn by_form<T>(short: T, long: T) -> T {
    if asked("MUSTER_TEST_LONG").is_some() { long } else { short }
}
