//! Muster on one machine.

pub mod http;
