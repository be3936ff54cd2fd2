//! Bodies of all sizes: a backend that splits large ones lets nobody see it.

use super::{
    Backend, Index, Key, Query, Rev, Row, When, Write, all_of, changed, conflict, entry, every_page, given, partition,
    put, row,
};

/// JSON text of exactly so many bytes.
fn text(unit: &str, bytes: usize) -> String {
    let mut text = String::from("\"");
    text.push_str(&unit.repeat((bytes - 2) / unit.len()));
    text.push_str(&"x".repeat(bytes - 1 - text.len()));
    text.push('"');
    assert_eq!(text.len(), bytes);
    text
}

/// Equal, without printing megabytes when they are not.
fn assert_same(found: Option<&Row>, expected: &Row) {
    let found = found.expect("the row is there");
    assert_eq!(found.body.len(), expected.body.len());
    assert!(found == expected, "{:?} differs", expected.key);
}

async fn round_trip(backend: &Backend, body: String) {
    let one = row(&partition(), "a", body);
    put(backend, &one, When::Absent).await.unwrap();
    assert_same(backend.get(&one.key).await.unwrap().as_ref(), &one);
}

pub(super) async fn empty_and_odd_bodies_round_trip(backend: &Backend) {
    for body in ["{}", "null", "\"\"", "[]", "\" \\u0000 \\n \"", "\"'; DROP TABLE runs; --\"", "1e400"] {
        round_trip(backend, body.to_owned()).await;
    }
}

pub(super) async fn half_a_megabyte_round_trips(backend: &Backend) {
    // Around the limit of an item of DynamoDB as well.
    for bytes in [399_000, 400_000, 409_600, 500_000] {
        round_trip(backend, text("abc ", bytes)).await;
    }
}

pub(super) async fn a_megabyte_of_wide_characters_round_trips(backend: &Backend) {
    // Characters of 2, 3 and 4 bytes, so that no split after a fixed number of bytes falls between all of them.
    round_trip(backend, text("é", 1_000_001)).await;
    round_trip(backend, text("日本", 1_000_003)).await;
    round_trip(backend, text("🦀x", 1_000_000)).await;
}

pub(super) async fn five_megabytes_grow_shrink_and_go(backend: &Backend) {
    let partition = partition();
    let mut there = row(&partition, "a", "1");
    put(backend, &there, When::Absent).await.unwrap();
    for body in [text("é🦀", 5_000_000), text("日本", 1_000_000), text("z", 5_500_000), "2".to_owned()] {
        let next = changed(&there, body);
        put(backend, &next, When::Rev(there.rev)).await.unwrap();
        assert_same(backend.get(&next.key).await.unwrap().as_ref(), &next);
        there = next;
    }
    let next = changed(&there, text("é", 5_000_000));
    put(backend, &next, When::Rev(there.rev)).await.unwrap();
    backend.transact(vec![Write::Delete(next.key.clone(), When::Rev(next.rev))]).await.unwrap();
    assert!(backend.get(&next.key).await.unwrap().is_none());
    assert!(every_page(backend, all_of(&partition)).await.is_empty());
    let again = changed(&next, "3");
    put(backend, &again, When::Absent).await.unwrap();
    assert_same(backend.get(&again.key).await.unwrap().as_ref(), &again);
}

pub(super) async fn large_rows_are_found_by_queries_and_batches(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = (0..6)
        .map(|number: usize| {
            let bytes = if number.is_multiple_of(2) { 1_500_000 } else { 40 };
            let place = Some(entry(&partition, &number.to_string()));
            Row { listed: place, ..row(&partition, &number.to_string(), text("日🦀", bytes)) }
        })
        .collect();
    given(backend, rows.clone()).await;
    for index in [Index::Primary, Index::Listed] {
        let found = every_page(backend, Query { index, ..all_of(&partition) }).await;
        assert_eq!(found.len(), rows.len(), "{index:?}");
        found.iter().zip(&rows).for_each(|(found, row)| assert_same(Some(found), row));
    }
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let found = backend.batch_get(&keys).await.unwrap();
    found.iter().zip(&rows).for_each(|(found, row)| assert_same(found.as_ref(), row));
}

pub(super) async fn a_large_row_with_a_failed_condition_changes_nothing(backend: &Backend) {
    let partition = partition();
    let there = row(&partition, "a", text("é", 1_000_000));
    put(backend, &there, When::Absent).await.unwrap();
    let other = changed(&there, text("ü", 1_200_000));
    assert_eq!(conflict(put(backend, &other, When::Rev(Rev::fresh())).await), 0);
    assert_eq!(conflict(put(backend, &other, When::Absent).await), 0);
    assert_same(backend.get(&there.key).await.unwrap().as_ref(), &there);
    assert_eq!(every_page(backend, all_of(&partition)).await.len(), 1);
}

pub(super) async fn several_large_rows_in_one_transaction(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = ["a", "b", "c"].map(|sort| row(&partition, sort, text("日", 900_000))).to_vec();
    let puts = rows.iter().map(|row| Write::Put(row.clone(), When::Absent)).collect();
    backend.transact(puts).await.unwrap();
    for row in &rows {
        assert_same(backend.get(&row.key).await.unwrap().as_ref(), row);
    }
}
