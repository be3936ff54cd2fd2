//! Whether a write was applied is known, whatever happens to the replies.

use std::sync::Arc;

use serde_json::json;
use shared::store::{
    Backend, Error,
    row::{Index, Key, Query, Rev, Row, Table, When, Write},
};
use tokio::task::JoinSet;

use super::{Database, Faults, changed, fixture_with_faults, row};

#[tokio::test]
async fn a_lost_reply_of_a_write_is_not_a_failure() {
    let database = Database::new().await;
    let backend = database.backend();
    let first = row("p", "1");
    let other = row("q", "1");
    let second = changed(&first, "2");
    let writes = [
        vec![Write::Put(first.clone(), When::Absent)],
        vec![Write::Put(second.clone(), When::Rev(first.rev)), Write::Put(other.clone(), When::Absent)],
        vec![Write::Put(changed(&other, "2"), When::Any)],
        vec![Write::Delete(second.key.clone(), When::Rev(second.rev))],
        vec![Write::Delete(other.key.clone(), When::Any)],
    ];
    for write in writes {
        database.line.lose_next(2);
        backend.transact(write.clone()).await.unwrap_or_else(|error| panic!("{error:?}: {write:?}"));
    }
    assert_eq!(backend.batch_get(&[first.key, other.key]).await.unwrap(), [None, None]);
}

#[tokio::test]
async fn a_reply_that_is_lost_eight_times_is_found_out_by_reading() {
    let database = Database::new().await;
    let row = row("p", "1");
    database.line.lose_next(8);
    database.backend().transact(vec![Write::Put(row.clone(), When::Absent)]).await.unwrap();
    let calls = database.line.take_calls();
    assert_eq!((calls["PutItem"], calls["BatchGetItem"]), (8, 1));
    assert_eq!(database.backend().get(&row.key).await.unwrap(), Some(row));
}

/// The reply is lost and, before we try again, somebody reads our row and writes the next: ours was applied all the same.
#[tokio::test]
async fn a_lost_write_is_known_although_it_was_overwritten() {
    let database = Arc::new(Database::new().await);
    let backend = database.backend();
    let first = row("p", "1");
    backend.transact(vec![Write::Put(first.clone(), When::Absent)]).await.unwrap();
    let ours = changed(&first, "2");
    database.line.lose_next(1);
    let gate = database.line.hold("UpdateItem");
    gate.add_permits(1);
    let (write, line) = (vec![Write::Put(ours.clone(), When::Rev(first.rev))], backend.clone());
    let writing = tokio::spawn(async move { line.transact(write).await });
    let elsewhere = database.elsewhere();
    while elsewhere.get(&ours.key).await.unwrap().unwrap().rev != ours.rev {
        tokio::task::yield_now().await;
    }
    let mut last = ours.clone();
    for n in 0..5 {
        let next = changed(&last, n.to_string());
        elsewhere.transact(vec![Write::Put(next.clone(), When::Rev(last.rev))]).await.unwrap();
        last = next;
    }
    gate.add_permits(10);
    writing.await.unwrap().unwrap();
    assert_eq!(backend.get(&ours.key).await.unwrap(), Some(last));
}

/// 20 writers share a row that counts the increments of each. What a writer was told is held against the row: success
/// means counted once, a conflict not counted, and only what is not known may be either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_under_faults_lose_nothing_and_count_nothing_twice() {
    let (backend, database) = fixture_with_faults(7, Faults::USUAL).await;
    let start = row("counter", json!(vec![0; 20]).to_string());
    let key = start.key.clone();
    database.elsewhere().transact(vec![Write::Put(start, When::Absent)]).await.unwrap();
    let mut tasks = JoinSet::new();
    for writer in 0..20 {
        let (backend, key) = (backend.clone(), key.clone());
        tasks.spawn(async move { count_to_ten(&backend, &key, writer).await });
    }
    let mut unknown = 0;
    while let Some(task) = tasks.join_next().await {
        unknown += task.unwrap();
    }
    let row = backend.get(&key).await.unwrap().unwrap();
    let counts: Vec<u32> = serde_json::from_str(&row.body).unwrap();
    assert_eq!(counts.iter().sum::<u32>(), 200);
    assert!(unknown <= 4, "{unknown} of 200 writes were not known to have been applied or not");
}

/// How many of the increments were answered with neither success nor conflict.
async fn count_to_ten(backend: &Backend, key: &Key, writer: usize) -> u32 {
    let (mut done, mut unknown) = (0, 0);
    loop {
        let seen = backend.get(key).await.unwrap().unwrap();
        let mut counts: Vec<u32> = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(counts[writer], done);
        if done == 10 {
            return unknown;
        }
        counts[writer] += 1;
        let next = changed(&seen, json!(counts).to_string());
        match backend.transact(vec![Write::Put(next, When::Rev(seen.rev))]).await {
            Ok(()) => done += 1,
            Err(Error::Conflict { index: 0 }) => {}
            Err(Error::Unavailable(_)) => {
                unknown += 1;
                let row = backend.get(key).await.unwrap().unwrap();
                done = serde_json::from_str::<Vec<u32>>(&row.body).unwrap()[writer];
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_store_that_only_throttles_is_unavailable() {
    let (backend, database) = fixture_with_faults(1, Faults { throttled: 1.0, ..Faults::default() }).await;
    let row = row("p", "1");
    assert!(matches!(backend.get(&row.key).await, Err(Error::Unavailable(_))));
    assert!(matches!(backend.transact(vec![Write::Put(row, When::Absent)]).await, Err(Error::Unavailable(_))));
    assert_eq!(database.line.take_calls()["PutItem"], 8);
}

#[tokio::test]
async fn a_transaction_of_more_than_4_mib_is_refused_before_it_is_sent() {
    let database = Database::new().await;
    let put = |n: usize| Write::Put(row(&format!("p{n}"), "x".repeat(300_000)), When::Any);
    let backend = database.backend();
    backend.transact((0..13).map(put).collect()).await.unwrap();
    database.line.take_calls();
    assert!(matches!(backend.transact((0..14).map(put).collect()).await, Err(Error::TooLarge(_))));
    assert!(database.line.take_calls().is_empty());
}

#[tokio::test]
async fn each_operation_takes_the_round_trips_that_are_promised() {
    let database = Database::new().await;
    let backend = database.backend();
    let keys: Vec<Key> = (0..250).map(|n| Key::new(Table::Runs, "p", format!("{n:04}"))).collect();
    let rows = keys.iter().map(|key| Row { key: key.clone(), ..row("p", "{}") }).collect();
    backend.put_many(rows).await.unwrap();
    assert_eq!(calls(&database), "BatchWriteItem 10");
    backend.batch_get(&keys).await.unwrap();
    assert_eq!(calls(&database), "BatchGetItem 3");
    let query = Query {
        table: Table::Runs,
        index: Index::Primary,
        partition: "p".to_owned(),
        after: None,
        before: None,
        descending: false,
        limit: 1_000,
    };
    assert_eq!(backend.query(&query).await.unwrap().rows.len(), 250);
    assert_eq!(calls(&database), "Query 1");
    let small = row("q", "{}");
    backend.transact(vec![Write::Put(small.clone(), When::Absent)]).await.unwrap();
    assert_eq!(calls(&database), "PutItem 1");
    backend.get(&small.key).await.unwrap();
    assert_eq!(calls(&database), "GetItem 1");
    let large = changed(&small, "x".repeat(1_000_000));
    let check = Write::Check(keys[0].clone(), When::Rev(Rev::fresh()));
    assert!(matches!(backend.transact(vec![check]).await, Err(Error::Conflict { index: 0 })));
    assert_eq!(calls(&database), "TransactWriteItems 1");
    backend.transact(vec![Write::Put(large.clone(), When::Rev(small.rev))]).await.unwrap();
    assert_eq!(calls(&database), "BatchWriteItem 2, Query 1, TransactWriteItems 1");
    backend.get(&large.key).await.unwrap();
    assert_eq!(calls(&database), "BatchGetItem 1, GetItem 1");
}

fn calls(database: &Database) -> String {
    let calls = database.line.take_calls();
    calls.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
