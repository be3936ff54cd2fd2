//! Whether the service is up: no key, no storage.

use std::future::{Ready, ready};

use schemars::JsonSchema;
use serde::Serialize;
use shared::{App, Result};

use crate::{Request, Response, response::ok};

/// The service's health.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    /// Always `healthy`: a service that is not does not answer.
    status: &'static str,
    /// The version of Muster.
    version: &'static str,
}

pub(super) fn coagent_health(_: &App, _: Request) -> Ready<Result<Response>> {
    ready(Ok(ok(&Health { status: "healthy", version: env!("CARGO_PKG_VERSION") })))
}
