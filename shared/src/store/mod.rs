//! The store: rows below a low seam, and above it typed methods per entity, one file each, that alone know the keys.

mod agent_names;
pub(crate) mod agents;
mod api_keys;
mod batches;
pub(crate) mod chunk;
#[cfg(feature = "aws")]
pub mod dynamo;
pub(crate) mod evaluations;
mod families;
mod feedback;
pub(crate) mod files;
mod idempotency;
pub(crate) mod limits;
mod listed_runs;
mod money;
mod prompts;
mod providers;
pub mod row;
mod runs;
mod schedules;
pub(crate) mod secrets;
#[cfg(feature = "simulation")]
pub mod simulated;
#[cfg(feature = "embedded")]
pub mod sqlite;
pub(crate) mod test_sets;
mod timelines;
mod triggers;
mod webhooks;

use serde::{Serialize, de::DeserializeOwned};

use crate::{adversity, clock::Timestamp};
pub(crate) use listed_runs::Span;
pub use row::{Error, Result};
use row::{Found, FoundKeys, Index, KEYS_LIMIT, Key, Query, Rev, Row, Table, Write};
pub(crate) use runs::{DUE_SHARDS, Due};
pub(crate) use webhooks::{ASKED_MS, OUTBOX_SHARDS};

/// Where the rows are.
#[derive(Debug, Clone)]
pub enum Backend {
    /// DynamoDB.
    #[cfg(feature = "aws")]
    Dynamo(dynamo::Dynamo),
    /// One SQLite file.
    #[cfg(feature = "embedded")]
    Sqlite(sqlite::Sqlite),
    /// Memory, for simulations.
    #[cfg(feature = "simulation")]
    Simulated(simulated::Simulated),
}

/// Hands one operation to the backend that there is.
macro_rules! on_backend {
    ($self:expr, $backend:ident => $call:expr) => {
        match $self {
            #[cfg(feature = "aws")]
            Backend::Dynamo($backend) => $call,
            #[cfg(feature = "embedded")]
            Backend::Sqlite($backend) => $call,
            #[cfg(feature = "simulation")]
            Backend::Simulated($backend) => $call,
        }
    };
}

impl Backend {
    /// The row, as it is at this moment (never an older state).
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Broken`].
    pub async fn get(&self, key: &Key) -> Result<Option<Row>> {
        adversity::before()?;
        adversity::after(on_backend!(self, backend => backend.get(key).await))
    }

    /// The rows, as they are now, each in the place of its key; any number of keys, no key twice.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Broken`].
    pub async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        adversity::before()?;
        adversity::after(on_backend!(self, backend => backend.batch_get(keys).await))
    }

    /// The rows, all as they are at one moment, each in the place of its key: no transaction is seen in part. 1 to
    /// [`row::TRANSACTION_LIMIT`] keys, no key twice.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when they are being written all the time; [`Error::Broken`].
    pub async fn snapshot(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        adversity::before()?;
        adversity::after(match self {
            #[cfg(feature = "aws")]
            Self::Dynamo(backend) => backend.snapshot(keys).await,
            // Their reads of many rows are of one moment anyway.
            #[cfg(feature = "embedded")]
            Self::Sqlite(backend) => backend.batch_get(keys).await,
            #[cfg(feature = "simulation")]
            Self::Simulated(backend) => backend.batch_get(keys).await,
        })
    }

    /// A page of rows of one partition. On [`row::Index::Primary`] it sees every write that was answered before.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Broken`].
    pub async fn query(&self, query: &Query) -> Result<Found> {
        adversity::before()?;
        adversity::after(on_backend!(self, backend => backend.query(query).await))
    }

    /// The sort keys of a page of rows of one partition, without the rows. What an index names may be gone, or not there yet. It reads
    /// as little as there is: along an index, nothing of the rows.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Broken`].
    pub async fn query_keys(&self, query: &Query) -> Result<FoundKeys> {
        adversity::before()?;
        adversity::after(on_backend!(self, backend => backend.query_keys(query).await))
    }

    /// All of these writes or none; 1 to [`row::TRANSACTION_LIMIT`] of them.
    ///
    /// A lost reply is not a failure: the backend finds out whether its write was applied before it answers.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a condition does not hold; otherwise as [`Error`] says.
    pub async fn transact(&self, writes: Vec<Write>) -> Result<()> {
        adversity::before()?;
        Box::pin(adversity::meddle(self, &writes)).await;
        adversity::after(self.transact_plainly(writes).await)
    }

    /// The same without adversity.
    pub(crate) async fn transact_plainly(&self, writes: Vec<Write>) -> Result<()> {
        row::check_shape(&writes)?;
        on_backend!(self, backend => backend.transact(writes).await)
    }

    /// Deletes what writers that died left behind where nobody sees it. To be called now and then.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Broken`].
    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "only DynamoDB has something to sweep"))]
    pub async fn sweep(&self, now: Timestamp) -> Result<()> {
        match self {
            #[cfg(feature = "aws")]
            Self::Dynamo(backend) => backend.sweep(now.plus_ms(-dynamo::SWEPT_AFTER_MS)).await.map(|_| ()),
            // Its writer does so by itself.
            #[cfg(feature = "embedded")]
            Self::Sqlite(_) => {
                let _ = now;
                Ok(())
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => {
                let _ = now;
                Ok(())
            }
        }
    }

    /// Puts any number of rows that nobody else writes, without conditions and not together: after an error some may be there.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::TooLarge`], [`Error::Broken`].
    pub async fn put_many(&self, rows: Vec<Row>) -> Result<()> {
        adversity::before()?;
        adversity::after(on_backend!(self, backend => backend.put_many(rows).await))
    }
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
}

/// A value read from a row, with the row's revision.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The revision to name when it is written back.
    pub rev: Rev,
}

impl Store {
    /// The store over a backend.
    #[must_use]
    pub const fn new(backend: Backend) -> Self {
        Self { backend }
    }

    /// The rows below: for the contract tests.
    #[must_use]
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    async fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Versioned<T>>> {
        self.backend.get(key).await?.as_ref().map(read).transpose()
    }

    /// A page of values, and where the next begins.
    async fn page<T: DeserializeOwned>(&self, query: &Query) -> Result<(Vec<T>, Option<String>)> {
        let Found { rows, next } = self.backend.query(query).await?;
        let values: Result<Vec<T>> = rows.iter().map(|row| read(row).map(|found| found.value)).collect();
        Ok((values?, next))
    }

    /// Every sort key of the partition that is greater than the one and less than the other, in order.
    async fn sorts_between(&self, table: Table, partition: &str, after: &str, before: &str) -> Result<Vec<String>> {
        let (mut all, mut after) = (Vec::new(), Some(after.to_owned()));
        while let Some(begin) = after.take() {
            let query = Query {
                table,
                index: Index::Primary,
                partition: partition.to_owned(),
                after: Some(begin),
                before: Some(before.to_owned()),
                descending: false,
                limit: KEYS_LIMIT,
            };
            let FoundKeys { mut sorts, next } = self.backend.query_keys(&query).await?;
            all.append(&mut sorts);
            after = next;
        }
        Ok(all)
    }

    async fn snapshot<T: DeserializeOwned>(&self, keys: &[Key]) -> Result<Vec<Option<Versioned<T>>>> {
        let rows = self.backend.snapshot(keys).await?;
        rows.iter().map(|row| row.as_ref().map(read).transpose()).collect()
    }

    async fn batch_get<T: DeserializeOwned>(&self, keys: &[Key]) -> Result<Vec<Option<Versioned<T>>>> {
        let rows = self.backend.batch_get(keys).await?;
        rows.iter().map(|row| row.as_ref().map(read).transpose()).collect()
    }
}

fn read<T: DeserializeOwned>(row: &Row) -> Result<Versioned<T>> {
    let value = serde_json::from_str(&row.body).map_err(|error| Error::Broken(error.into()))?;
    Ok(Versioned { value, rev: row.rev })
}

/// A row without a place in an index.
fn row<T: Serialize>(key: Key, value: &T) -> Result<Row> {
    let body = serde_json::to_string(value).map_err(|error| Error::Broken(error.into()))?;
    Ok(Row { key, rev: Rev::fresh(), body, listed: None, due: None, expires_at_s: None })
}
