//! Runs and their journals in the store: a row per run, which is rewritten, and a row per slot, which is written once.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::{
    Error, Result, Store, Versioned, listed_runs,
    row::{Entry, Found, Index, Key, Query, Rev, Row, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    id::{BatchId, EvaluationId, OrgId, RunId, ScheduleId},
    message::Slot,
    run::{Delta, Glance, Run, Summary},
    simulation::{self, Guard},
    tenant::Tenant,
};

/// Over how many partitions of the index what is due is spread.
pub(crate) const DUE_SHARDS: u8 = 16;
/// The last moment that is written with 13 digits, so that texts are in the order of moments: in the year 2286.
const LAST_MS: u64 = 9_999_999_999_999;
/// How many rows of staged runs are taken away in one transaction, and how many transactions at a time.
const UNSTAGED_TOGETHER: usize = 50;
const PAGES_AT_A_TIME: usize = 8;

/// What the reaper has to look at: a run as it is, or a batch, an evaluation or a schedule, which are read when they are looked at.
#[derive(Debug)]
pub(crate) enum Due {
    Run(Box<Versioned<Run>>),
    Batch(Tenant, BatchId),
    Evaluation(Tenant, EvaluationId),
    Schedule(Tenant, ScheduleId),
}

pub(super) fn partition(org: OrgId, id: RunId) -> String {
    format!("O#{org}#R#{id}")
}

fn run_key(org: OrgId, id: RunId) -> Key {
    Key::new(Table::Runs, partition(org, id), "META")
}

fn slot_key(org: OrgId, id: RunId, slot: u32) -> Key {
    Key::new(Table::Messages, partition(org, id), format!("J#{slot:08}"))
}

/// After every slot in the partition's order.
fn delta_sort(seq: u32) -> String {
    format!("E#{seq:010}")
}

/// An entry of what is due: the time first, then what it is.
pub(super) fn due_entry(at: Timestamp, org: OrgId, kind: char, id: uuid::Uuid) -> Entry {
    let [.., last] = *id.as_bytes();
    Entry {
        partition: due_partition(last % DUE_SHARDS),
        sort: format!("{:013}#{kind}#{org}#{}", at.millis_unsigned().min(LAST_MS), id.as_hyphenated()),
    }
}

fn due_partition(shard: u8) -> String {
    format!("DUE#{shard:02}")
}

/// What the entry of this row is for. A row that cannot be read is logged and passed over: it must not stop the work on the others.
fn due_of(row: &Row) -> Option<Due> {
    let mut parts = row.due.as_ref()?.sort.split('#').skip(1);
    let (kind, org, id) = (parts.next()?, parts.next()?, parts.next()?);
    match kind {
        "R" => match super::read(row) {
            Ok(run) => Some(Due::Run(Box::new(run))),
            Err(_) => {
                tracing::error!(org, run = id, "the row of a run that is due cannot be read");
                None
            }
        },
        "E" => Some(Due::Evaluation(Tenant::of(org.parse().ok()?), id.parse().ok()?)),
        "S" => Some(Due::Schedule(Tenant::of(org.parse().ok()?), id.parse().ok()?)),
        "B" => Some(Due::Batch(Tenant::of(org.parse().ok()?), id.parse().ok()?)),
        _ => None,
    }
}

impl Store {
    pub(crate) async fn run(&self, tenant: Tenant, id: RunId) -> Result<Option<Versioned<Run>>> {
        self.get(&run_key(tenant.org(), id)).await
    }

    /// These runs, each in its place.
    pub(crate) async fn runs(&self, tenant: Tenant, ids: &[RunId]) -> Result<Vec<Option<Versioned<Run>>>> {
        let keys: Vec<Key> = ids.iter().map(|id| run_key(tenant.org(), *id)).collect();
        self.batch_get(&keys).await
    }

    /// How these runs stand; one that is not there is left out.
    pub(crate) async fn glances(&self, tenant: Tenant, ids: &[RunId]) -> Result<Vec<Glance>> {
        self.some_of(tenant, ids).await
    }

    /// What lists sort these runs by; one that is not there is left out.
    pub(crate) async fn summaries(&self, tenant: Tenant, ids: &[RunId]) -> Result<Vec<Summary>> {
        self.some_of(tenant, ids).await
    }

    async fn some_of<T: DeserializeOwned>(&self, tenant: Tenant, ids: &[RunId]) -> Result<Vec<T>> {
        let keys: Vec<Key> = ids.iter().map(|id| run_key(tenant.org(), *id)).collect();
        Ok(self.batch_get(&keys).await?.into_iter().flatten().map(|found| found.value).collect())
    }

    /// The run's row, with its places in the indexes: due as long as it has not ended, and listed unless it grades another.
    pub(crate) fn run_row(&self, run: &Run) -> Result<Row> {
        let org = run.tenant().org();
        let row = super::row(run_key(org, run.id), run)?;
        let listed = run.grades.is_none().then(|| listed_runs::entry(org, run));
        let due = (!run.status.terminal()).then(|| due_entry(run.next_check_at, org, 'R', run.id.uuid()));
        Ok(Row { listed, due, ..row })
    }

    /// What writes the run's row under this revision together with these writes, if the row is as it was seen (`None`: if it is new),
    /// and with what its books say: there is no other way to write it, so none that forgets them. A conflict's index is 0 for the row,
    /// from 1 on for the others, and behind them for the place in its batch, if it takes or leaves one, and for each ledger. What is
    /// told of it comes last, and has no condition.
    pub(crate) fn run_writes(&self, run: &Run, rev: Rev, seen: Option<Rev>, others: Vec<Write>) -> Result<Vec<Write>> {
        let row = match run.place_step() {
            None => self.run_row(run)?,
            Some(_) => self.run_row(&Run { placed: run.takes_place(), ..run.clone() })?,
        };
        let as_seen = seen.map_or(When::Absent, When::Rev);
        let when = if seen.is_some() && simulation::off(Guard::Revision) { When::Any } else { as_seen };
        let mut writes = vec![Write::Put(Row { rev, ..row }, when)];
        writes.extend(others);
        writes.extend(self.bookings(run));
        writes.extend(run.notices.writes(self)?);
        Ok(writes)
    }

    /// Does these writes of a run's row: see [`Store::run_writes`]. The same again changes nothing.
    pub(crate) async fn save_run_writes(&self, writes: Vec<Write>) -> Result<()> {
        if !simulation::off(Guard::OneTransaction) {
            return self.backend.transact(writes).await;
        }
        let slot = |write: &Write| matches!(write, Write::Put(row, _) if row.key.table == Table::Messages);
        let (slots, row): (Vec<Write>, Vec<Write>) = writes.into_iter().partition(slot);
        self.backend.transact(row).await?;
        if slots.is_empty() { Ok(()) } else { self.backend.transact(slots).await }
    }

    /// Writes the run's row: see [`Store::run_writes`].
    pub(crate) async fn save_run(&self, run: &Run, seen: Option<Rev>, others: Vec<Write>) -> Result<()> {
        self.save_run_writes(self.run_writes(run, Rev::fresh(), seen, others)?).await
    }

    pub(crate) async fn save_new_run(&self, run: &Run, others: Vec<Write>) -> Result<()> {
        self.save_run(run, None, others).await
    }

    /// What starts a new run with other writes: its row and its input.
    pub(crate) fn new_run_writes(&self, run: &Run, input: &Slot) -> Result<[Write; 2]> {
        let row = Write::Put(self.run_row(run)?, When::Absent);
        Ok([row, self.slot_write(run.tenant(), run.id, 0, input)?])
    }

    /// The write that fills a slot, which fails when the slot is filled.
    pub(crate) fn slot_write(&self, tenant: Tenant, id: RunId, number: u32, slot: &Slot) -> Result<Write> {
        let when = if simulation::off(Guard::Slot) { When::Any } else { When::Absent };
        Ok(Write::Put(super::row(slot_key(tenant.org(), id, number), slot)?, when))
    }

    /// The write of a piece of an answer that is being written, which fails when its number is taken.
    pub(crate) fn delta_write(&self, tenant: Tenant, id: RunId, delta: &Delta) -> Result<Write> {
        let key = Key::new(Table::Messages, partition(tenant.org(), id), delta_sort(delta.seq));
        Ok(Write::Put(super::row(key, delta)?, When::Absent))
    }

    /// The pieces with numbers after `after` and up to `upto`.
    pub(crate) async fn deltas(&self, tenant: Tenant, id: RunId, after: u32, upto: u32) -> Result<Vec<Delta>> {
        let mut query = Query {
            table: Table::Messages,
            index: Index::Primary,
            partition: partition(tenant.org(), id),
            after: Some(delta_sort(after)),
            before: Some(delta_sort(upto.saturating_add(1))),
            descending: false,
            limit: 1_000,
        };
        let mut deltas = Vec::new();
        loop {
            let (mut page, next) = self.page(&query).await?;
            deltas.append(&mut page);
            match next {
                Some(next) => query.after = Some(next),
                None => return Ok(deltas),
            }
        }
    }

    /// Writes runs of a batch that is not accepted yet, with their inputs.
    pub(crate) async fn stage_runs(&self, tenant: Tenant, runs: &[(Run, Slot)]) -> Result<()> {
        let mut rows = Vec::with_capacity(runs.len().saturating_mul(2));
        for (run, input) in runs {
            rows.push(self.run_row(run)?);
            rows.push(super::row(slot_key(tenant.org(), run.id, 0), input)?);
        }
        self.backend.put_many(rows).await
    }

    /// Takes staged runs away that whoever staged them will not have accepted.
    pub(crate) async fn unstage_runs(&self, tenant: Tenant, ids: &[RunId]) -> Result<()> {
        let org = tenant.org();
        let keys: Vec<Key> = ids.iter().flat_map(|id| [run_key(org, *id), slot_key(org, *id, 0)]).collect();
        let pages: Vec<Vec<Write>> = keys
            .chunks(UNSTAGED_TOGETHER)
            .map(|page| page.iter().map(|key| Write::Delete(key.clone(), When::Any)).collect())
            .collect();
        stream::iter(pages)
            .map(|page| self.backend.transact(page))
            .buffer_unordered(PAGES_AT_A_TIME)
            .try_collect()
            .await
    }

    /// Takes a staged run away whose batch was never accepted, if nobody touched it, and gives the batch up with it: see
    /// [`Store::given_up`].
    pub(crate) async fn discard_staged(&self, tenant: Tenant, id: RunId, seen: Rev, given_up: Write) -> Result<()> {
        let org = tenant.org();
        let run = Write::Delete(run_key(org, id), When::Rev(seen));
        self.backend.transact(vec![run, Write::Delete(slot_key(org, id, 0), When::Any), given_up]).await
    }

    /// The filled slots of the run's journal with their numbers, in order.
    pub(crate) async fn journal(&self, tenant: Tenant, run: &Run) -> Result<Vec<(u32, Slot)>> {
        let wanted: Vec<(RunId, u32)> = run.slots().map(|slot| (run.id, slot)).collect();
        let slots = self.slots(tenant, &wanted).await?;
        let filled = wanted.into_iter().zip(slots).map(|((_, number), slot)| match slot {
            Some(slot) => Ok((number, slot)),
            None => Err(Error::Broken("a slot of a journal is missing".into())),
        });
        filled.collect()
    }

    /// These slots, each in its place.
    pub(crate) async fn slots(&self, tenant: Tenant, wanted: &[(RunId, u32)]) -> Result<Vec<Option<Slot>>> {
        let keys: Vec<Key> = wanted.iter().map(|(id, slot)| slot_key(tenant.org(), *id, *slot)).collect();
        Ok(self.batch_get(&keys).await?.into_iter().map(|slot| slot.map(|slot| slot.value)).collect())
    }

    /// A page of what is due in a shard before a moment (`None`: ever), and where the next begins.
    pub(crate) async fn due(
        &self,
        shard: u8,
        before: Option<Timestamp>,
        after: Option<String>,
    ) -> Result<(Vec<Due>, Option<String>)> {
        let query = Query {
            table: Table::Runs,
            index: Index::Due,
            partition: due_partition(shard),
            after,
            before: before.map(|at| format!("{:013}", at.millis_unsigned())),
            descending: false,
            limit: 1_000,
        };
        let Found { rows, next } = self.backend.query(&query).await?;
        Ok((rows.iter().filter_map(due_of).collect(), next))
    }
}
