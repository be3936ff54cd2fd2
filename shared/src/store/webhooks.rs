//! Webhooks in the store: endpoints as rows of a partition of their organisation's, behind a row that every new one rewrites, so that their
//! number can be kept; and deliveries, a row each, in a partition of who is told and in an index of their own as long as they are to be
//! sent, so that many of them stand before no run.

use serde::{Deserialize, Serialize};

use super::{
    Result, Store, Versioned,
    row::{Entry, Found, Index, Key, Query, Rev, Row, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    id::{EventId, OrgId, WebhookId},
    queue::Parcel,
    tenant::Tenant,
    webhook::{Delivery, Notices, Target, WEBHOOKS_LIMIT, Webhook},
};

/// The row that every new one rewrites: before all ids.
const GATE: &str = "!";
/// Over how many partitions of the index what is to be sent is spread.
pub(crate) const OUTBOX_SHARDS: u8 = 4;
/// How long deliveries are kept, in milliseconds: 30 days.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How long it is known what was told once, in milliseconds: longer than a month, for which budgets are set.
const TOLD_MS: i64 = 40 * 24 * 60 * 60 * 1000;
/// How long who writes a delivery may take to have it sent, in milliseconds, before the reaper sees to it.
pub(crate) const ASKED_MS: i64 = 10_000;

#[derive(Debug, Serialize, Deserialize)]
struct Made {}

/// The endpoints of an organisation as they were read, to make another.
#[derive(Debug)]
pub(crate) struct AllWebhooks {
    gate: Option<Rev>,
    pub(crate) webhooks: Vec<Webhook>,
}

fn partition(org: OrgId) -> String {
    format!("O#{org}#WEBHOOKS")
}

fn key(org: OrgId, id: &str) -> Key {
    Key::new(Table::Runs, partition(org), id)
}

fn outbox(org: OrgId, to: Target) -> String {
    format!("O#{org}#OUTBOX#{to}")
}

fn delivery_key(org: OrgId, parcel: Parcel) -> Key {
    Key::new(Table::Runs, outbox(org, parcel.to), parcel.event_id.to_string())
}

fn told_key(org: OrgId, mark: EventId) -> Key {
    Key::new(Table::Runs, format!("O#{org}#TOLD"), mark.to_string())
}

fn due_partition(shard: u8) -> String {
    format!("OUTBOX#{shard:02}")
}

fn delivery_row(delivery: &Delivery, due_at: Option<Timestamp>) -> Result<Row> {
    let Delivery { org, to, event_id, .. } = *delivery;
    let row = super::row(delivery_key(org, Parcel { to, event_id }), delivery)?;
    let [.., last] = *event_id.uuid().as_bytes();
    let due = due_at.map(|at| Entry {
        partition: due_partition(last % OUTBOX_SHARDS),
        sort: format!("{:013}#{org}#{to}#{event_id}", at.millis_unsigned()),
    });
    let expires_at_s = Some(delivery.created_at.plus_ms(KEPT_MS).seconds_ceil());
    Ok(Row { due, expires_at_s, ..row })
}

/// Whose delivery the entry names.
fn due_of(sort: &str) -> Option<(Tenant, Parcel)> {
    let mut parts = sort.split('#').skip(1);
    let org = Tenant::of(parts.next()?.parse().ok()?);
    Some((org, Parcel { to: parts.next()?.parse().ok()?, event_id: parts.next()?.parse().ok()? }))
}

impl Store {
    pub(crate) async fn webhook(&self, tenant: Tenant, id: WebhookId) -> Result<Option<Versioned<Webhook>>> {
        self.get(&key(tenant.org(), &id.to_string())).await
    }

    /// The organisation's endpoints by id.
    pub(crate) async fn webhooks(&self, tenant: Tenant) -> Result<Vec<Webhook>> {
        let (mut all, mut after) = (Vec::new(), Some(GATE.to_owned()));
        while after.is_some() {
            let query = Query {
                table: Table::Runs,
                index: Index::Primary,
                partition: partition(tenant.org()),
                after,
                before: None,
                descending: false,
                limit: WEBHOOKS_LIMIT.saturating_add(1),
            };
            let (mut page, next) = self.page(&query).await?;
            all.append(&mut page);
            after = next;
        }
        Ok(all)
    }

    /// The same, to make another: see [`Store::save_new_webhook`].
    pub(crate) async fn webhooks_to_add_to(&self, tenant: Tenant) -> Result<AllWebhooks> {
        let gate = self.get::<Made>(&key(tenant.org(), GATE)).await?.map(|found| found.rev);
        Ok(AllWebhooks { gate, webhooks: self.webhooks(tenant).await? })
    }

    /// Writes a new endpoint, with a claim, if none was made since all were read. A conflict's index is 0 or 1 when another was made
    /// meanwhile.
    pub(crate) async fn save_new_webhook(
        &self,
        webhook: &Webhook,
        all: &AllWebhooks,
        claim: Option<Write>,
    ) -> Result<()> {
        let row = super::row(key(webhook.org, &webhook.id.to_string()), webhook)?;
        let gate = super::row(key(webhook.org, GATE), &Made {})?;
        let mut writes =
            vec![Write::Put(row, When::Absent), Write::Put(gate, all.gate.map_or(When::Absent, When::Rev))];
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// Writes the endpoint, if it is as it was seen.
    pub(crate) async fn save_webhook(&self, webhook: &Webhook, seen: Rev) -> Result<()> {
        let row = super::row(key(webhook.org, &webhook.id.to_string()), webhook)?;
        self.backend.transact(vec![Write::Put(row, When::Rev(seen))]).await
    }

    /// Deletes the endpoint, if it is as it was seen.
    pub(crate) async fn delete_webhook(&self, tenant: Tenant, id: WebhookId, seen: Rev) -> Result<()> {
        self.backend.transact(vec![Write::Delete(key(tenant.org(), &id.to_string()), When::Rev(seen))]).await
    }

    pub(crate) async fn delivery(&self, tenant: Tenant, parcel: Parcel) -> Result<Option<Versioned<Delivery>>> {
        self.get(&delivery_key(tenant.org(), parcel)).await
    }

    /// The write of a new delivery. It belongs into the transaction of what it tells of, whose condition is enough: its id is that event's.
    pub(crate) fn new_delivery_write(&self, delivery: &Delivery) -> Result<Write> {
        let due_at = delivery.due_at().map(|at| at.plus_ms(ASKED_MS));
        Ok(Write::Put(delivery_row(delivery, due_at)?, When::Any))
    }

    /// The write that says that this was told, which fails when it was.
    pub(crate) fn told_write(&self, org: OrgId, mark: EventId, now: Timestamp) -> Result<Write> {
        let row = super::row(told_key(org, mark), &Made {})?;
        Ok(Write::Put(Row { expires_at_s: Some(now.plus_ms(TOLD_MS).seconds_ceil()), ..row }, When::Absent))
    }

    /// Whether this was told.
    pub(crate) async fn was_told(&self, tenant: Tenant, mark: EventId) -> Result<bool> {
        Ok(self.get::<Made>(&told_key(tenant.org(), mark)).await?.is_some())
    }

    /// Writes new deliveries that tell of nothing else that is written.
    pub(crate) async fn save_notices(&self, notices: &Notices) -> Result<()> {
        self.backend.transact(notices.writes(self)?).await
    }

    /// Writes the delivery, if it is as it was seen. Answers its new revision.
    pub(crate) async fn save_delivery(&self, delivery: &Delivery, seen: Rev) -> Result<Rev> {
        let row = delivery_row(delivery, delivery.due_at())?;
        let rev = row.rev;
        self.backend.transact(vec![Write::Put(row, When::Rev(seen))]).await.map(|()| rev)
    }

    /// Takes away a delivery that was taken and that nobody looks at, if it is as it was seen.
    pub(crate) async fn drop_delivery(&self, delivery: &Delivery, seen: Rev) -> Result<()> {
        let key = delivery_key(delivery.org, Parcel::of(delivery));
        self.backend.transact(vec![Write::Delete(key, When::Rev(seen))]).await
    }

    /// A page of what was sent to an endpoint, newest event first, and where the next begins.
    pub(crate) async fn deliveries(
        &self,
        tenant: Tenant,
        id: WebhookId,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Versioned<Delivery>>, Option<String>)> {
        let partition = outbox(tenant.org(), Target::Webhook(id));
        let query = Query::newest_first(Table::Runs, Index::Primary, partition, before, limit);
        let Found { rows, next } = self.backend.query(&query).await?;
        Ok((rows.iter().map(super::read).collect::<Result<_>>()?, next))
    }

    /// A page of what is to be sent in a shard, and where the next begins.
    pub(crate) async fn due_deliveries(
        &self,
        shard: u8,
        before: Timestamp,
        after: Option<String>,
    ) -> Result<(Vec<(Tenant, Parcel)>, Option<String>)> {
        let query = Query {
            table: Table::Runs,
            index: Index::Due,
            partition: due_partition(shard),
            after,
            before: Some(format!("{:013}", before.millis_unsigned())),
            descending: false,
            limit: 1_000,
        };
        let found = self.backend.query_keys(&query).await?;
        Ok((found.sorts.iter().filter_map(|sort| due_of(sort)).collect(), found.next))
    }
}
