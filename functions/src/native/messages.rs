//! A run's messages on the native surface.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{
    App, Result,
    message::{self, Message},
    model::{Role, ToolCall},
};

use super::files::AttachmentView;
use crate::{Request, Response, auth, response};

/// A message of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MessageView {
    id: String,
    run_id: String,
    role: RoleView,
    content: String,
    /// In an answer of a model: which one.
    model: Option<String>,
    /// The files that it came with.
    attachments: Vec<AttachmentView>,
    /// The tools that the model wanted to be called.
    tool_calls: Vec<ToolCallView>,
    /// In a tool's message: the call that it answers.
    tool_call_id: Option<String>,
    /// In a tool's message: the tool's name.
    tool: Option<String>,
    /// In a tool's message: how the call ended: `answered`, `failed`, `refused` (not made: no such tool, or wrong arguments),
    /// `denied`, or `unknown` (it may or may not have taken place).
    outcome: Option<&'static str>,
    created_at: String,
}

/// Who said it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RoleView {
    System,
    User,
    Assistant,
    Tool,
}

/// A tool that a model wanted to be called.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ToolCallView {
    id: String,
    name: String,
    /// The arguments as the model wrote them.
    arguments: String,
}

impl From<ToolCall> for ToolCallView {
    fn from(call: ToolCall) -> Self {
        Self { id: call.id, name: call.name, arguments: call.arguments }
    }
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        let role = match message.role {
            Role::System => RoleView::System,
            Role::User => RoleView::User,
            Role::Assistant => RoleView::Assistant,
            Role::Tool => RoleView::Tool,
        };
        Self {
            id: message.id.prefixed(),
            run_id: message.run_id.prefixed(),
            role,
            content: message.text,
            model: message.model.map(|model| model.to_string()),
            attachments: message.attachments.into_iter().map(AttachmentView::from).collect(),
            tool_calls: message.tool_calls.into_iter().map(ToolCallView::from).collect(),
            tool_call_id: message.result.as_ref().map(|result| result.call_id.clone()),
            outcome: message.result.as_ref().map(|result| result.end.name()),
            tool: message.result.map(|result| result.tool),
            created_at: message.created_at.rfc3339(),
        }
    }
}

/// The messages of a run, in order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MessagesView {
    data: Vec<MessageView>,
}

pub(super) async fn list_run_messages(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let messages = message::list(app, &caller, request.id("run_id")?).await?;
    Ok(response::ok(&MessagesView { data: messages.into_iter().map(MessageView::from).collect() }))
}
