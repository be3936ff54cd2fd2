//! What a run and those below it, or a batch, had sent already when it was cancelled, on the native surface: it cannot be taken back.

use schemars::JsonSchema;
use serde::Serialize;
use shared::run::{AttemptEnd, CallState, PendingCall, Run};

/// What had been sent already.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SentView {
    /// The tool calls that were under way.
    tool_calls: Vec<ToolCallView>,
    /// The model calls that were under way.
    model_calls: Vec<ModelCallView>,
}

/// A tool call of the model's last answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ToolCallView {
    /// The run that made it: this one, or one below it.
    run_id: String,
    tool: String,
    /// The step that its answer fills.
    step: u32,
    /// `ready`, `awaits_approval`, `sent` or `ended`.
    state: &'static str,
    /// How often it was sent.
    attempts: u32,
    /// When it was sent last.
    sent_at: Option<String>,
    /// The key that the tool is given, the same at every try.
    idempotency_key: String,
    /// The run that was started for it, if the tool is a sub-agent.
    child_run_id: Option<String>,
    /// Whether it was sent and nobody knows whether it took place, so that a person is asked.
    outcome_unknown: bool,
}

/// A model call whose answer was not waited for.
#[derive(Debug, Serialize, JsonSchema)]
struct ModelCallView {
    /// The run that made it: this one, or one below it.
    run_id: String,
    step: u32,
    model: String,
    started_at: String,
    /// What is booked for it: the most that it may use.
    input_tokens: u64,
    output_tokens: u64,
    /// What that costs; `null` when the price is not known.
    cost_micro_usd: Option<u64>,
}

/// The most calls of each kind that are listed of a batch.
const LISTED: usize = 100;

/// What the runs of a batch had sent already.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BatchSentView {
    /// The calls, in the order of the batch's items: the first 100 of each kind.
    #[serde(flatten)]
    listed: SentView,
    /// How many tool calls were under way, those included that are not listed.
    tool_calls_total: usize,
    /// How many model calls were under way, those included that are not listed.
    model_calls_total: usize,
}

impl BatchSentView {
    /// What these runs had sent.
    pub(super) fn of<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> Self {
        let mut listed = SentView::of(runs);
        let (tool_calls_total, model_calls_total) = (listed.tool_calls.len(), listed.model_calls.len());
        listed.tool_calls.truncate(LISTED);
        listed.model_calls.truncate(LISTED);
        Self { listed, tool_calls_total, model_calls_total }
    }
}

/// The word for where a call stands.
pub(super) const fn state(state: CallState) -> &'static str {
    match state {
        CallState::Ready => "ready",
        CallState::AwaitsApproval => "awaits_approval",
        CallState::Sent => "sent",
        CallState::Filled => "ended",
    }
}

impl SentView {
    /// What these runs had sent.
    pub(super) fn of<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> Self {
        Self {
            tool_calls: runs.clone().flat_map(ToolCallView::sent).collect(),
            model_calls: runs.flat_map(ModelCallView::sent).collect(),
        }
    }
}

impl ModelCallView {
    fn sent(run: &Run) -> Vec<Self> {
        let booked = run.attempts.iter().filter(|attempt| attempt.end == AttemptEnd::Cancelled);
        let booked = booked.map(|attempt| Self {
            run_id: run.id.prefixed(),
            step: attempt.slot,
            model: attempt.model.to_string(),
            started_at: attempt.started_at.rfc3339(),
            input_tokens: attempt.tokens.input,
            output_tokens: attempt.tokens.output,
            cost_micro_usd: attempt.cost_micro_usd,
        });
        let reserved = run.in_flight.iter().map(|call| Self {
            run_id: run.id.prefixed(),
            step: call.slot,
            model: call.model.to_string(),
            started_at: call.started_at.rfc3339(),
            input_tokens: call.reserved.input,
            output_tokens: call.reserved.output,
            cost_micro_usd: call.reserved_micro_usd,
        });
        booked.chain(reserved).collect()
    }
}

impl ToolCallView {
    /// Where each call of the model's last answer stands.
    pub(super) fn all(run: &Run) -> Vec<Self> {
        run.calls.iter().enumerate().map(|(index, call)| Self::new(run, index, call)).collect()
    }

    fn sent(run: &Run) -> Vec<Self> {
        let sent = run.calls.iter().enumerate().filter(|(_, call)| call.state == CallState::Sent);
        sent.map(|(index, call)| Self::new(run, index, call)).collect()
    }

    fn new(run: &Run, index: usize, call: &PendingCall) -> Self {
        let step = run.call_slot(index);
        Self {
            run_id: run.id.prefixed(),
            tool: call.tool.clone(),
            step,
            state: state(call.state),
            attempts: call.attempts,
            sent_at: call.sent_at.map(|at| at.rfc3339()),
            idempotency_key: run.idempotency_key(step),
            child_run_id: run.child_at(step).map(|child| child.prefixed()),
            outcome_unknown: call.unclear,
        }
    }
}
