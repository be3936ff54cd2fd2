//! How many runs were started below one that nobody started as a sub-agent: a counter each, added to with the runs that it counts.

use serde::Deserialize;

use super::{
    Result, Store,
    row::{Add, Key, Table, Write},
};
use crate::{
    id::{OrgId, RunId},
    tenant::Tenant,
};

fn key(org: OrgId, root: RunId) -> Key {
    Key::new(Table::Runs, format!("O#{org}#R#{root}"), "FAMILY")
}

#[derive(Default, Deserialize)]
struct Family {
    started: i64,
}

impl Store {
    /// How many runs were started below that one.
    pub(crate) async fn descendants(&self, tenant: Tenant, root: RunId) -> Result<i64> {
        let found = self.get::<Family>(&key(tenant.org(), root)).await?;
        Ok(found.map_or(0, |found| found.value.started))
    }

    /// The write that counts so many more, if there are at most so many then.
    pub(crate) fn descend(&self, tenant: Tenant, root: RunId, more: i64, at_most: i64) -> Write {
        Write::Add(Add {
            key: key(tenant.org(), root),
            amounts: vec![("started", more)],
            at_most: Some(("started", at_most)),
            expires_at_s: None,
        })
    }
}
