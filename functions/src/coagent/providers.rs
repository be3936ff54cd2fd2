//! Model providers: those that the organisation brings, made, listed, looked at, changed and deleted; and, only to be looked at, those of the
//! deployment. What is wrong with a body is said without repeating any of it, since a key may stand where it should not.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use shared::{
    App, Caller, Error, Result, Scope,
    error::Problem,
    model::settings::Vendor,
    provider::{self, Kind, NewKey, NewProvider, Provider},
};

use crate::{Request, Response, auth, claims, response};

/// What a body may have in it.
const FIELDS: [&str; 6] = ["name", "type", "id", "api_key", "available_models", "custom_url"];

/// Whose format a provider speaks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TypeView {
    OpenAi,
    Azure,
    Anthropic,
    Gemini,
    Mistral,
    Bedrock,
    OpenRouter,
    Ollama,
}

impl From<TypeView> for Kind {
    fn from(view: TypeView) -> Self {
        match view {
            TypeView::OpenAi => Self::OpenAi,
            TypeView::Azure => Self::Azure,
            TypeView::Anthropic => Self::Anthropic,
            TypeView::Gemini => Self::Gemini,
            TypeView::Mistral => Self::Mistral,
            TypeView::Bedrock => Self::Bedrock,
            TypeView::OpenRouter => Self::OpenRouter,
            TypeView::Ollama => Self::Ollama,
        }
    }
}

/// What a provider shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderBody {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// `openai` is any server of its format, with its address in `custom_url`; `azure` is Azure's v1 API, whose models are called by the names of
    /// their deployments; `bedrock` takes an API key.
    #[serde(rename = "type")]
    kind: TypeView,
    /// What stands before the `/` of its models' names: 1 to 64 of `A-Z a-z 0-9 . _ -`, and none of the deployment's own (`openai`, `demo`, …). Made
    /// of the name unless given. It cannot be changed.
    #[schemars(length(min = 1, max = 64))]
    id: Option<String>,
    /// Kept sealed, and never shown again. In a change, one that is left out stays, and `null` or an empty one takes it away; a change of
    /// `type` or `custom_url` has to say it.
    #[schemars(with = "Option<String>", length(max = 8_192))]
    #[serde(default, deserialize_with = "key")]
    api_key: NewKey,
    /// The models that can be called, as the provider spells them: at most 200. None is any.
    #[schemars(length(max = 200))]
    #[serde(default)]
    available_models: Option<Vec<String>>,
    /// Its address, unless it is the vendor's own: with the version in it or not, as `https://llm.example.com/v1`. It must lead to public
    /// addresses, and beyond them only where the operator allows it. `azure` and `ollama` need one.
    #[schemars(length(max = 8_192))]
    custom_url: Option<String>,
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NewKey, D::Error> {
    let given = Option::<String>::deserialize(deserializer)?.filter(|key| !key.is_empty());
    Ok(given.map_or(NewKey::Removed, |key| NewKey::Set(SecretString::from(key))))
}

impl ProviderBody {
    fn read(request: &Request) -> Result<(Option<String>, NewProvider)> {
        let Self { name, kind, id, api_key, available_models, custom_url } = request.json().map_err(unsaid)?;
        let available_models = available_models.unwrap_or_default();
        Ok((id, NewProvider { name, kind: kind.into(), api_key, available_models, custom_url }))
    }
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChangedView {
    id: String,
    name: String,
    message: &'static str,
}

/// Who brings a provider.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SourceView {
    Organisation,
    /// It can only be looked at: whoever runs this deployment has set it up.
    Deployment,
}

/// A provider, without its key.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProviderView {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    source: SourceView,
    /// Whether it has an `api_key`; `null` for the deployment's.
    has_api_key: Option<bool>,
    /// The models that can be called; none is any.
    available_models: Vec<String>,
    /// `null` when it is the vendor's own, and for the deployment's.
    custom_url: Option<String>,
    /// `null` for the deployment's.
    created_at: Option<String>,
    /// `null` for the deployment's.
    updated_at: Option<String>,
}

impl From<Provider> for ProviderView {
    fn from(provider: Provider) -> Self {
        let has_api_key = Some(provider.has_key());
        let Provider { id, name, kind, available_models, custom_url, created_at, updated_at, .. } = provider;
        Self {
            id,
            name,
            kind: kind.name(),
            source: SourceView::Organisation,
            has_api_key,
            available_models,
            custom_url,
            created_at: Some(created_at.rfc3339_seconds()),
            updated_at: Some(updated_at.rfc3339_seconds()),
        }
    }
}

impl From<Vendor> for ProviderView {
    fn from(vendor: Vendor) -> Self {
        let name = vendor.prefix();
        Self {
            id: name.to_owned(),
            name: name.to_owned(),
            kind: name,
            source: SourceView::Deployment,
            has_api_key: None,
            available_models: Vec::new(),
            custom_url: None,
            created_at: None,
            updated_at: None,
        }
    }
}

/// The organisation's providers by id, and then the deployment's.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProvidersView {
    providers: Vec<ProviderView>,
}

/// The models that are known of a provider.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProviderModelsView {
    provider_id: String,
    /// As the provider spells them, and as `model_name` takes them.
    models: Vec<String>,
}

pub(super) async fn list_providers(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let own = provider::list(app, &caller).await?.into_iter().map(ProviderView::from);
    let all = own.chain(app.models().vendors().into_iter().map(ProviderView::from));
    Ok(response::ok(&ProvidersView { providers: all.collect() }))
}

pub(super) async fn create_provider(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::SecretsWrite, async |claim| {
        let (id, new) = ProviderBody::read(&request)?;
        let answer = |provider: &Provider| response::created(&changed(provider, "the provider is made"));
        let claim = |provider: &Provider| claims::answered(claim.clone(), &answer(provider));
        Ok(answer(&provider::create(app, &caller, id, new, claim).await?))
    })
    .await
}

pub(super) async fn get_provider(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    Ok(response::ok(&match found(app, &caller, &request).await? {
        Found::Own(provider) => ProviderView::from(provider),
        Found::Deployments(vendor) => ProviderView::from(vendor),
    }))
}

pub(super) async fn update_provider(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.parameter("provider_id")?;
    caller.require(Scope::SecretsWrite)?;
    refuse_deployments(app, id)?;
    let (said, new) = ProviderBody::read(&request)?;
    if said.is_some_and(|said| said != id) {
        return Err(Error::invalid("id", "must be that of the path, or left out"));
    }
    let provider = provider::replace(app, &caller, id, new).await?;
    Ok(response::ok(&changed(&provider, "the provider is changed")))
}

pub(super) async fn delete_provider(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id = request.parameter("provider_id")?;
    caller.require(Scope::SecretsWrite)?;
    refuse_deployments(app, id)?;
    provider::delete(app, &caller, id).await?;
    Ok(response::no_content())
}

pub(super) async fn list_provider_models(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let models = match found(app, &caller, &request).await? {
        Found::Own(provider) => provider.known_models(app),
        Found::Deployments(vendor) => app.models().priced(vendor),
    };
    Ok(response::ok(&ProviderModelsView { provider_id: request.parameter("provider_id")?.to_owned(), models }))
}

fn changed(provider: &Provider, message: &'static str) -> ChangedView {
    ChangedView { id: provider.id.clone(), name: provider.name.clone(), message }
}

enum Found {
    Own(Provider),
    Deployments(Vendor),
}

async fn found(app: &App, caller: &Caller, request: &Request) -> Result<Found> {
    caller.require(Scope::AgentsRead)?;
    let id = request.parameter("provider_id")?;
    match deployments(app, id) {
        Some(vendor) => Ok(Found::Deployments(vendor)),
        None => Ok(Found::Own(provider::get(app, caller, id).await?)),
    }
}

/// The vendor of that name, if the operator has set it up.
fn deployments(app: &App, id: &str) -> Option<Vendor> {
    app.models().vendors().into_iter().find(|vendor| vendor.prefix() == id)
}

fn refuse_deployments(app: &App, id: &str) -> Result<()> {
    match deployments(app, id) {
        Some(_) => Err(Error::Conflict(format!("the provider '{id}' is the deployment's: its operator sets it up"))),
        None => Ok(()),
    }
}

/// A field that is not known is not named: it may be the key.
fn unsaid(error: Error) -> Error {
    let Error::Invalid(mut problems) = error else { return error };
    let known = |field: &str| field.is_empty() || FIELDS.iter().any(|known| field.split('[').next() == Some(known));
    for problem in problems.iter_mut().filter(|problem| !known(&problem.field)) {
        let message = format!("only these fields are known: {}", FIELDS.join(", "));
        *problem = Problem { field: String::new(), message };
    }
    Error::Invalid(problems)
}
