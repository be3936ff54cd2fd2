//! The low seam of storage: rows, conditions and the operations that both backends offer. Knows no entity.
//!
//! Every row carries a revision: a random number that each write draws anew. A conditional write names the revision that
//! it has seen, so that whatever was decided from the row still holds when it is written; and a write whose reply was
//! lost is recognised by its own revision in the row.

use std::collections::HashSet;

use crate::random;

/// A table. Both backends have the same four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Agents: pointers to versions, and the versions.
    Agents,
    /// API keys.
    ApiKeys,
    /// Runs, batches, idempotency records, limits.
    Runs,
    /// What was said and decided in runs: their journals.
    Messages,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 4] = [Self::Agents, Self::ApiKeys, Self::Runs, Self::Messages];

    /// The table's name; on DynamoDB a prefix goes before it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::ApiKeys => "api_keys",
            Self::Runs => "runs",
            Self::Messages => "messages",
        }
    }
}

/// Where a row is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The partition key: rows of one partition are together and can be queried.
    pub partition: String,
    /// The sort key: the order within the partition, by bytes.
    pub sort: String,
}

impl Key {
    /// The row at this place.
    pub fn new(table: Table, partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { table, partition: partition.into(), sort: sort.into() }
    }
}

/// A row's revision: drawn at random for each write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rev(pub(crate) i64);

impl Rev {
    /// A revision that no other write has.
    #[must_use]
    pub fn fresh() -> Self {
        let mut bytes = [0; 8];
        random::fill(&mut bytes);
        Self(i64::from_be_bytes(bytes))
    }
}

/// A row's place in one of the two sparse indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The index's partition.
    pub partition: String,
    /// The order within it.
    pub sort: String,
}

/// A row. `body` is JSON text, up to 6 MiB; a backend that cannot hold so much in one item splits it where nobody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is.
    pub key: Key,
    /// Its revision.
    pub rev: Rev,
    /// What it says; of a counter, its numbers.
    pub body: String,
    /// Its place in the index [`Index::Listed`], if it is to be found there.
    pub listed: Option<Entry>,
    /// Its place in the index [`Index::Due`], if it is to be found there.
    pub due: Option<Entry>,
    /// When it may be cleaned up, in seconds since 1970. Cleaning is late: a reader must look for itself.
    pub expires_at_s: Option<i64>,
}

/// When a write may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Only if there is no such row.
    Absent,
    /// Only if the row is there with this revision.
    Rev(Rev),
    /// Whatever is there: only for a row that nobody else writes.
    Any,
}

/// One write of a transaction. No two of one transaction may name the same row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts the whole row.
    Put(Row, When),
    /// Deletes the row. With [`When::Any`] a missing row is no error.
    Delete(Key, When),
    /// Writes nothing and only asks that the row is as it was.
    Check(Key, When),
    /// Adds to a counter, whatever it is at. Only in a transaction that also has a [`Write::Put`] with a condition: a lost reply
    /// is recognised by the revision of that row, so that nothing is ever added twice.
    Add(Add),
}

/// What is added to a counter: a row of whole numbers that many writers change at the same time, and nobody rewrites. It is made
/// when it is missing, has no place in an index, and is read as any row; its body is a JSON object of the numbers by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Where the counter is.
    pub key: Key,
    /// What is added to which numbers, each named once by lower-case letters and `_`; a missing number is 0, and amounts may
    /// be negative.
    pub amounts: Vec<(&'static str, i64)>,
    /// A number among `amounts` and the most that it may be afterwards. If it would be more, the transaction is a conflict at
    /// this write.
    pub at_most: Option<(&'static str, i64)>,
    /// When the counter may be cleaned up, in seconds since 1970.
    pub expires_at_s: Option<i64>,
}

impl Add {
    /// The number that has a bound, and the most that it may have been before; `None` when there is no bound.
    pub(crate) fn bound(&self) -> Option<(&'static str, i64)> {
        let (name, most) = self.at_most?;
        let added = self.amounts.iter().find(|(of, _)| *of == name).map_or(0, |(_, amount)| *amount);
        Some((name, most.saturating_sub(added)))
    }
}

impl Write {
    /// The row that the write is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(row, _) => &row.key,
            Self::Delete(key, _) | Self::Check(key, _) => key,
            Self::Add(add) => &add.key,
        }
    }

    /// Whether the row, once written, proves by its revision that the whole transaction was applied.
    pub(crate) const fn proves(&self) -> bool {
        matches!(self, Self::Put(_, When::Absent | When::Rev(_)))
    }
}

/// Whether a transaction that adds to a counter can be recognised when its reply was lost.
fn provable(writes: &[Write]) -> bool {
    writes.iter().any(Write::proves) || !writes.iter().any(|write| matches!(write, Write::Add(_)))
}

/// What to read along: the table itself or one of its sparse indexes. An index may lag behind the table, so what it
/// names is a hint that the row confirms or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// The table's own keys.
    Primary,
    /// What the caller may list.
    Listed,
    /// What the reaper has to look at.
    Due,
}

/// A query: rows of one partition in the order of their sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The table.
    pub table: Table,
    /// Along what.
    pub index: Index,
    /// The partition (of the index, if it is one).
    pub partition: String,
    /// Only sort keys greater than this, if given; not equal to it.
    pub after: Option<String>,
    /// Only sort keys less than this, if given; not equal to it.
    pub before: Option<String>,
    /// From the greatest to the least.
    pub descending: bool,
    /// At most so many rows, from 1 to 1,000; of keys alone, to [`KEYS_LIMIT`].
    pub limit: usize,
}

impl Query {
    /// The rows with the greatest sort keys first; the pages after the first go on `before` the last one's end.
    #[must_use]
    pub fn newest_first(table: Table, index: Index, partition: String, before: Option<String>, limit: usize) -> Self {
        Self { table, index, partition, after: None, before, descending: true, limit }
    }
}

/// The most keys of a page of keys alone.
pub const KEYS_LIMIT: usize = 5_000;

impl Row {
    /// Its sort key along the index, if it is to be found there.
    #[must_use]
    pub fn sort_along(&self, index: Index) -> Option<&str> {
        let entry = match index {
            Index::Primary => return Some(&self.key.sort),
            Index::Listed => self.listed.as_ref(),
            Index::Due => self.due.as_ref(),
        };
        entry.map(|entry| entry.sort.as_str())
    }
}

/// What a query for keys alone found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKeys {
    /// The sort keys (of the index, if it is one), in order. A page may be short, even empty, with more behind it.
    pub sorts: Vec<String>,
    /// As [`Found::next`].
    pub next: Option<String>,
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The rows, in order. A page may be short, even empty, with more behind it.
    pub rows: Vec<Row>,
    /// The sort key to go on from (as `after`, or as `before` when descending); `None` when that was all.
    pub next: Option<String>,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A condition did not hold; nothing was written.
    #[error("condition of write {index} does not hold")]
    Conflict {
        /// Which write of the transaction, from 0: the first whose condition failed.
        index: usize,
    },
    /// It is not answering, or it is throttling, after retries. Whether the write was applied is not known.
    #[error("the store is not available")]
    Unavailable(#[source] crate::error::Fault),
    /// More than the backend can hold in one row or transaction.
    #[error("too large for the store: {0}")]
    TooLarge(&'static str),
    /// A row cannot be read, or the store refused what we asked: our mistake.
    #[error("the store is broken")]
    Broken(#[source] crate::error::Fault),
}

/// The store's result.
pub type Result<T> = std::result::Result<T, Error>;

/// The most writes in one transaction: DynamoDB's limit.
pub const TRANSACTION_LIMIT: usize = 100;

/// Refuses what no backend takes: no write, too many, or two of the same row.
pub(super) fn check_shape(writes: &[Write]) -> Result<()> {
    if writes.is_empty() {
        return Err(Error::Broken("a transaction without writes".into()));
    }
    if writes.len() > TRANSACTION_LIMIT {
        return Err(Error::TooLarge("a transaction has at most 100 writes"));
    }
    if !provable(writes) && !crate::simulation::off(crate::simulation::Guard::Revision) {
        return Err(Error::Broken("a counter without a row that proves that it was added to".into()));
    }
    let mut seen = HashSet::with_capacity(writes.len());
    if writes.iter().all(|write| seen.insert(write.key())) {
        return Ok(());
    }
    Err(Error::Broken("a transaction that names a row twice".into()))
}
