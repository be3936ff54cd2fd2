//! Ledgers, counters of usage and the places of batches in the store: numbers that are added to in the transaction of a run's row.

use serde::Deserialize;

use super::{
    Backend, Result, Store, Versioned,
    row::{Add, Index, Key, Query, Rev, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    id::{AgentId, BatchId, KeyId, OrgId},
    model::ModelName,
    money::{Budgets, Ledger, Purpose, UsagePlace, Used},
    random,
    run::Run,
    tenant::Tenant,
};

/// How long counters of usage are kept after they were added to last, in seconds: 13 months.
const USAGE_KEPT_S: i64 = 400 * 24 * 60 * 60;

/// What stands before the shard's number in the key of a counter of what judges used.
const JUDGE: char = 'j';

/// What a ledger is at.
#[derive(Debug, Default, Deserialize)]
struct Committed {
    #[serde(default)]
    committed_micro_usd: i64,
}

fn ledger_key(org: OrgId, ledger: &Ledger) -> Key {
    let Ledger { budget, of, period } = ledger;
    let sort = if period.is_empty() { "-" } else { period };
    Key::new(Table::Runs, format!("O#{org}#LEDGER#{}#{of}", budget.scope()), sort)
}

fn budgets_key(org: OrgId) -> Key {
    Key::new(Table::Runs, format!("O#{org}#BUDGETS"), "-")
}

fn places_key(org: OrgId, batch: BatchId) -> Key {
    Key::new(Table::Runs, format!("O#{org}#B#{batch}"), "PLACES")
}

/// A month of usage is a partition; within it the day comes first.
fn usage_partition(org: OrgId, month: &str) -> String {
    format!("O#{org}#USAGE#{month}")
}

/// What the row's key says; `None` when it is not such a key.
fn usage_place(sort: &str) -> Option<UsagePlace> {
    let mut parts = sort.splitn(5, '#');
    let (day, agent, key, shard, model) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(UsagePlace {
        day: day.to_owned(),
        agent_id: agent.parse::<AgentId>().ok()?,
        key_id: key.parse::<KeyId>().ok()?,
        model: ModelName(model.to_owned()),
        purpose: if shard.starts_with(JUDGE) { Purpose::Judge } else { Purpose::Agent },
    })
}

impl Backend {
    /// Over how many rows a counter is spread that many add to at the same time: as many as keep additions from meeting.
    const fn shards(&self) -> u8 {
        match self {
            #[cfg(feature = "aws")]
            Self::Dynamo(_) => 8,
            #[cfg(feature = "embedded")]
            Self::Sqlite(_) => 1,
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => 1,
        }
    }
}

impl Store {
    /// What goes with the run's row: into its batch's places, into ledgers, into the counters of usage; in this order.
    pub(super) fn bookings(&self, run: &Run) -> Vec<Write> {
        let (org, now) = (run.tenant().org(), run.updated_at);
        let mut writes = Vec::new();
        writes.extend(place(run));
        for (ledger, micro_usd, most) in run.books.moves() {
            writes.push(Write::Add(Add {
                key: ledger_key(org, ledger),
                amounts: vec![("committed_micro_usd", micro_usd)],
                at_most: most.map(|most| ("committed_micro_usd", most)),
                expires_at_s: ledger.kept_until(now).map(Timestamp::seconds_ceil),
            }));
        }
        for (day, model, used) in run.books.used() {
            let shard = random::below(self.backend.shards());
            let judges = run.grades.is_some() || run.judges;
            let shard = if judges { format!("{JUDGE}{shard}") } else { shard.to_string() };
            let sort = format!("{day}#{}#{}#{shard}#{model}", run.agent_id, run.key_id);
            writes.push(Write::Add(Add {
                key: Key::new(Table::Runs, usage_partition(org, day.get(..7).unwrap_or(day)), sort),
                amounts: vec![
                    ("model_calls", used.model_calls),
                    ("input_tokens", used.input_tokens),
                    ("cached_input_tokens", used.cached_input_tokens),
                    ("output_tokens", used.output_tokens),
                    ("cost_micro_usd", used.cost_micro_usd),
                    ("unpriced_calls", used.unpriced_calls),
                ],
                at_most: None,
                expires_at_s: Some(now.seconds_ceil().saturating_add(USAGE_KEPT_S)),
            }));
        }
        writes
    }

    /// What the ledger is at, in micro-USD.
    pub(crate) async fn committed(&self, tenant: Tenant, ledger: &Ledger) -> Result<u64> {
        let found = self.get::<Committed>(&ledger_key(tenant.org(), ledger)).await?;
        Ok(u64::try_from(found.map_or(0, |found| found.value.committed_micro_usd)).unwrap_or(0))
    }

    /// The organisation's budgets; `None` when it never had any.
    pub(crate) async fn budgets(&self, tenant: Tenant) -> Result<Option<Versioned<Budgets>>> {
        self.get(&budgets_key(tenant.org())).await
    }

    /// Writes the organisation's budgets, if they are as they were seen.
    pub(crate) async fn save_budgets(&self, tenant: Tenant, budgets: &Budgets, seen: Option<Rev>) -> Result<()> {
        let row = super::row(budgets_key(tenant.org()), budgets)?;
        self.backend.transact(vec![Write::Put(row, seen.map_or(When::Absent, When::Rev))]).await
    }

    /// A page of a month's usage from one day to another, both among them, and where the next begins.
    pub(crate) async fn usage(
        &self,
        tenant: Tenant,
        (from, to): (&str, &str),
        after: Option<String>,
    ) -> Result<(Vec<(UsagePlace, Used)>, Option<String>)> {
        let query = Query {
            table: Table::Runs,
            index: Index::Primary,
            partition: usage_partition(tenant.org(), from.get(..7).unwrap_or(from)),
            after: Some(after.unwrap_or_else(|| from.to_owned())),
            before: Some(format!("{to}$")),
            descending: false,
            limit: 1_000,
        };
        let found = self.backend.query(&query).await?;
        let rows: Result<Vec<_>> = found
            .rows
            .iter()
            .filter_map(|row| Some((usage_place(&row.key.sort)?, row)))
            .map(|(place, row)| Ok((place, super::read(row)?.value)))
            .collect();
        Ok((rows?, found.next))
    }
}

/// The step into the places of the run's batch or out of them that comes with this write of its row.
fn place(run: &Run) -> Option<Write> {
    let step = run.place_step()?;
    let batch = run.batch.as_ref()?;
    let most = batch.max_concurrency.map(|most| ("taken", i64::from(most)));
    Some(Write::Add(Add {
        key: places_key(run.tenant().org(), batch.id),
        amounts: vec![("taken", step)],
        at_most: most.filter(|_| step > 0),
        expires_at_s: None,
    }))
}
