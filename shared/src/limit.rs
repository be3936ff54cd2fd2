//! Limits per key: requests a minute, and requests at a time.

use serde::{Deserialize, Serialize};

/// The limits that were set when a key was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimits {
    /// Requests a minute; 0 is no limit; `None` is the surface's default.
    pub requests_per_minute: Option<u32>,
    /// Requests in flight at a time; 0 is no limit; `None` is the surface's default.
    pub in_flight: Option<u32>,
}
