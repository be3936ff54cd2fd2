//! What the reaper does about what is due: runs, batches, evaluations, schedules. One that fails keeps no other waiting.

use std::collections::HashMap;

use super::Reaped;
use crate::{
    app::App,
    batch,
    clock::Timestamp,
    engine::{ask_for_workers, children},
    error::{Error, Result},
    evaluation,
    id::BatchId,
    run::{self, Run},
    schedule,
    simulation::{self, Guard},
    store::{self, Due, Versioned},
    tenant::Tenant,
};

/// How long a batch may take to be accepted after its first run was written, in milliseconds; then its runs are taken away.
const STAGED_MS: i64 = 60 * 60 * 1000;
/// How long it is remembered that a batch was given up, in milliseconds: longer than a process sleeps.
const GIVEN_UP_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// After how long at most a worker is asked for again, in milliseconds.
const ASKED_AGAIN_MS: i64 = 15 * 60 * 1000;
/// How many looks in a shard fail one after the other until its tick ends.
const FAILURES_IN_A_ROW: u32 = 5;

/// What has failed of a tick. A store that fails now and then keeps nobody else waiting; one that answers nobody ends the tick.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    in_a_row: u32,
    last: Option<Error>,
}

impl Trouble {
    /// What came of one look.
    fn note(&mut self, failed: Option<Error>) {
        self.in_a_row = if failed.is_some() { self.in_a_row.saturating_add(1) } else { 0 };
        self.last = failed.or(self.last.take());
    }

    /// Whether it makes sense to look at anything else.
    pub(super) const fn bearable(&self) -> bool {
        self.in_a_row < FAILURES_IN_A_ROW
    }

    pub(super) fn outcome(self) -> Result<()> {
        self.last.map_or(Ok(()), Err)
    }
}

/// Looks at all of that.
pub(super) async fn look_at(app: &App, due: Vec<Due>, reaped: &mut Reaped, trouble: &mut Trouble) {
    let mut runs: HashMap<Tenant, Vec<Versioned<Run>>> = HashMap::new();
    for due in due {
        if !trouble.bearable() {
            break;
        }
        let (kind, tenant, id, looked) = match due {
            Due::Run(found) => {
                runs.entry(found.value.tenant()).or_default().push(*found);
                continue;
            }
            Due::Evaluation(tenant, id) => {
                reaped.evaluations = reaped.evaluations.saturating_add(1);
                ("evaluation", tenant, id.uuid(), evaluation::look_at(app, tenant, id).await)
            }
            Due::Schedule(tenant, id) => {
                reaped.schedules = reaped.schedules.saturating_add(1);
                ("schedule", tenant, id.uuid(), schedule::look_at(app, tenant, id).await)
            }
            Due::Batch(tenant, id) => {
                reaped.batches = reaped.batches.saturating_add(1);
                let untaken = batch::look_at(app, tenant, id).await;
                let looked = untaken.map(|untaken| runs.entry(tenant).or_default().extend(untaken));
                ("batch", tenant, id.uuid(), looked)
            }
        };
        trouble.note(match looked {
            Ok(()) => None,
            // Its row, or one of a run, cannot be read: it will not be later either.
            Err(Error::Internal(fault)) => {
                tracing::error!(org = %tenant.org(), kind, %id, error = ?fault, "what is due cannot be looked at");
                None
            }
            Err(error) => Some(error),
        });
    }
    for (tenant, runs) in runs {
        look_at_runs(app, tenant, runs, reaped, trouble).await;
    }
}

async fn look_at_runs(
    app: &App,
    tenant: Tenant,
    runs: Vec<Versioned<Run>>,
    reaped: &mut Reaped,
    trouble: &mut Trouble,
) {
    let mut wanted = Vec::new();
    for found in runs {
        if !trouble.bearable() {
            break;
        }
        let id = found.value.id;
        let alone = abandoned_again(&found.value);
        let looked = look_at_run(app, tenant, found).await;
        trouble.note(match looked {
            Ok(Looked::Asks) if alone => {
                reaped.asked = reaped.asked.saturating_add(1);
                ask_for_workers(app, tenant, &[id]).await;
                None
            }
            Ok(Looked::Asks) => {
                wanted.push(id);
                None
            }
            Ok(Looked::Ended) => {
                reaped.ended = reaped.ended.saturating_add(1);
                None
            }
            Ok(Looked::Discarded) => {
                reaped.discarded = reaped.discarded.saturating_add(1);
                None
            }
            // Somebody else wrote the row: it is being looked after.
            Ok(Looked::Nothing) | Err(store::Error::Conflict { .. }) => None,
            Err(error @ store::Error::Unavailable(_)) => Some(error.into()),
            Err(error @ (store::Error::Broken(_) | store::Error::TooLarge(_))) => {
                tracing::error!(org = %tenant.org(), run = %id, ?error, "a run that is due cannot be looked at");
                None
            }
        });
    }
    // Also after a failure: the rows that were written say that these were asked for.
    reaped.asked = reaped.asked.saturating_add(wanted.len());
    ask_for_workers(app, tenant, &wanted).await;
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
        run::before_write(app, &mut run).await.map_err(of_store)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_end_a_tick_and_the_last_is_told() {
        let fails = |n: u32| Some(Error::Unavailable(n.to_string().into()));
        let mut trouble = Trouble::default();
        for n in 0..4 {
            trouble.note(fails(n));
        }
        trouble.note(None);
        assert!(trouble.bearable());
        for n in 4..9 {
            assert!(trouble.bearable(), "{n}");
            trouble.note(fails(n));
        }
        assert!(!trouble.bearable());
        assert!(matches!(trouble.outcome(), Err(Error::Unavailable(last)) if last.to_string() == "8"));
        assert!(Trouble::default().outcome().is_ok());
    }
}
