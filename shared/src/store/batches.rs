//! Batches in the store: a row each. The runs' ids follow from the batch's.

use std::collections::HashSet;

use super::{
    Result, Span, Store, Versioned,
    row::{Entry, FoundKeys, Index, KEYS_LIMIT, Key, Query, Rev, Row, Table, When, Write},
    runs::due_entry,
};
use crate::{
    batch::Batch,
    clock::Timestamp,
    id::{BatchId, OrgId},
    tenant::Tenant,
};

fn key(org: OrgId, id: BatchId) -> Key {
    Key::new(Table::Runs, format!("O#{org}#B#{id}"), "META")
}

fn list_partition(org: OrgId) -> String {
    format!("O#{org}#BATCHES")
}

impl Store {
    pub(crate) async fn batch(&self, tenant: Tenant, id: BatchId) -> Result<Option<Versioned<Batch>>> {
        let found: Option<Versioned<Option<Batch>>> = self.get(&key(tenant.org(), id)).await?;
        Ok(found.and_then(|Versioned { value, rev }| value.map(|value| Versioned { value, rev })))
    }

    /// The write that belongs to taking away what was staged for a batch: from then on the batch cannot be accepted, so that no
    /// starter which slept meanwhile accepts runs that are not there any more. `None` when it is accepted.
    pub(crate) async fn given_up(&self, tenant: Tenant, id: BatchId, expires: Timestamp) -> Result<Option<Write>> {
        let key = key(tenant.org(), id);
        Ok(match self.get::<Option<Batch>>(&key).await? {
            Some(Versioned { value: Some(_), .. }) => None,
            Some(Versioned { value: None, rev }) => Some(Write::Check(key, When::Rev(rev))),
            None => {
                let nothing = super::row(key, &None::<Batch>)?;
                Some(Write::Put(Row { expires_at_s: Some(expires.seconds_ceil()), ..nothing }, When::Absent))
            }
        })
    }

    /// Writes the batch's row with these, if the row is as it was seen (`None`: if it is new).
    pub(crate) async fn save_batch(&self, batch: &Batch, seen: Option<Rev>, others: Vec<Write>) -> Result<()> {
        let mut writes = vec![self.batch_write(batch, seen)?];
        writes.extend(others);
        self.backend.transact(writes).await
    }

    /// What writes the batch's row, if it is as it was seen (`None`: if it is new).
    pub(crate) fn batch_write(&self, batch: &Batch, seen: Option<Rev>) -> Result<Write> {
        let org = batch.tenant().org();
        let row = super::row(key(org, batch.id), batch)?;
        let listed = Some(Entry { partition: list_partition(org), sort: batch.id.to_string() });
        let due = batch.settled.is_none().then(|| due_entry(batch.next_check_at, org, 'B', batch.id.uuid()));
        Ok(Write::Put(Row { listed, due, ..row }, seen.map_or(When::Absent, When::Rev)))
    }

    /// The ids of the batches that there are, of that time. What the list does not show yet is not among them.
    pub(crate) async fn batch_ids(&self, tenant: Tenant, span: Span) -> Result<HashSet<BatchId>> {
        let (mut ids, mut before) = (HashSet::new(), None);
        loop {
            let query = span.query(list_partition(tenant.org()), before, KEYS_LIMIT);
            let FoundKeys { sorts, next } = self.backend.query_keys(&query).await?;
            ids.extend(sorts.iter().filter_map(|id| id.parse::<BatchId>().ok()));
            match next {
                Some(next) => before = Some(next),
                None => return Ok(ids),
            }
        }
    }

    /// A page of the list of batches, newest first, and where the next begins.
    pub(crate) async fn listed_batches(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Batch>, Option<String>)> {
        let partition = list_partition(tenant.org());
        self.page(&Query::newest_first(Table::Runs, Index::Listed, partition, before, limit)).await
    }
}
