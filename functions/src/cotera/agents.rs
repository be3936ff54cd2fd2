//! Changing an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result,
    agent::{self, AgentVersion, Draft},
};

use crate::{
    Request, Response, auth, camel,
    patch::{Given, set},
    response,
};

/// What shall change about an agent. What is left out stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UpdateAgent {
    /// Every run that starts after the answer uses it; runs in flight keep theirs.
    #[serde(default)]
    model: Given<String>,
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    name: Given<String>,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: Given<String>,
    #[schemars(length(max = 200_000))]
    #[serde(default)]
    system_prompt: Given<String>,
    /// Must be empty: this version of Muster has no tools.
    #[schemars(length(max = 0))]
    #[serde(default)]
    tools: Given<Vec<serde_json::Value>>,
}

impl UpdateAgent {
    fn apply(&self, draft: &mut Draft) {
        set(&mut draft.model, &self.model);
        set(&mut draft.name, &self.name);
        set(&mut draft.description, &self.description);
        set(&mut draft.system_prompt, &self.system_prompt);
    }
}

/// The agent as it is now.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UpdatedView {
    success: bool,
    result: AgentView,
}

/// An agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AgentView {
    id: String,
    name: String,
    description: String,
    system_prompt: String,
    model: String,
    tools: Vec<serde_json::Value>,
    /// Counts up at each change.
    version: u32,
    created_at: String,
    updated_at: String,
}

impl From<&AgentVersion> for AgentView {
    fn from(version: &AgentVersion) -> Self {
        let definition = version.definition.clone();
        Self {
            id: version.agent_id.to_string(),
            name: definition.name,
            description: definition.description,
            system_prompt: definition.system_prompt,
            model: definition.model.to_string(),
            tools: Vec::new(),
            version: version.number,
            created_at: version.created_at.rfc3339(),
            updated_at: version.updated_at.rfc3339(),
        }
    }
}

pub(super) async fn update_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("agent_id")?;
    let body: UpdateAgent = request.json()?;
    if body.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
        return Err(Error::invalid("tools", "must be empty: this version of Muster has no tools"));
    }
    let agent = agent::update(app, &caller, id, |draft| body.apply(draft)).await.map_err(camel::fields)?;
    Ok(response::ok(&UpdatedView { success: true, result: AgentView::from(agent.as_ref()) }))
}
