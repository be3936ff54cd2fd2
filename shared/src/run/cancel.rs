//! Cancelling runs, and ending those that have children: a run ends after all that it started.

use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream};

use super::{FAMILY_LIMIT, Run, visible};
use crate::{
    app::App,
    engine,
    error::{Error, Result},
    id::{AgentId, RunId},
    random, schedule, store,
    tenant::{Caller, Scope, Tenant},
    webhook,
};

/// How often the row is read again when others write it at the same time.
const TRIES: u32 = 20;
/// How many children are told to end at a time.
const AT_A_TIME: usize = 32;

/// Asks the run to end, and every run that it started. One that nobody holds has ended when this returns; one that a worker holds ends
/// when the worker sees it, and begins nothing new in between; one with children ends after them. What was sent already cannot be
/// taken back. A run that has ended stays.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn cancel(app: &App, caller: &Caller, id: RunId) -> Result<Run> {
    caller.require(Scope::RunsWrite)?;
    request_cancel(app, caller.tenant(), id).await
}

/// The same for the last run of a chat, of this agent if one is named.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn cancel_chat(app: &App, caller: &Caller, id: RunId, agent: Option<AgentId>) -> Result<Run> {
    caller.require(Scope::RunsWrite)?;
    let found = match visible(app, caller.tenant(), id).await {
        Err(Error::NotFound(_)) => return Err(Error::NotFound("chat")),
        other => other?.value,
    };
    if agent.is_some_and(|agent| agent != found.agent_id) {
        return Err(Error::NotFound("chat"));
    }
    request_cancel(app, caller.tenant(), found.continued_by.last().copied().unwrap_or(id)).await
}

/// The runs below this one that have not ended, or ended with it: level by level, at most [`FAMILY_LIMIT`]. Who may end them may know what
/// they had sent.
///
/// # Errors
/// As the store says.
pub async fn below(app: &App, caller: &Caller, run: &Run) -> Result<Vec<Run>> {
    caller.require(Scope::RunsWrite)?;
    let mut all: Vec<Run> = Vec::new();
    let mut ids: Vec<RunId> = run.children().into_iter().map(|(_, id)| id).collect();
    let most = usize::try_from(FAMILY_LIMIT).unwrap_or(usize::MAX);
    while !ids.is_empty() && all.len() < most {
        let found = app.store().runs(caller.tenant(), &ids).await?;
        let level: Vec<Run> = found.into_iter().flatten().map(|found| found.value).collect();
        ids = level.iter().flat_map(Run::children).map(|(_, id)| id).collect();
        all.extend(level.into_iter().filter(|run| !run.status.terminal() || run.cancel_requested));
    }
    Ok(all)
}

pub(crate) async fn request_cancel(app: &App, tenant: Tenant, id: RunId) -> Result<Run> {
    let run = stop(app, tenant, id).await?;
    written(app, &run).await;
    Ok(run)
}

/// Without a word to the run's parent.
async fn stop(app: &App, tenant: Tenant, id: RunId) -> Result<Run> {
    for attempt in 1..=TRIES {
        let found = visible(app, tenant, id).await?;
        let mut run = found.value;
        if run.status.terminal() {
            return Ok(run);
        }
        let flagged = std::mem::replace(&mut run.cancel_requested, true);
        let free = run.free(app.now(), app.config().sole_epoch.as_deref());
        let childless = run.open_children().is_empty();
        if flagged && !free {
            // Its holder ends it; whoever asked before may have died before its children were told.
            cancel_children(app, &run).await?;
            return Ok(run);
        }
        let now = app.now();
        run.updated_at = now;
        // The row says it before the children are told, so that no more are started.
        let ends = free && (flagged || childless);
        if ends {
            run.interrupt(now);
            before_write(app, &mut run).await?;
        }
        match app.store().save_run(&run, Some(found.rev), Vec::new()).await {
            Ok(_) => {
                app.signals().wake(id);
                look_again(app, &run).await;
                if ends || childless {
                    return Ok(run);
                }
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the run is being written all the time".into()))
}

/// What must be done before a run's row is written: who listens is told of what it says. When it says that the run has ended, its children
/// are told to end too. If all have, what they used is counted; otherwise the end is put off until they have.
pub(crate) async fn before_write(app: &App, run: &mut Run) -> Result<()> {
    end_children(app, run).await?;
    run.notices = webhook::of_run(app, run).await?;
    Ok(())
}

async fn end_children(app: &App, run: &mut Run) -> Result<()> {
    let open: Vec<RunId> = run.open_children().into_iter().map(|(_, child)| child).collect();
    if !run.status.terminal() || open.is_empty() {
        return Ok(());
    }
    cancel_children(app, run).await?;
    let children = app.store().glances(run.tenant(), &open).await?;
    if children.iter().all(|child| child.status.terminal()) {
        children.iter().for_each(|child| run.usage.add(&child.usage));
    } else {
        run.put_off_end(app.now().plus_ms(app.config().lease_ms));
    }
    Ok(())
}

/// What follows a write of the run's row: the parent of one that has ended wants a worker, and so does the run that grades it.
pub(crate) async fn written(app: &App, run: &Run) {
    if run.graded && run.evaluation.is_none() {
        engine::ask_for_workers(app, run.tenant(), &[RunId::of_grading(run.id)]).await;
    }
    if let Some(parent) = run.parent.filter(|_| run.status.terminal()) {
        engine::ask_for_workers(app, run.tenant(), &[parent.run]).await;
    }
    webhook::ask_to_send(app, run.tenant(), &run.notices).await;
    if run.status.terminal() && run.batch.is_none() {
        schedule::after(app, run.tenant(), run.cause.as_ref()).await;
    }
    look_again(app, run).await;
}

/// A run that waits for its children now wants a worker if they ended in between: who ended the last of them found the row as it was
/// before.
async fn look_again(app: &App, run: &Run) {
    // What cannot be found out now is by the reaper.
    if run.waits_for_children() && engine::children_ended(app, run).await.unwrap_or(false) {
        engine::ask_for_workers(app, run.tenant(), &[run.id]).await;
    }
}

/// Boxed, since a child may have children.
fn cancel_children<'a>(app: &'a App, run: &'a Run) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        stream::iter(run.open_children())
            .map(|(_, child)| async move {
                match stop(app, run.tenant(), child).await {
                    Ok(_) | Err(Error::NotFound(_)) => Ok(()),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(AT_A_TIME)
            .try_collect::<Vec<()>>()
            .await
            .map(|_| ())
    })
}
