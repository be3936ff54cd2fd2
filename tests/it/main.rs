//! Everything that is tested through a border: one binary, a module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, in its helper functions too, and may print"
)]

mod dynamo;
mod host;
mod http;
mod models;
mod openapi;
mod store_contract;
mod template;
