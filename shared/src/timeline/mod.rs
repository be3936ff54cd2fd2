//! Timelines: what a client wrote down about a session, entry by entry as it came, and what a chat's runs tell of themselves, in order of
//! time. What runs tell is read from their journals and stored nowhere a second time.

mod of_run;

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::RunId,
    page, random,
    run::{self, Chat, Filter},
    store,
    tenant::{Caller, Scope, Tenant},
};

/// The most entries that are recorded at once.
pub const ENTRIES_LIMIT: usize = 1_000;
/// The most entries that a session keeps.
pub const SESSION_LIMIT: u64 = 100_000;
/// The most sessions of a list.
pub const SESSIONS_LIMIT: usize = 1_000;
/// How long entries are kept, in days from when they came: 13 months, as usage is.
pub const KEPT_DAYS: i64 = 400;
/// The longest id of a session, in bytes.
pub const ID_LIMIT_BYTES: usize = 512;

/// How much goes into one row: more than that is the next row's, but for one entry that is larger.
const CHUNK_ENTRIES: usize = 100;
const CHUNK_BYTES: usize = 200_000;
/// How many sessions are written at a time, and how often one that others write too is tried.
const SESSIONS_AT_A_TIME: usize = 8;
const TRIES: u32 = 60;
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

impl Chunk {
    pub(crate) fn first_at(&self) -> Timestamp {
        self.entries.iter().map(|entry| entry.at).min().unwrap_or(Timestamp::from_millis(0))
    }

    fn last_at(&self) -> Timestamp {
        self.entries.iter().map(|entry| entry.at).max().unwrap_or(Timestamp::from_millis(0))
    }
}

/// A session: what its client wrote down, added up; or a chat, which has that of its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id: the client's own, or a chat's.
    pub id: String,
    /// How many entries it has.
    pub entries: u64,
    /// The least time of an entry.
    pub first_at: Timestamp,
    /// The greatest.
    pub last_at: Timestamp,
    /// When its first entry came.
    pub created_at: Timestamp,
}

/// Records entries, each with its session. The same entries of a session again, in the same call, are recorded once.
///
/// # Errors
/// [`Error::Invalid`] for more than [`ENTRIES_LIMIT`] entries or a session's id of the wrong length; [`Error::Conflict`] for a session
/// that would have more than [`SESSION_LIMIT`]. After [`Error::Unavailable`] some may be recorded: the same call again does the rest.
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
    for chunk in chunks(entries) {
        record_chunk(app, tenant, &id, &chunk).await?;
    }
    Ok(())
}

/// The entries in parts that a row can hold: the same entries, the same parts.
fn chunks(entries: Vec<Entry>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let (mut now, mut bytes) = (Vec::new(), 0_usize);
    for entry in entries {
        let length = serde_json::to_string(&entry.body).map_or(0, |body| body.len());
        if now.len() >= CHUNK_ENTRIES || (!now.is_empty() && bytes.saturating_add(length) > CHUNK_BYTES) {
            chunks.push(Chunk { entries: std::mem::take(&mut now) });
            bytes = 0;
        }
        bytes = bytes.saturating_add(length);
        now.push(entry);
    }
    chunks.push(Chunk { entries: now });
    chunks
}

async fn record_chunk(app: &App, tenant: Tenant, id: &str, chunk: &Chunk) -> Result<()> {
    let more = u64::try_from(chunk.entries.len()).unwrap_or(u64::MAX);
    for attempt in 1..=TRIES {
        let now = app.now();
        let found = app.store().session(tenant, id).await?;
        let (before, seen) = found.map_or((None, None), |found| (Some(found.value), Some(found.rev)));
        let entries = before.as_ref().map_or(0, |session| session.entries).saturating_add(more);
        if entries > SESSION_LIMIT {
            let message = format!("session {id} would have more than {SESSION_LIMIT} entries: begin another");
            return Err(Error::Conflict(message));
        }
        let session = Session {
            id: id.to_owned(),
            entries,
            first_at: before.as_ref().map_or(chunk.first_at(), |session| session.first_at.min(chunk.first_at())),
            last_at: before.as_ref().map_or(chunk.last_at(), |session| session.last_at.max(chunk.last_at())),
            created_at: before.as_ref().map_or(now, |session| session.created_at),
        };
        let expires_at = now.plus_ms(KEPT_DAYS.saturating_mul(DAY_MS));
        match app.store().save_chunk(tenant, chunk, &session, seen, expires_at).await {
            Ok(_) => return Ok(()),
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("others write this session all the time".into()))
}

/// Everything of a session in order of time: what its client wrote down, and what the runs of the chat of that id tell. Empty for one that
/// is not there.
///
/// # Errors
/// As the store says.
pub async fn entries(app: &App, caller: &Caller, id: &str) -> Result<Vec<Map<String, Value>>> {
    caller.require(Scope::RunsRead)?;
    let chunks = app.store().chunks(caller.tenant(), id).await?;
    let mut all: Vec<Entry> = chunks.into_iter().flat_map(|chunk| chunk.entries).collect();
    if let Some(chat) = chat_of(app, caller, id).await? {
        all.extend(of_run::chat(app, caller.tenant(), &chat).await?);
    }
    // What has the same time stays in the order in which it is stored.
    all.sort_by_key(|entry| entry.at);
    Ok(all.into_iter().map(|entry| entry.body).collect())
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

/// The ids of the newest sessions, chats among them, the newest first.
///
/// # Errors
/// As the store says.
pub async fn sessions(app: &App, caller: &Caller, most: usize) -> Result<Vec<String>> {
    Ok(newest(app, caller, most).await?.into_iter().map(|found| found.id).collect())
}

/// The newest sessions, the newest first, each added up with what its runs tell.
///
/// # Errors
/// As the store says.
pub async fn summaries(app: &App, caller: &Caller, most: usize) -> Result<Vec<Session>> {
    let found = newest(app, caller, most).await?;
    stream::iter(found).map(|found| summary(app, caller, found)).buffered(SESSIONS_AT_A_TIME).try_collect().await
}

/// A session as it is listed: of a chat that nobody wrote about, only its id and time are known.
struct Listed {
    id: String,
    created_at: Timestamp,
    written: Option<Session>,
}

async fn newest(app: &App, caller: &Caller, most: usize) -> Result<Vec<Listed>> {
    caller.require(Scope::RunsRead)?;
    let tenant = caller.tenant();
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let (page, next) = app.store().listed_sessions(tenant, before.take()).await?;
        found.extend(page.into_iter().map(|session| Listed {
            id: session.id.clone(),
            created_at: session.created_at,
            written: Some(session),
        }));
        match next {
            Some(next) if found.len() < most => before = Some(next),
            _ => break,
        }
    }
    let written: std::collections::BTreeSet<String> = found.iter().map(|session| session.id.clone()).collect();
    let filter = Filter { first_of_chat: true, ..Filter::default() };
    for number in 0..most.div_ceil(page::LIMIT) {
        let (runs, more) = run::list_pages(app, caller, &filter, number, page::LIMIT).await?;
        let chats = runs.into_iter().filter(|run| !written.contains(&run.id.to_string()));
        found.extend(chats.map(|run| Listed { id: run.id.to_string(), created_at: run.created_at, written: None }));
        if !more {
            break;
        }
    }
    found.sort_by(|one, other| other.created_at.cmp(&one.created_at).then_with(|| other.id.cmp(&one.id)));
    found.truncate(most);
    Ok(found)
}

async fn summary(app: &App, caller: &Caller, Listed { id, created_at, written }: Listed) -> Result<Session> {
    let told = match chat_of(app, caller, &id).await? {
        Some(chat) => of_run::chat(app, caller.tenant(), &chat).await?,
        None => Vec::new(),
    };
    let mut session =
        written.unwrap_or(Session { id, entries: 0, first_at: created_at, last_at: created_at, created_at });
    session.entries = session.entries.saturating_add(u64::try_from(told.len()).unwrap_or(u64::MAX));
    for entry in told {
        session.first_at = session.first_at.min(entry.at);
        session.last_at = session.last_at.max(entry.at);
    }
    Ok(session)
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
        let lengths = |entries: Vec<Entry>| -> Vec<usize> {
            chunks(entries).into_iter().map(|chunk| chunk.entries.len()).collect()
        };
        assert_eq!(lengths((0..250).map(|at| entry(at, 1)).collect()), [100, 100, 50]);
        assert_eq!(lengths((0..5).map(|at| entry(at, 90_000)).collect()), [2, 2, 1]);
        assert_eq!(lengths(vec![entry(0, 1), entry(1, 900_000), entry(2, 1)]), [1, 1, 1]);
    }
}
