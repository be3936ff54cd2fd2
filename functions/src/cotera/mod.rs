//! Cotera's surface: call agents, fan out, check runs. Knows no other surface.

pub(crate) mod error;

use crate::Route;

/// The surface's routes.
pub(crate) static ROUTES: &[Route] = &[];
