//! What happens to an event: proven, told from others, filtered, made into an order, and started in the transaction that says it was seen.

use bytes::Bytes;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::{
    Source, Told, Trigger, body, chain, get, object,
    scheme::{self, EVENT_ID_LIMIT_BYTES, Genuine, Headers},
};
use crate::{
    app::App,
    aside::aside,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::{EventId, OrgId, TriggerId},
    limit,
    order::{self, Order, OrderItem, Started, Work},
    run::{Chain, Prompt},
    seal::fingerprint,
    store::Versioned,
    template::Known,
    tenant::{Caller, Tenant},
    webhook::bus,
};

/// How long an event is told of, in milliseconds: 90 days. It is longer than any sender tries again.
const KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How long one is known again where no moment is signed, so that it could come at any time: 400 days.
const KEPT_UNDATED_MS: i64 = 400 * 24 * 60 * 60 * 1000;
/// How many items a trial shows.
const TESTED_ITEMS: usize = 20;
/// What is tried where there is no secret.
const NO_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The trigger.
    pub trigger_id: TriggerId,
    /// What its sender calls it, or what it is called here.
    pub event_id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// Until when it is known.
    pub(crate) kept_until: Timestamp,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has started that.
    Started(Started),
    /// The filter does not hold for it.
    Filtered,
    /// It could not be made into what the agent is told: the fields and what is wrong with them.
    Failed(Vec<(String, String)>),
}

/// An event as it came.
#[derive(Debug)]
pub struct Came {
    /// Its headers.
    pub headers: Headers,
    /// Its bytes: at most [`super::BODY_LIMIT_BYTES`].
    pub body: Bytes,
}

/// What is answered.
#[derive(Debug)]
pub enum Received {
    /// It has started something.
    Started {
        /// What.
        started: Started,
        /// The event's id.
        event_id: String,
        /// Whether it had done so before.
        duplicate: bool,
    },
    /// The filter does not hold for it.
    Filtered,
    /// Its sender only wanted to know whether somebody is there.
    Ping,
    /// Its sender wants to have this back.
    Challenge(String),
    /// It could not be made into what the agent is told. The same event may come again.
    Failed(Error),
}

/// Takes an event that came by HTTP. `which` says of a trigger whether it is one of those that the address is for.
///
/// # Errors
/// [`Error::Unauthorized`], alike for an unknown trigger, one that is switched off and a proof that does not hold; [`Error::RateLimited`];
/// [`Error::Unavailable`] when it should come again: nothing was started then.
pub async fn receive(
    app: &App,
    id: Option<TriggerId>,
    came: &Came,
    which: impl Fn(&Trigger) -> bool,
) -> Result<Received> {
    let found = found(app, id).await?.filter(|trigger| trigger.definition.enabled && which(trigger));
    let (source, secrets) = match &found {
        Some(trigger) => (trigger.definition.source, trigger.secrets(app)?),
        None => (Source::Token, vec![SecretString::from(NO_SECRET)]),
    };
    let genuine = scheme::verify(source, &came.headers, &came.body, &secrets, app.now());
    let (Some(trigger), Some(genuine)) = (found, genuine) else { return Err(Error::Unauthorized) };
    if matches!(genuine, Genuine::Event(_)) {
        limit::take_event(app, &trigger.mandate.caller(trigger.tenant()), trigger.id).await?;
    }
    match genuine {
        Genuine::Ping => Ok(Received::Ping),
        Genuine::Challenge(challenge) => Ok(Received::Challenge(challenge)),
        Genuine::Unnamed(header) => {
            let message = format!("must be given once, as 1 to {EVENT_ID_LIMIT_BYTES} printable ASCII characters");
            Err(Error::invalid(header, message))
        }
        Genuine::Event(_) if source.of_bus() => {
            let event = body::parsed(&came.headers, &came.body);
            Box::pin(of_bus(app, &trigger, event)).await
        }
        Genuine::Event(event_id) => {
            let event_id = event_id.unwrap_or_else(|| EventId::new(app.now()).prefixed());
            let headers = body::shown(&came.headers);
            Box::pin(accept(app, &trigger, None, event_id, headers, body::parsed(&came.headers, &came.body))).await
        }
    }
}

/// Takes an event of Amazon EventBridge, which has proven itself by invoking a function of the deployment. There is no limit of events a minute: who
/// would be refused would not come again for long.
///
/// # Errors
/// [`Error::NotFound`] when there is no such trigger of this source, or it is switched off; [`Error::Invalid`] naming `event`; otherwise as
/// [`receive`].
pub async fn received_from_bus(app: &App, id: TriggerId, event: Json) -> Result<Received> {
    let found = found(app, Some(id)).await?.filter(|trigger| trigger.definition.enabled);
    let trigger = found.filter(|trigger| trigger.definition.source.of_bus()).ok_or(Error::NotFound("trigger"))?;
    of_bus(app, &trigger, event).await
}

async fn of_bus(app: &App, trigger: &Trigger, event: Json) -> Result<Received> {
    let own = bus::own_event(&event);
    let given = || event.get("id").and_then(Json::as_str).filter(|id| scheme::is_event_id(id)).map(str::to_owned);
    let of_object = || Some(trigger).filter(|its| its.definition.source == Source::S3).and(object::event_id(&event));
    // The bus has those of all organisations.
    if own.as_ref().is_some_and(|own| own.organisation_id != trigger.org.prefixed()) {
        return Ok(Received::Filtered);
    }
    let event_id = match &own {
        Some(own) => Some(own.event_id.clone()).filter(|id| scheme::is_event_id(id)),
        None => of_object().or_else(given),
    };
    let event_id = event_id.ok_or_else(|| Error::invalid("event", "must have an id: it is no event of EventBridge"))?;
    Box::pin(accept(app, trigger, own.and_then(|own| own.chain), event_id, Map::new(), event)).await
}

/// The trigger of that id. One that is not there costs as many look-ups.
async fn found(app: &App, id: Option<TriggerId>) -> Result<Option<Trigger>> {
    let id = id.unwrap_or_else(|| TriggerId::from(Uuid::nil()));
    let owner = app.store().owner_of_trigger(id).await?;
    let tenant = owner.unwrap_or_else(|| Tenant::of(OrgId::from(Uuid::nil())));
    Ok(app.store().trigger(tenant, id).await?.map(|found| found.value))
}

/// Starts what a genuine event starts, once. `chain` is that of an end that is the event.
pub(super) async fn accept(
    app: &App,
    trigger: &Trigger,
    chain: Option<Chain>,
    event_id: String,
    headers: Map<String, Json>,
    body: Json,
) -> Result<Received> {
    let (tenant, caller) = (trigger.tenant(), trigger.mandate.caller(trigger.tenant()));
    let hash = fingerprint(&[event_id.as_bytes()]);
    let seen = app.store().seen_event(tenant, trigger.id, &hash).await?;
    if let Some(duplicate) = seen.as_ref().and_then(|seen| duplicate(app, seen)) {
        return Ok(duplicate);
    }
    let now = app.now();
    let known = |outcome, kept_ms| Event {
        trigger_id: trigger.id,
        event_id: event_id.clone(),
        received_at: now,
        outcome,
        kept_until: now.plus_ms(kept_ms),
    };
    let work = match work(app, trigger, (&event_id, now), headers, body).await? {
        Ok(Some(work)) => work,
        Ok(None) => {
            note(app, tenant, &known(Outcome::Filtered, KEPT_MS)).await?;
            return Ok(Received::Filtered);
        }
        Err(problems) => return failed(app, tenant, Error::Invalid(problems), |why| known(why, KEPT_MS)).await,
    };
    let order = Order { terms: trigger.definition.terms.clone(), work };
    let planned = match chain::planned(app, &caller, order, trigger.cause(chain)).await {
        Ok(planned) => planned,
        Err(error @ (Error::Unavailable(_) | Error::Internal(_) | Error::RateLimited { .. })) => return Err(error),
        Err(error) => {
            let error = error.with_fields(|field| field.replace("items[", "rows["));
            return failed(app, tenant, error, |why| known(why, KEPT_MS)).await;
        }
    };
    let started = planned.started();
    let kept_ms = if trigger.definition.source.dated() { KEPT_MS } else { KEPT_UNDATED_MS };
    let event = known(Outcome::Started(started), kept_ms);
    let write = app.store().seen_write(tenant, &event, &hash, seen.map(|seen| seen.rev))?;
    let writes = std::iter::once(write).chain(chain::counted(app, tenant, chain, &planned)).collect();
    match order::start(app, planned, writes).await {
        Ok(started) => Ok(Received::Started { started, event_id, duplicate: false }),
        Err(Error::InProgress) => {
            // The same event was faster.
            let seen = app.store().seen_event(tenant, trigger.id, &hash).await?;
            let duplicate = seen.as_ref().and_then(|seen| duplicate(app, seen));
            duplicate.ok_or_else(|| Error::Unavailable("the event was not the first, and is not there".into()))
        }
        Err(error) => Err(error),
    }
}

/// The answer for an event that was seen, unless that is too long ago.
fn duplicate(app: &App, seen: &Versioned<Event>) -> Option<Received> {
    let event = &seen.value;
    match event.outcome {
        Outcome::Started(started) if event.kept_until > app.now() => {
            Some(Received::Started { started, event_id: event.event_id.clone(), duplicate: true })
        }
        Outcome::Started(_) | Outcome::Filtered | Outcome::Failed(_) => None,
    }
}

async fn note(app: &App, tenant: Tenant, event: &Event) -> Result<()> {
    Ok(app.store().note_event(tenant, event, &EventId::new(event.received_at).to_string()).await?)
}

/// Keeps that an event could not be made into an order: it is not seen, so that it may come again.
async fn failed(app: &App, tenant: Tenant, error: Error, known: impl FnOnce(Outcome) -> Event) -> Result<Received> {
    let problems = if let Error::Invalid(problems) = &error {
        problems.clone()
    } else {
        let field = if let Error::UnknownModel { field, .. } = &error { field.clone() } else { String::new() };
        vec![Problem { field, message: error.to_string() }]
    };
    let said = problems.into_iter().take(TESTED_ITEMS).map(|Problem { field, message }| (field, message)).collect();
    note(app, tenant, &known(Outcome::Failed(said))).await?;
    Ok(Received::Failed(error))
}

/// What an event becomes; `None` when it is none for the trigger.
async fn work(
    app: &App,
    trigger: &Trigger,
    (event_id, at): (&str, Timestamp),
    headers: Map<String, Json>,
    body: Json,
) -> Result<Result<Option<Work>, Vec<Problem>>> {
    if trigger.definition.source == Source::S3 {
        return object::made(app, trigger, (event_id, at), headers, body).await;
    }
    let (trigger, event_id) = (trigger.clone(), event_id.to_owned());
    aside(move || made(&trigger, (&event_id, at), headers, body)).await
}

/// What templates know of an event.
pub(super) fn known(
    trigger: &Trigger,
    (event_id, at): (&str, Timestamp),
    headers: Map<String, Json>,
    body: Json,
) -> Known {
    let of_trigger = json!({"id": trigger.id.prefixed(), "name": trigger.definition.name});
    let of_event = json!({"id": event_id, "received_at": at.rfc3339()});
    Known::of_event([("body", body), ("headers", Json::Object(headers)), ("trigger", of_trigger), ("event", of_event)])
}

/// What an event becomes; `None` when the filter does not hold for it.
fn made(
    trigger: &Trigger,
    (event_id, at): (&str, Timestamp),
    headers: Map<String, Json>,
    body: Json,
) -> Result<Option<Work>, Vec<Problem>> {
    let one = |problem: Problem| vec![problem];
    let definition = &trigger.definition;
    // Of an end, what was said at it, if something was.
    let said = body.get("output").filter(|said| definition.source == Source::Run && !said.is_null());
    let as_it_is = matches!(definition.told, Told::Body).then(|| said.unwrap_or(&body).clone());
    let event = known(trigger, (event_id, at), headers, body);
    if let Some(filter) = &definition.filter
        && !event.holds("filter", filter).map_err(one)?
    {
        return Ok(None);
    }
    Ok(Some(match &definition.told {
        Told::Prompt(prompt) | Told::Each { prompt, .. } => Work::Run(event.prompt(prompt).map_err(one)?),
        Told::Body => Work::Run(match as_it_is {
            Some(Json::Object(fields)) => Prompt::Inputs(fields),
            Some(Json::String(text)) => Prompt::Message(text),
            other => Prompt::Message(other.unwrap_or_default().to_string()),
        }),
        Told::Rows { rows, custom_id, prompt } => {
            let mut items = Vec::new();
            for (index, row) in event.rows("rows", rows).map_err(one)?.into_iter().enumerate() {
                let at = |problem: Problem| {
                    vec![Problem { field: format!("rows[{index}].{}", problem.field), message: problem.message }]
                };
                let own = custom_id.as_ref().map(|own| row.text("custom_id", own)).transpose().map_err(at)?;
                items.push(OrderItem { custom_id: own, prompt: row.prompt(prompt).map_err(at)? });
            }
            Work::Items(items)
        }
    }))
}

/// What a trial comes to.
#[derive(Debug)]
pub enum Tested {
    /// The filter does not hold.
    Filtered,
    /// It would start a run that is told this.
    Run(Prompt),
    /// It would start a batch of so many, of which these are the first.
    Batch(usize, Vec<(Option<String>, Prompt)>),
    /// It could not be made into what the agent is told, or that is nothing for the agent.
    Failed(Vec<Problem>),
}

/// What an event with this body would come to. Nothing is started.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn test(app: &App, caller: &Caller, id: TriggerId, headers: &Headers, body: Json) -> Result<Tested> {
    let trigger = get(app, caller, id).await?;
    let work = match work(app, &trigger, ("test", app.now()), body::shown(headers), body).await? {
        Ok(Some(work)) => work,
        Ok(None) => return Ok(Tested::Filtered),
        Err(problems) => return Ok(Tested::Failed(problems)),
    };
    let order = Order { terms: trigger.definition.terms.clone(), work: work.clone() };
    match order::plan(app, &trigger.mandate.caller(trigger.tenant()), order, trigger.cause(None)).await {
        Ok(_) => {}
        Err(error @ (Error::Unavailable(_) | Error::Internal(_) | Error::RateLimited { .. })) => return Err(error),
        Err(Error::Invalid(problems)) => return Ok(Tested::Failed(problems)),
        Err(error) => {
            return Ok(Tested::Failed(vec![Problem { field: String::new(), message: error.to_string() }]));
        }
    }
    Ok(match work {
        Work::Run(prompt) => Tested::Run(prompt),
        Work::Items(items) => {
            let first = items.iter().take(TESTED_ITEMS).map(|item| (item.custom_id.clone(), item.prompt.clone()));
            Tested::Batch(items.len(), first.collect())
        }
        Work::Rows(_) => Tested::Filtered,
    })
}
