//! Who is told of what: the deliveries that are written with a change of a run or batch, in the same transaction.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::sleep;

use super::{Delivery, Event, Kind, Target, Webhook};
use crate::{
    app::App,
    batch::{Batch, Progress},
    clock::Timestamp,
    error::{Error, Result},
    id::{EventId, OrgId, WebhookId},
    money::Budget,
    queue::{Chunk, Parcel},
    run::{Chain, Reason, Run, Status},
    schedule::Firing,
    store::{self, Store, row::Write},
    tenant::Tenant,
    trigger::Link,
};

/// Who is told of what in an organisation, as it was at most 5 seconds ago.
#[derive(Debug)]
pub(crate) struct Told {
    webhooks: Vec<(WebhookId, Vec<Kind>)>,
    links: Vec<Link>,
    /// Whether the deployment has an event bus.
    bus: bool,
}

/// The same, as it is remembered.
pub(crate) type Listeners = Arc<Told>;

/// How often who listens is read when the store is not available, and how long the first pause is, in milliseconds.
const TRIES: u32 = 6;
const PAUSE_MS: u64 = 100;

/// Deliveries that are written with what they tell of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Notices {
    deliveries: Vec<Delivery>,
    /// Marks of what is told once, whoever sees it.
    marks: Vec<(OrgId, EventId, Timestamp)>,
}

impl Notices {
    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        self.deliveries.push(delivery);
    }

    /// What writes them.
    pub(crate) fn writes(&self, store: &Store) -> store::Result<Vec<Write>> {
        let mut writes = Vec::with_capacity(self.deliveries.len());
        for delivery in &self.deliveries {
            writes.push(store.new_delivery_write(delivery)?);
        }
        for (org, mark, at) in &self.marks {
            writes.push(store.told_write(*org, *mark, *at)?);
        }
        Ok(writes)
    }

    /// Tells the webhooks and the bus, but for an endpoint that is named.
    fn tell(&mut self, org: OrgId, listeners: &Told, event: &Event) {
        let listening = listeners.webhooks.iter().filter(|(_, kinds)| kinds.contains(&event.kind));
        let webhooks = listening.map(|(id, _)| Target::Webhook(*id));
        let targets = webhooks.chain(listeners.bus.then_some(Target::Bus));
        self.deliveries.extend(targets.map(|to| Delivery::new(org, to, None, event)));
    }

    /// Tells the triggers that go on from such an end of that agent's.
    fn tell_triggers(&mut self, run: &Run, listeners: &Told, event: &Event) {
        let listening = listeners.links.iter().filter(|link| link.fits(run));
        self.deliveries
            .extend(listening.map(|link| Delivery::new(run.org, Target::Trigger(link.trigger), None, event)));
    }

    /// Tells the address that a run or batch names.
    fn tell_at(&mut self, org: OrgId, url: Option<&String>, event: &Event) {
        self.deliveries.extend(
            url.map(|url| Delivery::new(org, Target::Webhook(WebhookId::of_runs(org)), Some(url.clone()), event)),
        );
    }
}

/// Whether events may be sent to this address; what is wrong with it otherwise.
pub(crate) fn check_url(app: &App, url: &str) -> Result<(), String> {
    app.guard().check(url).map(|_| ()).map_err(|refusal| refusal.to_string())
}

/// Who listens in the organisation.
async fn listeners(app: &App, tenant: Tenant) -> store::Result<Listeners> {
    let now = app.now();
    if let Some(listeners) = app.outbox().listeners(tenant.org(), now) {
        return Ok(listeners);
    }
    let webhooks = patiently(|| app.store().webhooks(tenant).boxed()).await?.into_iter();
    let links = patiently(|| app.store().links(tenant).boxed()).await?;
    let told = |webhook: &Webhook| webhook.disabled.is_none() && webhook.url.is_some();
    let webhooks = webhooks.filter(told).map(|one| (one.id, one.events)).collect();
    let listeners = Arc::new(Told { webhooks, links, bus: app.bus().is_there() });
    app.outbox().remember(tenant.org(), now, listeners.clone());
    Ok(listeners)
}

/// Reads once more while the store is not available: who is about to write what a model has said must not lose that to a read.
async fn patiently<'a, T>(read: impl Fn() -> BoxFuture<'a, store::Result<T>>) -> store::Result<T> {
    let mut pause = Duration::from_millis(PAUSE_MS);
    for _ in 1..TRIES {
        match read().await {
            Err(store::Error::Unavailable(_)) => sleep(pause).await,
            outcome => return outcome,
        }
        pause = pause.saturating_mul(2);
    }
    read().await
}

/// Whether anybody in the organisation hears of the ends of batches.
pub(crate) async fn hears_of_batches(app: &App, tenant: Tenant) -> store::Result<bool> {
    let listeners = listeners(app, tenant).await?;
    Ok(listeners.bus || listeners.webhooks.iter().any(|(_, kinds)| kinds.contains(&Kind::BatchEnded)))
}

/// What is told of a run whose row is about to be written as it stands: its end, that a person is asked, or that a budget has no room.
/// Nobody is told of runs that grade or judge, and of no end of one that is evaluated; of one that another run started, the caller's own run tells.
pub(crate) async fn of_run(app: &App, run: &Run) -> store::Result<Notices> {
    let mut notices = Notices::default();
    let asks = run.status == Status::Waiting && run.awaits_approval();
    let kind = Kind::of_end(run.status).or_else(|| asks.then_some(Kind::ApprovalRequired));
    let Some(kind) = kind.filter(|_| run.grades.is_none() && !run.judges) else { return Ok(notices) };
    let (org, listeners) = (run.tenant().org(), listeners(app, run.tenant()).await?);
    let evaluated = run.batch.as_ref().is_some_and(|batch| batch.evaluates);
    if kind == Kind::ApprovalRequired || (run.parent.is_none() && !evaluated) {
        let event = Event::of_run(kind, run);
        notices.tell(org, &listeners, &event);
        notices.tell_at(org, run.webhook_url.as_ref(), &event);
        notices.tell_triggers(run, &listeners, &event);
    }
    let hears = |(_, kinds): &(WebhookId, Vec<Kind>)| kinds.contains(&Kind::BudgetReached);
    let listened = listeners.bus || listeners.webhooks.iter().any(hears);
    if let Some(budget) = run.refused_by.filter(|_| listened && run.reason == Some(Reason::BudgetExceeded)) {
        budget_reached(app, run, budget, &listeners).await?;
    }
    Ok(notices)
}

/// A budget that others spend from too is told of once in its period.
async fn budget_reached(app: &App, run: &Run, budget: Budget, listeners: &Listeners) -> store::Result<()> {
    let now = run.updated_at;
    let of = match budget {
        Budget::Run | Budget::Family => return Ok(()),
        Budget::Batch => run.batch.as_ref().map(|batch| batch.id.prefixed()),
        Budget::KeyDay | Budget::KeyMonth => run.key_budget.as_ref().map(|key| key.of.prefixed()),
        Budget::OrganisationDay | Budget::OrganisationMonth => None,
    };
    let (name, period) = (budget.name(), budget.period(now));
    let data = super::object(serde_json::json!({
        "budget": name, "period": period, "of": of, "run_id": run.id.prefixed(), "message": run.error,
    }));
    let about = [name, &period, of.as_deref().unwrap_or_default()];
    let mark = EventId::of(Timestamp::default(), Kind::BudgetReached.name(), &about);
    if patiently(|| app.store().was_told(run.tenant(), mark).boxed()).await? {
        return Ok(());
    }
    let mut told = Notices { marks: vec![(run.tenant().org(), mark, now)], ..Notices::default() };
    let event = Event { chain: Some(Chain::after_run(run)), ..Event::new(Kind::BudgetReached, &about, now, data) };
    told.tell(run.tenant().org(), listeners, &event);
    // By itself, before the end that says so: of several at the same moment one tells, and none keeps another's end from being written.
    match patiently(|| app.store().save_notices(&told).boxed()).await {
        Ok(()) => ask_to_send(app, run.tenant(), &told).await,
        Err(store::Error::Conflict { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What is told of a batch that is about to be written as ended. Nobody is told of batches of evaluations.
pub(crate) async fn of_batch(app: &App, batch: &Batch, progress: &Progress) -> store::Result<Notices> {
    let mut notices = Notices::default();
    if batch.evaluation.is_some() {
        return Ok(notices);
    }
    let event = Event::of_batch(batch, progress, app.now());
    let listeners = listeners(app, batch.tenant()).await?;
    notices.tell(batch.tenant().org(), &listeners, &event);
    notices.tell_at(batch.tenant().org(), batch.webhook_url.as_ref(), &event);
    Ok(notices)
}

/// What is told of a firing that is about to be written: that it failed.
pub(crate) async fn of_firing(app: &App, tenant: Tenant, firing: &Firing) -> store::Result<Notices> {
    let mut notices = Notices::default();
    if let Some(event) = Event::of_firing(firing) {
        let listeners = listeners(app, tenant).await?;
        notices.tell(tenant.org(), &listeners, &event);
    }
    Ok(notices)
}

/// Asks for workers to send what was written. A failure is no failure of the caller's: the reaper asks again.
pub(crate) async fn ask_to_send(app: &App, tenant: Tenant, notices: &Notices) {
    let parcels: Vec<Parcel> = notices.deliveries.iter().map(Parcel::of).collect();
    send_parcels(app, tenant, parcels).await;
}

pub(super) async fn send_parcels(app: &App, tenant: Tenant, parcels: Vec<Parcel>) {
    let parcels = app.outbox().not_asked_for(app, parcels);
    if let Err(error) = app.queue().send(Chunk::of_parcels(tenant, &parcels), 0).await {
        app.outbox().done(&parcels);
        tracing::warn!(error = ?error, parcels = parcels.len(), "messages were not sent; the reaper will send them");
    }
}

/// Refuses an address for a run's or batch's events that cannot be one, or that nothing could be signed for.
///
/// # Errors
/// [`Error::Invalid`] naming `webhook_url`.
pub(crate) async fn check_own(app: &App, tenant: Tenant, url: Option<&str>) -> Result<()> {
    let Some(url) = url else { return Ok(()) };
    check_url(app, url).map_err(|message| Error::invalid("webhook_url", message))?;
    if app.store().webhook(tenant, WebhookId::of_runs(tenant.org())).await?.is_none() {
        let message = "needs a secret that signs what is sent: make one with POST /v1/webhooks and no url";
        return Err(Error::invalid("webhook_url", message));
    }
    Ok(())
}
