//! The native surface, through its border, on each backend.

mod agents;
mod batches;
mod chats;
mod events;
mod files;
mod keys;
mod results;
mod runs;
mod secrets;
mod service;
mod structured;
mod tools;
