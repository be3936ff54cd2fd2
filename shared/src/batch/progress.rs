//! How far a batch is, and what is written down of it when all of its runs have ended.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::{Batch, OnBudget, Reduced, fill};
use crate::{
    app::App,
    clock::Timestamp,
    engine,
    error::{Error, Result},
    id::BatchId,
    money::Budget,
    run::{self, Glance, Run, Status, Usage},
    schedule,
    store::{self, Versioned, row::Write},
    tenant::Tenant,
    webhook::{self, Notices},
};

/// How many runs are cancelled at a time.
const CANCELS_AT_A_TIME: usize = 32;

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
    /// Whether the batch's budget had no room for a call of one of its runs.
    #[serde(default)]
    pub refused: bool,
}

impl Batch {
    /// What is told of it to webhooks and reductions, as it stands.
    pub(crate) fn about(&self, progress: &Progress) -> Map<String, Json> {
        let counts = progress.counts;
        webhook::object(json!({
            "agent_id": self.agent_id.prefixed(),
            "agent_version": self.agent_version,
            "items": self.items,
            "counts": { "done": counts.done, "error": counts.error, "interrupted": counts.interrupted },
            "cost_micro_usd": progress.usage.cost_micro_usd(),
            "metadata": self.metadata,
        }))
    }
}

impl Progress {
    pub(super) fn of(runs: impl Iterator<Item = Glance>, now: Timestamp) -> Self {
        let mut progress = Self::default();
        let mut last = Timestamp::default();
        let mut all_ended = true;
        for run in runs {
            progress.counts.count(run.status);
            progress.usage.add(&run.usage);
            progress.refused |= run.refused_by == Some(Budget::Batch);
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

/// How far the batch is: as it was written down, or as its runs stand.
pub(super) async fn progress(app: &App, batch: &Batch) -> Result<Progress> {
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
    if batch.on_budget == OnBudget::CancelAll && now_at.refused && !batch.cancel_requested && now_at.ended_at.is_none()
    {
        batch.cancel_requested = true;
        match app.store().save_batch(&batch, Some(rev), Vec::new()).await {
            // The row has another revision by now: the next look settles it.
            Ok(()) => cancel_runs(app, &batch).await?,
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        return Ok((batch.clone(), progress(app, &batch).await?));
    }
    if batch.cancel_requested && now_at.ended_at.is_none() {
        cancel_runs(app, &batch).await?;
        now_at = progress(app, &batch).await?;
    }
    let (ends, reduces) = (now_at.ended_at.is_some(), batch.reduces(&now_at));
    if batch.settled.is_some() || !(ends || reduces) {
        return Ok((batch, now_at));
    }
    let mut writes = Vec::new();
    if reduces {
        writes = reduce(app, &mut batch, &now_at).await?;
        engine::fault::point("B1");
    }
    let mut notices = Notices::default();
    if ends {
        batch.settled = Some(now_at);
        notices = webhook::of_batch(app, &batch, &now_at).await?;
        writes.extend(notices.writes(app.store())?);
    }
    match app.store().save_batch(&batch, Some(rev), writes).await {
        Ok(()) => {
            engine::fault::point("B2");
            if let Some(run) = batch.reduction_run().filter(|_| reduces) {
                engine::ask_for_workers(app, tenant, &[run]).await;
            }
            if ends {
                webhook::ask_to_send(app, tenant, &notices).await;
                schedule::after(app, tenant, batch.cause.as_ref()).await;
            }
        }
        // Another settles it, or cancels it, which the next look will see.
        Err(store::Error::Conflict { .. }) if reduces => {
            let found = app.store().batch(tenant, id).await?.ok_or(Error::NotFound("batch"))?;
            return Ok((found.value, now_at));
        }
        Err(store::Error::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok((batch, now_at))
}

/// Decides on the batch's reduction. Answers what starts the run, if there is one.
async fn reduce(app: &App, batch: &mut Batch, progress: &Progress) -> Result<Vec<Write>> {
    let Some(mut reduction) = batch.reduction.take() else { return Ok(Vec::new()) };
    let decided = match Box::pin(super::reduce::decide(app, batch, &reduction, progress)).await {
        // What is broken stays so, and keeps no batch from its end.
        Err(Error::Internal(error)) => {
            tracing::error!(batch = %batch.id, error, "a batch cannot be reduced");
            Err("what it would be told could not be made of the results".to_owned())
        }
        decided => decided?,
    };
    let (outcome, writes) = match decided {
        Ok((run, input)) => (Reduced::Run(run.id), app.store().new_run_writes(&run, &input)?.into()),
        Err(why) => (Reduced::Failed(why), Vec::new()),
    };
    reduction.outcome = Some(outcome);
    batch.reduction = Some(reduction);
    Ok(writes)
}

/// What the reaper does about a batch whose time has come: settles it, or sees to it that its time comes again. Answers the
/// runs that nobody has taken or asked for since they were written: their messages may be lost, and the reaper may have put their own
/// time off when the batch was not accepted yet.
pub(crate) async fn look_at(app: &App, tenant: Tenant, id: BatchId) -> Result<Vec<Versioned<Run>>> {
    let (_, progress) = settle(app, tenant, id).await?;
    if progress.ended_at.is_some() {
        return Ok(Vec::new());
    }
    let Versioned { value: batch, rev } = app.store().batch(tenant, id).await?.ok_or(Error::NotFound("batch"))?;
    if batch.settled.is_some() {
        // Another look has settled it meanwhile.
        return Ok(Vec::new());
    }
    let (queued, limited) = (progress.counts.queued > 0, batch.max_concurrency.is_some());
    // Before the row says that the batch was looked at: what cannot be read now is tried again at once.
    let untaken = if queued && !limited { app.store().runs(tenant, &batch.run_ids()).await? } else { Vec::new() };
    let batch = Batch { next_check_at: app.now().plus_ms(app.config().lease_ms), ..batch };
    match app.store().save_batch(&batch, Some(rev), Vec::new()).await {
        // A conflict is another who writes the row: it is still due.
        Ok(()) | Err(store::Error::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if queued && limited {
        fill(app, &batch).await?;
    }
    Ok(untaken.into_iter().flatten().filter(|run| !run.value.accepted).collect())
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
