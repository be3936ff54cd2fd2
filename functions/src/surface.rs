//! The four surfaces: which one a path belongs to, and how an error looks on it. Knows no handler.

use std::slice::from_ref;

use bytes::Bytes;
use http::StatusCode;
use schemars::SchemaGenerator;
use serde::Serialize;
use shared::Error;

use crate::{
    coagent, cotera, cotool, native,
    route::{Route, SchemaOf},
};

/// One way of speaking to the same core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Surface {
    /// Our own, complete one.
    Native,
    /// Cotera's.
    Cotera,
    /// Cotool's.
    Cotool,
    /// CoAgent's.
    Coagent,
}

impl Surface {
    /// Every surface.
    pub const ALL: [Self; 4] = [Self::Native, Self::Cotera, Self::Cotool, Self::Coagent];

    /// The surface that a path belongs to, whether the path exists or not; our own when no prefix fits.
    #[must_use]
    pub fn of(path: &str) -> Self {
        const PREFIXES: [(&str, Surface); 4] = [
            ("/api/v1/resource/", Surface::Cotera),
            ("/api/v1/", Surface::Coagent),
            ("/health/", Surface::Coagent),
            ("/api/", Surface::Cotool),
        ];
        if path == "/health" {
            return Self::Coagent;
        }
        let found = PREFIXES.into_iter().find(|(prefix, _)| path.starts_with(prefix));
        found.map_or(Self::Native, |(_, surface)| surface)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "Native",
            Self::Cotera => "Cotera",
            Self::Cotool => "Cotool",
            Self::Coagent => "Coagent",
        }
    }

    /// Its table.
    pub fn routes(self) -> impl Iterator<Item = &'static Route> {
        let parts: &[&[Route]] = match self {
            Self::Native => native::ROUTES,
            Self::Cotera => from_ref(&cotera::ROUTES),
            Self::Cotool => from_ref(&cotool::ROUTES),
            Self::Coagent => from_ref(&coagent::ROUTES),
        };
        parts.iter().copied().flatten()
    }

    /// The status of an error: the same everywhere, but that an unknown model is a 404 on CoAgent's surface.
    #[must_use]
    pub const fn status(self, error: &Error) -> StatusCode {
        match error {
            Error::UnknownModel { .. } if matches!(self, Self::Coagent) => StatusCode::NOT_FOUND,
            Error::Invalid(_) | Error::UnknownModel { .. } => StatusCode::BAD_REQUEST,
            Error::Unauthorized => StatusCode::UNAUTHORIZED,
            Error::Forbidden { .. } => StatusCode::FORBIDDEN,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Error::Conflict(_) | Error::InProgress => StatusCode::CONFLICT,
            Error::IdempotencyMismatch | Error::GateFailed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The body of an error.
    #[must_use]
    pub fn body(self, error: &Error, request_id: &str) -> Bytes {
        match self {
            Self::Native => written(&native::error::body(error, request_id)),
            Self::Cotera => written(&cotera::error::body(error)),
            Self::Cotool => written(&cotool::error::body(error)),
            Self::Coagent => written(&coagent::error::body(error)),
        }
    }

    /// The type of an error's body.
    #[must_use]
    pub fn error_schema(self) -> SchemaOf {
        match self {
            Self::Native => SchemaGenerator::subschema_for::<native::error::ErrorBody>,
            Self::Cotera => SchemaGenerator::subschema_for::<cotera::error::ErrorBody>,
            Self::Cotool => SchemaGenerator::subschema_for::<cotool::error::ErrorBody>,
            Self::Coagent => SchemaGenerator::subschema_for::<coagent::error::ErrorBody>,
        }
    }
}

/// When to try again, in seconds from now, for the errors after which that is right.
#[must_use]
pub(crate) fn retry_after_s(error: &Error) -> Option<u64> {
    match error {
        Error::RateLimited { retry_after_ms, .. } => Some(retry_after_ms.div_ceil(1000).max(1)),
        Error::Unavailable(_) | Error::InProgress => Some(1),
        Error::Invalid(_)
        | Error::UnknownModel { .. }
        | Error::Unauthorized
        | Error::Forbidden { .. }
        | Error::NotFound(_)
        | Error::MethodNotAllowed { .. }
        | Error::Conflict(_)
        | Error::GateFailed(_)
        | Error::IdempotencyMismatch
        | Error::TooLarge { .. }
        | Error::Internal(_) => None,
    }
}

/// Error bodies hold texts, numbers and lists: they can always be written.
fn written(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_names_the_surface() {
        for (path, surface) in [
            ("/api/v1/resource/agent/x/chat", Surface::Cotera),
            ("/api/v1/resource", Surface::Coagent),
            ("/api/v1/agents", Surface::Coagent),
            ("/api/v1", Surface::Cotool),
            ("/api/agents", Surface::Cotool),
            ("/api", Surface::Native),
            ("/health", Surface::Coagent),
            ("/health/x", Surface::Coagent),
            ("/healthy", Surface::Native),
            ("/v1/agents", Surface::Native),
            ("/openapi.json", Surface::Native),
            ("/", Surface::Native),
            ("", Surface::Native),
        ] {
            assert_eq!(Surface::of(path), surface, "{path}");
        }
    }
}
