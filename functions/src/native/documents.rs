//! Documents about the service itself: no key, no storage.

use std::future::{Ready, ready};

use http::StatusCode;
use shared::{App, Result};

use crate::{Request, Response, openapi, response::with_bytes};

pub(super) fn openapi(_: &App, _: Request) -> Ready<Result<Response>> {
    ready(Ok(with_bytes(StatusCode::OK, openapi::document())))
}
