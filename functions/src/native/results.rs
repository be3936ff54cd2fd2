//! The results of a batch, in the order of the request, as they are at this moment: JSON in pages, or all of it as lines or CSV.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, batch,
    id::BatchId,
    run::{self, Run},
};

use super::views::UsageView;
use crate::{Body, Request, Response, auth, response};

/// How many results are read at a time when all are asked for.
const AT_A_TIME: usize = 500;

/// How the results are written.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// A page of them.
    #[default]
    Json,
    /// All of them, a JSON object a line.
    Ndjson,
    /// All of them, a line each below a line of names.
    Csv,
}

/// Which results, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultsQuery {
    /// `json` unless given, or as `Accept` says.
    format: Option<Format>,
    /// JSON only: at most so many, 1 to 100, 100 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// JSON only: the index after which to begin.
    after: Option<usize>,
}

/// The result of an item.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ResultView {
    /// The item's place in the request, from 0.
    index: u16,
    custom_id: Option<String>,
    run_id: String,
    /// `queued`, `running`, `waiting`, `done`, `error` or `interrupted`.
    status: &'static str,
    reason: Option<&'static str>,
    /// What the agent said at its end.
    result: Option<String>,
    /// The same as JSON, when the agent has an `output_schema`.
    output: Option<serde_json::Value>,
    error: Option<String>,
    usage: UsageView,
    /// `null` when a price is not known.
    cost_micro_usd: Option<u64>,
    /// From the moment a worker took it to its end, or to now.
    run_ms: u64,
}

impl ResultView {
    fn new(app: &App, run: &Run, result: Option<String>) -> Self {
        let batch = run.batch.as_ref();
        Self {
            index: batch.map_or(0, |batch| batch.index),
            custom_id: batch.and_then(|batch| batch.custom_id.clone()),
            run_id: run.id.prefixed(),
            status: run.status.name(),
            reason: run.reason.map(run::Reason::name),
            output: run.parsed(result.as_deref()),
            result,
            error: run.error.clone(),
            usage: UsageView::from(&run.usage),
            cost_micro_usd: run.usage.cost_micro_usd(),
            run_ms: run.run_ms(app.now()),
        }
    }
}

/// A page of results.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ResultsView {
    data: Vec<ResultView>,
    /// Whether more follow.
    has_more: bool,
    /// The index of the last one here: goes into `after`.
    next_after: Option<usize>,
}

/// A line of CSV.
#[derive(Debug, Serialize)]
struct Line<'a> {
    index: u16,
    custom_id: Option<&'a str>,
    run_id: &'a str,
    status: &'a str,
    reason: Option<&'a str>,
    result: Option<&'a str>,
    error: Option<&'a str>,
    model_calls: u32,
    input_tokens: u64,
    output_tokens: u64,
    cost_micro_usd: Option<u64>,
    run_ms: u64,
}

pub(super) async fn list_batch_results(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id: BatchId = request.id("batch_id")?;
    let query: ResultsQuery = request.query()?;
    let limit = page_limit(query.limit)?;
    let format = query.format.unwrap_or_else(|| accepted(&request));
    let (app, from) = (app.clone(), query.after.map_or(0, |after| after.saturating_add(1)));
    let read = move |from: usize, most: usize| {
        let (app, caller) = (app.clone(), caller.clone());
        async move {
            let found = batch::results(&app, &caller, id, from, most).await?;
            let view = |(run, result): (Run, Option<String>)| ResultView::new(&app, &run, result);
            Ok::<Vec<ResultView>, Error>(found.into_iter().map(view).collect())
        }
    };
    match format {
        Format::Json => {
            let mut data = read(from, limit.saturating_add(1)).await?;
            let has_more = data.len() > limit;
            data.truncate(limit);
            let next_after = data.last().map(|last| usize::from(last.index)).filter(|_| has_more);
            Ok(response::ok(&ResultsView { data, has_more, next_after }))
        }
        Format::Ndjson => in_pieces("application/x-ndjson", read, lines).await,
        Format::Csv => in_pieces("text/csv; charset=utf-8", read, csv).await,
    }
}

/// How many results a page of JSON has.
pub(super) fn page_limit(asked: Option<usize>) -> Result<usize> {
    let limit = asked.unwrap_or(100);
    if (1..=100).contains(&limit) { Ok(limit) } else { Err(Error::invalid("limit", "must be from 1 to 100")) }
}

/// What `Accept` asks for.
fn accepted(request: &Request) -> Format {
    match accept(request) {
        accept if accept.contains("ndjson") => Format::Ndjson,
        accept if accept.contains("text/csv") => Format::Csv,
        _ => Format::Json,
    }
}

/// The header `Accept`.
pub(super) fn accept(request: &Request) -> &str {
    request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// All of them as a stream: what `read` finds from a number on, so many at most, as `write` writes it, which is told whether it is the
/// first.
///
/// # Errors
/// As `read` says of the first ones; when it fails later, the stream ends early.
pub(super) async fn in_pieces<T, F>(
    media: &'static str,
    read: impl Fn(usize, usize) -> F + Send + Sync + 'static,
    write: impl Fn(&[T], bool) -> Bytes + Send + Sync + 'static,
) -> Result<Response>
where
    T: Send + 'static,
    F: Future<Output = Result<Vec<T>>> + Send + 'static,
{
    let first = read(0, AT_A_TIME).await?;
    let both = Arc::new((read, write));
    let pieces = stream::unfold(Some((0, Some(first))), move |state| {
        let both = Arc::clone(&both);
        async move {
            let (read, write) = &*both;
            let (from, known) = state?;
            let found = match known {
                Some(found) => found,
                None => {
                    read(from, AT_A_TIME).await.inspect_err(|error| tracing::warn!(%error, "results end early")).ok()?
                }
            };
            let next = (found.len() == AT_A_TIME).then_some((from.saturating_add(AT_A_TIME), None));
            Some((write(&found, from == 0), next))
        }
    });
    Ok(streamed(media, pieces))
}

/// An answer of that media type, piece by piece.
pub(super) fn streamed(media: &'static str, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::Stream(Box::pin(pieces)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// A JSON object a line.
pub(super) fn lines<T: Serialize>(views: &[T], _first: bool) -> Bytes {
    let mut text = Vec::new();
    for view in views {
        if let Ok(mut line) = serde_json::to_vec(view) {
            text.append(&mut line);
            text.push(b'\n');
        }
    }
    text.into()
}

fn csv(views: &[ResultView], first: bool) -> Bytes {
    let mut writer = csv::WriterBuilder::new().has_headers(first).from_writer(Vec::new());
    for view in views {
        let line = Line {
            index: view.index,
            custom_id: view.custom_id.as_deref(),
            run_id: &view.run_id,
            status: view.status,
            reason: view.reason,
            result: view.result.as_deref(),
            error: view.error.as_deref(),
            model_calls: view.usage.model_calls,
            input_tokens: view.usage.input_tokens,
            output_tokens: view.usage.output_tokens,
            cost_micro_usd: view.cost_micro_usd,
            run_ms: view.run_ms,
        };
        if let Err(error) = writer.serialize(line) {
            tracing::error!(%error, "a result cannot be written as CSV");
        }
    }
    writer.into_inner().map(Bytes::from).unwrap_or_default()
}
