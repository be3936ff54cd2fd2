//! The reads, on one connection. Each sees every commit that was answered before it began.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params, types::Value};

use super::statements::Statements;
use crate::store::row::{Entry, Found, FoundKeys, KEYS_LIMIT, Key, Query, Rev, Row, Table};

/// A page ends after so many bytes of bodies: a thousand rows of 5 MB are not held at once.
const PAGE_BYTES: usize = 4 << 20;

/// The most rows of a page.
const PAGE_ROWS: usize = 1000;

pub(super) fn get(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Row>> {
    let mut statement = connection.prepare_cached(Statements::of(key.table).get)?;
    get_with(&mut statement, key)
}

/// The row if it is quickly read; an error when its body is so large that reading it takes longer.
pub(super) fn get_small(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Row>> {
    let mut statement = connection.prepare_cached(Statements::of(key.table).get_small)?;
    get_with(&mut statement, key)
}

/// All at one moment.
pub(super) fn batch_get(connection: &Connection, keys: &[Key]) -> rusqlite::Result<Vec<Option<Row>>> {
    let _moment = connection.unchecked_transaction()?;
    keys.chunk_by(|one, next| one.table == next.table).try_fold(Vec::with_capacity(keys.len()), |mut rows, keys| {
        let Some(first) = keys.first() else { return Ok(rows) };
        let mut statement = connection.prepare_cached(Statements::of(first.table).get)?;
        for key in keys {
            rows.push(get_with(&mut statement, key)?);
        }
        Ok(rows)
    })
}

fn get_with(statement: &mut CachedStatement<'_>, key: &Key) -> rusqlite::Result<Option<Row>> {
    statement.query_row(params![key.partition, key.sort], |columns| row(key.table, columns)).optional()
}

pub(super) fn query(connection: &Connection, query: &Query) -> rusqlite::Result<Found> {
    let (least, stop) = range(query);
    let limit = query.limit.clamp(1, PAGE_ROWS);
    let one_more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);

    let mut statement = connection.prepare_cached(Statements::of(query.table).query(query.index, query.descending))?;
    let mut found = statement.query(params![query.partition, least, stop, one_more])?;
    let mut rows: Vec<Row> = Vec::new();
    let mut bytes = 0;
    while let Some(columns) = found.next()? {
        if rows.len() >= limit || bytes >= PAGE_BYTES {
            let next = rows.last().and_then(|row| row.sort_along(query.index)).map(str::to_owned);
            return Ok(Found { rows, next });
        }
        let row = row(query.table, columns)?;
        bytes = row.body.len().saturating_add(bytes);
        rows.push(row);
    }
    Ok(Found { rows, next: None })
}

pub(super) fn query_keys(connection: &Connection, query: &Query) -> rusqlite::Result<FoundKeys> {
    let (least, stop) = range(query);
    let limit = query.limit.clamp(1, KEYS_LIMIT);
    let one_more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(Statements::of(query.table).keys(query.index, query.descending))?;
    let found = statement.query_map(params![query.partition, least, stop, one_more], |columns| columns.get(0))?;
    let mut sorts = found.collect::<rusqlite::Result<Vec<String>>>()?;
    let more = sorts.len() > limit;
    sorts.truncate(limit);
    let next = sorts.last().filter(|_| more).cloned();
    Ok(FoundKeys { sorts, next })
}

/// The least sort key, and the one to stop before. The least text above another is that text and a zero byte; and every text is less
/// than any blob.
fn range(query: &Query) -> (String, Value) {
    let least = query.after.as_ref().map_or_else(String::new, |after| format!("{after}\0"));
    let stop = query.before.as_ref().map_or_else(|| Value::Blob(Vec::new()), |before| Value::Text(before.clone()));
    (least, stop)
}

pub(super) fn integrity_check(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA integrity_check(1)", [], |columns| Ok(columns.get_ref(0)?.as_str()? == "ok"))
}

fn row(table: Table, columns: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        key: Key { table, partition: columns.get(0)?, sort: columns.get(1)? },
        rev: Rev(columns.get(2)?),
        expires_at_s: columns.get(3)?,
        listed: entry(columns, 4)?,
        due: entry(columns, 6)?,
        body: columns.get(8)?,
    })
}

fn entry(columns: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<Entry>> {
    let Some(partition) = columns.get(at)? else { return Ok(None) };
    Ok(Some(Entry { partition, sort: columns.get(at.saturating_add(1))? }))
}
