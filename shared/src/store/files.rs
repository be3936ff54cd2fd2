//! Files in the store: a row each, in one partition of an organisation, so that they are listed in the order in which they were made.

use super::{
    Result, Store, Versioned,
    row::{Index, Key, Query, Rev, Table, When, Write},
};
use crate::{
    file::{File, Status},
    id::{FileId, OrgId},
    tenant::Tenant,
};

/// How long the row of a file whose bytes did not come is kept after they could have, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

fn partition(org: OrgId) -> String {
    format!("O#{org}#FILES")
}

fn key(org: OrgId, id: FileId) -> Key {
    Key::new(Table::Messages, partition(org), id.to_string())
}

impl Store {
    pub(crate) async fn file(&self, tenant: Tenant, id: FileId) -> Result<Option<Versioned<File>>> {
        self.get(&key(tenant.org(), id)).await
    }

    /// A page of the organisation's files, newest first, and where the next begins.
    pub(crate) async fn files(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<File>, Option<String>)> {
        self.page(&Query::newest_first(Table::Messages, Index::Primary, partition(tenant.org()), before, limit)).await
    }

    /// Writes the file's row, if it is as it was seen (`None`: if it is new), with this write.
    pub(crate) async fn save_file(&self, file: &File, seen: Option<Rev>, other: Option<Write>) -> Result<()> {
        let mut row = super::row(key(file.org, file.id), file)?;
        let gone = file.upload_until.filter(|_| file.status == Status::Pending).map(|until| until.plus_ms(KEPT_MS));
        row.expires_at_s = gone.map(crate::clock::Timestamp::seconds_ceil);
        let put = Write::Put(row, seen.map_or(When::Absent, When::Rev));
        self.backend.transact(std::iter::once(put).chain(other).collect()).await
    }

    /// Deletes the file's row, if it is as it was seen.
    pub(crate) async fn delete_file(&self, tenant: Tenant, id: FileId, seen: Rev) -> Result<()> {
        self.backend.transact(vec![Write::Delete(key(tenant.org(), id), When::Rev(seen))]).await
    }
}
