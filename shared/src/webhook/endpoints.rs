//! Endpoints: made, changed, their secrets rotated.

use secrecy::SecretString;

use super::{
    DESCRIPTION_LIMIT, Disabled, Kind, OVERLAP_MS, Old, WEBHOOKS_LIMIT, Webhook, notice::check_url, sign::new_secret,
};
use crate::{
    app::App,
    error::{Error, Problem, Result},
    id::WebhookId,
    idempotency::Claim,
    random,
    store::{self, Versioned},
    tenant::{Caller, Scope},
};

/// How often a write is tried again when others write at the same time.
const TRIES: u32 = 20;

/// What an endpoint shall be.
#[derive(Debug, Clone)]
pub struct New {
    /// Where events go; `None` is the one for the `webhook_url` of runs and batches, of which there is at most one.
    pub url: Option<String>,
    /// Which events: at least one, unless there is no `url`.
    pub events: Vec<Kind>,
    /// At most [`DESCRIPTION_LIMIT`] characters.
    pub description: String,
}

/// What becomes of an endpoint; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// See [`New::url`].
    pub url: Option<String>,
    /// See [`New::events`].
    pub events: Option<Vec<Kind>>,
    /// See [`New::description`].
    pub description: Option<String>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// An endpoint with its new secret, not yet stored. `Debug` does not show that.
#[derive(Debug)]
pub struct Made {
    /// The endpoint.
    pub webhook: Webhook,
    /// Its secret: shown once.
    pub secret: SecretString,
}

/// Checks an endpoint and gives it its id and secret: see [`create`].
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Forbidden`].
pub fn plan(app: &App, caller: &Caller, new: New) -> Result<Made> {
    caller.require(Scope::RunsWrite)?;
    let New { url, events, description } = new;
    let (org, now) = (caller.tenant().org(), app.now());
    let id = if url.is_some() { WebhookId::new(now) } else { WebhookId::of_runs(org) };
    let secret = new_secret()?;
    let sealed = app.sealer().seal_webhook_secret(org, &id.to_string(), &secret)?;
    let webhook = Webhook {
        id,
        org,
        url,
        events,
        description,
        disabled: None,
        failing_since: None,
        sealed,
        old: None,
        created_at: now,
        updated_at: now,
    };
    check(app, &webhook)?;
    Ok(Made { webhook, secret })
}

fn check(app: &App, webhook: &Webhook) -> Result<()> {
    let mut problems = Vec::new();
    let mut problem = |field: &str, message: String| {
        problems.push(Problem { field: field.to_owned(), message });
    };
    match &webhook.url {
        Some(url) => {
            if let Err(message) = check_url(app, url) {
                problem("url", message);
            }
            if webhook.events.is_empty() {
                problem("events", "must name at least one event".to_owned());
            }
        }
        None if !webhook.events.is_empty() => {
            problem("events", "are those of the run or batch where there is no url".to_owned());
        }
        None => {}
    }
    if (1..webhook.events.len())
        .any(|at| webhook.events.iter().take(at).any(|kind| webhook.events.get(at) == Some(kind)))
    {
        problem("events", "names an event twice".to_owned());
    }
    if webhook.description.chars().count() > DESCRIPTION_LIMIT {
        problem("description", format!("must be at most {DESCRIPTION_LIMIT} characters long"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// Stores a new endpoint. It is told of what happens from then on; by other processes, from 5 seconds later on.
///
/// # Errors
/// [`Error::Conflict`] beyond [`WEBHOOKS_LIMIT`], or when there is one without an address already; [`Error::InProgress`] when a request
/// with the same idempotency key was faster.
pub async fn create(app: &App, made: &Made, claim: Claim) -> Result<()> {
    let webhook = &made.webhook;
    let claim = claim.write(app, None)?;
    for attempt in 1..=TRIES {
        let all = app.store().webhooks_to_add_to(webhook.tenant()).await?;
        if all.webhooks.len() >= WEBHOOKS_LIMIT {
            return Err(Error::Conflict(format!("an organisation has at most {WEBHOOKS_LIMIT} webhooks: delete one")));
        }
        if all.webhooks.iter().any(|one| one.id == webhook.id) {
            let message = "there is a webhook without a url already: rotate its secret, or delete it".to_owned();
            return Err(Error::Conflict(message));
        }
        match app.store().save_new_webhook(webhook, &all, claim.clone()).await {
            Ok(()) => {
                app.outbox().forget(webhook.org);
                return Ok(());
            }
            Err(store::Error::Conflict { index: 0 | 1 }) => random::pause(attempt).await,
            Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// The organisation's endpoints, oldest first: at most [`WEBHOOKS_LIMIT`].
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<Webhook>> {
    caller.require(Scope::RunsRead)?;
    Ok(app.store().webhooks(caller.tenant()).await?)
}

/// The endpoint.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn get(app: &App, caller: &Caller, id: WebhookId) -> Result<Webhook> {
    caller.require(Scope::RunsRead)?;
    Ok(own(app, caller, id).await?.value)
}

pub(super) async fn own(app: &App, caller: &Caller, id: WebhookId) -> Result<Versioned<Webhook>> {
    app.store().webhook(caller.tenant(), id).await?.ok_or(Error::NotFound("webhook"))
}

/// Changes an endpoint. One that is switched on again is told of what happens from then on; what was not sent meanwhile has failed, and can be
/// sent again.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`]; [`Error::Forbidden`].
pub async fn update(app: &App, caller: &Caller, id: WebhookId, change: Change) -> Result<Webhook> {
    let Change { url, events, description, enabled } = change;
    changed(app, caller, id, |webhook| {
        if url.is_some() && webhook.url.is_none() {
            return Err(Error::invalid("url", "is said of each run and batch: this webhook has none"));
        }
        if url.is_some() && url != webhook.url {
            webhook.failing_since = None;
        }
        webhook.url = url.clone().or(webhook.url.take());
        webhook.events = events.clone().unwrap_or_else(|| webhook.events.clone());
        webhook.description = description.clone().unwrap_or_else(|| webhook.description.clone());
        match enabled {
            Some(true) => (webhook.disabled, webhook.failing_since) = (None, None),
            Some(false) => webhook.disabled = webhook.disabled.or(Some(Disabled::ByOwner)),
            None => {}
        }
        check(app, webhook)
    })
    .await
}

/// Gives an endpoint a new secret. The old one signs beside it for [`OVERLAP_MS`].
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn rotate(app: &App, caller: &Caller, id: WebhookId) -> Result<Made> {
    let secret = new_secret()?;
    let webhook = changed(app, caller, id, |webhook| {
        let sealed = app.sealer().seal_webhook_secret(webhook.org, &webhook.id.to_string(), &secret)?;
        let sealed = std::mem::replace(&mut webhook.sealed, sealed);
        webhook.old = Some(Old { sealed, until: app.now().plus_ms(OVERLAP_MS) });
        Ok(())
    })
    .await?;
    Ok(Made { webhook, secret })
}

async fn changed(
    app: &App,
    caller: &Caller,
    id: WebhookId,
    change: impl Fn(&mut Webhook) -> Result<()>,
) -> Result<Webhook> {
    caller.require(Scope::RunsWrite)?;
    for attempt in 1..=TRIES {
        let Versioned { value: mut webhook, rev } = own(app, caller, id).await?;
        change(&mut webhook)?;
        webhook.updated_at = app.now();
        match app.store().save_webhook(&webhook, rev).await {
            Ok(()) => {
                app.outbox().forget(webhook.org);
                return Ok(webhook);
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// Deletes an endpoint. What was not sent yet is not sent.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn delete(app: &App, caller: &Caller, id: WebhookId) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    for attempt in 1..=TRIES {
        let found = own(app, caller, id).await?;
        match app.store().delete_webhook(caller.tenant(), id, found.rev).await {
            Ok(()) => {
                app.outbox().forget(caller.tenant().org());
                return Ok(());
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

fn busy() -> Error {
    Error::Unavailable("webhooks are being changed by others all the time".into())
}
