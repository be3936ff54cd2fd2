//! A run's events on the native surface: as JSON in pages, and as server-sent events that a client can resume.
//!
//! The numbers and what they tell of come from the core; here they only get their words.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, Scope,
    clock::Timestamp,
    message::ToolEnd,
    run::{self, Event, Happened, OpenCall, Run, Seen, Watch},
};

use super::{
    approvals::ApprovalView,
    messages::{MessageView, ToolCallView},
    runs::CreateRun,
    sent,
    views::UsageView,
};
use crate::{Body, Envelope, Request, Response, auth, claims, response, wait};

/// The content type of server-sent events.
const EVENT_STREAM: &str = "text/event-stream";
/// Says the number of the last event that a client has seen.
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// The most events of a page, and how many it has unless asked otherwise.
const PAGE_LIMIT: u32 = 500;
const PAGE: u32 = 100;
/// What a stream begins with: how long a client waits before it comes back, in milliseconds.
const RETRY: Bytes = Bytes::from_static(b"retry: 1000\n\n");
/// What keeps a stream alive on which nothing happens.
const ALIVE: Bytes = Bytes::from_static(b": waiting\n\n");

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// At most so many events of a page: 1 to 500, 100 unless given. A stream has all.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// The number of the last event that you have seen: those after it are told. In a stream, the header `Last-Event-ID` goes before it. A
    /// number that was never told is refused.
    after: Option<u32>,
}

/// A page of a run's events.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventsView {
    /// The events, in order.
    data: Vec<EventView>,
    /// Whether more are there already.
    has_more: bool,
    /// Goes into `after` to read on, now or when more has happened.
    next_after: u32,
}

/// An event of a run. The same number tells of the same for ever.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventView {
    /// Its number: from 1, without gaps; the `id` of the server-sent event.
    seq: u32,
    run_id: String,
    /// When it happened.
    at: String,
    #[serde(flatten)]
    happened: HappenedView,
}

/// What happened.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type")]
enum HappenedView {
    /// The run was accepted.
    #[serde(rename = "run.created")]
    Created { agent_id: String, agent_version: u32, model: String, chat_id: String, batch_id: Option<String> },
    /// A worker took it for the first time.
    #[serde(rename = "run.started")]
    Started {},
    /// The model has said a piece of its answer: only in runs that were started as a stream. A greater `attempt` for the same message
    /// begins it anew; `message.completed` has the whole.
    #[serde(rename = "message.delta")]
    Delta { message_id: String, attempt: u32, delta: String },
    /// The model has answered; or, with the role `system`, it is told what is wrong with its answer.
    #[serde(rename = "message.completed")]
    Said { message: MessageView },
    /// A tool call is sent, for the how many-th time.
    #[serde(rename = "tool_call.started")]
    Sent { tool_call: ToolCallView, attempt: u32 },
    /// A tool has answered.
    #[serde(rename = "tool_call.completed")]
    Completed { message: MessageView, attempts: u32 },
    /// A tool call ended otherwise: `message.outcome` says how.
    #[serde(rename = "tool_call.failed")]
    Failed { message: MessageView, attempts: u32 },
    /// A person is asked about a tool call.
    #[serde(rename = "approval.required")]
    Asked { approval: ApprovalView },
    /// What the run has used by now.
    #[serde(rename = "usage.updated")]
    Used { usage: UsageView, cost_micro_usd: Option<u64> },
    /// It ended well.
    #[serde(rename = "run.done")]
    Done(EndView),
    /// It ended badly.
    #[serde(rename = "run.error")]
    Error(EndView),
    /// It was cancelled.
    #[serde(rename = "run.interrupted")]
    Interrupted(EndView),
}

/// How a run ended.
#[derive(Debug, Serialize, JsonSchema)]
struct EndView {
    reason: Option<&'static str>,
    /// What went wrong, for people.
    error: Option<String>,
    /// What the agent said at its end.
    result: Option<String>,
    /// The tool calls that had not ended: no other event tells of their end.
    open_tool_calls: Vec<OpenCallView>,
    usage: UsageView,
    cost_micro_usd: Option<u64>,
}

/// A tool call that had not ended when its run did.
#[derive(Debug, Serialize, JsonSchema)]
struct OpenCallView {
    tool_call: ToolCallView,
    /// `sent` (it may have taken place or not), `ready` or `awaits_approval`.
    state: &'static str,
    /// How often it was sent.
    attempts: u32,
}

impl From<OpenCall> for OpenCallView {
    fn from(OpenCall { call, state, attempts }: OpenCall) -> Self {
        Self { tool_call: call.into(), state: sent::state(state), attempts }
    }
}

impl HappenedView {
    fn of(run: &Run, happened: Happened) -> Self {
        match happened {
            Happened::Created => Self::Created {
                agent_id: run.agent_id.prefixed(),
                agent_version: run.agent_version,
                model: run.model.to_string(),
                chat_id: run.chat_id.prefixed(),
                batch_id: run.batch.as_ref().map(|batch| batch.id.prefixed()),
            },
            Happened::Started => Self::Started {},
            Happened::Delta { message_id, attempt, text } => {
                Self::Delta { message_id: message_id.prefixed(), attempt, delta: text }
            }
            Happened::Said(message) => Self::Said { message: message.into() },
            Happened::Sent { call, attempt } => Self::Sent { tool_call: call.into(), attempt },
            Happened::Returned { message, attempts } => {
                let answered = message.result.as_ref().is_some_and(|result| result.end == ToolEnd::Answered);
                let message = message.into();
                if answered { Self::Completed { message, attempts } } else { Self::Failed { message, attempts } }
            }
            Happened::Asked(approval) => Self::Asked { approval: approval.into() },
            Happened::Used(usage) => {
                Self::Used { usage: UsageView::from(&usage), cost_micro_usd: usage.cost_micro_usd() }
            }
            Happened::Ended { result, open } => Self::ended(run, result, open),
        }
    }

    fn ended(run: &Run, result: Option<String>, open: Vec<OpenCall>) -> Self {
        let end = EndView {
            reason: run.reason.map(run::Reason::name),
            error: run.error.clone(),
            result,
            open_tool_calls: open.into_iter().map(OpenCallView::from).collect(),
            usage: UsageView::from(&run.usage),
            cost_micro_usd: run.usage.cost_micro_usd(),
        };
        match run.status {
            run::Status::Done => Self::Done(end),
            run::Status::Interrupted => Self::Interrupted(end),
            run::Status::Error | run::Status::Queued | run::Status::Running | run::Status::Waiting => Self::Error(end),
        }
    }

    /// Its word, which is also its `type` in the body.
    const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "run.created",
            Self::Started {} => "run.started",
            Self::Delta { .. } => "message.delta",
            Self::Said { .. } => "message.completed",
            Self::Sent { .. } => "tool_call.started",
            Self::Completed { .. } => "tool_call.completed",
            Self::Failed { .. } => "tool_call.failed",
            Self::Asked { .. } => "approval.required",
            Self::Used { .. } => "usage.updated",
            Self::Done(_) => "run.done",
            Self::Error(_) => "run.error",
            Self::Interrupted(_) => "run.interrupted",
        }
    }
}

impl EventView {
    fn new(run: &Run, event: Event) -> Self {
        let Event { seq, at, happened } = event;
        Self { seq, run_id: run.id.prefixed(), at: at.rfc3339(), happened: HappenedView::of(run, happened) }
    }

    /// As a server-sent event. JSON has no line break outside of its strings, and none unescaped within.
    fn write(&self, text: &mut Vec<u8>) {
        let Ok(data) = serde_json::to_string(self) else {
            tracing::error!(seq = self.seq, "an event cannot be written as JSON");
            return;
        };
        let event = StreamedEvent { id: self.seq.to_string(), event: self.happened.name(), data };
        event.write(text);
    }
}

/// An event of a stream, as clients of server-sent events are given it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StreamedEvent {
    /// Its number: what `Last-Event-ID` may say.
    id: String,
    /// Its type.
    event: &'static str,
    /// The event as JSON, as in a page of events.
    data: String,
}

impl StreamedEvent {
    fn write(&self, text: &mut Vec<u8>) {
        let Self { id, event, data } = self;
        text.extend_from_slice(format!("id: {id}\nevent: {event}\ndata: {data}\n\n").as_bytes());
    }
}

pub(super) async fn list_run_events(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.id("run_id")?;
    let query: EventsQuery = request.query()?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_LIMIT).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {PAGE_LIMIT}")));
    }
    let seen = last_seen(&request)?;
    if accepts_stream(&request) {
        let run = run::get(app, &caller, id).await?;
        let after = match seen {
            Some(seen) => told(&run, LAST_EVENT_ID, seen)?,
            None => told(&run, "after", query.after.unwrap_or(0))?,
        };
        return Ok(streamed(app, request.envelope(), &run, after));
    }
    let after = query.after.unwrap_or(0);
    let (run, events) = run::events(app, &caller, id, after, limit).await?;
    told(&run, "after", after)?;
    let next_after = events.last().map_or(after, |event| event.seq);
    let has_more = next_after < run.events();
    let data = events.into_iter().map(|event| EventView::new(&run, event)).collect();
    Ok(response::ok(&EventsView { data, has_more, next_after }))
}

pub(super) async fn stream_run(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let agent_id = request.id("agent_id")?;
    let seen = last_seen(&request)?.unwrap_or(0);
    let again = async |run: Run| {
        let after = told(&run, LAST_EVENT_ID, seen)?;
        Ok(located(streamed(app, request.envelope(), &run, after), &run))
    };
    claims::once_or_again(app, &caller, &request, Scope::RunsWrite, again, async |claim| {
        let body: CreateRun = request.json()?;
        let planned = run::plan(app, &caller, body.into_new(agent_id)?).await?.streamed();
        let run = wait::start_beside(app, planned, claim).await?;
        Ok(located(streamed(app, request.envelope(), &run, 0), &run))
    })
    .await
}

/// Says where the run is, for who comes back.
fn located(mut response: Response, run: &Run) -> Response {
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/runs/{}", run.id.prefixed())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Whether the caller asks for server-sent events.
fn accepts_stream(request: &Request) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains(EVENT_STREAM))
}

/// The number of the last event that the caller has seen, if it says so.
fn last_seen(request: &Request) -> Result<Option<u32>> {
    let mut given = request.headers().get_all(LAST_EVENT_ID).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let number = value.to_str().ok().filter(|_| given.next().is_none()).map(str::trim);
    if number == Some("") {
        return Ok(None);
    }
    let number = number.and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| Error::invalid(LAST_EVENT_ID, "must be the number of an event, as in 12"))
}

/// The number, if an event of the run has it, or it is 0: who waits for what comes after another would miss all that comes before.
fn told(run: &Run, field: &'static str, number: u32) -> Result<u32> {
    let last = run.events();
    if number <= last {
        return Ok(number);
    }
    Err(Error::invalid(field, format!("must be the number of an event that was told: the last one is {last}")))
}

/// The run's events after that number, until the last one or until this process is about to be stopped. A client that has seen the
/// last one is told not to come back.
fn streamed(app: &App, envelope: &Envelope, run: &Run, after: u32) -> Response {
    if run.status.terminal() && after >= run.events() {
        return response::no_content();
    }
    let begin = Streaming {
        watch: Watch::new(app, run, after),
        app: app.clone(),
        envelope: envelope.clone(),
        until: wait::stopped_at(app),
        began: false,
    };
    let pieces = stream::unfold(begin, |mut streaming| async move {
        match streaming.next().await {
            Some(piece) => Some((piece, streaming)),
            None => {
                streaming.envelope.leave().await;
                None
            }
        }
    });
    let mut response = Response::new(Body::Stream(Box::pin(pieces)));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A stream of events that is being written.
struct Streaming {
    watch: Watch,
    app: App,
    envelope: Envelope,
    /// When it ends whether the run has ended or not.
    until: Option<Timestamp>,
    began: bool,
}

impl Streaming {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.began, true) {
            return Some(RETRY);
        }
        let left_ms = self.until.map_or(u64::MAX, |until| until.since_ms(self.app.now()));
        if left_ms == 0 {
            return None;
        }
        match self.watch.next(response::BEAT.min(Duration::from_millis(left_ms))).await {
            Ok(Seen::News(run, events)) => {
                let mut text = Vec::new();
                events.into_iter().for_each(|event| EventView::new(&run, event).write(&mut text));
                Some(text.into())
            }
            Ok(Seen::Nothing) => Some(ALIVE),
            Ok(Seen::Ended) => None,
            Err(error) => {
                tracing::warn!(%error, "a stream of events ends early; its client resumes it");
                None
            }
        }
    }
}
