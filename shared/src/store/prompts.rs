//! Drafts of system prompts in the store: a row each, in a partition of their agent's.

use super::{
    Result, Store,
    row::{Index, Key, Query, Table, When, Write},
};
use crate::{
    agent::PromptDraft,
    id::{AgentId, OrgId},
    tenant::Tenant,
};

fn partition(org: OrgId, id: AgentId) -> String {
    format!("O#{org}#A#{id}#PROMPTS")
}

impl Store {
    /// The agent's drafts, newest first, at most so many.
    pub(crate) async fn prompt_drafts(&self, tenant: Tenant, id: AgentId, most: usize) -> Result<Vec<PromptDraft>> {
        let (mut drafts, mut before) = (Vec::new(), None);
        loop {
            let partition = partition(tenant.org(), id);
            let query = Query::newest_first(Table::Agents, Index::Primary, partition, before, most);
            let (mut page, next) = self.page(&query).await?;
            drafts.append(&mut page);
            match next {
                Some(next) if drafts.len() < most => before = Some(next),
                _ => return Ok(drafts),
            }
        }
    }

    /// Writes a new draft, with a claim where given.
    pub(crate) async fn save_prompt_draft(
        &self,
        tenant: Tenant,
        id: AgentId,
        draft: &PromptDraft,
        claim: Option<Write>,
    ) -> Result<()> {
        let key = Key::new(Table::Agents, partition(tenant.org(), id), draft.id.to_string());
        let mut writes = vec![Write::Put(super::row(key, draft)?, When::Absent)];
        writes.extend(claim);
        self.backend.transact(writes).await
    }
}
