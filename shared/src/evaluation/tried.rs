//! What cases are run with: agents, as they are or otherwise, looked up or made, and held to what they may be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    agent::{self, AgentVersion, Metadata},
    app::App,
    error::{Error, Result},
    id::AgentId,
    run::{self, NewRun, Origin, Pinned, Prompt},
    tenant::Caller,
};

/// What cases shall be run with.
#[derive(Debug, Clone)]
pub struct NewConfiguration {
    /// The agent.
    pub agent: Tried,
    /// Another model than the agent's.
    pub model: Option<String>,
}

/// An agent that is tried.
#[derive(Debug, Clone)]
pub enum Tried {
    /// One of the organisation's.
    Listed {
        /// Its id.
        id: AgentId,
        /// Its version; `None` is the current one.
        version: Option<u32>,
    },
    /// One of the organisation's as it is now, with another system prompt: see [`agent::unnamed_copy`].
    Copy {
        /// Its id.
        of: AgentId,
        /// What the copy is told.
        system_prompt: String,
    },
    /// What one of the organisation's would be after a change: see [`agent::candidate`].
    Candidate {
        /// Its id.
        of: AgentId,
        /// What it would be.
        candidate: Arc<AgentVersion>,
    },
    /// A system prompt and a model: see [`agent::unnamed`].
    Unnamed {
        /// What it is told.
        system_prompt: String,
        /// What it calls.
        model: String,
    },
}

/// Where the agent of a configuration comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It is one of the organisation's.
    #[default]
    Listed,
    /// No list has it: it is what this agent was, with something else in it.
    Copy(AgentId),
    /// No list has it: it is a system prompt and a model.
    Unnamed,
}

impl Tried {
    pub(super) const fn source(&self) -> Source {
        match self {
            Self::Listed { .. } => Source::Listed,
            Self::Copy { of, .. } | Self::Candidate { of, .. } => Source::Copy(*of),
            Self::Unnamed { .. } => Source::Unnamed,
        }
    }
}

/// What each configuration's runs are pinned to.
pub(super) async fn pinned(
    app: &App,
    caller: &Caller,
    configurations: Vec<NewConfiguration>,
    metadata: &Metadata,
    origin: Origin,
) -> Result<Vec<Pinned>> {
    let mut all: Vec<Pinned> = Vec::with_capacity(configurations.len());
    for (index, configuration) in configurations.into_iter().enumerate() {
        let found = pin(app, caller, configuration, metadata, origin).await;
        let found = found.map_err(|error| of_configuration(error, index))?;
        let same = |other: &Pinned| {
            let version = |of: &Pinned| (of.agent.agent_id, of.agent.number);
            version(other) == version(&found) && other.model == found.model
        };
        if all.iter().any(same) {
            let message = "is the same agent, version and model as an earlier one";
            return Err(Error::invalid(format!("configurations[{index}]"), message));
        }
        all.push(found);
    }
    Ok(all)
}

async fn pin(app: &App, caller: &Caller, new: NewConfiguration, metadata: &Metadata, origin: Origin) -> Result<Pinned> {
    let agent = match new.agent {
        Tried::Listed { id, version } => agent::wanted(app, caller.tenant(), id, version).await?,
        Tried::Copy { of, system_prompt } => agent::unnamed_copy(app, caller, of, system_prompt).await?,
        Tried::Candidate { candidate, .. } => candidate,
        Tried::Unnamed { system_prompt, model } => agent::unnamed(app, caller, system_prompt, model).await?,
    };
    let nothing = Prompt::Message(String::new());
    let run = NewRun { model: new.model, metadata: metadata.clone(), ..NewRun::of(agent.agent_id, nothing, origin) };
    run::pin_to(app, caller, agent, &run).await
}

/// The error with its field as the request calls it: what is wrong with a configuration, but for its prompt, is wrong with its model.
fn of_configuration(error: Error, index: usize) -> Error {
    error.with_fields(|field| {
        let field = if field == "system_prompt" { field } else { "model" };
        format!("configurations[{index}].{field}")
    })
}
