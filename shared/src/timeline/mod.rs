//! Timelines: what a client wrote down about a session, entry by entry as it came, and what a chat's runs tell of themselves, in order of
//! time. What runs tell is read from their journals and stored nowhere a second time.

mod of_run;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::RunId,
    page,
    run::{self, Chat, Filter, Run},
    store::chunk,
    tenant::{Caller, Scope, Tenant},
};

/// The most entries that are recorded at once.
pub const ENTRIES_LIMIT: usize = 1_000;
/// The most bytes of entries that one reading takes from the store.
pub const READ_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// The most sessions of a list, with those that are passed over.
pub const SESSIONS_LIMIT: usize = 1_000;
/// The most runs that a session names and one reading is told of.
pub const RUNS_LIMIT: usize = 200;
/// How long entries are kept, in days from when they came: 13 months, as usage is.
pub const KEPT_DAYS: i64 = 400;
/// The longest id of a session, in bytes.
pub const ID_LIMIT_BYTES: usize = 512;

/// How many sessions are written, or read, at a time.
const SESSIONS_AT_A_TIME: usize = 8;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An entry: whatever the client wrote down, with the session and the time that it named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it happened, as the client says.
    pub at: Timestamp,
    /// The whole entry, as it came.
    pub body: Map<String, Value>,
}

/// Entries of a session that came together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    entries: Vec<Entry>,
}

/// What a row of entries holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Chunk {
    pub(crate) fn extent(&self) -> Extent {
        let moments = || self.entries.iter().map(|entry| entry.at);
        let never = Timestamp::from_millis(0);
        Extent {
            first_at: moments().min().unwrap_or(never),
            last_at: moments().max().unwrap_or(never),
            entries: u64::try_from(self.entries.len()).unwrap_or(u64::MAX),
            bytes: self.entries.iter().map(|entry| u64::try_from(length(entry)).unwrap_or(u64::MAX)).sum(),
        }
    }
}

fn length(entry: &Entry) -> usize {
    serde_json::to_string(&entry.body).map_or(0, |body| body.len())
}

/// A session that a client wrote about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The client's own id.
    pub(crate) id: String,
    /// When its first entry came.
    pub(crate) created_at: Timestamp,
}

/// A run of a session's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionRun {
    pub(crate) id: RunId,
    /// What its caller said of it for the log.
    #[serde(default)]
    pub(crate) meta: Option<Map<String, Value>>,
}

/// A session, or a chat, added up with what its runs tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// How many entries it has.
    pub entries: u64,
    /// The least time of an entry.
    pub first_at: Timestamp,
    /// The greatest.
    pub last_at: Timestamp,
}

/// Which entries of a session, by their times: from the one to the other, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// None before this.
    pub from: Option<Timestamp>,
    /// None after this.
    pub to: Option<Timestamp>,
}

impl Span {
    fn meets(self, first: Timestamp, last: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= last) && self.to.is_none_or(|to| first <= to)
    }
}

/// Records entries, each with its session. The same entries of a session again, in the same call, are recorded once.
///
/// # Errors
/// [`Error::Invalid`] for more than [`ENTRIES_LIMIT`] entries or a session's id of the wrong length. After [`Error::Unavailable`] some may
/// be recorded: the same call again does the rest.
pub async fn record(app: &App, caller: &Caller, entries: Vec<(String, Entry)>) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    if entries.len() > ENTRIES_LIMIT {
        return Err(Error::invalid("", format!("must be at most {ENTRIES_LIMIT} entries")));
    }
    let mut sessions = BTreeMap::<String, Vec<Entry>>::new();
    for (index, (session, entry)) in entries.into_iter().enumerate() {
        if !(1..=ID_LIMIT_BYTES).contains(&session.len()) {
            let message = format!("must be 1 to {ID_LIMIT_BYTES} bytes long");
            return Err(Error::invalid(format!("[{index}].session_id"), message));
        }
        sessions.entry(session).or_default().push(entry);
    }
    let tenant = caller.tenant();
    stream::iter(sessions)
        .map(|(id, entries)| record_in(app, tenant, id, entries))
        .buffer_unordered(SESSIONS_AT_A_TIME)
        .try_collect()
        .await
}

async fn record_in(app: &App, tenant: Tenant, id: String, entries: Vec<Entry>) -> Result<()> {
    let now = app.now();
    let expires_at = now.plus_ms(KEPT_DAYS.saturating_mul(DAY_MS));
    for entries in chunk::parts(entries, length) {
        app.store().save_chunk(tenant, &id, &Chunk { entries }, now, expires_at).await?;
    }
    Ok(())
}

/// Writes down that a run, which is about to be accepted, is one of this session's: what it tells is told there. A run that is not
/// accepted afterwards tells nothing.
///
/// # Errors
/// As the store says.
pub async fn name_run(
    app: &App,
    caller: &Caller,
    session: &str,
    run: &Run,
    meta: Option<Map<String, Value>>,
) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    // Not now: what a run tells begins when it was planned, and is looked for from that moment on.
    let begun = run.created_at;
    let expires_at = begun.plus_ms(KEPT_DAYS.saturating_mul(DAY_MS));
    let run = SessionRun { id: run.id, meta };
    Ok(app.store().save_session_run(caller.tenant(), session, &run, begun, expires_at).await?)
}

/// The entries of a session in order of time: what its client wrote down, what the runs that it names tell, and what the runs of the chat
/// of that id tell. Empty for one that is not there.
///
/// # Errors
/// [`Error::Invalid`] for `from` when there are more than [`READ_LIMIT_BYTES`], or what more than [`RUNS_LIMIT`] runs tell, in that span.
pub async fn entries(app: &App, caller: &Caller, id: &str, span: Span) -> Result<Vec<Map<String, Value>>> {
    caller.require(Scope::RunsRead)?;
    let extents = app.store().chunk_extents(caller.tenant(), id).await?;
    let (mut sorts, mut bytes) = (Vec::new(), 0_u64);
    for (sort, extent) in extents.into_iter().filter(|(_, extent)| span.meets(extent.first_at, extent.last_at)) {
        bytes = bytes.saturating_add(extent.bytes);
        if bytes > READ_LIMIT_BYTES {
            let message =
                format!("the entries are more than {READ_LIMIT_BYTES} bytes: ask for a shorter time, with from and to");
            return Err(Error::invalid("from", message));
        }
        sorts.push(sort);
    }
    let chunks = app.store().chunks(caller.tenant(), id, &sorts).await?;
    let mut all: Vec<Entry> = chunks.into_iter().flat_map(|chunk| chunk.entries).collect();
    let runs: Vec<_> =
        numbered_runs(app, caller.tenant(), id).await?.into_iter().filter(|run| run.meets(span)).collect();
    if runs.len() > RUNS_LIMIT {
        let message = format!("there are more than {RUNS_LIMIT} runs: ask for a shorter time, with from and to");
        return Err(Error::invalid("from", message));
    }
    all.extend(Box::pin(told(app, caller, id, runs)).await?);
    all.retain(|entry| span.meets(entry.at, entry.at));
    // What has the same time stays in the order in which it is stored.
    all.sort_by_key(|entry| entry.at);
    Ok(all.into_iter().map(|entry| entry.body).collect())
}

/// The key of a run of a session's.
struct NumberedRun {
    /// From 1, in the order in which they were started.
    number: usize,
    sort: String,
    started_at: Timestamp,
}

impl NumberedRun {
    /// Whether it may tell something of that span: it ends a day after its start at the latest.
    fn meets(&self, span: Span) -> bool {
        span.meets(self.started_at, self.started_at.plus_ms(run::DEADLINE_MS.saturating_mul(2)))
    }
}

async fn numbered_runs(app: &App, tenant: Tenant, session: &str) -> Result<Vec<NumberedRun>> {
    let keys = app.store().session_run_keys(tenant, session).await?;
    let numbered =
        |(index, (sort, started_at)): (usize, _)| NumberedRun { number: index.saturating_add(1), sort, started_at };
    Ok(keys.into_iter().enumerate().map(numbered).collect())
}

/// What these runs of a session tell, and the runs of the chat of its id.
async fn told(app: &App, caller: &Caller, session: &str, runs: Vec<NumberedRun>) -> Result<Vec<Entry>> {
    let tenant = caller.tenant();
    let sorts: Vec<String> = runs.iter().map(|run| run.sort.clone()).collect();
    let named = app.store().session_runs(tenant, session, &sorts).await?;
    let named: Vec<_> = runs.iter().zip(named).filter_map(|(place, run)| Some((place.number, run?))).collect();
    let mut all = match chat_of(app, caller, session).await? {
        // It is a session's that has its id: it tells the same there.
        Some(chat) if named.iter().any(|(_, run)| run.id == chat.first.id) => Vec::new(),
        Some(chat) => of_run::chat(app, tenant, &chat).await?,
        None => Vec::new(),
    };
    let told: Vec<Vec<Entry>> = stream::iter(named)
        .map(|(number, run)| of_run::one(app, tenant, session, number, run))
        .buffered(SESSIONS_AT_A_TIME)
        .try_collect()
        .await?;
    all.extend(told.into_iter().flatten());
    Ok(all)
}

/// The chat that a session's id names, if it names one.
async fn chat_of(app: &App, caller: &Caller, id: &str) -> Result<Option<Chat>> {
    let Some(id) = id.parse::<RunId>().ok().or_else(|| RunId::parse_prefixed(id).ok()) else { return Ok(None) };
    match run::chat(app, caller, id).await {
        Ok(chat) => Ok(Some(chat)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The ids of sessions, chats among them, the newest first: `most` of them, after `passed`.
///
/// # Errors
/// As the store says.
pub async fn sessions(app: &App, caller: &Caller, passed: usize, most: usize) -> Result<Vec<String>> {
    Ok(newest(app, caller, passed, most).await?.into_iter().map(|found| found.id).collect())
}

/// The same, each added up with what its runs tell; of a session that names more than [`RUNS_LIMIT`], the newest of them.
///
/// # Errors
/// As the store says.
pub async fn summaries(app: &App, caller: &Caller, passed: usize, most: usize) -> Result<Vec<Summary>> {
    let found = newest(app, caller, passed, most).await?;
    stream::iter(found).map(|found| summary(app, caller, found)).buffered(SESSIONS_AT_A_TIME).try_collect().await
}

async fn newest(app: &App, caller: &Caller, passed: usize, most: usize) -> Result<Vec<Session>> {
    caller.require(Scope::RunsRead)?;
    let all = passed.saturating_add(most);
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let (mut page, next) = app.store().listed_sessions(caller.tenant(), before.take()).await?;
        found.append(&mut page);
        match next {
            Some(next) if found.len() < all => before = Some(next),
            _ => break,
        }
    }
    let written: BTreeSet<String> = found.iter().map(|session| session.id.clone()).collect();
    let filter = Filter { first_of_chat: true, ..Filter::default() };
    for number in 0..all.div_ceil(page::LIMIT) {
        let (runs, more) = run::list_pages(app, caller, &filter, number, page::LIMIT).await?;
        let chats = runs.into_iter().map(|run| Session { id: run.id.to_string(), created_at: run.created_at });
        found.extend(chats.filter(|chat| !written.contains(&chat.id)));
        if !more {
            break;
        }
    }
    found.sort_by(|one, other| other.created_at.cmp(&one.created_at).then_with(|| other.id.cmp(&one.id)));
    Ok(found.into_iter().skip(passed).take(most).collect())
}

async fn summary(app: &App, caller: &Caller, Session { id, created_at }: Session) -> Result<Summary> {
    let mut runs = numbered_runs(app, caller.tenant(), &id).await?;
    let last = runs.split_off(runs.len().saturating_sub(RUNS_LIMIT));
    let told = Box::pin(told(app, caller, &id, last)).await?;
    let written = app.store().chunk_extents(caller.tenant(), &id).await?.into_iter().map(|(_, extent)| extent);
    let told = told.iter().map(|entry| Extent { first_at: entry.at, last_at: entry.at, entries: 1, bytes: 0 });
    let whole = written.chain(told).reduce(|all, more| Extent {
        first_at: all.first_at.min(more.first_at),
        last_at: all.last_at.max(more.last_at),
        entries: all.entries.saturating_add(more.entries),
        bytes: 0,
    });
    let none = Extent { first_at: created_at, last_at: created_at, entries: 0, bytes: 0 };
    let Extent { first_at, last_at, entries, .. } = whole.unwrap_or(none);
    Ok(Summary { id, entries, first_at, last_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64, length: usize) -> Entry {
        let body = [("x".to_owned(), Value::from("x".repeat(length)))].into_iter().collect();
        Entry { at: Timestamp::from_millis(at), body }
    }

    #[test]
    fn entries_go_into_rows_that_can_hold_them() {
        let lengths =
            |entries: Vec<Entry>| -> Vec<usize> { chunk::parts(entries, length).iter().map(Vec::len).collect() };
        assert_eq!(lengths((0..250).map(|at| entry(at, 1)).collect()), [100, 100, 50]);
        assert_eq!(lengths((0..5).map(|at| entry(at, 90_000)).collect()), [2, 2, 1]);
        assert_eq!(lengths(vec![entry(0, 1), entry(1, 900_000), entry(2, 1)]), [1, 1, 1]);
    }
}
