//! How many runs of a batch are in hand at a time. The number is a counter that no write of a run's row passes by, so it is exact;
//! here is only who is asked for when a place is free. That is a hint: what is lost of it, the reaper's look at the batch makes up for.

use super::{Batch, OnBudget, READ_TOGETHER, Reduction, settle};
use crate::{
    app::App,
    engine,
    error::Result,
    id::RunId,
    money::Budget,
    random,
    run::{Run, Status},
    tenant::Tenant,
    webhook,
};

/// How many runs that would come next are looked at, and how many others when none of those waits.
const NEXT_LOOKED_AT: u32 = 8;
const OTHERS_LOOKED_AT: u16 = 100;

impl Batch {
    /// How many of its runs may be in hand at a time.
    pub(super) fn places(&self) -> usize {
        let most = self.max_concurrency.and_then(|most| usize::try_from(most).ok());
        most.unwrap_or(usize::MAX).min(usize::from(self.items))
    }
}

/// Whether a worker is asked for the run when its own time comes. One that is queued for a place among those of its batch that are in hand
/// is asked for when there is one; one that waited for something else learns then whether there is.
pub(crate) fn asked_for_by_itself(run: &Run) -> bool {
    let limited = run.batch.as_ref().is_some_and(|batch| batch.max_concurrency.is_some());
    !(limited && run.lease.is_none() && run.status == Status::Queued)
}

/// What is to be done for the batch of a run when a worker has let go of it. Failures are left to the reaper.
pub(crate) async fn after(app: &App, run: &Run, left_place: bool) {
    let Some(batch) = &run.batch else { return };
    let mut outcome = Ok(());
    if run.refused_by == Some(Budget::Batch) {
        outcome = stop(app, run.tenant(), run).await;
    }
    // A run that ended before it took its place, because a budget had no room, leaves it too.
    if (left_place || run.status.terminal()) && outcome.is_ok() {
        outcome = ask_for_next(app, run).await;
    }
    if run.status.terminal() && outcome.is_ok() {
        outcome = end(app, run).await;
    }
    if let Err(error) = outcome {
        tracing::warn!(batch = %batch.id, error = ?error, "what follows for a batch was not done; the reaper will do it");
    }
}

/// Writes the end of the batch down, if that was its last run and somebody waits for that. Others' batches end when they are looked at.
async fn end(app: &App, run: &Run) -> Result<()> {
    let Some(batch) = &run.batch else { return Ok(()) };
    if !batch.awaited && !webhook::hears_of_batches(app, run.tenant()).await? {
        return Ok(());
    }
    let Some(found) = app.store().batch(run.tenant(), batch.id).await? else { return Ok(()) };
    let partial = found.value.reduction.as_ref().is_some_and(Reduction::is_partial);
    if partial && found.value.looks_at(batch.index) {
        return settle(app, run.tenant(), batch.id).await.map(|_| ());
    }
    // From the end on, which is worked on last, and more and more at a time: mostly the first has not ended.
    let (mut ids, mut more) = (found.value.run_ids(), 1_usize);
    while !ids.is_empty() {
        let last = ids.split_off(ids.len().saturating_sub(more));
        let glances = app.store().glances(run.tenant(), &last).await?;
        if glances.iter().any(|glance| !glance.status.terminal()) {
            return Ok(());
        }
        more = more.saturating_mul(4).min(READ_TOGETHER);
    }
    settle(app, run.tenant(), batch.id).await.map(|_| ())
}

/// The budget has no room: cancels the others, if that is what the batch wants then.
async fn stop(app: &App, tenant: Tenant, run: &Run) -> Result<()> {
    let Some(batch) = &run.batch else { return Ok(()) };
    let found = app.store().batch(tenant, batch.id).await?;
    let wants = |batch: &Batch| batch.on_budget == OnBudget::CancelAll && !batch.cancel_requested;
    if found.is_some_and(|found| wants(&found.value)) {
        settle(app, tenant, batch.id).await?;
    }
    Ok(())
}

/// Asks for a run of the same batch that waits for a place: one of those that stand so many behind this one as there are places, or
/// any around it when none of them waits. Without a limit none does.
async fn ask_for_next(app: &App, run: &Run) -> Result<()> {
    let Some(batch) = &run.batch else { return Ok(()) };
    let Some(most) = batch.max_concurrency else { return Ok(()) };
    let (tenant, id, index) = (run.tenant(), batch.id, batch.index);
    let step = u16::try_from(most).unwrap_or(u16::MAX);
    let next = (1..=NEXT_LOOKED_AT).map_while(|n| u16::try_from(u32::from(step).saturating_mul(n)).ok());
    let next: Vec<RunId> =
        next.map_while(|ahead| index.checked_add(ahead)).map(|index| RunId::of_batch(id, index)).collect();
    if let Some(first) = waiting(app, tenant, &next).await?.first() {
        engine::ask_for_workers(app, tenant, std::slice::from_ref(first)).await;
        return Ok(());
    }
    let around = index.saturating_sub(OTHERS_LOOKED_AT)..index.saturating_add(step.min(OTHERS_LOOKED_AT));
    let others: Vec<RunId> = around.filter(|other| *other != index).map(|index| RunId::of_batch(id, index)).collect();
    let others = waiting(app, tenant, &others).await?;
    // Any of them: others look for one at the same time.
    let chosen = others.get(usize::from(random::below(u8::try_from(others.len()).unwrap_or(u8::MAX))));
    if let Some(chosen) = chosen {
        engine::ask_for_workers(app, tenant, std::slice::from_ref(chosen)).await;
    }
    Ok(())
}

/// Which of these runs wait for a place.
async fn waiting(app: &App, tenant: Tenant, ids: &[RunId]) -> Result<Vec<RunId>> {
    let runs = app.store().runs(tenant, ids).await?;
    let waits = |run: &Run| run.status == Status::Queued && run.lease.is_none();
    Ok(runs.into_iter().flatten().map(|found| found.value).filter(waits).map(|run| run.id).collect())
}

/// Asks for as many runs that wait as there are places free.
pub(crate) async fn fill(app: &App, batch: &Batch) -> Result<()> {
    let runs = app.store().runs(batch.tenant(), &batch.run_ids()).await?;
    let runs: Vec<Run> = runs.into_iter().flatten().map(|found| found.value).collect();
    let taken = runs.iter().filter(|run| run.placed).count();
    let waits = runs.iter().filter(|run| run.status == Status::Queued && run.lease.is_none());
    let ids: Vec<RunId> = waits.map(|run| run.id).take(batch.places().saturating_sub(taken)).collect();
    if !ids.is_empty() {
        engine::ask_for_workers(app, batch.tenant(), &ids).await;
    }
    Ok(())
}
