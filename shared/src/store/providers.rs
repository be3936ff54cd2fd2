//! Providers of organisations in the store: a row each, with its key sealed, and a row that every new one rewrites, so that none that are
//! made at the same moment overlook each other and their number can be kept.

use serde::{Deserialize, Serialize};

use super::{
    Result, Store, Versioned,
    row::{Index, Key, Query, Rev, Table, When, Write},
};
use crate::{id::OrgId, provider::Provider, tenant::Tenant};

/// The row that every new one rewrites: before all ids, which begin with a letter or a digit.
const GATE: &str = "!";
/// How many rows are read at a time.
const PAGE: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
struct Made {}

/// The providers of an organisation as they were read, to make another.
#[derive(Debug)]
pub(crate) struct All {
    gate: Option<Rev>,
    pub(crate) providers: Vec<Provider>,
}

fn partition(org: OrgId) -> String {
    format!("O#{org}#PROVIDERS")
}

fn key(org: OrgId, id: &str) -> Key {
    Key::new(Table::Agents, partition(org), id)
}

impl Store {
    pub(crate) async fn provider(&self, tenant: Tenant, id: &str) -> Result<Option<Versioned<Provider>>> {
        self.get(&key(tenant.org(), id)).await
    }

    /// The organisation's providers by id.
    pub(crate) async fn providers(&self, tenant: Tenant) -> Result<Vec<Provider>> {
        let (mut all, mut after) = (Vec::new(), Some(GATE.to_owned()));
        while after.is_some() {
            let query = Query {
                table: Table::Agents,
                index: Index::Primary,
                partition: partition(tenant.org()),
                after,
                before: None,
                descending: false,
                limit: PAGE,
            };
            let (mut page, next) = self.page(&query).await?;
            all.append(&mut page);
            after = next;
        }
        Ok(all)
    }

    /// The same, to make another: see [`Store::save_new_provider`].
    pub(crate) async fn providers_to_add_to(&self, tenant: Tenant) -> Result<All> {
        let gate = self.get::<Made>(&key(tenant.org(), GATE)).await?.map(|found| found.rev);
        Ok(All { gate, providers: self.providers(tenant).await? })
    }

    /// Writes a new provider, with a claim, if none was made since all were read. A conflict's index is 0 when there is one with that id,
    /// 1 when another was made meanwhile.
    pub(crate) async fn save_new_provider(&self, provider: &Provider, all: &All, claim: Option<Write>) -> Result<()> {
        let row = super::row(key(provider.org, &provider.id), provider)?;
        let gate = super::row(key(provider.org, GATE), &Made {})?;
        let mut writes =
            vec![Write::Put(row, When::Absent), Write::Put(gate, all.gate.map_or(When::Absent, When::Rev))];
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// Writes the provider, if it is as it was seen.
    pub(crate) async fn save_provider(&self, provider: &Provider, seen: Rev) -> Result<()> {
        let row = super::row(key(provider.org, &provider.id), provider)?;
        self.backend.transact(vec![Write::Put(row, When::Rev(seen))]).await
    }

    /// Deletes the provider, if it is as it was seen.
    pub(crate) async fn delete_provider(&self, tenant: Tenant, id: &str, seen: Rev) -> Result<()> {
        self.backend.transact(vec![Write::Delete(key(tenant.org(), id), When::Rev(seen))]).await
    }
}
