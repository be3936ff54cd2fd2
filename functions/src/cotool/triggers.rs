//! Triggers: listed, saved, changed, switched, and run by their events. What the vendor does not publish is our own choice: a trigger's secret is
//! shown when it is saved, and its sender shows it as `Authorization: Bearer` or `x-muster-token`; Slack's signs.

use http::{HeaderValue, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use shared::{
    App, Caller, Error, Result, Scope,
    id::{AgentId, ScheduleId, TriggerId},
    order::{Started, Terms},
    run::Prompt,
    schedule::Schedule,
    trigger::{self, Cotool, Definition, Received, Shown, Told, Trigger},
};

use super::{
    crons,
    error::{self, ErrorBody},
    fields::named,
    trigger_views::{
        ExecutionView, FieldView, FieldsDataView, FieldsView, SaveTrigger, SourceView, StatusBody, TriggerView,
        UpdateTrigger,
    },
};
use crate::{Request, Response, auth, claims, hooks, patch::set, response};

/// What a config may have in it that acts: a template of what the agent is told, and an expression that must hold.
const ACTS: [&str; 2] = ["message", "filter"];

/// What acts of a config, and the rest of it.
fn acting(mut config: Map<String, Value>) -> Result<(Told, Option<String>, Map<String, Value>)> {
    let [message, filter] = ACTS.map(|name| match config.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("config.{name}"), "must be a string")),
    });
    Ok((message?.map_or(Told::Body, |message| Told::Prompt(Prompt::Message(message))), filter?, config))
}

/// An error with the fields as they are called here.
fn in_config(error: Error) -> Error {
    let here = |field: &str| if ACTS.contains(&field) { format!("config.{field}") } else { field.to_owned() };
    named(error.with_fields(here))
}

/// What is in the path, of the agent in the path: a trigger, or a schedule.
enum Own {
    Trigger(TriggerId),
    Cron(AgentId, ScheduleId),
}

async fn own(app: &App, caller: &Caller, request: &Request) -> Result<Own> {
    let agent_id = request.id::<AgentId>("agent_id").map_err(|_| Error::NotFound("trigger"))?;
    match trigger::found(app, caller, request.id("trigger_id")?).await {
        Ok(trigger) if trigger.definition.terms.agent_id == agent_id => Ok(Own::Trigger(trigger.id)),
        Ok(_) => Err(Error::NotFound("trigger")),
        Err(Error::NotFound(_)) => {
            let id = request.id("trigger_id").map_err(|_| Error::NotFound("trigger"))?;
            Ok(Own::Cron(agent_id, id))
        }
        Err(error) => Err(error),
    }
}

/// A schedule that is not there is no trigger.
fn no_trigger(error: Error) -> Error {
    if matches!(error, Error::NotFound("schedule")) { Error::NotFound("trigger") } else { error }
}

pub(super) async fn list_triggers(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    let triggers = trigger::of_agent(app, &caller, agent_id).await?;
    let crons = crons::of_agent(app, &caller, agent_id).await?;
    let triggers = triggers.iter().map(|trigger| TriggerView::of(trigger, &caller));
    let crons = crons.iter().map(|schedule| TriggerView::of_cron(schedule, &caller));
    Ok(response::ok(&triggers.chain(crons).collect::<Vec<_>>()))
}

pub(super) async fn get_trigger_fields(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    trigger::of_agent(app, &caller, request.id("agent_id")?).await?;
    let source = SourceView::named(request.parameter("source")?).ok_or(Error::NotFound("source"))?;
    let data = match source.proven() {
        Some(proven) => FieldsDataView {
            secret: Some(trigger::suggested_secret(proven)?.expose_secret().to_owned()),
            webhook_url: Some(format!("/api/trigger/{}/{{triggerId}}", source.name())),
            additional_fields: ACTS.map(|name| FieldView { name, required: false }).into(),
        },
        None => FieldsDataView {
            secret: None,
            webhook_url: None,
            additional_fields: crons::ACTS.map(|name| FieldView { name, required: name == "message" }).into(),
        },
    };
    Ok(response::ok(&FieldsView { success: true, data }))
}

pub(super) async fn save_trigger(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id: AgentId = request.id("agent_id")?;
    Box::pin(claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let SaveTrigger { source: shown_as, name, description, enabled, config, cron_schedule, secret } =
            request.json()?;
        let Some(source) = shown_as.proven() else {
            if secret.is_some() {
                return Err(Error::invalid("secret", "is not used: no event proves anything"));
            }
            let cron = crons::Cron { name, description, enabled, cron_schedule, config };
            let answer = |schedule: &Schedule| {
                let response = response::ok(&TriggerView::of_cron(schedule, &caller));
                (claims::answered(claim, &response), response)
            };
            return Box::pin(crons::save(app, &caller, agent_id, cron, answer)).await;
        };
        if cron_schedule.is_some() {
            return Err(Error::invalid("cronSchedule", "is only for the source cron"));
        }
        let (told, filter, config) = acting(config)?;
        let cotool = Some(Cotool { source: shown_as.name().to_owned(), config });
        let terms = Terms::of(agent_id);
        let definition =
            Definition { name, description, source, from: None, object: None, enabled, filter, told, terms, cotool };
        let answer = |shown: &Shown| response::ok(&TriggerView::shown(shown, &caller));
        let claim = |shown: &Shown| claims::answered(claim.clone(), &answer(shown));
        let shown = trigger::create(app, &caller, definition, secret, claim).await.map_err(in_config)?;
        Ok(answer(&shown))
    }))
    .await
}

pub(super) async fn update_trigger(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsWrite)?;
    let body: UpdateTrigger = request.json()?;
    let id = match own(app, &caller, &request).await? {
        Own::Trigger(id) => id,
        Own::Cron(agent_id, id) => {
            let change = crons::Change {
                name: body.name.clone(),
                description: body.description.clone(),
                enabled: *body.enabled,
                cron_schedule: body.cron_schedule.clone(),
                config: body.config.clone(),
            };
            let schedule = crons::update(app, &caller, (agent_id, id), change).await.map_err(no_trigger)?;
            return Ok(response::ok(&TriggerView::of_cron(&schedule, &caller)));
        }
    };
    if body.cron_schedule.is_some() {
        return Err(Error::invalid("cronSchedule", "is only for the source cron"));
    }
    let changed = |old: &Definition| {
        let mut new = old.clone();
        set(&mut new.name, &body.name);
        set(&mut new.description, &body.description);
        set(&mut new.enabled, &body.enabled);
        if let Some(config) = &*body.config {
            let (told, filter, config) = acting(config.clone())?;
            (new.told, new.filter) = (told, filter);
            let source = old.cotool.as_ref().map_or("webhook", |cotool| cotool.source.as_str()).to_owned();
            new.cotool = Some(Cotool { source, config });
        }
        Ok(new)
    };
    let trigger = Box::pin(trigger::update(app, &caller, id, changed)).await.map_err(in_config)?;
    Ok(response::ok(&TriggerView::of(&trigger, &caller)))
}

pub(super) async fn set_trigger_status(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsWrite)?;
    let StatusBody { enabled } = request.json()?;
    match own(app, &caller, &request).await? {
        Own::Trigger(id) => {
            let changed = |old: &Definition| Ok(Definition { enabled, ..old.clone() });
            let trigger = Box::pin(trigger::update(app, &caller, id, changed)).await.map_err(in_config)?;
            Ok(response::ok(&TriggerView::of(&trigger, &caller)))
        }
        Own::Cron(agent_id, id) => {
            let change = crons::Change { enabled: Some(enabled), ..crons::Change::default() };
            let schedule = crons::update(app, &caller, (agent_id, id), change).await.map_err(no_trigger)?;
            Ok(response::ok(&TriggerView::of_cron(&schedule, &caller)))
        }
    }
}

pub(super) async fn run_trigger(app: &App, request: Request) -> Result<Response> {
    let source = SourceView::named(request.parameter("source")?);
    let which = |trigger: &Trigger| source == Some(SourceView::of(trigger));
    match trigger::receive(app, request.id("trigger_id").ok(), &hooks::came(&request), which).await {
        Ok(received) => Ok(answer(received)),
        Err(Error::Unauthorized) => {
            let message = "there is no such trigger, or the event has no proof that holds".to_owned();
            let mut refused = response::with_json(StatusCode::UNAUTHORIZED, &ErrorBody::message(message));
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            Ok(refused)
        }
        Err(error) => Err(error),
    }
}

fn answer(received: Received) -> Response {
    let skipped = |message| response::ok(&ExecutionView { message: Some(message), ..ExecutionView::default() });
    match received {
        Received::Started { started, .. } => {
            let id = match started {
                Started::Run(id) => id.to_string(),
                Started::Batch(id) => id.to_string(),
            };
            response::ok(&ExecutionView { execution_id: Some(id), ..ExecutionView::default() })
        }
        Received::Filtered => skipped("skipped: the trigger's filter does not hold for the event"),
        Received::Ping => skipped("skipped: a ping"),
        Received::Challenge(challenge) => {
            response::ok(&ExecutionView { challenge: Some(challenge), ..ExecutionView::default() })
        }
        Received::Failed(error) => {
            response::with_json(StatusCode::UNPROCESSABLE_ENTITY, &error::body(&in_config(error)))
        }
    }
}
