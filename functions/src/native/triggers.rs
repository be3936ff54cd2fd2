//! Triggers on the native surface. What is wrong with a body is said without repeating any of it where a secret may stand.

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use shared::{
    App, Error, Result, Scope,
    agent::Metadata,
    clock::Timestamp,
    error::Problem,
    id::{AgentId, TriggerId},
    run::Prompt,
    trigger::{self, Definition, Event, Headers, Outcome, Shown, Source, Terms, Tested, Told, Trigger},
};

use super::{
    batches::OnBudgetView,
    views::{ListQuery, ModeView, PageView},
};
use crate::{
    Request, Response, auth, claims, hooks,
    patch::{Given, nullable, set},
    response,
};

/// What bodies may have in them.
const FIELDS: [&str; 19] = [
    "agent_id",
    "name",
    "description",
    "source",
    "message",
    "inputs",
    "rows",
    "custom_id",
    "filter",
    "secret",
    "enabled",
    "version",
    "model",
    "mode",
    "max_steps",
    "budget_micro_usd",
    "on_budget",
    "max_concurrency",
    "metadata",
];

/// Where events come from, and so how they are proven.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SourceView {
    /// Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks,
    /// `X-Hub-Signature-256`; told apart by `X-GitHub-Delivery`.
    Github,
    /// `Stripe-Signature`; told apart by the event's `id`.
    Stripe,
    /// `X-Slack-Signature`; told apart by `event_id`, or by what is signed.
    Slack,
    /// The secret in `Authorization: Bearer` or `x-muster-token`; told apart by `Idempotency-Key` or `webhook-id`.
    Token,
    /// Rules of Amazon EventBridge, through the function that is deployed for them; told apart by the event's `id`.
    Eventbridge,
}

impl From<SourceView> for Source {
    fn from(view: SourceView) -> Self {
        match view {
            SourceView::StandardWebhooks => Self::StandardWebhooks,
            SourceView::Github => Self::Github,
            SourceView::Stripe => Self::Stripe,
            SourceView::Slack => Self::Slack,
            SourceView::Token => Self::Token,
            SourceView::Eventbridge => Self::Eventbridge,
        }
    }
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        match source {
            Source::StandardWebhooks => Self::StandardWebhooks,
            Source::Github => Self::Github,
            Source::Stripe => Self::Stripe,
            Source::Slack => Self::Slack,
            Source::Token => Self::Token,
            Source::Eventbridge => Self::Eventbridge,
        }
    }
}

/// What a trigger shall be. Templates know `body`, `headers`, `trigger` (`id`, `name`) and `event` (`id`, `received_at`). With neither a
/// `message` nor `inputs` the agent is told the body as it is: an object is its inputs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTrigger {
    /// Whose runs it starts.
    agent_id: String,
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    source: SourceView,
    /// A template of what the agent is told.
    #[schemars(length(max = 16_384))]
    message: Option<String>,
    /// Inputs by name, whose strings are templates; a string that is one `{{ expression }}` keeps its type.
    inputs: Option<Map<String, Value>>,
    /// An expression that yields an array of 1 to 1,000: each is an item of a batch, and `row` in the other templates.
    #[schemars(length(max = 4_096))]
    rows: Option<String>,
    /// With `rows`: a template of your own id of an item.
    #[schemars(length(max = 16_384))]
    custom_id: Option<String>,
    /// An expression that holds for the events that start something; all do unless given.
    #[schemars(length(max = 4_096))]
    filter: Option<String>,
    /// The sender's own secret; one is made unless given. Not shown again.
    #[schemars(with = "Option<String>", length(max = 256))]
    #[serde(default, deserialize_with = "hidden")]
    secret: Option<SecretString>,
    /// `true` unless given. One that is switched off is for its senders as if it were not there.
    #[serde(default = "yes")]
    enabled: bool,
    /// The agent's version; its current one at the time of the event unless given.
    #[schemars(range(min = 1))]
    version: Option<u32>,
    /// Another model than the agent's.
    model: Option<String>,
    /// Whether tool calls run by themselves; the agent's own unless given.
    mode: Option<ModeView>,
    /// The most model calls of a run; the agent's own unless given.
    #[schemars(range(min = 1, max = 200))]
    max_steps: Option<u32>,
    /// The most that what an event starts may cost, in micro-USD.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// With `rows`: what becomes of the others when that is used up.
    #[serde(default)]
    on_budget: OnBudgetView,
    /// With `rows`: how many runs may be in hand at a time.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrency: Option<u32>,
    /// At most 16 pairs of your own, for each run and batch.
    #[serde(default)]
    metadata: Metadata,
}

const fn yes() -> bool {
    true
}

fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

/// What the agent is told, as bodies say it.
#[derive(Debug, Clone, Default)]
struct Parts {
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    rows: Option<String>,
    custom_id: Option<String>,
}

impl Parts {
    fn told(self) -> Result<Told> {
        let Self { message, inputs, rows, custom_id } = self;
        let prompt = match (message, inputs) {
            (Some(_), Some(_)) => return Err(Error::invalid("message", "must be given without inputs")),
            (Some(message), None) => Some(Prompt::Message(message)),
            (None, Some(inputs)) => Some(Prompt::Inputs(inputs)),
            (None, None) => None,
        };
        match (rows, custom_id, prompt) {
            (None, Some(_), _) => Err(Error::invalid("custom_id", "is an item's: rows is missing")),
            (None, None, Some(prompt)) => Ok(Told::Prompt(prompt)),
            (None, None, None) => Ok(Told::Body),
            (Some(rows), custom_id, Some(prompt)) => Ok(Told::Rows { rows, custom_id, prompt }),
            (Some(_), _, None) => Err(Error::invalid("message", "or inputs must be given with rows")),
        }
    }
}

impl From<&Told> for Parts {
    fn from(told: &Told) -> Self {
        let parts = |prompt: &Prompt| match prompt.clone() {
            Prompt::Message(message) => Self { message: Some(message), ..Self::default() },
            Prompt::Inputs(inputs) => Self { inputs: Some(inputs), ..Self::default() },
        };
        match told {
            Told::Prompt(prompt) => parts(prompt),
            Told::Rows { rows, custom_id, prompt } => {
                Self { rows: Some(rows.clone()), custom_id: custom_id.clone(), ..parts(prompt) }
            }
            Told::Body => Self::default(),
        }
    }
}

impl CreateTrigger {
    fn read(self) -> Result<(Definition, Option<SecretString>)> {
        let Self { agent_id, name, description, source, message, inputs, rows, custom_id, filter, secret, .. } = self;
        let Self { enabled, version, model, mode, max_steps, budget_micro_usd, on_budget, .. } = self;
        let terms = Terms {
            version,
            model,
            mode: mode.map(Into::into),
            max_steps,
            budget_micro_usd,
            on_budget: on_budget.into(),
            max_concurrency: self.max_concurrency,
            metadata: self.metadata,
            ..Terms::of(agent(&agent_id)?)
        };
        let told = Parts { message, inputs, rows, custom_id }.told()?;
        let definition =
            Definition { name, description, source: source.into(), enabled, filter, told, terms, cotool: None };
        Ok((definition, secret))
    }
}

fn agent(id: &str) -> Result<AgentId> {
    AgentId::parse_prefixed(id).map_err(|_| Error::NotFound("agent"))
}

/// What a trigger shall be instead: what is left out stays as it is. Its source stays, and its secret is rotated by a call of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateTrigger {
    #[serde(default)]
    agent_id: Given<String>,
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    name: Given<String>,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: Given<String>,
    /// In the place of `inputs`, if there are any.
    #[serde(default, deserialize_with = "nullable")]
    message: Option<Option<String>>,
    /// In the place of the `message`, if there is one.
    #[serde(default, deserialize_with = "nullable")]
    inputs: Option<Option<Map<String, Value>>>,
    #[serde(default, deserialize_with = "nullable")]
    rows: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    custom_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    filter: Option<Option<String>>,
    #[serde(default)]
    enabled: Given<bool>,
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
    #[serde(default)]
    metadata: Given<Metadata>,
}

impl UpdateTrigger {
    fn changed(&self, old: &Definition) -> Result<Definition> {
        let mut new = old.clone();
        set(&mut new.name, &self.name);
        set(&mut new.description, &self.description);
        set(&mut new.filter, &self.filter);
        set(&mut new.enabled, &self.enabled);
        let terms = &mut new.terms;
        if let Some(id) = &*self.agent_id {
            terms.agent_id = agent(id)?;
        }
        set(&mut terms.version, &self.version);
        set(&mut terms.model, &self.model);
        set(&mut terms.mode, &self.mode.map(|mode| mode.map(Into::into)));
        set(&mut terms.max_steps, &self.max_steps);
        set(&mut terms.budget_micro_usd, &self.budget_micro_usd);
        set(&mut terms.on_budget, &self.on_budget.map(Into::into));
        set(&mut terms.max_concurrency, &self.max_concurrency);
        set(&mut terms.metadata, &self.metadata);
        let mut parts = Parts::from(&old.told);
        if matches!(&self.message, Some(Some(_))) {
            parts.inputs = None;
        }
        if matches!(&self.inputs, Some(Some(_))) {
            parts.message = None;
        }
        set(&mut parts.message, &self.message);
        set(&mut parts.inputs, &self.inputs);
        set(&mut parts.rows, &self.rows);
        set(&mut parts.custom_id, &self.custom_id);
        new.told = parts.told()?;
        Ok(new)
    }
}

/// What another secret shall be.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateSecret {
    /// The sender's own; one is made unless given.
    #[schemars(with = "Option<String>", length(max = 256))]
    #[serde(default, deserialize_with = "hidden")]
    secret: Option<SecretString>,
}

/// A trigger, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TriggerView {
    id: String,
    agent_id: String,
    name: String,
    description: String,
    source: SourceView,
    enabled: bool,
    /// Where its events go by POST; `null` where they come otherwise.
    url_path: Option<String>,
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    rows: Option<String>,
    custom_id: Option<String>,
    filter: Option<String>,
    version: Option<u32>,
    model: Option<String>,
    mode: Option<ModeView>,
    max_steps: Option<u32>,
    budget_micro_usd: Option<u64>,
    on_budget: OnBudgetView,
    max_concurrency: Option<u32>,
    metadata: Metadata,
    /// Until when the secret before the last rotation holds too.
    previous_secret_until: Option<String>,
    created_at: String,
    updated_at: String,
}

impl TriggerView {
    fn new(trigger: &Trigger, now: Timestamp) -> Self {
        let Definition { name, description, source, enabled, filter, told, terms, cotool: _ } =
            trigger.definition.clone();
        let Parts { message, inputs, rows, custom_id } = Parts::from(&told);
        let Terms { agent_id, version, model, mode, max_steps, budget_micro_usd, .. } = terms;
        let by_http = source != Source::Eventbridge;
        Self {
            id: trigger.id.prefixed(),
            agent_id: agent_id.prefixed(),
            name,
            description,
            source: source.into(),
            enabled,
            url_path: by_http.then(|| format!("/v1/hooks/{}", trigger.id.prefixed())),
            message,
            inputs,
            rows,
            custom_id,
            filter,
            version,
            model,
            mode: mode.map(Into::into),
            max_steps,
            budget_micro_usd,
            on_budget: terms.on_budget.into(),
            max_concurrency: terms.max_concurrency,
            metadata: terms.metadata,
            previous_secret_until: trigger.overlap_until(now).map(|at| at.rfc3339()),
            created_at: trigger.created_at.rfc3339(),
            updated_at: trigger.updated_at.rfc3339(),
        }
    }
}

/// A trigger with its new secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct NewTriggerView {
    /// The secret: shown here, and never again; `null` where none is needed.
    secret: Option<String>,
    #[serde(flatten)]
    about: TriggerView,
}

impl NewTriggerView {
    fn new(shown: &Shown, now: Timestamp) -> Self {
        let secret = shown.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        Self { secret, about: TriggerView::new(&shown.trigger, now) }
    }
}

/// What became of an event.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TriggerEventView {
    event_id: String,
    received_at: String,
    /// `accepted`, `filtered` or `failed`.
    outcome: &'static str,
    run_id: Option<String>,
    batch_id: Option<String>,
    /// Of one that failed: what was wrong.
    problems: Vec<ProblemView>,
}

/// Something that is wrong.
#[derive(Debug, Serialize, JsonSchema)]
struct ProblemView {
    /// As the trigger calls it; empty when it is the whole.
    field: String,
    message: String,
}

impl From<Event> for TriggerEventView {
    fn from(event: Event) -> Self {
        let (outcome, started, problems) = match event.outcome {
            Outcome::Started(started) => ("accepted", Some(started), Vec::new()),
            Outcome::Filtered => ("filtered", None, Vec::new()),
            Outcome::Failed(problems) => ("failed", None, problems),
        };
        let (run_id, batch_id) = started.map(hooks::ids).unwrap_or_default();
        let problems = problems.into_iter().map(|(field, message)| ProblemView { field, message }).collect();
        let received_at = event.received_at.rfc3339();
        Self { event_id: event.event_id, received_at, outcome, run_id, batch_id, problems }
    }
}

/// An event to try a trigger with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestTrigger {
    /// What templates shall know as `body`.
    body: Value,
    /// What they shall know as `headers`.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
}

/// What an event would come to.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct TestedView {
    /// `run`, `batch`, `filtered` or `failed`.
    would: &'static str,
    /// What a run would be told.
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    /// How many items a batch would have.
    count: Option<usize>,
    /// The first 20 of them.
    items: Vec<TestedItemView>,
    /// What is wrong.
    problems: Vec<ProblemView>,
}

/// An item that a batch would have.
#[derive(Debug, Serialize, JsonSchema)]
struct TestedItemView {
    custom_id: Option<String>,
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
}

fn said(prompt: Prompt) -> (Option<String>, Option<Map<String, Value>>) {
    match prompt {
        Prompt::Message(message) => (Some(message), None),
        Prompt::Inputs(inputs) => (None, Some(inputs)),
    }
}

impl From<Tested> for TestedView {
    fn from(tested: Tested) -> Self {
        match tested {
            Tested::Filtered => Self { would: "filtered", ..Self::default() },
            Tested::Run(prompt) => {
                let (message, inputs) = said(prompt);
                Self { would: "run", message, inputs, ..Self::default() }
            }
            Tested::Batch(count, items) => {
                let item = |(custom_id, prompt)| {
                    let (message, inputs) = said(prompt);
                    TestedItemView { custom_id, message, inputs }
                };
                let items = items.into_iter().map(item).collect();
                Self { would: "batch", count: Some(count), items, ..Self::default() }
            }
            Tested::Failed(problems) => {
                let view = |Problem { field, message }| ProblemView { field, message };
                Self { would: "failed", problems: problems.into_iter().map(view).collect(), ..Self::default() }
            }
        }
    }
}

/// A field that is not known is not named: a secret may stand in its place.
fn unsaid(error: Error) -> Error {
    let Error::Invalid(mut problems) = error else { return error };
    let known = |field: &str| field.is_empty() || FIELDS.contains(&field.split(['[', '.']).next().unwrap_or_default());
    for problem in problems.iter_mut().filter(|problem| !known(&problem.field)) {
        let message = format!("only these fields are known: {}", FIELDS.join(", "));
        *problem = Problem { field: String::new(), message };
    }
    Error::Invalid(problems)
}

pub(super) async fn create_trigger(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    Box::pin(claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let (definition, secret) = request.json::<CreateTrigger>().map_err(unsaid)?.read()?;
        let answer = |shown: &Shown| response::created(&NewTriggerView::new(shown, app.now()));
        let claim = |shown: &Shown| claims::answered(claim.clone(), &answer(shown));
        Ok(answer(&trigger::create(app, &caller, definition, secret, claim).await?))
    }))
    .await
}

pub(super) async fn list_triggers(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = trigger::list(app, &caller, &page).await?;
    Ok(response::ok(&PageView::of(page, |trigger| TriggerView::new(&trigger, app.now()))))
}

pub(super) async fn get_trigger(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let trigger = trigger::get(app, &caller, request.id("trigger_id")?).await?;
    Ok(response::ok(&TriggerView::new(&trigger, app.now())))
}

pub(super) async fn update_trigger(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsWrite)?;
    let id: TriggerId = request.id("trigger_id")?;
    let body: UpdateTrigger = request.json().map_err(unsaid)?;
    let trigger = Box::pin(trigger::update(app, &caller, id, |old| body.changed(old))).await?;
    Ok(response::ok(&TriggerView::new(&trigger, app.now())))
}

pub(super) async fn delete_trigger(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    trigger::delete(app, &caller, request.id("trigger_id")?).await?;
    Ok(response::no_content())
}

pub(super) async fn rotate_trigger_secret(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id: TriggerId = request.id("trigger_id")?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let empty = request.body().is_empty();
        let body = if empty { RotateSecret::default() } else { request.json::<RotateSecret>().map_err(unsaid)? };
        let answer = |shown: &Shown| response::ok(&NewTriggerView::new(shown, app.now()));
        let claim = |shown: &Shown| claims::answered(claim.clone(), &answer(shown));
        Ok(answer(&trigger::rotate_secret(app, &caller, id, body.secret, claim).await?))
    })
    .await
}

pub(super) async fn list_trigger_events(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = trigger::events(app, &caller, request.id("trigger_id")?, &page).await?;
    Ok(response::ok(&PageView::of(page, TriggerEventView::from)))
}

pub(super) async fn test_trigger(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsRead)?;
    let id: TriggerId = request.id("trigger_id")?;
    let TestTrigger { body, headers } = request.json()?;
    let headers = Headers::new(headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)));
    let tested = Box::pin(trigger::test(app, &caller, id, &headers, body)).await?;
    Ok(response::ok(&TestedView::from(tested)))
}
