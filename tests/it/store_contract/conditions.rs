//! One row and one write: when it happens, and what is there afterwards.

use super::{Backend, Key, Rev, Row, Table, When, Write, changed, conflict, entry, partition, put, row};

pub(super) async fn a_missing_row_is_none(backend: &Backend) {
    let key = Key::new(Table::Runs, partition(), "nothing");
    assert_eq!(backend.get(&key).await.unwrap(), None);
}

pub(super) async fn a_row_comes_back_as_it_was_put(backend: &Backend) {
    let partition = partition();
    let full = Row {
        listed: Some(entry(&format!("{partition}-listed"), "l")),
        due: Some(entry(&format!("{partition}-due"), "d")),
        expires_at_s: Some(4_102_444_800),
        ..row(&partition, "a", r#"{"text":"\u0000 \"quoted\" ü 🦀"}"#)
    };
    put(backend, &full, When::Absent).await.unwrap();
    assert_eq!(backend.get(&full.key).await.unwrap(), Some(full));
}

pub(super) async fn absent_holds_only_once(backend: &Backend) {
    let first = row(&partition(), "a", "1");
    put(backend, &first, When::Absent).await.unwrap();
    assert_eq!(conflict(put(backend, &changed(&first, "2"), When::Absent).await), 0);
    assert_eq!(backend.get(&first.key).await.unwrap(), Some(first));
}

pub(super) async fn a_revision_must_be_the_one_that_is_there(backend: &Backend) {
    let first = row(&partition(), "a", "1");
    put(backend, &first, When::Absent).await.unwrap();
    let second = changed(&first, "2");
    assert_eq!(conflict(put(backend, &second, When::Rev(Rev::fresh())).await), 0);
    put(backend, &second, When::Rev(first.rev)).await.unwrap();
    let third = changed(&first, "3");
    assert_eq!(conflict(put(backend, &third, When::Rev(first.rev)).await), 0);
    assert_eq!(backend.get(&first.key).await.unwrap(), Some(second));
}

pub(super) async fn a_revision_of_a_missing_row_conflicts(backend: &Backend) {
    let missing = row(&partition(), "a", "1");
    assert_eq!(conflict(put(backend, &missing, When::Rev(Rev::fresh())).await), 0);
    assert_eq!(backend.get(&missing.key).await.unwrap(), None);
}

pub(super) async fn any_puts_over_whatever_is_there(backend: &Backend) {
    let first = row(&partition(), "a", "1");
    put(backend, &first, When::Any).await.unwrap();
    let second = changed(&first, "2");
    put(backend, &second, When::Any).await.unwrap();
    assert_eq!(backend.get(&first.key).await.unwrap(), Some(second));
}

pub(super) async fn a_put_replaces_the_whole_row(backend: &Backend) {
    let partition = partition();
    let plain = row(&partition, "a", "1");
    let full = Row {
        listed: Some(entry(&partition, "l")),
        due: Some(entry(&partition, "d")),
        expires_at_s: Some(4_102_444_800),
        ..plain.clone()
    };
    put(backend, &full, When::Absent).await.unwrap();
    let plain = changed(&plain, "2");
    put(backend, &plain, When::Rev(full.rev)).await.unwrap();
    assert_eq!(backend.get(&plain.key).await.unwrap(), Some(plain));
}

pub(super) async fn a_delete_asks_for_its_condition(backend: &Backend) {
    let there = row(&partition(), "a", "1");
    put(backend, &there, When::Absent).await.unwrap();
    let delete = |when| backend.transact(vec![Write::Delete(there.key.clone(), when)]);
    assert_eq!(conflict(delete(When::Rev(Rev::fresh())).await), 0);
    assert_eq!(conflict(delete(When::Absent).await), 0);
    assert_eq!(backend.get(&there.key).await.unwrap().as_ref(), Some(&there));
    delete(When::Rev(there.rev)).await.unwrap();
    assert_eq!(backend.get(&there.key).await.unwrap(), None);
    assert_eq!(conflict(delete(When::Rev(there.rev)).await), 0);
}

pub(super) async fn deleting_a_missing_row_with_any_is_no_error(backend: &Backend) {
    let there = row(&partition(), "a", "1");
    let delete = || backend.transact(vec![Write::Delete(there.key.clone(), When::Any)]);
    delete().await.unwrap();
    put(backend, &there, When::Absent).await.unwrap();
    delete().await.unwrap();
    assert_eq!(backend.get(&there.key).await.unwrap(), None);
}

pub(super) async fn a_deleted_row_can_be_put_again(backend: &Backend) {
    let first = row(&partition(), "a", "1");
    put(backend, &first, When::Absent).await.unwrap();
    backend.transact(vec![Write::Delete(first.key.clone(), When::Rev(first.rev))]).await.unwrap();
    let second = changed(&first, "2");
    put(backend, &second, When::Absent).await.unwrap();
    assert_eq!(backend.get(&first.key).await.unwrap(), Some(second));
}

pub(super) async fn the_time_to_live_is_kept(backend: &Backend) {
    let first = Row { expires_at_s: Some(4_102_444_800), ..row(&partition(), "a", "1") };
    put(backend, &first, When::Absent).await.unwrap();
    let second = Row { expires_at_s: Some(4_102_444_801), ..changed(&first, "2") };
    put(backend, &second, When::Rev(first.rev)).await.unwrap();
    assert_eq!(backend.get(&first.key).await.unwrap().unwrap().expires_at_s, Some(4_102_444_801));
}

pub(super) async fn own_retries_are_recognised(backend: &Backend) {
    let first = row(&partition(), "a", "1");
    put(backend, &first, When::Absent).await.unwrap();
    put(backend, &first, When::Absent).await.unwrap();
    let second = changed(&first, "2");
    put(backend, &second, When::Rev(first.rev)).await.unwrap();
    put(backend, &second, When::Rev(first.rev)).await.unwrap();
    assert_eq!(conflict(put(backend, &first, When::Absent).await), 0);
    assert_eq!(backend.get(&first.key).await.unwrap(), Some(second));
}

pub(super) async fn tables_do_not_share_rows(backend: &Backend) {
    let partition = partition();
    for table in Table::ALL {
        let mut one = row(&partition, "a", format!("{:?}", table.name()));
        one.key.table = table;
        put(backend, &one, When::Absent).await.unwrap();
    }
    for table in Table::ALL {
        let found = backend.get(&Key::new(table, &*partition, "a")).await.unwrap().unwrap();
        assert_eq!(found.body, format!("{:?}", table.name()));
    }
}

pub(super) async fn unusual_characters_in_keys_are_kept_apart(backend: &Backend) {
    let partition = partition();
    let odd = [
        "'", "\"", "%", "_", "a b", " a", "a ", "é", "e\u{301}", "E", "e", "🦀", "\u{1}", "\n", "\\", "--", ";", "NULL",
    ];
    let rows: Vec<Row> = odd.iter().map(|odd| row(&format!("{partition}{odd}"), odd, format!("{odd:?}"))).collect();
    for one in &rows {
        put(backend, one, When::Absent).await.unwrap();
    }
    for one in rows {
        assert_eq!(backend.get(&one.key).await.unwrap().as_ref(), Some(&one), "{:?}", one.key);
    }
}
