//! Bodies that do not fit in an item: none is torn, no part stays behind, no part goes too early.

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use shared::{
    clock::{Clock, Timestamp},
    store::{
        Error,
        dynamo::SWEPT_AFTER_MS,
        row::{Row, Table, When, Write},
    },
};

use super::{Database, Faults, changed, row};

#[tokio::test]
async fn parts_go_when_their_row_is_replaced_or_deleted() {
    let database = Database::new().await;
    let backend = database.backend();
    let first = row("p", "é".repeat(500_000));
    backend.transact(vec![Write::Put(first.clone(), When::Absent)]).await.unwrap();
    assert_eq!(hidden(&database).await.len(), 3);
    assert_eq!(backend.get(&first.key).await.unwrap().as_ref(), Some(&first));

    let second = changed(&first, "y".repeat(400_000));
    backend.transact(vec![Write::Put(second.clone(), When::Rev(first.rev))]).await.unwrap();
    assert_eq!(hidden(&database).await.len(), 2);
    assert_eq!(backend.get(&first.key).await.unwrap().as_ref(), Some(&second));

    // Another process knows of the parts from reading the row.
    let elsewhere = database.elsewhere();
    elsewhere.get(&second.key).await.unwrap();
    elsewhere.transact(vec![Write::Delete(second.key, When::Rev(second.rev))]).await.unwrap();
    assert_eq!(hidden(&database).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_write_leaves_no_parts() {
    let database = Database::new().await;
    let backend = database.backend();
    let small = row("p", "{}");
    backend.transact(vec![Write::Put(small.clone(), When::Absent)]).await.unwrap();
    let large = changed(&small, "x".repeat(500_000));
    let refused = backend.transact(vec![Write::Put(large, When::Absent)]).await;
    assert!(matches!(refused, Err(Error::Conflict { index: 0 })));
    assert_eq!(hidden(&database).await, Vec::<String>::new());
    assert_eq!(backend.get(&small.key).await.unwrap(), Some(small));
}

#[tokio::test]
async fn what_a_dead_writer_left_is_swept_and_what_lives_is_not() {
    let database = Database::with_faults(1, Faults { conflicts: 1.0, ..Faults::default() }).await;
    let dead = row("dead", "x".repeat(500_000));
    let written = database.backend().transact(vec![Write::Put(dead.clone(), When::Absent)]).await;
    assert!(matches!(written, Err(Error::Unavailable(_))), "{written:?}");
    let elsewhere = database.elsewhere();
    let live = row("live", "y".repeat(500_000));
    elsewhere.put_many(vec![live.clone()]).await.unwrap();
    assert_eq!(hidden(&database).await.len(), 2 + 1 + 2);

    let sweeper = shared::store::dynamo::Dynamo::new(database.client.clone(), database.prefix.as_str());
    assert_eq!(sweeper.sweep(Clock::System.now().plus_ms(-SWEPT_AFTER_MS)).await.unwrap(), 0);
    assert_eq!(sweeper.sweep(in_an_hour()).await.unwrap(), 1);
    assert_eq!(sweeper.sweep(in_an_hour()).await.unwrap(), 0);
    assert_eq!(hidden(&database).await.len(), 2);
    assert_eq!(elsewhere.get(&dead.key).await.unwrap(), None);
    assert_eq!(elsewhere.get(&live.key).await.unwrap(), Some(live));
}

#[tokio::test]
async fn a_writer_whose_parts_were_swept_cannot_commit() {
    let database = Arc::new(Database::new().await);
    let gate = database.line.hold("TransactWriteItems");
    let slow = row("slow", "x".repeat(500_000));
    let (backend, write) = (database.backend(), vec![Write::Put(slow.clone(), When::Any)]);
    let writing = tokio::spawn(async move { backend.transact(write).await });
    while hidden(&database).await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sweeper = shared::store::dynamo::Dynamo::new(database.client.clone(), database.prefix.as_str());
    assert_eq!(sweeper.sweep(in_an_hour()).await.unwrap(), 1);
    gate.add_permits(100);
    assert!(matches!(writing.await.unwrap(), Err(Error::Unavailable(_))));
    assert_eq!(database.backend().get(&slow.key).await.unwrap(), None);
    assert_eq!(hidden(&database).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_reader_whose_parts_are_replaced_reads_the_new_row() {
    let database = Arc::new(Database::new().await);
    let elsewhere = database.elsewhere();
    let first = row("p", "1".repeat(500_000));
    elsewhere.transact(vec![Write::Put(first.clone(), When::Absent)]).await.unwrap();
    let gate = database.line.hold("BatchGetItem");
    let (backend, key) = (database.backend(), first.key.clone());
    let reading = tokio::spawn(async move { backend.get(&key).await });
    while !database.line.take_calls().contains_key("BatchGetItem") {
        tokio::task::yield_now().await;
    }
    let second = changed(&first, "2".repeat(700_000));
    elsewhere.transact(vec![Write::Put(second.clone(), When::Rev(first.rev))]).await.unwrap();
    assert_eq!(hidden(&database).await.len(), 2);
    gate.add_permits(100);
    assert_eq!(reading.await.unwrap().unwrap(), Some(second));
}

#[tokio::test]
async fn parts_expire_a_day_after_their_row_and_not_without_it() {
    let database = Database::new().await;
    let lasting = row("lasting", "x".repeat(500_000));
    let passing = Row { expires_at_s: Some(2_000_000_000), ..row("passing", "x".repeat(500_000)) };
    database.backend().put_many(vec![lasting, passing]).await.unwrap();
    let table = format!("{}{}", database.prefix, Table::Runs.name());
    let scan = database.client.scan().table_name(table).consistent_read(true).send().await.unwrap();
    let parts = scan.items().iter().filter(|item| item["pk"].as_s().unwrap().starts_with("P#"));
    let mut ttls: Vec<_> = parts.map(|item| item.get("ttl").map(|ttl| ttl.as_n().unwrap().as_str())).collect();
    ttls.sort_unstable();
    assert_eq!(ttls, [None, None, Some("2000086400"), Some("2000086400")]);
}

#[tokio::test]
async fn a_body_of_six_mebibytes_is_kept_and_one_of_ten_refused() {
    let database = Database::new().await;
    let backend = database.backend();
    let most = row("p", "x".repeat(6 << 20));
    backend.transact(vec![Write::Put(most.clone(), When::Absent)]).await.unwrap();
    assert!(backend.get(&most.key).await.unwrap() == Some(most.clone()));
    let more = backend.transact(vec![Write::Put(changed(&most, "x".repeat(10 << 20)), When::Rev(most.rev))]).await;
    assert!(matches!(more, Err(Error::TooLarge(_))));
}

/// The partitions of the parts and of the ledger, an entry for each item.
async fn hidden(database: &Database) -> Vec<String> {
    let table = format!("{}{}", database.prefix, Table::Runs.name());
    let (mut found, mut start) = (Vec::new(), None);
    loop {
        let scan = database.client.scan().table_name(&table).consistent_read(true).set_exclusive_start_key(start);
        let page = scan.send().await.unwrap();
        let partitions =
            page.items().iter().filter_map(|item| item.get("pk").and_then(|pk| AttributeValue::as_s(pk).ok()));
        found.extend(partitions.filter(|pk| pk.starts_with("P#")).cloned());
        start = page.last_evaluated_key;
        if start.is_none() {
            return found;
        }
    }
}

fn in_an_hour() -> Timestamp {
    Clock::System.now().plus_ms(3_600_000)
}
