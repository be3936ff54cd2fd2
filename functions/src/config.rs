//! What Lambda and the template say to a function: read from the environment here and nowhere else in this package.

/// The name after `Handler:` in the template.
#[must_use]
pub fn handler_name() -> String {
    variable("_HANDLER").unwrap_or_default()
}

/// Whether the gateway takes streamed answers.
pub(crate) fn response_streaming() -> bool {
    variable("MUSTER_RESPONSE_STREAMING").is_some_and(|value| value == "on")
}

/// The least level of log lines that are written.
pub(crate) fn log_level() -> tracing::level_filters::LevelFilter {
    let level = variable("MUSTER_LOG").and_then(|level| level.parse().ok());
    level.unwrap_or(tracing::level_filters::LevelFilter::INFO)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
