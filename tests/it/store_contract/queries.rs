//! Many rows: order, limits, pages, and the sparse indexes.

use super::{
    Backend, Entry, Index, KEYS_LIMIT, Key, Query, Row, Table, When, Write, all_of, changed, entry, every_key,
    every_page, given, numbered, partition, put, row, sorts,
};

pub(super) async fn an_empty_partition_has_nothing(backend: &Backend) {
    for index in [Index::Primary, Index::Listed, Index::Due] {
        let found = backend.query(&Query { index, ..all_of(&partition()) }).await.unwrap();
        assert_eq!((found.rows, found.next), (Vec::new(), None));
    }
}

pub(super) async fn rows_come_in_the_order_of_bytes(backend: &Backend) {
    let partition = partition();
    let mut expected = vec![
        "#",
        "#1",
        "-",
        "0",
        "00",
        "1",
        "10",
        "2",
        "A",
        "A#1",
        "AA",
        "B",
        "Z",
        "_",
        "a",
        "a#",
        "aa",
        "ab",
        "z",
        "~",
        "é",
        "ß",
        "ไทย",
        "\u{fffd}",
        "🦀",
    ];
    given(backend, expected.iter().rev().map(|sort| row(&partition, sort, "1"))).await;
    expected.sort_unstable_by_key(|sort| sort.as_bytes());
    assert_eq!(sorts(&every_page(backend, all_of(&partition)).await), expected);
    expected.reverse();
    let down = Query { descending: true, ..all_of(&partition) };
    assert_eq!(sorts(&every_page(backend, down).await), expected);
}

pub(super) async fn after_and_before_exclude_themselves(backend: &Backend) {
    let partition = partition();
    given(backend, ["a", "b", "b0", "c", "d"].map(|sort| row(&partition, sort, "1"))).await;
    let cases: [(Option<&str>, Option<&str>, &[&str]); 9] = [
        (None, None, &["a", "b", "b0", "c", "d"]),
        (Some("b"), None, &["b0", "c", "d"]),
        (None, Some("c"), &["a", "b", "b0"]),
        (Some("a"), Some("d"), &["b", "b0", "c"]),
        (Some("aa"), Some("cc"), &["b", "b0", "c"]),
        (Some("b"), Some("b0"), &[]),
        (Some("c"), Some("b"), &[]),
        (Some("d"), None, &[]),
        (None, Some("a"), &[]),
    ];
    for (after, before, expected) in cases {
        let query = Query { after: after.map(str::to_owned), before: before.map(str::to_owned), ..all_of(&partition) };
        assert_eq!(sorts(&every_page(backend, query.clone()).await), expected, "{after:?} {before:?}");
        let mut down = every_page(backend, Query { descending: true, ..query }).await;
        down.reverse();
        assert_eq!(sorts(&down), expected, "{after:?} {before:?} descending");
    }
}

pub(super) async fn a_limit_cuts_and_says_where_to_go_on(backend: &Backend) {
    let partition = partition();
    given(backend, ["a", "b", "c", "d", "e"].map(|sort| row(&partition, sort, "1"))).await;
    let first = backend.query(&Query { limit: 2, ..all_of(&partition) }).await.unwrap();
    assert_eq!((sorts(&first.rows).as_slice(), first.next.as_deref()), (["a", "b"].as_slice(), Some("b")));
    let down = Query { limit: 2, descending: true, ..all_of(&partition) };
    let first = backend.query(&down).await.unwrap();
    assert_eq!((sorts(&first.rows).as_slice(), first.next.as_deref()), (["e", "d"].as_slice(), Some("d")));
    let all = backend.query(&Query { limit: 6, ..all_of(&partition) }).await.unwrap();
    assert_eq!((all.rows.len(), all.next), (5, None));
}

pub(super) async fn paging_up_and_down_finds_all_rows_once(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = numbered(1203).map(|sort| row(&partition, &sort, "1")).collect();
    given(backend, rows.clone()).await;
    for limit in [7, 100, 401, 1000] {
        assert_eq!(every_page(backend, Query { limit, ..all_of(&partition) }).await, rows, "{limit}");
        let mut down = every_page(backend, Query { limit, descending: true, ..all_of(&partition) }).await;
        down.reverse();
        assert_eq!(down, rows, "{limit} descending");
    }
    let within = Query {
        after: Some("000100".to_owned()),
        before: Some("000900".to_owned()),
        limit: 33,
        descending: true,
        ..all_of(&partition)
    };
    assert_eq!(every_page(backend, within).await.len(), 799);
}

pub(super) async fn a_partition_is_not_its_neighbour(backend: &Backend) {
    let partition = partition();
    let neighbours = [format!("{partition}#"), format!("{partition}0"), partition[..partition.len() - 1].to_owned()];
    given(backend, neighbours.iter().map(|neighbour| row(neighbour, "a", "1"))).await;
    assert!(every_page(backend, all_of(&partition)).await.is_empty());
    given(backend, [row(&partition, "b", "1")]).await;
    assert_eq!(sorts(&every_page(backend, all_of(&partition)).await), ["b"]);
}

pub(super) async fn an_index_holds_only_rows_that_name_it(backend: &Backend) {
    let partition = partition();
    let place = Some(entry(&partition, "x"));
    given(
        backend,
        [
            row(&partition, "neither", "1"),
            Row { listed: place.clone(), ..row(&partition, "listed", "1") },
            Row { due: place, ..row(&partition, "due", "1") },
        ],
    )
    .await;
    let listed = every_page(backend, Query { index: Index::Listed, ..all_of(&partition) }).await;
    assert_eq!(sorts(&listed), ["listed"]);
    let due = every_page(backend, Query { index: Index::Due, ..all_of(&partition) }).await;
    assert_eq!(sorts(&due), ["due"]);
    let elsewhere = Query { table: Table::Agents, index: Index::Due, ..all_of(&partition) };
    assert!(every_page(backend, elsewhere).await.is_empty());
}

pub(super) async fn an_index_follows_its_rows(backend: &Backend) {
    let partition = partition();
    let [red, blue] = ["red", "blue"].map(|colour| format!("{partition}-{colour}"));
    let place = async |index, of: &str| {
        let rows = every_page(backend, Query { index, ..all_of(of) }).await;
        rows.into_iter().map(|row| row.body).collect::<Vec<_>>()
    };
    let mut there = row(&partition, "a", "1");
    put(backend, &there, When::Absent).await.unwrap();
    let steps: [(&str, Option<Entry>, [usize; 2]); 5] = [
        ("2", Some(entry(&red, "1")), [1, 0]),
        ("3", Some(entry(&red, "2")), [1, 0]),
        ("4", Some(entry(&blue, "2")), [0, 1]),
        ("5", None, [0, 0]),
        ("6", Some(entry(&red, "1")), [1, 0]),
    ];
    for (body, due, expected) in steps {
        let next = Row { due: due.clone(), listed: due, ..changed(&there, body) };
        put(backend, &next, When::Rev(there.rev)).await.unwrap();
        for index in [Index::Due, Index::Listed] {
            assert_eq!(place(index, &red).await, vec![body; expected[0]], "{body} red {index:?}");
            assert_eq!(place(index, &blue).await, vec![body; expected[1]], "{body} blue {index:?}");
        }
        there = next;
    }
    backend.transact(vec![Write::Delete(there.key, When::Rev(there.rev))]).await.unwrap();
    assert!(place(Index::Due, &red).await.is_empty());
    assert!(place(Index::Listed, &red).await.is_empty());
}

pub(super) async fn an_index_gives_whole_rows_in_its_own_order(backend: &Backend) {
    let partition = partition();
    let place = |sort| Some(entry(&format!("{partition}-index"), sort));
    let rows: Vec<Row> = [("1", "c"), ("2", "a"), ("3", "b")]
        .map(|(of, sort)| Row {
            listed: place(sort),
            due: place(of),
            expires_at_s: Some(4_102_444_800),
            ..row(&format!("{partition}-{of}"), sort, format!(r#"{{"of":"{of}"}}"#))
        })
        .to_vec();
    given(backend, rows.clone()).await;
    let along = |index| Query { index, ..all_of(&format!("{partition}-index")) };
    let listed = every_page(backend, along(Index::Listed)).await;
    assert_eq!(listed, [rows[1].clone(), rows[2].clone(), rows[0].clone()]);
    let before = Query { before: Some("3".to_owned()), descending: true, ..along(Index::Due) };
    assert_eq!(every_page(backend, before).await, [rows[1].clone(), rows[0].clone()]);
}

pub(super) async fn an_index_is_paged(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = numbered(230)
        .map(|sort| Row { listed: Some(entry(&partition, &sort)), ..row(&format!("{partition}-{sort}"), "META", "1") })
        .collect();
    given(backend, rows.clone()).await;
    for limit in [50, 230, 1000] {
        let query = Query { index: Index::Listed, limit, ..all_of(&partition) };
        assert_eq!(every_page(backend, query.clone()).await, rows, "{limit}");
        let mut down = every_page(backend, Query { descending: true, ..query }).await;
        down.reverse();
        assert_eq!(down, rows, "{limit} descending");
    }
}

pub(super) async fn keys_alone_are_those_of_the_rows(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = numbered(120)
        .map(|sort| Row {
            listed: Some(entry(&partition, &format!("l{sort}"))),
            due: (!sort.ends_with('7')).then(|| entry(&partition, &format!("d{sort}"))),
            ..row(&partition, &sort, "1")
        })
        .collect();
    given(backend, rows.clone()).await;
    for (index, first) in [(Index::Primary, ""), (Index::Listed, "l"), (Index::Due, "d")] {
        let at = |sort: &str| Some(format!("{first}{sort}"));
        for (after, before) in [(None, None), (at("000010"), None), (None, at("000100")), (at("000010"), at("000100"))]
        {
            for limit in [1, 33, 1_000] {
                let up = Query { index, after: after.clone(), before: before.clone(), limit, ..all_of(&partition) };
                let down = Query { descending: true, ..up.clone() };
                let found = every_page(backend, Query { limit: 1_000, ..up.clone() }).await;
                let mut expected: Vec<&str> = found.iter().map(|row| row.sort_along(index).unwrap()).collect();
                assert!(expected.len() >= 80 && expected.is_sorted(), "{index:?} {after:?} {before:?}");
                assert_eq!(every_key(backend, up).await, expected, "{index:?} {after:?} {before:?} {limit}");
                expected.reverse();
                assert_eq!(every_key(backend, down).await, expected, "{index:?} {after:?} {before:?} {limit} down");
            }
        }
    }
    let mut gone = rows[5].clone();
    backend.transact(vec![Write::Delete(gone.key.clone(), When::Rev(gone.rev))]).await.unwrap();
    gone = rows[6].clone();
    put(backend, &Row { listed: None, ..changed(&gone, "2") }, When::Rev(gone.rev)).await.unwrap();
    let listed = every_key(backend, Query { index: Index::Listed, ..all_of(&partition) }).await;
    assert_eq!((listed.len(), listed[5].as_str()), (118, "l000007"));
    let nothing = Query { index: Index::Listed, ..all_of(&format!("{partition}x")) };
    assert!(every_key(backend, nothing).await.is_empty());
}

pub(super) async fn keys_alone_come_in_large_pages(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = numbered(1_203)
        .map(|sort| Row { listed: Some(entry(&partition, &sort)), ..row(&format!("{partition}-{sort}"), "META", "1") })
        .collect();
    given(backend, rows).await;
    let query = Query { index: Index::Listed, limit: KEYS_LIMIT, ..all_of(&partition) };
    let down = Query { descending: true, ..query.clone() };
    let mut expected: Vec<String> = numbered(1_203).collect();
    assert_eq!(every_key(backend, query).await, expected);
    expected.reverse();
    assert_eq!(every_key(backend, down).await, expected);
}

pub(super) async fn batch_get_keeps_order_and_gaps(backend: &Backend) {
    let partition = partition();
    let rows = ["c", "a", "b"].map(|sort| row(&partition, sort, format!("\"{sort}\"")));
    given(backend, rows.clone()).await;
    let missing = Key::new(Table::Runs, &*partition, "missing");
    let [c, a, b] = rows;
    let keys = [b.key.clone(), missing.clone(), a.key.clone(), c.key.clone()];
    assert_eq!(backend.batch_get(&keys).await.unwrap(), [Some(b), None, Some(a), Some(c)]);
    assert_eq!(backend.batch_get(&[missing]).await.unwrap(), [None]);
    assert_eq!(backend.batch_get(&[]).await.unwrap(), []);
}

pub(super) async fn batch_get_takes_250_keys_of_all_tables(backend: &Backend) {
    let partition = partition();
    let rows: Vec<Row> = numbered(250)
        .zip(Table::ALL.iter().cycle())
        .map(|(sort, table)| Row {
            key: Key::new(*table, &*partition, &*sort),
            ..row(&partition, &sort, format!("\"{sort}\""))
        })
        .collect();
    given(backend, rows.clone()).await;
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    assert_eq!(backend.batch_get(&keys).await.unwrap(), rows.into_iter().map(Some).collect::<Vec<_>>());
}
