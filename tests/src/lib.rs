//! What the tests in `it/` and `sqs/` share.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

pub mod tap;
