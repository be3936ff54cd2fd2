//! Triggers: events from outside that start runs and batches. What one says is here, and what its owner does with it; `receive` is what happens
//! to an event, `scheme` how its sender proves itself.

mod body;
mod buckets;
mod chain;
mod check;
mod definition;
mod object;
mod receive;
mod scheme;

use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub(crate) use self::chain::{Link, go_on};
pub use self::{
    buckets::Buckets,
    chain::{End, Ends, LINKS_FROM_LIMIT, LINKS_LIMIT},
    definition::{Cotool, Definition, Told},
    object::Objects,
    receive::{Came, Event, Outcome, Received, Tested, receive, received_from_bus, test},
    scheme::{EVENT_ID_LIMIT_BYTES, Headers, Source, TOLERANCE_S},
};
pub use crate::template::{RENDERED_LIMIT_BYTES, ROWS_LIMIT, TEMPLATES_LIMIT};
use crate::{
    agent,
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{AgentId, OrgId, TriggerId},
    idempotency::Claim,
    page::{Page, PageRequest},
    random,
    run::{By, Cause, Chain},
    seal, store,
    store::Versioned,
    tenant::{Caller, Mandate, Scope, Tenant},
};

/// The most triggers of an organisation.
pub const TRIGGERS_LIMIT: usize = 1_000;
/// How long the secret before holds when it was rotated, in milliseconds: a day.
pub const OVERLAP_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest name of a trigger, and the longest description, in characters.
pub const NAME_LIMIT: usize = 200;
/// See [`NAME_LIMIT`].
pub const DESCRIPTION_LIMIT: usize = 2_000;
/// The largest body of an event, in bytes.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// How often a write is tried again when others write at the same time.
const TRIES: u32 = 20;

/// A trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its id.
    pub id: TriggerId,
    pub(crate) org: OrgId,
    /// Who made it, or changed it last: what it starts is in their name.
    mandate: Mandate,
    /// What it says.
    pub definition: Definition,
    /// Sealed; none where the sender needs none.
    secret: Option<String>,
    /// The one before, and until when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_before: Option<(String, Timestamp)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Trigger {
    const fn cause(&self, chain: Option<Chain>) -> Cause {
        Cause { by: By::Trigger(self.id), chain }
    }

    fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    /// Whether it has a secret.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Until when the secret before the last rotation holds too.
    #[must_use]
    pub fn overlap_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.secret_before.as_ref().map(|(_, until)| *until).filter(|until| *until > now)
    }

    /// The secrets that hold now.
    fn secrets(&self, app: &App) -> Result<Vec<SecretString>> {
        let before = self.secret_before.as_ref().filter(|(_, until)| *until > app.now()).map(|(sealed, _)| sealed);
        let open = |sealed: &String| app.sealer().open_trigger_secret(self.org, self.id, sealed);
        Ok(self.secret.iter().chain(before).map(open).collect::<std::result::Result<_, _>>()?)
    }
}

/// A trigger, and its secret if it has one: this is when it is told.
#[derive(Debug)]
pub struct Shown {
    /// The trigger.
    pub trigger: Trigger,
    /// Its secret.
    pub secret: Option<SecretString>,
}

/// Makes a trigger. Without a secret of the sender's it gets one. `claim` is the claim with the answer for it.
///
/// # Errors
/// [`Error::Invalid`] naming what is wrong; [`Error::NotFound`] for the agent; [`Error::UnknownModel`]; [`Error::Conflict`] beyond
/// [`TRIGGERS_LIMIT`]; [`Error::InProgress`] when a request with the same idempotency key was faster; [`Error::Forbidden`].
pub async fn create(
    app: &App,
    caller: &Caller,
    definition: Definition,
    secret: Option<SecretString>,
    claim: impl Fn(&Shown) -> Claim,
) -> Result<Shown> {
    caller.require(Scope::RunsWrite)?;
    let (tenant, now) = (caller.tenant(), app.now());
    let (id, source) = (TriggerId::new(now), definition.source);
    Box::pin(check::all(app, caller, id, &definition)).await?;
    let secret = new_secret(source, secret)?;
    let sealed =
        secret.as_ref().map(|secret| app.sealer().seal_trigger_secret(tenant.org(), id, secret)).transpose()?;
    let trigger = Trigger {
        id,
        org: tenant.org(),
        mandate: caller.mandate(),
        definition,
        secret: sealed,
        secret_before: None,
        created_at: now,
        updated_at: now,
    };
    let shown = Shown { trigger, secret };
    for attempt in 1..=TRIES {
        let counted = app.store().triggers_to_add_to(tenant).await?;
        if counted.triggers >= TRIGGERS_LIMIT {
            return Err(Error::Conflict(format!("an organisation has at most {TRIGGERS_LIMIT} triggers: delete one")));
        }
        chain::check_room(&counted.gate.links, &shown.trigger)?;
        match app.store().save_new_trigger(&shown.trigger, &counted, claim(&shown).write(app, None)?).await {
            Ok(()) => {
                chain::changed(app, &shown.trigger);
                return Ok(shown);
            }
            Err(store::Error::Conflict { index: 0 }) => random::pause(attempt).await,
            Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// The secret that was brought, or a new one; none where none is needed.
fn new_secret(source: Source, brought: Option<SecretString>) -> Result<Option<SecretString>> {
    match brought {
        Some(secret) => {
            scheme::check_secret(source, &secret).map_err(|message| Error::invalid("secret", message))?;
            Ok(Some(secret))
        }
        None if !source.by_http() => Ok(None),
        None => suggested_secret(source).map(Some),
    }
}

/// The trigger.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn get(app: &App, caller: &Caller, id: TriggerId) -> Result<Trigger> {
    caller.require(Scope::RunsRead)?;
    Ok(own(app, caller, id).await?.value)
}

/// The same for who changes it, whatever the caller may look at.
///
/// # Errors
/// As [`get`].
pub async fn found(app: &App, caller: &Caller, id: TriggerId) -> Result<Trigger> {
    caller.require(Scope::RunsWrite)?;
    Ok(own(app, caller, id).await?.value)
}

/// A new secret as the source wants it, which nobody remembers.
///
/// # Errors
/// [`Error::Internal`] when the system gives no randomness.
pub fn suggested_secret(source: Source) -> Result<SecretString> {
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random).map_err(|_| seal::Failure::Seal)?;
    Ok(scheme::secret_of(source, &random))
}

async fn own(app: &App, caller: &Caller, id: TriggerId) -> Result<Versioned<Trigger>> {
    app.store().trigger(caller.tenant(), id).await?.ok_or(Error::NotFound("trigger"))
}

/// The organisation's triggers, newest first.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list; [`Error::Forbidden`].
pub async fn list(app: &App, caller: &Caller, page: &PageRequest) -> Result<Page<Trigger>> {
    caller.require(Scope::RunsRead)?;
    let before = page.position("triggers")?;
    let (triggers, next) = app.store().triggers(caller.tenant(), before, page.limit).await?;
    Ok(Page::new(triggers, next.as_deref(), "triggers"))
}

/// All triggers of an agent, newest first: at most [`TRIGGERS_LIMIT`].
///
/// # Errors
/// [`Error::NotFound`] for the agent; [`Error::Forbidden`].
pub async fn of_agent(app: &App, caller: &Caller, agent_id: AgentId) -> Result<Vec<Trigger>> {
    caller.require(Scope::RunsRead)?;
    agent::current(app, caller.tenant(), agent_id).await?;
    let all = all(app, caller).await?.into_iter();
    Ok(all.filter(|trigger| trigger.definition.terms.agent_id == agent_id).collect())
}

/// All triggers of the organisation, newest first: at most [`TRIGGERS_LIMIT`].
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn all(app: &App, caller: &Caller) -> Result<Vec<Trigger>> {
    caller.require(Scope::RunsRead)?;
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let (page, next) = app.store().triggers(caller.tenant(), before, crate::page::LIMIT).await?;
        all.extend(page);
        match next {
            Some(next) => before = Some(next),
            None => return Ok(all),
        }
    }
}

/// Changes what a trigger says. Its source stays. What it starts from then on is in the caller's name.
///
/// # Errors
/// As [`create`], and [`Error::NotFound`] for the trigger.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: TriggerId,
    change: impl Fn(&Definition) -> Result<Definition>,
) -> Result<Trigger> {
    caller.require(Scope::RunsWrite)?;
    for attempt in 1..=TRIES {
        let Versioned { value: old, rev } = own(app, caller, id).await?;
        let definition = change(&old.definition)?;
        if definition == old.definition {
            return Ok(old);
        }
        // To switch one off is allowed whatever has become of its agent.
        let only_off = Definition { enabled: old.definition.enabled, ..definition.clone() } == old.definition;
        if !only_off || definition.enabled {
            Box::pin(check::all(app, caller, id, &definition)).await?;
        }
        let trigger = Trigger { definition, mandate: caller.mandate(), updated_at: app.now(), ..old };
        match chain::save(app, &trigger, rev).await {
            Ok(()) => return Ok(trigger),
            Err(Error::InProgress) => random::pause(attempt).await,
            Err(error) => return Err(error),
        }
    }
    Err(busy())
}

/// Gives a trigger another secret; the one before holds for [`OVERLAP_MS`] more. `claim` is the claim with the answer for it.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`]; [`Error::Conflict`] when it has none; [`Error::InProgress`] as [`create`]; [`Error::Forbidden`].
pub async fn rotate_secret(
    app: &App,
    caller: &Caller,
    id: TriggerId,
    secret: Option<SecretString>,
    claim: impl Fn(&Shown) -> Claim,
) -> Result<Shown> {
    caller.require(Scope::RunsWrite)?;
    for attempt in 1..=TRIES {
        let Versioned { value: old, rev } = own(app, caller, id).await?;
        let (source, now) = (old.definition.source, app.now());
        let Some(secret) = new_secret(source, secret.clone())? else {
            return Err(Error::Conflict(format!("a trigger of the source {} has no secret", source.name())));
        };
        let sealed = app.sealer().seal_trigger_secret(old.org, id, &secret)?;
        let secret_before = old.secret.map(|sealed| (sealed, now.plus_ms(OVERLAP_MS)));
        let trigger = Trigger { secret: Some(sealed), secret_before, updated_at: now, ..old };
        let shown = Shown { trigger, secret: Some(secret) };
        match app.store().save_trigger(&shown.trigger, rev, claim(&shown).write(app, None)?).await {
            Ok(()) => return Ok(shown),
            Err(store::Error::Conflict { index: 0 }) => random::pause(attempt).await,
            Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// Deletes a trigger: no event finds it any more. What it has started goes on.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn delete(app: &App, caller: &Caller, id: TriggerId) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    for attempt in 1..=TRIES {
        let found = own(app, caller, id).await?;
        let linked = found.value.definition.source == Source::Run;
        let gate = if linked { Some(app.store().trigger_gate(caller.tenant()).await?) } else { None };
        match app.store().delete_trigger(caller.tenant(), id, found.rev, gate.as_ref()).await {
            Ok(()) => {
                chain::changed(app, &found.value);
                return Ok(());
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// What became of a trigger's events, newest first: for 90 days, and longer of those that started something where nothing says how old they are.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`] for a cursor of another list; [`Error::Forbidden`].
pub async fn events(app: &App, caller: &Caller, id: TriggerId, page: &PageRequest) -> Result<Page<Event>> {
    let trigger = get(app, caller, id).await?;
    let of = format!("trigger_events/{id}");
    let before = page.position(&of)?;
    let (events, next) = app.store().trigger_events(trigger.tenant(), id, before, page.limit).await?;
    Ok(Page::new(events, next.as_deref(), &of))
}

fn busy() -> Error {
    Error::Unavailable("triggers are being changed by others all the time".into())
}
