//! Several writes: all or none.

use super::{
    Backend, Error, Key, Rev, Row, Table, When, Write, all_of, changed, conflict, every_page, given, numbered,
    partition, put, row,
};

pub(super) async fn all_writes_of_a_transaction_happen(backend: &Backend) {
    let partition = partition();
    let (old, gone) = (row(&partition, "old", "1"), row(&partition, "gone", "1"));
    given(backend, [old.clone(), gone.clone()]).await;
    let (new, renewed) = (row(&partition, "new", "1"), changed(&old, "2"));
    let writes = vec![
        Write::Put(new.clone(), When::Absent),
        Write::Put(renewed.clone(), When::Rev(old.rev)),
        Write::Delete(gone.key, When::Rev(gone.rev)),
    ];
    backend.transact(writes).await.unwrap();
    assert_eq!(every_page(backend, all_of(&partition)).await, [new, renewed]);
}

pub(super) async fn one_failed_condition_undoes_all(backend: &Backend) {
    let partition = partition();
    let there = row(&partition, "c", "1");
    given(backend, [there.clone()]).await;
    let writes = vec![
        Write::Put(row(&partition, "a", "1"), When::Absent),
        Write::Put(row(&partition, "b", "1"), When::Any),
        Write::Delete(there.key.clone(), When::Rev(Rev::fresh())),
    ];
    assert_eq!(conflict(backend.transact(writes).await), 2);
    assert_eq!(every_page(backend, all_of(&partition)).await, [there]);
}

pub(super) async fn the_first_failing_write_is_named(backend: &Backend) {
    let partition = partition();
    let there = row(&partition, "there", "1");
    given(backend, [there.clone()]).await;
    let good = |sort| Write::Put(row(&partition, sort, "1"), When::Absent);
    let bad_put = || Write::Put(changed(&there, "2"), When::Absent);
    let bad_check = || Write::Check(Key::new(Table::Runs, &*partition, "missing"), When::Rev(Rev::fresh()));
    assert_eq!(conflict(backend.transact(vec![bad_put(), good("a"), bad_check()]).await), 0);
    assert_eq!(conflict(backend.transact(vec![good("a"), bad_check(), bad_put()]).await), 1);
    assert_eq!(conflict(backend.transact(vec![good("a"), good("b"), bad_put(), good("c")]).await), 2);
    assert_eq!(every_page(backend, all_of(&partition)).await, [there]);
}

pub(super) async fn a_check_guards_and_writes_nothing(backend: &Backend) {
    let partition = partition();
    let guard = row(&partition, "guard", "1");
    given(backend, [guard.clone()]).await;
    let new = row(&partition, "new", "1");
    let guarded = |rev| vec![Write::Check(guard.key.clone(), When::Rev(rev)), Write::Put(new.clone(), When::Absent)];
    assert_eq!(conflict(backend.transact(guarded(Rev::fresh())).await), 0);
    assert_eq!(backend.get(&new.key).await.unwrap(), None);
    backend.transact(guarded(guard.rev)).await.unwrap();
    assert_eq!(every_page(backend, all_of(&partition)).await, [guard, new]);
}

pub(super) async fn a_check_of_absence_guards(backend: &Backend) {
    let partition = partition();
    let (guard, first, second) = (row(&partition, "guard", "1"), row(&partition, "1", "1"), row(&partition, "2", "1"));
    let guarded =
        |row: &Row| vec![Write::Put(row.clone(), When::Absent), Write::Check(guard.key.clone(), When::Absent)];
    backend.transact(guarded(&first)).await.unwrap();
    put(backend, &guard, When::Absent).await.unwrap();
    assert_eq!(conflict(backend.transact(guarded(&second)).await), 1);
    assert_eq!(every_page(backend, all_of(&partition)).await, [first, guard]);
}

pub(super) async fn a_transaction_spans_tables_and_partitions(backend: &Backend) {
    let (here, there) = (partition(), partition());
    let rows: Vec<Row> = Table::ALL
        .iter()
        .flat_map(|table| [(*table, &here), (*table, &there)])
        .map(|(table, partition)| Row { key: Key::new(table, &**partition, "a"), ..row(partition, "a", table.name()) })
        .collect();
    let mut writes: Vec<Write> = rows.iter().map(|row| Write::Put(row.clone(), When::Absent)).collect();
    writes.push(Write::Check(Key::new(Table::Agents, &*here, "missing"), When::Rev(Rev::fresh())));
    assert_eq!(conflict(backend.transact(writes.clone()).await), rows.len());
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    assert!(backend.batch_get(&keys).await.unwrap().iter().all(Option::is_none));
    writes.pop();
    backend.transact(writes).await.unwrap();
    assert_eq!(backend.batch_get(&keys).await.unwrap(), rows.into_iter().map(Some).collect::<Vec<_>>());
}

pub(super) async fn a_hundred_writes_pass(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = numbered(100).map(|sort| row(&partition, &sort, "1")).collect();
    let puts = || rows.iter().map(|row| Write::Put(row.clone(), When::Absent)).collect();
    backend.transact(puts()).await.unwrap();
    assert_eq!(every_page(backend, all_of(&partition)).await, rows);
}

pub(super) async fn a_hundred_and_one_writes_are_refused(backend: &Backend) {
    let partition = partition();
    let writes = numbered(101).map(|sort| Write::Put(row(&partition, &sort, "1"), When::Absent)).collect();
    assert!(matches!(backend.transact(writes).await, Err(Error::TooLarge(_))));
    assert!(every_page(backend, all_of(&partition)).await.is_empty());
}

pub(super) async fn no_writes_are_refused(backend: &Backend) {
    assert!(matches!(backend.transact(Vec::new()).await, Err(Error::Broken(_))));
}

pub(super) async fn the_same_row_twice_is_refused(backend: &Backend) {
    let one = row(&partition(), "a", "1");
    for other in [
        Write::Put(changed(&one, "2"), When::Any),
        Write::Delete(one.key.clone(), When::Any),
        Write::Check(one.key.clone(), When::Absent),
    ] {
        let result = backend.transact(vec![Write::Put(one.clone(), When::Absent), other]).await;
        assert!(matches!(result, Err(Error::Broken(_))), "{result:?}");
    }
    assert_eq!(backend.get(&one.key).await.unwrap(), None);
}

pub(super) async fn own_retry_of_a_transaction_is_recognised(backend: &Backend) {
    let partition = partition();
    let (old, gone) = (row(&partition, "old", "1"), row(&partition, "gone", "1"));
    given(backend, [old.clone(), gone.clone()]).await;
    let (new, renewed) = (row(&partition, "new", "1"), changed(&old, "2"));
    let writes = || {
        vec![
            Write::Delete(gone.key.clone(), When::Rev(gone.rev)),
            Write::Put(new.clone(), When::Absent),
            Write::Put(renewed.clone(), When::Rev(old.rev)),
        ]
    };
    backend.transact(writes()).await.unwrap();
    backend.transact(writes()).await.unwrap();
    assert_eq!(every_page(backend, all_of(&partition)).await, [new, renewed]);
}

pub(super) async fn put_many_puts_a_thousand_rows(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = numbered(1000).map(|sort| row(&partition, &sort, format!("\"{sort}\""))).collect();
    backend.put_many(rows.clone()).await.unwrap();
    assert_eq!(every_page(backend, all_of(&partition)).await, rows);
}

pub(super) async fn put_many_replaces_and_takes_none(backend: &Backend) {
    let partition = partition();
    backend.put_many(Vec::new()).await.unwrap();
    let rows: Vec<Row> = numbered(30).map(|sort| row(&partition, &sort, "1")).collect();
    given(backend, rows.clone()).await;
    let rows: Vec<Row> = rows.iter().map(|row| changed(row, "2")).collect();
    given(backend, rows.clone()).await;
    assert_eq!(every_page(backend, all_of(&partition)).await, rows);
}
