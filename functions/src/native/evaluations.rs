//! Evaluations on the native surface.

use schemars::JsonSchema;
use serde::Deserialize;
use shared::{
    App, Caller, Result, Scope,
    agent::Metadata,
    evaluation::{self, NewConfiguration, NewEvaluation, Tried},
    id::{EvaluationId, TestSetId},
    run::Origin,
};

use super::{
    evaluation_reports,
    evaluation_views::{CellView, CellsView, EvaluationView},
    results,
    runs::{WaitQuery, look_later},
    terms::agent,
    views::{ListQuery, PageView},
};
use crate::{Request, Response, auth, claims, response, wait};

/// What an evaluation shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateEvaluation {
    /// What the test set's cases are run with: 1 to 20, no two the same. Cases × configurations may be at most 30,000.
    #[schemars(length(min = 1, max = 20))]
    configurations: Vec<ConfigurationBody>,
    /// How many runs may be in hand at a time; as many as there are workers for unless given. Each configuration has an even share, and
    /// at least one.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrency: Option<u32>,
    /// The most that all runs may cost together, in micro-USD. Each configuration has an even share: runs that need a call for which
    /// there is no room end with `budget_exceeded`, and miss their cases.
    #[schemars(range(min = 1))]
    budget_micro_usd: Option<u64>,
    /// At most 16 pairs of your own, for the evaluation and each of its runs.
    #[serde(default)]
    metadata: Metadata,
}

/// What cases are run with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigurationBody {
    agent_id: String,
    /// The agent's version; its current one unless given.
    version: Option<u32>,
    /// Another model than the agent's.
    model: Option<String>,
}

impl CreateEvaluation {
    fn into_new(self, test_set_id: TestSetId) -> Result<NewEvaluation> {
        let Self { configurations, max_concurrency, budget_micro_usd, metadata } = self;
        let configuration = |ConfigurationBody { agent_id, version, model }: ConfigurationBody| {
            let id = agent(&agent_id)?;
            Ok(NewConfiguration { agent: Tried::Listed { id, version }, model })
        };
        let configurations = configurations.into_iter().map(configuration).collect::<Result<_>>()?;
        let origin = Origin::Native;
        Ok(NewEvaluation { test_set_id, configurations, origin, max_concurrency, budget_micro_usd, metadata })
    }
}

/// How the cells are written.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// A page of them.
    Json,
    /// All of them, a JSON object a line.
    Ndjson,
    /// All of them, a line each below a line of names.
    Csv,
    /// JUnit XML for CI, when the evaluation has ended: a suite for each configuration, a test for each case.
    Junit,
    /// A page for people: the configurations' figures, a plot of price against correctness, and cases that were missed.
    Html,
}

/// What `Accept` asks for. A browser takes XML as well as HTML, and means HTML.
fn accepted(request: &Request) -> Format {
    match results::accept(request) {
        accept if accept.contains("ndjson") => Format::Ndjson,
        accept if accept.contains("text/csv") => Format::Csv,
        accept if accept.contains("text/html") => Format::Html,
        accept if accept.contains("/xml") => Format::Junit,
        _ => Format::Json,
    }
}

/// Which cells, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CellsQuery {
    /// `json` unless given, or as `Accept` says.
    format: Option<Format>,
    /// JSON only: at most so many, 1 to 100, 100 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// JSON only: the index after which to begin.
    after: Option<usize>,
}

pub(super) async fn create_evaluation(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let limit_ms = request.query::<WaitQuery>()?.limit_ms()?;
    let test_set_id = request.id("test_set_id")?;
    Box::pin(claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let new = request.json::<CreateEvaluation>()?.into_new(test_set_id)?;
        let planned = evaluation::plan(app, &caller, new).await?;
        let begun = planned.standing();
        let location = format!("/v1/evaluations/{}", begun.evaluation.id.prefixed());
        // What a replay answers is what was true then: that it is accepted.
        let accepted = look_later(response::accepted(&EvaluationView::new(&begun)), &location);
        let evaluation = evaluation::start(app, &caller, planned, claims::answered(claim, &accepted)).await?;
        if limit_ms == 0 {
            return Ok(accepted);
        }
        let standing = wait::until_evaluation_ended(app, &caller, evaluation.id, limit_ms).await?;
        let view = EvaluationView::new(&standing);
        Ok(if view.terminal { response::ok(&view) } else { look_later(response::accepted(&view), &location) })
    }))
    .await
}

pub(super) async fn list_evaluations(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, metadata) = request.query::<ListQuery>()?.page()?;
    let page = evaluation::list(app, &caller, &page, &metadata).await?;
    Ok(response::ok(&PageView::of(page, |standing| EvaluationView::new(&standing))))
}

pub(super) async fn get_evaluation(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let standing = evaluation::get(app, &caller, request.id("evaluation_id")?).await?;
    Ok(response::ok(&EvaluationView::new(&standing)))
}

pub(super) async fn cancel_evaluation(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let standing = evaluation::cancel(app, &caller, request.id("evaluation_id")?).await?;
    let view = EvaluationView::new(&standing);
    Ok(if view.terminal { response::ok(&view) } else { response::accepted(&view) })
}

pub(super) async fn list_evaluation_results(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id: EvaluationId = request.id("evaluation_id")?;
    let CellsQuery { format, limit, after } = request.query()?;
    let limit = results::page_limit(limit)?;
    match format.unwrap_or_else(|| accepted(&request)) {
        Format::Json => page(app, &caller, id, limit, after.map_or(0, |after| after.saturating_add(1))).await,
        Format::Ndjson => evaluation_reports::ndjson(app, caller, id).await,
        Format::Csv => evaluation_reports::csv(app, caller, id).await,
        Format::Junit => evaluation_reports::junit(app, caller, id).await,
        Format::Html => evaluation_reports::html(app, &caller, id).await,
    }
}

async fn page(app: &App, caller: &Caller, id: EvaluationId, limit: usize, from: usize) -> Result<Response> {
    let found = evaluation::cells(app, caller, id, from, limit.saturating_add(1)).await?;
    let mut data: Vec<CellView> = (from..).zip(found).map(|(index, cell)| CellView::new(index, cell)).collect();
    let has_more = data.len() > limit;
    data.truncate(limit);
    let next_after = data.last().map(|last| last.index).filter(|_| has_more);
    Ok(response::ok(&CellsView { data, has_more, next_after }))
}
