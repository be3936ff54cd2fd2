//! The providers that are reached over the network: one HTTP client for all of them, one call, one answer, no retry.

mod endpoint;
mod fault;
mod genai;

pub use self::genai::Genai;
