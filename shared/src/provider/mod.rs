//! Model providers that organisations bring themselves: a vendor's account of their own, or a server that speaks a vendor's format. Their
//! keys are sealed for their organisation and id, and opened only for a call; their addresses are reached through the guard alone.

mod check;
mod used;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub(crate) use self::used::{Remembered, Whose, embeds, none_remembered, whose};
pub use self::used::{embed, resolve};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::OrgId,
    idempotency::Claim,
    model::{catalogue::is_model, settings::Vendor},
    random,
    store::{self, Versioned},
    tenant::{Caller, Scope},
};

/// The most providers of an organisation.
pub const PROVIDERS_LIMIT: usize = 100;
/// The longest id, in characters of `A-Z a-z 0-9 . _ -`, of which it begins with a letter or a digit.
pub const ID_LIMIT: usize = 64;
/// The longest name, in characters.
pub const NAME_LIMIT: usize = 200;
/// The longest key, in bytes of printable ASCII.
pub const KEY_LIMIT_BYTES: usize = 8_192;
/// The most models that a provider may be said to have.
pub const MODELS_LIMIT: usize = 200;

/// How often a write is tried again when others write at the same time.
const TRIES: u32 = 40;

/// Whose format a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// OpenAI's chat completions, by itself or by any server.
    OpenAi,
    /// Azure OpenAI by its v1 API, which is OpenAI's format with the key as OpenAI takes it.
    Azure,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Mistral's.
    Mistral,
    /// Amazon Bedrock's Converse API, by API key.
    Bedrock,
    /// OpenRouter's.
    OpenRouter,
    /// Ollama's own.
    Ollama,
}

impl Kind {
    /// Its name, as it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::OpenAi
            | Self::Anthropic
            | Self::Gemini
            | Self::Mistral
            | Self::Bedrock
            | Self::OpenRouter
            | Self::Ollama => self.vendor().prefix(),
        }
    }

    const fn vendor(self) -> Vendor {
        match self {
            Self::OpenAi | Self::Azure => Vendor::OpenAi,
            Self::Anthropic => Vendor::Anthropic,
            Self::Gemini => Vendor::Gemini,
            Self::Mistral => Vendor::Mistral,
            Self::Bedrock => Vendor::Bedrock,
            Self::OpenRouter => Vendor::OpenRouter,
            Self::Ollama => Vendor::Ollama,
        }
    }

    /// Whether it has no address that is the same for everybody.
    const fn needs_url(self) -> bool {
        matches!(self, Self::Azure | Self::Ollama)
    }
}

/// A provider of an organisation's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// What stands before the `/` of its models' names.
    pub id: String,
    pub(crate) org: OrgId,
    /// What its owner calls it.
    pub name: String,
    /// Whose format it speaks.
    pub kind: Kind,
    sealed_key: Option<String>,
    /// The models that can be called, as it spells them; with none, any.
    pub available_models: Vec<String>,
    /// Where it is, unless where the vendor is.
    pub custom_url: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Provider {
    /// Whether it has a key.
    #[must_use]
    pub const fn has_key(&self) -> bool {
        self.sealed_key.is_some()
    }

    /// The models that are known of it, as it spells them: those that it was said to have, or those of its vendor with a known price. Of a
    /// server with an address of its own nothing is known.
    #[must_use]
    pub fn known_models(&self, app: &App) -> Vec<String> {
        if self.available_models.is_empty() && self.custom_url.is_none() {
            return app.models().priced(self.kind.vendor());
        }
        self.available_models.clone()
    }

    /// Whether that model of it can be called.
    fn offers(&self, model: &str) -> bool {
        is_model(model) && (self.available_models.is_empty() || self.available_models.iter().any(|one| one == model))
    }
}

/// What becomes of a key.
#[derive(Debug, Clone, Default)]
pub enum NewKey {
    /// It stays, if there is one.
    #[default]
    Kept,
    /// There is none any more.
    Removed,
    /// It is this one from now on.
    Set(SecretString),
}

/// What a provider shall be. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct NewProvider {
    /// What its owner calls it.
    pub name: String,
    /// Whose format it speaks.
    pub kind: Kind,
    /// Its key.
    pub api_key: NewKey,
    /// See [`Provider::available_models`].
    pub available_models: Vec<String>,
    /// See [`Provider::custom_url`].
    pub custom_url: Option<String>,
}

/// Makes a provider of that id; without one, its id is made of its name. `claim` is the claim with the answer for it.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Conflict`] when there is one of that id, or beyond [`PROVIDERS_LIMIT`]; [`Error::InProgress`] when a request with
/// the same idempotency key was faster; [`Error::Forbidden`].
pub async fn create(
    app: &App,
    caller: &Caller,
    id: Option<String>,
    new: NewProvider,
    claim: impl Fn(&Provider) -> Claim,
) -> Result<Provider> {
    caller.require(Scope::SecretsWrite)?;
    check::new(app, id.as_deref(), &new)?;
    let tenant = caller.tenant();
    for attempt in 1..=TRIES {
        let all = app.store().providers_to_add_to(tenant).await?;
        if all.providers.len() >= PROVIDERS_LIMIT {
            return Err(Error::Conflict(format!(
                "an organisation has at most {PROVIDERS_LIMIT} providers: delete one"
            )));
        }
        let taken = |id: &str| all.providers.iter().any(|provider| provider.id == id);
        let own_id = match &id {
            Some(id) if taken(id) => return Err(Error::Conflict(format!("there is a provider '{id}' already"))),
            Some(id) => id.clone(),
            None => check::made_id(&new.name, taken),
        };
        let now = app.now();
        let provider = made(app, tenant.org(), own_id, new.clone(), None, (now, now))?;
        match app.store().save_new_provider(&provider, &all, claim(&provider).write(app, None)?).await {
            Ok(()) => {
                app.remembered_providers().forget(&(tenant.org(), provider.id.clone()));
                return Ok(provider);
            }
            Err(store::Error::Conflict { index: 0 | 1 }) => random::pause(attempt).await,
            Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// Changes all of a provider but its id. A key that is kept stays with the address that it was given for.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`]; [`Error::Forbidden`].
pub async fn replace(app: &App, caller: &Caller, id: &str, new: NewProvider) -> Result<Provider> {
    caller.require(Scope::SecretsWrite)?;
    for attempt in 1..=TRIES {
        let Versioned { value: old, rev } = own(app, caller, id).await?;
        check::change(app, &old, &new)?;
        let times = (old.created_at, app.now());
        let provider = made(app, old.org, old.id, new.clone(), old.sealed_key, times)?;
        match app.store().save_provider(&provider, rev).await {
            Ok(()) => {
                app.remembered_providers().forget(&(provider.org, id.to_owned()));
                return Ok(provider);
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// Deletes a provider. Runs with a model of it that are under way cannot call it any more.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<()> {
    caller.require(Scope::SecretsWrite)?;
    for attempt in 1..=TRIES {
        let found = own(app, caller, id).await?;
        match app.store().delete_provider(caller.tenant(), id, found.rev).await {
            Ok(()) => {
                app.remembered_providers().forget(&(caller.tenant().org(), id.to_owned()));
                return Ok(());
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy())
}

/// The organisation's providers by id: at most [`PROVIDERS_LIMIT`].
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<Provider>> {
    caller.require(Scope::AgentsRead)?;
    Ok(app.store().providers(caller.tenant()).await?)
}

/// The provider of that id.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Forbidden`].
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<Provider> {
    caller.require(Scope::AgentsRead)?;
    Ok(own(app, caller, id).await?.value)
}

async fn own(app: &App, caller: &Caller, id: &str) -> Result<Versioned<Provider>> {
    let found = if check::is_id(id) { app.store().provider(caller.tenant(), id).await? } else { None };
    found.ok_or(Error::NotFound("provider"))
}

fn made(
    app: &App,
    org: OrgId,
    id: String,
    new: NewProvider,
    kept: Option<String>,
    (created_at, updated_at): (Timestamp, Timestamp),
) -> Result<Provider> {
    let NewProvider { name, kind, api_key, available_models, custom_url } = new;
    let sealed_key = match api_key {
        NewKey::Kept => kept,
        NewKey::Removed => None,
        NewKey::Set(key) => Some(app.sealer().seal_provider_key(org, &id, &key)?),
    };
    Ok(Provider { id, org, name, kind, sealed_key, available_models, custom_url, created_at, updated_at })
}

fn busy() -> Error {
    Error::Unavailable("providers are being changed by others all the time".into())
}
