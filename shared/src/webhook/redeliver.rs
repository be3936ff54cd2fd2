//! What was sent to an endpoint, looked at and sent again.

use super::{Delivery, Event, Kind, Notices, State, Target, ask_to_send, endpoints::own};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{EventId, WebhookId},
    page::{self, Page, PageRequest},
    queue::Parcel,
    store::{self, Versioned},
    tenant::{Caller, Scope},
};

/// The most deliveries that one call sends again.
pub const REDELIVER_LIMIT: usize = 1_000;
/// How many of a time are looked at, the newest: who wants older ones says an earlier `until`.
const LOOKED_AT_LIMIT: usize = 20_000;
/// How many are read at a time.
const PAGE: usize = 100;

/// Which deliveries are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// That of this event, wherever it stands.
    Event(EventId),
    /// Those that have failed, of events from a moment on and before another.
    Failed {
        /// From then on.
        since: Timestamp,
        /// Before then.
        until: Timestamp,
    },
}

/// What was sent to the endpoint, or is to be, newest event first; those that stand so, if a state is given.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`] for a cursor of another list; [`Error::Forbidden`].
pub async fn deliveries(
    app: &App,
    caller: &Caller,
    id: WebhookId,
    state: Option<State>,
    request: &PageRequest,
) -> Result<Page<Delivery>> {
    caller.require(Scope::RunsRead)?;
    own(app, caller, id).await?;
    let of = format!("deliveries/{id}?{state:?}");
    let mut before = request.position(&of)?;
    let (mut entries, mut looked_at) = (Vec::new(), 0_usize);
    loop {
        let (found, next) = app.store().deliveries(caller.tenant(), id, before.take(), request.limit).await?;
        looked_at = looked_at.saturating_add(found.len());
        let found = found.into_iter().map(|found| found.value);
        for delivery in found.filter(|one| state.is_none_or(|state| one.state == state)) {
            let position = delivery.event_id.to_string();
            entries.push(delivery);
            if entries.len() == request.limit {
                return Ok(Page::new(entries, Some(&position), &of));
            }
        }
        match next {
            Some(next) if looked_at < page::SCAN_LIMIT => before = Some(next),
            next => return Ok(Page::new(entries, next.as_deref(), &of)),
        }
    }
}

/// Sends deliveries again, with the ids that their events have: at most [`REDELIVER_LIMIT`], of the 20,000 newest of that time. Answers how many.
///
/// # Errors
/// [`Error::NotFound`] for the endpoint or the event; [`Error::Conflict`] when the endpoint is switched off; [`Error::Forbidden`].
pub async fn redeliver(app: &App, caller: &Caller, id: WebhookId, which: Which) -> Result<usize> {
    caller.require(Scope::RunsWrite)?;
    let tenant = caller.tenant();
    if own(app, caller, id).await?.value.disabled.is_some() {
        return Err(Error::Conflict("the webhook is switched off: enable it first".to_owned()));
    }
    let found = match which {
        Which::Event(event_id) => {
            let parcel = Parcel { to: Target::Webhook(id), event_id };
            vec![app.store().delivery(tenant, parcel).await?.ok_or(Error::NotFound("event"))?]
        }
        Which::Failed { since, until } => failed(app, caller, id, (since, until)).await?,
    };
    let mut notices = Notices::default();
    for Versioned { value: mut delivery, rev } in found {
        delivery.again(app.now());
        match app.store().save_delivery(&delivery, rev).await {
            Ok(_) => notices.push(delivery),
            // It is being sent.
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ask_to_send(app, tenant, &notices).await;
    Ok(notices.len())
}

async fn failed(
    app: &App,
    caller: &Caller,
    id: WebhookId,
    (since, until): (Timestamp, Timestamp),
) -> Result<Vec<Versioned<Delivery>>> {
    let (mut all, mut before, mut looked_at) = (Vec::new(), Some(EventId::first_of(until)), 0_usize);
    while let Some(begin) = before.take().filter(|_| looked_at < LOOKED_AT_LIMIT) {
        let (found, next) = app.store().deliveries(caller.tenant(), id, Some(begin), PAGE).await?;
        looked_at = looked_at.saturating_add(found.len());
        for one in found {
            if one.value.created_at < since || all.len() >= REDELIVER_LIMIT {
                return Ok(all);
            }
            all.extend(Some(one).filter(|one| one.value.state == State::Failed));
        }
        before = next;
    }
    Ok(all)
}

/// Sends an event that tells nothing, to see whether the endpoint takes it. Answers its id, by which its delivery is found.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] when the endpoint is switched off or has no address; [`Error::Forbidden`].
pub async fn test(app: &App, caller: &Caller, id: WebhookId) -> Result<EventId> {
    caller.require(Scope::RunsWrite)?;
    let webhook = own(app, caller, id).await?.value;
    if webhook.disabled.is_some() || webhook.url.is_none() {
        return Err(Error::Conflict(
            "the webhook is switched off, or has no url: nothing can be sent to it".to_owned(),
        ));
    }
    let (now, random) = (app.now(), store::row::Rev::fresh().0.to_string());
    let event = Event::new(Kind::Test, &[&id.to_string(), &random], now, serde_json::Map::new());
    let mut notices = Notices::default();
    notices.push(Delivery::new(webhook.org, Target::Webhook(id), None, &event));
    app.store().save_notices(&notices).await?;
    ask_to_send(app, caller.tenant(), &notices).await;
    Ok(event.id)
}
