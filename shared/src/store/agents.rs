//! Agents in the store: 32 pointer buckets per organisation say which version of each agent is current, and each version is
//! a row of its own that never changes once a pointer has named it. So any number of agents can change in one transaction of at most
//! 32 buckets; the versions are written before it, by a change set: see [`crate::agent::update_many`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Store,
    row::{Index, Key, Query, Rev, Row, Table, When, Write},
};
use crate::{
    agent::AgentVersion,
    clock::Timestamp,
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

impl Bucket {
    fn new(org: OrgId, key: Key, found: Option<super::Versioned<Pointers>>) -> Self {
        let (pointers, seen) =
            found.map_or_else(|| (Pointers::default(), None), |found| (found.value, Some(found.rev)));
        Self { key, seen, org, pointers }
    }

    /// Whether it is the bucket of this agent.
    pub(crate) fn is_of(&self, id: AgentId) -> bool {
        self.key == bucket_key(self.org, bucket_of(id))
    }

    fn write(self) -> Result<Write> {
        Ok(Write::Put(super::row(self.key, &self.pointers)?, self.seen.map_or(When::Absent, When::Rev)))
    }
}

/// Several agents that are changed together: the row by which the writer may commit, and others may stop it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChangeSet {
    pub(crate) id: Uuid,
    /// The process that writes it.
    #[serde(default)]
    pub(crate) owner: String,
    /// Until when others wait for it.
    pub(crate) until: Timestamp,
    pub(crate) state: ChangeState,
}

/// Where a change set stands. Only an open one changes, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeState {
    Open,
    Committed,
    Stopped,
}

/// What a version's row says of who wrote it: nothing when it was written with its pointer.
#[derive(Debug, Deserialize)]
struct WrittenBy {
    #[serde(default)]
    change_set: Option<Uuid>,
}

/// A version as a change set writes it.
#[derive(Debug, Serialize)]
struct InChangeSet<'a> {
    change_set: Uuid,
    #[serde(flatten)]
    version: &'a AgentVersion,
}

/// How long a change set's row is kept, in milliseconds: longer than any writer is slow.
const CHANGE_SET_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

fn change_set_key(org: OrgId, id: Uuid) -> Key {
    Key::new(Table::Agents, format!("O#{org}#C#{}", id.as_hyphenated()), "-")
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
        Ok(Bucket::new(tenant.org(), key, found))
    }

    /// The buckets of these agents, all as they are at one moment.
    pub(crate) async fn agent_buckets(&self, tenant: Tenant, ids: &[AgentId]) -> Result<Vec<Bucket>> {
        let buckets: BTreeSet<u8> = ids.iter().copied().map(bucket_of).collect();
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key> = buckets.into_iter().map(|bucket| bucket_key(tenant.org(), bucket)).collect();
        let found = self.snapshot::<Pointers>(&keys).await?;
        Ok(keys.into_iter().zip(found).map(|(key, found)| Bucket::new(tenant.org(), key, found)).collect())
    }

    /// Every agent of the organisation with its current version, all as they are at one moment, in no order.
    pub(crate) async fn agent_pointers(&self, tenant: Tenant) -> Result<Vec<(AgentId, u32)>> {
        let keys: Vec<Key> = (0..BUCKETS).map(|bucket| bucket_key(tenant.org(), bucket)).collect();
        let buckets = self.snapshot::<Pointers>(&keys).await?;
        Ok(buckets.into_iter().flatten().flat_map(|bucket| bucket.value.current).collect())
    }

    pub(crate) async fn agent_version(&self, tenant: Tenant, id: AgentId, number: u32) -> Result<Option<AgentVersion>> {
        Ok(self.get(&version_key(tenant.org(), id, number)).await?.map(|found| found.value))
    }

    /// Writes the version of an agent that no pointer names, if it is not there.
    pub(crate) async fn save_unnamed_version(&self, tenant: Tenant, version: &AgentVersion) -> Result<()> {
        let row = super::row(version_key(tenant.org(), version.agent_id, version.number), version)?;
        self.backend.transact(vec![Write::Put(row, When::Absent)]).await
    }

    /// These versions, in the order asked for. They are there for ever once a pointer has named them: one that is not is a fault.
    pub(crate) async fn agent_versions(&self, tenant: Tenant, wanted: &[(AgentId, u32)]) -> Result<Vec<AgentVersion>> {
        let keys: Vec<Key> = wanted.iter().map(|(id, number)| version_key(tenant.org(), *id, *number)).collect();
        let found = self.batch_get::<AgentVersion>(&keys).await?;
        let whole = |(version, key): (Option<super::Versioned<_>>, &Key)| match version {
            Some(version) => Ok(version.value),
            None => {
                Err(super::Error::Broken(format!("the version {} of {} is missing", key.sort, key.partition).into()))
            }
        };
        found.into_iter().zip(&keys).map(whole).collect()
    }

    /// A page of the agent's versions up to the current one, newest first, and where the next begins.
    pub(crate) async fn agent_history(
        &self,
        tenant: Tenant,
        id: AgentId,
        current: u32,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<AgentVersion>, Option<String>)> {
        let partition = versions_partition(tenant.org(), id);
        let before = before.or_else(|| Some(version_key(tenant.org(), id, current.saturating_add(1)).sort));
        self.page(&Query::newest_first(Table::Agents, Index::Primary, partition, before, limit)).await
    }

    /// Writes the bucket back if nobody changed it, with a new version where given and the writes beside it. `left` is what a stopped change set
    /// left behind in the version's place.
    ///
    /// A conflict's index is 0 for the bucket, 1 for the version, and from 2 on for the writes beside it.
    pub(crate) async fn save_agent_bucket(
        &self,
        bucket: Bucket,
        version: Option<(&AgentVersion, Option<Rev>)>,
        beside: Vec<Write>,
    ) -> Result<()> {
        let org = bucket.org;
        let mut writes = vec![bucket.write()?];
        if let Some((version, left)) = version {
            let row: Row = super::row(version_key(org, version.agent_id, version.number), version)?;
            writes.push(Write::Put(row, left.map_or(When::Absent, When::Rev)));
        }
        writes.extend(beside);
        self.backend.transact(writes).await
    }

    /// Who wrote this version, and its row's revision: `None` for who when it was written with its pointer.
    pub(crate) async fn version_writer(
        &self,
        tenant: Tenant,
        id: AgentId,
        number: u32,
    ) -> Result<Option<(Option<Uuid>, Rev)>> {
        let found = self.get::<WrittenBy>(&version_key(tenant.org(), id, number)).await?;
        Ok(found.map(|found| (found.value.change_set, found.rev)))
    }

    pub(crate) async fn change_set(&self, tenant: Tenant, id: Uuid) -> Result<Option<super::Versioned<ChangeSet>>> {
        self.get(&change_set_key(tenant.org(), id)).await
    }

    /// Writes the change set's row if it is as it was seen (`None`: new), together with these buckets. Answers its new revision. A
    /// conflict's index is 0 for the row, and more for the buckets.
    pub(crate) async fn save_change_set(
        &self,
        tenant: Tenant,
        set: &ChangeSet,
        seen: Option<Rev>,
        buckets: Vec<Bucket>,
    ) -> Result<Rev> {
        let mut row = super::row(change_set_key(tenant.org(), set.id), set)?;
        row.expires_at_s = Some(set.until.plus_ms(CHANGE_SET_KEPT_MS).seconds_ceil());
        let rev = row.rev;
        let mut writes = vec![Write::Put(row, seen.map_or(When::Absent, When::Rev))];
        for bucket in buckets {
            writes.push(bucket.write()?);
        }
        self.backend.transact(writes).await?;
        Ok(rev)
    }

    /// The write of a version by a change set, where nothing is or what a stopped one `left` behind.
    pub(crate) fn version_write(
        &self,
        tenant: Tenant,
        set: Uuid,
        version: &AgentVersion,
        left: Option<Rev>,
    ) -> Result<Write> {
        let key = version_key(tenant.org(), version.agent_id, version.number);
        let row = super::row(key, &InChangeSet { change_set: set, version })?;
        Ok(Write::Put(row, left.map_or(When::Absent, When::Rev)))
    }

    /// All of these writes of versions or none.
    pub(crate) async fn save_versions(&self, writes: Vec<Write>) -> Result<()> {
        self.backend.transact(writes).await
    }
}
