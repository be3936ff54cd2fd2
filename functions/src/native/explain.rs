//! Why a run stands where it stands, on the native surface.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{
    App, Result,
    model::FaultKind,
    money::Budget,
    run::{self, AttemptEnd, Run},
};

use super::{sent::ToolCallView, views::UsageView};
use crate::{Request, Response, auth, response};

/// Why a run stands where it stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExplainView {
    id: String,
    status: &'static str,
    reason: Option<&'static str>,
    /// The whole of it in one sentence.
    explanation: String,
    /// Until when it waits, if it waits for a time.
    waits_until: Option<String>,
    /// The model call that a worker is making.
    in_flight: Option<InFlightView>,
    /// The tool calls of the model's last answer that have not all ended. Of a run that has ended: what was sent, or not, by then.
    tool_calls: Vec<ToolCallView>,
    /// The runs that it started as sub-agents, in the order of its steps.
    children: Vec<ChildView>,
    /// The attempts to call a model: all that were answered, and of those that were not at least the last.
    attempts: Vec<AttemptView>,
    /// What attempts used that are not listed: only where more than 20 were made that were not answered.
    attempts_left_out: LeftOutView,
    /// How often it was handed from worker to worker.
    hops: u32,
    /// How often it was taken from a dead worker since its last step.
    takeovers: u32,
    /// How many steps have been written down, the input among them.
    steps: u32,
    cancel_requested: bool,
    cost_micro_usd: Option<u64>,
    /// The budget that had no room for its next model call: `run`, `family` (a run above it, or its own, with all below), `batch`, `key day`, `key month`, `organisation day` or
    /// `organisation month`.
    refused_by: Option<&'static str>,
}

/// What attempts used that are not listed.
#[derive(Debug, Serialize, JsonSchema)]
struct LeftOutView {
    #[serde(flatten)]
    usage: UsageView,
    cost_micro_usd: Option<u64>,
}

/// A run that was started as a sub-agent.
#[derive(Debug, Serialize, JsonSchema)]
struct ChildView {
    run_id: String,
    agent_id: String,
    agent_name: String,
    /// The step of its parent that its result fills.
    step: u32,
    status: &'static str,
    reason: Option<&'static str>,
    /// The whole of it in one sentence.
    explanation: String,
    /// What it and those below it have cost.
    cost_micro_usd: Option<u64>,
}

impl From<&(u32, Run)> for ChildView {
    fn from((step, run): &(u32, Run)) -> Self {
        Self {
            run_id: run.id.prefixed(),
            agent_id: run.agent_id.prefixed(),
            agent_name: run.agent_name.clone(),
            step: *step,
            status: run.status.name(),
            reason: run.reason.map(run::Reason::name),
            explanation: run::explain(run, &[]),
            cost_micro_usd: run.usage.cost_micro_usd(),
        }
    }
}

/// A call that is being made.
#[derive(Debug, Serialize, JsonSchema)]
struct InFlightView {
    model: String,
    attempt: u32,
    started_at: String,
    /// What it may cost at most.
    reserved_micro_usd: Option<u64>,
}

/// One attempt to call a model.
#[derive(Debug, Serialize, JsonSchema)]
struct AttemptView {
    /// The step that it was made for.
    step: u32,
    model: String,
    started_at: String,
    ended_at: String,
    /// `answered`, `lost`, `cancelled`, or what went wrong: `busy`, `rate_limited`, `quota`, `refused`, `incomprehensible`, `broken`.
    outcome: &'static str,
    input_tokens: u64,
    output_tokens: u64,
    /// Whether the tokens are an estimate, on the high side.
    estimated: bool,
    cost_micro_usd: Option<u64>,
    message: Option<String>,
}

impl From<&run::Attempt> for AttemptView {
    fn from(attempt: &run::Attempt) -> Self {
        Self {
            step: attempt.slot,
            model: attempt.model.to_string(),
            started_at: attempt.started_at.rfc3339(),
            ended_at: attempt.ended_at.rfc3339(),
            outcome: outcome(attempt.end),
            input_tokens: attempt.tokens.input,
            output_tokens: attempt.tokens.output,
            estimated: attempt.estimated,
            cost_micro_usd: attempt.cost_micro_usd,
            message: attempt.message.clone(),
        }
    }
}

const fn outcome(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Answered => "answered",
        AttemptEnd::Lost => "lost",
        AttemptEnd::Cancelled => "cancelled",
        AttemptEnd::Failed(FaultKind::Busy) => "busy",
        AttemptEnd::Failed(FaultKind::Lost) => "broken",
        AttemptEnd::Failed(FaultKind::RateLimited) => "rate_limited",
        AttemptEnd::Failed(FaultKind::Quota) => "quota",
        AttemptEnd::Failed(FaultKind::Refused) => "refused",
        AttemptEnd::Failed(FaultKind::Incomprehensible) => "incomprehensible",
        AttemptEnd::Failed(FaultKind::CircuitOpen) => "circuit_open",
    }
}

pub(super) async fn explain_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let run = run::get(app, &caller, request.id("run_id")?).await?;
    let attempts = run::attempts(app, &caller, &run).await?;
    let children = run::children(app, &caller, &run).await?;
    let runs: Vec<Run> = children.iter().map(|(_, child)| child.clone()).collect();
    let in_flight = run.in_flight.as_ref().map(|call| InFlightView {
        model: call.model.to_string(),
        attempt: call.attempt,
        started_at: call.started_at.rfc3339(),
        reserved_micro_usd: call.reserved_micro_usd,
    });
    Ok(response::ok(&ExplainView {
        id: run.id.prefixed(),
        status: run.status.name(),
        reason: run.reason.map(run::Reason::name),
        explanation: run::explain(&run, &runs),
        waits_until: run.waits_until().map(|at| at.rfc3339()),
        in_flight,
        tool_calls: ToolCallView::all(&run),
        children: children.iter().map(ChildView::from).collect(),
        attempts: attempts.iter().map(AttemptView::from).collect(),
        attempts_left_out: LeftOutView {
            usage: UsageView::from(&run.left_out),
            cost_micro_usd: run.left_out.cost_micro_usd(),
        },
        hops: run.hops,
        takeovers: run.takeovers,
        steps: run.step,
        cancel_requested: run.cancel_requested,
        cost_micro_usd: run.usage.cost_micro_usd(),
        refused_by: run.refused_by.map(Budget::name),
    }))
}
