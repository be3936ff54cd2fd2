//! Schedules in the store: a row each, in one partition of an organisation, due when its time comes; a counter of them; and a row for each
//! firing, in the order of their times.

use super::{
    Result, Store, Versioned,
    row::{Add, Index, Key, Query, Rev, Row, Table, When, Write},
    runs::due_entry,
};
use crate::{
    id::{OrgId, ScheduleId},
    schedule::{Firing, KEPT_MS, Schedule, Which},
    tenant::Tenant,
};

/// The number in the counter.
const KEPT: &str = "kept";

fn partition(org: OrgId) -> String {
    format!("O#{org}#SCHEDULES")
}

fn key(org: OrgId, id: ScheduleId) -> Key {
    Key::new(Table::Runs, partition(org), id.to_string())
}

fn counter(org: OrgId, added: i64, at_most: Option<i64>) -> Write {
    Write::Add(Add {
        key: Key::new(Table::Runs, format!("O#{org}#KEPT"), "SCHEDULES"),
        amounts: vec![(KEPT, added)],
        at_most: at_most.map(|most| (KEPT, most)),
        expires_at_s: None,
    })
}

fn firings_partition(org: OrgId, id: ScheduleId) -> String {
    format!("O#{org}#SCHED#{id}")
}

fn firing_key(org: OrgId, id: ScheduleId, which: Which) -> Key {
    let kind = if which.manual { 'M' } else { 'S' };
    let sort = format!("F#{:013}#{kind}", which.scheduled_at.millis_unsigned());
    Key::new(Table::Runs, firings_partition(org, id), sort)
}

impl Store {
    pub(crate) async fn schedule(&self, tenant: Tenant, id: ScheduleId) -> Result<Option<Versioned<Schedule>>> {
        let found: Option<Versioned<Schedule>> = self.get(&key(tenant.org(), id)).await?;
        Ok(found.filter(|found| !found.value.deleted))
    }

    /// A page of the organisation's schedules, newest first, and where the next begins.
    pub(crate) async fn schedules(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Schedule>, Option<String>)> {
        let query = Query::newest_first(Table::Runs, Index::Primary, partition(tenant.org()), before, limit);
        let (mut schedules, next) = self.page::<Schedule>(&query).await?;
        schedules.retain(|schedule| !schedule.deleted);
        Ok((schedules, next))
    }

    /// The write of the schedule's row, if it is as it was seen (`None`: if it is new).
    pub(crate) fn schedule_write(&self, schedule: &Schedule, seen: Option<Rev>) -> Result<Write> {
        let row = super::row(key(schedule.org, schedule.id), schedule)?;
        let due = schedule.next_check_at.map(|at| due_entry(at, schedule.org, 'S', schedule.id.uuid()));
        // One that is deleted is there for nobody, and should nothing else take it away, time does.
        let expires_at_s = schedule.deleted.then(|| schedule.updated_at.seconds_ceil());
        Ok(Write::Put(Row { due, expires_at_s, ..row }, seen.map_or(When::Absent, When::Rev)))
    }

    /// Writes a new schedule with a claim, if its organisation has at most so many then: else the conflict's index is 1.
    pub(crate) async fn save_new_schedule(&self, schedule: &Schedule, most: i64, claim: Option<Write>) -> Result<()> {
        let mut writes = vec![self.schedule_write(schedule, None)?, counter(schedule.org, 1, Some(most))];
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// Writes the schedule's row, if it is as it was seen.
    pub(crate) async fn save_schedule(&self, schedule: &Schedule, seen: Rev) -> Result<()> {
        self.backend.transact(vec![self.schedule_write(schedule, Some(seen))?]).await
    }

    /// Writes the row of a schedule that is deleted from then on, if it is as it was seen; it is not counted any more.
    pub(crate) async fn delete_schedule(&self, gone: &Schedule, seen: Rev) -> Result<()> {
        self.backend.transact(vec![self.schedule_write(gone, Some(seen))?, counter(gone.org, -1, None)]).await
    }

    /// The write of a firing's row, if it is as it was seen (`None`: if it is new).
    pub(crate) fn firing_write(&self, tenant: Tenant, firing: &Firing, seen: Option<Rev>) -> Result<Write> {
        let row = super::row(firing_key(tenant.org(), firing.schedule_id, firing.which), firing)?;
        let expires_at_s = Some(firing.decided_at.plus_ms(KEPT_MS).seconds_ceil());
        Ok(Write::Put(Row { expires_at_s, ..row }, seen.map_or(When::Absent, When::Rev)))
    }

    /// Writes rows of firings with their schedule's.
    pub(crate) async fn save_firings(&self, writes: Vec<Write>) -> Result<()> {
        self.backend.transact(writes).await
    }

    /// The revision of a firing's row, if it is there.
    pub(crate) async fn firing_rev(&self, tenant: Tenant, id: ScheduleId, which: Which) -> Result<Option<Rev>> {
        let found: Option<Versioned<Firing>> = self.get(&firing_key(tenant.org(), id, which)).await?;
        Ok(found.map(|found| found.rev))
    }

    /// A page of the schedule's firings, newest first, and where the next begins.
    pub(crate) async fn firings(
        &self,
        tenant: Tenant,
        id: ScheduleId,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Firing>, Option<String>)> {
        let partition = firings_partition(tenant.org(), id);
        self.page(&Query::newest_first(Table::Runs, Index::Primary, partition, before, limit)).await
    }
}
