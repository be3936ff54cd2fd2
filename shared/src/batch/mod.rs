//! Batches: runs that are started together, accepted together, and looked at together.
//!
//! The runs' rows are written first, and nobody sees them; the batch's own row accepts them all at once.

mod places;
mod progress;
mod reduce;
mod start;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use self::progress::progress;
pub(crate) use self::{
    places::{after, asked_for_by_itself, fill},
    progress::{look_at, settle},
    start::{ask_for_first, check_shared, first_row, start_with, take_away},
};
pub use self::{
    progress::{Counts, Progress},
    reduce::{NewReduction, REDUCTION_LIMIT_BYTES, RESULTS_LIMIT_BYTES, Reduced, Reduction},
    start::{
        INLINE_LIMIT, ITEMS_LIMIT, Item, MAX_CONCURRENCY_LIMIT, NewBatch, Planned, Shared, plan, plan_retry, start,
    },
};
use crate::{
    agent::Metadata,
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{AgentId, BatchId, EvaluationId, KeyId, OrgId, RunId},
    model::ModelName,
    page::{Page, PageRequest},
    run::{self, Cause, Origin, Run},
    store::{self, Versioned},
    tenant::{Caller, Scope, Tenant},
};

/// How often a batch's row is read again when others write it at the same time.
const TRIES: usize = 10;
/// How many runs of a cancelled batch are read together, and the relatives of how many at a time.
const READ_TOGETHER: usize = 500;
const FAMILIES_AT_A_TIME: usize = 16;

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
    /// What started it, if no call did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The agent.
    pub agent_id: AgentId,
    /// The version that its runs are pinned to.
    pub agent_version: u32,
    /// The model that they call.
    pub model: ModelName,
    /// The caller's own pairs.
    pub metadata: Metadata,
    /// Where its end is told, besides where its organisation has it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// How many items it has.
    pub items: u16,
    /// The batch whose failed items it tries again.
    pub retry_of: Option<BatchId>,
    /// The evaluation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationId>,
    /// The run that is told its results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduction: Option<Reduction>,
    /// When its runs end if they have not.
    pub deadline_at: Timestamp,
    /// The most that its runs may cost together, in micro-USD.
    #[serde(default)]
    pub budget_micro_usd: Option<u64>,
    /// What becomes of its other runs when that is used up.
    #[serde(default)]
    pub on_budget: OnBudget,
    /// How many of its runs may be in hand at a time; `None` is as many as there are workers for.
    #[serde(default)]
    pub max_concurrency: Option<u32>,
    /// Somebody wants it to end.
    pub cancel_requested: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What came of it, when all of its runs have ended.
    pub settled: Option<Progress>,
    pub(crate) next_check_at: Timestamp,
}

/// What becomes of a batch's other runs when one needs a model call for which its budget has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBudget {
    /// They go on with what they have: each ends with `budget_exceeded` when it needs a call that there is no room for.
    #[default]
    StopNew,
    /// All are cancelled.
    CancelAll,
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

/// How far the batch is, without going on with it.
pub(crate) async fn stands(app: &App, tenant: Tenant, id: BatchId) -> Result<Progress> {
    let batch = app.store().batch(tenant, id).await?.ok_or(Error::NotFound("batch"))?.value;
    progress(app, &batch).await
}

/// Asks every run of the batch that has not ended to end: see [`run::cancel`].
///
/// # Errors
/// [`Error::NotFound`].
pub async fn cancel(app: &App, caller: &Caller, id: BatchId) -> Result<(Batch, Progress)> {
    caller.require(Scope::RunsWrite)?;
    request_cancel(app, caller.tenant(), id).await
}

/// The same, whoever wants it.
pub(crate) async fn request_cancel(app: &App, tenant: Tenant, id: BatchId) -> Result<(Batch, Progress)> {
    for _ in 0..TRIES {
        let Versioned { value: batch, rev } = app.store().batch(tenant, id).await?.ok_or(Error::NotFound("batch"))?;
        if batch.settled.is_some() || batch.cancel_requested {
            return settle(app, tenant, id).await;
        }
        let batch = Batch { cancel_requested: true, ..batch };
        match app.store().save_batch(&batch, Some(rev), Vec::new()).await {
            Ok(()) => return settle(app, tenant, id).await,
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the batch is being written all the time".into()))
}

/// The runs of a batch that its cancel ended, or will, each with those below it, in the order of the batch's items. Only those that
/// had something under way.
///
/// # Errors
/// As the store says.
pub async fn cancelled(app: &App, caller: &Caller, batch: &Batch) -> Result<Vec<Run>> {
    caller.require(Scope::RunsWrite)?;
    if !batch.cancel_requested {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for ids in batch.run_ids().chunks(READ_TOGETHER) {
        let runs = app.store().runs(caller.tenant(), ids).await?.into_iter().flatten().map(|run| run.value);
        let families = stream::iter(runs.filter(|run| !run.status.terminal() || run.cancel_requested))
            .map(|run| async move {
                let below = run::below(app, caller, &run).await?;
                Ok::<_, Error>(std::iter::once(run).chain(below).filter(Run::has_sent).collect::<Vec<_>>())
            })
            .buffered(FAMILIES_AT_A_TIME);
        all.extend(families.try_collect::<Vec<_>>().await?.into_iter().flatten());
    }
    Ok(all)
}
