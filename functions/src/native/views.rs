//! What several of the native surface's answers have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    Error, Result,
    agent::{Metadata, Mode},
    clock::Timestamp,
    error::Problem,
    id::RunId,
    model::ToolMode,
    page::{Page, PageRequest},
    run::{By, Cause, Prompt, Usage},
};

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PageView<T> {
    /// The entries, in order. A page may be short while more follow.
    data: Vec<T>,
    /// Whether more follow.
    has_more: bool,
    /// The cursor of the next page: goes into `after`.
    next_cursor: Option<String>,
}

impl<T> PageView<T> {
    pub(super) fn of<U>(page: Page<U>, make: impl FnMut(U) -> T) -> Self {
        let Page { entries, next } = page.map(make);
        Self { data: entries, has_more: next.is_some(), next_cursor: next }
    }
}

/// Which page of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// At most so many entries: 1 to 100, 20 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// The previous page's `next_cursor`.
    after: Option<String>,
    /// Only entries that have all of these pairs: a JSON object of strings.
    metadata: Option<String>,
}

impl ListQuery {
    pub(super) fn page(self) -> Result<(PageRequest, Metadata)> {
        Ok((PageRequest::new(self.limit, self.after)?, metadata(self.metadata.as_deref())?))
    }
}

/// Metadata in a query: a JSON object.
pub(super) fn metadata(text: Option<&str>) -> Result<Metadata> {
    let Some(text) = text else { return Ok(Metadata::new()) };
    serde_json::from_str(text).map_err(|_| Error::invalid("metadata", "must be a JSON object of strings"))
}

/// Whether tool calls run by themselves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeView {
    /// They do.
    Auto,
    /// The run waits at each for a person's say.
    Manual,
}

impl From<ModeView> for Mode {
    fn from(view: ModeView) -> Self {
        match view {
            ModeView::Auto => Self::Auto,
            ModeView::Manual => Self::Manual,
        }
    }
}

impl From<Mode> for ModeView {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Manual => Self::Manual,
        }
    }
}

/// How a model is told of tools.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToolModeView {
    /// By the provider's own mechanism.
    Native,
    /// In the system prompt, and the model answers with JSON: for models that have no such mechanism.
    Json,
}

impl From<ToolModeView> for ToolMode {
    fn from(view: ToolModeView) -> Self {
        match view {
            ToolModeView::Native => Self::Native,
            ToolModeView::Json => Self::Json,
        }
    }
}

impl From<ToolMode> for ToolModeView {
    fn from(mode: ToolMode) -> Self {
        match mode {
            ToolMode::Native => Self::Native,
            ToolMode::Json => Self::Json,
        }
    }
}

/// What was used, by every attempt, also failed and killed ones.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UsageView {
    /// Attempts to call a model.
    pub(super) model_calls: u32,
    /// Tokens of requests.
    pub(super) input_tokens: u64,
    /// Those of them that the provider had in its cache.
    cached_input_tokens: u64,
    /// Tokens of answers.
    pub(super) output_tokens: u64,
}

impl From<&Usage> for UsageView {
    fn from(usage: &Usage) -> Self {
        Self {
            model_calls: usage.model_calls,
            input_tokens: usage.tokens.input,
            cached_input_tokens: usage.tokens.cached_input,
            output_tokens: usage.tokens.output,
        }
    }
}

/// What the agent is told: exactly one of the two.
pub(super) fn prompt(
    at: &str,
    message: Option<String>,
    inputs: Option<serde_json::Map<String, serde_json::Value>>,
) -> Result<Prompt, Problem> {
    let problem = |message: &str| Problem { field: at.to_owned(), message: message.to_owned() };
    match (message, inputs) {
        (Some(message), None) => Ok(Prompt::Message(message)),
        (None, Some(inputs)) => Ok(Prompt::Inputs(inputs)),
        (Some(_), Some(_)) => Err(problem("must have message or inputs, not both")),
        (None, None) => Err(problem("must have message or inputs")),
    }
}

/// The schedule that has started it, if one has.
pub(super) fn schedule_of(cause: Cause) -> Option<String> {
    match cause.by {
        By::Schedule(id) => Some(id.prefixed()),
        By::Trigger(_) => None,
    }
}

/// The trigger that has started it, if one has.
pub(super) fn trigger_of(cause: Cause) -> Option<String> {
    match cause.by {
        By::Trigger(id) => Some(id.prefixed()),
        By::Schedule(_) => None,
    }
}

/// The run whose end has started it, if one has.
pub(super) fn run_of(cause: Cause) -> Option<String> {
    cause.chain?.run.map(RunId::prefixed)
}

/// A moment in a request.
pub(super) fn moment(field: &str, text: Option<String>) -> Result<Option<Timestamp>> {
    text.map(|text| {
        Timestamp::parse_rfc3339(&text).ok_or_else(|| Error::invalid(field, "must be a time as in RFC 3339"))
    })
    .transpose()
}
