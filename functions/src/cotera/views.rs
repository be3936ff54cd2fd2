//! What several of the Cotera surface's answers have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    agent::Mode,
    run::{Reason, Run, Status, Usage},
};

/// Whether tool calls run by themselves.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
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

/// Where a chat stands.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusView {
    Queued,
    Running,
    Waiting,
    Done,
    Error,
    Interrupted,
}

impl From<Status> for StatusView {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => Self::Queued,
            Status::Running => Self::Running,
            Status::Waiting => Self::Waiting,
            Status::Done => Self::Done,
            Status::Error => Self::Error,
            Status::Interrupted => Self::Interrupted,
        }
    }
}

/// What was used, by every attempt, also failed and killed ones.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageView {
    /// Attempts to call a model.
    model_calls: u32,
    /// Tokens of requests.
    input_tokens: u64,
    /// Tokens of answers.
    output_tokens: u64,
    /// What they cost, in micro-USD; `null` when a price is not known.
    cost_micro_usd: Option<u64>,
}

impl From<&Usage> for UsageView {
    fn from(usage: &Usage) -> Self {
        Self {
            model_calls: usage.model_calls,
            input_tokens: usage.tokens.input,
            output_tokens: usage.tokens.output,
            cost_micro_usd: usage.cost_micro_usd(),
        }
    }
}

/// What went wrong with a run that ended badly.
pub(super) fn error(run: &Run) -> Option<String> {
    run.error
        .clone()
        .or_else(|| (run.status == Status::Error).then(|| run.reason.map_or("error", Reason::name).to_owned()))
}
