//! Triggers in the store: a row each in the list of their organisation, and one under each trigger's id, which is all that an event comes
//! with. Looking that one up is a query without a tenant, as a key's is: it yields one. What became of events is in rows beside them.

use serde::{Deserialize, Serialize};

use super::{
    Result, Store, Versioned,
    row::{Add, Entry, Index, Key, Query, Rev, Row, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    id::{OrgId, RunId, TriggerId},
    tenant::Tenant,
    trigger::{Event, Link, Trigger},
};

/// The row that every new one rewrites, before all ids: so none that are made at the same moment overlook each other.
const GATE: &str = "!";
/// How long it is known how many runs there are in a chain, in milliseconds: 30 days after the last.
const CHAINED_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Behind all ids.
const BEHIND: &str = "~";

/// What that row has: the triggers that go on from the ends of runs, for who writes such an end.
#[derive(Debug, Default, Serialize, Deserialize)]
struct GateRow {
    #[serde(default)]
    links: Vec<Link>,
}

/// That row as it was read.
#[derive(Debug)]
pub(crate) struct Gate {
    rev: Option<Rev>,
    pub(crate) links: Vec<Link>,
}

/// How many runs there are in the chains that begin with one.
#[derive(Debug, Deserialize)]
struct Chained {
    started: i64,
}

/// Whose a trigger is.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    org: OrgId,
}

/// How many triggers an organisation has, as it was read to make another.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) gate: Gate,
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

fn chain_key(org: OrgId, root: RunId) -> Key {
    Key::new(Table::Runs, format!("O#{org}#R#{root}"), "CHAIN")
}

/// The links but that of this trigger.
fn others(gate: &Gate, id: TriggerId) -> impl Iterator<Item = Link> {
    gate.links.iter().filter(move |link| link.trigger != id).cloned()
}

/// The links with this trigger as it is now.
fn linked(gate: &Gate, trigger: &Trigger) -> Vec<Link> {
    others(gate, trigger.id).chain(Link::of(trigger)).collect()
}

fn gate_write(org: OrgId, seen: &Gate, links: Vec<Link>) -> Result<Write> {
    let row = super::row(Key::new(Table::Runs, partition(org), GATE), &GateRow { links })?;
    Ok(Write::Put(row, seen.rev.map_or(When::Absent, When::Rev)))
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
        let gate = self.trigger_gate(tenant).await?;
        let triggers = self.sorts_between(Table::Runs, &partition, GATE, BEHIND).await?.len();
        Ok(Counted { gate, triggers })
    }

    /// The triggers that go on from the ends of runs.
    pub(crate) async fn links(&self, tenant: Tenant) -> Result<Vec<Link>> {
        Ok(self.trigger_gate(tenant).await?.links)
    }

    /// The same, to change them.
    pub(crate) async fn trigger_gate(&self, tenant: Tenant) -> Result<Gate> {
        let found = self.get::<GateRow>(&Key::new(Table::Runs, partition(tenant.org()), GATE)).await?;
        Ok(found.map_or(Gate { rev: None, links: Vec::new() }, |found| Gate {
            rev: Some(found.rev),
            links: found.value.links,
        }))
    }

    /// Writes a new trigger, with a claim, if none was made since they were counted. A conflict's index is 0 when another was made meanwhile.
    pub(crate) async fn save_new_trigger(
        &self,
        trigger: &Trigger,
        counted: &Counted,
        claim: Option<Write>,
    ) -> Result<()> {
        let mut writes = vec![
            gate_write(trigger.org, &counted.gate, linked(&counted.gate, trigger))?,
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

    /// Writes the trigger, which goes on from the ends of runs, if it and those that do so are as they were seen.
    pub(crate) async fn save_linked_trigger(&self, trigger: &Trigger, seen: Rev, gate: &Gate) -> Result<()> {
        let row = super::row(key(trigger.org, trigger.id), trigger)?;
        let writes = vec![Write::Put(row, When::Rev(seen)), gate_write(trigger.org, gate, linked(gate, trigger))?];
        self.backend.transact(writes).await
    }

    /// Deletes the trigger, if it is as it was seen, and, where it is given, who goes on from the ends of runs is, too: from then on nothing
    /// leads to it.
    pub(crate) async fn delete_trigger(
        &self,
        tenant: Tenant,
        id: TriggerId,
        seen: Rev,
        gate: Option<&Gate>,
    ) -> Result<()> {
        let mut writes =
            vec![Write::Delete(key(tenant.org(), id), When::Rev(seen)), Write::Delete(owner_key(id), When::Any)];
        if let Some(gate) = gate {
            writes.push(gate_write(tenant.org(), gate, others(gate, id).collect())?);
        }
        self.backend.transact(writes).await
    }

    /// How many runs there are in chains that begin with that one.
    pub(crate) async fn chained_runs(&self, tenant: Tenant, root: RunId) -> Result<i64> {
        Ok(self.get::<Chained>(&chain_key(tenant.org(), root)).await?.map_or(0, |found| found.value.started))
    }

    /// The write that counts so many more, if there are at most so many then. It is known as long as such chains may go on.
    pub(crate) fn chain_write(&self, tenant: Tenant, root: RunId, more: i64, at_most: i64, now: Timestamp) -> Write {
        Write::Add(Add {
            key: chain_key(tenant.org(), root),
            amounts: vec![("started", more)],
            at_most: Some(("started", at_most)),
            expires_at_s: Some(now.plus_ms(CHAINED_MS).seconds_ceil()),
        })
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
