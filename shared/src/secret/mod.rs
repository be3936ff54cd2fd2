//! Secrets: values that tools send and nobody reads. Kept sealed for their organisation and name, and opened only to be put
//! into what is being sent; see [`open`].

mod escapes;
mod redaction;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
pub use template::{Malformed, names};

pub(crate) use self::redaction::Redaction;
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    page::{Page, PageRequest},
    random, seal, store,
    tenant::{Caller, Scope, Tenant},
};

/// The longest name, in characters of `A-Z a-z 0-9 _ -`.
pub const NAME_LIMIT: usize = 64;
/// The longest value, in bytes.
pub const VALUE_LIMIT_BYTES: usize = 8_192;
/// The most secrets of an organisation.
pub const SECRETS_LIMIT: usize = 200;

/// How often a change is tried again when others change secrets at the same time.
const TRIES: u32 = 40;

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// What tools call it by.
    pub name: String,
    /// When it was put last.
    pub updated_at: Timestamp,
}

/// Keeps the value under this name, in the place of the one before.
///
/// # Errors
/// [`Error::Invalid`] for a name or value that is none; [`Error::Conflict`] beyond [`SECRETS_LIMIT`]; [`Error::Forbidden`].
pub async fn put(app: &App, caller: &Caller, name: &str, value: &SecretString) -> Result<Secret> {
    caller.require(Scope::SecretsWrite)?;
    check(name, value.expose_secret())?;
    let sealed = app.sealer().seal_secret(caller.tenant().org(), name, value)?;
    for attempt in 1..=TRIES {
        let names = app.store().secret_names(caller.tenant()).await?;
        if !names.all().contains_key(name) && names.all().len() >= SECRETS_LIMIT {
            return Err(Error::Conflict(format!("an organisation has at most {SECRETS_LIMIT} secrets: delete one")));
        }
        let now = app.now();
        match app.store().save_secret(names, name, sealed.clone(), now).await {
            Ok(()) => return Ok(Secret { name: name.to_owned(), updated_at: now }),
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// The organisation's secrets by name.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list; [`Error::Forbidden`].
pub async fn list(app: &App, caller: &Caller, page: &PageRequest) -> Result<Page<Secret>> {
    caller.require(Scope::SecretsWrite)?;
    let after = page.position("secrets")?;
    let names = app.store().secret_names(caller.tenant()).await?;
    let rest = names.all().iter().filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
    let secret = |(name, at): (&String, &Timestamp)| Secret { name: name.clone(), updated_at: *at };
    let mut entries: Vec<Secret> = rest.map(secret).take(page.limit.saturating_add(1)).collect();
    let more = entries.len() > page.limit;
    entries.truncate(page.limit);
    let last = entries.last().filter(|_| more).map(|last| last.name.clone());
    Ok(Page::new(entries, last.as_deref(), "secrets"))
}

/// Deletes the secret: what names it is not filled any more.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn delete(app: &App, caller: &Caller, name: &str) -> Result<()> {
    caller.require(Scope::SecretsWrite)?;
    for attempt in 1..=TRIES {
        let names = app.store().secret_names(caller.tenant()).await?;
        if !names.all().contains_key(name) {
            return Err(Error::NotFound("secret"));
        }
        match app.store().delete_secret(names, name).await {
            Ok(()) => return Ok(()),
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// Why a template was not filled. `Display` holds names that its author wrote, and never a value.
#[derive(Debug, thiserror::Error)]
pub enum Unfilled {
    /// The template is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The organisation has no secret of this name.
    #[error("there is no secret named '{name}'")]
    Missing {
        /// The name.
        name: String,
    },
    /// The secret was kept under another pepper, or its row was changed or moved: it has to be put again.
    #[error("the secret '{name}' cannot be opened: put it again")]
    Closed {
        /// The name.
        name: String,
        /// Why.
        source: seal::Failure,
    },
    /// The store does not answer; trying again is right.
    #[error("secrets cannot be read at the moment")]
    Store(#[from] store::Error),
}

/// The secrets that some templates name, as they are at this moment. `Debug` shows no value.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    values: BTreeMap<String, SecretString>,
}

/// Opens the secrets that these templates name: one read for all.
pub(crate) async fn open(
    app: &App,
    tenant: Tenant,
    templates: impl IntoIterator<Item = &str>,
) -> Result<Opened, Unfilled> {
    let mut wanted = BTreeSet::new();
    for template in templates {
        wanted.extend(names(template)?);
    }
    let wanted: Vec<&str> = wanted.into_iter().collect();
    let sealed = if wanted.is_empty() { Vec::new() } else { app.store().sealed_secrets(tenant, &wanted).await? };
    let mut values = BTreeMap::new();
    for (name, sealed) in wanted.into_iter().zip(sealed) {
        let sealed = sealed.ok_or_else(|| Unfilled::Missing { name: name.to_owned() })?;
        let opened = app.sealer().open_secret(tenant.org(), name, &sealed);
        values.insert(name.to_owned(), opened.map_err(|source| Unfilled::Closed { name: name.to_owned(), source })?);
    }
    Ok(Opened { values })
}

impl Opened {
    /// The template with every `{{secret:NAME}}` replaced by the secret's value.
    pub(crate) fn fill(&self, template: &str) -> Result<SecretString, Malformed> {
        template::filled(template, &self.values)
    }

    /// What takes these secrets out of what a tool says that was sent them.
    pub(crate) fn redaction(&self) -> Redaction {
        Redaction::of(self.values.values().map(ExposeSecret::expose_secret))
    }
}

/// What may be a name.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(plain)
}

/// A value has to be fit for a header.
fn check(name: &str, value: &str) -> Result<()> {
    if !is_name(name) {
        return Err(Error::invalid("name", format!("must be 1 to {NAME_LIMIT} of A-Z a-z 0-9 _ -")));
    }
    if !(1..=VALUE_LIMIT_BYTES).contains(&value.len()) {
        return Err(Error::invalid("value", format!("must be 1 to {VALUE_LIMIT_BYTES} bytes long")));
    }
    if value.chars().any(|character| character.is_control() && character != '\t') {
        return Err(Error::invalid("value", "must have no line breaks and no control characters but tabs"));
    }
    Ok(())
}

fn busy() -> Error {
    Error::Unavailable("secrets are being changed by others all the time".into())
}

#[cfg(all(test, feature = "embedded"))]
mod tests;
