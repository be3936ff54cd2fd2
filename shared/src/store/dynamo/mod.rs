//! Rows in DynamoDB: four tables with the same keys and the same two sparse indexes. Knows no entity.
//!
//! Round trips: `get` 1; `snapshot` 1 for up to 100 keys; `batch_get` 1 for 100 keys, 8 at a time; `query` 1 for each MB, and 1 more for 100 rows when it
//! goes along an index and not for keys alone; `transact` 1; `put_many` 1 for 25 rows, 8 at a time. A body above [`parts::LONGEST_BODY`] is
//! split (see [`parts`]): 1 more to read it, 5 more to write it.

mod attempt;
mod bulk;
mod item;
mod ledger;
mod outcome;
mod parts;
mod query;
mod read;
mod setting;
mod snapshot;
mod tables;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::{Client, config::retry::RetryConfig, error::ProvideErrorMetadata};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};

pub use ledger::SWEPT_AFTER_MS;
pub use tables::{create_tables, delete_tables, tables, time_to_live};

use super::row::{Error, Key, Table};
use crate::aws::{
    fault::{CallFault, Outcome, outcome},
    reusing,
};

/// Rows in DynamoDB. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dynamo {
    /// For reads: the SDK tries again.
    client: Client,
    /// For writes: one attempt a call, because whether an earlier one was applied decides what the next answer means.
    once: Client,
    prefix: Arc<str>,
    /// Which rows are known to have parts, so that the parts can go when the row does.
    known: Arc<Mutex<parts::Known>>,
}

impl Dynamo {
    /// The tables whose names begin with this prefix.
    #[must_use]
    pub fn new(client: Client, prefix: impl Into<Arc<str>>) -> Self {
        let config = client.config().to_builder().retry_config(reusing(RetryConfig::disabled())).build();
        Self { client, once: Client::from_conf(config), prefix: prefix.into(), known: Arc::default() }
    }

    /// Opens a connection and resolves the credentials; whatever comes back is ignored.
    pub(crate) async fn touch(&self) {
        let _ = self.get(&Key::new(Table::Runs, parts::LEDGER, "-")).await;
    }

    fn table(&self, table: Table) -> String {
        format!("{}{}", self.prefix, table.name())
    }

    /// The table of that name; `None` when it is not one of ours.
    fn table_named(&self, name: &str) -> Option<Table> {
        let name = name.strip_prefix(&*self.prefix)?;
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    fn known<T>(&self, look: impl FnOnce(&mut parts::Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The store's error for a failed call after which nothing more is tried.
fn failed<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let oversized = error.as_service_error().and_then(ProvideErrorMetadata::message).is_some_and(|message| {
        message.contains("Item size") || message.contains("item size") || message.contains("size limit")
    });
    let fault = CallFault::of(operation, error).into();
    match outcome(error) {
        Outcome::Busy | Outcome::Unknown => Error::Unavailable(fault),
        Outcome::Refused if oversized => Error::TooLarge("an item of DynamoDB"),
        Outcome::Refused => Error::Broken(fault),
    }
}

/// The store's error for something that must not be.
fn broken(operation: &'static str, message: impl Into<String>) -> Error {
    Error::Broken(CallFault::new(operation, message).into())
}
