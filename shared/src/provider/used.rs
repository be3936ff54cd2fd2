//! How providers are used: whose a model is by its name, what it costs, how it is called.

use std::sync::Arc;

use super::{Provider, check};
use crate::{
    app::App,
    error::{Error, Result},
    id::OrgId,
    model::{
        Answer, Embedded, FaultKind, ModelFault, ModelName, Request,
        catalogue::Own,
        price::Price,
        settings::{Access, Vendor},
    },
    remembered, store,
    tenant::Tenant,
};

/// How long a process goes by a provider that it has read, in milliseconds.
const REMEMBERED_MS: u64 = 3_000;

/// The providers that this process has read lately, by organisation and id. That there is none is not remembered.
pub(crate) type Remembered = remembered::Remembered<(OrgId, String), Arc<Provider>>;

/// None yet.
pub(crate) fn none_remembered() -> Remembered {
    Remembered::for_ms(REMEMBERED_MS)
}

/// Who serves a model.
#[derive(Debug, Clone)]
pub(crate) enum Whose {
    /// The deployment, if anybody: the name is one of its vendors' or an alias.
    Deployment,
    /// The organisation's own provider.
    Organisation(Arc<Provider>),
    /// Nobody: the organisation has no provider of that id, or not any more.
    Nobody,
}

/// Who serves the model of that name for this organisation, as it was at most 3 seconds ago. For models of the deployment nothing is read.
pub(crate) async fn whose(app: &App, tenant: Tenant, name: &str) -> store::Result<Whose> {
    let Some((id, _)) = name.split_once('/').filter(|(id, _)| Vendor::from_prefix(id).is_none()) else {
        return Ok(Whose::Deployment);
    };
    if !check::is_id(id) {
        return Ok(Whose::Nobody);
    }
    let now = app.now();
    if let Some(provider) = app.remembered_providers().get(&(tenant.org(), id.to_owned()), now) {
        return Ok(Whose::Organisation(provider));
    }
    let Some(found) = app.store().provider(tenant, id).await? else { return Ok(Whose::Nobody) };
    let provider = Arc::new(found.value);
    app.remembered_providers().put((provider.org, provider.id.clone()), now, Arc::clone(&provider));
    Ok(Whose::Organisation(provider))
}

/// The model of this name, if the organisation can call it. `field` is where the name came from.
///
/// # Errors
/// [`Error::UnknownModel`] with the names that would do: of its provider, when there is one.
pub async fn resolve(app: &App, tenant: Tenant, field: &str, name: &str) -> Result<ModelName> {
    let unknown = match app.models().resolve(name) {
        Ok(model) => return Ok(model),
        Err(unknown) => unknown,
    };
    let (id, model) = name.split_once('/').unwrap_or_default();
    let known = match whose(app, tenant, name).await? {
        Whose::Organisation(provider) if provider.offers(model) => return Ok(ModelName(name.to_owned())),
        Whose::Organisation(provider) => {
            provider.known_models(app).iter().map(|model| format!("{id}/{model}")).collect()
        }
        Whose::Deployment | Whose::Nobody => unknown.known,
    };
    Err(Error::UnknownModel { field: field.to_owned(), name: name.to_owned(), known, variable: unknown.variable })
}

/// Whether whoever serves the model of that name for this organisation has embeddings.
pub(crate) async fn embeds(app: &App, tenant: Tenant, name: &ModelName) -> store::Result<bool> {
    Ok(match whose(app, tenant, name.as_str()).await? {
        Whose::Deployment => app.models().embeds(name),
        Whose::Organisation(provider) => provider.kind.vendor().has_embeddings(),
        Whose::Nobody => false,
    })
}

/// The texts as vectors, asked for once: see [`crate::model::catalogue::Models::embed`].
///
/// # Errors
/// What the failure means; that the provider's row cannot be read is a passing one.
pub async fn embed(app: &App, tenant: Tenant, name: &ModelName, texts: &[String]) -> Result<Embedded, ModelFault> {
    let unread = |_| ModelFault::new(FaultKind::Busy, "the provider cannot be read at the moment".to_owned());
    whose(app, tenant, name.as_str()).await.map_err(unread)?.embed(app, name, texts).await
}

impl Whose {
    /// What the model of that name costs, in whose hands it is; `None` when that is not known, as of every server with an address of its
    /// own.
    pub(crate) fn price(&self, app: &App, name: &ModelName) -> Option<Price> {
        match self {
            Self::Deployment => app.models().price(name),
            Self::Organisation(provider) if provider.custom_url.is_none() => {
                app.models().price_of(provider.kind.vendor(), model(name))
            }
            Self::Organisation(_) | Self::Nobody => None,
        }
    }

    /// What may be done about a price that is not known.
    pub(crate) fn price_hint(&self) -> &'static str {
        match self {
            Self::Organisation(provider) if provider.custom_url.is_some() => {
                "nobody knows what a provider with a custom_url costs"
            }
            Self::Deployment | Self::Organisation(_) | Self::Nobody => "set its price in MUSTER_PRICES",
        }
    }

    /// The texts as vectors, asked for once: see [`crate::model::catalogue::Models::embed`].
    ///
    /// # Errors
    /// What the failure means. What cannot be called any more refuses.
    pub(crate) async fn embed(&self, app: &App, name: &ModelName, texts: &[String]) -> Result<Embedded, ModelFault> {
        let timeout_ms = app.config().model_timeout_ms;
        match self {
            Self::Deployment => app.models().embed(name, texts, timeout_ms).await,
            Self::Organisation(provider) => {
                let own = provider.own(app, name)?;
                let guard = app.guard().of(provider.org);
                Box::pin(app.models().embed_own(&guard, &own, texts, timeout_ms)).await
            }
            Self::Nobody => Err(gone(name)),
        }
    }

    /// Calls the model once: see [`crate::model::catalogue::Models::call`].
    ///
    /// # Errors
    /// What the failure means for the run. What cannot be called any more refuses.
    pub(crate) async fn call(&self, app: &App, request: &Request) -> Result<Answer, ModelFault> {
        match self {
            Self::Deployment => app.models().call(request).await,
            Self::Organisation(provider) => {
                let own = provider.own(app, &request.model)?;
                let guard = app.guard().of(provider.org);
                Box::pin(app.models().call_own(&guard, &own, request)).await
            }
            Self::Nobody => Err(gone(&request.model)),
        }
    }
}

impl Provider {
    /// What a call of that model of it needs.
    fn own<'a>(&'a self, app: &App, name: &'a ModelName) -> Result<Own<'a>, ModelFault> {
        let (id, model) = (&self.id, model(name));
        if !self.offers(model) {
            return Err(refused(format!("the provider '{id}' does not have the model '{model}' any more")));
        }
        let open = |sealed: &String| app.sealer().open_provider_key(self.org, id, sealed);
        let key = self.sealed_key.as_ref().map(open).transpose();
        let key =
            key.map_err(|_| refused(format!("the api_key of the provider '{id}' cannot be opened: put it again")))?;
        let access = Access { key, base_url: self.custom_url.clone().map(Into::into) };
        Ok(Own { org: self.org, id, vendor: self.kind.vendor(), access, model })
    }
}

fn model(name: &ModelName) -> &str {
    name.as_str().split_once('/').map_or("", |(_, model)| model)
}

fn gone(name: &ModelName) -> ModelFault {
    let id = name.as_str().split('/').next().unwrap_or_default();
    refused(format!("the provider '{id}' is not there any more"))
}

fn refused(message: String) -> ModelFault {
    ModelFault::new(FaultKind::Refused, message)
}
