//! The one thread that writes: it commits all transactions that wait together, so that they share one fsync.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{Failed, counter, statements::Statements, stopped};
use crate::{
    clock::Clock,
    store::row::{Error, Key, Result, Rev, Row, Table, When, Write},
};

/// The most transactions that share a commit.
const GROUP_LIMIT: usize = 512;

/// So many may wait; the next callers wait for a place.
const WAITING_LIMIT: usize = 2048;

/// How often rows whose time has passed are looked for, and the most of a table that are deleted then.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
const SWEEP_LIMIT: i64 = 1000;

/// The thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    writes: Vec<Write>,
    answer: oneshot::Sender<Result<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_LIMIT);
        let named = thread::Builder::new().name("store-write".to_owned());
        let thread = named.spawn(move || run(connection, waiting)).map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// All of these writes or none; answered when they are on the disk.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Job { writes, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    /// Waits until what waits is written.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut connection: Connection, mut waiting: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP_LIMIT);
    let mut swept: Option<Instant> = None;
    while waiting.blocking_recv_many(&mut group, GROUP_LIMIT) > 0 {
        commit(&mut connection, &mut group);
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_PERIOD) {
            swept = Some(Instant::now());
            if let Err(error) = sweep(&mut connection) {
                tracing::warn!(%error, "expired rows could not be deleted");
            }
        }
    }
}

/// Commits the group and answers everyone in it.
fn commit(connection: &mut Connection, group: &mut Vec<Job>) {
    match apply_all(connection, group) {
        Ok(outcomes) => {
            for (job, outcome) in group.drain(..).zip(outcomes) {
                let _ = job.answer.send(outcome);
            }
        }
        Err(error) => {
            tracing::error!(%error, transactions = group.len(), "a commit failed");
            let failed = Failed(Arc::new(error));
            for job in group.drain(..) {
                let _ = job.answer.send(Err(failed.clone().into()));
            }
        }
    }
}

fn apply_all(connection: &mut Connection, group: &[Job]) -> rusqlite::Result<Vec<Result<()>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = group.iter().map(|job| apply(&transaction, &job.writes)).collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

/// All conditions first, then the writes: what fails has written nothing, and the rest of the group goes on.
fn apply(connection: &Connection, writes: &[Write]) -> rusqlite::Result<Result<()>> {
    let mut conflict = None;
    for (index, write) in writes.iter().enumerate() {
        match check(connection, write)? {
            Verdict::Holds => {}
            Verdict::Applied => return Ok(Ok(())),
            Verdict::Fails => conflict = conflict.or(Some(index)),
        }
    }
    if let Some(index) = conflict {
        return Ok(Err(Error::Conflict { index }));
    }
    for write in writes {
        match write {
            Write::Put(row, _) => put(connection, row)?,
            Write::Delete(key, _) => delete(connection, key)?,
            Write::Check(..) => {}
            Write::Add(add) => counter::add(connection, add)?,
        }
    }
    Ok(Ok(()))
}

/// What a row says about a write.
enum Verdict {
    /// Its condition holds.
    Holds,
    /// It does not.
    Fails,
    /// The row carries the very revision that would be written: the whole transaction was applied before.
    Applied,
}

fn check(connection: &Connection, write: &Write) -> rusqlite::Result<Verdict> {
    let (when, own) = match write {
        Write::Put(row, when) => (*when, Some(row.rev)),
        Write::Delete(_, when) | Write::Check(_, when) => (*when, None),
        Write::Add(add) if counter::has_room(connection, add)? => return Ok(Verdict::Holds),
        Write::Add(_) => return Ok(Verdict::Fails),
    };
    let wanted = match when {
        When::Any => return Ok(Verdict::Holds),
        When::Absent => None,
        When::Rev(rev) => Some(rev),
    };
    let there = rev(connection, write.key())?;
    Ok(match there {
        _ if there == wanted => Verdict::Holds,
        Some(rev) if own == Some(rev) => Verdict::Applied,
        _ => Verdict::Fails,
    })
}

fn rev(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Rev>> {
    let mut statement = connection.prepare_cached(Statements::of(key.table).rev)?;
    statement.query_row(params![key.partition, key.sort], |columns| columns.get(0).map(Rev)).optional()
}

pub(super) fn put(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    let (listed, due) = (row.listed.as_ref(), row.due.as_ref());
    connection.prepare_cached(Statements::of(row.key.table).put)?.execute(params![
        row.key.partition,
        row.key.sort,
        row.rev.0,
        row.expires_at_s,
        listed.map(|entry| &entry.partition),
        listed.map(|entry| &entry.sort),
        due.map(|entry| &entry.partition),
        due.map(|entry| &entry.sort),
        row.body,
    ])?;
    Ok(())
}

fn delete(connection: &Connection, key: &Key) -> rusqlite::Result<()> {
    connection.prepare_cached(Statements::of(key.table).delete)?.execute(params![key.partition, key.sort])?;
    Ok(())
}

fn sweep(connection: &mut Connection) -> rusqlite::Result<()> {
    let now_s = Clock::System.now().millis().div_euclid(1000);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for table in Table::ALL {
        transaction.prepare_cached(Statements::of(table).sweep)?.execute(params![now_s, SWEEP_LIMIT])?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{read, schema};

    fn row(sort: &str, bytes: usize) -> Row {
        let key = Key::new(Table::Runs, "full", sort);
        Row { key, rev: Rev::fresh(), body: "x".repeat(bytes), listed: None, due: None, expires_at_s: None }
    }

    fn puts(writer: &Writer, sort: &str, bytes: usize) -> impl Future<Output = Result<()>> {
        writer.write(vec![Write::Put(row(sort, bytes), When::Absent)])
    }

    #[tokio::test]
    async fn a_full_disk_is_answered_and_the_thread_lives_on() {
        let path = std::env::temp_dir().join(format!("muster-full-{}.db", uuid::Uuid::now_v7()));
        let connection = schema::open(&path).unwrap();
        connection.execute_batch("PRAGMA max_page_count = 100").unwrap();
        let writer = Writer::start(connection).unwrap();
        puts(&writer, "a", 1000).await.unwrap();
        let refused = puts(&writer, "b", 1_000_000).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        puts(&writer, "c", 1000).await.unwrap();

        let reader = schema::open_reader(&path).unwrap();
        let there = |sort| read::get(&reader, &row(sort, 0).key).unwrap().is_some();
        assert_eq!(["a", "b", "c"].map(there), [true, false, true]);
        assert!(read::integrity_check(&reader).unwrap());
        drop((writer, reader));
        std::fs::remove_file(&path).unwrap();
    }
}
