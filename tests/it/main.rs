//! Everything that is tested through a border: one binary, a module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::excessive_nesting,
    reason = "a test fails by panicking, in its helper functions too, and may print"
)]
// A test's future has those of its client, the border, a route and an operation within it.
#![recursion_limit = "256"]

mod beyond;
mod border;
mod canary;
mod cancelled;
mod coagent;
mod cotera;
mod cotool;
mod dynamo;
mod fallback;
mod harness;
mod host;
mod http;
mod idempotency;
mod limits;
mod mcp;
mod model_faults;
mod models;
mod native;
mod openapi;
mod reaper;
mod runaways;
mod staged;
mod store_contract;
mod template;
