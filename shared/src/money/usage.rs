//! What was used: added up by day, agent, key, model and purpose from the counters that every booked attempt is added to.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{AgentId, KeyId},
    model::ModelName,
    page::{Page, PageRequest},
    tenant::{Caller, Scope, Tenant},
};

/// How many days back usage is kept: 13 months.
pub const KEPT_DAYS: u64 = 400;
/// The most counters that one answer adds up.
const ROWS_LIMIT: usize = 200_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What a model was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A run of an agent.
    Agent,
    /// Grading what a run of an agent said.
    Judge,
}

impl Purpose {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Agent, Self::Judge];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Judge => "judge",
        }
    }
}

/// What a counter is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) day: String,
    pub(crate) agent_id: AgentId,
    pub(crate) key_id: KeyId,
    pub(crate) model: ModelName,
    pub(crate) purpose: Purpose,
}

/// What a counter says, or what goes into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Used {
    pub(crate) model_calls: i64,
    pub(crate) input_tokens: i64,
    pub(crate) cached_input_tokens: i64,
    pub(crate) output_tokens: i64,
    pub(crate) cost_micro_usd: i64,
    pub(crate) unpriced_calls: i64,
}

impl Used {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { model_calls, input_tokens, cached_input_tokens, output_tokens, cost_micro_usd, unpriced_calls } =
            other;
        self.model_calls = self.model_calls.saturating_add(*model_calls);
        self.input_tokens = self.input_tokens.saturating_add(*input_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(*cached_input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(*output_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(*cost_micro_usd);
        self.unpriced_calls = self.unpriced_calls.saturating_add(*unpriced_calls);
    }
}

/// By what usage is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// By day (UTC) in which the calls began.
    Day,
    /// By agent.
    Agent,
    /// By the key that started the runs.
    Key,
    /// By model.
    Model,
    /// By what the model was called for.
    Purpose,
}

impl Dimension {
    /// Every one, in the order of the answer.
    pub const ALL: [Self; 5] = [Self::Day, Self::Agent, Self::Key, Self::Model, Self::Purpose];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Agent => "agent",
            Self::Key => "key",
            Self::Model => "model",
            Self::Purpose => "purpose",
        }
    }
}

/// Which usage.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The first day, as its beginning.
    pub from: Timestamp,
    /// The last day, as any moment of it.
    pub to: Timestamp,
    /// What it is told apart by; the rest is added up.
    pub group_by: Vec<Dimension>,
}

/// Usage that is told apart from other usage by what is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    day: Option<String>,
    agent_id: Option<AgentId>,
    key_id: Option<KeyId>,
    model: Option<String>,
    purpose: Option<Purpose>,
}

impl Group {
    fn of(place: Place, by: &[Dimension]) -> Self {
        let Place { day, agent_id, key_id, model, purpose } = place;
        Self {
            day: by.contains(&Dimension::Day).then_some(day),
            agent_id: by.contains(&Dimension::Agent).then_some(agent_id),
            key_id: by.contains(&Dimension::Key).then_some(key_id),
            model: by.contains(&Dimension::Model).then_some(model.0),
            purpose: by.contains(&Dimension::Purpose).then_some(purpose),
        }
    }

    /// Where it stands in its list, as text.
    fn position(&self) -> String {
        let id = |id: Option<String>| id.unwrap_or_default();
        let parts = [
            id(self.day.clone()),
            id(self.agent_id.map(|id| id.to_string())),
            id(self.key_id.map(|id| id.to_string())),
            id(self.model.clone()),
            id(self.purpose.map(|purpose| purpose.name().to_owned())),
        ];
        parts.join("#")
    }
}

/// What was used: every attempt counts, failed and lost ones too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The day, if it is told apart by that.
    pub day: Option<String>,
    /// The agent, if it is told apart by that.
    pub agent_id: Option<AgentId>,
    /// The key, if it is told apart by that.
    pub key_id: Option<KeyId>,
    /// The model, if it is told apart by that.
    pub model: Option<String>,
    /// What the model was called for, if it is told apart by that.
    pub purpose: Option<Purpose>,
    /// Attempts to call a model.
    pub model_calls: u64,
    /// Tokens of requests.
    pub input_tokens: u64,
    /// Those of them that the provider had in its cache.
    pub cached_input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// What the priced attempts cost, in micro-USD.
    pub priced_micro_usd: u64,
    /// Attempts that used tokens at a price that is not known.
    pub unpriced_calls: u64,
}

impl Entry {
    fn new(group: Group, row: Used) -> Self {
        let Group { day, agent_id, key_id, model, purpose } = group;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Self {
            day,
            agent_id,
            key_id,
            model,
            purpose,
            model_calls: count(row.model_calls),
            input_tokens: count(row.input_tokens),
            cached_input_tokens: count(row.cached_input_tokens),
            output_tokens: count(row.output_tokens),
            priced_micro_usd: count(row.cost_micro_usd),
            unpriced_calls: count(row.unpriced_calls),
        }
    }

    /// The whole cost in micro-USD; `None` when the price of a part is not known.
    #[must_use]
    pub fn cost_micro_usd(&self) -> Option<u64> {
        (self.unpriced_calls == 0).then_some(self.priced_micro_usd)
    }
}

/// The organisation's usage, in the order of what it is told apart by.
///
/// # Errors
/// [`Error::Invalid`] for days that are not kept or too much to add up, and for a cursor of another list; [`Error::Forbidden`].
pub async fn list(app: &App, caller: &Caller, filter: &Filter, page: &PageRequest) -> Result<Page<Entry>> {
    caller.require(Scope::RunsRead)?;
    let (from, to) = (filter.from.day(), filter.to.day());
    if from > to {
        return Err(Error::invalid("to", "must not be before 'from'"));
    }
    if filter.to.since_ms(filter.from) > KEPT_DAYS.saturating_mul(DAY_MS) {
        return Err(Error::invalid("from", format!("must be at most {KEPT_DAYS} days before 'to'")));
    }
    let of = format!("usage?{from}..{to}?{:?}", filter.group_by);
    let after = page.position(&of)?;
    let mut groups: BTreeMap<String, (Group, Used)> = BTreeMap::new();
    each(app, caller.tenant(), &from, &to, |place, row| {
        let group = Group::of(place, &filter.group_by);
        let (_, sum) = groups.entry(group.position()).or_insert_with(|| (group, Used::default()));
        sum.add(&row);
    })
    .await?;
    let mut rest = groups.into_iter().filter(|(position, _)| after.as_ref().is_none_or(|after| position > after));
    let entries: Vec<(String, Entry)> =
        rest.by_ref().take(page.limit).map(|(position, (group, row))| (position, Entry::new(group, row))).collect();
    let last = entries.last().filter(|_| rest.next().is_some()).map(|(position, _)| position.clone());
    Ok(Page::new(entries.into_iter().map(|(_, entry)| entry).collect(), last.as_deref(), &of))
}

/// What the organisation's priced attempts of these days cost, in micro-USD.
pub(crate) async fn spent(app: &App, tenant: Tenant, from: &str, to: &str) -> Result<u64> {
    let mut sum = 0_i64;
    each(app, tenant, from, to, |_, row| sum = sum.saturating_add(row.cost_micro_usd)).await?;
    Ok(u64::try_from(sum).unwrap_or(0))
}

/// Every counter of these days.
async fn each(app: &App, tenant: Tenant, from: &str, to: &str, mut of: impl FnMut(Place, Used)) -> Result<()> {
    let mut seen: usize = 0;
    for (first, last) in months(from, to) {
        let mut after = None;
        loop {
            let (rows, next) = app.store().usage(tenant, (&first, &last), after).await?;
            seen = seen.saturating_add(rows.len());
            if seen > ROWS_LIMIT {
                return Err(Error::invalid("from", "is too long ago for what was used since: ask for fewer days"));
            }
            rows.into_iter().for_each(|(place, row)| of(place, row));
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}

/// These days month by month: the first and the last of each.
fn months(from: &str, to: &str) -> Vec<(String, String)> {
    let mut months = Vec::new();
    let Some((mut year, mut month)) = year_and_month(from) else { return months };
    loop {
        let name = format!("{year:04}-{month:02}");
        if name.as_str() > to.get(..7).unwrap_or_default() {
            return months;
        }
        let (first, last) = (format!("{name}-01"), format!("{name}-31"));
        months.push((first.max(from.to_owned()), last.min(to.to_owned())));
        (year, month) = if month == 12 { (year.saturating_add(1), 1) } else { (year, month.saturating_add(1)) };
    }
}

fn year_and_month(day: &str) -> Option<(u32, u32)> {
    Some((day.get(..4)?.parse().ok()?, day.get(5..7)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_month_by_month() {
        let of = |from, to| months(from, to).into_iter().map(|(a, b)| format!("{a}..{b}")).collect::<Vec<_>>();
        assert_eq!(of("2026-11-05", "2026-11-05"), ["2026-11-05..2026-11-05"]);
        let wanted = ["2026-11-05..2026-11-31", "2026-12-01..2026-12-31", "2027-01-01..2027-01-02"];
        assert_eq!(of("2026-11-05", "2027-01-02"), wanted);
    }
}
