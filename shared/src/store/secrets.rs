//! Secrets in the store: a row lists an organisation's names, and each value, sealed, is a row of its own. Every change goes
//! through the list, so that it never says other than the rows beside it, and the number of secrets can be kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Result, Store,
    row::{Key, Rev, Table, When, Write},
};
use crate::{clock::Timestamp, id::OrgId, tenant::Tenant};

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    /// When each was put last, by name.
    updated_at: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Value {
    sealed: String,
}

/// The list as it was read, to be changed and written back.
#[derive(Debug)]
pub(crate) struct Names {
    org: OrgId,
    seen: Option<Rev>,
    list: List,
}

impl Names {
    pub(crate) fn all(&self) -> &BTreeMap<String, Timestamp> {
        &self.list.updated_at
    }
}

fn partition(org: OrgId) -> String {
    format!("O#{org}#SECRETS")
}

fn list_key(org: OrgId) -> Key {
    Key::new(Table::Agents, partition(org), "LIST")
}

fn value_key(org: OrgId, name: &str) -> Key {
    Key::new(Table::Agents, partition(org), format!("S#{name}"))
}

impl Store {
    pub(crate) async fn secret_names(&self, tenant: Tenant) -> Result<Names> {
        let found = self.get::<List>(&list_key(tenant.org())).await?;
        let (list, seen) = found.map_or_else(|| (List::default(), None), |found| (found.value, Some(found.rev)));
        Ok(Names { org: tenant.org(), seen, list })
    }

    /// The sealed values of these names, each in its place; no name twice.
    pub(crate) async fn sealed_secrets(&self, tenant: Tenant, names: &[&str]) -> Result<Vec<Option<String>>> {
        let keys: Vec<Key> = names.iter().map(|name| value_key(tenant.org(), name)).collect();
        let found = self.batch_get::<Value>(&keys).await?;
        Ok(found.into_iter().map(|value| value.map(|value| value.value.sealed)).collect())
    }

    /// Writes the sealed value, if nobody changed the list meanwhile.
    pub(crate) async fn save_secret(&self, mut names: Names, name: &str, sealed: String, now: Timestamp) -> Result<()> {
        names.list.updated_at.insert(name.to_owned(), now);
        let value = super::row(value_key(names.org, name), &Value { sealed })?;
        self.save_with(&names, Write::Put(value, When::Any)).await
    }

    /// Deletes the value, if nobody changed the list meanwhile.
    pub(crate) async fn delete_secret(&self, mut names: Names, name: &str) -> Result<()> {
        names.list.updated_at.remove(name);
        self.save_with(&names, Write::Delete(value_key(names.org, name), When::Any)).await
    }

    async fn save_with(&self, names: &Names, write: Write) -> Result<()> {
        let list = super::row(list_key(names.org), &names.list)?;
        let list = Write::Put(list, names.seen.map_or(When::Absent, When::Rev));
        self.backend.transact(vec![list, write]).await
    }
}
