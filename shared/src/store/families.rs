//! How many runs there are below one that nobody started as a sub-agent: a row each, written with the runs that it counts.

use super::{
    Result, Store, Versioned,
    row::{Key, Rev, Table, When, Write},
};
use crate::{
    id::{OrgId, RunId},
    tenant::Tenant,
};

fn key(org: OrgId, root: RunId) -> Key {
    Key::new(Table::Runs, format!("O#{org}#R#{root}"), "FAMILY")
}

impl Store {
    /// How many runs that one and those below it are; nothing as long as it has started none.
    pub(crate) async fn family(&self, tenant: Tenant, root: RunId) -> Result<Option<Versioned<u64>>> {
        self.get(&key(tenant.org(), root)).await
    }

    /// The write that says so, if the row is as it was seen (`None`: if it is new).
    pub(crate) fn family_write(&self, tenant: Tenant, root: RunId, runs: u64, seen: Option<Rev>) -> Result<Write> {
        Ok(Write::Put(super::row(key(tenant.org(), root), &runs)?, seen.map_or(When::Absent, When::Rev)))
    }
}
