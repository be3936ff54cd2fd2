//! Muster on one machine: every route, the worker and the reaper in one process over one SQLite file.

pub mod demo;
pub mod host;
pub mod http;
pub mod key;

pub use host::{Failure, Host};
