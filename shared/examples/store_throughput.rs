//! How fast the SQLite store is on this machine: `cargo run --release --example store_throughput -p shared [folder]`.
//!
//! Every writer waits until its row is on the disk before it writes the next one.
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{
    env, fs,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use shared::store::{
    Backend, Result,
    row::{Entry, Index, Key, Query, Rev, Row, Table, When, Write},
    sqlite::Sqlite,
};

/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(2);

const BODY_BYTES: usize = 300;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = env::args_os().nth(1).map_or_else(env::temp_dir, PathBuf::from);
    let path = folder.join(format!("store_throughput-{}.db", process::id()));
    let backend = Backend::Sqlite(Sqlite::open(&path)?);
    for writers in [1, 50, 1000] {
        measure("write one new row", &backend, writers, write).await?;
    }
    for readers in [1, 50, 1000] {
        measure("read one row", &backend, readers, read).await?;
    }
    measure("read 1,000 rows by key", &backend, 1, batch_read).await?;
    measure("list 100 rows", &backend, 1, list).await?;
    measure_mixed(&backend).await?;
    drop(backend);
    fs::remove_file(&path).ok();
    Ok(())
}

/// The place of the row that a task writes or reads in its round. The tasks of each measurement have other numbers.
fn key(task: usize, round: usize) -> Key {
    Key::new(Table::Runs, format!("organisation-{}#run-{task}", task % 7), format!("{round:08}"))
}

async fn write(backend: Backend, task: usize, round: usize) -> Result<()> {
    let listed = Entry { partition: format!("list-{}", task % 7), sort: format!("{round:08}#{task:08}") };
    let row = Row {
        key: key(task, round),
        rev: Rev::fresh(),
        body: "x".repeat(BODY_BYTES),
        listed: Some(listed),
        due: None,
        expires_at_s: None,
    };
    backend.transact(vec![Write::Put(row, When::Absent)]).await
}

async fn read(backend: Backend, task: usize, round: usize) -> Result<()> {
    backend.get(&key(task, round % 10)).await.map(drop)
}

async fn batch_read(backend: Backend, _: usize, round: usize) -> Result<()> {
    let keys: Vec<Key> = (0..1000).map(|task| key(task, round % 10)).collect();
    backend.batch_get(&keys).await.map(drop)
}

async fn list(backend: Backend, task: usize, round: usize) -> Result<()> {
    let query = Query {
        table: Table::Runs,
        index: Index::Listed,
        partition: format!("list-{}", (task + round) % 7),
        after: None,
        before: None,
        descending: true,
        limit: 100,
    };
    backend.query(&query).await.map(drop)
}

/// Many tasks, each doing one thing after the other; prints how many they did and how long one took.
async fn measure<F>(what: &str, backend: &Backend, tasks: usize, step: fn(Backend, usize, usize) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let backend = backend.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while started.elapsed() < SPAN {
                    let begun = Instant::now();
                    step(backend.clone(), task + tasks, took.len()).await?;
                    took.push(begun.elapsed());
                }
                Ok::<_, shared::store::Error>(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in running {
        took.extend(task.await.map_err(|error| shared::store::Error::Broken(error.into()))??);
    }
    report(what, tasks, started.elapsed(), took);
    Ok(())
}

/// Reads while 1,000 tasks write.
async fn measure_mixed(backend: &Backend) -> Result<()> {
    let writing = backend.clone();
    let writers = tokio::spawn(async move { measure("write while 50 read", &writing, 1000, write_more).await });
    measure("read while 1,000 write", backend, 50, read).await?;
    writers.await.map_err(|error| shared::store::Error::Broken(error.into()))?
}

async fn write_more(backend: Backend, task: usize, round: usize) -> Result<()> {
    write(backend, task + 1_000_000, round).await
}

fn report(what: &str, tasks: usize, span: Duration, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    let per_s = took.len() as f64 / span.as_secs_f64();
    println!("{what:<24} {tasks:>5} tasks {per_s:>10.0}/s  p50 {:>10.1?}  p99 {:>10.1?}", at(50), at(99));
}
