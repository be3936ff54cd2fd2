//! Cotool's surface: agent configuration, atomic batch update, runs, triggers. Knows no other surface.

pub(crate) mod error;

use crate::Route;

/// The surface's routes.
pub(crate) static ROUTES: &[Route] = &[];
