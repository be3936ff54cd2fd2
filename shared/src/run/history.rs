//! What was said in a chat, as events with ids of their own: a tool call is one too, so that something can be said of it.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Chat, Run, chat};
use crate::{
    app::App,
    clock::Timestamp,
    error::Result,
    id::RunId,
    message::{self, Attachment, Message, ToolResult},
    model::{ModelName, Role, ToolCall},
    tenant::{Caller, Scope},
};

/// How many runs of a chat are read at a time.
const RUNS_AT_A_TIME: usize = 8;

/// Something that was said or done in a chat.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatEvent {
    /// The same at every look: that of its message, and for a tool call a point and its place in the answer, from 1, behind that.
    pub id: String,
    /// The run in which it was.
    pub run_id: RunId,
    /// What it was.
    pub kind: ChatEventKind,
    /// When it was written down.
    pub created_at: Timestamp,
}

/// What was said or done.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEventKind {
    /// The caller said this, with these files.
    User(String, Vec<Attachment>),
    /// A model said this.
    Assistant(String, Option<ModelName>),
    /// The model was told this by the run protocol.
    System(String),
    /// A model wanted a tool to be called.
    Call(ToolCall),
    /// This came of a call.
    Result(ToolResult, String),
}

/// The chat, and everything that was said in it over all its runs, in order.
///
/// # Errors
/// [`crate::Error::NotFound`], also for the id of a run that went on with a chat.
pub async fn history(app: &App, caller: &Caller, id: RunId) -> Result<(Chat, Vec<ChatEvent>)> {
    caller.require(Scope::RunsRead)?;
    let chat = chat(app, caller, id).await?;
    let later = app.store().runs(caller.tenant(), &chat.first.continued_by).await?;
    let later = later.into_iter().flatten().map(|found| found.value);
    let runs: Vec<Run> = std::iter::once(chat.first.clone()).chain(later).collect();
    let events: Vec<Vec<ChatEvent>> = stream::iter(runs)
        .map(|run| async move { said(app, caller, &run).await })
        .buffered(RUNS_AT_A_TIME)
        .try_collect()
        .await?;
    Ok((chat, events.into_iter().flatten().collect()))
}

/// What was said in a run.
pub(super) async fn said(app: &App, caller: &Caller, run: &Run) -> Result<Vec<ChatEvent>> {
    Ok(message::of(app, caller, run).await?.into_iter().flat_map(events).collect())
}

/// An answer that only asks for calls is no event besides them.
fn events(message: Message) -> Vec<ChatEvent> {
    let Message { id, run_id, role, text, model, attachments, tool_calls, result, created_at } = message;
    let event = |id: String, kind| ChatEvent { id, run_id, kind, created_at };
    let kind = match (role, result) {
        (Role::Tool, Some(result)) => Some(ChatEventKind::Result(result, text)),
        (Role::Assistant, _) if text.is_empty() && !tool_calls.is_empty() => None,
        (Role::Assistant, _) => Some(ChatEventKind::Assistant(text, model)),
        (Role::User, _) => Some(ChatEventKind::User(text, attachments)),
        (Role::System | Role::Tool, _) => Some(ChatEventKind::System(text)),
    };
    let said = kind.map(|kind| event(id.to_string(), kind));
    let called = tool_calls
        .into_iter()
        .enumerate()
        .map(|(index, call)| event(format!("{id}.{}", index.saturating_add(1)), ChatEventKind::Call(call)));
    said.into_iter().chain(called).collect()
}
