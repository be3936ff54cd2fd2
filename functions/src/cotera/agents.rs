//! Changing an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Result,
    agent::{self, AgentVersion, Change, Draft},
};

use crate::{
    Request, Response, auth, camel,
    patch::{Given, set},
    response,
    tools::{self, ToolView},
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
    /// Takes the place of all tools. They are written as on the native surface.
    #[serde(default)]
    tools: Given<Vec<ToolView>>,
}

impl UpdateAgent {
    fn apply(&self, draft: &mut Draft) {
        set(&mut draft.model, &self.model);
        set(&mut draft.name, &self.name);
        set(&mut draft.description, &self.description);
        set(&mut draft.system_prompt, &self.system_prompt);
        set(&mut draft.tools, &self.tools.clone().map(tools::tools));
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
    tools: Vec<ToolView>,
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
            tools: tools::views(definition.tools),
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
    let agent =
        agent::update(app, &caller, id, &Change::new(|draft| body.apply(draft))).await.map_err(camel::fields)?;
    Ok(response::ok(&UpdatedView { success: true, result: AgentView::from(agent.as_ref()) }))
}
