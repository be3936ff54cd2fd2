//! Changes of agents that are tried on a test set first, on the native surface.

use std::sync::Arc;

use http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;
use shared::{
    App, Caller, Error, Result, Scope, agent,
    error::Problem,
    evaluation::{self, Thresholds, Trial},
    id::{EvaluationId, TestSetId},
};

use super::{
    agents::{AgentView, UpdateAgent},
    evaluation_views::EvaluationView,
    runs::{WAIT_LIMIT_S, look_later, wait_ms},
};
use crate::{Request, Response, response, wait};

/// Names the evaluation in which a change was tried that was made.
const EVALUATION: &str = "gate-evaluation";

/// What a changed agent must come to, and on what, before the agent is changed: `min_correctness` with `gate`, and nothing without it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GateQuery {
    /// The id of the test set that the changed agent is tried on. That needs the scope `runs:write` too.
    gate: Option<String>,
    /// The least part of the cases that must be correct: above 0 and at most 1.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    min_correctness: Option<f64>,
    /// The most that a correct answer may cost, in micro-USD, as `price_per_correct_micro_usd` of an evaluation.
    #[schemars(range(min = 1))]
    max_price_per_correct_micro_usd: Option<u64>,
    /// How many runs of the evaluation may be in hand at a time.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrency: Option<u32>,
    /// The most that all runs of the evaluation may cost together, in micro-USD.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// The evaluation that an earlier call of this change has begun: it is waited for instead of another one. Thresholds may be
    /// others than then; `max_concurrency` and `budget_micro_usd` change nothing any more.
    gate_evaluation: Option<String>,
    /// How many seconds of the call may be waited for its end: 0 to 25, 25 unless given.
    #[schemars(range(max = 25))]
    wait: Option<u64>,
}

/// A gate, as far as the request alone says whether it can be one.
pub(super) struct Gate {
    trial: Trial,
    thresholds: Thresholds,
    begun: Option<EvaluationId>,
    limit_ms: u64,
}

impl GateQuery {
    /// The gate that is asked for, if one is.
    pub(super) fn gate(self) -> Result<Option<Gate>> {
        let Some(test_set) = &self.gate else { return self.check_none().map(|()| None) };
        let thresholds = Thresholds::new(self.min_correctness, self.max_price_per_correct_micro_usd)?;
        let limit_ms = wait_ms(self.wait.or(Some(WAIT_LIMIT_S)))?;
        let test_set_id = TestSetId::parse_prefixed(test_set).map_err(|_| Error::NotFound("test set"))?;
        let begun = self.gate_evaluation.as_deref().map(EvaluationId::parse_prefixed).transpose();
        let begun = begun.map_err(|_| Error::NotFound("evaluation"))?;
        let (max_concurrency, budget_micro_usd) = (self.max_concurrency, self.budget_micro_usd);
        Ok(Some(Gate { trial: Trial { test_set_id, max_concurrency, budget_micro_usd }, thresholds, begun, limit_ms }))
    }

    /// Refuses what says something about a gate where there is none.
    fn check_none(&self) -> Result<()> {
        let given = [
            ("min_correctness", self.min_correctness.is_some()),
            ("max_price_per_correct_micro_usd", self.max_price_per_correct_micro_usd.is_some()),
            ("max_concurrency", self.max_concurrency.is_some()),
            ("budget_micro_usd", self.budget_micro_usd.is_some()),
            ("gate_evaluation", self.gate_evaluation.is_some()),
            ("wait", self.wait.is_some()),
        ];
        let problem = |(field, _): (&str, bool)| {
            let message = "means nothing without 'gate', the id of a test set".to_owned();
            Problem { field: field.to_owned(), message }
        };
        let problems: Vec<Problem> = given.into_iter().filter(|(_, given)| *given).map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
    }
}

/// Changes an agent if the changed one comes to what is asked of it. Nothing is changed before that is known.
pub(super) async fn update_agent(app: &App, caller: &Caller, request: &Request, gate: Gate) -> Result<Response> {
    let arrived = app.now();
    caller.require(Scope::AgentsWrite)?;
    caller.require(Scope::RunsWrite)?;
    let Gate { trial, thresholds, begun, limit_ms } = gate;
    let id = request.id("agent_id")?;
    let body: UpdateAgent = request.json()?;
    let planned = agent::plan_change(app, caller, id, &body.change()).await?;
    let Some(evaluation_id) = evaluation::try_change(app, caller, &planned, trial, begun).await? else {
        return Ok(response::ok(&AgentView::from(planned.from().as_ref())));
    };
    // What came before the wait is a part of the call, too.
    let limit_ms = limit_ms.saturating_sub(app.now().since_ms(arrived));
    let standing = wait::until_evaluation_ended(app, caller, evaluation_id, limit_ms).await?;
    let Some(settled) = &standing.evaluation.settled else {
        let location = format!("/v1/evaluations/{}", evaluation_id.prefixed());
        return Ok(look_later(response::accepted(&EvaluationView::new(&standing)), &location));
    };
    thresholds.check(&standing.evaluation, settled)?;
    let agent = match agent::make(app, caller, planned).await {
        Err(Error::Conflict(why)) => {
            // Another call may have made just this change.
            let left = agent::plan_change(app, caller, id, &body.change()).await?;
            if left.to().is_some() {
                return Err(Error::Conflict(why));
            }
            Arc::clone(left.from())
        }
        other => other?,
    };
    let mut response = response::ok(&AgentView::from(agent.as_ref()));
    if let Ok(id) = HeaderValue::from_str(&evaluation_id.prefixed()) {
        response.headers_mut().insert(EVALUATION, id);
    }
    Ok(response)
}
