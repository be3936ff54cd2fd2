//! Agents: made, listed, looked at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Result, Scope,
    agent::{self, AgentVersion, Draft},
};

use super::error::in_our_words;
use crate::{Request, Response, auth, claims, model_ref::ModelRef, response};

/// What an agent shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAgent {
    /// No other agent that was made on this surface has it: our own reading, as other surfaces let agents have the same name.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// Empty unless given.
    #[schemars(length(max = 2_000))]
    description: Option<String>,
    /// The system prompt.
    #[schemars(length(max = 200_000))]
    preamble: String,
    /// Which model it calls: our own addition. The deployment's default model unless given, as an agent of the Cotool surface that names none;
    /// the native surface can give it another.
    model_ref: Option<ModelRef>,
}

impl CreateAgent {
    fn draft(self, app: &App) -> Draft {
        let Self { name, description, preamble, model_ref } = self;
        let model = ModelRef::named(app, model_ref.as_ref());
        Draft { description: description.unwrap_or_default(), system_prompt: preamble, ..Draft::new(name, model) }
    }
}

/// An agent, as its current version says.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AgentView {
    id: String,
    name: String,
    description: String,
    preamble: String,
    /// When the agent was made.
    created_at: String,
    /// When it was changed last.
    updated_at: String,
}

impl From<&AgentVersion> for AgentView {
    fn from(version: &AgentVersion) -> Self {
        let definition = &version.definition;
        Self {
            id: version.agent_id.to_string(),
            name: definition.name.clone(),
            description: definition.description.clone(),
            preamble: definition.system_prompt.clone(),
            created_at: version.created_at.rfc3339_seconds(),
            updated_at: version.updated_at.rfc3339_seconds(),
        }
    }
}

/// All agents.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AgentsView {
    agents: Vec<AgentView>,
}

pub(super) async fn list_agents(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agents = agent::all(app, &caller).await?;
    Ok(response::ok(&AgentsView { agents: agents.iter().map(AgentView::from).collect() }))
}

pub(super) async fn create_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::AgentsWrite, async |claim| {
        let body: CreateAgent = request.json()?;
        let agent = agent::plan(app, &caller, body.draft(app)).await.map_err(in_our_words)?;
        let response = response::created(&AgentView::from(&agent));
        agent::create_named(app, &caller, &agent, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn get_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent = agent::get(app, &caller, request.id("agent_id")?).await?;
    Ok(response::ok(&AgentView::from(agent.as_ref())))
}
