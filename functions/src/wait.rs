//! Calls that wait for a run: who runs it meanwhile, and what happens when the wait is over. Knows no surface.

use std::time::Duration;

use shared::{
    App, Caller, Error, Result,
    batch::{self, Batch, Progress},
    clock::Timestamp,
    config::SyncRuns,
    engine::{self, Held},
    evaluation::{self, Standing},
    id::{BatchId, EvaluationId},
    idempotency::Claim,
    run::{self, Planned, Run, Status},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

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
        SyncRuns::InProcess { .. } => Box::pin(in_process(app, caller, planned, claim, limit_ms)).await,
        SyncRuns::ThroughQueue { .. } => {
            let started = Box::pin(run::start(app, planned, claim)).await?;
            until_ended(app, caller, started, after_ms(app, limit_ms)).await
        }
    }
}

/// Accepts the run, and lets it be worked on beside the answer. Answers it as it was accepted.
pub(crate) async fn start_beside(app: &App, planned: Planned, claim: Claim) -> Result<Run> {
    match app.config().sync_runs {
        SyncRuns::InProcess { .. } => {
            let held = Box::pin(run::begin(app, planned, claim)).await?;
            let run = held.run().clone();
            drop(work(app, held, stopped_at(app)));
            Ok(run)
        }
        SyncRuns::ThroughQueue { .. } => Box::pin(run::start(app, planned, claim)).await,
    }
}

/// When an answer that goes on must have ended because this process will be stopped then; `None` for one that stays.
pub(crate) fn stopped_at(app: &App) -> Option<Timestamp> {
    app.config().sole_epoch.is_none().then(|| after_ms(app, app.config().sync_runs.limit_ms()))
}

/// Works on the run in a task of its own: a caller that hangs up does not end it.
fn work(app: &App, held: Held, until: Option<Timestamp>) -> JoinHandle<Result<Run>> {
    let worker = app.clone();
    tokio::spawn(async move { Box::pin(engine::work(&worker, held, until)).await })
}

fn after_ms(app: &App, millis: u64) -> Timestamp {
    app.now().plus_ms(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// This process runs it.
async fn in_process(app: &App, caller: &Caller, planned: Planned, claim: Claim, limit_ms: u64) -> Result<Run> {
    let held = Box::pin(run::begin(app, planned, claim)).await?;
    let id = held.run().id;
    // A process that will be stopped hands the run over in time; one that stays goes on with it.
    let end = after_ms(app, limit_ms);
    let until = app.config().sole_epoch.is_none().then_some(end);
    match timeout(Duration::from_millis(limit_ms), work(app, held, until)).await {
        Ok(Ok(Ok(run))) if run.status.terminal() => Ok(run),
        // It was handed over, or waits: others bring it to its end, maybe before the wait is over.
        Ok(Ok(Ok(run))) => until_ended(app, caller, run, end).await,
        Ok(Err(panicked)) => Err(Error::Internal(panicked.into())),
        Ok(Ok(Err(_))) | Err(_) => run::own(app, caller, id).await,
    }
}

async fn until_ended(app: &App, caller: &Caller, mut run: Run, end: Timestamp) -> Result<Run> {
    let mut pause = FIRST_LOOK;
    while !run.status.terminal() && !asks(&run) && app.now() < end {
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LAST_LOOK);
        run = run::own(app, caller, run.id).await?;
    }
    Ok(run)
}

/// Whether a person is asked, so that waiting longer is of no use.
fn asks(run: &Run) -> bool {
    run.status == Status::Waiting && run.awaits_approval()
}

/// Waits until all verdicts of the evaluation are known, for `limit_ms` at most.
pub(crate) async fn until_evaluation_ended(
    app: &App,
    caller: &Caller,
    id: EvaluationId,
    limit_ms: u64,
) -> Result<Standing> {
    let end = after_ms(app, limit_ms);
    let mut pause = FIRST_LOOK;
    loop {
        let found = evaluation::own(app, caller, id).await?;
        if found.evaluation.settled.is_some() || app.now() >= end {
            return Ok(found);
        }
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LAST_LOOK);
    }
}

/// Waits until every run of the batch has ended, for `limit_ms` at most.
pub(crate) async fn until_batch_ended(
    app: &App,
    caller: &Caller,
    id: BatchId,
    limit_ms: u64,
) -> Result<(Batch, Progress)> {
    let end = after_ms(app, limit_ms);
    let mut pause = FIRST_LOOK;
    loop {
        let found = batch::own(app, caller, id).await?;
        if found.1.ended_at.is_some() || app.now() >= end {
            return Ok(found);
        }
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LAST_LOOK);
    }
}
