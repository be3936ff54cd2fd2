//! Idempotency records in the store: a partition each, so that no organisation has a hot one.

use super::{
    Result, Store, Versioned,
    row::{Key, Row, Table},
};
use crate::{clock::Timestamp, id::OrgId, idempotency::Record, tenant::Tenant};

fn key(org: OrgId, hash: &str) -> Key {
    Key::new(Table::Runs, format!("O#{org}#IDEM#{hash}"), "-")
}

impl Store {
    pub(crate) async fn idempotency_record(&self, tenant: Tenant, hash: &str) -> Result<Option<Versioned<Record>>> {
        self.get(&key(tenant.org(), hash)).await
    }

    #[expect(clippy::unused_self, reason = "rows are made by the store alone")]
    pub(crate) fn idempotency_row(&self, org: OrgId, hash: &str, record: &Record, expires: Timestamp) -> Result<Row> {
        let row = super::row(key(org, hash), record)?;
        Ok(Row { expires_at_s: Some(expires.seconds_ceil()), ..row })
    }
}
