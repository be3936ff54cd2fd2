//! Usage on the native surface: what was used, added up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result,
    clock::Timestamp,
    id::{AgentId, KeyId},
    money::{self, Dimension, Purpose, UsageEntry, UsageFilter},
    page::PageRequest,
};

use super::views::PageView;
use crate::{Request, Response, auth, response};

/// How many days the answer goes back unless the request says from when, in milliseconds.
const USUAL_MS: i64 = 29 * 24 * 60 * 60 * 1000;

/// Which usage.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageQuery {
    /// The first day (UTC), as in `2026-11-01`; 29 days before `to` unless given. Usage is kept for 400 days.
    #[schemars(extend("format" = "date"))]
    from: Option<String>,
    /// The last day; today unless given.
    #[schemars(extend("format" = "date"))]
    to: Option<String>,
    /// What it is told apart by: `day`, `agent`, `key`, `model`, `purpose`, several with commas between them; `day` unless given.
    group_by: Option<String>,
    /// At most so many entries: 1 to 100, 20 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// The previous page's `next_cursor`.
    after: Option<String>,
}

impl UsageQuery {
    fn parse(self, now: Timestamp) -> Result<(UsageFilter, PageRequest)> {
        let Self { from, to, group_by, limit, after } = self;
        let day = |field: &str, text: Option<String>| {
            text.map(|text| {
                Timestamp::parse_day(&text).ok_or_else(|| Error::invalid(field, "must be a day, as in 2026-11-26"))
            })
            .transpose()
        };
        let to = day("to", to)?.unwrap_or(now);
        let from = day("from", from)?.unwrap_or_else(|| to.plus_ms(-USUAL_MS));
        let named = |name: &str| Dimension::ALL.into_iter().find(|dimension| dimension.name() == name.trim());
        let group_by = group_by
            .as_deref()
            .unwrap_or("day")
            .split(',')
            .map(|name| {
                let known = Dimension::ALL.map(Dimension::name).join(", ");
                named(name).ok_or_else(|| Error::invalid("group_by", format!("must be some of {known}")))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok((UsageFilter { from, to, group_by }, PageRequest::new(limit, after)?))
    }
}

/// What was used; the fields that it is not told apart by are `null`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UsageEntryView {
    /// The day (UTC) on which the calls began.
    day: Option<String>,
    agent_id: Option<String>,
    /// The key that started the runs.
    key_id: Option<String>,
    model: Option<String>,
    /// What the model was called for: `agent`, or `judge` for judging what runs of agents said.
    purpose: Option<&'static str>,
    /// Attempts to call a model, also failed and lost ones.
    model_calls: u64,
    input_tokens: u64,
    /// Those of them that the provider had in its cache.
    cached_input_tokens: u64,
    output_tokens: u64,
    /// `null` when the price of a part is not known.
    cost_micro_usd: Option<u64>,
    /// What the calls cost whose price is known.
    priced_micro_usd: u64,
    /// Calls that used tokens at a price that is not known.
    unpriced_calls: u64,
}

impl From<UsageEntry> for UsageEntryView {
    fn from(entry: UsageEntry) -> Self {
        let cost_micro_usd = entry.cost_micro_usd();
        let UsageEntry {
            day,
            agent_id,
            key_id,
            model,
            purpose,
            model_calls,
            input_tokens,
            cached_input_tokens,
            output_tokens,
            priced_micro_usd,
            unpriced_calls,
        } = entry;
        Self {
            day,
            agent_id: agent_id.map(AgentId::prefixed),
            key_id: key_id.map(KeyId::prefixed),
            model,
            purpose: purpose.map(Purpose::name),
            model_calls,
            input_tokens,
            cached_input_tokens,
            output_tokens,
            cost_micro_usd,
            priced_micro_usd,
            unpriced_calls,
        }
    }
}

pub(super) async fn list_usage(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (filter, page) = request.query::<UsageQuery>()?.parse(app.now())?;
    let page = money::usage(app, &caller, &filter, &page).await?;
    Ok(response::ok(&PageView::of(page, UsageEntryView::from)))
}
