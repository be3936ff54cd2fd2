//! Batches on the native surface.

use http::header;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Caller, Error, Result, Scope,
    agent::Metadata,
    batch::{self, Batch, Counts, INLINE_LIMIT, ITEMS_LIMIT, Item, NewBatch, OnBudget, Planned, Progress, Shared},
    error::Problem,
    id::{AgentId, BatchId, EvaluationId},
    idempotency::Claim,
    run::Origin,
};

use super::{
    files::{self, AttachmentBody},
    reductions::{ReduceBody, ReductionView},
    runs::{WaitQuery, look_later, wait_ms},
    sent::BatchSentView,
    views::{ListQuery, PageView, UsageView, moment, prompt, run_of, schedule_of, trigger_of},
};
use crate::{Request, Response, auth, claims, decode, response, wait};

/// What a batch shall be. As `application/x-ndjson` the body is one item a line, up to 10,000.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBatch {
    /// 1 to 1,000 items; each is a run of its own.
    #[schemars(length(min = 1, max = 1_000), with = "Vec<BatchItem>")]
    items: Vec<serde_json::Value>,
    /// When its runs end if they have not: at most 24 hours from now, which it is unless given.
    #[schemars(extend("format" = "date-time"))]
    deadline: Option<String>,
    /// How many runs may be in hand at a time; as many as there are workers for unless given.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrency: Option<u32>,
    /// The most that all runs may cost together, in micro-USD.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// What becomes of the other runs when one needs a model call that the budget has no room for; `stop_new` unless given.
    #[serde(default)]
    on_budget: OnBudgetView,
    /// Where its end is told, besides the webhooks: https to a public address. Signed with the secret of the webhook that has no url.
    webhook_url: Option<String>,
    /// One run over all results.
    reduce: Option<ReduceBody>,
    /// At most 16 pairs of your own, for the batch and each of its runs.
    #[serde(default)]
    metadata: Metadata,
}

/// What becomes of a batch's other runs when its budget is used up.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnBudgetView {
    /// Each goes on until it needs a call that there is no room for, and ends with `budget_exceeded`.
    #[default]
    StopNew,
    /// All are cancelled.
    CancelAll,
}

impl From<OnBudgetView> for OnBudget {
    fn from(view: OnBudgetView) -> Self {
        match view {
            OnBudgetView::StopNew => Self::StopNew,
            OnBudgetView::CancelAll => Self::CancelAll,
        }
    }
}

impl From<OnBudget> for OnBudgetView {
    fn from(on_budget: OnBudget) -> Self {
        match on_budget {
            OnBudget::StopNew => Self::StopNew,
            OnBudget::CancelAll => Self::CancelAll,
        }
    }
}

/// How long to wait, and what a batch of lines cannot say in its body.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchQuery {
    /// Seconds: 0 to 25, 0 unless given.
    #[schemars(range(max = 25))]
    wait: Option<u64>,
    /// Of a batch of lines: as the field of a JSON body.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrency: Option<u32>,
    /// Of a batch of lines: as the field of a JSON body.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// Of a batch of lines: as the field of a JSON body.
    on_budget: Option<OnBudgetView>,
    /// Of a batch of lines: as the field of a JSON body.
    webhook_url: Option<String>,
}

impl BatchQuery {
    /// What the runs share, as far as the query says it.
    fn shared(&self) -> Shared {
        let Self { wait: _, max_concurrency, budget_micro_usd, on_budget, webhook_url: _ } = *self;
        Shared { budget_micro_usd, on_budget: on_budget.unwrap_or_default().into(), max_concurrency }
    }

    /// Refuses what a JSON body says itself.
    fn only_waits(&self) -> Result<()> {
        let said = [
            ("max_concurrency", self.max_concurrency.is_some()),
            ("budget_micro_usd", self.budget_micro_usd.is_some()),
            ("on_budget", self.on_budget.is_some()),
            ("webhook_url", self.webhook_url.is_some()),
        ];
        let problem = |(field, _): (&str, bool)| Problem {
            field: field.to_owned(),
            message: "goes into the body, unless that is newline-delimited".to_owned(),
        };
        let problems: Vec<Problem> = said.into_iter().filter(|(_, said)| *said).map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
    }
}

/// An item: a `message` or `inputs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchItem {
    /// Your own id of it: 1 to 64 characters, no two of a batch the same.
    #[schemars(length(min = 1, max = 64))]
    custom_id: Option<String>,
    /// What the agent is told; not when the agent declares an input that is required.
    message: Option<String>,
    /// Inputs by name, which the model is given as JSON: those that the agent declares, if it declares any.
    inputs: Option<serde_json::Map<String, serde_json::Value>>,
    /// At most 16 files that the prompt comes with. Those of all items that are not there yet may have 20 MiB together, and at most
    /// 16 URLs are fetched for a batch.
    #[serde(default)]
    #[schemars(length(max = 16))]
    attachments: Vec<AttachmentBody>,
}

/// How many runs stand how.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CountsView {
    queued: u32,
    running: u32,
    waiting: u32,
    pub(super) done: u32,
    pub(super) error: u32,
    pub(super) interrupted: u32,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts { queued, running, waiting, done, error, interrupted } = counts;
        Self { queued, running, waiting, done, error, interrupted }
    }
}

/// A batch, and how far it is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BatchView {
    id: String,
    agent_id: String,
    /// The version that its runs are pinned to.
    agent_version: u32,
    model: String,
    /// `running`, `done` when every run has ended, or `cancelling`.
    status: &'static str,
    /// Whether every run has ended.
    terminal: bool,
    /// How many items it has.
    items: u16,
    counts: CountsView,
    usage: UsageView,
    /// What all runs cost together; `null` when a price is not known.
    cost_micro_usd: Option<u64>,
    /// From its acceptance to the end of its last run, or to now.
    wall_ms: u64,
    /// The runs' own times together: what one after the other would have taken.
    sum_run_ms: u64,
    /// How many runs may be in hand at a time.
    max_concurrency: Option<u32>,
    /// The most that all runs may cost together.
    budget_micro_usd: Option<u64>,
    on_budget: OnBudgetView,
    metadata: Metadata,
    /// The run over all results, if there shall be one.
    reduce: Option<ReductionView>,
    /// The batch whose failed items it tries again.
    retry_of: Option<String>,
    /// The evaluation that it belongs to.
    evaluation_id: Option<String>,
    /// The schedule that started it.
    schedule_id: Option<String>,
    /// The trigger whose event has started it.
    trigger_id: Option<String>,
    /// The run whose end has started it, if one has: see `from` of triggers.
    caused_by_run_id: Option<String>,
    deadline: String,
    created_at: String,
    ended_at: Option<String>,
}

impl BatchView {
    fn new(app: &App, batch: &Batch, progress: &Progress) -> Self {
        let terminal = progress.ended_at.is_some();
        let status = match (terminal, batch.cancel_requested) {
            (true, _) => "done",
            (false, true) => "cancelling",
            (false, false) => "running",
        };
        Self {
            id: batch.id.prefixed(),
            agent_id: batch.agent_id.prefixed(),
            agent_version: batch.agent_version,
            model: batch.model.to_string(),
            status,
            terminal,
            items: batch.items,
            counts: progress.counts.into(),
            usage: UsageView::from(&progress.usage),
            cost_micro_usd: progress.usage.cost_micro_usd(),
            wall_ms: batch.wall_ms(progress, app.now()),
            sum_run_ms: progress.sum_run_ms,
            max_concurrency: batch.max_concurrency,
            budget_micro_usd: batch.budget_micro_usd,
            on_budget: batch.on_budget.into(),
            metadata: batch.metadata.clone(),
            reduce: batch.reduction.as_ref().map(ReductionView::from),
            retry_of: batch.retry_of.map(BatchId::prefixed),
            evaluation_id: batch.evaluation.map(EvaluationId::prefixed),
            schedule_id: batch.cause.and_then(schedule_of),
            trigger_id: batch.cause.and_then(trigger_of),
            caused_by_run_id: batch.cause.and_then(run_of),
            deadline: batch.deadline_at.rfc3339(),
            created_at: batch.created_at.rfc3339(),
            ended_at: progress.ended_at.map(|at| at.rfc3339()),
        }
    }
}

/// A batch that was cancelled.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CancelledBatchView {
    #[serde(flatten)]
    batch: BatchView,
    /// What its runs and the runs below them had sent by then, and cannot be taken back.
    already_sent: BatchSentView,
}

fn item(at: &str, item: BatchItem) -> Result<Item, Problem> {
    let BatchItem { custom_id, message, inputs, attachments } = item;
    let attachments = files::attachments(&format!("{at}."), attachments)?;
    Ok(Item { custom_id, prompt: prompt(at, message, inputs)?, mode: None, attachments })
}

/// What a request says of a batch.
struct Said {
    items: Vec<serde_json::Value>,
    limit: usize,
    deadline: Option<String>,
    metadata: Metadata,
    webhook_url: Option<String>,
    shared: Shared,
    reduce: Option<ReduceBody>,
}

/// The batch that the request asks for: one JSON object, or a line for each item.
fn new_batch(request: &Request, agent_id: AgentId, query: &BatchQuery) -> Result<NewBatch> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lines = media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/x-ndjson"));
    let said = if lines {
        let (items, webhook_url) = (decode::lines(request.body())?, query.webhook_url.clone());
        Said {
            items,
            limit: ITEMS_LIMIT,
            deadline: None,
            metadata: Metadata::new(),
            webhook_url,
            shared: query.shared(),
            reduce: None,
        }
    } else {
        query.only_waits()?;
        let body: CreateBatch = request.json()?;
        let CreateBatch {
            items,
            deadline,
            max_concurrency,
            budget_micro_usd,
            on_budget,
            webhook_url,
            reduce,
            metadata,
        } = body;
        let shared = Shared { budget_micro_usd, on_budget: on_budget.into(), max_concurrency };
        Said { items, limit: INLINE_LIMIT, deadline, metadata, webhook_url, shared, reduce }
    };
    let Said { items, limit, deadline, metadata, webhook_url, shared, reduce } = said;
    Ok(NewBatch {
        agent_id,
        version: None,
        model: None,
        items: decode::each_as("items", items, item)?,
        limit,
        items_field: "items",
        origin: Origin::Native,
        deadline_at: moment("deadline", deadline)?,
        metadata,
        webhook_url,
        shared,
        reduction: reduce.map(ReduceBody::read).transpose()?,
    })
}

pub(super) async fn create_batch(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    let query: BatchQuery = request.query()?;
    let limit_ms = wait_ms(query.wait)?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let planned = batch::plan(app, &caller, new_batch(&request, agent_id, &query)?).await?;
        start(app, &caller, planned, claim, limit_ms).await
    })
    .await
}

/// Accepts the batch. What a replay answers is what was true then: that it is accepted.
async fn start(app: &App, caller: &Caller, planned: Planned, claim: Claim, limit_ms: u64) -> Result<Response> {
    let location = format!("/v1/batches/{}", planned.batch().id.prefixed());
    let view = BatchView::new(app, planned.batch(), &planned.progress());
    let accepted = look_later(response::accepted(&view), &location);
    let batch = batch::start(app, planned, claims::answered(claim, &accepted)).await?;
    if limit_ms == 0 {
        return Ok(accepted);
    }
    let (batch, progress) = wait::until_batch_ended(app, caller, batch.id, limit_ms).await?;
    let view = BatchView::new(app, &batch, &progress);
    let ended = progress.ended_at.is_some();
    Ok(if ended { response::ok(&view) } else { look_later(response::accepted(&view), &location) })
}

pub(super) async fn list_batches(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, metadata) = request.query::<ListQuery>()?.page()?;
    let page = batch::list(app, &caller, &page, &metadata).await?;
    Ok(response::ok(&PageView::of(page, |(batch, progress)| BatchView::new(app, &batch, &progress))))
}

pub(super) async fn get_batch(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (batch, progress) = batch::get(app, &caller, request.id("batch_id")?).await?;
    Ok(response::ok(&BatchView::new(app, &batch, &progress)))
}

pub(super) async fn cancel_batch(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (batch, progress) = batch::cancel(app, &caller, request.id("batch_id")?).await?;
    let already_sent = BatchSentView::of(batch::cancelled(app, &caller, &batch).await?.iter());
    let view = CancelledBatchView { batch: BatchView::new(app, &batch, &progress), already_sent };
    Ok(if progress.ended_at.is_some() { response::ok(&view) } else { response::accepted(&view) })
}

pub(super) async fn retry_batch(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let limit_ms = request.query::<WaitQuery>()?.limit_ms()?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let planned = batch::plan_retry(app, &caller, request.id("batch_id")?).await?;
        start(app, &caller, planned, claim, limit_ms).await
    })
    .await
}
