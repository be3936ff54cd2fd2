//! Webhooks on the native surface: endpoints, what was sent to them, and what is sent again.

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, Scope,
    error::Problem,
    id::{EventId, WebhookId},
    page::PageRequest,
    webhook::{self, Change, Delivery, Kind, Made, New, State, Try, Webhook, Which},
};

use super::views::{PageView, moment};
use crate::{Request, Response, auth, claims, response};

/// What an endpoint shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateWebhook {
    /// Where events go: https to a public address. Without it, it is the one whose secret signs what goes to the `webhook_url` of runs and
    /// batches; there is at most one such.
    url: Option<String>,
    /// `run.done`, `run.error`, `run.interrupted`, `run.approval_required`, `batch.ended`, `budget.reached`, `schedule.failed`: at least one,
    /// unless there is no `url`. Events of runs are also those of each run of a batch.
    #[serde(default)]
    #[schemars(length(max = 7))]
    events: Vec<String>,
    /// At most 200 characters.
    #[serde(default)]
    #[schemars(length(max = 200))]
    description: String,
}

/// What becomes of an endpoint; what is not given stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateWebhook {
    /// Where events go.
    url: Option<String>,
    /// Which events.
    #[schemars(length(max = 7))]
    events: Option<Vec<String>>,
    /// At most 200 characters.
    #[schemars(length(max = 200))]
    description: Option<String>,
    /// `false` switches it off, `true` on again, also after it was switched off because it was gone or failed.
    enabled: Option<bool>,
}

/// The events of these names.
fn kinds(names: &[String]) -> Result<Vec<Kind>> {
    let (mut kinds, mut problems) = (Vec::with_capacity(names.len()), Vec::new());
    for (index, name) in names.iter().enumerate() {
        match Kind::named(name) {
            Some(kind) => kinds.push(kind),
            None => {
                let known = Kind::ALL.map(Kind::name).join(", ");
                problems
                    .push(Problem { field: format!("events[{index}]"), message: format!("must be one of {known}") });
            }
        }
    }
    if problems.is_empty() { Ok(kinds) } else { Err(Error::Invalid(problems)) }
}

/// An endpoint, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WebhookView {
    id: String,
    /// `null` in the one for the `webhook_url` of runs and batches.
    url: Option<String>,
    events: Vec<&'static str>,
    description: String,
    /// Whether it is told anything.
    enabled: bool,
    /// Why not: `by_owner`, `gone` (it answered 410) or `failing` (no try has succeeded for 5 days).
    disabled_reason: Option<&'static str>,
    /// Since when every try has failed.
    failing_since: Option<String>,
    /// Until when the secret before the last rotation signs too.
    old_secret_until: Option<String>,
    created_at: String,
    updated_at: String,
}

impl WebhookView {
    fn new(app: &App, webhook: &Webhook) -> Self {
        Self {
            id: webhook.id.prefixed(),
            url: webhook.url.clone(),
            events: webhook.events.iter().map(|kind| kind.name()).collect(),
            description: webhook.description.clone(),
            enabled: webhook.disabled.is_none(),
            disabled_reason: webhook.disabled.map(webhook::Disabled::name),
            failing_since: webhook.failing_since.map(|at| at.rfc3339()),
            old_secret_until: webhook.old_secret_until(app.now()).map(|at| at.rfc3339()),
            created_at: webhook.created_at.rfc3339(),
            updated_at: webhook.updated_at.rfc3339(),
        }
    }
}

/// An endpoint, with its new secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct NewWebhookView {
    /// `whsec_` and 32 bytes in base64, which sign what is sent: shown here, and never again.
    secret: String,
    #[serde(flatten)]
    about: WebhookView,
}

impl NewWebhookView {
    fn new(app: &App, made: &Made) -> Self {
        Self { secret: made.secret.expose_secret().to_owned(), about: WebhookView::new(app, &made.webhook) }
    }
}

/// The endpoints of an organisation: at most 10.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WebhooksView {
    data: Vec<WebhookView>,
}

/// Which page of deliveries.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveriesQuery {
    /// At most so many entries: 1 to 100, 20 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// The previous page's `next_cursor`.
    after: Option<String>,
    /// Those that stand so.
    state: Option<StateView>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateView {
    /// It is to be sent, or sent again.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It is not sent any more.
    Failed,
}

impl From<State> for StateView {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Delivered => Self::Delivered,
            State::Failed => Self::Failed,
        }
    }
}

impl From<StateView> for State {
    fn from(view: StateView) -> Self {
        match view {
            StateView::Pending => Self::Pending,
            StateView::Delivered => Self::Delivered,
            StateView::Failed => Self::Failed,
        }
    }
}

/// One event for one endpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeliveryView {
    /// The event: the header `webhook-id`, the same on every try.
    event_id: String,
    event: &'static str,
    state: StateView,
    /// Why it is not sent any more.
    problem: Option<String>,
    /// Where it goes, if a run or batch said so.
    url: Option<String>,
    /// What is sent.
    body: String,
    /// How often it was tried, since it was last asked for.
    tried: u32,
    /// The last 10 tries.
    tries: Vec<TryView>,
    /// When it is tried next.
    next_at: Option<String>,
    created_at: String,
}

/// One try.
#[derive(Debug, Serialize, JsonSchema)]
struct TryView {
    at: String,
    /// The status of the answer, if there was one.
    status: Option<u16>,
    /// What went wrong.
    error: Option<String>,
    took_ms: u64,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let pending = delivery.state == State::Pending;
        let tries = delivery.tries.into_iter().map(|one| {
            let Try { at, status, error, took_ms } = one;
            TryView { at: at.rfc3339(), status, error, took_ms }
        });
        Self {
            event_id: delivery.event_id.prefixed(),
            event: delivery.kind.name(),
            state: delivery.state.into(),
            problem: delivery.problem,
            url: delivery.url,
            body: delivery.body,
            tried: delivery.tried,
            tries: tries.collect(),
            next_at: pending.then(|| delivery.next_at.rfc3339()),
            created_at: delivery.created_at.rfc3339(),
        }
    }
}

/// Which deliveries are sent again: that of one event, or the failed ones of a time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Redeliver {
    /// That of this event, wherever it stands.
    event_id: Option<String>,
    /// Those that failed, of events from then on.
    #[schemars(extend("format" = "date-time"))]
    since: Option<String>,
    /// And before then; now unless given.
    #[schemars(extend("format" = "date-time"))]
    until: Option<String>,
}

impl Redeliver {
    fn which(self, app: &App) -> Result<Which> {
        let Self { event_id, since, until } = self;
        match (event_id, moment("since", since)?, moment("until", until)?) {
            (Some(id), None, None) => {
                Ok(Which::Event(EventId::parse_prefixed(&id).map_err(|_| Error::NotFound("event"))?))
            }
            (None, Some(since), until) => Ok(Which::Failed { since, until: until.unwrap_or_else(|| app.now()) }),
            _ => Err(Error::invalid("event_id", "or since must be given, not both; until belongs to since")),
        }
    }
}

/// How many deliveries are sent again.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RedeliveredView {
    /// At most 1,000: what is left is sent again by the same call once more.
    redelivered: usize,
}

/// An event that tells nothing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TestSentView {
    /// By it its delivery is found.
    event_id: String,
}

pub(super) async fn create_webhook(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let CreateWebhook { url, events, description } = request.json()?;
        let made = webhook::plan(app, &caller, New { url, events: kinds(&events)?, description })?;
        let response = response::created(&NewWebhookView::new(app, &made));
        webhook::create(app, &made, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn list_webhooks(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let all = webhook::list(app, &caller).await?;
    Ok(response::ok(&WebhooksView { data: all.iter().map(|one| WebhookView::new(app, one)).collect() }))
}

pub(super) async fn get_webhook(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let found = webhook::get(app, &caller, request.id("webhook_id")?).await?;
    Ok(response::ok(&WebhookView::new(app, &found)))
}

pub(super) async fn update_webhook(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let UpdateWebhook { url, events, description, enabled } = request.json()?;
    let events = events.as_deref().map(kinds).transpose()?;
    let change = Change { url, events, description, enabled };
    let changed = webhook::update(app, &caller, request.id("webhook_id")?, change).await?;
    Ok(response::ok(&WebhookView::new(app, &changed)))
}

pub(super) async fn delete_webhook(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    webhook::delete(app, &caller, request.id("webhook_id")?).await?;
    Ok(response::no_content())
}

pub(super) async fn rotate_webhook_secret(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let made = webhook::rotate(app, &caller, request.id("webhook_id")?).await?;
    Ok(response::ok(&NewWebhookView::new(app, &made)))
}

pub(super) async fn list_webhook_deliveries(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let DeliveriesQuery { limit, after, state } = request.query()?;
    let (id, page) = (request.id("webhook_id")?, PageRequest::new(limit, after)?);
    let page = webhook::deliveries(app, &caller, id, state.map(State::from), &page).await?;
    Ok(response::ok(&PageView::of(page, DeliveryView::from)))
}

pub(super) async fn redeliver_webhook(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id: WebhookId = request.id("webhook_id")?;
    let which = request.json::<Redeliver>()?.which(app)?;
    let redelivered = webhook::redeliver(app, &caller, id, which).await?;
    Ok(response::ok(&RedeliveredView { redelivered }))
}

pub(super) async fn test_webhook(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let event_id = webhook::test(app, &caller, request.id("webhook_id")?).await?;
    Ok(response::ok(&TestSentView { event_id: event_id.prefixed() }))
}
