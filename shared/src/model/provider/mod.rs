//! The providers that are reached over the network: one HTTP client for all of them, one call, one answer, no retry.

mod answer;
mod endpoint;
mod fault;
mod genai;
mod stream;
mod target;
mod wire;

pub(crate) use self::endpoint::endpoint;
pub use self::genai::Genai;
