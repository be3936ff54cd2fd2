//! Sending deliveries: at least once each, with the same id every time, at most a few at a time for one endpoint.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::Semaphore;

use super::{Delivery, Disabled, FAILING_MS, Listeners, Try, Webhook, notice::send_parcels, sign::signatures};
use crate::{
    app::App,
    clock::Timestamp,
    engine::fault,
    error::{Error, Result},
    id::{OrgId, WebhookId},
    net::{Guard, Sending},
    queue::Parcel,
    random,
    remembered::Remembered,
    store::{self, ASKED_MS, OUTBOX_SHARDS, Versioned},
    tenant::Tenant,
};

/// How many deliveries for one endpoint are under way in a process at a time.
const AT_A_TIME: usize = 5;
/// How long an endpoint may take to answer, in milliseconds, and how long a delivery is in hand at most.
const TIMEOUT_MS: u64 = 15_000;
const HELD_MS: i64 = 30_000;
/// How much of an answer is read, in bytes: nobody looks at it.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024;
/// How long a process goes by who listens, in milliseconds.
const REMEMBERED_MS: u64 = 5_000;
/// How many deliveries one tick asks for in a shard.
const PER_TICK: usize = 1_000;
/// After how long a process is asked again for a delivery that it was asked for, in milliseconds: longer than a message of them takes.
const ASKED_AGAIN_MS: u64 = 300_000;
/// How often an endpoint's row is written again when others write it at the same time.
const TRIES: u32 = 5;

/// What a process knows of what it sends.
#[derive(Debug)]
pub struct Outbox {
    listeners: Remembered<OrgId, Listeners>,
    /// Deliveries that are asked for in this process and not worked on yet, since when: where a process is alone, nobody else would.
    asked: Mutex<HashMap<Parcel, Timestamp>>,
    places: Mutex<HashMap<WebhookId, Arc<Semaphore>>>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { listeners: Remembered::for_ms(REMEMBERED_MS), asked: Mutex::default(), places: Mutex::default() }
    }
}

impl Outbox {
    pub(super) fn listeners(&self, org: OrgId, now: Timestamp) -> Option<Listeners> {
        self.listeners.get(&org, now)
    }

    pub(super) fn remember(&self, org: OrgId, now: Timestamp, listeners: Listeners) {
        self.listeners.put(org, now, listeners);
    }

    pub(super) fn forget(&self, org: OrgId) {
        self.listeners.forget(&org);
    }

    /// Those of them that this process was not asked for lately. Among many processes nobody knows.
    pub(super) fn not_asked_for(&self, app: &App, parcels: Vec<Parcel>) -> Vec<Parcel> {
        if app.config().sole_epoch.is_none() {
            return parcels;
        }
        let (now, mut asked) = (app.now(), self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        let lately = |at: &Timestamp| *at <= now && now.since_ms(*at) < ASKED_AGAIN_MS;
        let mut wanted = |parcel: &Parcel| {
            let wanted = !asked.get(parcel).is_some_and(lately);
            if wanted {
                asked.insert(*parcel, now);
            }
            wanted
        };
        parcels.into_iter().filter(|parcel| wanted(parcel)).collect()
    }

    pub(super) fn done(&self, parcels: &[Parcel]) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        for parcel in parcels {
            asked.remove(parcel);
        }
    }

    fn places(&self, id: WebhookId) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses are made anew when they are wanted.
        places.retain(|_, one| Arc::strong_count(one) > 1);
        places.entry(id).or_insert_with(|| Arc::new(Semaphore::new(AT_A_TIME))).clone()
    }
}

/// Sends these deliveries, each if it is its time.
///
/// # Errors
/// When some could not be read or written: the message should come again.
pub async fn deliver(app: &App, tenant: Tenant, parcels: &[Parcel]) -> Result<()> {
    let outcomes = stream::iter(parcels.to_vec())
        .map(|parcel| async move {
            let places = app.outbox().places(parcel.webhook_id);
            let _place = places.acquire().await;
            one(app, tenant, parcel).await
        })
        .buffer_unordered(parcels.len().max(1))
        .collect::<Vec<Result<()>>>()
        .await;
    app.outbox().done(parcels);
    outcomes.into_iter().collect()
}

async fn one(app: &App, tenant: Tenant, parcel: Parcel) -> Result<()> {
    let Some(Versioned { value: mut delivery, rev }) = app.store().delivery(tenant, parcel).await? else {
        return Ok(());
    };
    if !delivery.may_be_sent(app.now()) {
        return Ok(());
    }
    let webhook = app.store().webhook(tenant, delivery.webhook_id).await?.map(|found| found.value);
    let problem = match &webhook {
        None => Some("its webhook was deleted"),
        Some(webhook) if webhook.disabled.is_some() => Some("its webhook is switched off"),
        Some(_) => None,
    };
    let Some(webhook) = webhook.filter(|_| problem.is_none()) else {
        delivery.give_up(problem.unwrap_or_default());
        return unless_changed(app.store().save_delivery(&delivery, rev).await.map(|_| ()));
    };
    delivery.held_until = app.now().plus_ms(HELD_MS);
    let rev = match app.store().save_delivery(&delivery, rev).await {
        Ok(rev) => rev,
        Err(store::Error::Conflict { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    fault::point("W1");
    let sent = send(app, &webhook, &delivery).await?;
    fault::point("W2");
    let Sent { last, retry_after_ms } = sent;
    let (status, now) = (last.status, app.now());
    if status.is_some_and(|status| (200..300).contains(&status)) {
        delivery.delivered(last);
    } else if status == Some(StatusCode::GONE.as_u16()) && delivery.url.is_some() {
        delivery.failed(last, None, 0.5, now);
        delivery.give_up("the address is gone (410)");
    } else {
        delivery.failed(last, retry_after_ms, random::unit(), now);
    }
    unless_changed(app.store().save_delivery(&delivery, rev).await.map(|_| ()))?;
    fault::point("W3");
    // What an endpoint did with what was addressed to a run's own URL says nothing of others.
    if delivery.url.is_none() { noted(app, webhook, status).await } else { Ok(()) }
}

/// A conflict is another who has it in hand: it was slower than it should have been.
fn unless_changed(outcome: store::Result<()>) -> Result<()> {
    match outcome {
        Ok(()) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

struct Sent {
    last: Try,
    retry_after_ms: Option<u64>,
}

async fn send(app: &App, webhook: &Webhook, delivery: &Delivery) -> Result<Sent> {
    let at = app.now();
    let url = delivery.url.as_ref().or(webhook.url.as_ref()).map_or("", String::as_str);
    let headers = headers(app, webhook, delivery, at)?;
    let answer = post(&app.guard().of(webhook.org), url, headers, Bytes::from(delivery.body.clone())).await;
    let took_ms = app.now().since_ms(at);
    Ok(match answer {
        Ok((status, headers)) => {
            let error = status.is_redirection().then(|| "redirects are not followed".to_owned());
            let asked = matches!(status.as_u16(), 429 | 503).then(|| retry_after_ms(&headers)).flatten();
            Sent { last: Try { at, status: Some(status.as_u16()), error, took_ms }, retry_after_ms: asked }
        }
        Err(error) => Sent { last: Try { at, status: None, error: Some(error), took_ms }, retry_after_ms: None },
    })
}

/// Sends that to the address, and to no other. The error is for a person.
pub(crate) async fn post(
    guard: &Guard,
    url: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, HeaderMap), String> {
    let url = guard.check(url).map_err(|refusal| format!("the address {refusal}"))?;
    let timeout = Duration::from_millis(TIMEOUT_MS);
    let (method, body_limit_bytes) = (http::Method::POST, ANSWER_LIMIT_BYTES);
    let sending = Sending { method, headers, body, follow: false, body_limit_bytes, timeout };
    let answer = guard.send(&url, sending).await.map_err(|failure| failure.to_string())?;
    Ok((answer.status, answer.headers))
}

/// In seconds, as most say it; a date is not looked at.
fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

fn headers(app: &App, webhook: &Webhook, delivery: &Delivery, at: Timestamp) -> Result<HeaderMap> {
    let (id, seconds) = (delivery.event_id.prefixed(), at.millis().div_euclid(1_000));
    let signature = signatures(&webhook.secrets(app)?, &id, seconds, &delivery.body)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", seconds.to_string()), ("webhook-signature", signature)]
    {
        let value = HeaderValue::try_from(value).map_err(|error| Error::Internal(error.into()))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

/// What an answer says of its endpoint: it is gone, it fails, or it works again.
async fn noted(app: &App, webhook: Webhook, status: Option<u16>) -> Result<()> {
    let mut found = Some(webhook);
    for attempt in 1..=TRIES {
        let Some(webhook) = found.take() else { return Ok(()) };
        if !note(&mut webhook.clone(), status, app.now()) {
            return Ok(());
        }
        let (tenant, id) = (webhook.tenant(), webhook.id);
        let Some(Versioned { value: mut webhook, rev }) = app.store().webhook(tenant, id).await? else { return Ok(()) };
        if !note(&mut webhook, status, app.now()) {
            return Ok(());
        }
        match app.store().save_webhook(&webhook, rev).await {
            Ok(()) => {
                app.outbox().forget(webhook.org);
                if let Some(disabled) = webhook.disabled {
                    tracing::warn!(org = %webhook.org, webhook = %id, reason = disabled.name(), "a webhook is off");
                }
                return Ok(());
            }
            Err(store::Error::Conflict { .. }) => {
                random::pause(attempt).await;
                found = Some(webhook);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether that changes the endpoint, and changes it.
fn note(webhook: &mut Webhook, status: Option<u16>, now: Timestamp) -> bool {
    let before = (webhook.disabled, webhook.failing_since);
    if status.is_some_and(|status| (200..300).contains(&status)) {
        webhook.failing_since = None;
    } else {
        let since = *webhook.failing_since.get_or_insert(now);
        if status == Some(StatusCode::GONE.as_u16()) {
            webhook.disabled = webhook.disabled.or(Some(Disabled::Gone));
        } else if now.since_ms(since) >= FAILING_MS {
            webhook.disabled = webhook.disabled.or(Some(Disabled::Failing));
        }
    }
    before != (webhook.disabled, webhook.failing_since)
}

/// Asks for workers for all deliveries whose time has come, and that nobody was asked for lately. Answers for how many.
///
/// # Errors
/// As the store says; the next tick goes on.
pub(crate) async fn reap(app: &App) -> Result<usize> {
    ask_for_due(app, app.now()).await
}

/// The same for those that somebody was asked for lately too: for a host that is alone, when it starts.
pub(crate) async fn recover(app: &App) -> Result<usize> {
    ask_for_due(app, app.now().plus_ms(ASKED_MS)).await
}

async fn ask_for_due(app: &App, before: Timestamp) -> Result<usize> {
    let mut asked = 0_usize;
    for shard in 0..OUTBOX_SHARDS {
        let (mut after, mut seen) = (None, 0_usize);
        loop {
            let (due, next) = app.store().due_deliveries(shard, before, after).await?;
            seen = seen.saturating_add(due.len());
            let mut by_tenant: HashMap<Tenant, Vec<Parcel>> = HashMap::new();
            due.into_iter().for_each(|(tenant, parcel)| by_tenant.entry(tenant).or_default().push(parcel));
            for (tenant, parcels) in by_tenant {
                asked = asked.saturating_add(parcels.len());
                send_parcels(app, tenant, parcels).await;
            }
            match next {
                Some(next) if seen < PER_TICK => after = Some(next),
                _ => break,
            }
        }
    }
    Ok(asked)
}
