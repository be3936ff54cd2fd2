//! Runs on the native surface.

use http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Caller, Error, Result, Scope,
    agent::Metadata,
    id::{AgentId, BatchId, RunId},
    page::PageRequest,
    run::{self, Criterion, Evaluation, Filter, NewRun, Origin, ParentIs, Run, Status},
};

use super::{
    files::{self, AttachmentBody},
    sent::SentView,
    views::{ModeView, PageView, UsageView, metadata, moment, prompt, run_of, schedule_of, trigger_of},
};
use crate::{Request, Response, auth, claims, response, wait};

/// The longest `wait`, in seconds.
pub(super) const WAIT_LIMIT_S: u64 = 25;

/// What a run shall be: a `message` or `inputs`, and what it changes about the agent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRun {
    /// What the agent is told; not when the agent declares an input that is required.
    message: Option<String>,
    /// Inputs by name, which the model is given as JSON: those that the agent declares, if it declares any.
    inputs: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether tool calls run by themselves; the agent's own unless given.
    mode: Option<ModeView>,
    /// Another model than the agent's.
    model: Option<String>,
    /// The most model calls; the agent's own unless given.
    #[schemars(range(min = 1, max = 200))]
    max_steps: Option<u32>,
    /// The most that it may cost, in micro-USD; the agent's own unless given.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// When it ends if it has not: at most 24 hours from now, which it is unless given.
    #[schemars(extend("format" = "date-time"))]
    deadline: Option<String>,
    /// The chat to go on with: the id of its first run.
    chat_id: Option<String>,
    /// At most 16 files that the message comes with, 20 MiB together.
    #[serde(default)]
    #[schemars(length(max = 16))]
    attachments: Vec<AttachmentBody>,
    /// Where its events are sent (its end, and that a person is asked), besides the webhooks: https to a public address. Signed with the
    /// secret of the webhook that has no url.
    webhook_url: Option<String>,
    /// At most 16 pairs of your own.
    #[serde(default)]
    metadata: Metadata,
}

impl CreateRun {
    pub(super) fn into_new(self, agent_id: AgentId) -> Result<NewRun> {
        let Self {
            message,
            inputs,
            mode,
            model,
            max_steps,
            budget_micro_usd,
            deadline,
            chat_id,
            attachments,
            webhook_url,
            metadata,
        } = self;
        let prompt = prompt("message", message, inputs).map_err(|problem| Error::Invalid(vec![problem]))?;
        let chat_id = chat_id
            .map(|id| {
                RunId::parse_prefixed(&id)
                    .map_err(|_| Error::invalid("chat_id", "must be the id of a run, as in run_…"))
            })
            .transpose()?;
        let deadline_at = moment("deadline", deadline)?;
        let mode = mode.map(Into::into);
        Ok(NewRun {
            mode,
            model,
            max_steps,
            budget_micro_usd,
            deadline_at,
            chat_id,
            attachments: files::attachments("", attachments).map_err(|problem| Error::Invalid(vec![problem]))?,
            webhook_url,
            metadata,
            ..NewRun::of(agent_id, prompt, Origin::Native)
        })
    }
}

/// How long to wait for the end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    /// Seconds: 0 to 25, 0 unless given.
    #[schemars(range(max = 25))]
    wait: Option<u64>,
}

impl WaitQuery {
    /// In milliseconds.
    pub(super) fn limit_ms(&self) -> Result<u64> {
        wait_ms(self.wait)
    }
}

/// So many seconds in milliseconds, if a call may wait for so long.
pub(super) fn wait_ms(wait_s: Option<u64>) -> Result<u64> {
    let seconds = wait_s.unwrap_or(0);
    if seconds > WAIT_LIMIT_S {
        return Err(Error::invalid("wait", format!("must be from 0 to {WAIT_LIMIT_S}")));
    }
    Ok(seconds.saturating_mul(1_000))
}

/// Which runs of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRuns {
    /// At most so many entries: 1 to 100, 20 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// The previous page's `next_cursor`.
    after: Option<String>,
    /// Those of this agent.
    agent_id: Option<String>,
    /// Those of this batch.
    batch_id: Option<String>,
    /// Those that this run started as sub-agents; with `none`, those that no run started.
    parent_run_id: Option<String>,
    /// Those that stand so: `queued`, `running`, `waiting`, `done`, `error`, `interrupted`.
    status: Option<String>,
    /// Those that have all of these pairs: a JSON object of strings.
    metadata: Option<String>,
}

impl ListRuns {
    fn parse(self) -> Result<(Filter, PageRequest)> {
        let Self { limit, after, agent_id, batch_id, parent_run_id, status, metadata: pairs } = self;
        let agent_id = agent_id
            .map(|id| {
                AgentId::parse_prefixed(&id).map_err(|_| Error::invalid("agent_id", "must be an id, as in agent_…"))
            })
            .transpose()?;
        let batch_id = batch_id
            .map(|id| {
                BatchId::parse_prefixed(&id).map_err(|_| Error::invalid("batch_id", "must be an id, as in batch_…"))
            })
            .transpose()?;
        let parent = parent_run_id.map(|id| parent("parent_run_id", &id)).transpose()?;
        let known = || Status::ALL.map(Status::name).join(", ");
        let status = status
            .map(|name| {
                Status::named(&name).ok_or_else(|| Error::invalid("status", format!("must be one of {}", known())))
            })
            .transpose()?;
        let metadata = metadata(pairs.as_deref())?;
        let filter = Filter { agent_id, status, batch_id, metadata, first_of_chat: false, parent };
        Ok((filter, PageRequest::new(limit, after)?))
    }
}

fn parent(field: &str, text: &str) -> Result<ParentIs> {
    if text == "none" {
        return Ok(ParentIs::Nobody);
    }
    let id = RunId::parse_prefixed(text);
    id.map(ParentIs::Run).map_err(|_| Error::invalid(field, "must be an id, as in run_…, or none"))
}

/// A run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunView {
    id: String,
    agent_id: String,
    /// The version that it is pinned to.
    agent_version: u32,
    model: String,
    mode: ModeView,
    /// `queued`, `running`, `waiting`, `done`, `error` or `interrupted`.
    status: &'static str,
    /// Whether it has ended.
    terminal: bool,
    /// Why it stands so, for machines.
    reason: Option<&'static str>,
    /// What went wrong, for people.
    error: Option<String>,
    /// What the agent said at its end.
    result: Option<String>,
    /// The same as JSON, when the agent has an `output_schema`.
    output: Option<serde_json::Value>,
    /// The chat that it belongs to: the id of its first run.
    chat_id: String,
    /// The run that started it as a sub-agent.
    parent_run_id: Option<String>,
    /// How many runs are above it: 0 for one that no run started.
    depth: u32,
    /// The schedule that started it.
    schedule_id: Option<String>,
    /// The trigger whose event has started it.
    trigger_id: Option<String>,
    /// The run whose end has started it, if one has: see `from` of triggers.
    caused_by_run_id: Option<String>,
    /// The batch whose results it is told, if it is the `reduce` of one.
    reduces: Option<String>,
    batch_id: Option<String>,
    /// The item's place in the batch's request, from 0.
    batch_index: Option<u16>,
    custom_id: Option<String>,
    metadata: Metadata,
    /// What it used, and the runs that it started as sub-agents: each counts when its result has come.
    usage: UsageView,
    /// What these tokens cost at the price of the moment; `null` when a price is not known.
    cost_micro_usd: Option<u64>,
    budget_micro_usd: Option<u64>,
    max_steps: u32,
    deadline: String,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    /// From its acceptance to its end, or to now.
    duration_ms: u64,
    /// How a judge graded the result of a run that ended well against its agent's acceptance criteria; `null` until it has, in the answer
    /// that starts a run, and for agents without any.
    evaluation: Option<EvaluationView>,
}

/// How a result was graded. What that costs is no part of the run's cost.
#[derive(Debug, Serialize, JsonSchema)]
struct EvaluationView {
    /// The part of the criteria that are met, from 0 to 1; `null` when one could not be judged.
    score: Option<f64>,
    /// The whole of it in one sentence.
    explanation: String,
    /// One for each criterion, in the agent's order.
    results: Vec<CriterionView>,
}

/// The verdict on one criterion.
#[derive(Debug, Serialize, JsonSchema)]
struct CriterionView {
    criterion: String,
    met: bool,
    /// Why, or why it could not be judged.
    explanation: String,
}

impl From<Evaluation> for EvaluationView {
    fn from(evaluation: Evaluation) -> Self {
        let Evaluation { score, explanation, results } = evaluation;
        let result = |Criterion { criterion, met, explanation }| CriterionView { criterion, met, explanation };
        Self { score, explanation, results: results.into_iter().map(result).collect() }
    }
}

impl RunView {
    pub(super) fn new(app: &App, run: &Run, result: Option<String>) -> Self {
        let batch = run.batch.as_ref();
        Self {
            id: run.id.prefixed(),
            agent_id: run.agent_id.prefixed(),
            agent_version: run.agent_version,
            model: run.model.to_string(),
            mode: run.mode.into(),
            status: run.status.name(),
            terminal: run.status.terminal(),
            reason: run.reason.map(run::Reason::name),
            error: run.error.clone(),
            output: run.parsed(result.as_deref()),
            result,
            chat_id: run.chat_id.prefixed(),
            parent_run_id: run.parent.map(|parent| parent.run.prefixed()),
            depth: run.depth(),
            schedule_id: run.cause.and_then(schedule_of),
            trigger_id: run.cause.and_then(trigger_of),
            caused_by_run_id: run.cause.and_then(run_of),
            reduces: run.reduces.map(BatchId::prefixed),
            batch_id: batch.map(|batch| batch.id.prefixed()),
            batch_index: batch.map(|batch| batch.index),
            custom_id: batch.and_then(|batch| batch.custom_id.clone()),
            metadata: run.metadata.clone(),
            usage: UsageView::from(&run.usage),
            cost_micro_usd: run.usage.cost_micro_usd(),
            budget_micro_usd: run.budget_micro_usd,
            max_steps: run.max_steps,
            deadline: run.deadline_at.rfc3339(),
            created_at: run.created_at.rfc3339(),
            started_at: run.started_at.map(|at| at.rfc3339()),
            ended_at: run.ended_at.map(|at| at.rfc3339()),
            duration_ms: run.duration_ms(app.now()),
            evaluation: run.evaluation.clone().map(Into::into),
        }
    }
}

/// A run that was cancelled.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CancelledView {
    #[serde(flatten)]
    run: RunView,
    /// What it and the runs below it had sent by then, and cannot be taken back.
    already_sent: SentView,
}

pub(super) async fn create_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    let limit_ms = request.query::<WaitQuery>()?.limit_ms()?;
    let answer = async |run: &Run| started(app, &caller, run).await;
    Box::pin(claims::once_or_run(app, &caller, &request, Scope::RunsWrite, answer, async |claim| {
        let body: CreateRun = request.json()?;
        let planned = run::plan(app, &caller, body.into_new(agent_id)?).await?;
        if limit_ms == 0 {
            let response = answer(planned.run()).await?;
            run::start(app, planned, claims::answered(claim, &response)).await?;
            return Ok(response);
        }
        answer(&wait::start_and_wait(app, &caller, planned, claim, limit_ms).await?).await
    }))
    .await
}

/// 200 for a run that has ended, 202 with where to look for one that has not.
async fn started(app: &App, caller: &Caller, run: &Run) -> Result<Response> {
    let result = run::output(app, caller, run).await?;
    // As it was at its end: the same request again is answered with the same, graded since or not.
    let view = RunView { evaluation: None, ..RunView::new(app, run, result) };
    if run.status.terminal() {
        return Ok(response::ok(&view));
    }
    Ok(look_later(response::accepted(&view), &format!("/v1/runs/{}", run.id.prefixed())))
}

/// Says where to look, and when.
pub(super) fn look_later(mut response: Response, location: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(location) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(super) async fn list_runs(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (filter, page) = request.query::<ListRuns>()?.parse()?;
    let page = run::list(app, &caller, &filter, &page).await?;
    let mut results = run::outputs(app, &caller, &page.entries).await?.into_iter();
    Ok(response::ok(&PageView::of(page, |run| RunView::new(app, &run, results.next().flatten()))))
}

pub(super) async fn get_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let run = run::get(app, &caller, request.id("run_id")?).await?;
    let result = run::output(app, &caller, &run).await?;
    Ok(response::ok(&RunView::new(app, &run, result)))
}

pub(super) async fn cancel_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let run = run::cancel(app, &caller, request.id("run_id")?).await?;
    // A key that may not look at runs learns nothing of what one said by cancelling it too late.
    let result = if caller.may(Scope::RunsRead) { run::output(app, &caller, &run).await? } else { None };
    let below = run::below(app, &caller, &run).await?;
    let already_sent = SentView::of(std::iter::once(&run).chain(&below));
    let view = CancelledView { run: RunView::new(app, &run, result), already_sent };
    Ok(if run.status.terminal() { response::ok(&view) } else { response::accepted(&view) })
}
