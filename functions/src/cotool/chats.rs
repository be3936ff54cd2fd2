//! Chats: lists of them, what was said in one, what people think of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, Scope,
    error::Problem,
    id::RunId,
    run::{self, Chat, Feedback, Search, Slice},
};

use super::{
    agent_runs::LabelView,
    events::EventView,
    query::{SourceView, moments},
    runs::StatusView,
};
use crate::{Request, Response, auth, camel, response};

/// How many chats of an agent are shown unless asked otherwise, and the most.
const LIMIT: usize = 50;
const LIMIT_MOST: usize = 100;

/// Which chats.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChatsQuery {
    /// At most so many: 1 to 100.
    #[schemars(range(min = 1, max = 100), required)]
    limit: Option<usize>,
    /// How many are passed over.
    #[schemars(required)]
    offset: Option<usize>,
    /// Those that began at this moment or later: a time as in RFC 3339, or a day (UTC). Our own addition.
    date_from: Option<String>,
    /// Those that began at this moment or earlier: a time as in RFC 3339, or a day (UTC), to its end. Our own addition.
    date_to: Option<String>,
}

/// Which chats of an agent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AgentChatsQuery {
    /// At most so many: 1 to 100, 50 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// How many are passed over: 0 unless given.
    offset: Option<usize>,
    /// Those that began at this moment or later: a time as in RFC 3339, or a day (UTC). Our own addition.
    date_from: Option<String>,
    /// Those that began at this moment or earlier: a time as in RFC 3339, or a day (UTC), to its end. Our own addition.
    date_to: Option<String>,
}

impl ChatsQuery {
    /// With both numbers, or an error that names what is missing.
    fn complete(self) -> Result<AgentChatsQuery> {
        let Self { limit, offset, date_from, date_to } = self;
        let missing = [("limit", limit), ("offset", offset)].into_iter().filter(|(_, given)| given.is_none());
        let problem = |(field, _): (&str, _)| Problem { field: field.to_owned(), message: "is required".to_owned() };
        let problems: Vec<Problem> = missing.map(problem).collect();
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        Ok(AgentChatsQuery { limit, offset, date_from, date_to })
    }
}

impl AgentChatsQuery {
    fn parse(self) -> Result<(Search, Slice)> {
        let take = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MOST).contains(&take) {
            return Err(Error::invalid("limit", format!("must be from 1 to {LIMIT_MOST}")));
        }
        let (from, to) = moments(self.date_from.as_deref(), self.date_to.as_deref())?;
        Ok((Search { from, to, ..Search::default() }, Slice { skip: self.offset.unwrap_or(0), take }))
    }
}

/// Which chat.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChatQuery {
    /// Its id: that of its first run.
    chat_id: String,
}

impl ChatQuery {
    /// One that is no id is answered as an unknown one.
    fn id(&self) -> Result<RunId> {
        self.chat_id.parse().map_err(|_| Error::NotFound("chat"))
    }
}

/// Some chats, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatsView {
    chats: Vec<ChatView>,
    /// How many there are in all.
    total_count: usize,
}

/// A chat: the first run of it, and those that went on with it. Which fields it has is our own choice.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ChatView {
    /// That of its first run.
    id: String,
    agent_id: String,
    /// The agent's name when it began.
    agent_name: String,
    /// The beginning of the first message.
    title: String,
    created_at: String,
    updated_at: String,
    /// Where its last run stands.
    status: StatusView,
    /// Whether its last run has not ended.
    is_streaming: bool,
    /// What started it: see `triggerSourceFilter` of `agent-runs`.
    trigger_source: SourceView,
    /// How many runs it has.
    run_count: usize,
}

impl From<&Chat> for ChatView {
    fn from(Chat { first, last, .. }: &Chat) -> Self {
        Self {
            id: first.id.to_string(),
            agent_id: first.agent_id.to_string(),
            agent_name: first.agent_name.clone(),
            title: first.title.clone(),
            created_at: first.created_at.rfc3339(),
            updated_at: last.updated_at.max(first.updated_at).rfc3339(),
            status: last.status.into(),
            is_streaming: !last.status.terminal(),
            trigger_source: first.source().into(),
            run_count: first.continued_by.len().saturating_add(1),
        }
    }
}

/// What was said in a chat.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HistoryView {
    /// Everything, over all its runs, in order.
    events: Vec<EventView>,
    chat: ChatView,
}

/// What people think of a chat.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaView {
    chat_id: String,
    title: String,
    /// What was thought last of each event, by its id, and of runs as a whole, by theirs: our own choice.
    feedback_by_event: BTreeMap<String, FeedbackView>,
}

/// What was thought last of an event or a run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FeedbackView {
    label: LabelView,
    comment: Option<String>,
    run_id: String,
    created_at: String,
}

pub(super) async fn list_chats(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsRead)?;
    let (search, slice) = request.query::<ChatsQuery>()?.complete()?.parse()?;
    answer(run::chats(app, &caller, search, slice).await)
}

pub(super) async fn list_agent_chats(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsRead)?;
    let id = request.id("agent_id")?;
    let (search, slice) = request.query::<AgentChatsQuery>()?.parse()?;
    answer(run::agent_chats(app, &caller, id, search, slice).await)
}

fn answer(found: Result<(Vec<Chat>, usize)>) -> Result<Response> {
    let (chats, total_count) = found.map_err(camel::fields)?;
    Ok(response::ok(&ChatsView { chats: chats.iter().map(Into::into).collect(), total_count }))
}

pub(super) async fn get_chat_history(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsRead)?;
    let id = request.query::<ChatQuery>()?.id()?;
    let (chat, events) = run::history(app, &caller, id).await?;
    let events = events.into_iter().map(Into::into).collect();
    Ok(response::ok(&HistoryView { events, chat: ChatView::from(&chat) }))
}

pub(super) async fn get_chat_meta(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    caller.require(Scope::RunsRead)?;
    let id = request.query::<ChatQuery>()?.id()?;
    let chat = run::chat(app, &caller, id).await?;
    let feedback = run::feedback(app, &caller, &chat).await?;
    Ok(response::ok(&MetaView {
        chat_id: chat.first.id.to_string(),
        title: chat.first.title,
        feedback_by_event: feedback.into_iter().map(by_event).collect(),
    }))
}

fn by_event(feedback: Feedback) -> (String, FeedbackView) {
    let Feedback { run_id, event_id, label, comment, at, .. } = feedback;
    let run_id = run_id.to_string();
    let of = event_id.unwrap_or_else(|| run_id.clone());
    (of, FeedbackView { label: label.into(), comment, run_id, created_at: at.rfc3339() })
}
