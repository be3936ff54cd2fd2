//! Agents that nobody made: a call that brings its own prompt and model runs on one whose id follows from both, one that brings its own prompt
//! for an agent on a copy, and a change of an agent is tried on one whose id follows from all that it shall be. No pointer names its only
//! version, so no list shows it, and nobody can change it, delete it or run it by its id.

use std::sync::Arc;

use super::{AgentVersion, Definition, Draft, PlannedChange, current};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::AgentId,
    store,
    tenant::{Caller, Scope, Tenant},
};

/// What runs of such an agent show as its name.
const NAME: &str = "completion";
/// It has this one alone.
pub(crate) const UNNAMED_VERSION: u32 = 1;

impl AgentVersion {
    /// The only version of an agent that nobody made. Its id follows from its organisation and all of this in order: two kinds of such agents
    /// differ in how many parts that is, or in the first.
    pub(crate) fn unnamed(tenant: Tenant, said: &[&[u8]], definition: Definition, now: Timestamp) -> Self {
        let org = tenant.org().uuid();
        let parts: Vec<&[u8]> = std::iter::once(org.as_bytes().as_slice()).chain(said.iter().copied()).collect();
        let agent_id = AgentId::of_content(&parts);
        Self { agent_id, number: UNNAMED_VERSION, created_at: now, updated_at: now, definition }
    }
}

/// The agent of this system prompt and model, checked, and not yet kept: see [`keep_unnamed`]. The same prompt and model make the same.
///
/// # Errors
/// [`crate::Error::Invalid`], [`crate::Error::UnknownModel`], [`crate::Error::Forbidden`].
pub async fn unnamed(app: &App, caller: &Caller, system_prompt: String, model: String) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::RunsWrite)?;
    let tenant = caller.tenant();
    let definition = Draft { system_prompt, ..Draft::new(NAME, model) }.checked(app, tenant, None).await?;
    let (prompt, model) = (definition.system_prompt.clone(), definition.model.to_string());
    let said: [&[u8]; 2] = [prompt.as_bytes(), model.as_bytes()];
    Ok(Arc::new(AgentVersion::unnamed(tenant, &said, definition, app.now())))
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
    let (of, version, prompt) = (of.uuid(), copied.number.to_be_bytes(), definition.system_prompt.clone());
    let said: [&[u8]; 4] = [b"copy", of.as_bytes(), &version, prompt.as_bytes()];
    Ok(Arc::new(AgentVersion::unnamed(tenant, &said, definition, app.now())))
}

/// An agent that is what this change would make, to be tried before it is made; `None` when that is what it is already. Not yet kept: see
/// [`keep_unnamed`]. Its id follows from the agent, the version that is changed and everything that the next one would say, so that what
/// was tried is known by it: the same change of the same version makes the same.
pub(crate) fn candidate(app: &App, tenant: Tenant, planned: &PlannedChange) -> Result<Option<Arc<AgentVersion>>> {
    let Some(to) = planned.to() else { return Ok(None) };
    let said = serde_json::to_vec(&to.definition).map_err(|error| Error::Internal(error.into()))?;
    let (of, number) = (to.agent_id.uuid(), to.number.to_be_bytes());
    let said: [&[u8]; 4] = [b"candidate", of.as_bytes(), &number, &said];
    Ok(Some(Arc::new(AgentVersion::unnamed(tenant, &said, to.definition.clone(), app.now()))))
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
