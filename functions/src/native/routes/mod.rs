//! The route table, a part for each resource.

mod agents;
mod batches;
mod documents;
mod evaluations;
mod files;
mod keys;
mod runs;
mod schedules;
mod secrets;
mod test_sets;
mod triggers;
mod usage;
mod webhooks;

use crate::route::Route;

/// The surface's routes, in the order of the documents.
pub(crate) static ROUTES: &[&[Route]] = &[
    documents::ROUTES,
    keys::ROUTES,
    agents::ROUTES,
    runs::ROUTES,
    batches::ROUTES,
    test_sets::ROUTES,
    evaluations::ROUTES,
    webhooks::ROUTES,
    schedules::ROUTES,
    files::ROUTES,
    secrets::ROUTES,
    triggers::ROUTES,
    usage::ROUTES,
];
