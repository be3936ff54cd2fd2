//! Muster's core under a deterministic simulation: the real engine, runs, batches and store methods over simulated rows, messages,
//! models, tools and processes, in simulated time. A seed decides everything that happens, and replays it exactly.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "an instrument of tests: its own mistakes end it"
)]

pub mod chance;
pub mod cluster;
pub mod experiments;
pub mod ledger;
mod model;
pub mod mutation;
pub mod people;
pub mod plan;
mod queue;
pub mod seed;
mod tools;
pub mod world;
