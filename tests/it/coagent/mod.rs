//! The CoAgent surface, through its border, on each backend.

mod agents;
mod completions;
mod logs;
mod providers;
mod testsets;
