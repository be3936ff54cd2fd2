//! Schedules on the native surface.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{
    App, Error, Result, Scope,
    agent::Metadata,
    error::Problem,
    id::{FileId, ScheduleId},
    order::{Order, OrderItem, Terms, Work},
    schedule::{self, Kept, NewSchedule},
};

use super::{
    batches::OnBudgetView,
    reductions::ReduceBody,
    runs::look_later,
    schedule_views::{FiringView, MisfireView, NextView, OverlapView, ScheduleView, ScheduledItem},
    terms::agent,
    views::{ListQuery, ModeView, PageView, prompt},
};
use crate::{
    Request, Response, auth, claims, decode,
    patch::{Given, nullable, set},
    response,
};

/// How many of the next times are told unless said otherwise.
const NEXT: usize = 10;

/// What a schedule shall be: when, and what it starts then. That is a run (`message` or `inputs`) or a batch (`items` or `file_id`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateSchedule {
    agent_id: String,
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// `cron(minute hour day month weekday year)` as EventBridge Scheduler has it, the five fields of cron, `rate(5 minutes)`, or
    /// `at(2026-12-01T08:00:00)` for one time. A rate counts from when it was said: its first time is one of its lengths later. A fixed time that
    /// clocks leave out in spring is the first moment after that, and one that they show twice in autumn is the first of the two.
    #[schemars(length(max = 256))]
    schedule: String,
    /// By the clocks of which time zone, by its name in the IANA database: `UTC` unless given.
    timezone: Option<String>,
    /// What the agent is told.
    message: Option<String>,
    /// Inputs by name.
    inputs: Option<Map<String, Value>>,
    /// 1 to 1,000 items of a batch, of 256 KiB together.
    #[schemars(length(min = 1, max = 1_000), with = "Option<Vec<ScheduledItem>>")]
    items: Option<Vec<Value>>,
    /// A text file whose rows, as they are then, are the items of a batch, at most 10,000: JSON lines, the lines of a CSV table below its head (the
    /// column `message`, or else all columns as inputs, but for `custom_id`), or plain lines.
    file_id: Option<String>,
    /// The agent's version; the current one of that moment unless given.
    #[schemars(range(min = 1))]
    version: Option<u32>,
    /// Another model than the agent's.
    model: Option<String>,
    /// Whether tool calls run by themselves; the agent's own unless given.
    mode: Option<ModeView>,
    /// The most model calls of a run; the agent's own unless given. Not of a batch.
    #[schemars(range(min = 1, max = 200))]
    max_steps: Option<u32>,
    /// The most that a run, or all runs of a batch together, may cost each time, in micro-USD.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// What becomes of a batch's other runs when that is used up.
    #[serde(default)]
    on_budget: OnBudgetView,
    /// How many runs of a batch may be in hand at a time.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrency: Option<u32>,
    /// One run over all results of a batch.
    reduce: Option<ReduceBody>,
    /// What becomes of a firing when what was started before has not ended: `skip` unless given.
    #[serde(default)]
    overlap: OverlapView,
    /// What becomes of times that passed while nobody was there: `run_once` unless given.
    #[serde(default)]
    misfire: MisfireView,
    /// Whether its times do not come before it is resumed.
    #[serde(default)]
    paused: bool,
    /// At most 16 pairs of your own, for each run and batch that it starts.
    #[serde(default)]
    metadata: Metadata,
}

impl CreateSchedule {
    fn into_new(self) -> Result<NewSchedule> {
        let work = work(self.message, self.inputs, self.items, self.file_id)?;
        let missing = || Error::invalid("message", "must have message, inputs, items or file_id");
        let agent_id = agent(&self.agent_id)?;
        let terms = Terms {
            version: self.version,
            model: self.model,
            mode: self.mode.map(Into::into),
            max_steps: self.max_steps,
            budget_micro_usd: self.budget_micro_usd,
            on_budget: self.on_budget.into(),
            max_concurrency: self.max_concurrency,
            reduction: self.reduce.map(ReduceBody::read).transpose()?,
            metadata: self.metadata,
            ..Terms::of(agent_id)
        };
        Ok(NewSchedule {
            name: self.name,
            order: Order { terms, work: work.ok_or_else(missing)? },
            schedule: self.schedule,
            timezone: self.timezone.unwrap_or_else(|| schedule::TIMEZONE.to_owned()),
            overlap: self.overlap.into(),
            misfire: self.misfire.into(),
            paused: self.paused,
            kept: Kept::default(),
        })
    }
}

/// What shall change about a schedule. What is left out stays; `null` takes a choice or a limit away. One of `message`, `inputs`, `items` and
/// `file_id` takes the place of what was there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateSchedule {
    #[serde(default)]
    agent_id: Given<String>,
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    name: Given<String>,
    /// A rate counts from now on.
    #[schemars(length(max = 256))]
    #[serde(default)]
    schedule: Given<String>,
    #[serde(default)]
    timezone: Given<String>,
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    #[schemars(length(min = 1, max = 1_000), with = "Option<Vec<ScheduledItem>>")]
    items: Option<Vec<Value>>,
    file_id: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    version: Option<Option<u32>>,
    #[serde(default, deserialize_with = "nullable")]
    model: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    mode: Option<Option<ModeView>>,
    #[serde(default, deserialize_with = "nullable")]
    max_steps: Option<Option<u32>>,
    #[serde(default, deserialize_with = "nullable")]
    budget_micro_usd: Option<Option<u64>>,
    #[serde(default)]
    on_budget: Given<OnBudgetView>,
    #[serde(default, deserialize_with = "nullable")]
    max_concurrency: Option<Option<u32>>,
    #[serde(default, deserialize_with = "nullable")]
    reduce: Option<Option<ReduceBody>>,
    #[serde(default)]
    overlap: Given<OverlapView>,
    #[serde(default)]
    misfire: Given<MisfireView>,
    /// `true` pauses it, `false` resumes it: times that passed meanwhile are not caught up.
    #[serde(default)]
    paused: Given<bool>,
    /// Takes the place of all pairs.
    #[serde(default)]
    metadata: Given<Metadata>,
}

impl UpdateSchedule {
    fn apply(&self, new: &mut NewSchedule) -> Result<()> {
        let Order { terms, work: told } = &mut new.order;
        let (message, inputs) = (self.message.clone(), self.inputs.clone());
        set(told, &work(message, inputs, self.items.clone(), self.file_id.clone())?);
        set(&mut terms.agent_id, &self.agent_id.as_deref().map(agent).transpose()?);
        set(&mut terms.version, &self.version);
        set(&mut terms.model, &self.model);
        set(&mut terms.mode, &self.mode.map(|mode| mode.map(Into::into)));
        set(&mut terms.max_steps, &self.max_steps);
        set(&mut terms.budget_micro_usd, &self.budget_micro_usd);
        set(&mut terms.on_budget, &self.on_budget.map(Into::into));
        set(&mut terms.max_concurrency, &self.max_concurrency);
        if let Some(reduce) = &self.reduce {
            terms.reduction = reduce.clone().map(ReduceBody::read).transpose()?;
        }
        set(&mut terms.metadata, &self.metadata);
        set(&mut new.name, &self.name);
        set(&mut new.schedule, &self.schedule);
        set(&mut new.timezone, &self.timezone);
        set(&mut new.overlap, &self.overlap.map(Into::into));
        set(&mut new.misfire, &self.misfire.map(Into::into));
        set(&mut new.paused, &self.paused);
        Ok(())
    }
}

/// How many times.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NextQuery {
    /// 1 to 100, 10 unless given.
    #[schemars(range(min = 1, max = 100))]
    count: Option<usize>,
}

/// What is started, if the body says it.
fn work(
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    items: Option<Vec<Value>>,
    file_id: Option<String>,
) -> Result<Option<Work>> {
    let said = [
        ("message", message.is_some()),
        ("inputs", inputs.is_some()),
        ("items", items.is_some()),
        ("file_id", file_id.is_some()),
    ];
    if let Some((field, _)) = said.into_iter().filter(|(_, said)| *said).nth(1) {
        return Err(Error::invalid(field, "must have one of message, inputs, items and file_id, not several"));
    }
    if let Some(items) = items {
        return decode::each_as("items", items, item).map(|items| Some(Work::Items(items)));
    }
    if let Some(id) = file_id {
        let id = FileId::parse_prefixed(&id).map_err(|_| Error::NotFound("file"))?;
        return Ok(Some(Work::Rows(id)));
    }
    // Nothing is said, or one of the two.
    Ok(prompt("", message, inputs).ok().map(Work::Run))
}

fn item(at: &str, item: ScheduledItem) -> Result<OrderItem, Problem> {
    let ScheduledItem { custom_id, message, inputs } = item;
    Ok(OrderItem { custom_id, prompt: prompt(at, message, inputs)? })
}

pub(super) async fn create_schedule(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let planned = schedule::plan(app, &caller, request.json::<CreateSchedule>()?.into_new()?).await?;
        let response = response::created(&ScheduleView::from(planned.schedule().clone()));
        schedule::create(app, planned, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn list_schedules(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = schedule::list(app, &caller, &page).await?;
    Ok(response::ok(&PageView::of(page, ScheduleView::from)))
}

pub(super) async fn get_schedule(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let schedule = schedule::get(app, &caller, request.id("schedule_id")?).await?;
    Ok(response::ok(&ScheduleView::from(schedule)))
}

pub(super) async fn update_schedule(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsWrite)?;
    let (id, body): (ScheduleId, UpdateSchedule) = (request.id("schedule_id")?, request.json()?);
    let schedule = schedule::update(app, &caller, id, |new| body.apply(new)).await?;
    Ok(response::ok(&ScheduleView::from(schedule)))
}

pub(super) async fn delete_schedule(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    schedule::delete(app, &caller, request.id("schedule_id")?).await?;
    Ok(response::no_content())
}

pub(super) async fn run_schedule(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id: ScheduleId = request.id("schedule_id")?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let answer = |firing: &schedule::Firing| accepted(FiringView::from(firing.clone()));
        let claimed = |firing: &schedule::Firing| claims::answered(claim.clone(), &answer(firing));
        let firing = schedule::run_now(app, &caller, id, claimed).await?;
        Ok(answer(&firing))
    })
    .await
}

/// 202, and where to look for what was started.
fn accepted(firing: FiringView) -> Response {
    let response = response::accepted(&firing);
    match firing.location() {
        Some(location) => look_later(response, &location),
        None => response,
    }
}

pub(super) async fn list_next_times(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let NextQuery { count } = request.query()?;
    let times = schedule::next(app, &caller, request.id("schedule_id")?, count.unwrap_or(NEXT)).await?;
    Ok(response::ok(&NextView::from(times)))
}

pub(super) async fn list_firings(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = schedule::firings(app, &caller, request.id("schedule_id")?, &page).await?;
    Ok(response::ok(&PageView::of(page, FiringView::from)))
}
