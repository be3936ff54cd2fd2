//! The reaper: looks at what is due and brings it back to work, or to its end. It repairs lost messages, dead workers, passed
//! deadlines, and batches that were never accepted; and it is who sees that a schedule's time has come.

mod look;

use std::collections::HashMap;

use self::look::{Trouble, look_at};
use super::ask_for_workers;
use crate::{
    app::App,
    batch,
    error::Result,
    id::{BatchId, RunId},
    queue::Chunk,
    run::{Run, SOLE_TAKEOVERS_LIMIT},
    schedule,
    store::{DUE_SHARDS, Due},
    tenant::Tenant,
    webhook,
};

/// From how many take-overs on a run is a suspect: early enough that one alone can still be found out.
const SUSPECT_TAKEOVERS: u32 = SOLE_TAKEOVERS_LIMIT - 3;
/// How many entries one tick looks at in a shard.
const PER_TICK: usize = 1_000;

/// What one tick of the reaper found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Runs for which a worker was asked.
    pub asked: usize,
    /// Runs that were brought to their end.
    pub ended: usize,
    /// Runs of batches that were never accepted, taken away.
    pub discarded: usize,
    /// Batches that were looked at.
    pub batches: usize,
    /// Evaluations that were looked at.
    pub evaluations: usize,
    /// Deliveries for which a worker was asked.
    pub deliveries: usize,
    /// Schedules that were looked at.
    pub schedules: usize,
}

/// One tick: everything whose time has come.
///
/// # Errors
/// As the store says; the next tick goes on.
pub async fn reap(app: &App) -> Result<Reaped> {
    let mut reaped = Reaped::default();
    let mut outcome = Ok(());
    for shard in 0..DUE_SHARDS {
        // What goes wrong in one shard must not keep the later ones waiting, tick after tick.
        if let Err(error) = Box::pin(reap_shard(app, shard, &mut reaped)).await {
            outcome = Err(error);
        }
    }
    match webhook::reap(app).await {
        Ok(asked) => reaped.deliveries = asked,
        Err(error) => outcome = Err(error),
    }
    app.store().backend().sweep(app.now()).await?;
    outcome.map(|()| reaped)
}

async fn reap_shard(app: &App, shard: u8, reaped: &mut Reaped) -> Result<()> {
    let (mut after, mut looked_at, mut trouble) = (None, 0_usize, Trouble::default());
    loop {
        let (due, next) = app.store().due(shard, Some(app.now()), after).await?;
        looked_at = looked_at.saturating_add(due.len());
        Box::pin(look_at(app, due, reaped, &mut trouble)).await;
        match next {
            Some(next) if looked_at < PER_TICK && trouble.bearable() => after = Some(next),
            _ => return trouble.outcome(),
        }
    }
}

/// Work that an earlier process left behind.
#[derive(Debug, Default)]
pub struct Left {
    /// Runs and deliveries for which a worker was asked.
    pub asked: usize,
    /// Runs that were in hand each time the last processes died: one of them may be why. To be worked on one after the other,
    /// so that it takes none of the others with it.
    pub suspects: Vec<Chunk>,
}

/// Asks for workers for every run that has not ended: for a host that is alone, when it starts.
///
/// # Errors
/// As the store says.
pub async fn recover(app: &App) -> Result<Left> {
    let mut left = Left::default();
    let mut others: HashMap<Tenant, Vec<RunId>> = HashMap::new();
    for shard in 0..DUE_SHARDS {
        let mut after = None;
        loop {
            let (due, next) = app.store().due(shard, None, after).await?;
            let mut runs = Vec::with_capacity(due.len());
            for due in due {
                match due {
                    Due::Run(found) => runs.push(found.value),
                    Due::Batch(tenant, id) => Box::pin(go_on(app, tenant, id)).await?,
                    Due::Evaluation(_, _) => (),
                    Due::Schedule(tenant, id) => schedule::wake(app, tenant, id).await,
                }
            }
            let runs = runs.into_iter().filter(batch::asked_for_by_itself);
            let (suspects, rest): (Vec<Run>, Vec<Run>) = runs.partition(suspect);
            left.suspects.extend(suspects.into_iter().map(|run| Chunk::new(run.tenant(), vec![run.id])));
            rest.into_iter().for_each(|run| others.entry(run.tenant()).or_default().push(run.id));
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    left.asked = left.asked.saturating_add(webhook::recover(app).await?);
    for (tenant, mut ids) in others {
        ids.sort_unstable();
        left.asked = left.asked.saturating_add(ids.len());
        ask_for_workers(app, tenant, &ids).await;
    }
    Ok(left)
}

/// Asks for runs of a batch of which only so many are in hand at a time; and writes down what is to be of a batch whose end somebody waits for.
async fn go_on(app: &App, tenant: Tenant, id: BatchId) -> Result<()> {
    let Some(batch) = app.store().batch(tenant, id).await?.map(|found| found.value) else { return Ok(()) };
    if batch.awaited() {
        batch::settle(app, tenant, id).await?;
    }
    if batch.max_concurrency.is_some() {
        batch::fill(app, &batch).await?;
    }
    Ok(())
}

const fn suspect(run: &Run) -> bool {
    run.lease.is_some() && run.takeovers >= SUSPECT_TAKEOVERS
}

/// Whether one of these runs is still in hand and no step further than when earlier processes died. A look that fails says no.
pub async fn suspected(app: &App, chunk: &Chunk) -> bool {
    let found = app.store().runs(chunk.tenant(), &chunk.runs).await.unwrap_or_default();
    found.iter().flatten().any(|found| !found.value.status.terminal() && suspect(&found.value))
}
