//! Workers: take runs and go on with each until it ends, waits, or the time is up.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::task::JoinSet;

use super::{
    Held, ask_later,
    call::{self, Called},
    children,
    decide::{Next, decide},
    fault, grading,
    held::Saved,
    tool_step, tools,
};
use crate::{
    adversity, agent,
    app::App,
    batch,
    clock::Timestamp,
    error::{Error, Result},
    id::{BatchId, RunId},
    message::{Record, Slot},
    queue::{Chunk, DELAY_LIMIT_S},
    run::{Reason, Run, Status},
    schedule,
    simulation::{self, Guard},
    store::Versioned,
    tenant::Tenant,
    webhook,
};

/// What a step needs besides the time of its call before a worker begins it, in milliseconds.
const MARGIN_MS: i64 = 15_000;

/// Works on what a message names: sends deliveries, or works on runs side by side, until `until` at most. What has ended or is held by others is passed over.
///
/// # Errors
/// When some could not be taken or written: the message should come again.
pub async fn work_on(app: &App, chunk: Chunk, until: Option<Timestamp>) -> Result<()> {
    let tenant = chunk.tenant();
    if !chunk.parcels.is_empty() {
        return Box::pin(webhook::deliver(app, tenant, &chunk.parcels)).await;
    }
    if let Some(id) = chunk.schedule {
        return Box::pin(schedule::look_at(app, tenant, id)).await;
    }
    let found = app.store().runs(tenant, &chunk.runs).await?;
    let accepted = accepted(app, tenant, found.iter().flatten()).await?;
    let ready =
        found.into_iter().flatten().filter(|run| run.value.free(app.now(), app.config().sole_epoch.as_deref())).filter(
            |run| {
                run.value.accepted
                    || run.value.batch.as_ref().is_some_and(|batch| accepted.contains(&batch.id))
                    || simulation::off(Guard::Staged)
            },
        );
    let ready: Vec<Versioned<Run>> = wanting(app, ready).await;
    let mut journals = journals(app, tenant, &ready).await?;
    let mut workers = JoinSet::new();
    for run in ready {
        let journal = journals.remove(&run.value.id).unwrap_or_default();
        let app = app.clone();
        workers.spawn(simulation::scoped(async move { Box::pin(take(&app, run, journal, until)).await }));
    }
    let mut outcome = Ok(());
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => outcome = Err(error),
            Err(error) => outcome = Err(Error::Internal(error.into())),
        }
    }
    outcome
}

/// Those that a worker can do something with. Of one where that cannot be found out, working on it will say why.
async fn wanting(app: &App, runs: impl Iterator<Item = Versioned<Run>>) -> Vec<Versioned<Run>> {
    let mut wanting = Vec::new();
    for run in runs {
        if children::wants_worker(app, &run.value).await.unwrap_or(true) {
            wanting.push(run);
        }
    }
    wanting
}

/// Which of the batches that these rows belong to are accepted.
async fn accepted(app: &App, tenant: Tenant, runs: impl Iterator<Item = &Versioned<Run>>) -> Result<BTreeSet<BatchId>> {
    let staged: BTreeSet<BatchId> = runs
        .filter(|run| !run.value.accepted)
        .filter_map(|run| run.value.batch.as_ref())
        .map(|batch| batch.id)
        .collect();
    let mut accepted = BTreeSet::new();
    for id in staged {
        if app.store().batch(tenant, id).await?.is_some() {
            accepted.insert(id);
        }
    }
    Ok(accepted)
}

/// The journals of these runs, read together.
async fn journals(app: &App, tenant: Tenant, runs: &[Versioned<Run>]) -> Result<HashMap<RunId, Vec<(u32, Slot)>>> {
    let wanted: Vec<(RunId, u32)> =
        runs.iter().flat_map(|run| run.value.slots().map(|slot| (run.value.id, slot))).collect();
    let slots = app.store().slots(tenant, &wanted).await?;
    let mut journals: HashMap<RunId, Vec<(u32, Slot)>> = HashMap::with_capacity(runs.len());
    for ((id, number), slot) in wanted.into_iter().zip(slots) {
        let slot = slot.ok_or_else(|| Error::Internal("a slot of a journal is missing".into()))?;
        journals.entry(id).or_default().push((number, slot));
    }
    Ok(journals)
}

async fn take(app: &App, run: Versioned<Run>, journal: Vec<(u32, Slot)>, until: Option<Timestamp>) -> Result<()> {
    fault::point("K3");
    match Held::acquire(app, run, journal).await? {
        Some(held) => Box::pin(work(app, held, until)).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Takes a run, if it wants a worker, and works on it.
///
/// # Errors
/// As the store says; the run is then taken again later.
pub async fn drive(app: &App, tenant: Tenant, id: RunId, until: Option<Timestamp>) -> Result<()> {
    work_on(app, Chunk::new(tenant, vec![id]), until).await
}

/// Works on a run that is held until it ends, waits, or the time is up, and lets go of it. Answers the run as it stands.
///
/// # Errors
/// As the store says; the run is then taken again when its lease has run out.
pub async fn work(app: &App, mut held: Held, until: Option<Timestamp>) -> Result<Run> {
    let outcome = go_on(app, &mut held, until).await;
    held.let_go(app);
    if held.run.batch.is_some() {
        if held.found_no_place {
            children::wait_for_place(app, &held.run).await?;
        }
        Box::pin(batch::after(app, &held.run, held.left_place)).await;
    }
    fault::point("K11");
    outcome.map(|()| held.run)
}

async fn go_on(app: &App, held: &mut Held, until: Option<Timestamp>) -> Result<()> {
    if held.run.status.terminal() {
        // It had ended when it was accepted, and is written so.
        return Ok(());
    }
    let agent = match agent::version(app, held.tenant(), held.run.agent_id, held.run.agent_version).await {
        Ok(agent) => agent,
        Err(Error::NotFound(_)) => return Err(Error::Internal("a run's agent version is missing".into())),
        Err(error) => return Err(error),
    };
    // A run that grades is the judge's.
    let acting = match held.run.grades {
        Some(_) => Arc::new(grading::judge(&agent, held.run.model.clone())),
        None => agent.clone(),
    };
    let (mut room, mut steps) = (None, 0_u32);
    loop {
        if held.run.ends_now(app.now()) {
            return save_end(app, held).await;
        }
        if grading::has_answer(held) {
            match held.save(app).await? {
                Saved::Yes => {}
                Saved::Changed | Saved::Refused => continue,
                Saved::Gone => return Ok(()),
            }
        }
        let next = match held.run.grades {
            Some(_) => grading::next(&held.journal, &agent.definition.guidance.acceptance_criteria, &acting.definition),
            None => decide(&held.journal, held.run.max_steps, &acting.definition),
        };
        if matches!(next, Next::Call | Next::Tools) && adversity::yields_after(steps) {
            return put_back(app, held).await;
        }
        steps = steps.saturating_add(1);
        let called = match next {
            Next::Finish(reason) => {
                held.run.finish(reason, app.now());
                grading::begin(app, held, &agent)?;
                return save_end(app, held).await;
            }
            Next::Fail(reason, message) => {
                held.run.fail(reason, message, app.now());
                return save_end(app, held).await;
            }
            Next::Repair(text) => fill(app, held, Record::Repair { text }),
            Next::Ask(record) => fill(app, held, record),
            Next::Call if !time_for(app, until, app.config().model_timeout_ms) => return put_back(app, held).await,
            Next::Call => call::call(app, held, &acting, &mut room).await?,
            Next::Tools if !time_for(app, until, tool_step::longest_ms(&acting.definition)) => {
                return put_back(app, held).await;
            }
            Next::Tools => tools::call(app, held, &acting).await?,
        };
        match called {
            Called::Again => {}
            Called::Ended => return save_end(app, held).await,
            Called::Waits(reason, until) => return wait(app, held, reason, until).await,
            Called::Gone => return Ok(()),
        }
    }
}

/// Fills the next slot with what follows from those before it.
fn fill(app: &App, held: &mut Held, record: Record) -> Called {
    let now = app.now();
    held.fill(app, held.run.step, record.at(now), Vec::new());
    Called::Again
}

/// Whether a call that takes so long can end before the time is up.
fn time_for(app: &App, until: Option<Timestamp>, call_ms: u64) -> bool {
    let needed = i64::try_from(call_ms).unwrap_or(i64::MAX).saturating_add(MARGIN_MS);
    until.is_none_or(|until| app.now().plus_ms(needed) < until)
}

/// Writes the end. When the row was changed under us the decision is taken anew by whoever holds the run then.
async fn save_end(app: &App, held: &mut Held) -> Result<()> {
    loop {
        fault::point("K10");
        match held.save(app).await? {
            Saved::Yes | Saved::Gone => return Ok(()),
            Saved::Changed | Saved::Refused => {
                if !held.run.ends_now(app.now()) {
                    return put_back(app, held).await;
                }
            }
        }
    }
}

/// The time is up: another worker goes on.
async fn put_back(app: &App, held: &mut Held) -> Result<()> {
    let now = app.now();
    if std::mem::take(&mut held.intended) {
        // Nothing was sent: the intent that came with the run's creation books nothing.
        held.run.withdraw();
    }
    held.run.hand_on(now, now.plus_ms(app.config().lease_ms));
    fault::point("K8");
    if held.save(app).await? == Saved::Yes && !held.run.status.terminal() {
        fault::point("K9");
        super::ask_for_workers(app, held.tenant(), &[held.id()]).await;
    }
    Ok(())
}

/// There is nothing to do before then, or before somebody says something: nobody holds the run meanwhile.
async fn wait(app: &App, held: &mut Held, reason: Reason, until: Timestamp) -> Result<()> {
    let now = app.now();
    held.run.wait(reason, until, now);
    fault::point("K8");
    if held.save(app).await? == Saved::Yes && !held.run.status.terminal() {
        fault::point("K9");
        // What a person will say comes with a message of its own, as does the end of a child; what one said meanwhile was taken over by
        // the write.
        let delay_s = match (held.run.status, reason) {
            (
                Status::Waiting,
                Reason::ApprovalRequired | Reason::OutcomeUnknown | Reason::ToolChanged | Reason::SubAgent,
            ) => return Ok(()),
            (Status::Waiting, _) => u32::try_from(until.since_ms(now).div_ceil(1_000)).unwrap_or(DELAY_LIMIT_S),
            _ => 0,
        };
        ask_later(app, held.tenant(), &[held.id()], delay_s.min(DELAY_LIMIT_S)).await;
    }
    Ok(())
}
