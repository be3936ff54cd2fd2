//! One attempt of a write, and what its answer means.

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{CancellationReason, TransactWriteItem},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{
    Dynamo, broken, failed,
    item::{Item, of_key, of_row},
    parts::Action,
    setting::{self, Condition, OLD},
};
use crate::{
    aws::fault::{CallFault, Outcome, outcome, passing},
    store::row::{Error, Key, Rev, When, Write},
};

/// Why an attempt was not answered with success.
#[derive(Debug)]
pub(super) enum Setback {
    /// These conditions do not hold: which writes, and the row that is there.
    Conditions(Vec<(usize, Option<Item>)>),
    /// Trying again is right.
    Passing {
        /// What to answer when it was tried often enough.
        error: Error,
        /// Whether the attempt may have been applied.
        unknown: bool,
    },
    /// Trying again changes nothing.
    Final(Error),
}

impl Dynamo {
    /// Puts or deletes one row by itself.
    pub(super) async fn write_one(&self, Action { write, parts }: &Action) -> Result<(), Setback> {
        match write {
            Write::Put(row, When::Rev(seen)) => self.update(&row.key, of_row(row, parts.as_ref()), *seen).await,
            Write::Put(row, when) => self.put(&row.key, of_row(row, parts.as_ref()), *when).await,
            Write::Delete(key, when) => self.delete(key, *when).await,
            Write::Check(..) | Write::Add(_) => Err(Setback::Final(broken("transact", "not a write by itself"))),
        }
    }

    async fn update(&self, key: &Key, attributes: Item, seen: Rev) -> Result<(), Setback> {
        let setting = setting::of(attributes, seen);
        let call = self
            .once
            .update_item()
            .table_name(self.table(key.table))
            .set_key(Some(of_key(key)))
            .update_expression(setting.expression)
            .set_condition_expression(setting.condition.map(str::to_owned))
            .set_expression_attribute_names(Some(setting.names))
            .set_expression_attribute_values(Some(setting.values))
            .return_values_on_condition_check_failure(OLD);
        let there = |error: &UpdateItemError| {
            let UpdateItemError::ConditionalCheckFailedException(refused) = error else { return None };
            Some(refused.item.clone())
        };
        call.send().await.map(drop).map_err(|error| one("UpdateItem", &error, there))
    }

    async fn put(&self, key: &Key, attributes: Item, when: When) -> Result<(), Setback> {
        let condition = Condition::of(when);
        let call = self
            .once
            .put_item()
            .table_name(self.table(key.table))
            .set_item(Some(attributes))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .return_values_on_condition_check_failure(OLD);
        let there = |error: &PutItemError| {
            let PutItemError::ConditionalCheckFailedException(refused) = error else { return None };
            Some(refused.item.clone())
        };
        call.send().await.map(drop).map_err(|error| one("PutItem", &error, there))
    }

    async fn delete(&self, key: &Key, when: When) -> Result<(), Setback> {
        let condition = Condition::of(when);
        let call = self
            .once
            .delete_item()
            .table_name(self.table(key.table))
            .set_key(Some(of_key(key)))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .return_values_on_condition_check_failure(OLD);
        let there = |error: &DeleteItemError| {
            let DeleteItemError::ConditionalCheckFailedException(refused) = error else { return None };
            Some(refused.item.clone())
        };
        call.send().await.map(drop).map_err(|error| one("DeleteItem", &error, there))
    }

    /// Writes several rows together; `token` tells DynamoDB that attempts are the same transaction.
    pub(super) async fn write_together(&self, items: Vec<TransactWriteItem>, token: &str) -> Result<(), Setback> {
        let call = self.once.transact_write_items().set_transact_items(Some(items)).client_request_token(token);
        let Err(error) = call.send().await else { return Ok(()) };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
            return Err(cancelled_for(cancelled.cancellation_reasons()));
        }
        Err(setback("TransactWriteItems", &error))
    }
}

/// The setback of one row; `there` finds the row that failed the condition.
fn one<E>(
    operation: &'static str,
    error: &SdkError<E, HttpResponse>,
    there: impl Fn(&E) -> Option<Option<Item>>,
) -> Setback
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.as_service_error().and_then(there) {
        Some(row) => Setback::Conditions(vec![(0, row)]),
        None => setback(operation, error),
    }
}

fn setback<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Setback
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failure = failed(operation, error);
    match outcome(error) {
        Outcome::Busy => Setback::Passing { error: failure, unknown: false },
        Outcome::Unknown => Setback::Passing { error: failure, unknown: true },
        Outcome::Refused => Setback::Final(failure),
    }
}

fn cancelled_for(reasons: &[CancellationReason]) -> Setback {
    let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
    let refused = reasons.iter().enumerate().filter(|(_, reason)| code(reason) == "ConditionalCheckFailed");
    let refused: Vec<_> = refused.map(|(index, reason)| (index, reason.item().cloned())).collect();
    if !refused.is_empty() {
        return Setback::Conditions(refused);
    }
    let cause = reasons.iter().find(|reason| code(reason) != "None" && !passing(&code(reason)));
    match cause {
        None => {
            let fault = CallFault::new("TransactWriteItems", "throttled, or in conflict with other transactions");
            Setback::Passing { error: Error::Unavailable(fault.into()), unknown: false }
        }
        Some(reason) if reason.message().is_some_and(|message| message.contains("size")) => {
            Setback::Final(Error::TooLarge("an item of DynamoDB"))
        }
        Some(reason) => {
            let message = format!("{}: {}", code(reason), reason.message().unwrap_or_default());
            Setback::Final(broken("TransactWriteItems", message))
        }
    }
}
