//! Muster's HTTP surfaces and Lambda entry points: what a request says, who answers it, and how an error looks.
//!
//! Knows no storage and no model: every handler asks `shared`. Hosts (Lambda, the local server, the tests) host; they
//! never repeat a handler.

mod auth;
mod camel;
mod claims;
mod coagent;
mod cotera;
mod cotool;
mod decode;
#[cfg(feature = "lambda")]
mod deployment;
mod evaluations;
#[cfg(feature = "lambda")]
pub mod first_key;
mod hooks;
#[cfg(feature = "lambda")]
mod lambda;
mod model_ref;
mod native;
mod openapi;
mod patch;
pub mod receive_event;
pub mod request;
pub mod response;
pub mod route;
pub mod serve;
mod surface;
mod together;
mod tools;
mod unique;
mod validations;
mod wait;
#[cfg(feature = "lambda")]
pub mod worker;

#[cfg(feature = "lambda")]
pub mod config;

#[cfg(feature = "lambda")]
pub use lambda::{Failure, Function, handler, run};
pub use openapi::document as openapi_document;
pub use request::Request;
pub use response::{Body, Envelope, Response};
pub use route::Route;
pub use serve::{Routes, body_limit_bytes, check_completions_path, handle};
pub use surface::Surface;

/// The largest body that is accepted, in bytes: 6 MiB, as Lambda takes it.
pub const BODY_LIMIT_BYTES: usize = 6 * 1024 * 1024;
