//! Timelines in the store: a row per session, which is rewritten, and its entries, a row for those that came together, written once.

use super::{
    Error, Result, Store, Versioned,
    row::{Entry, Index, Key, Query, Rev, Row, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    id::OrgId,
    seal::fingerprint,
    tenant::Tenant,
    timeline::{Chunk, Session},
};

const PAGE: usize = 100;

fn partition(org: OrgId, session: &str) -> String {
    format!("O#{org}#LOG#{}", fingerprint(&[session.as_bytes()]))
}

fn session_key(org: OrgId, session: &str) -> Key {
    Key::new(Table::Messages, partition(org, session), "SESSION")
}

fn list_partition(org: OrgId) -> String {
    format!("O#{org}#SESSIONS")
}

impl Store {
    pub(crate) async fn session(&self, tenant: Tenant, id: &str) -> Result<Option<Versioned<Session>>> {
        self.get(&session_key(tenant.org(), id)).await
    }

    /// Writes entries with what their session is then, if that is as it was seen. The same entries again change nothing: `false`.
    pub(crate) async fn save_chunk(
        &self,
        tenant: Tenant,
        chunk: &Chunk,
        session: &Session,
        seen: Option<Rev>,
        expires_at: Timestamp,
    ) -> Result<bool> {
        let org = tenant.org();
        let expires_at_s = Some(expires_at.seconds_ceil());
        let row = super::row(session_key(org, &session.id), chunk)?;
        // What they say names the row, so that a client that asks again writes it once.
        let sort = format!("C#{:013}#{}", chunk.first_at().millis_unsigned(), fingerprint(&[row.body.as_bytes()]));
        let row = Row { key: Key { sort, ..row.key }, expires_at_s, ..row };
        let named = fingerprint(&[session.id.as_bytes()]);
        let listed = Entry {
            partition: list_partition(org),
            sort: format!("{:013}#{named}", session.created_at.millis_unsigned()),
        };
        let head = super::row(session_key(org, &session.id), session)?;
        let head = Row { listed: Some(listed), expires_at_s, ..head };
        let writes = vec![Write::Put(row, When::Absent), Write::Put(head, seen.map_or(When::Absent, When::Rev))];
        match self.backend.transact(writes).await {
            Ok(()) => Ok(true),
            Err(Error::Conflict { index: 0 }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The session's entries, those that came together beside each other.
    pub(crate) async fn chunks(&self, tenant: Tenant, session: &str) -> Result<Vec<Chunk>> {
        let (mut chunks, mut after) = (Vec::new(), Some("C#".to_owned()));
        while let Some(begin) = after.take() {
            let query = Query {
                table: Table::Messages,
                index: Index::Primary,
                partition: partition(tenant.org(), session),
                after: Some(begin),
                before: Some("D".to_owned()),
                descending: false,
                limit: PAGE,
            };
            let (mut page, next) = self.page(&query).await?;
            chunks.append(&mut page);
            after = next;
        }
        Ok(chunks)
    }

    /// A page of the sessions, the newest first, and where the next begins.
    pub(crate) async fn listed_sessions(
        &self,
        tenant: Tenant,
        before: Option<String>,
    ) -> Result<(Vec<Session>, Option<String>)> {
        let partition = list_partition(tenant.org());
        self.page(&Query::newest_first(Table::Messages, Index::Listed, partition, before, PAGE)).await
    }
}
