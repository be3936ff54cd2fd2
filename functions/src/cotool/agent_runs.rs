//! Lists of runs, and what people think of a run.

use bytes::Bytes;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, Scope,
    id::AgentId,
    run::{self, Criterion, Direction, Evaluation, Label, Matches, NewFeedback, Order, Run, Search, Slice, SortBy},
};

use super::{
    query::{SourceView, each, moments, scores},
    runs::StatusView,
    trigger_names,
};
use crate::{Request, Response, auth, camel, response};

/// How many runs a page has unless asked otherwise, and the most.
const PAGE_SIZE: usize = 50;
const PAGE_SIZE_LIMIT: usize = 100;

/// Parameters that may be given several times.
const LISTS: [&str; 4] = ["agentIdFilter", "toolFilter", "triggerSourceFilter", "scoreFilters"];

/// Which runs. Where several values are taken, they are given with commas between them or by giving the parameter again, and runs of any
/// of them are shown: our own choice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RunsQuery {
    /// From 0, which it is unless given.
    #[serde(default)]
    page: usize,
    /// 1 to 100, 50 unless given.
    #[schemars(range(min = 1, max = 100))]
    page_size: Option<usize>,
    /// `createdAt` unless given. Runs with the same value are in the order of their ids; those without a score come last, whichever way.
    #[serde(default)]
    sort_field: SortFieldView,
    /// `desc` unless given.
    #[serde(default)]
    sort_direction: DirectionView,
    /// Those of these agents.
    agent_id_filter: Option<String>,
    /// Those whose agent's name, as it was at their start, has this in it, in upper or lower case.
    agent_name_filter: Option<String>,
    /// Those in which one of the tools of these names was called.
    tool_filter: Option<String>,
    /// Those that were made at this moment or later: a time as in RFC 3339, or a day (UTC).
    date_from: Option<String>,
    /// Those that were made at this moment or earlier: a time as in RFC 3339, or a day (UTC), to its end.
    date_to: Option<String>,
    /// Those that these started: `api` (this surface), `native`, `cotera`, `coagent` (the others), `agent` (a run, as a sub-agent).
    trigger_source_filter: Option<String>,
    /// Those with these scores: `none`, a score from 0 to 1, or two with `-` between them and both among them, as in `none,0-0.5`.
    score_filters: Option<String>,
}

/// What runs are sorted by.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum SortFieldView {
    #[default]
    CreatedAt,
    UpdatedAt,
    AgentName,
    ModelAlias,
    EvalScore,
}

impl From<SortFieldView> for SortBy {
    fn from(view: SortFieldView) -> Self {
        match view {
            SortFieldView::CreatedAt => Self::CreatedAt,
            SortFieldView::UpdatedAt => Self::UpdatedAt,
            SortFieldView::AgentName => Self::AgentName,
            SortFieldView::ModelAlias => Self::Model,
            SortFieldView::EvalScore => Self::Score,
        }
    }
}

/// Which way runs are sorted.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum DirectionView {
    Asc,
    #[default]
    Desc,
}

impl From<DirectionView> for Direction {
    fn from(view: DirectionView) -> Self {
        match view {
            DirectionView::Asc => Self::Ascending,
            DirectionView::Desc => Self::Descending,
        }
    }
}

impl RunsQuery {
    fn parse(self) -> Result<(Search, Order, Slice)> {
        let Self { page, page_size, sort_field, sort_direction, date_from, date_to, agent_name_filter, .. } = &self;
        let page_size = page_size.unwrap_or(PAGE_SIZE);
        if !(1..=PAGE_SIZE_LIMIT).contains(&page_size) {
            return Err(Error::invalid("pageSize", format!("must be from 1 to {PAGE_SIZE_LIMIT}")));
        }
        let agent = |id: &str| id.parse::<AgentId>().map_err(|_| "must be the UUID of an agent".to_owned());
        let (from, to) = moments(date_from.as_deref(), date_to.as_deref())?;
        let search = Search {
            agents: each("agentIdFilter", self.agent_id_filter.as_deref(), agent)?,
            sources: each("triggerSourceFilter", self.trigger_source_filter.as_deref(), SourceView::named)?,
            from,
            to,
            begins_chat: false,
            agent_name: agent_name_filter.as_deref().map(named).transpose()?,
            tools: each("toolFilter", self.tool_filter.as_deref(), |name| Ok(name.to_owned()))?,
            scores: each("scoreFilters", self.score_filters.as_deref(), scores)?,
        };
        let order = Order { by: (*sort_field).into(), direction: (*sort_direction).into() };
        Ok((search, order, Slice { skip: page.saturating_mul(page_size), take: page_size }))
    }
}

/// A part of a name: as the values of other filters, not an empty one.
fn named(part: &str) -> Result<String> {
    if part.trim().is_empty() {
        return Err(Error::invalid("agentNameFilter", "must not be empty"));
    }
    Ok(part.to_owned())
}

/// A page of runs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunsView {
    runs: Vec<RunView>,
    /// How many runs there are in all that fit.
    total_count: usize,
}

/// A run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RunView {
    id: String,
    agent_id: String,
    /// The agent's name at the start of the run.
    agent_name: String,
    /// The chat that it belongs to: the id of its first run, which it may be itself. Our own addition.
    chat_id: String,
    /// The beginning of the message.
    run_title: String,
    created_at: String,
    updated_at: String,
    /// The model that it calls first.
    model_alias: String,
    /// The names of the tools that were called, each once.
    tool_names: Vec<String>,
    /// How many calls there were, also refused ones.
    total_tool_count: u32,
    /// Whether it ended badly.
    has_error: bool,
    /// Whether it has not ended.
    is_streaming: bool,
    status: StatusView,
    /// What started it: see `triggerSourceFilter`.
    trigger_source: SourceView,
    /// The name of the trigger that has started it, if one has that is still there.
    trigger_name: Option<String>,
    /// The part of the agent's acceptance criteria that are met, 0 to 1; `null` when it was not graded, or could not be.
    eval_score: Option<f64>,
    eval_explanation: Option<String>,
    acceptance_criteria_results: Vec<CriterionView>,
}

/// Whether an acceptance criterion is met.
#[derive(Debug, Serialize, JsonSchema)]
struct CriterionView {
    criterion: String,
    met: bool,
    explanation: String,
}

impl From<Criterion> for CriterionView {
    fn from(Criterion { criterion, met, explanation }: Criterion) -> Self {
        Self { criterion, met, explanation }
    }
}

impl RunView {
    fn of(run: Run, trigger_name: Option<String>) -> Self {
        let (score, explanation, results) = match run.evaluation.clone() {
            Some(Evaluation { score, explanation, results }) => (score, Some(explanation), results),
            None => (None, None, Vec::new()),
        };
        Self {
            id: run.id.to_string(),
            agent_id: run.agent_id.to_string(),
            chat_id: run.chat_id.to_string(),
            created_at: run.created_at.rfc3339(),
            updated_at: run.updated_at.rfc3339(),
            model_alias: run.model.to_string(),
            has_error: run.status == run::Status::Error,
            is_streaming: !run.status.terminal(),
            status: run.status.into(),
            trigger_source: run.source().into(),
            trigger_name,
            eval_score: score,
            eval_explanation: explanation,
            acceptance_criteria_results: results.into_iter().map(Into::into).collect(),
            total_tool_count: run.called.calls,
            tool_names: run.called.names.into_iter().collect(),
            agent_name: run.agent_name,
            run_title: run.title,
        }
    }
}

pub(super) async fn list_agent_runs(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsRead)?;
    let (search, order, slice) = request.query_with_lists::<RunsQuery>(&LISTS)?.parse()?;
    let Matches { runs, total } = run::search(app, &caller, &search, order, slice).await.map_err(camel::fields)?;
    let names = trigger_names::names(app, &caller, &runs).await?;
    let view = |run: Run| {
        let name = trigger_names::named(&run, &names);
        RunView::of(run, name)
    };
    Ok(response::ok(&RunsView { runs: runs.into_iter().map(view).collect(), total_count: total }))
}

/// Whether it was good.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LabelView {
    Up,
    Down,
}

impl From<LabelView> for Label {
    fn from(view: LabelView) -> Self {
        match view {
            LabelView::Up => Self::Up,
            LabelView::Down => Self::Down,
        }
    }
}

impl From<Label> for LabelView {
    fn from(label: Label) -> Self {
        match label {
            Label::Up => Self::Up,
            Label::Down => Self::Down,
        }
    }
}

/// What is thought of a run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FeedbackBody {
    label: LabelView,
    /// The run's agent; another one's run is not found.
    agent_id: Option<String>,
    /// The event of the run, as `chat/history` names it; the run as a whole unless given.
    chat_event_id: Option<String>,
    /// At most 1,000 characters.
    #[schemars(length(max = 1_000))]
    comment: Option<String>,
}

pub(super) async fn give_feedback(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsWrite)?;
    let id = request.id("run_id")?;
    let FeedbackBody { label, agent_id, chat_event_id, comment } = request.json()?;
    let agent_id = agent_id.map(|id| id.parse().map_err(|_| Error::NotFound("run"))).transpose()?;
    let new = NewFeedback { label: label.into(), agent_id, event_id: chat_event_id, comment };
    run::give_feedback(app, &caller, id, new).await?;
    Ok(response::with_bytes(StatusCode::OK, Bytes::new()))
}
