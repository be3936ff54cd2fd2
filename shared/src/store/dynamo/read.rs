//! Reading by key: always consistent. Knows no query.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Dynamo, broken, failed,
    item::{self, Item, Stored, of_key, unbuilt},
};
use crate::{
    aws::{backoff::Backoff, fault::CallFault},
    store::row::{Error, Key, Result, Row},
};

/// The most keys of one `BatchGetItem`.
const PAGE: usize = 100;

/// How many pages are read at a time.
pub(super) const AT_ONCE: usize = 8;

type Asked = HashMap<String, KeysAndAttributes>;

impl Dynamo {
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Row>> {
        match self.stored(key).await? {
            Some(stored) => self.joined(stored).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut items = self.items(keys).await?;
        let mut found = HashMap::with_capacity(items.len());
        let mut split = Vec::new();
        for (key, item) in items.drain() {
            let stored = item::stored(key.table, item)?;
            match stored.parts {
                None => drop(found.insert(key, stored.row)),
                Some(_) => split.push(stored),
            }
        }
        let split: Vec<_> = split.into_iter().map(|stored| self.joined(stored)).collect();
        let mut joined = stream::iter(split).buffer_unordered(AT_ONCE);
        while let Some(row) = joined.try_next().await? {
            if let Some(row) = row {
                found.insert(row.key.clone(), row);
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// The row without its parts.
    pub(super) async fn stored(&self, key: &Key) -> Result<Option<Stored>> {
        let call = self.client.get_item().table_name(self.table(key.table)).set_key(Some(of_key(key)));
        let answer = call.consistent_read(true).send().await.map_err(|error| failed("GetItem", &error))?;
        answer.item.map(|item| item::stored(key.table, item)).transpose()
    }

    /// The items that there are, in pages side by side; a key that is given twice is asked for once.
    pub(super) async fn items(&self, keys: &[Key]) -> Result<HashMap<Key, Item>> {
        let mut seen = HashSet::new();
        let keys: Vec<&Key> = keys.iter().filter(|key| seen.insert(*key)).collect();
        let pages: Vec<_> = keys.chunks(PAGE).map(|page| self.page(page.to_vec())).collect();
        let pages: Vec<_> = stream::iter(pages).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(pages.into_iter().flatten().collect())
    }

    async fn page(&self, keys: Vec<&Key>) -> Result<Vec<(Key, Item)>> {
        let mut found = Vec::with_capacity(keys.len());
        let mut asked = self.asked(&keys)?;
        let mut backoff = Backoff::new();
        loop {
            let before = count(&asked);
            let answer = self.client.batch_get_item().set_request_items(Some(asked)).send().await;
            let answer = answer.map_err(|error| failed("BatchGetItem", &error))?;
            for (name, items) in answer.responses.unwrap_or_default() {
                let table = self.table_named(&name).ok_or_else(|| broken("BatchGetItem", "an unknown table"))?;
                let keyed = items.into_iter().map(|item| Ok((item::key(table, &item)?, item)));
                found.extend(keyed.collect::<Result<Vec<_>>>()?);
            }
            asked = answer.unprocessed_keys.unwrap_or_default();
            match count(&asked) {
                0 => return Ok(found),
                left if left < before => backoff.progressed(),
                _ => {}
            }
            if !backoff.wait().await {
                return Err(unprocessed("BatchGetItem"));
            }
        }
    }

    fn asked(&self, keys: &[&Key]) -> Result<Asked> {
        let mut tables: HashMap<String, Vec<HashMap<String, AttributeValue>>> = HashMap::new();
        for key in keys {
            tables.entry(self.table(key.table)).or_default().push(of_key(key));
        }
        let ask = |(name, keys)| {
            let asked = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            Ok((name, asked.map_err(unbuilt)?))
        };
        tables.into_iter().map(ask).collect()
    }
}

fn count(asked: &Asked) -> usize {
    asked.values().map(|table| table.keys.len()).sum()
}

/// The error for what DynamoDB leaves undone again and again.
pub(super) fn unprocessed(operation: &'static str) -> Error {
    Error::Unavailable(CallFault::new(operation, "throttled: some of the batch was never processed").into())
}
