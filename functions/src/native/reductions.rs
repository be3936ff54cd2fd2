//! The run that is told a batch's results, as bodies say it and answers show it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    Error, Result,
    agent::Metadata,
    batch::{NewReduction, Reduced, Reduction},
    id::{AgentId, RunId},
    run::Prompt,
};

use super::terms::agent;

/// One run over all results of a batch, when all of its runs have ended, or so many of a hundred. Templates know `batch` (`id`, `items`, `counts`,
/// `cost_micro_usd`, `metadata`, `agent_id`, `agent_version`) and `results`: of those that have ended, in the order of the items, `index`,
/// `custom_id`, `run_id`, `status`, `error` and `output` (JSON, if the agent has an output schema). With neither a `message` nor `inputs` it is
/// told the results that ended well, as a JSON object a line.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReduceBody {
    /// Whose version is run: that of the batch unless given.
    agent_id: Option<String>,
    /// The agent's version; the current one when the batch starts unless given.
    #[schemars(range(min = 1))]
    version: Option<u32>,
    /// Another model than the agent's.
    model: Option<String>,
    /// A template of what the agent is told.
    #[schemars(length(max = 16_384))]
    message: Option<String>,
    /// Inputs by name, whose strings are templates; a string that is one `{{ expression }}` keeps its type.
    inputs: Option<Map<String, Value>>,
    /// When so many of a hundred runs have ended, which may be noticed up to a minute later; with all of them unless given.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "all")]
    percent: u8,
    /// The most model calls; the agent's own unless given.
    #[schemars(range(min = 1, max = 200))]
    max_steps: Option<u32>,
    /// The most that it may cost, in micro-USD. Nothing of the batch's budget is used for it.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// At most 16 pairs of your own, with those of the batch.
    #[serde(default)]
    metadata: Metadata,
}

const fn all() -> u8 {
    100
}

impl ReduceBody {
    pub(super) fn read(self) -> Result<NewReduction> {
        let Self { agent_id, version, model, message, inputs, percent, max_steps, budget_micro_usd, metadata } = self;
        let prompt = match (message, inputs) {
            (Some(_), Some(_)) => return Err(Error::invalid("reduce.message", "must be given without inputs")),
            (Some(message), None) => Some(Prompt::Message(message)),
            (None, Some(inputs)) => Some(Prompt::Inputs(inputs)),
            (None, None) => None,
        };
        let agent_id = agent_id.as_deref().map(agent).transpose()?;
        Ok(NewReduction { agent_id, version, model, prompt, percent, max_steps, budget_micro_usd, metadata })
    }
}

impl From<NewReduction> for ReduceBody {
    fn from(new: NewReduction) -> Self {
        let NewReduction { agent_id, version, model, prompt, percent, max_steps, budget_micro_usd, metadata } = new;
        let (message, inputs) = match prompt {
            Some(Prompt::Message(message)) => (Some(message), None),
            Some(Prompt::Inputs(inputs)) => (None, Some(inputs)),
            None => (None, None),
        };
        let agent_id = agent_id.map(AgentId::prefixed);
        Self { agent_id, version, model, message, inputs, percent, max_steps, budget_micro_usd, metadata }
    }
}

/// What has come of a batch's reduction.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReductionView {
    agent_id: String,
    /// The version that it is pinned to.
    agent_version: u32,
    percent: u8,
    /// The run, when it was started.
    run_id: Option<String>,
    /// Why none was, when that is decided.
    error: Option<String>,
}

impl From<&Reduction> for ReductionView {
    fn from(reduction: &Reduction) -> Self {
        let (run_id, error) = match &reduction.outcome {
            Some(Reduced::Run(id)) => (Some(RunId::prefixed(*id)), None),
            Some(Reduced::Failed(why)) => (None, Some(why.clone())),
            None => (None, None),
        };
        Self {
            agent_id: reduction.agent_id.prefixed(),
            agent_version: reduction.agent_version,
            percent: reduction.percent,
            run_id,
            error,
        }
    }
}
