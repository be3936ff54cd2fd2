//! Counters: numbers that many add to, within a bound or without.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{Add, Backend, Error, Key, Table, When, Write, all_of, changed, conflict, every_page, partition, put, row};

fn counter(partition: &str) -> Key {
    Key::new(Table::Runs, partition, "counter")
}

fn add(key: &Key, amounts: &[(&'static str, i64)], at_most: Option<(&'static str, i64)>) -> Write {
    Write::Add(Add { key: key.clone(), amounts: amounts.to_vec(), at_most, expires_at_s: Some(4_102_444_800) })
}

/// With a new row that proves that it was applied.
async fn added(backend: &Backend, add: Write) -> shared::store::Result<()> {
    let proof = row(&partition(), "proof", "1");
    backend.transact(vec![Write::Put(proof, When::Absent), add]).await
}

async fn numbers(backend: &Backend, key: &Key) -> BTreeMap<String, i64> {
    let row = backend.get(key).await.unwrap();
    row.map(|row| serde_json::from_str(&row.body).unwrap()).unwrap_or_default()
}

pub(super) async fn a_counter_is_made_and_added_to(backend: &Backend) {
    let key = counter(&partition());
    assert_eq!(numbers(backend, &key).await, BTreeMap::new());
    added(backend, add(&key, &[("calls", 1), ("cost_micro_usd", 7)], None)).await.unwrap();
    let first = backend.get(&key).await.unwrap().unwrap();
    assert_eq!(first.expires_at_s, Some(4_102_444_800));
    added(backend, add(&key, &[("calls", 2), ("tokens", 5)], None)).await.unwrap();
    let wanted = [("calls", 3), ("cost_micro_usd", 7), ("tokens", 5)].map(|(name, at)| (name.to_owned(), at));
    assert_eq!(numbers(backend, &key).await, BTreeMap::from(wanted));
    assert_ne!(backend.get(&key).await.unwrap().unwrap().rev, first.rev);
}

pub(super) async fn a_counter_is_found_by_queries_and_batches(backend: &Backend) {
    let partition = partition();
    let beside = row(&partition, "beside", "1");
    put(backend, &beside, When::Absent).await.unwrap();
    added(backend, add(&counter(&partition), &[("n", 3)], None)).await.unwrap();
    let rows = every_page(backend, all_of(&partition)).await;
    assert_eq!(rows.iter().map(|row| row.body.as_str()).collect::<Vec<_>>(), ["1", r#"{"n":3}"#]);
    let found = backend.batch_get(&[counter(&partition), beside.key.clone()]).await.unwrap();
    assert_eq!(found, [Some(rows[1].clone()), Some(beside)]);
}

pub(super) async fn what_would_pass_the_bound_undoes_all(backend: &Backend) {
    let partition = partition();
    let key = counter(&partition);
    added(backend, add(&key, &[("n", 8)], Some(("n", 10)))).await.unwrap();
    let (one, free) = (row(&partition, "one", "1"), Key::new(Table::Runs, &*partition, "free"));
    let writes = |amount| {
        vec![
            Write::Put(one.clone(), When::Absent),
            add(&free, &[("n", 1)], None),
            add(&key, &[("n", amount)], Some(("n", 10))),
        ]
    };
    assert_eq!(conflict(backend.transact(writes(3)).await), 2);
    assert_eq!((backend.get(&one.key).await.unwrap(), numbers(backend, &free).await.len()), (None, 0));
    backend.transact(writes(2)).await.unwrap();
    assert_eq!((numbers(backend, &key).await["n"], numbers(backend, &free).await["n"]), (10, 1));
}

pub(super) async fn a_bound_below_what_is_added_refuses_a_missing_counter_too(backend: &Backend) {
    let key = counter(&partition());
    assert_eq!(conflict(added(backend, add(&key, &[("n", 5)], Some(("n", 4)))).await), 1);
    assert_eq!(conflict(added(backend, add(&key, &[("n", 1)], Some(("n", 0)))).await), 1);
    added(backend, add(&key, &[("other", 1)], None)).await.unwrap();
    assert_eq!(conflict(added(backend, add(&key, &[("n", 5)], Some(("n", 4)))).await), 1);
    added(backend, add(&key, &[("n", 4)], Some(("n", 4)))).await.unwrap();
    assert_eq!(numbers(backend, &key).await["n"], 4);
}

pub(super) async fn negative_amounts_make_room(backend: &Backend) {
    let key = counter(&partition());
    added(backend, add(&key, &[("n", 10)], Some(("n", 10)))).await.unwrap();
    assert_eq!(conflict(added(backend, add(&key, &[("n", 1)], Some(("n", 10)))).await), 1);
    added(backend, add(&key, &[("n", -4)], None)).await.unwrap();
    added(backend, add(&key, &[("n", 4)], Some(("n", 10)))).await.unwrap();
    assert_eq!(conflict(added(backend, add(&key, &[("n", -1)], Some(("n", 8)))).await), 1);
    assert_eq!(numbers(backend, &key).await["n"], 10);
}

pub(super) async fn a_counter_needs_a_row_that_proves_it(backend: &Backend) {
    let key = counter(&partition());
    let unproven = Write::Put(row(&partition(), "any", "1"), When::Any);
    for writes in [vec![add(&key, &[("n", 1)], None)], vec![unproven, add(&key, &[("n", 1)], None)]] {
        assert!(matches!(backend.transact(writes).await, Err(Error::Broken(_))));
    }
    assert_eq!(backend.get(&key).await.unwrap(), None);
}

pub(super) async fn own_retry_adds_nothing(backend: &Backend) {
    let partition = partition();
    let key = counter(&partition);
    let first = row(&partition, "proof", "1");
    put(backend, &first, When::Absent).await.unwrap();
    let proof = changed(&first, "2");
    let writes = vec![Write::Put(proof, When::Rev(first.rev)), add(&key, &[("n", 3)], Some(("n", 3)))];
    backend.transact(writes.clone()).await.unwrap();
    backend.transact(writes).await.unwrap();
    assert_eq!(numbers(backend, &key).await["n"], 3);
}

pub(super) async fn additions_side_by_side_lose_nothing(backend: &Backend) {
    let key = counter(&partition());
    let sums = join_all((0..20).map(|_| {
        let (backend, key) = (backend.clone(), key.clone());
        tokio::spawn(async move { repeatedly(&backend, &add(&key, &[("n", 1), ("m", -2)], None)).await })
    }));
    let applied: i64 = sums.await.into_iter().map(Result::unwrap).sum();
    assert_eq!(applied, 100);
    let numbers = numbers(backend, &key).await;
    assert_eq!((numbers["n"], numbers["m"]), (100, -200));
}

/// Five times, each as often as the store is too busy for; how many were applied.
async fn repeatedly(backend: &Backend, add: &Write) -> i64 {
    let mut applied = 0;
    for _ in 0..5 {
        // The same row for every try, so that one of which nothing is known is not made twice.
        let writes = vec![Write::Put(row(&partition(), "proof", "1"), When::Absent), add.clone()];
        loop {
            match backend.transact(writes.clone()).await {
                Ok(()) => applied += 1,
                Err(Error::Conflict { index: 1 }) => {}
                Err(Error::Unavailable(_)) => continue,
                Err(error) => panic!("{error:?}"),
            }
            break;
        }
    }
    applied
}

pub(super) async fn a_bound_is_used_up_exactly_and_never_passed(backend: &Backend) {
    let key = counter(&partition());
    let adding: Vec<_> = (0..20)
        .map(|_| {
            let (backend, key) = (backend.clone(), key.clone());
            tokio::spawn(async move { repeatedly(&backend, &add(&key, &[("n", 1)], Some(("n", 30)))).await })
        })
        .collect();
    while !adding.iter().all(tokio::task::JoinHandle::is_finished) {
        assert!(numbers(backend, &key).await.get("n").is_none_or(|n| *n <= 30));
        tokio::task::yield_now().await;
    }
    let applied: i64 = join_all(adding).await.into_iter().map(Result::unwrap).sum();
    assert_eq!((applied, numbers(backend, &key).await["n"]), (30, 30));
}
