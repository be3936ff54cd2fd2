//! Calls that wait for a run: who runs it meanwhile, and what happens when the wait is over. Knows no surface.

use std::time::Duration;

use shared::{
    App, Caller, Error, Result,
    batch::{self, Batch, Progress},
    config::SyncRuns,
    engine,
    id::BatchId,
    idempotency::Claim,
    run::{self, Planned, Run},
};
use tokio::time::{sleep, timeout};

/// Pauses between two looks at a row that others write: from the first on, each longer by half up to the last.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// Accepts the run, and waits until it ends, for `limit_ms` and what the deployment allows at most. The run goes on after that.
pub(crate) async fn start_and_wait(
    app: &App,
    caller: &Caller,
    planned: Planned,
    claim: Claim,
    limit_ms: u64,
) -> Result<Run> {
    let limit_ms = limit_ms.min(app.config().sync_runs.limit_ms());
    match app.config().sync_runs {
        SyncRuns::InProcess { .. } => in_process(app, caller, planned, claim, limit_ms).await,
        SyncRuns::ThroughQueue { .. } => {
            let started = Box::pin(run::start(app, planned, claim)).await?;
            until_ended(app, caller, started, limit_ms).await
        }
    }
}

/// This process runs it. A caller that hangs up does not end it: it is a task of its own.
async fn in_process(app: &App, caller: &Caller, planned: Planned, claim: Claim, limit_ms: u64) -> Result<Run> {
    let held = Box::pin(run::begin(app, planned, claim)).await?;
    let started = held.run().clone();
    // A process that will be stopped hands the run over in time; one that stays goes on with it.
    let stopped_at = app.now().plus_ms(i64::try_from(limit_ms).unwrap_or(i64::MAX));
    let until = app.config().sole_epoch.is_none().then_some(stopped_at);
    let worker = app.clone();
    let work = tokio::spawn(async move { engine::work(&worker, held, until).await });
    match timeout(Duration::from_millis(limit_ms), work).await {
        Ok(Ok(outcome)) => match outcome {
            Ok(run) if run.status.terminal() => Ok(run),
            Ok(_) | Err(_) => run::get(app, caller, started.id).await,
        },
        Ok(Err(panicked)) => Err(Error::Internal(panicked.into())),
        Err(_) => run::get(app, caller, started.id).await,
    }
}

async fn until_ended(app: &App, caller: &Caller, mut run: Run, limit_ms: u64) -> Result<Run> {
    let end = app.now().plus_ms(i64::try_from(limit_ms).unwrap_or(i64::MAX));
    let mut pause = FIRST_LOOK;
    while !run.status.terminal() && app.now() < end {
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LAST_LOOK);
        run = run::get(app, caller, run.id).await?;
    }
    Ok(run)
}

/// Waits until every run of the batch has ended, for `limit_ms` at most.
pub(crate) async fn until_batch_ended(
    app: &App,
    caller: &Caller,
    id: BatchId,
    limit_ms: u64,
) -> Result<(Batch, Progress)> {
    let end = app.now().plus_ms(i64::try_from(limit_ms).unwrap_or(i64::MAX));
    let mut pause = FIRST_LOOK;
    loop {
        let found = batch::get(app, caller, id).await?;
        if found.1.ended_at.is_some() || app.now() >= end {
            return Ok(found);
        }
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LAST_LOOK);
    }
}
