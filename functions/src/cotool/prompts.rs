//! An agent's system prompts, and drafts of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Result, Scope,
    agent::{self, PromptDraft, PromptStatus, SystemPrompt},
    id::AgentId,
};

use super::fields::named;
use crate::{Request, Response, auth, claims, response};

/// A draft of a system prompt.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreatePrompt {
    /// What is new about it.
    #[schemars(length(max = 2_000))]
    description: String,
    #[schemars(length(min = 1, max = 200_000))]
    prompt: String,
}

/// A system prompt of an agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptView {
    id: String,
    agent_id: String,
    /// Empty for one that never was a draft.
    description: String,
    prompt: String,
    status: StatusView,
    created_at: String,
    /// When the agent last began to have it; otherwise when it was made.
    updated_at: String,
}

/// Whether the agent has it, had it, or never had it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StatusView {
    Draft,
    Active,
    Previous,
}

impl PromptView {
    fn of(agent: AgentId, prompt: SystemPrompt) -> Self {
        let SystemPrompt { id, description, prompt, status, created_at, updated_at } = prompt;
        let status = match status {
            PromptStatus::Draft => StatusView::Draft,
            PromptStatus::Active => StatusView::Active,
            PromptStatus::Previous => StatusView::Previous,
        };
        Self {
            id: id.to_string(),
            agent_id: agent.to_string(),
            description,
            prompt,
            status,
            created_at: created_at.rfc3339(),
            updated_at: updated_at.rfc3339(),
        }
    }

    fn of_new(agent: AgentId, draft: &PromptDraft) -> Self {
        Self {
            id: draft.id.to_string(),
            agent_id: agent.to_string(),
            description: draft.description.clone(),
            prompt: draft.prompt.clone(),
            status: StatusView::Draft,
            created_at: draft.created_at.rfc3339(),
            updated_at: draft.created_at.rfc3339(),
        }
    }
}

pub(super) async fn list_system_prompts(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("agent_id")?;
    let prompts = agent::prompts(app, &caller, id).await?;
    Ok(response::ok(&prompts.into_iter().map(|prompt| PromptView::of(id, prompt)).collect::<Vec<_>>()))
}

pub(super) async fn create_system_prompt(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("agent_id")?;
    claims::once(app, &caller, &request, Scope::AgentsWrite, async |claim| {
        let CreatePrompt { description, prompt } = request.json()?;
        let draft = agent::plan_draft(app, &caller, id, description, prompt).await.map_err(named)?;
        let response = response::ok(&PromptView::of_new(id, &draft));
        agent::create_draft(app, &caller, id, &draft, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}
