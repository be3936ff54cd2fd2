//! Rows in memory, for simulations: what a backend promises, in the weather that the simulation makes. Knows no entity.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::row::{Add, Error, Found, FoundKeys, Index, Key, Query, Result, Rev, Row, Table, When, Write};
use crate::simulation::{Operation, Weather, outside, weather};

/// How many rows are put at a time.
const PUT_TOGETHER: usize = 25;
/// The most rows of a page.
const PAGE_ROWS: usize = 1000;

/// The backend over this process' memory. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    rows: Arc<Mutex<Rows>>,
}

impl Simulated {
    /// Every row, as it is now.
    #[must_use]
    pub fn every_row(&self) -> Vec<Arc<Row>> {
        self.locked(|rows| rows.rows.values().cloned().collect())
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.batch_get(std::slice::from_ref(key)).await?.pop().flatten())
    }

    pub(super) async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let weather = begun(&Operation::Get(keys)).await?;
        let found = self.locked(|rows| keys.iter().map(|key| rows.rows.get(key).map(|row| Row::clone(row))).collect());
        ended(weather, Ok(found)).await
    }

    pub(super) async fn query(&self, query: &Query) -> Result<Found> {
        let weather = begun(&Operation::Query(query)).await?;
        let found = self.locked(|rows| rows.query(query, weather.page_rows));
        ended(weather, Ok(found)).await
    }

    pub(super) async fn query_keys(&self, query: &Query) -> Result<FoundKeys> {
        let Found { rows, next } = self.query(query).await?;
        let sorts = rows.iter().filter_map(|row| row.sort_along(query.index)).map(str::to_owned).collect();
        Ok(FoundKeys { sorts, next })
    }

    pub(super) async fn transact(&self, writes: Vec<Write>) -> Result<()> {
        let weather = begun(&Operation::Write(&writes)).await?;
        let outcome = match weather.conflict.and_then(|chance| disputed(&writes, chance)) {
            Some(index) => Err(Error::Conflict { index }),
            None => self.apply(&writes, weather.lag_ms),
        };
        ended(weather, outcome).await
    }

    pub(super) async fn put_many(&self, rows: Vec<Row>) -> Result<()> {
        let mut writes = rows.into_iter().map(|row| Write::Put(row, When::Any)).peekable();
        while writes.peek().is_some() {
            self.transact(writes.by_ref().take(PUT_TOGETHER).collect()).await?;
        }
        Ok(())
    }

    fn apply(&self, writes: &[Write], lag_ms: u64) -> Result<()> {
        let outside = outside();
        let outcome = self.locked(|rows| rows.apply(writes, lag_ms));
        match (&outcome, outside) {
            (Ok(Applied::Now(before)), Some(outside)) => outside.committed(writes, before),
            (Err(Error::Conflict { index }), Some(outside)) => {
                writes.get(*index).into_iter().for_each(|write| outside.refused(write));
            }
            (Ok(_) | Err(_), _) => {}
        }
        outcome.map(|_| ())
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        work(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The time until an operation is done, if it is not turned away.
async fn begun(operation: &Operation<'_>) -> Result<Weather> {
    let weather = weather(operation);
    weather.before().await;
    if weather.throttled {
        return Err(Error::Unavailable("throttled".into()));
    }
    match operation {
        Operation::Write(writes) if weather.conflict.is_some_and(|chance| disputed(writes, chance).is_some()) => {}
        _ if weather.conflict.is_some() => {
            return Err(Error::Unavailable("in conflict with other transactions".into()));
        }
        Operation::Get(_) | Operation::Query(_) | Operation::Write(_) => {}
    }
    Ok(weather)
}

/// A write whose condition another transaction may have broken for a moment.
fn disputed(writes: &[Write], chance: u64) -> Option<usize> {
    let conditional = |write: &Write| match write {
        Write::Put(_, when) | Write::Delete(_, when) | Write::Check(_, when) => *when != When::Any,
        Write::Add(_) => false,
    };
    let conditional: Vec<usize> =
        (0..writes.len()).filter(|index| writes.get(*index).is_some_and(conditional)).collect();
    let chosen = usize::try_from(chance).unwrap_or(usize::MAX).checked_rem(conditional.len())?;
    conditional.get(chosen).copied()
}

/// The time until its answer is there, if it comes.
async fn ended<T>(weather: Weather, outcome: Result<T>) -> Result<T> {
    weather.after().await;
    if weather.reply_lost { Err(Error::Unavailable("no reply came".into())) } else { outcome }
}

/// What came of a transaction whose conditions hold.
enum Applied {
    /// It is applied, over these rows, each in the place of its write.
    Now(Vec<Option<Arc<Row>>>),
    /// It was before: this is its writer's own retry.
    Before,
}

/// What the rows say about a write.
enum Verdict {
    Holds,
    Fails,
    /// The row carries the very revision that would be written: the whole transaction was applied before.
    Applied,
}

/// A place in an index; the row's own key last, since two rows may have the same place.
type Place = (Table, bool, String, String, Key);

/// When the indexes show it, what a row was, and what it is.
type Lagging = (Instant, Option<Arc<Row>>, Option<Arc<Row>>);

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Key, Arc<Row>>,
    index: BTreeMap<Place, Arc<Row>>,
    /// What the indexes do not show yet, in order.
    lagging: VecDeque<Lagging>,
}

impl Rows {
    fn apply(&mut self, writes: &[Write], lag_ms: u64) -> Result<Applied> {
        let mut conflict = None;
        for (index, write) in writes.iter().enumerate() {
            match self.verdict(write) {
                Verdict::Holds => {}
                Verdict::Applied => return Ok(Applied::Before),
                Verdict::Fails => conflict = conflict.or(Some(index)),
            }
        }
        if let Some(index) = conflict {
            return Err(Error::Conflict { index });
        }
        let shown_at = Instant::now() + Duration::from_millis(lag_ms);
        // An index follows a row in order: what was written later is not seen earlier.
        let shown_at = self.lagging.back().map_or(shown_at, |(last, ..)| shown_at.max(*last));
        let mut before = Vec::with_capacity(writes.len());
        for write in writes {
            let (was, is) = match write {
                Write::Put(row, _) => {
                    let row = Arc::new(row.clone());
                    (self.rows.insert(row.key.clone(), Arc::clone(&row)), Some(row))
                }
                Write::Delete(key, _) => (self.rows.remove(key), None),
                Write::Check(key, _) => (self.rows.get(key).cloned(), self.rows.get(key).cloned()),
                Write::Add(add) => {
                    let row = Arc::new(self.added(add));
                    (self.rows.insert(row.key.clone(), Arc::clone(&row)), Some(row))
                }
            };
            before.push(was.clone());
            let indexed = |row: &Option<Arc<Row>>| row.as_ref().is_some_and(|row| places(row).next().is_some());
            if indexed(&was) || indexed(&is) {
                self.lagging.push_back((shown_at, was, is));
            }
        }
        Ok(Applied::Now(before))
    }

    fn verdict(&self, write: &Write) -> Verdict {
        let there = self.rows.get(write.key()).map(|row| row.rev);
        let (when, own) = match write {
            Write::Put(row, when) => (*when, Some(row.rev)),
            Write::Delete(_, when) | Write::Check(_, when) => (*when, None),
            Write::Add(add) if self.has_room(add) => return Verdict::Holds,
            Write::Add(_) => return Verdict::Fails,
        };
        let wanted = match when {
            When::Any => return Verdict::Holds,
            When::Absent => None,
            When::Rev(rev) => Some(rev),
        };
        match there {
            _ if there == wanted => Verdict::Holds,
            Some(rev) if own == Some(rev) => Verdict::Applied,
            _ => Verdict::Fails,
        }
    }

    /// A counter's numbers.
    fn numbers(&self, key: &Key) -> BTreeMap<String, i64> {
        self.rows.get(key).and_then(|row| serde_json::from_str(&row.body).ok()).unwrap_or_default()
    }

    /// Whether the bounded number stays within its bound.
    fn has_room(&self, add: &Add) -> bool {
        let Some((name, most_before)) = add.bound() else { return true };
        self.numbers(&add.key).get(name).copied().unwrap_or(0) <= most_before
    }

    /// The counter with what is added.
    fn added(&self, add: &Add) -> Row {
        let mut numbers = self.numbers(&add.key);
        for (name, amount) in &add.amounts {
            let number = numbers.entry((*name).to_owned()).or_default();
            *number = number.saturating_add(*amount);
        }
        let body = serde_json::to_string(&numbers).unwrap_or_default();
        let (key, expires_at_s) = (add.key.clone(), add.expires_at_s);
        Row { key, rev: Rev::fresh(), body, listed: None, due: None, expires_at_s }
    }

    fn show(&mut self) {
        let now = Instant::now();
        while self.lagging.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, was, is)) = self.lagging.pop_front() else { break };
            was.iter().flat_map(places).for_each(|place| drop(self.index.remove(&place)));
            for row in is.iter() {
                self.index.extend(places(row).map(|place| (place, Arc::clone(row))));
            }
        }
    }

    fn query(&mut self, query: &Query, page_rows: Option<usize>) -> Found {
        self.show();
        let limit = query.limit.clamp(1, PAGE_ROWS).min(page_rows.unwrap_or(PAGE_ROWS));
        let after = query.after.as_deref();
        let fits = |sort: &str| {
            after.is_none_or(|after| sort > after) && query.before.as_deref().is_none_or(|before| sort < before)
        };
        let found: Box<dyn DoubleEndedIterator<Item = (&str, &Arc<Row>)>> = match query.index {
            Index::Primary => {
                let first = Key::new(query.table, query.partition.as_str(), after.unwrap_or_default());
                let within = self.rows.range((Bound::Included(first), Bound::Unbounded));
                let within = within
                    .take_while(|(key, _)| key.table == query.table && key.partition == query.partition)
                    .map(|(key, row)| (key.sort.as_str(), row));
                Box::new(within.collect::<Vec<_>>().into_iter())
            }
            Index::Listed | Index::Due => {
                let due = query.index == Index::Due;
                let least = Key::new(Table::Agents, "", "");
                let first = (query.table, due, query.partition.clone(), after.unwrap_or_default().to_owned(), least);
                let within = self.index.range((Bound::Included(first), Bound::Unbounded));
                let within = within
                    .take_while(|((table, of, partition, ..), _)| {
                        *table == query.table && *of == due && *partition == query.partition
                    })
                    .map(|((_, _, _, sort, _), row)| (sort.as_str(), row));
                Box::new(within.collect::<Vec<_>>().into_iter())
            }
        };
        let found = found.filter(|(sort, _)| fits(sort));
        let found: Vec<(&str, &Arc<Row>)> = if query.descending { found.rev().collect() } else { found.collect() };
        let rows: Vec<Row> = found.iter().take(limit).map(|(_, row)| Row::clone(row)).collect();
        let more = found.len() > rows.len();
        let last = limit.checked_sub(1).and_then(|last| found.get(last)).map(|(sort, _)| (*sort).to_owned());
        // An empty page goes on where it began.
        let began = if query.descending { query.before.clone() } else { Some(query.after.clone().unwrap_or_default()) };
        Found { rows, next: last.or(began).filter(|_| more) }
    }
}

/// The row's places in the indexes.
fn places(row: &Arc<Row>) -> impl Iterator<Item = Place> + '_ {
    let entries = row.listed.iter().map(|entry| (false, entry)).chain(row.due.iter().map(|entry| (true, entry)));
    entries.map(|(due, entry)| (row.key.table, due, entry.partition.clone(), entry.sort.clone(), row.key.clone()))
}
