//! Tool calls that wait for a person, on the native surface.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, Scope,
    id::ApprovalId,
    run::{self, Approval, ApprovalAnswer},
    tool::Change,
};

use super::runs::RunView;
use crate::{Request, Response, auth, response};

/// The tool calls of a run about which a person is asked.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ApprovalsView {
    data: Vec<ApprovalView>,
}

/// A tool call about which a person is asked.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ApprovalView {
    id: String,
    tool: String,
    tool_call_id: String,
    /// The arguments as the model wrote them: they satisfy the tool's schema.
    arguments: String,
    /// `approval_required`: it was not sent. `outcome_unknown`: it was sent, nobody knows whether it took place, and approving sends it
    /// again. `tool_changed`: the MCP server's tool is not what it was when the agent was saved; it was not called, and approving calls it
    /// with these arguments, which satisfy the schema of then.
    reason: &'static str,
    /// With `tool_changed`: how the tool differs.
    change: Option<ChangeView>,
    /// When the run ends with `approval_expired` if nobody has said anything.
    expires_at: String,
}

/// How a tool differs from what it was when the agent was saved.
#[derive(Debug, Serialize, JsonSchema)]
struct ChangeView {
    /// The hash that the agent's version has.
    pinned_sha256: String,
    /// The hash of what it is now; `null` when the server has it no more.
    sha256: Option<String>,
    /// The description that it has now, if that changed: at most 2,000 characters of it.
    description: Option<String>,
    /// The schema that it has now, as JSON, if that changed: at most 2,000 characters of it.
    parameters: Option<String>,
}

impl From<Change> for ChangeView {
    fn from(change: Change) -> Self {
        let Change { pinned_sha256, sha256, description, parameters } = change;
        Self { pinned_sha256, sha256, description, parameters }
    }
}

impl From<Approval> for ApprovalView {
    fn from(approval: Approval) -> Self {
        Self {
            id: approval.id.prefixed(),
            tool: approval.call.name,
            tool_call_id: approval.call.id,
            arguments: approval.call.arguments,
            reason: approval.reason.name(),
            change: approval.change.map(ChangeView::from),
            expires_at: approval.expires_at.rfc3339(),
        }
    }
}

/// What a person says of a tool call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decide {
    /// Which call: `id` of `GET /v1/runs/{run_id}/approvals`.
    approval_id: String,
    decision: DecisionView,
    /// What the model is told with it.
    #[schemars(length(max = 2_000))]
    message: Option<String>,
}

/// Whether a tool call may be sent.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum DecisionView {
    /// It is sent.
    Approve,
    /// It is not sent, and the model is told so.
    Deny,
}

pub(super) async fn list_run_approvals(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let asked = run::approvals(app, &caller, request.id("run_id")?).await?;
    Ok(response::ok(&ApprovalsView { data: asked.into_iter().map(ApprovalView::from).collect() }))
}

pub(super) async fn decide_run_approval(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("run_id")?;
    let body: Decide = request.json()?;
    let approval_id = ApprovalId::parse_prefixed(&body.approval_id)
        .map_err(|_| Error::invalid("approval_id", "must be the id of an approval, as in appr_…"))?;
    let approved = matches!(body.decision, DecisionView::Approve);
    let run = run::decide(app, &caller, id, &ApprovalAnswer { approval_id, approved, message: body.message }).await?;
    let result = if caller.may(Scope::RunsRead) { run::output(app, &caller, &run).await? } else { None };
    Ok(response::ok(&RunView::new(app, &run, result)))
}
