//! Triggers: listed, saved, changed, switched, and run by their events. What the vendor does not publish is our own choice: a trigger's secret is
//! shown when it is saved, and its sender shows it as `Authorization: Bearer` or `x-muster-token`; Slack's signs.

use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use shared::{
    App, Caller, Error, Result, Scope,
    id::{AgentId, ScheduleId, TriggerId},
    order::Started,
    run::Prompt,
    schedule::Schedule,
    trigger::{self, Cotool, Definition, Received, Shown, Source, Terms, Told, Trigger},
};

use super::{
    crons,
    error::{self, ErrorBody},
    fields::named,
};
use crate::{
    Request, Response, auth, claims, hooks,
    patch::{Given, ReadOnly, set},
    response,
};

/// What a config may have in it that acts: a template of what the agent is told, and an expression that must hold.
const ACTS: [&str; 2] = ["message", "filter"];

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceView {
    Webhook,
    Email,
    Slack,
    Jira,
    Linear,
    /// Times: no event. It is a schedule on the native surface.
    Cron,
}

impl SourceView {
    const ALL: [Self; 6] = [Self::Webhook, Self::Email, Self::Slack, Self::Jira, Self::Linear, Self::Cron];

    const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "email",
            Self::Slack => "slack",
            Self::Jira => "jira",
            Self::Linear => "linear",
            Self::Cron => "cron",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }

    /// How its events are proven; `None` for `cron`, which has none.
    const fn proven(self) -> Option<Source> {
        match self {
            Self::Slack => Some(Source::Slack),
            Self::Webhook | Self::Email | Self::Jira | Self::Linear => Some(Source::Token),
            Self::Cron => None,
        }
    }

    /// What a trigger's source is called here, wherever it was made.
    fn of(trigger: &Trigger) -> Self {
        let kept = trigger.definition.cotool.as_ref().and_then(|cotool| Self::named(&cotool.source));
        let slack = trigger.definition.source == Source::Slack;
        kept.unwrap_or(if slack { Self::Slack } else { Self::Webhook })
    }
}

/// What a trigger shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SaveTrigger {
    source: SourceView,
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    #[serde(default = "yes")]
    enabled: bool,
    /// `message` is a template of what the agent is told, `filter` an expression that must hold: our own choice. Without a `message` the agent is told
    /// the body as it is. All else is kept, and nothing here reads it. Of the source `cron` `message` is what the agent is told, and `timezone` by whose
    /// clocks: UTC unless given.
    #[serde(default)]
    config: Map<String, Value>,
    /// Of the source `cron`, and of no other: the five fields of cron, or what else a schedule of the native surface takes.
    #[schemars(length(max = 256))]
    cron_schedule: Option<String>,
    /// The sender's own; one is made unless given. Not shown again.
    #[schemars(with = "Option<String>", length(max = 256))]
    #[serde(default, deserialize_with = "hidden")]
    secret: Option<SecretString>,
}

const fn yes() -> bool {
    true
}

fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

/// What a trigger shall be instead: what is left out stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UpdateTrigger {
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    name: Given<String>,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: Given<String>,
    #[serde(default)]
    enabled: Given<bool>,
    /// In the place of all that was there.
    #[serde(default)]
    config: Given<Map<String, Value>>,
    /// Of the source `cron`, and of no other.
    #[schemars(length(max = 256))]
    #[serde(default)]
    cron_schedule: Given<String>,
    #[serde(default, rename = "source")]
    #[schemars(skip)]
    _source: ReadOnly,
    #[serde(default, rename = "id")]
    #[schemars(skip)]
    _id: ReadOnly,
    #[serde(default, rename = "agentId")]
    #[schemars(skip)]
    _agent_id: ReadOnly,
    #[serde(default, rename = "organizationId")]
    #[schemars(skip)]
    _organization_id: ReadOnly,
    #[serde(default, rename = "createdAt")]
    #[schemars(skip)]
    _created_at: ReadOnly,
    #[serde(default, rename = "updatedAt")]
    #[schemars(skip)]
    _updated_at: ReadOnly,
}

/// Whether a trigger starts anything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusBody {
    enabled: bool,
}

/// A trigger.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TriggerView {
    id: String,
    agent_id: String,
    organization_id: String,
    source: SourceView,
    name: String,
    description: String,
    enabled: bool,
    config: Map<String, Value>,
    created_at: String,
    updated_at: String,
    /// Shown when it is saved, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Of the source `cron`: when.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron_schedule: Option<String>,
    /// Of the source `cron`: when it last started a run, or was to.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run_attempted_at: Option<String>,
}

impl TriggerView {
    fn of(trigger: &Trigger, caller: &Caller) -> Self {
        let Definition { name, description, enabled, filter, told, terms, cotool, .. } = trigger.definition.clone();
        let mut config = cotool.map(|cotool| cotool.config).unwrap_or_default();
        if let Told::Prompt(Prompt::Message(message)) = told {
            config.insert("message".to_owned(), message.into());
        }
        config.extend(filter.map(|filter| ("filter".to_owned(), filter.into())));
        Self {
            id: trigger.id.to_string(),
            agent_id: terms.agent_id.to_string(),
            organization_id: caller.tenant().org().to_string(),
            source: SourceView::of(trigger),
            name,
            description,
            enabled,
            config,
            created_at: trigger.created_at.rfc3339(),
            updated_at: trigger.updated_at.rfc3339(),
            secret: None,
            cron_schedule: None,
            last_run_attempted_at: None,
        }
    }

    fn of_cron(schedule: &Schedule, caller: &Caller) -> Self {
        Self {
            id: schedule.id.to_string(),
            agent_id: schedule.order.agent_id.to_string(),
            organization_id: caller.tenant().org().to_string(),
            source: SourceView::Cron,
            name: schedule.name.clone(),
            description: schedule.kept.description.clone(),
            enabled: !schedule.paused,
            config: crons::config(schedule),
            created_at: schedule.created_at.rfc3339(),
            updated_at: schedule.updated_at.rfc3339(),
            secret: None,
            cron_schedule: Some(schedule.schedule.clone()),
            last_run_attempted_at: crons::last_attempted(schedule),
        }
    }

    fn shown(shown: &Shown, caller: &Caller) -> Self {
        let secret = shown.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        Self { secret, ..Self::of(&shown.trigger, caller) }
    }
}

/// What is needed to save a trigger of a source.
#[derive(Serialize, JsonSchema)]
pub(super) struct FieldsView {
    success: bool,
    data: FieldsDataView,
}

/// See [`FieldsView`].
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FieldsDataView {
    /// A new secret that a trigger may be saved with; nobody remembers it. None of the source `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Where events go, once `{triggerId}` is known. None of the source `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<String>,
    /// What `config` may have in it that acts.
    additional_fields: Vec<FieldView>,
}

/// A field of a config.
#[derive(Serialize, JsonSchema)]
struct FieldView {
    name: &'static str,
    required: bool,
}

/// What became of an event.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutionView {
    /// The run that it has started, or the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<String>,
    /// Why nothing was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    /// What Slack wants to have back.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
}

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
