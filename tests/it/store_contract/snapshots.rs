//! Several rows as they are at one moment.

use super::{Backend, Key, Row, Table, When, Write, changed, partition, put, row};

pub(super) async fn rows_come_in_the_order_of_their_keys(backend: &Backend) {
    let partition = partition();
    let large = row(&partition, "c", format!("\"{}\"", "x".repeat(1_000_000)));
    let (one, two) = (row(&partition, "a", "1"), row(&partition, "b", "2"));
    for there in [&one, &two, &large] {
        put(backend, there, When::Absent).await.unwrap();
    }
    let missing = Key::new(Table::Runs, partition.clone(), "none");
    let keys = [large.key.clone(), missing, two.key.clone(), one.key.clone()];
    let found = backend.snapshot(&keys).await.unwrap();
    assert!(found == [Some(large), None, Some(two), Some(one)], "another order, or another body");
}

/// Two rows are rewritten together again and again, with bodies that are split and bodies that are not; who reads them finds the same.
pub(super) async fn no_transaction_is_seen_in_part(backend: &Backend) {
    const TIMES: usize = 40;
    let partition = partition();
    let mut rows: Vec<Row> = ["a", "b"].iter().map(|sort| row(&partition, sort, "0")).collect();
    let put_all = |rows: &[Row], when: &dyn Fn(usize) -> When| {
        rows.iter().enumerate().map(|(n, row)| Write::Put(row.clone(), when(n))).collect::<Vec<_>>()
    };
    backend.transact(put_all(&rows, &|_| When::Absent)).await.unwrap();
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let writing = async {
        for n in 1..=TIMES {
            let body = if n % 4 == 0 { format!("\"{n}{}\"", "x".repeat(700_000)) } else { n.to_string() };
            let seen: Vec<_> = rows.iter().map(|row| row.rev).collect();
            rows = rows.iter().map(|row| changed(row, body.clone())).collect();
            backend.transact(put_all(&rows, &|n| When::Rev(seen[n]))).await.unwrap();
        }
    };
    let reading = async {
        let mut last = String::new();
        for _ in 0..TIMES {
            let found = backend.snapshot(&keys).await.unwrap();
            let bodies: Vec<String> = found.into_iter().map(|row| row.unwrap().body).collect();
            assert!(bodies[0] == bodies[1], "a transaction is seen in part");
            last.clone_from(&bodies[0]);
        }
        last
    };
    let ((), last) = futures_util::future::join(writing, reading).await;
    assert!(!last.is_empty());
}
