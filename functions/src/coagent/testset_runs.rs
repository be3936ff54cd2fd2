//! Runs of test sets on CoAgent's surface: the evaluations of the native one, started and read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Caller, Error, Result, Scope,
    agent::Metadata,
    evaluation::{self, NewConfiguration, NewEvaluation, Tried},
    id::{EvaluationId, TestSetId},
    run::Origin,
};

use super::{
    error::in_our_words,
    part::{self, ANSWER_LIMIT_BYTES, PartQuery},
    testset_run_views::{CellView, ConfigurationView, TestsetRunView},
    usd,
};
use crate::{Request, Response, auth, claims, evaluations::Figures, model_ref::ModelRef, response};

/// What the configurations are called in requests.
const CONFIGURATIONS: &str = "configurations";
/// The most bytes that the preambles of a run may have together, as JSON: each answer about the run has them again.
const PREAMBLES_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// How many cells are read at a time.
const CELLS_AT_A_TIME: usize = 100;

/// What a run of a test set shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTestsetRun {
    /// What the cases are run with: 1 to 20, no two the same. Cases × configurations may be at most 30,000, and preambles 2 MiB together.
    #[schemars(length(min = 1, max = 20))]
    configurations: Vec<ConfigurationBody>,
    /// How many cases may be in hand at a time; as many as there are workers for unless given. Each configuration has an even share, and
    /// at least one.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrency: Option<u32>,
    /// The most that all answers may cost together, in US dollars: more than 0, at most 1,000,000, with six decimals at most. Each
    /// configuration has an even share; what finds no room in it has no answer.
    #[schemars(range(min = 0.000_001, max = 1_000_000.0))]
    budget_usd: Option<f64>,
}

/// What cases are run with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigurationBody {
    /// An agent, as it is now.
    agent_id: Option<String>,
    /// The system prompt: in place of the agent's; without an agent, none unless given.
    #[schemars(length(max = 200_000))]
    preamble: Option<String>,
    /// The model: in place of the agent's; without an agent, the deployment's default model unless given.
    model_ref: Option<ModelRef>,
}

impl ConfigurationBody {
    fn into_new(self, app: &App, request: &Request) -> Result<NewConfiguration> {
        let Self { agent_id, preamble, model_ref } = self;
        let Some(agent_id) = agent_id else {
            let (system_prompt, model) = (preamble.unwrap_or_default(), ModelRef::named(app, model_ref.as_ref()));
            return Ok(NewConfiguration { agent: Tried::Unnamed { system_prompt, model }, model: None });
        };
        let id = request.id_of(&agent_id)?;
        let agent = match preamble {
            Some(system_prompt) => Tried::Copy { of: id, system_prompt },
            None => Tried::Listed { id, version: None },
        };
        Ok(NewConfiguration { agent, model: model_ref.map(|model| model.name()) })
    }
}

impl CreateTestsetRun {
    fn into_new(self, app: &App, request: &Request, test_set_id: TestSetId) -> Result<NewEvaluation> {
        let Self { configurations, max_concurrency, budget_usd } = self;
        let preambles = configurations.iter().filter_map(|configuration| configuration.preamble.as_ref());
        if part::written(&preambles.collect::<Vec<_>>(), PREAMBLES_LIMIT_BYTES).is_none() {
            return Err(Error::invalid(CONFIGURATIONS, "may have preambles of at most 2 MiB together"));
        }
        let budget_micro_usd = budget_usd.map(usd::to_micro).transpose();
        let budget_micro_usd = budget_micro_usd.map_err(|message| Error::invalid("budget_usd", message))?;
        let configurations = configurations.into_iter().map(|configuration| configuration.into_new(app, request));
        Ok(NewEvaluation {
            test_set_id,
            configurations: configurations.collect::<Result<_>>()?,
            origin: Origin::CoAgent,
            max_concurrency,
            budget_micro_usd,
            metadata: Metadata::new(),
        })
    }
}

/// A run of a test set that was started.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StartedView {
    /// With `eval_` before it, it is an evaluation's id on the native surface.
    run_id: String,
    /// `running`.
    status: &'static str,
}

pub(super) async fn create_testset_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let test_set_id = request.id("testset_id")?;
    Box::pin(claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let new = request.json::<CreateTestsetRun>()?.into_new(app, &request, test_set_id)?;
        let planned = evaluation::plan(app, &caller, new).await.map_err(in_our_words)?;
        let (run_id, status) = (planned.evaluation().id.to_string(), planned.standing().phase().name());
        let response = response::created(&StartedView { run_id, status });
        evaluation::start(app, &caller, planned, claims::answered(claim, &response)).await?;
        Ok(response)
    }))
    .await
}

pub(super) async fn get_testset_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let query: PartQuery = request.query()?;
    let part = (query.offset(), query.limit()?);
    // One of another test set is as one that is not there.
    let test_set_id: TestSetId = request.id("testset_id").map_err(|_| unknown())?;
    let id: EvaluationId = request.id("run_id").map_err(|_| unknown())?;
    let standing = match evaluation::get(app, &caller, id).await {
        Err(Error::NotFound(_)) => return Err(unknown()),
        other => other?,
    };
    if standing.evaluation.test_set_id != test_set_id {
        return Err(unknown());
    }
    let mut configurations = Vec::new();
    for figures in Figures::of(&standing) {
        let preamble = evaluation::own_prompt(app, &caller, figures.configuration).await?;
        configurations.push(ConfigurationView::new(figures, preamble));
    }
    let cells = cells(app, &caller, id, part).await?;
    part::answer(&TestsetRunView::new(&standing, configurations, cells), "cells")
}

const fn unknown() -> Error {
    Error::NotFound("run of this test set")
}

/// The cells from that one on, at most so many; `None` when nobody knows any more what they come to.
async fn cells(
    app: &App,
    caller: &Caller,
    id: EvaluationId,
    (mut from, limit): (usize, usize),
) -> Result<Option<Vec<CellView>>> {
    let (mut all, mut left) = (Vec::new(), ANSWER_LIMIT_BYTES);
    let end = from.saturating_add(limit);
    while from < end {
        let most = CELLS_AT_A_TIME.min(end.saturating_sub(from));
        let found = match evaluation::cells(app, caller, id, from, most).await {
            // The test set was deleted before the verdicts were written.
            Err(Error::Conflict(_)) => return Ok(None),
            other => other?,
        };
        if found.is_empty() {
            break;
        }
        from = from.saturating_add(found.len());
        let found: Vec<CellView> = found.into_iter().map(CellView::from).collect();
        let written = part::written(&found, left).ok_or_else(|| part::too_long("cells"))?;
        left = left.saturating_sub(written.len());
        all.extend(found);
    }
    Ok(Some(all))
}
