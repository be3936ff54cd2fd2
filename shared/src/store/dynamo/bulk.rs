//! Writes without conditions, 25 to a call.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{DeleteRequest, PutRequest, WriteRequest};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Dynamo, failed,
    item::{of_key, of_row, unbuilt},
    parts::is_split,
    read::{AT_ONCE, unprocessed},
};
use crate::{
    aws::backoff::Backoff,
    store::row::{Key, Result, Row, When, Write},
};

/// The most writes of one `BatchWriteItem`. With rows of at most 400 KB they stay below its 16 MB.
const PAGE: usize = 25;

/// How many split rows are put in one transaction: see [`super::parts`].
const SPLIT_PAGE: usize = 10;

type Asked = HashMap<String, Vec<WriteRequest>>;

impl Dynamo {
    pub(crate) async fn put_many(&self, rows: Vec<Row>) -> Result<()> {
        // Of two rows with the same key the later one stays, as if they had been put one after the other.
        let rows: HashMap<Key, Row> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        let (split, whole): (Vec<Row>, Vec<Row>) = rows.into_values().partition(|row| is_split(&row.body));
        self.put_whole(whole).await?;
        let mut split = split.into_iter().peekable();
        while split.peek().is_some() {
            let page = split.by_ref().take(SPLIT_PAGE).map(|row| Write::Put(row, When::Any)).collect();
            self.transact(page).await?;
        }
        Ok(())
    }

    /// Puts rows whose bodies fit.
    pub(super) async fn put_whole(&self, rows: Vec<Row>) -> Result<()> {
        let puts = rows.into_iter().map(|row| {
            let put = PutRequest::builder().set_item(Some(of_row(&row, None))).build().map_err(unbuilt)?;
            Ok((self.table(row.key.table), WriteRequest::builder().put_request(put).build()))
        });
        self.write_all(puts.collect::<Result<Vec<_>>>()?).await
    }

    /// Deletes rows, whether they are there or not.
    pub(super) async fn delete_all(&self, keys: &[Key]) -> Result<()> {
        let deletions = keys.iter().map(|key| {
            let deletion = DeleteRequest::builder().set_key(Some(of_key(key))).build().map_err(unbuilt)?;
            Ok((self.table(key.table), WriteRequest::builder().delete_request(deletion).build()))
        });
        self.write_all(deletions.collect::<Result<Vec<_>>>()?).await
    }

    async fn write_all(&self, requests: Vec<(String, WriteRequest)>) -> Result<()> {
        let mut pages = Vec::with_capacity(requests.len() / PAGE + 1);
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let mut asked = Asked::new();
            for (table, request) in requests.by_ref().take(PAGE) {
                asked.entry(table).or_default().push(request);
            }
            pages.push(self.write_page(asked));
        }
        stream::iter(pages).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn write_page(&self, mut asked: Asked) -> Result<()> {
        let mut backoff = Backoff::new();
        loop {
            let before = count(&asked);
            let answer = self.client.batch_write_item().set_request_items(Some(asked)).send().await;
            asked = answer.map_err(|error| failed("BatchWriteItem", &error))?.unprocessed_items.unwrap_or_default();
            match count(&asked) {
                0 => return Ok(()),
                left if left < before => backoff.progressed(),
                _ => {}
            }
            if !backoff.wait().await {
                return Err(unprocessed("BatchWriteItem"));
            }
        }
    }
}

fn count(asked: &Asked) -> usize {
    asked.values().map(Vec::len).sum()
}
