//! Rows as DynamoDB's attributes, and back. Knows no call.
//!
//! An item holds `rev`, `body`, the index keys `lpk`/`lsk` and `dpk`/`dsk`, `ttl`, and for a split body `parts` and
//! `sum`. `h1`, `h2`, … are the revisions that it had before, the newest first: see [`super::outcome`]. A counter has no
//! `body`: each of its numbers is an attribute by itself, `n_` and its name.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{error::BuildError, types::AttributeValue};

use super::{Error, broken};
use crate::store::row::{Entry, Index, Key, Result, Rev, Row, Table};

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const PARTITION: &str = "pk";
pub(super) const SORT: &str = "sk";
pub(super) const REV: &str = "rev";
pub(super) const TTL: &str = "ttl";

/// How many earlier revisions a row remembers: more than others write to a row, at some 10 ms each, while one writer
/// waits for its second or third attempt. They take up to 14 bytes each.
pub(super) const HISTORY: usize = 24;

/// What the attribute of a counter's number begins with.
pub(super) const NUMBER: &str = "n_";

/// The attributes that an item may lack.
pub(super) const OPTIONAL: [&str; 7] = ["lpk", "lsk", "dpk", "dsk", TTL, "parts", "sum"];

/// A row as it is stored: with a split body, `row.body` is empty.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) row: Row,
    pub(super) parts: Option<Parts>,
}

/// Where the body is when it was split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) count: u16,
    /// SHA-256 of the whole body, in hexadecimal.
    pub(super) sum: String,
}

/// The names of an index and its two keys; of the table when it is the primary one.
pub(super) const fn keys_of(index: Index) -> (Option<&'static str>, &'static str, &'static str) {
    match index {
        Index::Primary => (None, PARTITION, SORT),
        Index::Listed => (Some("listed"), "lpk", "lsk"),
        Index::Due => (Some("due"), "dpk", "dsk"),
    }
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn of_key(key: &Key) -> Item {
    Item::from([(PARTITION.to_owned(), text(&key.partition)), (SORT.to_owned(), text(&key.sort))])
}

pub(super) fn of_row(row: &Row, parts: Option<&Parts>) -> Item {
    let Row { key, rev, body, listed, due, expires_at_s } = row;
    let mut item = of_key(key);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set(REV, number(rev.0));
    set("body", text(body));
    if let Some(Entry { partition, sort }) = listed {
        set("lpk", text(partition));
        set("lsk", text(sort));
    }
    if let Some(Entry { partition, sort }) = due {
        set("dpk", text(partition));
        set("dsk", text(sort));
    }
    if let Some(seconds) = expires_at_s {
        set(TTL, number(*seconds));
    }
    if let Some(Parts { count, sum }) = parts {
        set("parts", number(i64::from(*count)));
        set("sum", text(sum));
    }
    item
}

/// An item's key.
pub(super) fn key(table: Table, item: &Item) -> Result<Key> {
    Ok(Key::new(table, need(item, PARTITION)?, need(item, SORT)?))
}

/// An item's row.
pub(super) fn stored(table: Table, mut item: Item) -> Result<Stored> {
    let key = key(table, &item)?;
    let rev = Rev(int(&item, REV).ok_or_else(|| broken("read", "an item has no revision"))?);
    let body = match item.remove("body") {
        Some(AttributeValue::S(body)) => body,
        _ => numbers(&item).ok_or_else(|| broken("read", "an item has no body"))?,
    };
    let parts = match int(&item, "parts") {
        None => None,
        Some(count) => Some(Parts {
            count: u16::try_from(count).map_err(|_| broken("read", "an item has an impossible number of parts"))?,
            sum: need(&item, "sum")?,
        }),
    };
    let entry = |partition, sort| {
        Some(Entry { partition: string(&item, partition)?.to_owned(), sort: string(&item, sort)?.to_owned() })
    };
    let row =
        Row { key, rev, body, listed: entry("lpk", "lsk"), due: entry("dpk", "dsk"), expires_at_s: int(&item, TTL) };
    Ok(Stored { row, parts })
}

/// A counter's numbers, as the JSON that a row of them has; `None` when it has none.
fn numbers(item: &Item) -> Option<String> {
    let number = |name: &String| Some((name.strip_prefix(NUMBER)?.to_owned(), int(item, name)?));
    let numbers: BTreeMap<String, i64> = item.keys().filter_map(number).collect();
    if numbers.is_empty() { None } else { serde_json::to_string(&numbers).ok() }
}

/// The revisions that the item remembers, the present one first.
pub(super) fn revisions(item: &Item) -> Vec<i64> {
    let earlier = (1..=HISTORY).map_while(|n| int(item, &earlier(n)).filter(|rev| *rev != 0));
    int(item, REV).into_iter().chain(earlier).collect()
}

/// The name of the attribute with the n-th revision before the present one.
pub(super) fn earlier(n: usize) -> String {
    format!("h{n}")
}

pub(super) fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

fn int(item: &Item, name: &str) -> Option<i64> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok())
}

fn need(item: &Item, name: &str) -> Result<String> {
    string(item, name).map(str::to_owned).ok_or_else(|| broken("read", format!("an item has no {name}")))
}

/// What an item counts towards the limits of DynamoDB: names and values, with some bytes for each number.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.as_s().map_or(21, String::len)).sum()
}

/// A request that the SDK would not build: our mistake.
pub(super) fn unbuilt(error: BuildError) -> Error {
    Error::Broken(error.into())
}
