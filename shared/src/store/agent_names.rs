//! Names that belong to one agent each, in the store: a row per name, which says whose it is.

use serde::{Deserialize, Serialize};

use super::{
    Result, Store, Versioned,
    row::{Key, Rev, Table, When, Write},
};
use crate::{
    id::{AgentId, OrgId},
    seal::fingerprint,
    tenant::Tenant,
};

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    agent_id: AgentId,
}

/// A name may be longer than a key.
fn key(org: OrgId, name: &str) -> Key {
    Key::new(Table::Agents, format!("O#{org}#NAMES"), fingerprint(&[name.as_bytes()]))
}

impl Store {
    /// Whose the name is, if it is anybody's.
    pub(crate) async fn agent_name(&self, tenant: Tenant, name: &str) -> Result<Option<Versioned<AgentId>>> {
        let found = self.get::<Owner>(&key(tenant.org(), name)).await?;
        Ok(found.map(|Versioned { value, rev }| Versioned { value: value.agent_id, rev }))
    }

    /// The write that makes the name this agent's: if it is nobody's, or still as it was `seen`.
    pub(crate) fn agent_name_write(
        &self,
        tenant: Tenant,
        name: &str,
        agent_id: AgentId,
        seen: Option<Rev>,
    ) -> Result<Write> {
        let row = super::row(key(tenant.org(), name), &Owner { agent_id })?;
        Ok(Write::Put(row, seen.map_or(When::Absent, When::Rev)))
    }
}
