//! Starting batches: checked, given their ids, and accepted by one row; and those that try failed items again.

use std::collections::HashSet;

use super::{Batch, NewReduction, OnBudget, Progress, reduce, settle};
use crate::{
    agent::{self, Metadata, Mode},
    app::App,
    clock::Timestamp,
    engine,
    error::{Error, Problem, Result},
    file::{self, NewAttachment},
    id::{AgentId, BatchId, RunId},
    idempotency::Claim,
    message::{Record, Slot},
    run::{self, Cause, InBatch, NewRun, Origin, Pinned, Prompt, Run, Status},
    store::{self, row::Write},
    tenant::{Caller, Scope},
    webhook,
};

/// The most items of a batch in one JSON body.
pub const INLINE_LIMIT: usize = 1_000;
/// The most items of a batch.
pub const ITEMS_LIMIT: usize = 10_000;
/// The most that `max_concurrency` may be: as many as a batch has items.
pub const MAX_CONCURRENCY_LIMIT: u32 = 10_000;

/// One item of a batch, as somebody asks for it.
#[derive(Debug, Clone)]
pub struct Item {
    /// The caller's own id: 1 to 64 characters, no two the same.
    pub custom_id: Option<String>,
    /// What the agent is told.
    pub prompt: Prompt,
    /// Whether tools run by themselves; `None` is the agent's own.
    pub mode: Option<Mode>,
    /// The files that the prompt comes with.
    pub attachments: Vec<NewAttachment>,
}

/// What a batch shall be.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Whose version is run.
    pub agent_id: AgentId,
    /// Which one; `None` is the current one.
    pub version: Option<u32>,
    /// Another model than the agent's.
    pub model: Option<String>,
    /// The items: 1 to `limit`.
    pub items: Vec<Item>,
    /// The most items: [`INLINE_LIMIT`], [`ITEMS_LIMIT`] or what the surface says.
    pub limit: usize,
    /// What the items are called in the request: a problem is reported as `items[3].message`; empty for a bare array.
    pub items_field: &'static str,
    /// Where the call came from.
    pub origin: Origin,
    /// When the runs end if they have not: at most 24 hours from now.
    pub deadline_at: Option<Timestamp>,
    /// The caller's own pairs.
    pub metadata: Metadata,
    /// Where its end is told, besides where the organisation has it told.
    pub webhook_url: Option<String>,
    /// What its runs share.
    pub shared: Shared,
    /// The run that is told its results, if there shall be one.
    pub reduction: Option<NewReduction>,
}

/// What the runs of a batch share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shared {
    /// The most that they may cost together, in micro-USD: at least 1.
    pub budget_micro_usd: Option<u64>,
    /// What becomes of the others when that is used up.
    pub on_budget: OnBudget,
    /// How many may be in hand at a time: 1 to [`MAX_CONCURRENCY_LIMIT`].
    pub max_concurrency: Option<u32>,
}

/// A batch that is checked and has its ids, not yet accepted: see [`start`].
#[derive(Debug)]
pub struct Planned {
    batch: Batch,
    runs: Vec<(Run, Slot)>,
}

impl Planned {
    /// The batch as it will be when it is accepted.
    #[must_use]
    pub const fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The same batch, started by that.
    pub(crate) fn caused_by(mut self, cause: Cause) -> Self {
        self.batch.cause = Some(cause);
        self.runs.iter_mut().for_each(|(run, _)| run.cause = Some(cause));
        self
    }

    /// How far it will be then.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress::of(self.runs.iter().map(|(run, _)| run.glance()), self.batch.created_at)
    }
}

/// Checks a batch and gives it its ids. One bad item, and nothing is started.
///
/// # Errors
/// [`Error::NotFound`] for the agent; [`Error::Invalid`] with every bad item; [`Error::UnknownModel`].
pub async fn plan(app: &App, caller: &Caller, new: NewBatch) -> Result<Planned> {
    let NewBatch { agent_id, version, model, items, limit, items_field, origin, deadline_at, metadata, .. } = new;
    let (shared, webhook_url) = (new.shared, new.webhook_url);
    webhook::check_own(app, caller.tenant(), webhook_url.as_deref()).await?;
    let nothing = Prompt::Message(String::new());
    let common = NewRun { version, model, deadline_at, metadata, ..NewRun::of(agent_id, nothing, origin) };
    let pinned = run::pin(app, caller, &common).await?;
    check_shared(app, &pinned, shared).await?;
    let reduction = match new.reduction {
        Some(reduction) => Some(Box::pin(reduce::pin(app, caller, agent_id, &pinned.metadata, reduction)).await?),
        None => None,
    };
    if items.is_empty() || items.len() > limit {
        return Err(Error::invalid(items_field, format!("must have 1 to {limit} items, not {}", items.len())));
    }
    let now = app.now();
    let id = BatchId::new(now);
    let mut problems = bad_custom_ids(&items, items_field);
    let mut runs = Vec::with_capacity(items.len());
    let mut search = file::Search::new();
    for (index, item) in (0_u16..).zip(items) {
        let at = format!("{items_field}[{index}].");
        let (text, inputs) = match item.prompt.checked(&pinned.agent.definition, &at, None) {
            Ok(checked) => checked,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        let files = match file::find_all(app, caller.tenant(), item.attachments, &at, &mut search).await {
            Err(Error::Invalid(found)) => {
                problems.extend(found);
                continue;
            }
            other => other?,
        };
        let Shared { budget_micro_usd, max_concurrency, .. } = shared;
        let awaited = webhook_url.is_some() || reduction.is_some();
        let in_batch = InBatch {
            id,
            index,
            custom_id: item.custom_id,
            budget_micro_usd,
            max_concurrency,
            awaited,
            evaluates: false,
        };
        let mut run = run::first_row(app, &pinned, RunId::of_batch(id, index), &text, Some(in_batch));
        run.mode = item.mode.unwrap_or(run.mode);
        runs.push((run, text, inputs, files));
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    // Nothing is refused any more, so what came with the batch is kept.
    let mut kept = Vec::with_capacity(runs.len());
    for (run, text, inputs, files) in runs {
        let attachments = file::keep_all(app, files).await?;
        kept.push((run, Record::Input { text, inputs, attachments }.at(now)));
    }
    let batch = Batch { webhook_url, reduction, ..first_row(app, &pinned, id, kept.len(), shared) };
    Ok(Planned { batch, runs: kept })
}

/// A batch's first row, as it will be accepted.
pub(crate) fn first_row(app: &App, pinned: &Pinned, id: BatchId, items: usize, shared: Shared) -> Batch {
    let now = app.now();
    Batch {
        id,
        org: pinned.tenant.org(),
        key_id: pinned.key_id,
        origin: pinned.origin,
        cause: None,
        agent_id: pinned.agent.agent_id,
        agent_version: pinned.agent.number,
        model: pinned.model.clone(),
        metadata: pinned.metadata.clone(),
        webhook_url: None,
        items: u16::try_from(items).unwrap_or(u16::MAX),
        retry_of: None,
        evaluation: None,
        reduction: None,
        deadline_at: pinned.deadline_at,
        budget_micro_usd: shared.budget_micro_usd,
        on_budget: shared.on_budget,
        max_concurrency: shared.max_concurrency,
        cancel_requested: false,
        created_at: now,
        settled: None,
        next_check_at: now.plus_ms(app.config().lease_ms),
    }
}

/// Whether runs that are pinned so can share that.
pub(crate) async fn check_shared(app: &App, pinned: &Pinned, shared: Shared) -> Result<()> {
    let Shared { budget_micro_usd, on_budget: _, max_concurrency } = shared;
    if max_concurrency.is_some_and(|most| !(1..=MAX_CONCURRENCY_LIMIT).contains(&most)) {
        return Err(Error::invalid("max_concurrency", format!("must be from 1 to {MAX_CONCURRENCY_LIMIT}")));
    }
    let fallbacks = &pinned.agent.definition.fallback_models;
    agent::check_budget(app, pinned.tenant, Some(&pinned.model), fallbacks, budget_micro_usd).await
}

fn bad_custom_ids(items: &[Item], items_field: &str) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(custom_id) = &item.custom_id else { continue };
        let message = if custom_id.is_empty() || custom_id.chars().count() > 64 {
            "must be 1 to 64 characters long"
        } else if !seen.insert(custom_id) {
            "is the custom_id of an earlier item"
        } else {
            continue;
        };
        problems.push(Problem { field: format!("{items_field}[{index}].custom_id"), message: message.to_owned() });
    }
    problems
}

/// Accepts the batch and asks for workers. When it returns, every run is durable.
///
/// # Errors
/// [`Error::Conflict`] when a request with the same idempotency key was faster; as the store says.
pub async fn start(app: &App, planned: Planned, claim: Claim) -> Result<Batch> {
    let others = claim.write(app, None)?;
    start_with(app, planned, others.into_iter().collect()).await
}

/// The same, together with these writes.
///
/// # Errors
/// [`Error::InProgress`] when one of them cannot be; as the store says.
pub(crate) async fn start_with(app: &App, planned: Planned, others: Vec<Write>) -> Result<Batch> {
    let Planned { batch, runs } = planned;
    app.store().stage_runs(batch.tenant(), &runs).await?;
    engine::fault::point("K1");
    match app.store().save_batch(&batch, None, others).await {
        Err(store::Error::Conflict { .. }) => {
            take_away(app, &batch).await;
            return Err(Claim::in_progress());
        }
        other => other?,
    }
    engine::fault::point("K2");
    ask_for_first(app, &batch).await;
    Ok(batch)
}

/// Asks for workers for as many runs of a new batch as there are places.
pub(crate) async fn ask_for_first(app: &App, batch: &Batch) {
    let mut first = batch.run_ids();
    first.truncate(batch.places());
    engine::ask_for_workers(app, batch.tenant(), &first).await;
}

/// Takes away the runs that were written for a batch that is not accepted: nothing refers to them. What stays is the reaper's.
pub(crate) async fn take_away(app: &App, batch: &Batch) {
    if let Err(error) = app.store().unstage_runs(batch.tenant(), &batch.run_ids()).await {
        tracing::warn!(error = ?error, batch = %batch.id, "runs of a batch that lost a race were not taken away");
    }
}

/// A new batch of the items that did not end well, with their custom ids, on the agent's current version and without a reduction; not yet
/// accepted.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] when the batch has not ended, or every item ended well.
pub async fn plan_retry(app: &App, caller: &Caller, id: BatchId) -> Result<Planned> {
    caller.require(Scope::RunsWrite)?;
    let tenant = caller.tenant();
    let (batch, progress) = settle(app, tenant, id).await?;
    if progress.ended_at.is_none() {
        return Err(Error::Conflict("the batch has not ended; wait for it or cancel it".to_owned()));
    }
    let runs = app.store().runs(tenant, &batch.run_ids()).await?;
    let failed: Vec<Run> =
        runs.into_iter().flatten().map(|run| run.value).filter(|run| run.status != Status::Done).collect();
    if failed.is_empty() {
        return Err(Error::Conflict("every item of the batch ended well".to_owned()));
    }
    let inputs: Vec<(RunId, u32)> = failed.iter().map(|run| (run.id, 0)).collect();
    let mut items = Vec::with_capacity(failed.len());
    for (run, slot) in failed.into_iter().zip(app.store().slots(tenant, &inputs).await?) {
        let Some(Record::Input { text, inputs, attachments }) = slot.map(|slot| slot.record) else {
            return Err(Error::Internal("the input of a run is missing".into()));
        };
        let custom_id = run.batch.and_then(|batch| batch.custom_id);
        let prompt = inputs.map_or(Prompt::Message(text), Prompt::Inputs);
        let attachments = attachments.into_iter().map(|attachment| NewAttachment::File(attachment.file_id)).collect();
        items.push(Item { custom_id, prompt, mode: Some(run.mode), attachments });
    }
    let new = NewBatch {
        agent_id: batch.agent_id,
        version: None,
        model: None,
        items,
        limit: ITEMS_LIMIT,
        items_field: "items",
        origin: batch.origin,
        deadline_at: None,
        metadata: batch.metadata,
        webhook_url: batch.webhook_url,
        shared: Shared {
            budget_micro_usd: batch.budget_micro_usd,
            on_budget: batch.on_budget,
            max_concurrency: batch.max_concurrency,
        },
        // It would be told these items' results alone.
        reduction: None,
    };
    let mut planned = plan(app, caller, new).await?;
    planned.batch.retry_of = Some(id);
    Ok(planned)
}
