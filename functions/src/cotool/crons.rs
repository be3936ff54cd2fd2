//! Triggers of the source `cron`: schedules, which the native surface shows as such. What the vendor does not publish is our own choice:
//! `cronSchedule` is what a schedule of the native surface takes, `config.message` what the agent is told, `config.timezone` whose clocks.

use serde_json::{Map, Value};
use shared::{
    App, Caller, Error, Result,
    id::{AgentId, ScheduleId},
    idempotency::Claim,
    order::{Order, Terms, Work},
    page::{self, PageRequest},
    run::Prompt,
    schedule::{self, Kept, Misfire, NewSchedule, Outcome, Overlap, Schedule},
};

use super::fields::named;
use crate::Response;

/// What of a config acts.
pub(super) const ACTS: [&str; 2] = ["message", "timezone"];

/// What a trigger of this source shall be.
pub(super) struct Cron {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) enabled: bool,
    pub(super) cron_schedule: Option<String>,
    pub(super) config: Map<String, Value>,
}

/// What acts of a config, and the rest of it.
fn acting(mut config: Map<String, Value>) -> Result<(Prompt, String, Map<String, Value>)> {
    let [message, timezone] = ACTS.map(|name| match config.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("config.{name}"), "must be a string")),
    });
    let message = message?.ok_or_else(|| Error::invalid("config.message", "must say what the agent is told"))?;
    if config.contains_key("filter") {
        return Err(Error::invalid("config.filter", "has no event to hold for: the source is cron"));
    }
    Ok((Prompt::Message(message), timezone?.unwrap_or_else(|| schedule::TIMEZONE.to_owned()), config))
}

/// An error with the fields as they are called here.
fn here(error: Error) -> Error {
    named(error.with_fields(|field| match field {
        "schedule" => "cronSchedule".to_owned(),
        "message" | "timezone" => format!("config.{field}"),
        field => field.to_owned(),
    }))
}

/// Makes one. `answer` is what the caller is told of it, `claim` the claim with that.
pub(super) async fn save(
    app: &App,
    caller: &Caller,
    agent_id: AgentId,
    cron: Cron,
    claim: impl FnOnce(&Schedule) -> (Claim, Response),
) -> Result<Response> {
    let Cron { name, description, enabled, cron_schedule, config } = cron;
    let schedule = cron_schedule.ok_or_else(|| Error::invalid("cronSchedule", "must say when"))?;
    let (prompt, timezone, config) = acting(config)?;
    let new = NewSchedule {
        name,
        order: Order { terms: Terms::of(agent_id), work: Work::Run(prompt) },
        schedule,
        timezone,
        overlap: Overlap::default(),
        misfire: Misfire::default(),
        paused: !enabled,
        kept: Kept { description, config },
    };
    let planned = Box::pin(schedule::plan(app, caller, new)).await.map_err(here)?;
    let (claim, response) = claim(planned.schedule());
    schedule::create(app, planned, claim).await.map_err(here)?;
    Ok(response)
}

/// All of them, newest first: schedules that start one run with a message, wherever they were made.
pub(super) async fn all(app: &App, caller: &Caller) -> Result<Vec<Schedule>> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = schedule::list(app, caller, &PageRequest::new(Some(page::LIMIT), after)?).await?;
        all.extend(page.entries.into_iter().filter(is_cron));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// The agent's own of these.
pub(super) async fn of_agent(app: &App, caller: &Caller, agent_id: AgentId) -> Result<Vec<Schedule>> {
    Ok(all(app, caller).await?.into_iter().filter(|schedule| schedule.order.terms.agent_id == agent_id).collect())
}

const fn is_cron(schedule: &Schedule) -> bool {
    matches!(schedule.order.work, Work::Run(Prompt::Message(_)))
}

/// What shall change about one: what is `None` stays.
#[derive(Default)]
pub(super) struct Change {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) enabled: Option<bool>,
    pub(super) cron_schedule: Option<String>,
    pub(super) config: Option<Map<String, Value>>,
}

/// Changes one of the agent's.
pub(super) async fn update(
    app: &App,
    caller: &Caller,
    (agent_id, id): (AgentId, ScheduleId),
    change: Change,
) -> Result<Schedule> {
    let found = schedule::found_to_change(app, caller, id).await?;
    if found.order.terms.agent_id != agent_id || !is_cron(&found) {
        return Err(Error::NotFound("trigger"));
    }
    let Change { name, description, enabled, cron_schedule, config } = change;
    let changed = |new: &mut NewSchedule| {
        for (to, from) in
            [(&mut new.name, &name), (&mut new.kept.description, &description), (&mut new.schedule, &cron_schedule)]
        {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
        new.paused = enabled.map_or(new.paused, |enabled| !enabled);
        if let Some(config) = &config {
            let (prompt, timezone, config) = acting(config.clone())?;
            (new.order.work, new.timezone, new.kept.config) = (Work::Run(prompt), timezone, config);
        }
        Ok(())
    };
    Box::pin(schedule::update(app, caller, id, changed)).await.map_err(here)
}

/// What a config shows: what is kept, and what acts.
pub(super) fn config(schedule: &Schedule) -> Map<String, Value> {
    let mut config = schedule.kept.config.clone();
    if let Work::Run(Prompt::Message(message)) = &schedule.order.work {
        config.insert("message".to_owned(), message.clone().into());
    }
    config.insert("timezone".to_owned(), schedule.timezone.clone().into());
    config
}

/// When it last started something, or tried to, by its row.
pub(super) fn last_attempted(schedule: &Schedule) -> Option<String> {
    let last = schedule.last.as_ref()?;
    let attempted = matches!(last.outcome, Outcome::Started(_) | Outcome::Failed(_));
    attempted.then(|| last.decided_at.rfc3339())
}
