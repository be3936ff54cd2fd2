//! The native surface, through its border, on each backend.

mod agents;
mod attachments;
mod batches;
mod budgets;
mod chats;
mod concurrency;
mod evaluation_races;
mod evaluation_reports;
pub(crate) mod evaluations;
mod events;
mod file_room;
mod files;
mod ground_truth;
mod judged;
mod keys;
mod large_evaluation;
mod results;
mod runs;
mod secrets;
mod service;
mod streams;
mod structured;
pub(crate) mod sub_agents;
mod test_sets;
mod tools;
mod usage;
