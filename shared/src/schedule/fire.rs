//! A schedule's times come: what becomes of each is decided from the schedule's row, and written with it. Whoever comes second, or sleeps in
//! between, finds the row changed, and looks again.

use super::{
    Firing, KEPT_MS, Misfire, Outcome, Overlap, Schedule, Timing, Waiting, Which,
    firing::{Failed, Skipped},
    found,
    keep::busy,
};
use crate::{
    app::App,
    clock::Timestamp,
    engine::fault,
    error::{Error, Result},
    id::ScheduleId,
    idempotency::Claim,
    order,
    queue::Chunk,
    random,
    run::{By, Cause},
    store::{
        self, Versioned,
        row::{Rev, Write},
    },
    tenant::{Caller, Mandate, Scope, Tenant},
    webhook,
};

/// From how late on a time counts as missed, in milliseconds: 5 minutes.
pub const MISFIRE_MS: i64 = 5 * 60 * 1000;
/// The most firings of a schedule that wait for those before them.
pub const WAITING_LIMIT: usize = 100;

/// How often the row is read again when others write it at the same time.
const TRIES: u32 = 10;
/// How many missed times are written down in one transaction.
const MISSED_TOGETHER: usize = 50;
/// How many transactions one look makes of a schedule. What is left then is still due.
const STEPS: u32 = 50;

/// Looks whether the schedule's time has come, and does what there is to do then. The same look again finds nothing to do.
///
/// # Errors
/// As the store says; then nothing was written that was not written as a whole, and the schedule is still due.
pub(crate) async fn look_at(app: &App, tenant: Tenant, id: ScheduleId) -> Result<()> {
    let mut conflicts = 0;
    for _ in 0..STEPS {
        let Some(Versioned { value: schedule, rev }) = app.store().schedule(tenant, id).await? else { return Ok(()) };
        match Box::pin(step(app, &schedule, rev)).await {
            Ok(true) => conflicts = 0,
            Ok(false) => {
                app.timers().set(&schedule).await;
                return Ok(());
            }
            Err(Error::InProgress) if conflicts < TRIES => {
                conflicts = conflicts.saturating_add(1);
                random::pause(conflicts).await;
            }
            // Others are at it all the time; should they stop half-way, it is still due.
            Err(Error::InProgress) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What follows the end of what that started: see [`wake`].
pub(crate) async fn after(app: &App, tenant: Tenant, cause: Option<&Cause>) {
    if let Some(Cause { by: By::Schedule(id), .. }) = cause {
        wake(app, tenant, *id).await;
    }
}

/// Asks for a look at the schedule if something waits in it. A hint: what is lost of it, the reaper makes up for.
pub(crate) async fn wake(app: &App, tenant: Tenant, id: ScheduleId) {
    let waits = match app.store().schedule(tenant, id).await {
        Ok(found) => found.is_some_and(|found| !found.value.paused && !found.value.waiting.is_empty()),
        Err(error) => {
            tracing::warn!(schedule = %id, ?error, "whether something waits is not known; the reaper will look");
            return;
        }
    };
    if waits && let Err(error) = app.queue().send(vec![Chunk::of_schedule(tenant, id)], 0).await {
        tracing::warn!(schedule = %id, ?error, "a message was not sent; the reaper will look");
    }
}

/// Fires at once, whether it is paused or not, and whenever its next time is. `claim` is the claim with the answer for the firing.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::InProgress`] when a request with the same idempotency key was faster; as the store says.
pub async fn run_now(
    app: &App,
    caller: &Caller,
    id: ScheduleId,
    claim: impl Fn(&Firing) -> Claim + Sync,
) -> Result<Firing> {
    caller.require(Scope::RunsWrite)?;
    let mut seen: Option<Rev> = None;
    for attempt in 1..=TRIES {
        let Versioned { value: schedule, rev } = found(app, caller.tenant(), id).await?;
        if seen.replace(rev) == Some(rev) {
            // The schedule is as it was, so it is the claim that another has.
            return Err(Claim::in_progress());
        }
        // No two are of one moment: each has a row.
        let after_last = schedule.last.as_ref().map(|last| last.which.scheduled_at.plus_ms(1));
        let last_asked = after_last.filter(|_| schedule.last.as_ref().is_some_and(|last| last.which.manual));
        let now = app.now();
        let at = last_asked.map_or(now, |after| after.max(now));
        let mandate = Some(caller.mandate());
        let decided = Decided { which: Which::asked(at), row: None, mandate, verdict: verdict(app, &schedule).await? };
        match Box::pin(decided.write(app, schedule, rev, &claim)).await {
            Err(Error::InProgress) => random::pause(attempt).await,
            other => return other,
        }
    }
    Err(busy())
}

/// What a firing does.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Starts,
    Waits,
    Skips(Skipped),
}

/// Does one thing that there is to do; false when there is nothing.
async fn step(app: &App, schedule: &Schedule, rev: Rev) -> Result<bool> {
    if schedule.paused {
        return Ok(false);
    }
    if let Some(Waiting { which, mandate }) = schedule.waiting.first().copied()
        && !open(app, schedule).await?
    {
        let row = app.store().firing_rev(schedule.tenant(), schedule.id, which).await?;
        let next = Schedule { waiting: schedule.waiting.iter().skip(1).copied().collect(), ..schedule.clone() };
        let decided = Decided { which, row, mandate, verdict: Verdict::Starts };
        decided.write(app, next, rev, &|_| Claim::none()).await?;
        return Ok(true);
    }
    let now = app.now();
    let Some(due) = schedule.next_at.filter(|at| *at <= now) else {
        return put_off(app, schedule, rev, now).await.map(|()| false);
    };
    let timing = schedule.timing()?;
    let (missed, newest) = missed(&timing, schedule, due, now);
    if !missed.is_empty() {
        skip(app, schedule, rev, &missed, newest).await?;
        return Ok(true);
    }
    let late = i64::try_from(now.since_ms(newest)).unwrap_or(i64::MAX) > MISFIRE_MS;
    let verdict = match schedule.misfire {
        Misfire::Skip if late => Verdict::Skips(Skipped::Misfire),
        Misfire::Skip | Misfire::RunOnce => verdict(app, schedule).await?,
    };
    let next = Schedule { next_at: timing.next(newest, schedule.anchor), ..schedule.clone() };
    let decided = Decided { which: Which::of(newest), row: None, mandate: None, verdict };
    decided.write(app, next, rev, &|_| Claim::none()).await?;
    Ok(true)
}

/// Nothing is due: while something waits it is looked at again after a while.
async fn put_off(app: &App, schedule: &Schedule, rev: Rev, now: Timestamp) -> Result<()> {
    if schedule.next_check_at.is_none_or(|at| at > now) {
        return Ok(());
    }
    match app.store().save_schedule(&schedule.clone().looked_at(app), rev).await {
        // A conflict is another who writes the row: it is still due.
        Ok(()) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The times that are due but for the newest, and the newest: of more than are written together the first so many, and the one after them.
/// Those that are older than the history are left out.
fn missed(timing: &Timing, schedule: &Schedule, due: Timestamp, now: Timestamp) -> (Vec<Timestamp>, Timestamp) {
    let after = |at: Timestamp| timing.next(at, schedule.anchor).filter(|next| *next <= now);
    let oldest = now.plus_ms(-KEPT_MS);
    let first = Some(oldest).filter(|oldest| due < *oldest).and_then(after).unwrap_or(due);
    let mut times: Vec<Timestamp> =
        std::iter::successors(Some(first), |at| after(*at)).take(MISSED_TOGETHER.saturating_add(1)).collect();
    let newest = times.pop().unwrap_or(due);
    (times, newest)
}

/// Writes down that these were missed. The schedule's next time is then `next`.
async fn skip(app: &App, schedule: &Schedule, rev: Rev, missed: &[Timestamp], next: Timestamp) -> Result<()> {
    let row = |at: &Timestamp| Firing {
        schedule_id: schedule.id,
        which: Which::of(*at),
        decided_at: app.now(),
        outcome: Outcome::Skipped(Skipped::Misfire),
    };
    let firings: Vec<Firing> = missed.iter().map(row).collect();
    let next = Schedule { next_at: Some(next), last: firings.last().cloned(), ..schedule.clone() }.looked_at(app);
    let mut writes = vec![app.store().schedule_write(&next, Some(rev))?];
    for firing in &firings {
        writes.push(app.store().firing_write(schedule.tenant(), firing, None)?);
    }
    fault::point("S3");
    save(app, writes).await
}

/// What a firing of this moment does.
async fn verdict(app: &App, schedule: &Schedule) -> Result<Verdict> {
    let free = match schedule.overlap {
        Overlap::Allow => true,
        Overlap::Skip | Overlap::Queue => schedule.waiting.is_empty() && !open(app, schedule).await?,
    };
    Ok(match schedule.overlap {
        _ if free => Verdict::Starts,
        Overlap::Queue if schedule.waiting.len() < WAITING_LIMIT => Verdict::Waits,
        Overlap::Queue => Verdict::Skips(Skipped::QueueFull),
        Overlap::Skip | Overlap::Allow => Verdict::Skips(Skipped::Overlap),
    })
}

/// Whether what was started last has not ended.
async fn open(app: &App, schedule: &Schedule) -> Result<bool> {
    let Some(started) = schedule.started else { return Ok(false) };
    let caller = schedule.mandate.caller(schedule.tenant());
    Ok(!order::ended(app, &caller, started).await?)
}

/// A firing of which it is decided what it does.
struct Decided {
    which: Which,
    /// Its row, if it waited.
    row: Option<Rev>,
    /// In whose name, if it is not the schedule's.
    mandate: Option<Mandate>,
    verdict: Verdict,
}

impl Decided {
    /// Does it: one transaction of what it starts, its row, and the schedule's row as `next` says, if that is as it was seen.
    async fn write(
        &self,
        app: &App,
        next: Schedule,
        seen: Rev,
        claim: &(impl Fn(&Firing) -> Claim + Sync),
    ) -> Result<Firing> {
        let refused = match self.verdict {
            Verdict::Skips(why) => return self.note(app, next, seen, Outcome::Skipped(why), claim).await,
            Verdict::Waits => return self.note(app, next, seen, Outcome::Waiting, claim).await,
            Verdict::Starts => match Box::pin(self.start(app, &next, seen, claim)).await {
                Ok(firing) => return Ok(firing),
                Err(error) => error,
            },
        };
        // What passes by itself is tried again; everything else would be the same again.
        let Some(failed) = Failed::of(&refused) else { return Err(refused) };
        if let Error::Internal(fault) = &refused {
            tracing::error!(schedule = %next.id, error = ?fault, "a schedule could not start what it should");
        }
        self.note(app, next, seen, Outcome::Failed(failed), claim).await
    }

    async fn start(
        &self,
        app: &App,
        next: &Schedule,
        seen: Rev,
        claim: &(impl Fn(&Firing) -> Claim + Sync),
    ) -> Result<Firing> {
        let caller = self.mandate.unwrap_or(next.mandate).caller(next.tenant());
        let planned = Box::pin(order::plan(app, &caller, next.order.clone(), next.cause())).await?;
        let started = planned.started();
        let next = Schedule { started: Some(started), ..next.clone() };
        let (firing, writes) = self.writes(app, next, seen, Outcome::Started(started), claim)?;
        fault::point("S1");
        Box::pin(order::start(app, planned, writes)).await?;
        fault::point("S2");
        Ok(firing)
    }

    /// Writes down what became of it, where nothing is started. That a firing failed is written here and nowhere else.
    async fn note(
        &self,
        app: &App,
        mut next: Schedule,
        seen: Rev,
        outcome: Outcome,
        claim: &(impl Fn(&Firing) -> Claim + Sync),
    ) -> Result<Firing> {
        if outcome == Outcome::Waiting {
            next.waiting.push(Waiting { which: self.which, mandate: self.mandate });
        }
        let tenant = next.tenant();
        let (firing, mut writes) = self.writes(app, next, seen, outcome, claim)?;
        let notices = webhook::of_firing(app, tenant, &firing).await?;
        writes.extend(notices.writes(app.store())?);
        fault::point("S3");
        save(app, writes).await?;
        webhook::ask_to_send(app, tenant, &notices).await;
        Ok(firing)
    }

    /// The firing with this outcome, and what is written of it: the schedule's row, its own, and the claim.
    fn writes(
        &self,
        app: &App,
        next: Schedule,
        seen: Rev,
        outcome: Outcome,
        claim: &(impl Fn(&Firing) -> Claim + Sync),
    ) -> Result<(Firing, Vec<Write>)> {
        let firing = Firing { schedule_id: next.id, which: self.which, decided_at: app.now(), outcome };
        let next = Schedule { last: Some(firing.clone()), ..next }.looked_at(app);
        let mut writes = vec![
            app.store().schedule_write(&next, Some(seen))?,
            app.store().firing_write(next.tenant(), &firing, self.row)?,
        ];
        writes.extend(claim(&firing).write(app, None)?);
        Ok((firing, writes))
    }
}

async fn save(app: &App, writes: Vec<Write>) -> Result<()> {
    match app.store().save_firings(writes).await {
        Ok(()) => Ok(()),
        Err(store::Error::Conflict { .. }) => Err(Error::InProgress),
        Err(error) => Err(error.into()),
    }
}
