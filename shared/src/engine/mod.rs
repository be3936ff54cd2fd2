//! The run protocol: take a run, fold its journal into the next decision, write down what is about to be done, do it, write
//! down what came of it, and so on until the run ends. Every gap between two of these is a place where a process may die.
//!
//! The order of writes, and what each is conditional on, is in ARCHITECTURE.md ("A run, end to end").

mod beside;
mod call;
mod children;
mod choice;
mod decide;
pub mod fault;
mod filling;
mod grading;
mod held;
mod pieces;
mod reaper;
mod request;
mod result;
mod signals;
mod tool_step;
mod tools;
mod worker;

pub(crate) use children::all_ended as children_ended;
pub use held::Held;
pub use reaper::{Left, Reaped, reap, recover, suspected};
pub use signals::Signals;
pub use worker::{drive, work, work_on};

use crate::{app::App, id::RunId, queue::Chunk, tenant::Tenant};

/// Sends messages that these runs want a worker. A failure is no failure of the caller's: the reaper sends them again.
pub(crate) async fn ask_for_workers(app: &App, tenant: Tenant, runs: &[RunId]) {
    ask_later(app, tenant, runs, 0).await;
}

/// As [`ask_for_workers`], to be received after so many seconds.
pub(crate) async fn ask_later(app: &App, tenant: Tenant, runs: &[RunId], delay_s: u32) {
    if let Err(error) = app.queue().send(Chunk::split(tenant, runs), delay_s).await {
        tracing::warn!(error = ?error, runs = runs.len(), "messages were not sent; the reaper will send them");
    }
}
