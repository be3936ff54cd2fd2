//! Running an agent: waiting for the end or not, where a run stands, what came of it, ending it.

use bytes::Bytes;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use shared::{
    App, Caller, Error, Result, Scope,
    agent::Inputs,
    id::{AgentId, RunId},
    run::{self, NewRun, Origin, Prompt, Run, Status},
};

use super::{
    attachments::{self, AttachmentBody},
    error::ErrorBody,
    fields::named_in_run,
    result::ResultView,
};
use crate::{Request, Response, auth, claims, response, wait};

/// What an agent is run with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunBody {
    /// The inputs that the agent declares, or any if it declares none: the model reads them as JSON. `null` is no inputs.
    #[serde(deserialize_with = "object_or_null")]
    #[schemars(with = "Option<Inputs>", required)]
    inputs: Inputs,
    /// At most 16 files that the model is shown; `null` is none.
    #[schemars(length(max = 16))]
    attachments: Option<Vec<AttachmentBody>>,
}

/// `null` is an empty object; a field that is left out is not.
fn object_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Inputs, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl RunBody {
    fn into_new(self, agent_id: AgentId) -> Result<NewRun> {
        let attachments = attachments::attachments(self.attachments.unwrap_or_default())?;
        Ok(NewRun { attachments, ..NewRun::of(agent_id, Prompt::Inputs(self.inputs), Origin::Cotool) })
    }
}

/// A run that goes on.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartedView {
    run_id: String,
}

/// Where a run stands. A run that waits for a worker is `running` here.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusView {
    Running,
    Waiting,
    Done,
    Error,
    Interrupted,
}

impl From<Status> for StatusView {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued | Status::Running => Self::Running,
            Status::Waiting => Self::Waiting,
            Status::Done => Self::Done,
            Status::Error => Self::Error,
            Status::Interrupted => Self::Interrupted,
        }
    }
}

/// Where a run stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunStatusView {
    status: StatusView,
    /// Why, when there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<String>,
}

/// Where a run stands, in the older form.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OlderStatusView {
    /// Whether it has not ended.
    is_streaming: bool,
    /// What went wrong with a run that ended badly.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Which chat shall end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct InterruptBody {
    /// The chat, or a run: a run is a chat of its own.
    chat_id: String,
    /// Its agent; another one's chat is not found.
    agent_id: Option<String>,
}

pub(super) async fn run_sync(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    let again = async |run: &Run| ended(app, &caller, run).await;
    claims::once_or_run(app, &caller, &request, Scope::RunsWrite, again, async |claim| {
        let new = request.json::<RunBody>()?.into_new(agent_id)?;
        let planned = run::plan(app, &caller, new).await.map_err(named_in_run)?;
        let (app, caller) = (app.clone(), caller.clone());
        response::late(request.envelope().clone(), async move {
            let limit_ms = app.config().sync_runs.limit_ms();
            let run = Box::pin(wait::start_and_wait(&app, &caller, planned, claim, limit_ms)).await?;
            ended(&app, &caller, &run).await
        })
        .await
    })
    .await
}

pub(super) async fn run_async(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    Box::pin(claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let new = request.json::<RunBody>()?.into_new(agent_id)?;
        let planned = run::plan(app, &caller, new).await.map_err(named_in_run)?;
        let response = response::ok(&StartedView { run_id: planned.run().id.to_string() });
        run::start(app, planned, claims::answered(claim, &response)).await?;
        Ok(response)
    }))
    .await
}

/// What came of a run: 409 as long as it goes on, 500 when it ended badly.
async fn ended(app: &App, caller: &Caller, run: &Run) -> Result<Response> {
    if run.status == Status::Done {
        return Ok(response::ok(&ResultView::of(app, caller, run).await?));
    }
    if !run.status.terminal() {
        let stands = if run.status == Status::Waiting { "waiting" } else { "running" };
        return Err(Error::Conflict(format!("run {} has not ended yet; it is {stands}", run.id)));
    }
    let message = said(run).unwrap_or_else(|| run.status.name().to_owned());
    let body = ErrorBody::message(format!("run {} ended badly: {message}", run.id));
    Ok(response::with_json(StatusCode::INTERNAL_SERVER_ERROR, &body))
}

/// Why a run stands where it stands, if there is something to say.
fn said(run: &Run) -> Option<String> {
    run.error.clone().or_else(|| run.reason.map(|reason| reason.name().to_owned()))
}

/// The run in the path, of the agent in the path.
async fn found(app: &App, caller: &Caller, request: &Request) -> Result<Run> {
    caller.require(Scope::RunsRead)?;
    let agent_id = request.id::<AgentId>("agent_id").map_err(|_| Error::NotFound("run"))?;
    let run = run::get(app, caller, request.id("run_id")?).await?;
    if run.agent_id == agent_id { Ok(run) } else { Err(Error::NotFound("run")) }
}

pub(super) async fn get_run_status(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let run = found(app, &caller, &request).await?;
    Ok(response::ok(&RunStatusView { status: run.status.into(), status_message: said(&run) }))
}

pub(super) async fn get_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let run = found(app, &caller, &request).await?;
    let error = (run.status == Status::Error).then(|| said(&run).unwrap_or_else(|| "error".to_owned()));
    Ok(response::ok(&OlderStatusView { is_streaming: !run.status.terminal(), error }))
}

pub(super) async fn get_run_result(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let run = found(app, &caller, &request).await?;
    ended(app, &caller, &run).await
}

pub(super) async fn interrupt_chat(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsWrite)?;
    let InterruptBody { chat_id, agent_id } = request.json()?;
    let unknown = |_| Error::NotFound("chat");
    let chat: RunId = chat_id.parse().map_err(unknown)?;
    let agent: Option<AgentId> = agent_id.map(|id| id.parse().map_err(unknown)).transpose()?;
    run::cancel_chat(app, &caller, chat, agent).await?;
    Ok(response::with_bytes(StatusCode::OK, Bytes::new()))
}
