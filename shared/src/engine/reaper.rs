//! The reaper: looks at what is due and brings it back to work, or to its end. It repairs lost messages, dead workers, passed
//! deadlines, and batches that were never accepted.

use std::collections::HashMap;

use super::{ask_for_workers, children};
use crate::{
    app::App,
    batch,
    clock::Timestamp,
    error::{Error, Result},
    evaluation,
    id::{BatchId, RunId},
    queue::Chunk,
    run::{self, Run, SOLE_TAKEOVERS_LIMIT},
    simulation::{self, Guard},
    store::{self, DUE_SHARDS, Due, Versioned},
    tenant::Tenant,
};

/// How long a batch may take to be accepted after its first run was written, in milliseconds; then its runs are taken away.
const STAGED_MS: i64 = 60 * 60 * 1000;
/// How long it is remembered that a batch was given up, in milliseconds: longer than a process sleeps.
const GIVEN_UP_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// After how long at most a worker is asked for again, in milliseconds.
const ASKED_AGAIN_MS: i64 = 15 * 60 * 1000;
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
    app.store().backend().sweep(app.now()).await?;
    outcome.map(|()| reaped)
}

async fn reap_shard(app: &App, shard: u8, reaped: &mut Reaped) -> Result<()> {
    let (mut after, mut looked_at) = (None, 0_usize);
    loop {
        let (due, next) = app.store().due(shard, Some(app.now()), after).await?;
        looked_at = looked_at.saturating_add(due.len());
        Box::pin(look_at(app, due, reaped)).await?;
        match next {
            Some(next) if looked_at < PER_TICK => after = Some(next),
            _ => return Ok(()),
        }
    }
}

/// Work that an earlier process left behind.
#[derive(Debug, Default)]
pub struct Left {
    /// Runs for which a worker was asked.
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
                    Due::Batch(tenant, id) => fill(app, tenant, id).await?,
                    Due::Evaluation(_, _) => (),
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
    for (tenant, mut ids) in others {
        ids.sort_unstable();
        left.asked = left.asked.saturating_add(ids.len());
        ask_for_workers(app, tenant, &ids).await;
    }
    Ok(left)
}

/// Asks for runs of a batch of which only so many are in hand at a time.
async fn fill(app: &App, tenant: Tenant, id: BatchId) -> Result<()> {
    match app.store().batch(tenant, id).await? {
        Some(found) if found.value.max_concurrency.is_some() => batch::fill(app, &found.value).await,
        Some(_) | None => Ok(()),
    }
}

const fn suspect(run: &Run) -> bool {
    run.lease.is_some() && run.takeovers >= SUSPECT_TAKEOVERS
}

/// Whether one of these runs is still in hand and no step further than when earlier processes died. A look that fails says no.
pub async fn suspected(app: &App, chunk: &Chunk) -> bool {
    let found = app.store().runs(chunk.tenant(), &chunk.runs).await.unwrap_or_default();
    found.iter().flatten().any(|found| !found.value.status.terminal() && suspect(&found.value))
}

async fn look_at(app: &App, due: Vec<Due>, reaped: &mut Reaped) -> Result<()> {
    let mut runs: HashMap<Tenant, Vec<Versioned<Run>>> = HashMap::new();
    for due in due {
        match due {
            Due::Run(found) => runs.entry(found.value.tenant()).or_default().push(*found),
            Due::Evaluation(tenant, id) => {
                match evaluation::look_at(app, tenant, id).await {
                    Ok(()) => {}
                    Err(Error::Internal(fault)) => {
                        tracing::error!(org = %tenant.org(), evaluation = %id, error = ?fault, "an evaluation that is due cannot be looked at");
                    }
                    Err(error) => return Err(error),
                }
                reaped.evaluations = reaped.evaluations.saturating_add(1);
            }
            Due::Batch(tenant, id) => {
                match batch::look_at(app, tenant, id).await {
                    Ok(untaken) => runs.entry(tenant).or_default().extend(untaken),
                    // Its row, or one of a run, cannot be read: that must not stop the work on the others.
                    Err(Error::Internal(_)) => {
                        tracing::error!(org = %tenant.org(), batch = %id, "a batch that is due cannot be looked at");
                    }
                    Err(error) => return Err(error),
                }
                reaped.batches = reaped.batches.saturating_add(1);
            }
        }
    }
    for (tenant, runs) in runs {
        let mut wanted = Vec::new();
        let mut outcome: Result<()> = Ok(());
        for found in runs {
            let id = found.value.id;
            let alone = abandoned_again(&found.value);
            match look_at_run(app, tenant, found).await {
                Ok(Looked::Asks) if alone => {
                    reaped.asked = reaped.asked.saturating_add(1);
                    ask_for_workers(app, tenant, &[id]).await;
                }
                Ok(Looked::Asks) => wanted.push(id),
                Ok(Looked::Ended) => reaped.ended = reaped.ended.saturating_add(1),
                Ok(Looked::Discarded) => reaped.discarded = reaped.discarded.saturating_add(1),
                // Somebody else wrote the row: it is being looked after.
                Ok(Looked::Nothing) | Err(store::Error::Conflict { .. }) => {}
                Err(store::Error::Broken(_)) => {
                    tracing::error!(org = %tenant.org(), run = %id, "a run that is due cannot be looked at");
                }
                Err(error) => {
                    outcome = Err(error.into());
                    break;
                }
            }
        }
        // Also after a failure: the rows that were written say that these were asked for.
        reaped.asked = reaped.asked.saturating_add(wanted.len());
        ask_for_workers(app, tenant, &wanted).await;
        outcome?;
    }
    Ok(())
}

/// Whether workers died again while they held the run. It may be why, so it is asked for in a message of its own: those that were in
/// one message with it shall not end with it.
const fn abandoned_again(run: &Run) -> bool {
    run.lease.is_some() && run.takeovers > 0
}

enum Looked {
    Asks,
    Ended,
    Discarded,
    Nothing,
}

async fn look_at_run(app: &App, tenant: Tenant, found: Versioned<Run>) -> store::Result<Looked> {
    let Versioned { value: mut run, rev } = found;
    let now = app.now();
    if let Some(batch) = run.batch.as_ref().filter(|_| !run.accepted && !simulation::off(Guard::Staged)) {
        if app.store().batch(tenant, batch.id).await?.is_none() {
            let batch = batch.id;
            return look_at_staged(app, tenant, batch, Versioned { value: run, rev }).await;
        }
        run.accepted = true;
    }
    if run.status.terminal() || !run.free(now, app.config().sole_epoch.as_deref()) {
        return Ok(Looked::Nothing);
    }
    let asks = batch::asked_for_by_itself(&run);
    // How one that grades ends is written by who has read its journal.
    let looked = if run.grades.is_none() && run.ends_now(now) {
        run::before_end(app, &mut run).await.map_err(of_store)?;
        if run.status.terminal() { Looked::Ended } else { Looked::Nothing }
    } else if run.waits_for_children() {
        // The message that the last child has ended may be lost; until then the run is looked at once a lease.
        run.next_check_at = now.plus_ms(app.config().lease_ms).min(run.deadline_at);
        if children::all_ended(app, &run).await? { Looked::Asks } else { Looked::Nothing }
    } else {
        // Who waits for a place in its batch is asked for when one is free.
        let next = if asks { later(app, &run, now) } else { now.plus_ms(ASKED_AGAIN_MS) };
        run.ask_for_worker(next);
        if asks { Looked::Asks } else { Looked::Nothing }
    };
    app.store().save_run(&run, Some(rev), Vec::new()).await?;
    run::written(app, &run).await;
    Ok(looked)
}

/// As the store would say it, so that a child that cannot be read stops nothing but its parent.
fn of_store(error: Error) -> store::Error {
    let Error::Internal(fault) = error else { return store::Error::Unavailable(error.into()) };
    store::Error::Broken(fault)
}

/// A run whose batch is not accepted. It is looked at once more, when it is given up: as long as it were due it would stand before
/// what can be repaired. Should its batch be accepted after all, the look at that finds it.
async fn look_at_staged(app: &App, tenant: Tenant, batch: BatchId, found: Versioned<Run>) -> store::Result<Looked> {
    let Versioned { value: mut run, rev } = found;
    let given_up_at = run.created_at.plus_ms(STAGED_MS);
    if given_up_at <= app.now() {
        let forgotten_at = app.now().plus_ms(GIVEN_UP_MS);
        let Some(given_up) = app.store().given_up(tenant, batch, forgotten_at).await? else {
            // It was accepted a moment ago.
            return Ok(Looked::Nothing);
        };
        app.store().discard_staged(tenant, run.id, rev, given_up).await?;
        return Ok(Looked::Discarded);
    }
    run.next_check_at = given_up_at;
    app.store().save_run(&run, Some(rev), Vec::new()).await?;
    Ok(Looked::Nothing)
}

/// When to ask again: each time after as long as the run has waited already, so that a long queue is not filled with
/// repeated messages.
fn later(app: &App, run: &Run, now: Timestamp) -> Timestamp {
    let waited_ms = i64::try_from(now.since_ms(run.updated_at)).unwrap_or(ASKED_AGAIN_MS).min(ASKED_AGAIN_MS);
    now.plus_ms(waited_ms.max(app.config().lease_ms))
}
