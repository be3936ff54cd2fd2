//! What this deployment can call, and what limits hold.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{App, Result, batch, limit, model::catalogue::ModelInfo, money, page, run};

use super::budgets::BudgetStateView;
use crate::{BODY_LIMIT_BYTES, Request, Response, auth, response};

/// A model's price.
#[derive(Debug, Serialize, JsonSchema)]
struct PriceView {
    /// Micro-USD for a million tokens of requests.
    input_micro_usd_per_million: u64,
    /// The same for tokens that the provider had in its cache; `null`: as `input`.
    cached_input_micro_usd_per_million: Option<u64>,
    /// Micro-USD for a million tokens of answers.
    output_micro_usd_per_million: u64,
}

/// A model.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelView {
    /// What goes into an agent's `model`.
    name: String,
    /// Who serves it.
    provider: String,
    /// Other names for it.
    aliases: Vec<String>,
    /// `null` when it is not known: then the cost of its runs is not known either.
    price: Option<PriceView>,
}

impl From<ModelInfo> for ModelView {
    fn from(model: ModelInfo) -> Self {
        Self {
            name: model.name.to_string(),
            provider: model.provider.to_string(),
            aliases: model.aliases,
            price: model.price.map(|price| PriceView {
                input_micro_usd_per_million: price.input,
                cached_input_micro_usd_per_million: price.cached_input,
                output_micro_usd_per_million: price.output,
            }),
        }
    }
}

/// The models of this deployment.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelsView {
    data: Vec<ModelView>,
}

/// The limits that hold for the calling key, and for everybody.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LimitsView {
    /// Requests a minute of this key; 0 is no limit.
    requests_per_minute: u32,
    /// Requests in flight of this key; 0 is no limit.
    in_flight: u32,
    /// The largest body, in bytes.
    body_bytes: usize,
    /// The longest message, in bytes.
    message_bytes: usize,
    /// The most items of a batch in one JSON body.
    batch_items_inline: usize,
    /// The most items of a batch as newline-delimited JSON.
    batch_items: usize,
    /// The most entries of a page.
    page_entries: usize,
    /// The longest that a run may take, in milliseconds.
    run_ms: i64,
    /// The most runs of a chat that go on with its first.
    chat_runs: usize,
    /// The most files of the organisation.
    files: u64,
    /// The most bytes that they may have together.
    files_bytes: u64,
    /// The budgets of this key and of its organisation, and how much of each is committed.
    budgets: Vec<BudgetStateView>,
}

pub(super) async fn list_models(app: &App, request: Request) -> Result<Response> {
    auth::caller(app, &request).await?;
    Ok(response::ok(&ModelsView { data: app.models().list().into_iter().map(ModelView::from).collect() }))
}

pub(super) async fn get_limits(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let limits = caller.limits().or(limit::DEFAULT);
    let budgets = money::applying(app, &caller).await?;
    Ok(response::ok(&LimitsView {
        requests_per_minute: limits.requests_per_minute,
        in_flight: limits.in_flight,
        body_bytes: BODY_LIMIT_BYTES,
        message_bytes: run::MESSAGE_LIMIT_BYTES,
        batch_items_inline: batch::INLINE_LIMIT,
        batch_items: batch::ITEMS_LIMIT,
        page_entries: page::LIMIT,
        run_ms: run::DEADLINE_MS,
        chat_runs: run::CHAT_LIMIT,
        files: app.config().files.files,
        files_bytes: app.config().files.bytes,
        budgets: budgets.into_iter().map(BudgetStateView::from).collect(),
    }))
}
