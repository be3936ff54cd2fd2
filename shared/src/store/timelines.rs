//! Timelines in the store: a row per session, and its entries, a row for those that came together. Each is written once, so that writers of
//! one session are never in each other's way; so is a row that names a run of the session's. What a row of entries holds is in its key, so that a session is added up by keys alone.

use serde::de::DeserializeOwned;

use super::{
    Error, Result, Store,
    row::{Entry, Index, Key, Query, Row, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    id::OrgId,
    seal::fingerprint,
    tenant::Tenant,
    timeline::{Chunk, Extent, Session, SessionRun},
};

/// How many sessions are read at a time.
const PAGE: usize = 100;
/// Between these stand the keys of rows of entries.
const FIRST: &str = "C#";
const BEHIND: &str = "D";
/// Between these stand the keys of rows that name runs.
const FIRST_RUN: &str = "R#";
const BEHIND_RUNS: &str = "S";

fn partition(org: OrgId, session: &str) -> String {
    format!("O#{org}#LOG#{}", fingerprint(&[session.as_bytes()]))
}

fn session_key(org: OrgId, session: &str) -> Key {
    Key::new(Table::Messages, partition(org, session), "SESSION")
}

fn list_partition(org: OrgId) -> String {
    format!("O#{org}#SESSIONS")
}

/// The extent in the key, and what they say, so that a client that asks again writes it once.
fn chunk_sort(extent: Extent, body: &str) -> String {
    let Extent { first_at, last_at, entries, bytes } = extent;
    let (first, last) = (first_at.millis_unsigned(), last_at.millis_unsigned());
    format!("{FIRST}{first:015}#{last:015}#{entries}#{bytes}#{}", fingerprint(&[body.as_bytes()]))
}

fn extent(sort: &str) -> Option<Extent> {
    let mut parts = sort.strip_prefix(FIRST)?.split('#');
    let mut moment = || Some(Timestamp::from_millis(parts.next()?.parse().ok()?));
    let (first_at, last_at) = (moment()?, moment()?);
    Some(Extent { first_at, last_at, entries: parts.next()?.parse().ok()?, bytes: parts.next()?.parse().ok()? })
}

impl Store {
    /// Writes entries, and their session if it is new. The same entries again change nothing.
    pub(crate) async fn save_chunk(
        &self,
        tenant: Tenant,
        id: &str,
        chunk: &Chunk,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        let row = super::row(session_key(tenant.org(), id), chunk)?;
        let sort = chunk_sort(chunk.extent(), &row.body);
        self.save_in_session(tenant, id, Row { key: Key { sort, ..row.key }, ..row }, now, expires_at).await
    }

    /// Writes that the run is one of the session's, and the session if it is new.
    pub(crate) async fn save_session_run(
        &self,
        tenant: Tenant,
        id: &str,
        run: &SessionRun,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        let row = super::row(session_key(tenant.org(), id), run)?;
        let sort = format!("{FIRST_RUN}{:015}#{}", now.millis_unsigned(), run.id);
        self.save_in_session(tenant, id, Row { key: Key { sort, ..row.key }, ..row }, now, expires_at).await
    }

    /// Writes a row of the session's that is written once.
    async fn save_in_session(
        &self,
        tenant: Tenant,
        id: &str,
        row: Row,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        let org = tenant.org();
        let expires_at_s = Some(expires_at.seconds_ceil());
        let row = Row { expires_at_s, ..row };
        let mut writes = vec![Write::Put(row, When::Absent)];
        if self.get::<Session>(&session_key(org, id)).await?.is_none() {
            let session = Session { id: id.to_owned(), created_at: now };
            let sort = format!("{:015}#{}", now.millis_unsigned(), fingerprint(&[id.as_bytes()]));
            let listed = Some(Entry { partition: list_partition(org), sort });
            writes.push(Write::Put(
                Row { listed, expires_at_s, ..super::row(session_key(org, id), &session)? },
                When::Absent,
            ));
        }
        match self.backend.transact(writes.clone()).await {
            // They are there already.
            Err(Error::Conflict { index: 0 }) => Ok(()),
            Err(Error::Conflict { .. }) => {
                // Another has begun the session meanwhile.
                writes.truncate(1);
                match self.backend.transact(writes).await {
                    Err(Error::Conflict { .. }) => Ok(()),
                    other => other,
                }
            }
            other => other,
        }
    }

    /// What the session's rows of entries hold, in the order of their first entries.
    pub(crate) async fn chunk_extents(&self, tenant: Tenant, session: &str) -> Result<Vec<(String, Extent)>> {
        let sorts = self.session_keys(tenant, session, FIRST, BEHIND).await?;
        Ok(sorts.into_iter().filter_map(|sort| extent(&sort).map(|extent| (sort, extent))).collect())
    }

    /// The keys of the session's runs, in the order in which they were started, each with when it was.
    pub(crate) async fn session_run_keys(&self, tenant: Tenant, session: &str) -> Result<Vec<(String, Timestamp)>> {
        let sorts = self.session_keys(tenant, session, FIRST_RUN, BEHIND_RUNS).await?;
        let moment = |sort: &str| sort.strip_prefix(FIRST_RUN)?.split('#').next()?.parse().ok();
        let found = sorts.into_iter().filter_map(|sort| {
            let at = Timestamp::from_millis(moment(&sort)?);
            Some((sort, at))
        });
        Ok(found.collect())
    }

    /// The keys of the session's rows between these.
    async fn session_keys(&self, tenant: Tenant, session: &str, first: &str, behind: &str) -> Result<Vec<String>> {
        self.sorts_between(Table::Messages, &partition(tenant.org(), session), first, behind).await
    }

    /// These rows of entries.
    pub(crate) async fn chunks(&self, tenant: Tenant, session: &str, sorts: &[String]) -> Result<Vec<Chunk>> {
        Ok(self.session_rows(tenant, session, sorts).await?.into_iter().flatten().collect())
    }

    /// These runs of the session, each in the place of its key; one that is gone is `None`.
    pub(crate) async fn session_runs(
        &self,
        tenant: Tenant,
        session: &str,
        sorts: &[String],
    ) -> Result<Vec<Option<SessionRun>>> {
        self.session_rows(tenant, session, sorts).await
    }

    async fn session_rows<T: DeserializeOwned>(
        &self,
        tenant: Tenant,
        session: &str,
        sorts: &[String],
    ) -> Result<Vec<Option<T>>> {
        let partition = partition(tenant.org(), session);
        let keys: Vec<Key> = sorts.iter().map(|sort| Key::new(Table::Messages, &*partition, &**sort)).collect();
        Ok(self.batch_get(&keys).await?.into_iter().map(|found| found.map(|found| found.value)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_survives_its_key() {
        for (first, last, entries, bytes) in [(0, 0, 1, 2), (1_780_000_000_123, 253_402_300_799_999, 100, 200_000)] {
            let (first_at, last_at) = (Timestamp::from_millis(first), Timestamp::from_millis(last));
            let whole = Extent { first_at, last_at, entries, bytes };
            assert_eq!(extent(&chunk_sort(whole, "{}")), Some(whole));
        }
        assert_eq!(extent("SESSION"), None);
    }
}
