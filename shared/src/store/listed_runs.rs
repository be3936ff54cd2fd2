//! The list of an organisation's runs. A run's place in it says what is fixed when the run is made, so that runs are found and counted
//! by the index alone: `<run>#<agent>#<source>#<c or ->#<created, ms>#<batch or ->`. Run ids begin with a time, so the list is in
//! the order of that.

use super::{
    Result, Store,
    row::{Entry, FoundKeys, Index, KEYS_LIMIT, Query, Table},
};
use crate::{
    clock::Timestamp,
    id::{OrgId, RunId},
    run::{Place, Run, Source},
    tenant::Tenant,
};

/// What a place says of the first run of a chat, and of any other.
const BEGINS_CHAT: &str = "c";
const OTHERWISE: &str = "-";

/// The ids of a time, with both ends; `None` is open.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
}

impl Span {
    /// The last `limit` keys of these ids in a list, up to `before`.
    pub(super) fn query(&self, partition: String, before: Option<String>, limit: usize) -> Query {
        let before = before.or_else(|| self.to.map(|to| ids_begin(to.plus_ms(1))));
        let query = Query::newest_first(Table::Runs, Index::Listed, partition, before, limit);
        Query { after: self.from.map(ids_begin), ..query }
    }
}

/// What every id of that millisecond begins with: it sorts before all of them, and after all ids of the time before.
fn ids_begin(at: Timestamp) -> String {
    let millis = at.millis_unsigned().min(0xffff_ffff_ffff);
    format!("{:08x}-{:04x}", millis >> 16, millis & 0xffff)
}

fn partition(org: OrgId) -> String {
    format!("O#{org}#RUNS")
}

/// The run's place in the list.
pub(super) fn entry(org: OrgId, run: &Run) -> Entry {
    let Place { id, agent_id, source, begins_chat, created_at, batch } = run.place();
    let (source, chat) = (source.name(), if begins_chat { BEGINS_CHAT } else { OTHERWISE });
    let batch = batch.map_or_else(|| OTHERWISE.to_owned(), |batch| batch.to_string());
    let sort = format!("{id}#{agent_id}#{source}#{chat}#{:013}#{batch}", created_at.millis_unsigned());
    Entry { partition: partition(org), sort }
}

/// What a place says; `None` for one of a run that is older than this form, which says no more than its id.
fn place(sort: &str) -> Option<Place> {
    let mut parts = sort.split('#');
    let mut next = || parts.next();
    let (id, agent_id, source) = (next()?.parse().ok()?, next()?.parse().ok()?, Source::named(next()?)?);
    let begins_chat = next()? == BEGINS_CHAT;
    let created_at = Timestamp::from_millis(next()?.parse().ok()?);
    let batch = match next()? {
        OTHERWISE => None,
        batch => Some(batch.parse().ok()?),
    };
    Some(Place { id, agent_id, source, begins_chat, created_at, batch })
}

impl Store {
    /// A page of the list of runs, newest first, and where the next begins.
    pub(crate) async fn listed_runs(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Run>, Option<String>)> {
        self.page(&Span::default().query(partition(tenant.org()), before, limit)).await
    }

    /// A page of the places of runs with ids of that time, and where the next begins. Rows are read only of runs older than places
    /// that say so much.
    pub(crate) async fn run_places(
        &self,
        tenant: Tenant,
        span: Span,
        before: Option<String>,
    ) -> Result<(Vec<Place>, Option<String>)> {
        let query = span.query(partition(tenant.org()), before, KEYS_LIMIT);
        let FoundKeys { sorts, next } = self.backend.query_keys(&query).await?;
        let (mut places, mut older) = (Vec::with_capacity(sorts.len()), Vec::new());
        for sort in &sorts {
            match place(sort) {
                Some(place) => places.push(place),
                None => older.extend(sort.parse::<RunId>()),
            }
        }
        let older = self.runs(tenant, &older).await?;
        places.extend(older.into_iter().flatten().map(|found| found.value.place()));
        Ok((places, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AgentId, BatchId};

    #[test]
    fn a_place_survives_its_text() {
        let now = Timestamp::from_millis(1_780_000_000_123);
        let (id, agent_id) = (RunId::new(now), AgentId::new(now));
        for (source, begins_chat, batch) in
            [(Source::Cotool, true, None), (Source::SubAgent, false, Some(BatchId::new(now)))]
        {
            let chat = if begins_chat { "c" } else { "-" };
            let batch_text = batch.map_or("-".to_owned(), |batch| batch.to_string());
            let sort = format!("{id}#{agent_id}#{}#{chat}#1780000000123#{batch_text}", source.name());
            assert_eq!(place(&sort), Some(Place { id, agent_id, source, begins_chat, created_at: now, batch }));
        }
        for other in [id.to_string(), String::new(), format!("{id}#x"), format!("{id}#{agent_id}#film#c#1#-")] {
            assert_eq!(place(&other), None, "{other}");
        }
    }

    #[test]
    fn ids_of_a_millisecond_lie_between_their_beginnings() {
        let at = Timestamp::from_millis(1_780_000_065_535);
        let id = RunId::new(at).to_string();
        assert!(ids_begin(at) < id && id < ids_begin(at.plus_ms(1)) && ids_begin(at.plus_ms(-1)) < ids_begin(at));
        assert!(ids_begin(Timestamp::from_millis(-5)) < id && id < ids_begin(Timestamp::from_millis(i64::MAX)));
    }
}
