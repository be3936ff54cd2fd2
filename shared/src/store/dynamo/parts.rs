//! Bodies that do not fit in one item, split into rows that nobody else sees.
//!
//! A body above [`LONGEST_BODY`] lies in parts in a partition of their own, `P#<rev>`, named by the revision of the
//! write. The row itself holds how many they are and a SHA-256 of the whole. Parts are never changed.
//!
//! So that no part is left behind and none goes too early, a ledger row (partition [`LEDGER`]) names parts that no row
//! refers to:
//!
//! 1. the ledger row is written, naming the new parts; then the parts;
//! 2. one transaction puts the row and deletes the ledger row, if that is as it was; when the write replaces or deletes
//!    a row that is known to have parts, the transaction leaves a ledger row that names those instead;
//! 3. what the ledger row then names is deleted, and the ledger row after it.
//!
//! Whatever dies in between leaves a ledger row. Every write of parts ends with [`Dynamo::sweep`], as does the reaper's
//! round: a ledger row older than [`SWEPT_AFTER_MS`] is taken over by a new revision, so that its writer, should it still
//! be alive, can no longer commit; then its parts are deleted. Time thus decides only when to try, never what is true.
//! Parts of a row that expires do so a day after it. A reader whose parts are gone, or do not match, reads the row
//! again: it was replaced or deleted meanwhile.

use std::{num::NonZeroUsize, time::Duration};

use lru::LruCache;
use ring::digest;

use super::{
    Dynamo, broken,
    item::{Parts, Stored, string},
};
use crate::{
    clock::Clock,
    store::row::{Error, Key, Result, Rev, Row, Table, When, Write},
};

/// The longest body, in bytes, that stays in its row: DynamoDB holds 400 KB in an item, with its keys.
pub(super) const LONGEST_BODY: usize = 300_000;

/// The longest part, in bytes.
const PART_BYTES: usize = 380_000;

/// The most parts of one body: 9.1 MB.
const MOST_PARTS: usize = 24;

/// The partition of the rows that name parts which no row refers to.
pub(super) const LEDGER: &str = "P#";

/// How long parts outlive their row's own expiry, in seconds: DynamoDB deletes expired items in no order.
const OUTLIVE_S: i64 = 86_400;

/// How often a row is read again whose parts are gone.
const REREADS: usize = 5;

/// A write as it goes to DynamoDB: of a split row the body is gone to the parts.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) write: Write,
    pub(super) parts: Option<Parts>,
}

/// Parts of one body, by where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) table: Table,
    pub(super) rev: i64,
    pub(super) count: u16,
}

impl Place {
    pub(super) fn keys(self) -> impl Iterator<Item = Key> {
        let partition = format!("{LEDGER}{:016x}", self.rev);
        (0..self.count).map(move |n| Key::new(self.table, partition.clone(), format!("{n:04}")))
    }
}

/// Whether such a body is split.
pub(super) const fn is_split(body: &str) -> bool {
    body.len() > LONGEST_BODY
}

/// The write as it goes to DynamoDB, and the rows with the parts of its body.
pub(super) fn split(write: Write) -> Result<(Action, Vec<Row>)> {
    let (mut row, when) = match write {
        Write::Put(row, when) if is_split(&row.body) => (row, when),
        Write::Put(..) | Write::Delete(..) | Write::Check(..) | Write::Add(_) => {
            return Ok((Action { write, parts: None }, Vec::new()));
        }
    };
    let body = std::mem::take(&mut row.body);
    let pieces = pieces(&body);
    let count = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
    if pieces.len() > MOST_PARTS {
        return Err(Error::TooLarge("the body of a row"));
    }
    let expires_at_s = row.expires_at_s.map(|at| at.saturating_add(OUTLIVE_S));
    let place = Place { table: row.key.table, rev: row.rev.0, count };
    let parts = place.keys().zip(pieces).map(|(key, piece)| Row {
        key,
        rev: row.rev,
        body: piece.to_owned(),
        listed: None,
        due: None,
        expires_at_s,
    });
    let parts = parts.collect();
    Ok((Action { write: Write::Put(row, when), parts: Some(Parts { count, sum: sum(&body) }) }, parts))
}

fn pieces(mut body: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !body.is_empty() {
        let (piece, rest) = body.split_at(body.floor_char_boundary(PART_BYTES));
        pieces.push(piece);
        body = rest;
    }
    pieces
}

fn sum(body: &str) -> String {
    digest::digest(&digest::SHA256, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Dynamo {
    /// The row with its whole body; `None` when it is gone by now.
    pub(super) async fn joined(&self, mut stored: Stored) -> Result<Option<Row>> {
        for _ in 0..REREADS {
            let Some(parts) = &stored.parts else { return Ok(Some(stored.row)) };
            let place = Place { table: stored.row.key.table, rev: stored.row.rev.0, count: parts.count };
            if let Some(body) = self.body(place, &parts.sum).await? {
                self.known(|known| known.put(&stored.row.key, place));
                stored.row.body = body;
                return Ok(Some(stored.row));
            }
            match self.stored(&stored.row.key).await? {
                Some(again) if again.row.rev == stored.row.rev => tokio::time::sleep(Duration::from_millis(20)).await,
                Some(again) => stored = again,
                None => return Ok(None),
            }
        }
        let now_s = Clock::System.now().seconds_ceil();
        if stored.row.expires_at_s.is_some_and(|at| at < now_s) {
            return Ok(None);
        }
        Err(broken("read", "parts of a body are missing"))
    }

    /// The row with its whole body, just as it was stored; `None` when its parts are gone, as they are when it was rewritten since.
    pub(super) async fn whole(&self, stored: Stored) -> Result<Option<Row>> {
        let Stored { row, parts } = stored;
        let Some(parts) = parts else { return Ok(Some(row)) };
        let place = Place { table: row.key.table, rev: row.rev.0, count: parts.count };
        let Some(body) = self.body(place, &parts.sum).await? else { return Ok(None) };
        self.known(|known| known.put(&row.key, place));
        Ok(Some(Row { body, ..row }))
    }

    /// The body; `None` when a part is missing or they are not what they should be.
    async fn body(&self, place: Place, expected: &str) -> Result<Option<String>> {
        let keys: Vec<Key> = place.keys().collect();
        let items = self.items(&keys).await?;
        let pieces = keys.iter().map(|key| items.get(key).and_then(|item| string(item, "body")));
        let body: Option<String> = pieces.collect();
        Ok(body.filter(|body| sum(body) == expected))
    }
}

/// Which rows are known to have parts, and where: what a write that replaces the row makes superfluous.
#[derive(Debug)]
pub(super) struct Known(LruCache<Key, Place>);

impl Default for Known {
    fn default() -> Self {
        Self(LruCache::new(NonZeroUsize::MIN.saturating_add(1_023)))
    }
}

impl Known {
    fn put(&mut self, key: &Key, place: Place) {
        self.0.put(key.clone(), place);
    }

    /// The parts that are superfluous once these writes are applied.
    pub(super) fn superseded(&mut self, actions: &[Action]) -> Vec<Place> {
        let place = |action: &Action| {
            let (own, when) = match &action.write {
                Write::Put(row, when) => (Some(row.rev.0), *when),
                Write::Delete(_, when) => (None, *when),
                Write::Check(..) | Write::Add(_) => return None,
            };
            let place = *self.0.get(action.write.key())?;
            let replaced = match when {
                When::Any => own != Some(place.rev),
                When::Rev(Rev(seen)) => seen == place.rev,
                When::Absent => false,
            };
            replaced.then_some(place)
        };
        actions.iter().filter_map(place).collect()
    }

    /// These writes were applied.
    pub(super) fn applied(&mut self, actions: &[Action]) {
        for action in actions {
            match (&action.write, place(action)) {
                (Write::Put(row, _), Some(place)) => self.put(&row.key, place),
                (Write::Put(..) | Write::Delete(..), _) => drop(self.0.pop(action.write.key())),
                (Write::Check(..) | Write::Add(_), _) => {}
            }
        }
    }
}

/// Where the parts of this write are, if it has any.
pub(super) fn place(action: &Action) -> Option<Place> {
    match (&action.write, &action.parts) {
        (Write::Put(row, _), Some(parts)) => Some(Place { table: row.key.table, rev: row.rev.0, count: parts.count }),
        (Write::Put(..) | Write::Delete(..) | Write::Check(..) | Write::Add(_), _) => None,
    }
}
