//! Conditional writes: one row by itself, or several together; with an answer also when a reply was lost.
//!
//! Attempts, pauses and time are bounded as [`crate::aws`] says: 8 attempts within 15 s. Then the rows are read once
//! more, and only when they do not tell either is the store unavailable.

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem, Update};

use super::{
    Dynamo,
    attempt::Setback,
    broken,
    item::{Item, of_key, of_row, revisions, size, unbuilt},
    outcome::{Fate, fate},
    parts::{Action, split},
    setting::{self, Condition, OLD, Setting},
};
use crate::{
    aws::{backoff::Backoff, fault::CallFault},
    store::row::{Error, Key, Result, Rev, When, Write},
};

/// The most bytes of one transaction.
const TRANSACTION_BYTES: usize = 4 << 20;

impl Dynamo {
    pub(crate) async fn transact(&self, writes: Vec<Write>) -> Result<()> {
        let mut actions = Vec::with_capacity(writes.len() + 1);
        let mut parts = Vec::new();
        for write in writes {
            let (action, of_action) = split(write)?;
            actions.push(action);
            parts.extend(of_action);
        }
        let superseded = self.known(|known| known.superseded(&actions));
        if parts.is_empty() && superseded.is_empty() {
            self.commit(&actions).await?;
        } else {
            self.commit_parts(&mut actions, parts, &superseded).await?;
        }
        self.known(|known| known.applied(&actions));
        Ok(())
    }

    /// All of these or none.
    pub(super) async fn commit(&self, actions: &[Action]) -> Result<()> {
        let together = match actions {
            [Action { write: Write::Put(..) | Write::Delete(..), .. }] => None,
            _ => Some(transaction(self, actions)?),
        };
        // The same for all attempts: DynamoDB applies a transaction with one token once.
        let token = format!("{:016x}{:016x}", Rev::fresh().0, Rev::fresh().0);
        let mut backoff = Backoff::new();
        let mut unsure = false;
        loop {
            let answer = match (&together, actions) {
                (Some(items), _) => self.write_together(items.clone(), &token).await,
                (None, [action]) => self.write_one(action).await,
                (None, _) => return Err(broken("transact", "nothing to write")),
            };
            let (error, unknown) = match answer {
                Ok(()) => return Ok(()),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Conditions(failed)) => return judge(actions, &failed, unsure),
                Err(Setback::Passing { error, unknown }) => (error, unknown),
            };
            unsure |= unknown;
            if !backoff.wait_after(unknown).await {
                return self.settle(actions, error, unsure).await;
            }
        }
    }

    /// After the last attempt: the rows tell whether one was applied.
    async fn settle(&self, actions: &[Action], error: Error, unsure: bool) -> Result<()> {
        if !unsure {
            return Err(error);
        }
        let keys: Vec<Key> = actions.iter().map(|action| action.write.key().clone()).collect();
        let Ok(there) = self.items(&keys).await else { return Err(error) };
        let mut puts = actions.iter().filter_map(|action| match &action.write {
            Write::Put(row, _) => Some(row),
            Write::Delete(..) | Write::Check(..) | Write::Add(_) => None,
        });
        let put = puts.any(|row| there.get(&row.key).is_some_and(|item| revisions(item).contains(&row.rev.0)));
        let only_deletions = actions.iter().all(|action| matches!(action.write, Write::Delete(..)));
        if put || (only_deletions && there.is_empty()) { Ok(()) } else { Err(error) }
    }
}

/// What the failed conditions mean for all of the writes.
fn judge(actions: &[Action], failed: &[(usize, Option<Item>)], unsure: bool) -> Result<()> {
    let fates: Vec<(usize, &Write, Fate)> = failed
        .iter()
        .filter_map(|(index, there)| {
            let write = &actions.get(*index)?.write;
            Some((*index, write, fate(write, there.as_ref(), unsure)))
        })
        .collect();
    // One row with our revision proves all; a row that is gone proves it only when nothing speaks against it.
    let put = |wanted| fates.iter().any(|(_, write, fate)| matches!(write, Write::Put(..)) && *fate == wanted);
    if put(Fate::Applied) || fates.iter().all(|(_, _, fate)| *fate == Fate::Applied) {
        return Ok(());
    }
    // A counter is full for our second attempt also when our first one filled it.
    let open = put(Fate::Unknown);
    let refused =
        |(_, write, fate): &&(usize, &Write, Fate)| *fate == Fate::Refused && !(open && matches!(write, Write::Add(_)));
    match fates.iter().find(refused) {
        Some((index, ..)) => Err(Error::Conflict { index: *index }),
        None => {
            let fault = CallFault::new("transact", "a reply was lost, and the row has been written too often since");
            Err(Error::Unavailable(fault.into()))
        }
    }
}

fn transaction(store: &Dynamo, actions: &[Action]) -> Result<Vec<TransactWriteItem>> {
    let mut bytes = 0;
    let mut items = Vec::with_capacity(actions.len());
    for Action { write, parts } in actions {
        let table = store.table(write.key().table);
        let item = TransactWriteItem::builder();
        items.push(match write {
            Write::Put(row, when) => {
                let attributes = of_row(row, parts.as_ref());
                bytes += size(&attributes);
                match when {
                    When::Rev(seen) => item.update(update(table, &row.key, setting::of(attributes, *seen))?).build(),
                    When::Absent | When::Any => item.put(put(table, attributes, Condition::of(*when))?).build(),
                }
            }
            Write::Delete(key, when) => item.delete(delete(table, key, Condition::of(*when))?).build(),
            Write::Check(key, When::Any) => {
                return Err(broken("transact", format!("nothing to check in {}", key.table.name())));
            }
            Write::Check(key, when) => item.condition_check(asked(table, key, Condition::of(*when))?).build(),
            Write::Add(add) => item.update(update(table, &add.key, setting::adding(add))?).build(),
        });
    }
    if bytes > TRANSACTION_BYTES {
        return Err(Error::TooLarge("a transaction of more than 4 MiB"));
    }
    Ok(items)
}

fn update(table: String, key: &Key, setting: Setting) -> Result<Update> {
    Update::builder()
        .table_name(table)
        .set_key(Some(of_key(key)))
        .update_expression(setting.expression)
        .set_condition_expression(setting.condition.map(str::to_owned))
        .set_expression_attribute_names(Some(setting.names))
        .set_expression_attribute_values(Some(setting.values))
        .return_values_on_condition_check_failure(OLD)
        .build()
        .map_err(unbuilt)
}

fn put(table: String, attributes: Item, condition: Condition) -> Result<Put> {
    Put::builder()
        .table_name(table)
        .set_item(Some(attributes))
        .set_condition_expression(condition.expression)
        .set_expression_attribute_names(condition.names)
        .set_expression_attribute_values(condition.values)
        .return_values_on_condition_check_failure(OLD)
        .build()
        .map_err(unbuilt)
}

fn delete(table: String, key: &Key, condition: Condition) -> Result<Delete> {
    Delete::builder()
        .table_name(table)
        .set_key(Some(of_key(key)))
        .set_condition_expression(condition.expression)
        .set_expression_attribute_names(condition.names)
        .set_expression_attribute_values(condition.values)
        .return_values_on_condition_check_failure(OLD)
        .build()
        .map_err(unbuilt)
}

fn asked(table: String, key: &Key, condition: Condition) -> Result<ConditionCheck> {
    ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(of_key(key)))
        .set_condition_expression(condition.expression)
        .set_expression_attribute_names(condition.names)
        .set_expression_attribute_values(condition.values)
        .return_values_on_condition_check_failure(OLD)
        .build()
        .map_err(unbuilt)
}
