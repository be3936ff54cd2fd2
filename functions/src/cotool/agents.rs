//! Agents: made, looked at, changed alone or together, copied; their versions.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{
    App, Caller, Result, Scope,
    agent::{self, Draft, Registered},
};

use super::{
    agent_view::{AgentView, VersionView},
    agent_write::{CreateAgent, UpdateAgent},
    fields::named,
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

/// The organisation's tools, if some are wanted.
async fn registered(app: &App, caller: &Caller, wanted: bool) -> Result<Registered> {
    if wanted { agent::registered(app, caller).await } else { Ok(Registered::default()) }
}

pub(super) async fn list_agents(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agents = agent::all(app, &caller).await?;
    let org = caller.tenant().org();
    Ok(response::ok(&agents.iter().map(|agent| AgentView::of(org, agent)).collect::<Vec<_>>()))
}

pub(super) async fn create_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::AgentsWrite, async |claim| {
        let body: CreateAgent = request.json()?;
        let draft = body.draft(app, &registered(app, &caller, body.names_tools()).await?)?;
        let agent = agent::plan(app, &caller, draft).await.map_err(named)?;
        let response = response::ok(&AgentView::of(caller.tenant().org(), &agent));
        agent::create(app, &caller, &agent, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn get_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent = agent::get(app, &caller, request.id("agent_id")?).await?;
    Ok(response::ok(&AgentView::of(caller.tenant().org(), &agent)))
}

pub(super) async fn update_agent(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("agent_id")?;
    let body: UpdateAgent = request.json()?;
    let tools = registered(app, &caller, body.names_tools()).await?;
    let agent = agent::update(app, &caller, id, |draft| body.apply(draft, &tools)).await.map_err(named)?;
    Ok(response::ok(&AgentView::of(caller.tenant().org(), &agent)))
}

pub(super) async fn update_agents(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::AgentsWrite)?;
    let asked = together::asked::<UpdateAgent>(&request)?;
    let tools = registered(app, &caller, asked.changes().any(UpdateAgent::names_tools)).await?;
    let apply = |change: &UpdateAgent, draft: &mut Draft| change.apply(draft, &tools);
    let agents = asked.done(app, &caller, |id| id.parse().ok(), apply).await.map_err(named)?;
    let org = caller.tenant().org();
    Ok(response::ok(&AgentsView { agents: agents.iter().map(|agent| AgentView::of(org, agent)).collect() }))
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
        let agent = agent::plan_copy(app, &caller, id).await.map_err(named)?;
        let response = response::ok(&CopyView { agent: AgentView::of(caller.tenant().org(), &agent) });
        agent::create(app, &caller, &agent, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}
