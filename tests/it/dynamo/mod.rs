//! What is DynamoDB's own: parts of large bodies, lost replies, conflicts, tables. What every backend promises is in
//! the store's contract, which also runs on this one, without and with faults.

mod calls;
mod connections;
mod database;
mod faults;
mod outcomes;
mod parts;
mod schema;
mod together;

pub(crate) use database::Database;
pub(crate) use faults::Faults;
use shared::store::{
    Backend,
    row::{Key, Rev, Row, Table},
};

/// A store on four new tables, which go with the second value, whose calls fail by these chances.
pub(crate) async fn fixture_with_faults(seed: u64, faults: Faults) -> (Backend, Database) {
    let database = Database::with_faults(seed, faults).await;
    (database.backend(), database)
}

fn row(partition: &str, body: impl Into<String>) -> Row {
    let key = Key::new(Table::Runs, partition, "-");
    Row { key, rev: Rev::fresh(), body: body.into(), listed: None, due: None, expires_at_s: None }
}

fn changed(row: &Row, body: impl Into<String>) -> Row {
    Row { rev: Rev::fresh(), body: body.into(), ..row.clone() }
}
