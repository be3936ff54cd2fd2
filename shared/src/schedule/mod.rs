//! Schedules: orders that are started at times. The row says when the next time is, and a firing is one transaction of what it starts, its own
//! row and the schedule's: whoever delivers a time, and however often, it has one outcome.

mod fire;
mod firing;
mod keep;
mod timer;
mod timing;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::fire::{after, look_at, wake};
#[cfg(feature = "aws")]
pub use self::timer::EventBridge;
pub use self::timer::Timers;
pub use self::{
    fire::{MISFIRE_MS, WAITING_LIMIT, run_now},
    firing::{Failed, Firing, KEPT_MS, Outcome, Skipped, Which},
    keep::{NewSchedule, Planned, create, delete, plan, update},
    timing::{SCHEDULE_LIMIT_BYTES, TIMEZONE, Timing},
};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{KeyId, OrgId, ScheduleId},
    order::{Order, Started},
    page::{Page, PageRequest},
    run::{By, Cause},
    store::Versioned,
    tenant::{Caller, Mandate, Scope, Tenant},
};

/// The most schedules of an organisation.
pub const SCHEDULES_LIMIT: i64 = 1_000;
/// The longest name of a schedule, in characters.
pub const NAME_LIMIT: usize = 200;
/// The most times that one call may ask for.
pub const NEXT_LIMIT: usize = 100;

/// What becomes of a firing when what was started before has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// It starts when those before it have ended.
    Queue,
    /// It starts beside it.
    Allow,
}

/// What becomes of the newest of times that passed while nobody was there. The others are skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// It is skipped if it is later than [`MISFIRE_MS`].
    Skip,
    /// It starts.
    #[default]
    RunOnce,
}

/// Whether a schedule's times come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// They do.
    Active,
    /// Not until somebody says so.
    Paused,
    /// There are none any more.
    Ended,
}

/// A schedule. Its row is rewritten as a whole, each time only if nobody else has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    pub(crate) org: OrgId,
    /// In whose name it starts things: that of who said last what is started, or when.
    pub(crate) mandate: Mandate,
    /// What its owner calls it.
    pub name: String,
    /// What it starts.
    pub order: Order,
    /// When, as it was said: see [`Timing::parse`].
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
    #[serde(default)]
    pub kept: Kept,
    /// From when on a rate counts: when it was last said when.
    pub(crate) anchor: Timestamp,
    /// The next time that nobody has decided on; `None` when it is paused or there is none.
    pub next_at: Option<Timestamp>,
    /// Those that start when those before them have ended, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Waiting>,
    /// What it started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Started>,
    /// The firing that was decided on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Firing>,
    /// When the reaper looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_check_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody changed it last.
    pub updated_at: Timestamp,
    /// It is deleted, and there for nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
}

/// What only the Cotool surface knows of a schedule, which is a trigger there: nothing here reads it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is for: at most [`DESCRIPTION_LIMIT`] characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whatever else was said of it: at most [`CONFIG_LIMIT_BYTES`] of JSON.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

/// The longest description of a schedule, in characters.
pub const DESCRIPTION_LIMIT: usize = 2_000;
/// The most bytes of JSON that are kept with a schedule.
pub const CONFIG_LIMIT_BYTES: usize = 64 * 1024;

/// A firing that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    #[serde(flatten)]
    which: Which,
    /// In whose name, if it is not the schedule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mandate: Option<Mandate>,
}

impl Schedule {
    /// Whether its times come.
    #[must_use]
    pub const fn status(&self) -> Status {
        match (self.paused, self.next_at) {
            (true, _) => Status::Paused,
            (false, Some(_)) => Status::Active,
            (false, None) => Status::Ended,
        }
    }

    /// The key in whose name it starts things.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.mandate.key_id()
    }

    /// How many firings wait for those before them.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) const fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    const fn cause(&self) -> Cause {
        Cause::of(By::Schedule(self.id))
    }

    fn timing(&self) -> Result<Timing> {
        let wrong = |problem: crate::error::Problem| Error::Internal(problem.message.into());
        Timing::parse(&self.schedule, &self.timezone).map_err(wrong)
    }

    /// The same as it is written next: to be looked at when its time has come, and now and then while something waits.
    fn looked_at(mut self, app: &App) -> Self {
        let time = self.next_at.map(|at| at.plus_ms(app.timers().grace_ms()));
        let waits = (!self.waiting.is_empty()).then(|| app.now().plus_ms(app.config().lease_ms));
        let asleep = self.paused || self.deleted;
        self.next_check_at = time.into_iter().chain(waits).min().filter(|_| !asleep);
        self
    }
}

/// The schedule.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(app: &App, caller: &Caller, id: ScheduleId) -> Result<Schedule> {
    caller.require(Scope::RunsRead)?;
    Ok(found(app, caller.tenant(), id).await?.value)
}

/// The same for who changes it, whatever the caller may look at.
///
/// # Errors
/// As [`get`].
pub async fn found_to_change(app: &App, caller: &Caller, id: ScheduleId) -> Result<Schedule> {
    caller.require(Scope::RunsWrite)?;
    Ok(found(app, caller.tenant(), id).await?.value)
}

async fn found(app: &App, tenant: Tenant, id: ScheduleId) -> Result<Versioned<Schedule>> {
    app.store().schedule(tenant, id).await?.ok_or(Error::NotFound("schedule"))
}

/// The organisation's schedules, newest first. A page may be short while more follow.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, page: &PageRequest) -> Result<Page<Schedule>> {
    caller.require(Scope::RunsRead)?;
    let before = page.position("schedules")?;
    let (schedules, next) = app.store().schedules(caller.tenant(), before, page.limit).await?;
    Ok(Page::new(schedules, next.as_deref(), "schedules"))
}

/// What became of the schedule's times, and of those that somebody asked for, newest first, for [`KEPT_MS`].
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`] for a cursor of another list.
pub async fn firings(app: &App, caller: &Caller, id: ScheduleId, page: &PageRequest) -> Result<Page<Firing>> {
    get(app, caller, id).await?;
    let of = format!("firings/{id}");
    let before = page.position(&of)?;
    let (mut firings, next) = app.store().firings(caller.tenant(), id, before, page.limit).await?;
    firings.retain(|firing| firing.decided_at.plus_ms(KEPT_MS) > app.now());
    Ok(Page::new(firings, next.as_deref(), &of))
}

/// The schedule's next times, at most so many (1 to [`NEXT_LIMIT`]), each with how the clocks of its time zone show it: also those that do not
/// come while it is paused.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`] naming `count`.
pub async fn next(app: &App, caller: &Caller, id: ScheduleId, count: usize) -> Result<Vec<(Timestamp, String)>> {
    if !(1..=NEXT_LIMIT).contains(&count) {
        return Err(Error::invalid("count", format!("must be from 1 to {NEXT_LIMIT}")));
    }
    let schedule = get(app, caller, id).await?;
    let timing = schedule.timing()?;
    let first = timing.next(app.now(), schedule.anchor);
    let times = std::iter::successors(first, |at| timing.next(*at, schedule.anchor));
    Ok(times.take(count).map(|at| (at, timing.local(at))).collect())
}
