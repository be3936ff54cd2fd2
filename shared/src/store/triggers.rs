//! Triggers in the store: a row each in the list of their organisation, and one under each trigger's id, which is all that an event comes
//! with. Looking that one up is a query without a tenant, as a key's is: it yields one. What became of events is in rows beside them.

use serde::{Deserialize, Serialize};

use super::{
    Result, Store, Versioned,
    row::{Entry, Index, Key, Query, Rev, Row, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    id::{OrgId, TriggerId},
    tenant::Tenant,
    trigger::{Event, Trigger},
};

/// The row that every new one rewrites, before all ids: so none that are made at the same moment overlook each other.
const GATE: &str = "!";
/// Behind all ids.
const BEHIND: &str = "~";

#[derive(Debug, Serialize, Deserialize)]
struct Made {}

/// Whose a trigger is.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    org: OrgId,
}

/// How many triggers an organisation has, as it was read to make another.
#[derive(Debug)]
pub(crate) struct Counted {
    gate: Option<Rev>,
    pub(crate) triggers: usize,
}

fn partition(org: OrgId) -> String {
    format!("O#{org}#TRIGGERS")
}

fn key(org: OrgId, id: TriggerId) -> Key {
    Key::new(Table::Runs, partition(org), id.to_string())
}

fn owner_key(id: TriggerId) -> Key {
    Key::new(Table::Runs, format!("T#{id}"), "-")
}

fn seen_key(org: OrgId, trigger: TriggerId, sort: &str) -> Key {
    Key::new(Table::Runs, format!("O#{org}#SEEN#{trigger}"), sort)
}

fn events_partition(org: OrgId, trigger: TriggerId) -> String {
    format!("O#{org}#EVENTS#{trigger}")
}

impl Store {
    /// Whose the trigger of that id is. The only thing that an event is looked up by.
    pub(crate) async fn owner_of_trigger(&self, id: TriggerId) -> Result<Option<Tenant>> {
        Ok(self.get::<Owner>(&owner_key(id)).await?.map(|found| Tenant::of(found.value.org)))
    }

    pub(crate) async fn trigger(&self, tenant: Tenant, id: TriggerId) -> Result<Option<Versioned<Trigger>>> {
        self.get(&key(tenant.org(), id)).await
    }

    /// A page of the organisation's triggers, newest first, and where the next begins.
    pub(crate) async fn triggers(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Trigger>, Option<String>)> {
        let query = Query::newest_first(Table::Runs, Index::Primary, partition(tenant.org()), before, limit);
        self.page(&Query { after: Some(GATE.to_owned()), ..query }).await
    }

    /// How many triggers there are, to make another: see [`Store::save_new_trigger`].
    pub(crate) async fn triggers_to_add_to(&self, tenant: Tenant) -> Result<Counted> {
        let partition = partition(tenant.org());
        let gate = self.get::<Made>(&Key::new(Table::Runs, &*partition, GATE)).await?.map(|found| found.rev);
        let triggers = self.sorts_between(Table::Runs, &partition, GATE, BEHIND).await?.len();
        Ok(Counted { gate, triggers })
    }

    /// Writes a new trigger, with a claim, if none was made since they were counted. A conflict's index is 0 when another was made meanwhile.
    pub(crate) async fn save_new_trigger(
        &self,
        trigger: &Trigger,
        counted: &Counted,
        claim: Option<Write>,
    ) -> Result<()> {
        let gate = super::row(Key::new(Table::Runs, partition(trigger.org), GATE), &Made {})?;
        let mut writes = vec![
            Write::Put(gate, counted.gate.map_or(When::Absent, When::Rev)),
            Write::Put(super::row(key(trigger.org, trigger.id), trigger)?, When::Absent),
            Write::Put(super::row(owner_key(trigger.id), &Owner { org: trigger.org })?, When::Absent),
        ];
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// Writes the trigger, with a claim, if it is as it was seen. A conflict's index is 0 for the trigger.
    pub(crate) async fn save_trigger(&self, trigger: &Trigger, seen: Rev, claim: Option<Write>) -> Result<()> {
        let row = super::row(key(trigger.org, trigger.id), trigger)?;
        let mut writes = vec![Write::Put(row, When::Rev(seen))];
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// Deletes the trigger, if it is as it was seen: from then on nothing leads to it.
    pub(crate) async fn delete_trigger(&self, tenant: Tenant, id: TriggerId, seen: Rev) -> Result<()> {
        let writes =
            vec![Write::Delete(key(tenant.org(), id), When::Rev(seen)), Write::Delete(owner_key(id), When::Any)];
        self.backend.transact(writes).await
    }

    /// What became of an event that started something.
    pub(crate) async fn seen_event(
        &self,
        tenant: Tenant,
        trigger: TriggerId,
        hash: &str,
    ) -> Result<Option<Versioned<Event>>> {
        self.get(&seen_key(tenant.org(), trigger, &format!("E#{hash}"))).await
    }

    /// The write that says of an event what it starts: it belongs into the transaction of that. It fails when the event was seen.
    pub(crate) fn seen_write(&self, tenant: Tenant, event: &Event, hash: &str, seen: Option<Rev>) -> Result<Write> {
        let row = event_row(tenant, event, &format!("E#{hash}"))?;
        Ok(Write::Put(row, seen.map_or(When::Absent, When::Rev)))
    }

    /// Keeps what became of an event that started nothing. `distinct` tells it from others of its moment.
    pub(crate) async fn note_event(&self, tenant: Tenant, event: &Event, distinct: &str) -> Result<()> {
        let row = event_row(tenant, event, &format!("N#{}", sort(event.received_at, distinct)))?;
        self.backend.transact(vec![Write::Put(row, When::Any)]).await
    }

    /// A page of what became of a trigger's events, newest first, and where the next begins.
    pub(crate) async fn trigger_events(
        &self,
        tenant: Tenant,
        trigger: TriggerId,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Event>, Option<String>)> {
        let partition = events_partition(tenant.org(), trigger);
        self.page(&Query::newest_first(Table::Runs, Index::Listed, partition, before, limit)).await
    }
}

fn sort(at: Timestamp, distinct: &str) -> String {
    format!("{:013}#{distinct}", at.millis_unsigned())
}

fn event_row(tenant: Tenant, event: &Event, place: &str) -> Result<Row> {
    let (org, trigger) = (tenant.org(), event.trigger_id);
    let listed = Entry { partition: events_partition(org, trigger), sort: sort(event.received_at, place) };
    let row = super::row(seen_key(org, trigger, place), event)?;
    Ok(Row { listed: Some(listed), expires_at_s: Some(event.kept_until.seconds_ceil()), ..row })
}
