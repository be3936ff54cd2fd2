//! Sending deliveries: at least once each, with the same id every time, at most a few at a time for one of those who are told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::{Delivery, Listeners, State, Target, Try, Webhook, notice::send_parcels, post};
use crate::{
    app::App,
    clock::Timestamp,
    engine::fault,
    error::{Error, Result},
    id::OrgId,
    queue::Parcel,
    random,
    remembered::Remembered,
    store::{self, ASKED_MS, OUTBOX_SHARDS, Versioned},
    tenant::Tenant,
    trigger::{self, Trigger},
};

/// How many deliveries for one of those who are told are under way in a process at a time.
const AT_A_TIME: usize = 5;
/// How long a delivery is in hand at most, in milliseconds.
const HELD_MS: i64 = 30_000;
/// How long a process goes by who listens, in milliseconds.
const REMEMBERED_MS: u64 = 5_000;
/// How many deliveries one tick asks for in a shard.
const PER_TICK: usize = 1_000;
/// After how long a process is asked again for a delivery that it was asked for, in milliseconds: longer than a message of them takes.
const ASKED_AGAIN_MS: u64 = 300_000;

/// What a process knows of what it sends.
#[derive(Debug)]
pub struct Outbox {
    listeners: Remembered<OrgId, Listeners>,
    /// Deliveries that are asked for in this process and not worked on yet, since when: where a process is alone, nobody else would.
    asked: Mutex<HashMap<Parcel, Timestamp>>,
    places: Mutex<HashMap<Target, Arc<Semaphore>>>,
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

    /// Who listens has changed.
    pub(crate) fn forget(&self, org: OrgId) {
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

    fn places(&self, to: Target) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses are made anew when they are wanted.
        places.retain(|_, one| Arc::strong_count(one) > 1);
        places.entry(to).or_insert_with(|| Arc::new(Semaphore::new(AT_A_TIME))).clone()
    }
}

/// Sends these deliveries, each if it is its time.
///
/// # Errors
/// When some could not be read or written: the message should come again.
pub async fn deliver(app: &App, tenant: Tenant, parcels: &[Parcel]) -> Result<()> {
    let outcomes = stream::iter(parcels.to_vec())
        .map(|parcel| async move {
            let places = app.outbox().places(parcel.to);
            let _place = places.acquire().await;
            one(app, tenant, parcel).await
        })
        .buffer_unordered(parcels.len().max(1))
        .collect::<Vec<Result<()>>>()
        .await;
    app.outbox().done(parcels);
    outcomes.into_iter().collect()
}

/// Who takes a delivery.
enum Taker {
    Webhook(Box<Webhook>),
    Trigger(Box<Trigger>),
    Bus,
}

/// What became of a try.
pub(super) struct Sent {
    pub(super) last: Try,
    pub(super) taken: Taken,
}

/// Whether a delivery was taken.
pub(super) enum Taken {
    Yes,
    /// It is to be tried again, so many milliseconds from now at the earliest, if somebody said that.
    NotNow(Option<u64>),
    /// It is not to be tried again: why not, for a person.
    Never(String),
}

async fn one(app: &App, tenant: Tenant, parcel: Parcel) -> Result<()> {
    let Some(Versioned { value: mut delivery, rev }) = app.store().delivery(tenant, parcel).await? else {
        return Ok(());
    };
    if !delivery.may_be_sent(app.now()) {
        return Ok(());
    }
    let taker = match taker(app, tenant, &delivery).await? {
        Ok(taker) => taker,
        Err(problem) => {
            delivery.give_up(problem);
            return unless_changed(app.store().save_delivery(&delivery, rev).await.map(|_| ()));
        }
    };
    delivery.held_until = app.now().plus_ms(HELD_MS);
    let rev = match app.store().save_delivery(&delivery, rev).await {
        Ok(rev) => rev,
        Err(store::Error::Conflict { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    fault::point("W1");
    let Sent { last, taken } = match &taker {
        Taker::Webhook(webhook) => post::send(app, webhook, &delivery).await,
        Taker::Trigger(trigger) => go_on(app, trigger, &delivery).await,
        Taker::Bus => app.bus().put(app, &delivery).await,
    };
    fault::point("W2");
    let (status, now) = (last.status, app.now());
    let saved = match taken {
        // In no list, so nobody would look at it.
        Taken::Yes if !matches!(taker, Taker::Webhook(_)) => app.store().drop_delivery(&delivery, rev).await,
        Taken::Yes => {
            delivery.delivered(last);
            app.store().save_delivery(&delivery, rev).await.map(|_| ())
        }
        Taken::NotNow(retry_after_ms) => {
            delivery.failed(last, retry_after_ms, random::unit(), now);
            app.store().save_delivery(&delivery, rev).await.map(|_| ())
        }
        Taken::Never(problem) => {
            delivery.failed(last, None, 0.5, now);
            delivery.give_up(&problem);
            app.store().save_delivery(&delivery, rev).await.map(|_| ())
        }
    };
    if delivery.state == State::Failed && !matches!(taker, Taker::Webhook(_)) {
        let (event, problem) = (delivery.event_id, delivery.problem.as_deref());
        tracing::error!(org = %delivery.org, to = %delivery.to, %event, problem, "an event was given up");
    }
    unless_changed(saved)?;
    fault::point("W3");
    match taker {
        Taker::Webhook(webhook) if delivery.url.is_none() => post::noted(app, *webhook, status).await,
        Taker::Webhook(_) | Taker::Trigger(_) | Taker::Bus => Ok(()),
    }
}

/// Who takes the delivery, or why nobody does.
async fn taker(app: &App, tenant: Tenant, delivery: &Delivery) -> Result<Result<Taker, &'static str>> {
    Ok(match delivery.to {
        Target::Webhook(id) => match app.store().webhook(tenant, id).await?.map(|found| found.value) {
            None => Err("its webhook was deleted"),
            Some(webhook) if webhook.disabled.is_some() => Err("its webhook is switched off"),
            Some(webhook) => Ok(Taker::Webhook(Box::new(webhook))),
        },
        Target::Trigger(id) => match app.store().trigger(tenant, id).await?.map(|found| found.value) {
            None => Err("its trigger was deleted"),
            Some(trigger) if !trigger.definition.enabled => Err("its trigger is switched off"),
            Some(trigger) => Ok(Taker::Trigger(Box::new(trigger))),
        },
        Target::Bus if app.bus().is_there() => Ok(Taker::Bus),
        Target::Bus => Err("there is no event bus any more"),
    })
}

/// Starts what the trigger starts at the end of the run that the delivery tells of.
async fn go_on(app: &App, trigger: &Trigger, delivery: &Delivery) -> Sent {
    let at = app.now();
    let outcome = Box::pin(trigger::go_on(app, trigger, &delivery.body)).await;
    let (error, taken) = match outcome {
        Ok(()) => (None, Taken::Yes),
        Err(error) if error.retryable() || matches!(error, Error::Internal(_)) => {
            tracing::warn!(trigger = %trigger.id, ?error, "a chain was not gone on with; it will be tried again");
            (Some(error.to_string()), Taken::NotNow(None))
        }
        Err(error) => (Some(error.to_string()), Taken::Never(error.to_string())),
    };
    Sent { last: Try { at, status: None, error, took_ms: app.now().since_ms(at) }, taken }
}

/// A conflict is another who has it in hand: it was slower than it should have been.
fn unless_changed(outcome: store::Result<()>) -> Result<()> {
    match outcome {
        Ok(()) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
