//! Agents that nobody made: a call that brings its own prompt and model runs on one whose id follows from both, one that brings its own prompt
//! for an agent on a copy, and a change of an agent is tried on one whose id follows from all that it shall be. No pointer names its only
//! version, so no list shows it, and nobody can change it, delete it or run it by its id.

use std::sync::Arc;

use super::{AgentVersion, Draft, PlannedChange, current};
use crate::{
    app::App,
    error::{Error, Result},
    id::AgentId,
    store,
    tenant::{Caller, Scope, Tenant},
};

/// What runs of such an agent show as its name.
const NAME: &str = "completion";
/// Distinguishes what the ids of candidates follow from.
const CANDIDATE: &[u8] = b"candidate";
/// It has this one alone.
pub(crate) const UNNAMED_VERSION: u32 = 1;

/// The agent of this system prompt and model, checked, and not yet kept: see [`keep_unnamed`]. The same prompt and model make the same.
///
/// # Errors
/// [`crate::Error::Invalid`], [`crate::Error::UnknownModel`], [`crate::Error::Forbidden`].
pub async fn unnamed(app: &App, caller: &Caller, system_prompt: String, model: String) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::RunsWrite)?;
    let org = caller.tenant().org();
    let definition = Draft { system_prompt, ..Draft::new(NAME, model) }.checked(app, caller.tenant(), None).await?;
    let (said, model) = (definition.system_prompt.as_bytes(), definition.model.as_str().as_bytes());
    let agent_id = AgentId::of_content(&[org.uuid().as_bytes(), said, model]);
    let now = app.now();
    Ok(Arc::new(AgentVersion { agent_id, number: UNNAMED_VERSION, created_at: now, updated_at: now, definition }))
}

/// The current version of this agent with another system prompt, checked, and not yet kept: see [`keep_unnamed`]. The same prompt for the same
/// version makes the same.
///
/// # Errors
/// [`crate::Error::NotFound`], [`crate::Error::Invalid`], [`crate::Error::Forbidden`].
pub async fn unnamed_copy(app: &App, caller: &Caller, of: AgentId, system_prompt: String) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::RunsWrite)?;
    let (tenant, copied) = (caller.tenant(), current(app, caller.tenant(), of).await?);
    let draft = Draft { system_prompt, ..copied.definition.to_draft() };
    let definition = draft.checked(app, tenant, Some(&copied.definition)).await?;
    let (version, said) = (copied.number.to_be_bytes(), definition.system_prompt.as_bytes());
    let agent_id =
        AgentId::of_content(&[tenant.org().uuid().as_bytes(), b"copy", of.uuid().as_bytes(), &version, said]);
    let now = app.now();
    Ok(Arc::new(AgentVersion { agent_id, number: UNNAMED_VERSION, created_at: now, updated_at: now, definition }))
}

/// An agent that is what this change would make, to be tried before it is made; `None` when that is what it is already. Not yet kept: see
/// [`keep_unnamed`]. Its id follows from the agent, the version that is changed and everything that the next one would say, so that what
/// was tried is known by it: the same change of the same version makes the same.
pub(crate) fn candidate(app: &App, tenant: Tenant, planned: &PlannedChange) -> Result<Option<Arc<AgentVersion>>> {
    let Some(to) = planned.to() else { return Ok(None) };
    let said = serde_json::to_vec(&to.definition).map_err(|error| Error::Internal(error.into()))?;
    let (org, of, number) = (tenant.org().uuid(), to.agent_id.uuid(), to.number.to_be_bytes());
    let agent_id = AgentId::of_content(&[CANDIDATE, org.as_bytes(), of.as_bytes(), &number, &said]);
    let (now, definition) = (app.now(), to.definition.clone());
    let candidate = AgentVersion { agent_id, number: UNNAMED_VERSION, created_at: now, updated_at: now, definition };
    Ok(Some(Arc::new(candidate)))
}

/// Keeps such an agent, so that runs can be pinned to it. One that is kept already stays as it is.
///
/// # Errors
/// As the store says.
pub async fn keep_unnamed(app: &App, caller: &Caller, agent: &Arc<AgentVersion>) -> Result<()> {
    let tenant = caller.tenant();
    if app.remembered_version(tenant.org(), agent.agent_id, agent.number).is_some() {
        return Ok(());
    }
    match app.store().save_unnamed_version(tenant, agent).await {
        Ok(()) | Err(store::Error::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    app.remember_version(tenant.org(), Arc::clone(agent));
    Ok(())
}
