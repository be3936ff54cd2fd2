//! Triggers.

mod template;
