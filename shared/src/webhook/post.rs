//! Deliveries to endpoints, by HTTP as Standard Webhooks 1.0 has it, and what answers say of an endpoint.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    Delivery, Disabled, FAILING_MS, Try, Webhook,
    send::{Sent, Taken},
    sign::signatures,
};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    net::{Guard, Sending},
    random,
    store::{self, Versioned},
};

/// How long an endpoint may take to answer, in milliseconds.
const TIMEOUT_MS: u64 = 15_000;
/// How much of an answer is read, in bytes: nobody looks at it.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024;
/// How often an endpoint's row is written again when others write it at the same time.
const TRIES: u32 = 5;

/// Sends the delivery to its endpoint, and notes what the answer says of that.
pub(super) async fn send(app: &App, webhook: &Webhook, delivery: &Delivery) -> Sent {
    let at = app.now();
    let url = delivery.url.as_ref().or(webhook.url.as_ref()).map_or("", String::as_str);
    let headers = match headers(app, webhook, delivery, at) {
        Ok(headers) => headers,
        Err(error) => {
            tracing::error!(webhook = %webhook.id, ?error, "an event cannot be signed");
            let error = Some("it could not be signed".to_owned());
            return Sent { last: Try { at, status: None, error, took_ms: 0 }, taken: Taken::NotNow(None) };
        }
    };
    let answer = post(&app.guard().of(webhook.org), url, headers, Bytes::from(delivery.body.clone())).await;
    let took_ms = app.now().since_ms(at);
    let (status, error, asked_ms) = match answer {
        Ok((status, headers)) => {
            let error = status.is_redirection().then(|| "redirects are not followed".to_owned());
            let asked_ms = matches!(status.as_u16(), 429 | 503).then(|| retry_after_ms(&headers)).flatten();
            (Some(status), error, asked_ms)
        }
        Err(error) => (None, Some(error), None),
    };
    let taken = match status {
        Some(status) if status.is_success() => Taken::Yes,
        // What an endpoint did with what was addressed to a run's own URL says nothing of others.
        Some(StatusCode::GONE) if delivery.url.is_some() => Taken::Never("the address is gone (410)".to_owned()),
        Some(_) | None => Taken::NotNow(asked_ms),
    };
    Sent { last: Try { at, status: status.map(|status| status.as_u16()), error, took_ms }, taken }
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
pub(super) async fn noted(app: &App, webhook: Webhook, status: Option<u16>) -> Result<()> {
    let mut found = Some(webhook);
    for attempt in 1..=TRIES {
        let Some(webhook) = found.take() else { return Ok(()) };
        if !note(&mut webhook.clone(), status, app.now()) {
            return Ok(());
        }
        let (tenant, id) = (webhook.tenant(), webhook.id);
        let called = webhook.url;
        let Some(Versioned { value: mut webhook, rev }) = app.store().webhook(tenant, id).await? else { return Ok(()) };
        // Of another address it says nothing.
        if webhook.url != called || !note(&mut webhook, status, app.now()) {
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
