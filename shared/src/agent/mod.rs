//! Agents: a prompt and a model under a name. Every change makes a new version that never changes; a run is pinned to one.

mod change;
mod definition;
mod guidance;
mod inputs;
mod named;
mod prompts;
mod registered;
mod sub_agents;
mod together;
mod unnamed;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use change::{Change, PlannedChange, make, plan_change};
pub use definition::{
    Definition, Draft, FALLBACK_MODELS_LIMIT, MAX_STEPS, MAX_STEPS_LIMIT, MAX_TOKENS, MAX_TOKENS_LIMIT, Metadata, Mode,
};
pub(crate) use definition::{check_budget, check_metadata, check_prices};
pub use guidance::{Channel, ContextDoc, Guidance, Outside, Planning, Skill, ToolActionConfig};
pub use inputs::{INPUTS_LIMIT, Input, InputType, Inputs};
pub(crate) use inputs::{filled, names as input_names, problems as input_problems, too_long};
pub use named::create_named;
pub use prompts::{
    DRAFTS_LIMIT, PromptDraft, PromptStatus, SystemPrompt, VERSIONS_LOOKED_AT, create_draft, plan_draft, prompts,
};
pub use registered::tools_named;
pub use together::{OfAgent, UPDATED_TOGETHER_LIMIT, Unknown, update_many};
pub(crate) use unnamed::{UNNAMED_VERSION, candidate};
pub use unnamed::{keep_unnamed, unnamed, unnamed_copy};

use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::AgentId,
    idempotency::Claim,
    page::{self, Page, PageRequest},
    random,
    store::{self, row::Write},
    tenant::{Caller, Scope, Tenant},
    tool::Pins,
};

/// How often a change is tried again when others change agents at the same time.
const TRIES: u32 = 40;

/// One version of an agent. Checked, and never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentVersion {
    /// Whose version it is.
    pub agent_id: AgentId,
    /// Counts up from 1.
    pub number: u32,
    /// When the agent was made.
    pub created_at: Timestamp,
    /// When this version was made.
    pub updated_at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub definition: Definition,
}

impl AgentVersion {
    /// An id for what has none of its own: it follows from the agent's and the number.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let mut bytes = *self.agent_id.uuid().as_bytes();
        for (byte, number) in bytes.iter_mut().rev().zip(self.number.to_le_bytes()) {
            *byte ^= number;
        }
        // Version 8: of our own making.
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// A new agent, checked, its servers' tools pinned, and with its id, not yet stored: see [`create`].
///
/// # Errors
/// [`Error::Invalid`], also for a server that does not say what its tools are; [`Error::UnknownModel`], [`Error::Forbidden`].
pub async fn plan(app: &App, caller: &Caller, draft: Draft) -> Result<AgentVersion> {
    plan_like(app, caller, draft, None).await
}

async fn plan_like(app: &App, caller: &Caller, draft: Draft, like: Option<&Definition>) -> Result<AgentVersion> {
    caller.require(Scope::AgentsWrite)?;
    let now = app.now();
    let mut definition = draft.checked(app, caller.tenant(), like).await?;
    Pins::default().pin(app, caller.tenant(), &mut definition.tools).await.map_err(Error::Invalid)?;
    Ok(AgentVersion { agent_id: AgentId::new(now), number: 1, created_at: now, updated_at: now, definition })
}

/// Stores a planned agent.
///
/// # Errors
/// As the store says.
pub async fn create(app: &App, caller: &Caller, agent: &AgentVersion, claim: Claim) -> Result<()> {
    let claim = claim.write(app, None)?.into_iter().collect();
    match point_to(app, caller.tenant(), agent, None, claim).await? {
        None => Ok(()),
        Some(_) => Err(Claim::in_progress()),
    }
}

/// The agent's current version.
///
/// # Errors
/// [`Error::NotFound`], also for one that was deleted.
pub async fn get(app: &App, caller: &Caller, id: AgentId) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    current(app, caller.tenant(), id).await
}

/// The current version, whatever the caller may look at: for starting runs.
pub(crate) async fn current(app: &App, tenant: Tenant, id: AgentId) -> Result<Arc<AgentVersion>> {
    let bucket = app.store().agent_bucket(tenant, id).await?;
    let number = bucket.current(id).ok_or(Error::NotFound("agent"))?;
    version(app, tenant, id, number).await
}

/// The version of this number, or the current one when none is said: for starting runs.
pub(crate) async fn wanted(app: &App, tenant: Tenant, id: AgentId, number: Option<u32>) -> Result<Arc<AgentVersion>> {
    let now = current(app, tenant, id).await?;
    match number {
        Some(number) => version_of(app, tenant, &now, number).await,
        None => Ok(now),
    }
}

/// One version, from memory if this process has seen it.
pub(crate) async fn version(app: &App, tenant: Tenant, id: AgentId, number: u32) -> Result<Arc<AgentVersion>> {
    if let Some(known) = app.remembered_version(tenant.org(), id, number) {
        return Ok(known);
    }
    let found = app.store().agent_version(tenant, id, number).await?.ok_or(Error::NotFound("agent version"))?;
    let found = Arc::new(found);
    app.remember_version(tenant.org(), found.clone());
    Ok(found)
}

/// The agent's version of this number: one after `now`, its current version, may be written, but is not the agent's.
async fn version_of(app: &App, tenant: Tenant, now: &Arc<AgentVersion>, number: u32) -> Result<Arc<AgentVersion>> {
    match number {
        number if number == now.number => Ok(Arc::clone(now)),
        number if number < now.number => version(app, tenant, now.agent_id, number).await,
        _ => Err(Error::NotFound("agent version")),
    }
}

/// The organisation's agents, newest first; with `metadata`, those that have all of its pairs.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, page: &PageRequest, metadata: &Metadata) -> Result<Page<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    let of = format!("agents?{metadata:?}");
    let after = page.position(&of)?;
    let mut pointers = app.store().agent_pointers(caller.tenant()).await?;
    pointers.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
    let mut rest =
        pointers.into_iter().filter(|(id, _)| after.as_ref().is_none_or(|after| id.to_string() < *after)).peekable();
    let mut entries = Vec::new();
    let mut last = None;
    while entries.len() < page.limit && rest.peek().is_some() {
        let wanted: Vec<_> = rest.by_ref().take(page.limit).collect();
        for version in app.store().agent_versions(caller.tenant(), &wanted).await? {
            let fits = metadata.iter().all(|(key, value)| version.definition.metadata.get(key) == Some(value));
            if fits && entries.len() == page.limit {
                return Ok(Page::new(entries, last.as_deref(), &of));
            }
            last = Some(version.agent_id.to_string());
            if fits {
                entries.push(version);
            }
        }
    }
    let more = rest.peek().is_some();
    Ok(Page::new(entries, last.as_deref().filter(|_| more), &of))
}

/// All of the organisation's agents, newest first, as they are at one moment.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn all(app: &App, caller: &Caller) -> Result<Vec<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    let mut pointers = app.store().agent_pointers(caller.tenant()).await?;
    pointers.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
    Ok(app.store().agent_versions(caller.tenant(), &pointers).await?)
}

/// All versions of the agent, newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn all_versions(app: &App, caller: &Caller, id: AgentId) -> Result<Vec<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    let current = current(app, caller.tenant(), id).await?.number;
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let (mut versions, next) = app.store().agent_history(caller.tenant(), id, current, before, page::LIMIT).await?;
        all.append(&mut versions);
        match next {
            Some(next) => before = Some(next),
            None => return Ok(all),
        }
    }
}

/// A new agent that is as this one is now, not yet stored: see [`create`]. What that one names may be gone: so it is with the new one.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn plan_copy(app: &App, caller: &Caller, id: AgentId) -> Result<AgentVersion> {
    caller.require(Scope::AgentsWrite)?;
    let now = current(app, caller.tenant(), id).await?;
    plan_like(app, caller, now.definition.to_draft(), Some(&now.definition)).await
}

/// Changes the agent, as it is then: see [`plan_change`] and [`make`].
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`], [`Error::UnknownModel`].
pub async fn update(app: &App, caller: &Caller, id: AgentId, change: &Change<'_>) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::AgentsWrite)?;
    let (mut pins, mut registered) = (Pins::default(), None);
    for attempt in 1..=TRIES {
        let now = current(app, caller.tenant(), id).await?;
        let planned = change.planned(app, caller.tenant(), now, (&mut pins, &mut registered)).await?;
        match make(app, caller, planned).await {
            Err(Error::Conflict(_)) => random::pause(attempt).await,
            other => return other,
        }
    }
    Err(Error::Unavailable("the agent is being changed by others all the time".into()))
}

/// Deletes the agent. Runs that were started keep their version and go on.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn delete(app: &App, caller: &Caller, id: AgentId) -> Result<()> {
    caller.require(Scope::AgentsWrite)?;
    for attempt in 1..=TRIES {
        let mut bucket = app.store().agent_bucket(caller.tenant(), id).await?;
        if !bucket.remove(id) {
            return Err(Error::NotFound("agent"));
        }
        match app.store().save_agent_bucket(bucket, None, Vec::new()).await {
            Ok(()) => return Ok(()),
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the agent is being changed by others all the time".into()))
}

/// The agent's versions, newest first.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`] for a cursor of another list.
pub async fn versions(app: &App, caller: &Caller, id: AgentId, page: &PageRequest) -> Result<Page<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    let current = current(app, caller.tenant(), id).await?.number;
    let of = format!("versions/{id}");
    let before = page.position(&of)?;
    let (versions, next) = app.store().agent_history(caller.tenant(), id, current, before, page.limit).await?;
    Ok(Page::new(versions, next.as_deref(), &of))
}

/// Makes a new version that says what version `number` said.
///
/// # Errors
/// [`Error::NotFound`] for the agent or the version; [`Error::UnknownModel`] when its model is gone and not what the agent has now.
pub async fn restore(app: &App, caller: &Caller, id: AgentId, number: u32) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::AgentsWrite)?;
    let now = current(app, caller.tenant(), id).await?;
    let old = version_of(app, caller.tenant(), &now, number).await?;
    update(app, caller, id, &Change::new(|draft| *draft = old.definition.to_draft())).await
}

/// Makes this version the current one, if `from` still is (`None`: if the agent is new).
///
/// The bucket holds other agents too; only a change of this agent is a conflict, a change of another is tried again. Answers which of the
/// writes beside it, from 0, has a condition that does not hold: then nothing was written.
async fn point_to(
    app: &App,
    tenant: Tenant,
    to: &AgentVersion,
    from: Option<u32>,
    beside: Vec<Write>,
) -> Result<Option<usize>> {
    let mut left = None;
    for attempt in 1..=TRIES {
        let mut bucket = app.store().agent_bucket(tenant, to.agent_id).await?;
        if bucket.current(to.agent_id) != from {
            return Err(Error::Conflict("the agent was changed at the same time".to_owned()));
        }
        bucket.point(to.agent_id, to.number);
        match app.store().save_agent_bucket(bucket, Some((to, left)), beside.clone()).await {
            Ok(()) => return Ok(None),
            Err(store::Error::Conflict { index: 0 }) => random::pause(attempt).await,
            Err(store::Error::Conflict { index: 1 }) => left = together::clear(app, tenant, to).await?,
            Err(store::Error::Conflict { index }) => return Ok(Some(index.saturating_sub(2))),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("agents are being changed by others all the time".into()))
}
