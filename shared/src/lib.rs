//! Muster's core: organisations, keys, agents, runs, batches, and the protocol that runs them.
//!
//! Knows nothing of HTTP surfaces, request bodies or Lambda: those are in `functions`. See ARCHITECTURE.md.
#![warn(missing_docs)]

#[cfg(not(any(feature = "aws", feature = "embedded")))]
compile_error!("a store is needed: enable the feature `aws` or `embedded`");

#[cfg(feature = "aws")]
pub mod aws;
pub mod clock;
pub mod error;
pub mod id;
pub mod limit;
pub mod model;
pub mod queue;
pub mod store;
pub mod tenant;

pub use error::{Error, Result};
pub use tenant::{Caller, Scope, Tenant};
