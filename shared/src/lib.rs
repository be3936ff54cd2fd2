//! Muster's core: organisations, keys, agents, runs, batches, and the protocol that runs them.
//!
//! Knows nothing of HTTP surfaces, request bodies or Lambda: those are in `functions`. See ARCHITECTURE.md.
#![warn(missing_docs)]

#[cfg(not(any(feature = "aws", feature = "embedded", feature = "simulation")))]
compile_error!("a store is needed: enable the feature `aws` or `embedded`");

mod adversity;
pub mod agent;
pub mod api_key;
pub mod app;
pub mod aside;
#[cfg(feature = "aws")]
pub mod aws;
pub mod batch;
pub mod clock;
pub mod config;
pub mod engine;
pub mod error;
pub mod evaluation;
pub mod file;
pub mod id;
pub mod idempotency;
pub mod limit;
pub mod message;
pub mod model;
pub mod money;
pub mod net;
pub mod order;
pub mod page;
pub mod provider;
pub mod queue;
mod random;
mod remembered;
pub mod run;
#[cfg(feature = "s3")]
pub mod s3;
pub mod schedule;
pub mod seal;
pub mod secret;
pub mod simulation;
pub mod store;
mod template;
pub mod tenant;
pub mod test_set;
pub mod timeline;
pub mod tool;
pub mod trigger;
pub mod webhook;

pub use app::App;
pub use error::{Error, Result};
pub use tenant::{Caller, Scope, Tenant};
