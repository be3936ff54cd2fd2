//! Agents whose name no other agent made so has. The name's row is written in the transaction that makes the agent.

use super::{AgentVersion, TRIES, current, point_to};
use crate::{
    app::App,
    error::{Error, Result},
    id::AgentId,
    idempotency::Claim,
    random,
    tenant::{Caller, Tenant},
};

/// Stores a planned agent, if its name is no other agent's that was made so and still has it: one that was deleted, or has another name
/// by now, has given it up. Agents that were made otherwise (see [`super::create`]) do not count.
///
/// # Errors
/// [`Error::Conflict`] when the name is taken; otherwise as the store says.
pub async fn create_named(app: &App, caller: &Caller, agent: &AgentVersion, claim: Claim) -> Result<()> {
    let (tenant, name) = (caller.tenant(), agent.definition.name.as_str());
    // A request with the same idempotency key was faster: that is said before whose the name is.
    let claim: Vec<_> = claim.write(app, None)?.into_iter().collect();
    let mut seen = None;
    for attempt in 1..=TRIES {
        let mut beside = claim.clone();
        beside.push(app.store().agent_name_write(tenant, name, agent.agent_id, seen)?);
        match point_to(app, tenant, agent, None, beside).await? {
            None => return Ok(()),
            Some(index) if index < claim.len() => return Err(Claim::in_progress()),
            Some(_) => {}
        }
        let owner = app.store().agent_name(tenant, name).await?;
        if let Some(owner) = &owner
            && has(app, tenant, owner.value, name).await?
        {
            return Err(Error::Conflict(format!("there is an agent named '{name}' already")));
        }
        seen = owner.map(|owner| owner.rev);
        random::pause(attempt).await;
    }
    Err(Error::Unavailable("the name is being taken by others all the time".into()))
}

/// Whether the agent is there and has this name.
async fn has(app: &App, tenant: Tenant, id: AgentId, name: &str) -> Result<bool> {
    match current(app, tenant, id).await {
        Ok(agent) => Ok(agent.definition.name == name),
        Err(Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
