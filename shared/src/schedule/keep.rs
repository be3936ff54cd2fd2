//! Schedules are made, changed and deleted. What is stored could be started when it was said.

use super::{
    CONFIG_LIMIT_BYTES, DESCRIPTION_LIMIT, Kept, Misfire, NAME_LIMIT, Overlap, SCHEDULES_LIMIT, Schedule, Timing, found,
};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::ScheduleId,
    idempotency::Claim,
    order::{self, Order},
    random,
    run::{By, Cause},
    store::{self, Versioned},
    tenant::{Caller, Scope},
};

/// How often a schedule's row is read again when others write it at the same time.
const TRIES: u32 = 10;

/// What a schedule shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSchedule {
    /// What its owner calls it: 1 to [`NAME_LIMIT`] characters.
    pub name: String,
    /// What it starts.
    pub order: Order,
    /// When: see [`Timing::parse`].
    pub schedule: String,
    /// By the clocks of which time zone.
    pub timezone: String,
    /// What becomes of a firing when what was started before has not ended.
    pub overlap: Overlap,
    /// What becomes of times that passed while nobody was there.
    pub misfire: Misfire,
    /// Whether its times do not come for the time being.
    pub paused: bool,
    /// What the Cotool surface keeps with it.
    pub kept: Kept,
}

impl NewSchedule {
    fn of(schedule: &Schedule) -> Self {
        Self {
            name: schedule.name.clone(),
            order: schedule.order.clone(),
            schedule: schedule.schedule.clone(),
            timezone: schedule.timezone.clone(),
            overlap: schedule.overlap,
            misfire: schedule.misfire,
            paused: schedule.paused,
            kept: schedule.kept.clone(),
        }
    }

    /// What is wrong with it, without what it starts.
    fn check(&self, now: Timestamp) -> Result<Timing, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1..=NAME_LIMIT).contains(&self.name.chars().count()) {
            let message = format!("must be 1 to {NAME_LIMIT} characters long");
            problems.push(Problem { field: "name".to_owned(), message });
        }
        if self.kept.description.chars().count() > DESCRIPTION_LIMIT {
            let message = format!("must be at most {DESCRIPTION_LIMIT} characters long");
            problems.push(Problem { field: "description".to_owned(), message });
        }
        if serde_json::to_vec(&self.kept.config).map_or(0, |json| json.len()) > CONFIG_LIMIT_BYTES {
            let message = format!("must be at most {CONFIG_LIMIT_BYTES} bytes of JSON");
            problems.push(Problem { field: "config".to_owned(), message });
        }
        match Timing::parse(&self.schedule, &self.timezone) {
            Ok(timing) if timing.next(now, now).is_none() => {
                let message = "never happens: there is no such time after now".to_owned();
                problems.push(Problem { field: "schedule".to_owned(), message });
            }
            Ok(timing) if problems.is_empty() => return Ok(timing),
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        Err(problems)
    }
}

/// A schedule that is checked and has its id, not yet kept: see [`create`].
#[derive(Debug)]
pub struct Planned(Schedule);

impl Planned {
    /// The schedule as it will be.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.0
    }
}

/// Checks a schedule and gives it its id: what it starts could be started now.
///
/// # Errors
/// [`Error::Invalid`] naming what is wrong; [`Error::NotFound`] for the agent or the file; [`Error::UnknownModel`]; [`Error::Forbidden`].
pub async fn plan(app: &App, caller: &Caller, new: NewSchedule) -> Result<Planned> {
    caller.require(Scope::RunsWrite)?;
    let now = app.now();
    let timing = new.check(now).map_err(Error::Invalid)?;
    let id = ScheduleId::new(now);
    Box::pin(order::check(app, caller, &new.order, Cause::of(By::Schedule(id)))).await?;
    let schedule = Schedule {
        id,
        org: caller.tenant().org(),
        mandate: caller.mandate(),
        name: new.name,
        order: new.order,
        schedule: new.schedule,
        timezone: timing.timezone().to_owned(),
        overlap: new.overlap,
        misfire: new.misfire,
        paused: new.paused,
        kept: new.kept,
        anchor: now,
        next_at: timing.next(now, now).filter(|_| !new.paused),
        waiting: Vec::new(),
        started: None,
        last: None,
        next_check_at: None,
        created_at: now,
        updated_at: now,
        deleted: false,
    };
    Ok(Planned(schedule.looked_at(app)))
}

/// Keeps the schedule: from now on its times come.
///
/// # Errors
/// [`Error::Conflict`] beyond [`SCHEDULES_LIMIT`]; [`Error::InProgress`] when a request with the same idempotency key was faster; as the store
/// says.
pub async fn create(app: &App, planned: Planned, claim: Claim) -> Result<Schedule> {
    let Planned(schedule) = planned;
    match app.store().save_new_schedule(&schedule, SCHEDULES_LIMIT, claim.write(app, None)?).await {
        Ok(()) => {}
        Err(store::Error::Conflict { index: 1 }) => {
            let message = format!("an organisation has at most {SCHEDULES_LIMIT} schedules: delete one");
            return Err(Error::Conflict(message));
        }
        Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
        Err(error) => return Err(error.into()),
    }
    app.timers().set(&schedule).await;
    Ok(schedule)
}

/// Changes a schedule. What is new about it is checked as when it is made; what was started goes on. Who says anew what is started or when,
/// starts it from then on.
///
/// # Errors
/// As [`plan`]; [`Error::NotFound`] for the schedule.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: ScheduleId,
    change: impl Fn(&mut NewSchedule) -> Result<()>,
) -> Result<Schedule> {
    caller.require(Scope::RunsWrite)?;
    let mut looked = false;
    for attempt in 1..=TRIES {
        let Versioned { value: old, rev } = found(app, caller.tenant(), id).await?;
        let mut new = NewSchedule::of(&old);
        change(&mut new)?;
        if new == NewSchedule::of(&old) {
            return Ok(old);
        }
        // What has come by now has come before the change.
        if !looked && !old.paused && old.next_at.is_some_and(|at| at <= app.now()) {
            looked = true;
            Box::pin(super::fire::look_at(app, caller.tenant(), id)).await?;
            continue;
        }
        let schedule = Box::pin(changed(app, caller, old, new)).await?.looked_at(app);
        match app.store().save_schedule(&schedule, rev).await {
            Ok(()) => {
                app.timers().set(&schedule).await;
                return Ok(schedule);
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

async fn changed(app: &App, caller: &Caller, old: Schedule, new: NewSchedule) -> Result<Schedule> {
    let now = app.now();
    let retimed = (&new.schedule, &new.timezone) != (&old.schedule, &old.timezone);
    // What stays as it is may be over by now, which is no reason to refuse another change.
    let checked = match new.check(now) {
        Err(problems) if !retimed => {
            let others: Vec<Problem> = problems.into_iter().filter(|problem| problem.field != "schedule").collect();
            if others.is_empty() { Ok(old.timing()?) } else { Err(others) }
        }
        checked => checked,
    };
    let timing = checked.map_err(Error::Invalid)?;
    let reordered = new.order != old.order;
    if reordered {
        order::check(app, caller, &new.order, old.cause()).await?;
    }
    let anchor = if retimed { now } else { old.anchor };
    // Times that passed while it was paused are not caught up.
    let next_at = match (new.paused, retimed || old.paused) {
        (true, _) => None,
        // Nor does a time come twice when the clock was set back.
        (false, true) => timing.next(old.last.as_ref().map_or(now, |last| last.which.scheduled_at.max(now)), anchor),
        (false, false) => old.next_at,
    };
    let starter = retimed || reordered || new.overlap != old.overlap;
    Ok(Schedule {
        mandate: if starter { caller.mandate() } else { old.mandate },
        name: new.name,
        order: new.order,
        schedule: new.schedule,
        timezone: timing.timezone().to_owned(),
        overlap: new.overlap,
        misfire: new.misfire,
        paused: new.paused,
        kept: new.kept,
        anchor,
        next_at,
        updated_at: now,
        ..old
    })
}

/// Deletes a schedule. What it started goes on; what waits does not start.
///
/// # Errors
/// [`Error::NotFound`]; as the store says.
pub async fn delete(app: &App, caller: &Caller, id: ScheduleId) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    for attempt in 1..=TRIES {
        let Versioned { value: schedule, rev } = found(app, caller.tenant(), id).await?;
        let gone = Schedule { deleted: true, updated_at: app.now(), ..schedule }.looked_at(app);
        match app.store().delete_schedule(&gone, rev).await {
            Ok(()) => {
                app.timers().set(&gone).await;
                return Ok(());
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

pub(super) fn busy() -> Error {
    Error::Unavailable("the schedule is being written all the time".into())
}
