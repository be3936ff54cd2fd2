//! API keys in the store: an entry under the key's digest, which is what a caller is looked up by, and a row in the list of
//! its organisation. Looking an entry up is the one query without a tenant: it yields one.

use serde::{Deserialize, Serialize};

use super::{
    Error, Result, Store, Versioned,
    row::{Index, Key, Query, Rev, Table, When, Write},
};
use crate::{
    api_key::{ApiKey, Entry},
    clock::Timestamp,
    id::{KeyId, OrgId},
    seal::fingerprint,
    tenant::Tenant,
};

#[derive(Debug, Serialize, Deserialize)]
struct Organisation {
    id: OrgId,
    name: String,
    created_at: Timestamp,
}

fn entry_key(digest: &str) -> Key {
    Key::new(Table::ApiKeys, format!("K#{digest}"), "-")
}

fn list_partition(org: OrgId) -> String {
    format!("O#{org}#KEYS")
}

fn list_key(org: OrgId, id: KeyId) -> Key {
    Key::new(Table::ApiKeys, list_partition(org), id.to_string())
}

fn entry(tenant: Tenant, key: &ApiKey) -> Entry {
    Entry {
        org: tenant.org(),
        key_id: key.id,
        scopes: key.scopes.clone(),
        limits: key.limits,
        budget_of: key.budget_of,
        expires_at: key.expires_at,
        last_used_at: key.last_used_at,
    }
}

impl Store {
    pub(crate) async fn key_entry(&self, digest: &str) -> Result<Option<Versioned<Entry>>> {
        self.get(&entry_key(digest)).await
    }

    /// Notes the hour of the key's use at its entry, if nobody changed the entry meanwhile.
    pub(crate) async fn touch_key(&self, digest: &str, found: Versioned<Entry>, used: Timestamp) -> Result<()> {
        let row = super::row(entry_key(digest), &Entry { last_used_at: Some(used), ..found.value })?;
        self.backend.transact(vec![Write::Put(row, When::Rev(found.rev))]).await
    }

    /// The organisation of this name, which is made if it is new.
    pub(crate) async fn organisation(&self, name: &str, now: Timestamp) -> Result<OrgId> {
        let key = Key::new(Table::ApiKeys, format!("N#{}", fingerprint(&[name.as_bytes()])), "-");
        if let Some(found) = self.get::<Organisation>(&key).await? {
            return Ok(found.value.id);
        }
        let organisation = Organisation { id: OrgId::new(now), name: name.to_owned(), created_at: now };
        let row = super::row(key.clone(), &organisation)?;
        match self.backend.transact(vec![Write::Put(row, When::Absent)]).await {
            Ok(()) => Ok(organisation.id),
            Err(error @ Error::Conflict { .. }) => {
                self.get::<Organisation>(&key).await?.map(|found| found.value.id).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The key; when it was used last is at its entry as long as it has one.
    pub(crate) async fn key(&self, tenant: Tenant, id: KeyId) -> Result<Option<Versioned<ApiKey>>> {
        let Some(mut found) = self.get::<ApiKey>(&list_key(tenant.org(), id)).await? else { return Ok(None) };
        if let Some(entry) = self.key_entry(&found.value.digest).await? {
            found.value.last_used_at = entry.value.last_used_at.or(found.value.last_used_at);
        }
        Ok(Some(found))
    }

    /// A page of keys, newest first, and where the next begins.
    pub(crate) async fn keys(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<ApiKey>, Option<String>)> {
        let partition = list_partition(tenant.org());
        let query = Query::newest_first(Table::ApiKeys, Index::Primary, partition, before, limit);
        let (mut keys, next) = self.page::<ApiKey>(&query).await?;
        let entries: Vec<Key> = keys.iter().map(|key| entry_key(&key.digest)).collect();
        for (key, entry) in keys.iter_mut().zip(self.batch_get::<Entry>(&entries).await?) {
            key.last_used_at = entry.and_then(|entry| entry.value.last_used_at).or(key.last_used_at);
        }
        Ok((keys, next))
    }

    pub(crate) async fn save_new_key(&self, tenant: Tenant, key: &ApiKey, claim: Option<Write>) -> Result<()> {
        let mut writes = new_key(tenant, key)?;
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// Writes the revoked key and takes its entry away, so that it is dead at once.
    pub(crate) async fn save_revoked_key(&self, tenant: Tenant, key: &ApiKey, seen: Rev) -> Result<()> {
        let listed = super::row(list_key(tenant.org(), key.id), key)?;
        let writes = vec![Write::Put(listed, When::Rev(seen)), Write::Delete(entry_key(&key.digest), When::Any)];
        self.backend.transact(writes).await
    }

    /// Writes the old key with its end and the new one. A conflict's index is 0 or 1 for the old key.
    pub(crate) async fn save_rotation(
        &self,
        tenant: Tenant,
        old: &ApiKey,
        seen: Rev,
        new: &ApiKey,
        claim: Option<Write>,
    ) -> Result<()> {
        let seen_entry = self.key_entry(&old.digest).await?.ok_or(Error::Conflict { index: 1 })?;
        let listed = super::row(list_key(tenant.org(), old.id), old)?;
        let ending = super::row(entry_key(&old.digest), &entry(tenant, old))?;
        let mut writes = vec![Write::Put(listed, When::Rev(seen)), Write::Put(ending, When::Rev(seen_entry.rev))];
        writes.extend(new_key(tenant, new)?);
        writes.extend(claim);
        self.backend.transact(writes).await
    }
}

fn new_key(tenant: Tenant, key: &ApiKey) -> Result<Vec<Write>> {
    let listed = super::row(list_key(tenant.org(), key.id), key)?;
    let entry = super::row(entry_key(&key.digest), &entry(tenant, key))?;
    Ok(vec![Write::Put(listed, When::Absent), Write::Put(entry, When::Absent)])
}
