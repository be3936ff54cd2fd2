//! The native surface: complete. Knows no other surface.

mod agents;
mod approvals;
mod batches;
mod budgets;
mod documents;
pub(crate) mod error;
mod evaluation_reports;
mod evaluation_views;
mod evaluations;
mod events;
mod explain;
mod files;
mod gates;
mod hooks;
mod inputs;
mod keys;
mod messages;
mod models;
mod reductions;
mod report;
mod results;
mod routes;
mod runs;
mod schedule_views;
mod schedules;
mod secrets;
mod sent;
mod terms;
mod test_sets;
mod trigger_views;
mod triggers;
mod usage;
mod views;
mod webhooks;

pub(crate) use self::routes::ROUTES;
