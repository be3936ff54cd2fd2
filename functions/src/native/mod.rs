//! The native surface: complete. Knows no other surface.

mod documents;
pub(crate) mod error;

use serde_json::Value;

crate::route::routes! { Native;
    /// This document
    openapi = GET "/openapi.json" => documents::openapi {
        answer: 200 Value,
        access: [],
    }
}
