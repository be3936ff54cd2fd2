//! Agents in the store: 32 pointer buckets per organisation say which version of each agent is current, and each version is
//! a row of its own that never changes. So any number of agents can change in one transaction of at most 32 buckets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Store,
    row::{self, Index, Key, Query, Rev, Table, When, Write},
};
use crate::{
    agent::AgentVersion,
    id::{AgentId, OrgId},
    store::Result,
    tenant::Tenant,
};

/// How many buckets an organisation has; fixed, because an agent's bucket follows from its id.
const BUCKETS: u8 = 32;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Pointers {
    /// The current version of each agent.
    current: BTreeMap<AgentId, u32>,
}

/// A bucket as it was read, to be changed and written back.
#[derive(Debug)]
pub(crate) struct Bucket {
    key: Key,
    seen: Option<Rev>,
    org: OrgId,
    pointers: Pointers,
}

impl Bucket {
    pub(crate) fn current(&self, id: AgentId) -> Option<u32> {
        self.pointers.current.get(&id).copied()
    }

    pub(crate) fn point(&mut self, id: AgentId, version: u32) {
        self.pointers.current.insert(id, version);
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, id: AgentId) -> bool {
        self.pointers.current.remove(&id).is_some()
    }
}

fn bucket_key(org: OrgId, bucket: u8) -> Key {
    Key::new(Table::Agents, format!("O#{org}#AB"), format!("B#{bucket:03}"))
}

fn bucket_of(id: AgentId) -> u8 {
    let [.., last] = *id.uuid().as_bytes();
    last % BUCKETS
}

fn versions_partition(org: OrgId, id: AgentId) -> String {
    format!("O#{org}#A#{id}")
}

fn version_key(org: OrgId, id: AgentId, number: u32) -> Key {
    Key::new(Table::Agents, versions_partition(org, id), format!("V#{number:010}"))
}

impl Store {
    pub(crate) async fn agent_bucket(&self, tenant: Tenant, id: AgentId) -> Result<Bucket> {
        let key = bucket_key(tenant.org(), bucket_of(id));
        let found = self.get::<Pointers>(&key).await?;
        let (pointers, seen) =
            found.map_or_else(|| (Pointers::default(), None), |found| (found.value, Some(found.rev)));
        Ok(Bucket { key, seen, org: tenant.org(), pointers })
    }

    /// Every agent of the organisation with its current version, in no order.
    pub(crate) async fn agent_pointers(&self, tenant: Tenant) -> Result<Vec<(AgentId, u32)>> {
        let keys: Vec<Key> = (0..BUCKETS).map(|bucket| bucket_key(tenant.org(), bucket)).collect();
        let buckets = self.batch_get::<Pointers>(&keys).await?;
        Ok(buckets.into_iter().flatten().flat_map(|bucket| bucket.value.current).collect())
    }

    pub(crate) async fn agent_version(&self, tenant: Tenant, id: AgentId, number: u32) -> Result<Option<AgentVersion>> {
        Ok(self.get(&version_key(tenant.org(), id, number)).await?.map(|found| found.value))
    }

    /// These versions, in the order asked for; one that is gone is left out.
    pub(crate) async fn agent_versions(&self, tenant: Tenant, wanted: &[(AgentId, u32)]) -> Result<Vec<AgentVersion>> {
        let keys: Vec<Key> = wanted.iter().map(|(id, number)| version_key(tenant.org(), *id, *number)).collect();
        let found = self.batch_get::<AgentVersion>(&keys).await?;
        Ok(found.into_iter().flatten().map(|version| version.value).collect())
    }

    /// A page of the agent's versions, newest first, and where the next begins.
    pub(crate) async fn agent_history(
        &self,
        tenant: Tenant,
        id: AgentId,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<AgentVersion>, Option<String>)> {
        let partition = versions_partition(tenant.org(), id);
        self.page(&Query::newest_first(Table::Agents, Index::Primary, partition, before, limit)).await
    }

    /// Writes the bucket back if nobody changed it, with a new version and a claim where given.
    ///
    /// A conflict's index is 0 for the bucket, 1 for the version (left behind by another change), and more for the claim.
    pub(crate) async fn save_agent_bucket(
        &self,
        bucket: Bucket,
        version: Option<&AgentVersion>,
        claim: Option<Write>,
    ) -> Result<()> {
        let Bucket { key, seen, org, pointers } = bucket;
        let mut writes = vec![Write::Put(super::row(key, &pointers)?, seen.map_or(When::Absent, When::Rev))];
        if let Some(version) = version {
            let row: row::Row = super::row(version_key(org, version.agent_id, version.number), version)?;
            writes.push(Write::Put(row, When::Absent));
        }
        writes.extend(claim);
        self.backend.transact(writes).await
    }
}
