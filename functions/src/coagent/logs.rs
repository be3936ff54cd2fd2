//! Logs: what clients write down about their sessions, and what runs tell of themselves beside it.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::Error as ValueError},
};
use serde_json::{Map, Value};
use shared::{
    App, Error, Result, Scope,
    aside::aside,
    clock::Timestamp,
    error::Problem,
    limit,
    timeline::{self, Entry, Span, Summary},
};

use super::{
    filter,
    part::{self, ANSWER_LIMIT_BYTES},
};
use crate::{Request, Response, auth, response};

/// What can happen in a session: the vendor's words.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EventType {
    SessionStart,
    SessionEnd,
    UserInput,
    ComponentEnter,
    ComponentExit,
    Routing,
    ConsensusSuccess,
    ConsensusFailure,
    ToolCall,
    ToolResponse,
    Error,
    Recovery,
    PerformanceDegradation,
    HumanOversight,
    TestResult,
    LlmCall,
    LlmResponse,
}

/// An entry of a log, or a list of 1 to 1,000. The vendor's older shape, with `log_type`, `run_id` and `timestamp`, is accepted too.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it documents the body, which is kept as it comes")]
pub(super) enum LogBody {
    One(LogEntry),
    Several(Vec<LogEntry>),
}

/// An entry of a log. Fields that are not named here are kept too.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it documents the body, which is kept as it comes")]
pub(super) struct LogEntry {
    version: String,
    /// 1 to 512 bytes.
    session_id: String,
    #[schemars(range(min = 0))]
    prompt_number: u64,
    #[schemars(range(min = 0))]
    turn_number: u64,
    event_id: String,
    event_type: EventType,
    /// Milliseconds since 1970.
    #[schemars(range(min = 0))]
    timestamp: u64,
}

/// Whether it was recorded.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecordedView {
    success: bool,
    message: String,
}

/// Which part of a session's entries: our own addition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// None with a lesser timestamp, in milliseconds since 1970. What is asked for must be at most 16 MiB in the store,
    /// and of the completions that name the session at most 200.
    #[schemars(range(min = 0))]
    from: Option<u64>,
    /// None with a greater timestamp.
    #[schemars(range(min = 0))]
    to: Option<u64>,
    /// At most so many; all unless given.
    #[schemars(range(min = 1))]
    limit: Option<usize>,
    /// Without so many at the beginning.
    #[serde(default)]
    offset: usize,
}

/// What of a session's entries.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterQuery {
    /// As of `logs`: our own addition.
    #[schemars(range(min = 0))]
    from: Option<u64>,
    /// As of `logs`: our own addition.
    #[schemars(range(min = 0))]
    to: Option<u64>,
    /// `all`, `log_type_llm_call`, `log_type_start`, `log_type_end` or `lmmcall_tokens`; or a JMESPath expression over the list of entries,
    /// at most 500 bytes long.
    pre: String,
}

/// How the sessions are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionsQuery {
    /// `1`: each with its number of entries and its times; otherwise ids alone.
    #[schemars(range(min = 0, max = 1))]
    summarize: Option<u8>,
    /// At most so many of the newest: 1 to 1,000, with `summarize` 1 to 100, and the most unless given. Our own addition.
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
    /// Without so many of the newest: with `limit` at most 1,000. Our own addition.
    #[schemars(range(min = 0, max = 999))]
    #[serde(default)]
    offset: usize,
}

/// A session, added up.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SummaryView {
    /// The session's id.
    run_id: String,
    log_count: u64,
    /// Milliseconds since 1970.
    start_timestamp: i64,
    /// Milliseconds since 1970.
    end_timestamp: i64,
}

impl From<Summary> for SummaryView {
    fn from(session: Summary) -> Self {
        Self {
            run_id: session.id,
            log_count: session.entries,
            start_timestamp: session.first_at.millis(),
            end_timestamp: session.last_at.millis(),
        }
    }
}

pub(super) async fn record_logs(app: &App, request: Request) -> Result<Response> {
    let recorded = async {
        let caller = auth::within(app, &request, limit::LOGS).await?;
        caller.require(Scope::RunsWrite)?;
        let entries = read(request.json_value()?)?;
        let count = entries.len();
        timeline::record(app, &caller, entries).await?;
        Ok(count)
    };
    match recorded.await {
        Ok(count) => Ok(response::ok(&RecordedView { success: true, message: format!("{count} recorded") })),
        // Here alone the vendor's surface has another body for a bad one.
        Err(error @ Error::Invalid(_)) => {
            let body = RecordedView { success: false, message: error.to_string() };
            Ok(response::with_json(StatusCode::BAD_REQUEST, &body))
        }
        Err(error) => Err(error),
    }
}

/// The entries, each with its session; everything that is wrong is named.
fn read(body: Value) -> Result<Vec<(String, Entry)>> {
    let (values, several) = match body {
        Value::Array(values) => (values, true),
        one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            (vec![one], false)
        }
    };
    if values.is_empty() {
        return Err(Error::invalid("", "there must be at least one entry"));
    }
    let (mut entries, mut problems) = (Vec::with_capacity(values.len()), Vec::new());
    for (index, value) in values.into_iter().enumerate() {
        let place = if several { format!("[{index}]") } else { String::new() };
        match entry(value) {
            Ok(entry) => entries.push(entry),
            Err((field, message)) => {
                let dot = if place.is_empty() || field.is_empty() { "" } else { "." };
                problems.push(Problem { field: format!("{place}{dot}{field}"), message });
            }
        }
    }
    if problems.is_empty() { Ok(entries) } else { Err(Error::Invalid(problems)) }
}

/// An entry with its session, or the first field that is wrong and why.
fn entry(value: Value) -> Result<(String, Entry), (&'static str, String)> {
    let Value::Object(body) = value else { return Err(("", "must be an object".to_owned())) };
    let older = body.contains_key("log_type");
    let session = text(&body, if older { "run_id" } else { "session_id" })?;
    if older {
        text(&body, "log_type")?;
    } else {
        for name in ["version", "event_id"] {
            text(&body, name)?;
        }
        for name in ["prompt_number", "turn_number"] {
            if body.get(name).and_then(Value::as_u64).is_none() {
                return Err((name, wrong(&body, name, "must be a whole number of 0 or more")));
            }
        }
        let kind = text(&body, "event_type")?;
        if let Err(error) = EventType::deserialize(kind.as_str().into_deserializer()) {
            return Err(("event_type", unknown(&error)));
        }
    }
    let at = moment(&body, older)?;
    Ok((session, Entry { at, body }))
}

fn text(body: &Map<String, Value>, name: &'static str) -> Result<String, (&'static str, String)> {
    match body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()) {
        Some(text) => Ok(text.to_owned()),
        None => Err((name, wrong(body, name, "must be a string that is not empty"))),
    }
}

/// Which words would do.
fn unknown(error: &ValueError) -> String {
    let said = error.to_string();
    said.split_once(", expected ").map_or_else(|| said.clone(), |(_, known)| format!("must be {known}"))
}

fn wrong(body: &Map<String, Value>, name: &str, expected: &str) -> String {
    if body.contains_key(name) { expected.to_owned() } else { "is required".to_owned() }
}

/// When it happened: the older shape may say it in words.
fn moment(body: &Map<String, Value>, older: bool) -> Result<Timestamp, (&'static str, String)> {
    const NAME: &str = "timestamp";
    /// The end of the year 9999.
    const LAST_MS: i64 = 253_402_300_799_999;
    let said = body.get(NAME);
    let millis = said.and_then(Value::as_i64).filter(|millis| (0..=LAST_MS).contains(millis));
    let words = said.and_then(Value::as_str).filter(|_| older).and_then(Timestamp::parse_rfc3339);
    let found = millis.map(Timestamp::from_millis).or(words);
    found.ok_or_else(|| (NAME, wrong(body, NAME, "must be milliseconds since 1970, at most up to the year 9999")))
}

fn span(from: Option<u64>, to: Option<u64>) -> Span {
    let moment = |millis: u64| Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    Span { from: from.map(moment), to: to.map(moment) }
}

pub(super) async fn get_logs(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let LogsQuery { from, to, limit, offset } = request.query()?;
    let limit = part::limit(limit)?;
    let entries = timeline::entries(app, &caller, request.parameter("session_id")?, span(from, to));
    let entries = Box::pin(entries).await?;
    let wanted: Vec<Map<String, Value>> = entries.into_iter().skip(offset).take(limit).collect();
    part::answer(&wanted, "entries")
}

pub(super) async fn filter_logs(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let FilterQuery { from, to, pre } = request.query()?;
    let entries = timeline::entries(app, &caller, request.parameter("session_id")?, span(from, to));
    let entries = Box::pin(entries).await?;
    let entries = Value::from(entries.into_iter().map(Value::Object).collect::<Vec<_>>());
    let found = aside(move || filter::filtered(pre, entries, ANSWER_LIMIT_BYTES)).await??;
    Ok(response::with_bytes(StatusCode::OK, found.into()))
}

pub(super) async fn list_sessions(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let SessionsQuery { summarize, limit, offset } = request.query()?;
    let summarized = match summarize {
        None | Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(Error::invalid("summarize", "must be 0 or 1")),
    };
    let most = if summarized { 100 } else { timeline::SESSIONS_LIMIT };
    let limit = limit.unwrap_or(most);
    if !(1..=most).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {most}")));
    }
    if offset.saturating_add(limit) > timeline::SESSIONS_LIMIT && offset > 0 {
        return Err(Error::invalid("offset", format!("must be, with limit, at most {}", timeline::SESSIONS_LIMIT)));
    }
    if summarized {
        let sessions = timeline::summaries(app, &caller, offset, limit).await?;
        return Ok(response::ok(&sessions.into_iter().map(SummaryView::from).collect::<Vec<_>>()));
    }
    Ok(response::ok(&timeline::sessions(app, &caller, offset, limit).await?))
}
