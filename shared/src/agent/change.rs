//! What shall change about an agent, whatever it is now.

use super::{
    Definition, Draft,
    registered::{self, Registered},
};
use crate::{app::App, error::Result, tenant::Tenant};

/// What shall change about an agent, whatever it is now.
pub struct Change<'a> {
    pub(super) apply: Box<dyn Fn(&mut Draft) + Send + Sync + 'a>,
    pub(super) tool_names: Option<&'a [String]>,
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

    /// What it makes of this agent. Tools of other agents are read into `registered` once they are wanted.
    pub(super) async fn made_of(
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
