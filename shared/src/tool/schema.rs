//! temporary
use super::Arguments;
pub(crate) fn check_tool(_: &serde_json::Value) -> Result<(), String> { Ok(()) }
pub(crate) fn arguments(_: &serde_json::Value, text: &str) -> Result<Arguments, String> { serde_json::from_str(if text.is_empty() {"{}"} else {text}).map_err(|e| e.to_string()) }
