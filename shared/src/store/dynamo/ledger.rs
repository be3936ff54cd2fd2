//! The ledger of parts that no row refers to: see [`super::parts`] for what it promises.

use super::{
    Dynamo, broken,
    parts::{Action, LEDGER, Place, place},
};
use crate::{
    aws::fault::CallFault,
    clock::{Clock, Timestamp},
    store::row::{Error, Index, Key, Query, Result, Rev, Row, TRANSACTION_LIMIT, Table, When, Write},
};

/// When parts that no row refers to are taken for left behind, in milliseconds: far longer than any write takes.
pub const SWEPT_AFTER_MS: i64 = 3_600_000;

/// How many ledger rows one sweep of a table looks at.
const SWEPT_AT_ONCE: usize = 25;

impl Dynamo {
    /// Deletes what writers left behind that died, before this moment, between writing parts and referring to them.
    /// To be called now and then, with the time less [`SWEPT_AFTER_MS`]. Returns how many bodies were deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Broken`].
    pub async fn sweep(&self, before: Timestamp) -> Result<usize> {
        let mut swept = 0;
        for table in Table::ALL {
            swept += self.sweep_table(table, before).await?;
        }
        Ok(swept)
    }

    /// Commits writes whose bodies are in `parts`, or that make the parts at `superseded` superfluous.
    pub(super) async fn commit_parts(
        &self,
        actions: &mut Vec<Action>,
        parts: Vec<Row>,
        superseded: &[Place],
    ) -> Result<()> {
        let Some(table) = actions.first().map(|action| action.write.key().table) else { return Ok(()) };
        if actions.len() >= TRANSACTION_LIMIT {
            return Err(Error::TooLarge("a transaction with split bodies"));
        }
        let now = Clock::System.now();
        let key = Key::new(table, LEDGER, format!("{:013}#{:016x}", now.millis(), Rev::fresh().0));
        let added: Vec<Place> = actions.iter().filter_map(place).collect();
        let mut when = When::Absent;
        if !added.is_empty() {
            let entry = entry(&key, &added);
            when = When::Rev(entry.rev);
            self.put_whole(vec![entry]).await?;
            self.put_whole(parts).await?;
        }
        let write = match superseded {
            [] => Write::Delete(key.clone(), when),
            _ => Write::Put(entry(&key, superseded), when),
        };
        let ledger = actions.len();
        actions.push(Action { write, parts: None });
        match self.commit(actions).await {
            Ok(()) if !superseded.is_empty() => self.forget(superseded, &key).await,
            Ok(()) => {}
            // It may have been applied: then the ledger row is gone, and else the sweep finds it.
            Err(error @ Error::Unavailable(_)) => return Err(error),
            Err(Error::Conflict { index }) if index == ledger => {
                let fault = CallFault::new("TransactWriteItems", "the writer was so slow that its parts were swept");
                return Err(Error::Unavailable(fault.into()));
            }
            Err(error) => {
                self.forget(&added, &key).await;
                return Err(error);
            }
        }
        // Late cleaning is the next write's to try again.
        let _ = self.sweep_table(table, now.plus_ms(-SWEPT_AFTER_MS)).await;
        Ok(())
    }

    /// Deletes parts and then the ledger row that names them. What fails is left to a sweep.
    async fn forget(&self, places: &[Place], ledger: &Key) {
        let parts: Vec<Key> = places.iter().flat_map(|place| place.keys()).collect();
        if self.delete_all(&parts).await.is_ok() {
            let _ = self.delete_all(std::slice::from_ref(ledger)).await;
        }
    }

    async fn sweep_table(&self, table: Table, before: Timestamp) -> Result<usize> {
        let query = Query {
            table,
            index: Index::Primary,
            partition: LEDGER.to_owned(),
            after: None,
            before: Some(format!("{:013}", before.millis())),
            descending: false,
            limit: SWEPT_AT_ONCE,
        };
        let mut swept = 0;
        for row in self.query(&query).await?.rows {
            let places = places(&row)?;
            let taken = Row { rev: Rev::fresh(), ..row.clone() };
            let take = Action { write: Write::Put(taken, When::Rev(row.rev)), parts: None };
            match self.commit(&[take]).await {
                Ok(()) => {
                    self.forget(&places, &row.key).await;
                    swept += places.len();
                }
                // Its writer committed, or another sweep was faster.
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(swept)
    }
}

fn entry(key: &Key, places: &[Place]) -> Row {
    let named: Vec<_> = places.iter().map(|place| (place.table.name(), place.rev, place.count)).collect();
    let body = serde_json::json!(named).to_string();
    Row { key: key.clone(), rev: Rev::fresh(), body, listed: None, due: None, expires_at_s: None }
}

fn places(row: &Row) -> Result<Vec<Place>> {
    let named: Vec<(String, i64, u16)> =
        serde_json::from_str(&row.body).map_err(|error| Error::Broken(error.into()))?;
    let place = |(name, rev, count): (String, i64, u16)| {
        let table = Table::ALL.into_iter().find(|table| table.name() == name);
        let table = table.ok_or_else(|| broken("read", "the ledger names an unknown table"))?;
        Ok(Place { table, rev, count })
    };
    named.into_iter().map(place).collect()
}
