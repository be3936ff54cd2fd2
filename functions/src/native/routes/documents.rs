//! The OpenAPI document.

use serde_json::Value;

use crate::native::documents;

crate::route::routes! { Native;
    /// This document
    openapi = GET "/openapi.json" => documents::openapi {
        answer: 200 Value,
        access: [],
    }
}
