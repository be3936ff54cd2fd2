//! Counters: rows of numbers that are added to. The one thread that writes does so, within the transaction of its group, so
//! each addition sees all that were applied before it.

use std::collections::BTreeMap;

use rusqlite::{Connection, types::Type};

use super::{read, writer};
use crate::store::row::{Add, Key, Rev, Row};

type Numbers = BTreeMap<String, i64>;

/// Whether the bounded number stays within its bound.
pub(super) fn has_room(connection: &Connection, add: &Add) -> rusqlite::Result<bool> {
    let Some((name, most_before)) = add.bound() else { return Ok(true) };
    Ok(numbers(connection, &add.key)?.get(name).copied().unwrap_or(0) <= most_before)
}

/// Adds to the numbers, and makes the row when it is missing.
pub(super) fn add(connection: &Connection, add: &Add) -> rusqlite::Result<()> {
    let mut numbers = numbers(connection, &add.key)?;
    for (name, amount) in &add.amounts {
        let number = numbers.entry((*name).to_owned()).or_default();
        *number = number.saturating_add(*amount);
    }
    let body =
        serde_json::to_string(&numbers).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let (key, expires_at_s) = (add.key.clone(), add.expires_at_s);
    writer::put(connection, &Row { key, rev: Rev::fresh(), body, listed: None, due: None, expires_at_s })
}

fn numbers(connection: &Connection, key: &Key) -> rusqlite::Result<Numbers> {
    let Some(row) = read::get(connection, key)? else { return Ok(Numbers::new()) };
    serde_json::from_str(&row.body)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(8, Type::Text, error.into()))
}
