//! Whose runs schedules and triggers start, and how they differ from what the agent says, as answers show it.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{Error, Result, agent::Metadata, id::AgentId, order::Terms};

use super::{batches::OnBudgetView, reductions::ReduceBody, views::ModeView};

/// Whose runs are started, and how they differ from what the agent says.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TermsView {
    agent_id: String,
    /// The version that is run; `null` is the current one of that moment.
    version: Option<u32>,
    model: Option<String>,
    mode: Option<ModeView>,
    max_steps: Option<u32>,
    budget_micro_usd: Option<u64>,
    on_budget: OnBudgetView,
    max_concurrency: Option<u32>,
    reduce: Option<ReduceBody>,
    metadata: Metadata,
}

impl From<Terms> for TermsView {
    fn from(terms: Terms) -> Self {
        let Terms { agent_id, version, model, mode, max_steps, budget_micro_usd, on_budget, max_concurrency, .. } =
            terms;
        Self {
            agent_id: agent_id.prefixed(),
            version,
            model,
            mode: mode.map(Into::into),
            max_steps,
            budget_micro_usd,
            on_budget: on_budget.into(),
            max_concurrency,
            reduce: terms.reduction.map(ReduceBody::from),
            metadata: terms.metadata,
        }
    }
}

/// Whose runs a body says are started.
pub(super) fn agent(id: &str) -> Result<AgentId> {
    AgentId::parse_prefixed(id).map_err(|_| Error::NotFound("agent"))
}
