//! Many at once: nothing is lost, nothing is seen by halves.

use futures_util::future::join_all;

use super::{Backend, Error, Row, When, Write, all_of, changed, every_page, given, partition, put, row};

fn number(row: &Row) -> u64 {
    row.body.parse().unwrap()
}

/// Adds one; tries again for as long as others are quicker.
async fn increment(backend: &Backend, of: &Row) {
    loop {
        let there = backend.get(&of.key).await.unwrap().unwrap();
        let next = changed(&there, (number(&there) + 1).to_string());
        match put(backend, &next, When::Rev(there.rev)).await {
            Ok(()) => return,
            Err(Error::Conflict { index: 0 } | Error::Unavailable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub(super) async fn increments_by_compare_and_set_lose_nothing(backend: &Backend) {
    let counter = row(&partition(), "counter", "0");
    given(backend, [counter.clone()]).await;
    let tasks = (0..20).map(|_| {
        let (backend, counter) = (backend.clone(), counter.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                increment(&backend, &counter).await;
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(number(&backend.get(&counter.key).await.unwrap().unwrap()), 200);
}

pub(super) async fn absent_has_exactly_one_winner(backend: &Backend) {
    let partition = partition();
    for sort in ["a", "b", "c"] {
        let rows: Vec<Row> = (0..20).map(|task| row(&partition, sort, task.to_string())).collect();
        let tasks = rows.iter().cloned().map(|row| {
            let backend = backend.clone();
            tokio::spawn(async move { put(&backend, &row, When::Absent).await })
        });
        let outcomes = join_all(tasks).await;
        let winners: Vec<&Row> =
            rows.iter().zip(outcomes).filter_map(|(row, outcome)| outcome.unwrap().is_ok().then_some(row)).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(backend.get(&winners[0].key).await.unwrap().as_ref(), Some(winners[0]));
    }
}

/// Moves one from `a` to `b`; whether it did.
async fn transfer(backend: &Backend, a: &Row, b: &Row) -> bool {
    let found = backend.batch_get(&[a.key.clone(), b.key.clone()]).await.unwrap();
    let [Some(a), Some(b)] = found.as_slice() else { panic!("both rows are there") };
    let (less, more) = (changed(a, (number(a) - 1).to_string()), changed(b, (number(b) + 1).to_string()));
    let writes = vec![Write::Put(less, When::Rev(a.rev)), Write::Put(more, When::Rev(b.rev))];
    backend.transact(writes).await.is_ok()
}

/// Tries it fifteen times; how often it was done.
async fn transfers(backend: Backend, a: Row, b: Row) -> i64 {
    let mut done = 0;
    for _ in 0..15 {
        done += i64::from(transfer(&backend, &a, &b).await);
    }
    done
}

pub(super) async fn transfers_never_show_half_of_themselves(backend: &Backend) {
    let partition = partition();
    let (a, b) = (row(&partition, "a", "1000"), row(&partition, "b", "1000"));
    given(backend, [a.clone(), b.clone()]).await;
    let tasks = (0..8).map(|task| {
        let (backend, a, b) = (backend.clone(), a.clone(), b.clone());
        let (from, to, sign) = if task % 2 == 0 { (a, b, -1) } else { (b, a, 1) };
        tokio::spawn(async move { sign * transfers(backend, from, to).await })
    });
    let net: i64 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    let rows = every_page(backend, all_of(&partition)).await;
    let numbers: Vec<i64> = rows.iter().map(|row| number(row).cast_signed()).collect();
    assert_eq!(numbers, [1000 + net, 1000 - net]);
}

pub(super) async fn what_was_answered_is_seen(backend: &Backend) {
    let partition = partition();
    let tasks = (0..10).map(|task| {
        let (backend, partition) = (backend.clone(), partition.clone());
        tokio::spawn(async move {
            for round in 0..10 {
                let one = row(&partition, &format!("{task}-{round}"), "1");
                put(&backend, &one, When::Absent).await.unwrap();
                assert_eq!(backend.get(&one.key).await.unwrap().as_ref(), Some(&one));
                let rows = backend.query(&all_of(&partition)).await.unwrap().rows;
                assert!(rows.contains(&one));
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(every_page(backend, all_of(&partition)).await.len(), 100);
}
