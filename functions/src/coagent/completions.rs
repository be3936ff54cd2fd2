//! Completions: a prompt of the caller's own words, answered by a model of its choice. Each is a run like any other.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    App, Caller, Error, Result, Scope, agent,
    error::Problem,
    run::{self, NewRun, Origin, Prompt, Reason, Run, Status},
    timeline,
};

use super::error::{self, in_our_words};
use crate::{Request, Response, auth, claims, model_ref::ModelRef, response, wait};

/// The most bytes of `log_meta`: our own limit.
const META_LIMIT_BYTES: usize = 16_384;

/// What is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompletionBody {
    /// The session in whose log the call is told: the caller's own, 1 to 512 bytes. The answer has it again.
    #[schemars(length(min = 1, max = 512))]
    run_id: Option<String>,
    /// The system prompt; none unless given.
    #[schemars(length(max = 200_000))]
    preamble: Option<String>,
    /// What the model is told.
    #[schemars(length(min = 1))]
    prompt: String,
    /// Which model; the deployment's default model unless given.
    model_ref: Option<ModelRef>,
    /// Told in the log beside each entry of the call, as `log_meta`: at most 16 KiB.
    log_meta: Option<Map<String, Value>>,
}

impl CompletionBody {
    /// What would be wrong here and not in what the core checks.
    fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, field: &str, message: String| {
            if !holds {
                problems.push(Problem { field: field.to_owned(), message });
            }
        };
        let id = self.run_id.as_ref().map_or(1, String::len);
        let most = timeline::ID_LIMIT_BYTES;
        check((1..=most).contains(&id), "run_id", format!("must be 1 to {most} bytes long"));
        let meta = self.log_meta.as_ref().map_or(0, |meta| serde_json::to_string(meta).map_or(0, |meta| meta.len()));
        check(meta <= META_LIMIT_BYTES, "log_meta", format!("must be at most {META_LIMIT_BYTES} bytes long"));
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
    }
}

/// What the model said.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CompletionView {
    response: String,
    token_usage: TokenUsage,
    /// The caller's; the run's own id when none came. `GET /api/v1/logs/{run_id}` tells of the call.
    run_id: String,
}

/// The tokens of every attempt, also of failed ones.
#[derive(Debug, Serialize, JsonSchema)]
struct TokenUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

pub(super) async fn complete(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let again = async |run: &Run| ended(app, &caller, run, request.json::<CompletionBody>()?.run_id).await;
    Box::pin(claims::once_or_run(app, &caller, &request, Scope::RunsWrite, again, async |claim| {
        let body: CompletionBody = request.json()?;
        body.check()?;
        let model = ModelRef::named(app, body.model_ref.as_ref());
        let CompletionBody { run_id, preamble, prompt, log_meta, .. } = body;
        let agent = agent::unnamed(app, &caller, preamble.unwrap_or_default(), model).await.map_err(in_our_words)?;
        let new = NewRun::of(agent.agent_id, Prompt::Message(prompt), Origin::CoAgent);
        let planned = run::plan_on(app, &caller, &agent, new).await.map_err(in_our_words)?;
        // Both before the run is accepted: without it they mean nothing, and it not much without them.
        agent::keep_unnamed(app, &caller, &agent).await?;
        if run_id.is_some() || log_meta.is_some() {
            let run = planned.run();
            let session = run_id.clone().unwrap_or_else(|| run.id.to_string());
            timeline::name_run(app, &caller, &session, run, log_meta).await?;
        }
        let (app, caller) = (app.clone(), caller.clone());
        response::late(request.envelope().clone(), async move {
            let limit_ms = app.config().sync_runs.limit_ms();
            let run = wait::start_and_wait(&app, &caller, planned, claim, limit_ms).await?;
            ended(&app, &caller, &run, run_id).await
        })
        .await
    }))
    .await
}

/// What came of a run: an error that says why when it ended badly, or has not ended.
async fn ended(app: &App, caller: &Caller, run: &Run, run_id: Option<String>) -> Result<Response> {
    let own = run.id.to_string();
    if run.status != Status::Done {
        let status = failing(run);
        return Ok(response::with_json(status, &error::of_run(run, status)));
    }
    let tokens = run.usage.tokens;
    let token_usage = TokenUsage {
        prompt_tokens: tokens.input,
        completion_tokens: tokens.output,
        total_tokens: tokens.input.saturating_add(tokens.output),
    };
    let said = run::output(app, caller, run).await?.unwrap_or_default();
    Ok(response::ok(&CompletionView { response: said, token_usage, run_id: run_id.unwrap_or(own) }))
}

/// Whether it is the provider's failure, ours, or one that somebody decided on.
fn failing(run: &Run) -> StatusCode {
    let decided = matches!(run.reason, Some(Reason::BudgetExceeded | Reason::UnknownPrice | Reason::Cancelled));
    if decided || !run.status.terminal() {
        StatusCode::CONFLICT
    } else if matches!(run.reason, Some(Reason::WorkerCrashLoop | Reason::HopLimit)) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::BAD_GATEWAY
    }
}
