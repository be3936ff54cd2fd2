//! Feedback in the store: a row for each run and event that has some, with the messages of the chat's first run, so that one query finds
//! all of a chat.

use super::{
    Result, Store,
    row::{Index, Key, Query, Table, When, Write},
    runs::partition,
};
use crate::{
    id::{OrgId, RunId},
    run::Feedback,
    tenant::Tenant,
};

/// What the sort keys begin with, and what sorts after all of them.
const BEGIN: &str = "F#";
const END: &str = "F$";

fn key(org: OrgId, chat: RunId, feedback: &Feedback) -> Key {
    let of = feedback.event_id.clone().unwrap_or_else(|| feedback.run_id.to_string());
    Key::new(Table::Messages, partition(org, chat), format!("{BEGIN}{of}"))
}

impl Store {
    /// Writes it in the place of what was thought of the same before; a conflict when somebody else does at the same time.
    pub(crate) async fn save_feedback(&self, tenant: Tenant, chat: RunId, feedback: &Feedback) -> Result<()> {
        let key = key(tenant.org(), chat, feedback);
        let seen = self.backend.get(&key).await?.map_or(When::Absent, |there| When::Rev(there.rev));
        self.backend.transact(vec![Write::Put(super::row(key, feedback)?, seen)]).await
    }

    /// All of a chat.
    pub(crate) async fn feedback(&self, tenant: Tenant, chat: RunId) -> Result<Vec<Feedback>> {
        let mut query = Query {
            table: Table::Messages,
            index: Index::Primary,
            partition: partition(tenant.org(), chat),
            after: Some(BEGIN.to_owned()),
            before: Some(END.to_owned()),
            descending: false,
            limit: 1_000,
        };
        let mut all = Vec::new();
        loop {
            let (mut page, next) = self.page(&query).await?;
            all.append(&mut page);
            match next {
                Some(next) => query.after = Some(next),
                None => return Ok(all),
            }
        }
    }
}
