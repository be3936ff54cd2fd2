//! What every store backend promises below `Store`: the same cases on each. A case knows no backend; it makes its own
//! partitions, so that cases can share one.

mod bodies;
mod conditions;
mod counters;
mod queries;
mod races;
mod snapshots;
mod sqlite_file;
mod transactions;

use std::{any::Any, iter};

use shared::store::{
    Backend, Error, Result,
    row::{Add, Entry, Found, FoundKeys, Index, KEYS_LIMIT, Key, Query, Rev, Row, Table, When, Write},
    simulated::Simulated,
    sqlite::Sqlite,
};
use uuid::Uuid;

use crate::dynamo::Faults;

/// A backend, and what it needs to live: a folder, a server.
struct Fixture {
    backend: Backend,
    _keep: Box<dyn Any + Send>,
}

/// Makes a test of each case for each backend: `store_contract::<backend>::<case>`. A backend is an `async fn() -> Fixture`
/// of this module.
macro_rules! contract {
    (backends: [$($backend:ident),* $(,)?], cases: $cases:tt $(,)?) => {
        $(contract!(@backend $backend $cases);)*
    };
    (@backend $backend:ident [$($file:ident::$case:ident),* $(,)?]) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = super::$backend().await;
                super::$file::$case(&fixture.backend).await;
            })*
        }
    };
}

contract! {
    backends: [sqlite, dynamo, dynamo_with_faults, simulated],
    cases: [
        conditions::a_missing_row_is_none,
        conditions::a_row_comes_back_as_it_was_put,
        conditions::absent_holds_only_once,
        conditions::a_revision_must_be_the_one_that_is_there,
        conditions::a_revision_of_a_missing_row_conflicts,
        conditions::any_puts_over_whatever_is_there,
        conditions::a_put_replaces_the_whole_row,
        conditions::a_delete_asks_for_its_condition,
        conditions::deleting_a_missing_row_with_any_is_no_error,
        conditions::a_deleted_row_can_be_put_again,
        conditions::the_time_to_live_is_kept,
        conditions::own_retries_are_recognised,
        conditions::tables_do_not_share_rows,
        conditions::unusual_characters_in_keys_are_kept_apart,
        transactions::all_writes_of_a_transaction_happen,
        transactions::one_failed_condition_undoes_all,
        transactions::the_first_failing_write_is_named,
        transactions::a_check_guards_and_writes_nothing,
        transactions::a_check_of_absence_guards,
        transactions::a_transaction_spans_tables_and_partitions,
        transactions::a_hundred_writes_pass,
        transactions::a_hundred_and_one_writes_are_refused,
        transactions::no_writes_are_refused,
        transactions::the_same_row_twice_is_refused,
        transactions::own_retry_of_a_transaction_is_recognised,
        snapshots::rows_come_in_the_order_of_their_keys,
        snapshots::no_transaction_is_seen_in_part,
        transactions::put_many_puts_a_thousand_rows,
        transactions::put_many_replaces_and_takes_none,
        counters::a_counter_is_made_and_added_to,
        counters::a_counter_is_found_by_queries_and_batches,
        counters::what_would_pass_the_bound_undoes_all,
        counters::a_bound_below_what_is_added_refuses_a_missing_counter_too,
        counters::negative_amounts_make_room,
        counters::a_counter_needs_a_row_that_proves_it,
        counters::own_retry_adds_nothing,
        counters::additions_side_by_side_lose_nothing,
        counters::a_bound_is_used_up_exactly_and_never_passed,
        queries::an_empty_partition_has_nothing,
        queries::rows_come_in_the_order_of_bytes,
        queries::after_and_before_exclude_themselves,
        queries::a_limit_cuts_and_says_where_to_go_on,
        queries::paging_up_and_down_finds_all_rows_once,
        queries::a_partition_is_not_its_neighbour,
        queries::an_index_holds_only_rows_that_name_it,
        queries::an_index_follows_its_rows,
        queries::an_index_gives_whole_rows_in_its_own_order,
        queries::an_index_is_paged,
        queries::keys_alone_are_those_of_the_rows,
        queries::keys_alone_come_in_large_pages,
        queries::batch_get_keeps_order_and_gaps,
        queries::batch_get_takes_250_keys_of_all_tables,
        bodies::empty_and_odd_bodies_round_trip,
        bodies::half_a_megabyte_round_trips,
        bodies::a_megabyte_of_wide_characters_round_trips,
        bodies::five_megabytes_grow_shrink_and_go,
        bodies::large_rows_are_found_by_queries_and_batches,
        bodies::a_large_row_with_a_failed_condition_changes_nothing,
        bodies::several_large_rows_in_one_transaction,
        races::increments_by_compare_and_set_lose_nothing,
        races::absent_has_exactly_one_winner,
        races::transfers_never_show_half_of_themselves,
        races::what_was_answered_is_seen,
    ],
}

async fn sqlite() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::Sqlite(Sqlite::open(&folder.path().join("muster.db")).unwrap());
    Fixture { backend, _keep: Box::new(folder) }
}

async fn simulated() -> Fixture {
    Fixture { backend: Backend::Simulated(Simulated::default()), _keep: Box::new(()) }
}

async fn dynamo() -> Fixture {
    let (backend, database) = crate::dynamo::fixture_with_faults(0, Faults::default()).await;
    Fixture { backend, _keep: Box::new(database) }
}

async fn dynamo_with_faults() -> Fixture {
    let (backend, database) = crate::dynamo::fixture_with_faults(1, Faults::USUAL).await;
    Fixture { backend, _keep: Box::new(database) }
}

/// A partition that no other case has.
fn partition() -> String {
    format!("case-{}", Uuid::now_v7())
}

/// A row without a place in an index.
fn row(partition: &str, sort: &str, body: impl Into<String>) -> Row {
    let key = Key::new(Table::Runs, partition, sort);
    Row { key, rev: Rev::fresh(), body: body.into(), listed: None, due: None, expires_at_s: None }
}

/// The same place with another body, as a new write.
fn changed(row: &Row, body: impl Into<String>) -> Row {
    Row { rev: Rev::fresh(), body: body.into(), ..row.clone() }
}

fn entry(partition: &str, sort: &str) -> Entry {
    Entry { partition: partition.to_owned(), sort: sort.to_owned() }
}

async fn put(backend: &Backend, row: &Row, when: When) -> Result<()> {
    backend.transact(vec![Write::Put(row.clone(), when)]).await
}

/// Puts rows and fails the test when that fails.
async fn given(backend: &Backend, rows: impl IntoIterator<Item = Row>) {
    backend.put_many(rows.into_iter().collect()).await.unwrap();
}

/// A query for up to 1,000 rows along the table's own keys.
fn all_of(partition: &str) -> Query {
    Query {
        table: Table::Runs,
        index: Index::Primary,
        partition: partition.to_owned(),
        after: None,
        before: None,
        descending: false,
        limit: 1000,
    }
}

/// Follows a query to its end; the rows, in order.
async fn every_page(backend: &Backend, mut query: Query) -> Vec<Row> {
    let mut rows = Vec::new();
    loop {
        let Found { rows: page, next } = backend.query(&query).await.unwrap();
        assert!(page.len() <= query.limit, "{} rows where {} were asked for", page.len(), query.limit);
        rows.extend(page);
        match next {
            None => return rows,
            next if query.descending => query.before = next,
            next => query.after = next,
        }
    }
}

/// As [`every_page`], for keys alone.
async fn every_key(backend: &Backend, mut query: Query) -> Vec<String> {
    let mut keys = Vec::new();
    loop {
        let FoundKeys { sorts, next } = backend.query_keys(&query).await.unwrap();
        assert!(sorts.len() <= query.limit, "{} keys where {} were asked for", sorts.len(), query.limit);
        keys.extend(sorts);
        match next {
            None => return keys,
            next if query.descending => query.before = next,
            next => query.after = next,
        }
    }
}

fn sorts(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.key.sort.as_str()).collect()
}

/// The write that a conflict names; anything else fails the test.
fn conflict(result: Result<()>) -> usize {
    match result {
        Err(Error::Conflict { index }) => index,
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

/// So many texts that sort in their order.
fn numbered(count: usize) -> impl Iterator<Item = String> {
    iter::successors(Some(0_usize), |number| Some(number + 1)).take(count).map(|number| format!("{number:06}"))
}
