//! The tools that an organisation has: those of its agents as they are now. Giving a tool to an agent is what registers it.

use std::collections::BTreeMap;

use crate::{
    app::App,
    error::Result,
    tenant::{Caller, Scope},
    tool::Tool,
};

/// Tools by name; of one name, those that differ from each other.
#[derive(Debug, Default)]
pub struct Registered(BTreeMap<String, Vec<Tool>>);

impl Registered {
    fn add(&mut self, tool: Tool) {
        let same_name = self.0.entry(tool.name.clone()).or_default();
        if !same_name.contains(&tool) {
            same_name.push(tool);
        }
    }

    /// The tool of this name.
    ///
    /// # Errors
    /// Why there is none, or not one, for a person.
    pub fn named(&self, name: &str) -> std::result::Result<&Tool, String> {
        match self.0.get(name).map(Vec::as_slice) {
            Some([tool]) => Ok(tool),
            Some([_, ..]) => {
                Err(format!("agents have different tools of the name '{name}'; give it one with PATCH /v1/agents"))
            }
            Some([]) | None => {
                Err(format!("no agent has a tool '{name}'; tools are given to agents with POST and PATCH /v1/agents"))
            }
        }
    }
}

/// The tools that the organisation's agents have at one moment.
///
/// # Errors
/// [`crate::Error::Forbidden`].
pub async fn registered(app: &App, caller: &Caller) -> Result<Registered> {
    caller.require(Scope::AgentsWrite)?;
    let pointers = app.store().agent_pointers(caller.tenant()).await?;
    let mut registered = Registered::default();
    for agent in app.store().agent_versions(caller.tenant(), &pointers).await? {
        agent.definition.tools.into_iter().for_each(|tool| registered.add(tool));
    }
    Ok(registered)
}
