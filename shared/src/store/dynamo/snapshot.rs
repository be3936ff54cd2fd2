//! Reading several rows as they are at one moment: no transaction is seen in part.

use aws_sdk_dynamodb::{
    operation::transact_get_items::TransactGetItemsError,
    types::{Get, TransactGetItem},
};

use super::{
    Dynamo, broken, failed,
    item::{self, of_key, unbuilt},
};
use crate::{
    aws::{
        backoff::Backoff,
        fault::{CallFault, Outcome, outcome},
    },
    store::row::{Error, Key, Result, Row},
};

impl Dynamo {
    pub(crate) async fn snapshot(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let gets = keys.iter().map(|key| {
            let get = Get::builder().table_name(self.table(key.table)).set_key(Some(of_key(key)));
            Ok(TransactGetItem::builder().get(get.build().map_err(unbuilt)?).build())
        });
        let gets = gets.collect::<Result<Vec<_>>>()?;
        let mut backoff = Backoff::new();
        loop {
            if let Some(rows) = self.rows_of_one_moment(keys, &gets).await? {
                return Ok(rows);
            }
            if !backoff.wait().await {
                let fault = CallFault::new("TransactGetItems", "in conflict with other transactions");
                return Err(Error::Unavailable(fault.into()));
            }
        }
    }

    /// The rows; `None` when they are being written just now.
    async fn rows_of_one_moment(&self, keys: &[Key], gets: &[TransactGetItem]) -> Result<Option<Vec<Option<Row>>>> {
        let answer = self.client.transact_get_items().set_transact_items(Some(gets.to_vec())).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let conflict =
                    matches!(error.as_service_error(), Some(TransactGetItemsError::TransactionCanceledException(_)));
                let passing = conflict || outcome(&error) != Outcome::Refused;
                return if passing { Ok(None) } else { Err(failed("TransactGetItems", &error)) };
            }
        };
        let items = answer.responses.unwrap_or_default();
        if items.len() != keys.len() {
            return Err(broken("TransactGetItems", "not as many answers as keys"));
        }
        let mut rows = Vec::with_capacity(keys.len());
        for (key, item) in keys.iter().zip(items) {
            let Some(item) = item.item.filter(|item| !item.is_empty()) else {
                rows.push(None);
                continue;
            };
            match self.whole(item::stored(key.table, item)?).await? {
                Some(row) => rows.push(Some(row)),
                None => return Ok(None),
            }
        }
        Ok(Some(rows))
    }
}
