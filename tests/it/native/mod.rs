//! The native surface, through its border, on each backend.

mod agents;
mod batches;
mod chats;
mod events;
mod keys;
mod results;
mod runs;
mod secrets;
mod service;
mod structured;
pub(crate) mod sub_agents;
mod tools;
