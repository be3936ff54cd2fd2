//! Rows in one SQLite file. One thread writes and commits all waiting transactions together; a few threads read.
//!
//! Several processes may have the file open. Nothing here knows what a row says.

mod counter;
mod read;
mod readers;
mod schema;
mod statements;
mod writer;

use std::{fmt, path::Path, sync::Arc};

use futures_util::future;

use super::row::{Error, Found, FoundKeys, Key, Query, Result, Row, TRANSACTION_LIMIT, When, Write};
use readers::Readers;
use tokio::task;
use writer::Writer;

/// The backend over one SQLite file. Cheap to clone; when the last clone goes, what waits is committed and the file closed.
#[derive(Clone)]
pub struct Sqlite {
    shared: Arc<Threads>,
}

// The order matters: the writer's connection closes last and alone, and so folds the log into the file.
struct Threads {
    readers: Readers,
    writer: Writer,
}

impl Sqlite {
    /// Opens the file, and makes it (readable by its owner alone) if there is none. Blocks for some milliseconds, and for
    /// up to 5 seconds while another process holds the file.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be opened; [`Error::Broken`] when it is not ours, or a newer
    /// version wrote it.
    pub fn open(path: &Path) -> Result<Self> {
        let connection = schema::open(path)?;
        let readers = Readers::start(path)?;
        let writer = Writer::start(connection)?;
        Ok(Self { shared: Arc::new(Threads { readers, writer }) })
    }

    /// Whether the file as a whole is sound: every page, every index. Reads all of it.
    ///
    /// # Errors
    /// As [`super::Backend::get`].
    pub async fn integrity_check(&self) -> Result<bool> {
        self.shared.readers.read(read::integrity_check).await
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Row>> {
        // A read that does not wait would let its task go on for ever; so it counts as one step of it.
        task::coop::consume_budget().await;
        let small = self.shared.readers.read_at_once(|connection| read::get_small(connection, key));
        if let Some(found) = small {
            return Ok(found);
        }
        let key = key.clone();
        self.shared.readers.read(move |connection| read::get(connection, &key)).await
    }

    pub(super) async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let keys = keys.to_vec();
        self.shared.readers.read(move |connection| read::batch_get(connection, &keys)).await
    }

    pub(super) async fn query(&self, query: &Query) -> Result<Found> {
        let query = query.clone();
        self.shared.readers.read(move |connection| read::query(connection, &query)).await
    }

    pub(super) async fn query_keys(&self, query: &Query) -> Result<FoundKeys> {
        let query = query.clone();
        self.shared.readers.read(move |connection| read::query_keys(connection, &query)).await
    }

    pub(super) async fn transact(&self, writes: Vec<Write>) -> Result<()> {
        self.shared.writer.write(writes).await
    }

    pub(super) async fn put_many(&self, rows: Vec<Row>) -> Result<()> {
        let mut writes = rows.into_iter().map(|row| Write::Put(row, When::Any)).peekable();
        let mut parts = Vec::new();
        while writes.peek().is_some() {
            parts.push(self.shared.writer.write(writes.by_ref().take(TRANSACTION_LIMIT).collect()));
        }
        future::try_join_all(parts).await.map(drop)
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}

/// What SQLite could not do: for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("sqlite: {0}")]
struct Failed(Arc<rusqlite::Error>);

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Failed(Arc::new(error)).into()
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        use rusqlite::ErrorCode as Code;
        let passing = [
            Code::DatabaseBusy,
            Code::DatabaseLocked,
            Code::DiskFull,
            Code::SystemIoFailure,
            Code::CannotOpen,
            Code::OutOfMemory,
            Code::ReadOnly,
            Code::OperationInterrupted,
        ];
        match failed.0.sqlite_error_code() {
            Some(code) if passing.contains(&code) => Self::Unavailable(failed.into()),
            _ => Self::Broken(failed.into()),
        }
    }
}

/// A thread of this module has ended before its time.
fn stopped() -> Error {
    Error::Unavailable("a thread of the store has stopped".into())
}
