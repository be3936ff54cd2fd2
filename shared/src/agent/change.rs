//! What shall change about an agent, whatever it is now.

use std::sync::Arc;

use super::{
    AgentVersion, Definition, Draft, current, point_to,
    registered::{self, Registered},
};
use crate::{
    app::App,
    error::{Error, Result},
    id::AgentId,
    tenant::{Caller, Scope, Tenant},
    tool::Pins,
};

/// What shall change about an agent, whatever it is now.
pub struct Change<'a> {
    pub(super) apply: Box<dyn Fn(&mut Draft) + Send + Sync + 'a>,
    pub(super) tool_names: Option<&'a [String]>,
}

/// A change of an agent as it is, checked, and not yet made: see [`make`].
#[derive(Debug)]
pub struct PlannedChange {
    /// The agent as it is.
    pub(super) from: Arc<AgentVersion>,
    /// As it shall be, unless that is the same.
    pub(super) to: Option<Arc<AgentVersion>>,
}

impl PlannedChange {
    /// The agent as it is.
    #[must_use]
    pub const fn from(&self) -> &Arc<AgentVersion> {
        &self.from
    }

    /// The agent as it shall be; `None` when that is the same.
    #[must_use]
    pub const fn to(&self) -> Option<&Arc<AgentVersion>> {
        self.to.as_ref()
    }
}

impl<'a> Change<'a> {
    /// What `apply` makes of it.
    pub fn new(apply: impl Fn(&mut Draft) + Send + Sync + 'a) -> Self {
        Self { apply: Box::new(apply), tool_names: None }
    }

    /// The same, and the agent then has the tools of these names, if some are given: its own, and otherwise those that other agents of the
    /// organisation have. What is wrong with them is said of `tool_names[n]`.
    #[must_use]
    pub fn with_tools(mut self, names: Option<&'a [String]>) -> Self {
        self.tool_names = names;
        self
    }

    /// What it makes of this agent, with its servers' tools pinned. What has to be asked of others is asked once and kept beside: tools of
    /// servers, and those of other agents.
    pub(super) async fn planned(
        &self,
        app: &App,
        tenant: Tenant,
        from: Arc<AgentVersion>,
        (pins, registered): (&mut Pins, &mut Option<Registered>),
    ) -> Result<PlannedChange> {
        let draft = self.made_of(app, tenant, &from.definition, registered).await?;
        let mut definition = draft.checked(app, tenant, Some(&from.definition)).await?;
        pins.pin(app, tenant, &mut definition.tools).await.map_err(Error::Invalid)?;
        if definition == from.definition {
            return Ok(PlannedChange { from, to: None });
        }
        let number = from.number.saturating_add(1);
        let (agent_id, created_at, updated_at) = (from.agent_id, from.created_at, app.now());
        let to = AgentVersion { agent_id, number, created_at, updated_at, definition };
        Ok(PlannedChange { from, to: Some(Arc::new(to)) })
    }

    async fn made_of(
        &self,
        app: &App,
        tenant: Tenant,
        agent: &Definition,
        registered: &mut Option<Registered>,
    ) -> Result<Draft> {
        let mut draft = agent.to_draft();
        (self.apply)(&mut draft);
        if let Some(names) = self.tool_names {
            draft.tools = registered::chosen(app, tenant, &draft.tools, names, registered).await?;
        }
        Ok(draft)
    }
}

/// Checks a change of the agent as it is now. Servers that are given anew are asked for their tools, and what they say is pinned; those that stay
/// as they were keep their pins. Only what the change touches is checked.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`], [`Error::UnknownModel`].
pub async fn plan_change(app: &App, caller: &Caller, id: AgentId, change: &Change<'_>) -> Result<PlannedChange> {
    caller.require(Scope::AgentsWrite)?;
    let now = current(app, caller.tenant(), id).await?;
    change.planned(app, caller.tenant(), now, (&mut Pins::default(), &mut None)).await
}

/// Makes the change, if the agent is still the version that it was planned from. One that changes nothing makes no version.
///
/// # Errors
/// [`Error::Conflict`] when the agent has been changed since, or is gone: then nothing is changed.
pub async fn make(app: &App, caller: &Caller, planned: PlannedChange) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::AgentsWrite)?;
    let PlannedChange { from, to } = planned;
    let Some(to) = to else { return Ok(from) };
    let to = Arc::new(AgentVersion { updated_at: app.now(), ..Arc::unwrap_or_clone(to) });
    point_to(app, caller.tenant(), &to, Some(from.number), Vec::new()).await?;
    Ok(to)
}
