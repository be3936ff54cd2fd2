//! Agents on the native surface.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    App, Error, Result, Scope,
    agent::{self, AgentVersion, Change, Draft, Metadata},
    id::AgentId,
};

use super::{
    gates::{self, GateQuery},
    inputs::{self, InputView},
    views::{ListQuery, ModeView, PageView, ToolModeView},
};
use crate::{
    Request, Response, auth, claims,
    patch::{Given, nullable, set},
    response, together,
    tools::{self, ToolView},
};

/// What an agent shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAgent {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    /// The instructions that the model is given before the message. `{{name}}` takes the value of an input of that name that the agent
    /// declares: a string as it is, another value as JSON, nothing when it is not given. All other braces stay as they are.
    #[schemars(length(max = 200_000))]
    #[serde(default)]
    system_prompt: String,
    /// A model of this deployment, as `provider/model` or an alias: see `GET /v1/models`.
    model: String,
    /// Models that are called instead, in this order, when that one cannot be: at most 5, each another one.
    #[schemars(length(max = 5))]
    #[serde(default)]
    fallback_models: Vec<String>,
    /// The most model calls of a run: 25 unless given.
    #[schemars(range(min = 1, max = 200))]
    max_steps: Option<u32>,
    /// The most tokens of one answer: 4,096 unless given.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_tokens: Option<u32>,
    /// The sampling temperature; nothing is the provider's own.
    #[schemars(range(min = 0.0, max = 2.0))]
    temperature: Option<f64>,
    /// The most that a run may cost, in micro-USD.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// Whether tool calls run by themselves: `auto` unless given.
    mode: Option<ModeView>,
    /// What its model may call: at most 128.
    #[serde(default)]
    tools: Vec<ToolView>,
    /// How its model is told of them: `native` unless given.
    tool_mode: Option<ToolModeView>,
    /// The JSON Schema (2020-12) of its answer. An answer that does not satisfy it is asked for once more; the run then ends with
    /// `output_invalid`.
    output_schema: Option<Value>,
    /// What each run must or may be given as `inputs`: at most 50. With none, a run may have any inputs, or a message.
    #[serde(default)]
    #[schemars(length(max = 50))]
    inputs: Vec<InputView>,
    /// At most 16 pairs of your own; keys up to 64, values up to 512 characters.
    #[serde(default)]
    metadata: Metadata,
}

impl From<CreateAgent> for Draft {
    fn from(body: CreateAgent) -> Self {
        Self {
            description: body.description,
            system_prompt: body.system_prompt,
            fallback_models: body.fallback_models,
            max_steps: body.max_steps.unwrap_or(agent::MAX_STEPS),
            max_tokens: body.max_tokens,
            temperature: body.temperature,
            budget_micro_usd: body.budget_micro_usd,
            mode: body.mode.map(Into::into).unwrap_or_default(),
            tools: tools::tools(body.tools),
            tool_mode: body.tool_mode.map(Into::into).unwrap_or_default(),
            output_schema: body.output_schema,
            inputs: inputs::inputs(body.inputs),
            metadata: body.metadata,
            ..Self::new(body.name, body.model)
        }
    }
}

/// What shall change about an agent. What is left out stays; `null` takes a limit away.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateAgent {
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    name: Given<String>,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: Given<String>,
    #[schemars(length(max = 200_000))]
    #[serde(default)]
    system_prompt: Given<String>,
    #[serde(default)]
    model: Given<String>,
    /// Takes the place of all fallback models.
    #[schemars(length(max = 5))]
    #[serde(default)]
    fallback_models: Given<Vec<String>>,
    #[schemars(range(min = 1, max = 200))]
    #[serde(default)]
    max_steps: Given<u32>,
    #[serde(default, deserialize_with = "nullable")]
    max_tokens: Option<Option<u32>>,
    #[serde(default, deserialize_with = "nullable")]
    temperature: Option<Option<f64>>,
    #[serde(default, deserialize_with = "nullable")]
    budget_micro_usd: Option<Option<u64>>,
    #[serde(default)]
    mode: Given<ModeView>,
    /// Takes the place of all tools.
    #[serde(default)]
    tools: Given<Vec<ToolView>>,
    #[serde(default)]
    tool_mode: Given<ToolModeView>,
    #[serde(default, deserialize_with = "nullable")]
    output_schema: Option<Option<Value>>,
    /// Takes the place of all inputs.
    #[serde(default)]
    inputs: Given<Vec<InputView>>,
    /// Takes the place of all pairs.
    #[serde(default)]
    metadata: Given<Metadata>,
}

impl UpdateAgent {
    pub(super) fn change(&self) -> Change<'_> {
        Change::new(|draft| self.apply(draft))
    }

    fn apply(&self, draft: &mut Draft) {
        set(&mut draft.name, &self.name);
        set(&mut draft.description, &self.description);
        set(&mut draft.system_prompt, &self.system_prompt);
        set(&mut draft.model, &self.model);
        set(&mut draft.fallback_models, &self.fallback_models);
        set(&mut draft.max_steps, &self.max_steps);
        set(&mut draft.max_tokens, &self.max_tokens);
        set(&mut draft.temperature, &self.temperature);
        set(&mut draft.budget_micro_usd, &self.budget_micro_usd);
        set(&mut draft.mode, &self.mode.map(Into::into));
        set(&mut draft.tools, &self.tools.clone().map(tools::tools));
        set(&mut draft.tool_mode, &self.tool_mode.map(Into::into));
        set(&mut draft.output_schema, &self.output_schema);
        set(&mut draft.inputs, &self.inputs.clone().map(inputs::inputs));
        set(&mut draft.metadata, &self.metadata);
    }
}

/// An agent, as its current version says, or one of its versions.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AgentView {
    id: String,
    /// Counts up at each change.
    version: u32,
    name: String,
    description: String,
    system_prompt: String,
    model: String,
    fallback_models: Vec<String>,
    max_steps: u32,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    budget_micro_usd: Option<u64>,
    mode: ModeView,
    tools: Vec<ToolView>,
    tool_mode: ToolModeView,
    output_schema: Option<Value>,
    inputs: Vec<InputView>,
    metadata: Metadata,
    /// When the agent was made.
    created_at: String,
    /// When this version was made.
    updated_at: String,
}

impl From<&AgentVersion> for AgentView {
    fn from(version: &AgentVersion) -> Self {
        let definition = version.definition.clone();
        Self {
            id: version.agent_id.prefixed(),
            version: version.number,
            name: definition.name,
            description: definition.description,
            system_prompt: definition.system_prompt,
            model: definition.model.to_string(),
            fallback_models: definition.fallback_models.iter().map(ToString::to_string).collect(),
            max_steps: definition.max_steps,
            max_tokens: definition.max_tokens,
            temperature: definition.temperature,
            budget_micro_usd: definition.budget_micro_usd,
            mode: definition.mode.into(),
            tools: tools::views(definition.tools),
            tool_mode: definition.tool_mode.into(),
            output_schema: definition.output_schema,
            inputs: inputs::views(definition.inputs),
            metadata: definition.metadata,
            created_at: version.created_at.rfc3339(),
            updated_at: version.updated_at.rfc3339(),
        }
    }
}

pub(super) async fn create_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::AgentsWrite, async |claim| {
        let body: CreateAgent = request.json()?;
        let agent = agent::plan(app, &caller, body.into()).await?;
        let response = response::created(&AgentView::from(&agent));
        agent::create(app, &caller, &agent, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn list_agents(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, metadata) = request.query::<ListQuery>()?.page()?;
    let page = agent::list(app, &caller, &page, &metadata).await?;
    Ok(response::ok(&PageView::of(page, |agent| AgentView::from(&agent))))
}

pub(super) async fn get_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent = agent::get(app, &caller, request.id("agent_id")?).await?;
    Ok(response::ok(&AgentView::from(agent.as_ref())))
}

pub(super) async fn update_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let gate = request.query::<GateQuery>()?.gate()?;
    if let Some(gate) = gate {
        return Box::pin(gates::update_agent(app, &caller, &request, gate)).await;
    }
    let id = request.id("agent_id")?;
    let body: UpdateAgent = request.json()?;
    let agent = agent::update(app, &caller, id, &body.change()).await?;
    Ok(response::ok(&AgentView::from(agent.as_ref())))
}

/// The agents that are there, as they are now, in the order of the request.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UpdatedView {
    data: Vec<AgentView>,
}

pub(super) async fn update_agents(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::AgentsWrite)?;
    let asked = together::asked(&request)?;
    let agents = asked.done(app, &caller, |id| AgentId::parse_prefixed(id).ok(), UpdateAgent::change).await?;
    Ok(response::ok(&UpdatedView { data: agents.iter().map(|agent| AgentView::from(agent.as_ref())).collect() }))
}

pub(super) async fn delete_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    agent::delete(app, &caller, request.id("agent_id")?).await?;
    Ok(response::no_content())
}

pub(super) async fn list_agent_versions(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("agent_id")?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = agent::versions(app, &caller, id, &page).await?;
    Ok(response::ok(&PageView::of(page, |version| AgentView::from(&version))))
}

pub(super) async fn restore_agent_version(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let number = request.parameter("version")?.parse().map_err(|_| Error::NotFound("agent version"))?;
    let agent = agent::restore(app, &caller, request.id("agent_id")?, number).await?;
    Ok(response::ok(&AgentView::from(agent.as_ref())))
}
