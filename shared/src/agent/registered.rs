//! The tools that an organisation has: those of its agents as they are now. Giving a tool to an agent is what registers it.

use std::collections::BTreeMap;

use crate::{
    app::App,
    error::{Error, Problem, Result},
    tenant::{Caller, Scope, Tenant},
    tool::Tool,
};

/// Tools by name; of one name, those that differ from each other.
#[derive(Debug, Default)]
pub(super) struct Registered(BTreeMap<String, Vec<Tool>>);

impl Registered {
    /// Those that the organisation's agents have at one moment: every agent is read.
    async fn read(app: &App, tenant: Tenant) -> Result<Self> {
        let pointers = app.store().agent_pointers(tenant).await?;
        let mut registered = Self::default();
        for agent in app.store().agent_versions(tenant, &pointers).await? {
            agent.definition.tools.into_iter().for_each(|tool| registered.add(tool));
        }
        Ok(registered)
    }

    fn add(&mut self, tool: Tool) {
        let same_name = self.0.entry(tool.name.clone()).or_default();
        if !same_name.contains(&tool) {
            same_name.push(tool);
        }
    }

    /// The tool of this name, or why there is none, or not one, for a person.
    fn named(&self, name: &str) -> Result<&Tool, String> {
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

/// The tools of these names, for an agent that has none yet.
///
/// # Errors
/// [`Error::Invalid`] for `tool_names[n]`: a name that no agent has a tool of, that agents have different ones of, or that is there twice.
pub async fn tools_named(app: &App, caller: &Caller, names: &[String]) -> Result<Vec<Tool>> {
    caller.require(Scope::AgentsWrite)?;
    chosen(app, caller.tenant(), &[], names, &mut None).await
}

/// The tools of these names, in this order: those that the agent has, and otherwise those that are registered, which are read when the first
/// of them is wanted.
pub(super) async fn chosen(
    app: &App,
    tenant: Tenant,
    own: &[Tool],
    names: &[String],
    registered: &mut Option<Registered>,
) -> Result<Vec<Tool>> {
    let had = |name: &String| own.iter().find(|tool| tool.name == *name);
    if registered.is_none() && !names.iter().all(|name| had(name).is_some()) {
        *registered = Some(Registered::read(app, tenant).await?);
    }
    let none = Registered::default();
    let others = registered.as_ref().unwrap_or(&none);
    let (mut tools, mut problems) = (Vec::with_capacity(names.len()), twice(names));
    for (index, name) in names.iter().enumerate() {
        match had(name).map_or_else(|| others.named(name), Ok) {
            Ok(tool) => tools.push(tool.clone()),
            Err(message) => problems.push(Problem { field: format!("tool_names[{index}]"), message }),
        }
    }
    if problems.is_empty() { Ok(tools) } else { Err(Error::Invalid(problems)) }
}

/// Names that were there before, which is wrong whatever they name.
pub(super) fn twice(names: &[String]) -> Vec<Problem> {
    let seen = |(index, name): &(usize, &String)| names.iter().take(*index).any(|before| before == *name);
    let problem = |(index, _)| Problem { field: format!("tool_names[{index}]"), message: "is there twice".to_owned() };
    names.iter().enumerate().filter(seen).map(problem).collect()
}
