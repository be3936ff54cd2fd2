//! Chats: calling an agent, and looking at what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Caller, Error, Result, Scope,
    batch::{self, Item, NewBatch, Shared},
    id::{AgentId, RunId},
    message::{self, Message},
    model::Role,
    run::{self, Chat, Filter, NewRun, Origin, ParentIs, Prompt, Run, Status},
};

use super::views::{ModeView, StatusView, UsageView, error};
use crate::{Request, Response, auth, camel, claims, decode, response, wait};

/// The most prompts of a batch: the vendor's documented number.
const BATCH_LIMIT: usize = 50;
/// How many chats a page has unless asked otherwise.
const PER_PAGE: usize = 20;
/// How many messages a list has at most.
const MESSAGES_LIMIT: usize = 1_000;

/// A prompt for an agent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChatBody {
    /// What the agent is told.
    #[serde(deserialize_with = "decode::not_blank")]
    #[schemars(length(min = 1))]
    message: String,
    /// Whether tool calls run by themselves: `auto` unless given.
    mode: Option<ModeView>,
    /// The chat to go on with.
    chat_id: Option<String>,
}

/// One prompt of a batch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BatchItem {
    /// What the agent is told.
    #[serde(deserialize_with = "decode::not_blank")]
    #[schemars(length(min = 1))]
    message: String,
    /// Whether tool calls run by themselves: `auto` unless given.
    mode: Option<ModeView>,
}

/// What came of a prompt.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatView {
    success: bool,
    /// The chat's id.
    id: String,
    /// The same.
    chat_id: String,
    /// `running`, or another that has not ended, when the run outlasts the call.
    status: StatusView,
    /// What the agent said; `null` as long as it has not ended well.
    result: Option<String>,
    /// What went wrong with a run that ended badly.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    usage: UsageView,
}

/// The chats that a batch has started, in the order of the request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchView {
    success: bool,
    batch_id: String,
    result: Vec<StartedView>,
}

/// A chat that was started.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct StartedView {
    id: String,
    chat_id: String,
    status: StatusView,
}

/// Where a chat stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusAnswer {
    success: bool,
    id: String,
    status: StatusView,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    usage: UsageView,
}

/// Which messages of a chat.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MessagesQuery {
    /// At most so many, 1 to 1,000; all, up to 1,000, unless given.
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
    /// Only those after the message of this id.
    after: Option<String>,
}

/// The messages of a chat, in order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MessagesView {
    success: bool,
    result: Vec<MessageView>,
}

/// A message.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageView {
    id: String,
    /// `user`, `assistant`, `tool` or `system`.
    role: &'static str,
    content: String,
    /// The tools that the model wanted to be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallView>,
    /// In a tool's message: the call that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    created_at: String,
}

/// A tool that a model wanted to be called.
#[derive(Debug, Serialize, JsonSchema)]
struct ToolCallView {
    id: String,
    name: String,
    /// The arguments as the model wrote them.
    arguments: String,
}

/// Which chats.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChatsQuery {
    /// From 0, which it is unless given.
    #[serde(default)]
    page: usize,
    /// 1 to 100, 20 unless given.
    #[schemars(range(min = 1, max = 100))]
    per_page: Option<usize>,
    /// Those with this agent.
    agent_id: Option<String>,
    /// Those that stand so.
    status: Option<String>,
}

/// A page of chats, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatsView {
    success: bool,
    result: Vec<ChatEntry>,
    /// The next page's number, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<usize>,
}

/// A chat in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ChatEntry {
    id: String,
    agent_id: String,
    status: StatusView,
    /// The beginning of the first message.
    title: String,
    created_at: String,
    updated_at: String,
}

pub(super) async fn chat(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    let ended = async |run: &Run| answer(app, &caller, run).await;
    claims::once_or_run(app, &caller, &request, Scope::RunsWrite, ended, async |claim| {
        let ChatBody { message, mode, chat_id } = request.json()?;
        let chat_id = chat_id
            .map(|id| id.parse::<RunId>().map_err(|_| Error::invalid("chatId", "must be the UUID of a chat")))
            .transpose()?;
        let mode = mode.map(Into::into);
        let new = NewRun { mode, chat_id, ..NewRun::of(agent_id, Prompt::Message(message), Origin::Cotera) };
        let planned = run::plan(app, &caller, new).await.map_err(camel::fields)?;
        let (app, caller) = (app.clone(), caller.clone());
        response::late(request.envelope().clone(), async move {
            let limit_ms = app.config().sync_runs.limit_ms();
            let run = Box::pin(wait::start_and_wait(&app, &caller, planned, claim, limit_ms)).await?;
            answer(&app, &caller, &run).await
        })
        .await
    })
    .await
}

async fn answer(app: &App, caller: &Caller, run: &Run) -> Result<Response> {
    Ok(response::ok(&ChatView {
        success: true,
        id: run.chat_id.to_string(),
        chat_id: run.chat_id.to_string(),
        status: run.status.into(),
        result: run::output(app, caller, run).await?,
        error: error(run),
        usage: UsageView::from(&run.usage),
    }))
}

pub(super) async fn chat_batch(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let items = request.json_array::<BatchItem>()?.into_iter();
        let items = items.map(|BatchItem { message, mode }| Item {
            custom_id: None,
            prompt: Prompt::Message(message),
            mode: mode.map(Into::into),
            attachments: Vec::new(),
        });
        let planned = batch::plan(app, &caller, new_batch(agent_id, items.collect())).await.map_err(camel::fields)?;
        let started =
            |id: RunId| StartedView { id: id.to_string(), chat_id: id.to_string(), status: StatusView::Queued };
        let batch = planned.batch();
        let result = batch.run_ids().into_iter().map(started).collect();
        let response = response::ok(&BatchView { success: true, batch_id: batch.id.to_string(), result });
        batch::start(app, planned, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

fn new_batch(agent_id: AgentId, items: Vec<Item>) -> NewBatch {
    NewBatch {
        agent_id,
        version: None,
        model: None,
        items,
        limit: BATCH_LIMIT,
        items_field: "",
        origin: Origin::Cotera,
        deadline_at: None,
        metadata: std::collections::BTreeMap::new(),
        webhook_url: None,
        shared: Shared::default(),
        reduction: None,
    }
}

/// The chat in the path: one that is no id is answered as an unknown one.
fn chat_id(request: &Request) -> Result<RunId> {
    request.id("chat_id").map_err(|_| Error::NotFound("chat"))
}

pub(super) async fn get_chat_status(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let Chat { first, last, .. } = run::chat(app, &caller, chat_id(&request)?).await?;
    Ok(response::ok(&StatusAnswer {
        success: true,
        id: first.id.to_string(),
        status: last.status.into(),
        error: error(&last),
        usage: UsageView::from(&last.usage),
    }))
}

pub(super) async fn list_chat_messages(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = chat_id(&request)?;
    let MessagesQuery { limit, after } = request.query()?;
    let limit = limit.unwrap_or(MESSAGES_LIMIT);
    if !(1..=MESSAGES_LIMIT).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {MESSAGES_LIMIT}")));
    }
    let mut messages = message::list_chat(app, &caller, id).await?;
    if let Some(after) = after {
        let at = messages.iter().position(|message| message.id.to_string() == after);
        let at = at.ok_or_else(|| Error::invalid("after", "is not the id of a message of this chat"))?;
        messages.drain(..=at);
    }
    messages.truncate(limit);
    Ok(response::ok(&MessagesView { success: true, result: messages.into_iter().map(view).collect() }))
}

fn view(message: Message) -> MessageView {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let call = |call: shared::model::ToolCall| ToolCallView { id: call.id, name: call.name, arguments: call.arguments };
    MessageView {
        id: message.id.to_string(),
        role,
        content: message.text,
        tool_calls: message.tool_calls.into_iter().map(call).collect(),
        tool_call_id: message.result.map(|result| result.call_id),
        created_at: message.created_at.rfc3339(),
    }
}

pub(super) async fn list_chats(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let ChatsQuery { page, per_page, agent_id, status } = request.query()?;
    let per_page = per_page.unwrap_or(PER_PAGE);
    if !(1..=100).contains(&per_page) {
        return Err(Error::invalid("perPage", "must be from 1 to 100"));
    }
    let agent_id = agent_id
        .map(|id| id.parse::<AgentId>().map_err(|_| Error::invalid("agentId", "must be the UUID of an agent")))
        .transpose()?;
    let known = || Status::ALL.map(Status::name).join(", ");
    let status = status
        .map(|name| Status::named(&name).ok_or_else(|| Error::invalid("status", format!("must be one of {}", known()))))
        .transpose()?;
    let filter = Filter { agent_id, status, first_of_chat: true, parent: Some(ParentIs::Nobody), ..Filter::default() };
    let (chats, more) = run::list_pages(app, &caller, &filter, page, per_page).await?;
    let mut result = Vec::with_capacity(chats.len());
    for first in chats {
        result.push(entry(app, &caller, first).await?);
    }
    Ok(response::ok(&ChatsView { success: true, result, next_page: more.then(|| page.saturating_add(1)) }))
}

/// The chat stands where its last run stands.
async fn entry(app: &App, caller: &Caller, first: Run) -> Result<ChatEntry> {
    let last = if first.continued_by.is_empty() { first.clone() } else { run::chat(app, caller, first.id).await?.last };
    Ok(ChatEntry {
        id: first.id.to_string(),
        agent_id: first.agent_id.to_string(),
        status: last.status.into(),
        title: first.title,
        created_at: first.created_at.rfc3339(),
        updated_at: last.updated_at.max(first.updated_at).rfc3339(),
    })
}
