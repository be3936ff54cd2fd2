//! The CoAgent surface, through its border, on each backend.

mod logs;
mod testsets;
