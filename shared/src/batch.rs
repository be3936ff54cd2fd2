//! Batches: runs that are started together, accepted together, and looked at together.
//!
//! The runs' rows are written first, and nobody sees them; the batch's own row accepts them all at once.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    agent::{Metadata, Mode},
    app::App,
    clock::Timestamp,
    engine,
    error::{Error, Problem, Result},
    id::{AgentId, BatchId, KeyId, OrgId, RunId},
    idempotency::Claim,
    message::{Record, Slot},
    model::ModelName,
    page::{Page, PageRequest},
    run::{self, Glance, InBatch, NewRun, Origin, Prompt, Run, Status, Usage},
    store::{self, Versioned},
    tenant::{Caller, Scope, Tenant},
};

/// The most items of a batch in one JSON body.
pub const INLINE_LIMIT: usize = 1_000;
/// The most items of a batch.
pub const ITEMS_LIMIT: usize = 10_000;
/// How many runs are cancelled at a time.
const CANCELS_AT_A_TIME: usize = 32;
/// How often a batch's row is read again when others write it at the same time.
const TRIES: usize = 10;

/// How many runs of a batch stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are named as the states are")]
pub struct Counts {
    pub queued: u32,
    pub running: u32,
    pub waiting: u32,
    pub done: u32,
    pub error: u32,
    pub interrupted: u32,
}

impl Counts {
    fn count(&mut self, status: Status) {
        let count = match status {
            Status::Queued => &mut self.queued,
            Status::Running => &mut self.running,
            Status::Waiting => &mut self.waiting,
            Status::Done => &mut self.done,
            Status::Error => &mut self.error,
            Status::Interrupted => &mut self.interrupted,
        };
        *count = count.saturating_add(1);
    }

    /// How many have ended.
    #[must_use]
    pub const fn ended(&self) -> u32 {
        self.done.saturating_add(self.error).saturating_add(self.interrupted)
    }
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How many runs stand how.
    pub counts: Counts,
    /// What all runs have used together.
    pub usage: Usage,
    /// The runs' own times together, in milliseconds: what one after the other would have taken.
    pub sum_run_ms: u64,
    /// When the last run ended; `None` as long as one has not.
    pub ended_at: Option<Timestamp>,
}

impl Progress {
    fn of(runs: impl Iterator<Item = Glance>, now: Timestamp) -> Self {
        let mut progress = Self::default();
        let mut last = Timestamp::default();
        let mut all_ended = true;
        for run in runs {
            progress.counts.count(run.status);
            progress.usage.add(&run.usage);
            progress.sum_run_ms = progress.sum_run_ms.saturating_add(run.run_ms(now));
            match run.ended_at {
                Some(ended) => last = last.max(ended),
                None => all_ended = false,
            }
        }
        progress.ended_at = all_ended.then_some(last);
        progress
    }
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    pub(crate) org: OrgId,
    /// The key that started it.
    pub key_id: KeyId,
    /// Where it was started.
    pub origin: Origin,
    /// The agent.
    pub agent_id: AgentId,
    /// The version that its runs are pinned to.
    pub agent_version: u32,
    /// The model that they call.
    pub model: ModelName,
    /// The caller's own pairs.
    pub metadata: Metadata,
    /// How many items it has.
    pub items: u16,
    /// The batch whose failed items it tries again.
    pub retry_of: Option<BatchId>,
    /// When its runs end if they have not.
    pub deadline_at: Timestamp,
    /// Somebody wants it to end.
    pub cancel_requested: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What came of it, when all of its runs have ended.
    pub settled: Option<Progress>,
    pub(crate) next_check_at: Timestamp,
}

impl Batch {
    pub(crate) fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    /// The ids of its runs, in the order of its items.
    #[must_use]
    pub fn run_ids(&self) -> Vec<RunId> {
        (0..self.items).map(|index| RunId::of_batch(self.id, index)).collect()
    }

    /// How long it took, or has taken at this moment, in milliseconds.
    #[must_use]
    pub fn wall_ms(&self, progress: &Progress, now: Timestamp) -> u64 {
        progress.ended_at.unwrap_or(now).since_ms(self.created_at)
    }
}

/// One item of a batch, as somebody asks for it.
#[derive(Debug, Clone)]
pub struct Item {
    /// The caller's own id: 1 to 64 characters, no two the same.
    pub custom_id: Option<String>,
    /// What the agent is told.
    pub prompt: Prompt,
    /// Whether tools run by themselves; `None` is the agent's own.
    pub mode: Option<Mode>,
}

/// What a batch shall be.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Whose version is run.
    pub agent_id: AgentId,
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
    let NewBatch { agent_id, items, limit, items_field, origin, deadline_at, metadata } = new;
    let common = NewRun { deadline_at, metadata, ..NewRun::of(agent_id, Prompt::Message(String::new()), origin) };
    let pinned = run::pin(app, caller, &common).await?;
    if items.is_empty() || items.len() > limit {
        return Err(Error::invalid(items_field, format!("must have 1 to {limit} items, not {}", items.len())));
    }
    let now = app.now();
    let id = BatchId::new(now);
    let mut problems = bad_custom_ids(&items, items_field);
    let mut runs = Vec::with_capacity(items.len());
    for (index, item) in (0_u16..).zip(items) {
        let what = if matches!(item.prompt, Prompt::Message(_)) { "message" } else { "inputs" };
        let text = match item.prompt.text(&format!("{items_field}[{index}].{what}")) {
            Ok(text) => text,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let in_batch = InBatch { id, index, custom_id: item.custom_id };
        let mut run = run::first_row(app, caller, &pinned, RunId::of_batch(id, index), &text, Some(in_batch));
        run.mode = item.mode.unwrap_or(run.mode);
        runs.push((run, Record::Input { text }.at(now)));
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let batch = Batch {
        id,
        org: caller.tenant().org(),
        key_id: caller.key_id(),
        origin,
        agent_id,
        agent_version: pinned.agent.number,
        model: pinned.model,
        metadata: pinned.metadata,
        items: u16::try_from(runs.len()).unwrap_or(u16::MAX),
        retry_of: None,
        deadline_at: pinned.deadline_at,
        cancel_requested: false,
        created_at: now,
        settled: None,
        next_check_at: now.plus_ms(app.config().lease_ms),
    };
    Ok(Planned { batch, runs })
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
    let Planned { batch, runs } = planned;
    let claim = claim.write(app, None)?;
    app.store().stage_runs(batch.tenant(), &runs).await?;
    engine::fault::point("K1");
    match app.store().save_batch(&batch, None, claim).await {
        Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
        other => other?,
    }
    engine::fault::point("K2");
    engine::ask_for_workers(app, batch.tenant(), &batch.run_ids()).await;
    Ok(batch)
}

/// The batch and how far it is.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(app: &App, caller: &Caller, id: BatchId) -> Result<(Batch, Progress)> {
    caller.require(Scope::RunsRead)?;
    settle(app, caller.tenant(), id).await
}

/// The batch that the caller has started with the request that is being answered, and how far it is: that needs no right to
/// look at others.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn own(app: &App, caller: &Caller, id: BatchId) -> Result<(Batch, Progress)> {
    caller.require(Scope::RunsWrite)?;
    settle(app, caller.tenant(), id).await
}

/// The organisation's batches, newest first. Their progress is [`get`]'s, or in `settled`.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(
    app: &App,
    caller: &Caller,
    page: &PageRequest,
    metadata: &Metadata,
) -> Result<Page<(Batch, Progress)>> {
    caller.require(Scope::RunsRead)?;
    let of = format!("batches?{metadata:?}");
    let mut before = page.position(&of)?;
    let mut entries = Vec::new();
    loop {
        let (batches, next) = app.store().listed_batches(caller.tenant(), before.take(), page.limit).await?;
        let mut batches = batches.into_iter();
        let fits = |batch: &Batch| metadata.iter().all(|(key, value)| batch.metadata.get(key) == Some(value));
        for batch in batches.by_ref().filter(fits) {
            let position = batch.id.to_string();
            let progress = progress(app, &batch).await?;
            entries.push((batch, progress));
            if entries.len() == page.limit {
                let more = next.is_some() || batches.len() > 0;
                return Ok(Page::new(entries, more.then_some(position.as_str()), &of));
            }
        }
        match next {
            Some(next) => before = Some(next),
            None => return Ok(Page::new(entries, None, &of)),
        }
    }
}

/// The batch's runs from item `from` on, at most `limit`, with what their agents said, in the order of the request.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn results(
    app: &App,
    caller: &Caller,
    id: BatchId,
    from: usize,
    limit: usize,
) -> Result<Vec<(Run, Option<String>)>> {
    caller.require(Scope::RunsRead)?;
    let batch = app.store().batch(caller.tenant(), id).await?.ok_or(Error::NotFound("batch"))?.value;
    let ids: Vec<RunId> = batch.run_ids().into_iter().skip(from).take(limit).collect();
    let runs: Vec<Run> =
        app.store().runs(caller.tenant(), &ids).await?.into_iter().flatten().map(|run| run.value).collect();
    let outputs = run::outputs(app, caller, &runs).await?;
    Ok(runs.into_iter().zip(outputs).collect())
}

/// Asks every run of the batch that has not ended to end: see [`run::cancel`].
///
/// # Errors
/// [`Error::NotFound`].
pub async fn cancel(app: &App, caller: &Caller, id: BatchId) -> Result<(Batch, Progress)> {
    caller.require(Scope::RunsWrite)?;
    let tenant = caller.tenant();
    for _ in 0..TRIES {
        let Versioned { value: batch, rev } = app.store().batch(tenant, id).await?.ok_or(Error::NotFound("batch"))?;
        if batch.settled.is_some() || batch.cancel_requested {
            return settle(app, tenant, id).await;
        }
        let batch = Batch { cancel_requested: true, ..batch };
        match app.store().save_batch(&batch, Some(rev), None).await {
            Ok(()) => return settle(app, tenant, id).await,
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the batch is being written all the time".into()))
}

/// A new batch of the items that did not end well, with their custom ids, on the agent's current version; not yet accepted.
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
        let Some(Record::Input { text }) = slot.map(|slot| slot.record) else {
            return Err(Error::Internal("the input of a run is missing".into()));
        };
        let custom_id = run.batch.and_then(|batch| batch.custom_id);
        items.push(Item { custom_id, prompt: Prompt::Message(text), mode: Some(run.mode) });
    }
    let new = NewBatch {
        agent_id: batch.agent_id,
        items,
        limit: ITEMS_LIMIT,
        items_field: "items",
        origin: batch.origin,
        deadline_at: None,
        metadata: batch.metadata,
    };
    let mut planned = plan(app, caller, new).await?;
    planned.batch.retry_of = Some(id);
    Ok(planned)
}

async fn progress(app: &App, batch: &Batch) -> Result<Progress> {
    if let Some(settled) = batch.settled {
        return Ok(settled);
    }
    let runs = app.store().glances(batch.tenant(), &batch.run_ids()).await?;
    Ok(Progress::of(runs.into_iter(), app.now()))
}

/// Looks at the batch's runs; goes on with a cancel that was begun; and writes the outcome down when all have ended.
pub(crate) async fn settle(app: &App, tenant: Tenant, id: BatchId) -> Result<(Batch, Progress)> {
    let Versioned { value: mut batch, rev } = app.store().batch(tenant, id).await?.ok_or(Error::NotFound("batch"))?;
    let mut now_at = progress(app, &batch).await?;
    if batch.cancel_requested && now_at.ended_at.is_none() {
        cancel_runs(app, &batch).await?;
        now_at = progress(app, &batch).await?;
    }
    let now = app.now();
    let look_again = batch.next_check_at <= now;
    if batch.settled.is_some() || (now_at.ended_at.is_none() && !look_again) {
        return Ok((batch, now_at));
    }
    if now_at.ended_at.is_some() {
        batch.settled = Some(now_at);
    } else {
        batch.next_check_at = now.plus_ms(app.config().lease_ms);
    }
    match app.store().save_batch(&batch, Some(rev), None).await {
        // A conflict is another who settles it, or a cancel that the next look will see.
        Ok(()) | Err(store::Error::Conflict { .. }) => Ok((batch, now_at)),
        Err(error) => Err(error.into()),
    }
}

async fn cancel_runs(app: &App, batch: &Batch) -> Result<()> {
    let runs = app.store().runs(batch.tenant(), &batch.run_ids()).await?;
    let open = runs.into_iter().flatten().map(|run| run.value).filter(|run| !run.status.terminal());
    stream::iter(open)
        .map(|run| async move { run::request_cancel(app, batch.tenant(), run.id).await.map(|_| ()) })
        .buffer_unordered(CANCELS_AT_A_TIME)
        .try_collect::<Vec<()>>()
        .await
        .map(|_| ())
}
