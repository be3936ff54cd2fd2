//! Agents: made, looked at, changed alone or together, copied; their versions.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{App, Result, Scope, agent};

use super::{
    agent_view::{AgentView, VersionView},
    agent_write::{CreateAgent, UpdateAgent},
    fields::named,
    trigger_names::summaries,
};
use crate::{Request, Response, auth, claims, response, together};

/// The agents that are there, as they are now, in the order of the request.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AgentsView {
    agents: Vec<AgentView>,
}

/// The new agent.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CopyView {
    agent: AgentView,
}

pub(super) async fn list_agents(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agents = agent::all(app, &caller).await?;
    let (org, triggers) = (caller.tenant().org(), summaries(app, &caller).await?);
    Ok(response::ok(&agents.iter().map(|agent| AgentView::of(org, agent, &triggers)).collect::<Vec<_>>()))
}

pub(super) async fn create_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::AgentsWrite, async |claim| {
        let body: CreateAgent = request.json()?;
        let mut draft = body.draft(app)?;
        draft.tools = agent::tools_named(app, &caller, body.tool_names()).await.map_err(named)?;
        let agent = agent::plan(app, &caller, draft).await.map_err(named)?;
        let response = response::ok(&AgentView::new(caller.tenant().org(), &agent));
        agent::create(app, &caller, &agent, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn get_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent = agent::get(app, &caller, request.id("agent_id")?).await?;
    Ok(response::ok(&AgentView::of(caller.tenant().org(), &agent, &summaries(app, &caller).await?)))
}

pub(super) async fn update_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::AgentsWrite)?;
    let id = request.id("agent_id")?;
    let body: UpdateAgent = request.json()?;
    body.is_of(id)?;
    let agent = agent::update(app, &caller, id, &body.change()).await.map_err(named)?;
    Ok(response::ok(&AgentView::of(caller.tenant().org(), &agent, &summaries(app, &caller).await?)))
}

pub(super) async fn update_agents(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::AgentsWrite)?;
    let asked = together::asked::<UpdateAgent>(&request)?;
    let agents = asked.done(app, &caller, |id| id.parse().ok(), UpdateAgent::change).await.map_err(named)?;
    let (org, triggers) = (caller.tenant().org(), summaries(app, &caller).await?);
    let views = agents.iter().map(|agent| AgentView::of(org, agent, &triggers));
    Ok(response::ok(&AgentsView { agents: views.collect() }))
}

pub(super) async fn list_agent_versions(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let versions = agent::all_versions(app, &caller, request.id("agent_id")?).await?;
    Ok(response::ok(&versions.iter().map(VersionView::from).collect::<Vec<_>>()))
}

pub(super) async fn copy_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("agent_id")?;
    claims::once(app, &caller, &request, Scope::AgentsWrite, async |claim| {
        request.no_body()?;
        let agent = agent::plan_copy(app, &caller, id).await.map_err(named)?;
        let response = response::ok(&CopyView { agent: AgentView::new(caller.tenant().org(), &agent) });
        agent::create(app, &caller, &agent, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}
