//! Triggers on the native surface. What is wrong with a body is said without repeating any of it where a secret may stand.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{
    App, Error, Result, Scope,
    agent::Metadata,
    error::Problem,
    id::TriggerId,
    order::Terms,
    trigger::{self, Definition, Headers, Shown},
};

use super::{
    batches::OnBudgetView,
    reductions::ReduceBody,
    terms::agent,
    trigger_views::{
        EndsView, NewTriggerView, ObjectsView, Parts, SourceView, TestedView, TriggerEventView, TriggerView,
    },
    views::{ListQuery, ModeView, PageView},
};
use crate::{
    Request, Response, auth, claims,
    decode::hidden,
    patch::{Given, nullable, set},
    response,
};

/// What bodies may have in them.
const FIELDS: [&str; 22] = [
    "agent_id",
    "name",
    "description",
    "source",
    "from",
    "object",
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
    "reduce",
    "metadata",
];

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
    /// Of the source `run`, and of no other: which ends.
    from: Option<EndsView>,
    /// Of the source `s3`, and of no other: which objects. Each of their rows is an item of a batch, and `row` in the templates; without
    /// templates the column `message` is what the agent is told, or else all columns are inputs, but for `custom_id`.
    object: Option<ObjectsView>,
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
    /// With `rows`: one run over all results.
    reduce: Option<ReduceBody>,
    /// At most 16 pairs of your own, for each run and batch.
    #[serde(default)]
    metadata: Metadata,
}

const fn yes() -> bool {
    true
}

impl CreateTrigger {
    fn read(self) -> Result<(Definition, Option<SecretString>)> {
        let Self { agent_id, name, description, source, message, inputs, rows, custom_id, filter, secret, .. } = self;
        let Self { from, object, enabled, version, model, mode, max_steps, budget_micro_usd, on_budget, .. } = self;
        let terms = Terms {
            version,
            model,
            mode: mode.map(Into::into),
            max_steps,
            budget_micro_usd,
            on_budget: on_budget.into(),
            max_concurrency: self.max_concurrency,
            reduction: self.reduce.map(ReduceBody::read).transpose()?,
            metadata: self.metadata,
            ..Terms::of(agent(&agent_id)?)
        };
        let source = source.into();
        let told = Parts { message, inputs, rows, custom_id }.told(source)?;
        let (from, object) = (from.map(EndsView::read).transpose()?, object.map(Into::into));
        let definition =
            Definition { name, description, source, from, object, enabled, filter, told, terms, cotool: None };
        Ok((definition, secret))
    }
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
    /// Of the source `run`: which ends.
    #[serde(default)]
    from: Given<EndsView>,
    /// Of the source `s3`: which objects.
    #[serde(default)]
    object: Given<ObjectsView>,
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
    #[serde(default, deserialize_with = "nullable")]
    reduce: Option<Option<ReduceBody>>,
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
        if let Some(from) = &*self.from {
            new.from = Some(from.clone().read()?);
        }
        if let Some(object) = &*self.object {
            new.object = Some(object.clone().into());
        }
        let terms = &mut new.terms;
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
        new.told = parts.told(old.source)?;
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
        let body = request.json::<RotateSecret>().map_err(unsaid)?;
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
