//! The models that this deployment can call: names, prices, and the call itself. Decides nothing about retries: see `retry`
//! and `breaker`.

mod own;

use std::collections::BTreeMap;

use tokio::time::Instant;

pub(crate) use self::own::Own;
use self::own::of_org;
use super::{
    Answer, Embedded, ModelFault, ModelName, Provider, Request, ToolMode,
    breaker::{self, Breakers},
    embedding, json_tools,
    price::{Price, PriceList},
    provider::Genai,
    retry::{Bucket, Buckets, Next, RetryPolicy},
    scripted::Scripted,
    settings::{Access, Settings, SettingsError, Vendor},
};
use crate::{error::unset, id::OrgId};

/// What is called by default for a demo, by vendor: a current, cheap model of each.
const DEFAULTS: [(Vendor, &str); 4] = [
    (Vendor::OpenAi, "openai/gpt-5-mini"),
    (Vendor::Anthropic, "anthropic/claude-haiku-4-5"),
    (Vendor::Gemini, "gemini/gemini-2.5-flash"),
    (Vendor::Mistral, "mistral/mistral-large-2512"),
];
/// What makes embeddings by default, by vendor: a current, cheap model of each that has any.
const DEFAULTS_FOR_EMBEDDINGS: [(Vendor, &str); 3] = [
    (Vendor::OpenAi, "openai/text-embedding-3-small"),
    (Vendor::Gemini, "gemini/gemini-embedding-001"),
    (Vendor::Mistral, "mistral/mistral-embed"),
];
/// The most tokens that OpenAI makes of an image: 2,833 and 5,667 for each of at most 8 tiles with gpt-4o-mini ("Images and vision", costs);
/// with its newer models it is at most 2,500.
const OPENAI_IMAGE_TOKENS: u64 = 2_833 + 8 * 5_667;
/// The same of others: 6,404 at Together, 4,784 at Anthropic, less elsewhere, as far as they document it.
const IMAGE_TOKENS: u64 = 6_500;
/// The model that is always there.
const SCRIPTED: &str = "demo/scripted";

/// The models of this deployment.
#[derive(Debug)]
pub struct Models {
    network: Genai,
    scripted: Scripted,
    prices: PriceList,
    /// The vendors whose listed models can be called: those with a key.
    keyed: Vec<Vendor>,
    buckets: BTreeMap<Vendor, Bucket>,
    /// Those of organisations' own providers.
    own_buckets: Buckets,
    policy: RetryPolicy,
    breakers: Breakers,
    /// What the breakers' time is counted from.
    since: Instant,
}

/// A model that this deployment can call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its canonical name, `provider/model`.
    pub name: String,
    /// Who serves it.
    pub provider: &'static str,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// What it costs; `None` when that is not known.
    pub price: Option<Price>,
    /// The most tokens of one answer, when known.
    pub max_output_tokens: Option<u32>,
}

/// A name that is none of a model that this deployment can call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model '{name}' is not available{}", unset(*.variable))]
pub struct UnknownModel {
    /// The name that was asked for.
    pub name: String,
    /// The variable to set, when the name is right but its provider is not configured.
    pub variable: Option<&'static str>,
    /// The names that would do.
    pub known: Vec<String>,
}

impl Models {
    /// The models that those settings make callable.
    ///
    /// # Errors
    /// When a base URL or the operator's prices cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let with_key = |(vendor, access): (&Vendor, &Access)| access.key.is_some().then_some(*vendor);
        Ok(Self {
            network: Genai::new(settings)?,
            scripted: Scripted,
            prices: PriceList::new(settings.price_override_json.as_deref())?,
            keyed: settings.access.iter().filter_map(with_key).collect(),
            buckets: Vendor::ALL.into_iter().map(|vendor| (vendor, Bucket::default())).collect(),
            own_buckets: Buckets::default(),
            policy: RetryPolicy::default(),
            breakers: Breakers::default(),
            since: Instant::now(),
        })
    }

    /// Checks a name: `provider/model` of a configured provider, or an alias of one of its models. The name is kept as written.
    ///
    /// # Errors
    /// When it names no model that can be called; the error says which variable is missing, when it is that.
    pub fn resolve(&self, text: &str) -> Result<ModelName, UnknownModel> {
        let canonical = self.canonical(text);
        let vendor = vendor(canonical);
        let model = canonical.split_once('/').map_or("", |(_, model)| model);
        let callable = match vendor {
            Some(Vendor::Demo) => Scripted::knows(model),
            Some(vendor) => self.network.vendors().any(|known| known == vendor) && is_model(model),
            None => false,
        };
        if callable {
            return Ok(ModelName(text.to_owned()));
        }
        let missing = vendor.filter(|vendor| self.network.vendors().all(|known| known != *vendor));
        Err(UnknownModel {
            name: text.to_owned(),
            variable: missing.filter(|vendor| *vendor != Vendor::Demo).and_then(Vendor::first_variable),
            known: self.list().into_iter().map(|model| model.name).collect(),
        })
    }

    /// The models that can be called by name: those with a known price whose provider has a key, and the scripted one. A provider
    /// may have more; any `provider/model` of it is accepted.
    #[must_use]
    pub fn list(&self) -> Vec<ModelInfo> {
        let listed = self.prices.entries().filter_map(|entry| {
            let provider = vendor(&entry.name)?;
            (provider == Vendor::Demo || self.keyed.contains(&provider)).then(|| ModelInfo {
                name: entry.name.clone(),
                provider: provider.prefix(),
                aliases: entry.aliases.clone(),
                price: entry.price,
                max_output_tokens: entry.max_output_tokens,
            })
        });
        listed.collect()
    }

    /// What a demo uses when no model is named: a cheap model of the first provider with a key, else the scripted one.
    #[must_use]
    pub fn default_model(&self) -> ModelName {
        self.keyed_default().unwrap_or_else(|| ModelName(SCRIPTED.to_owned()))
    }

    /// A cheap model of the first provider with a key.
    #[must_use]
    pub fn keyed_default(&self) -> Option<ModelName> {
        self.first_keyed(&DEFAULTS)
    }

    /// A cheap model of embeddings of the first provider with a key that has any.
    #[must_use]
    pub fn keyed_embedding(&self) -> Option<ModelName> {
        self.first_keyed(&DEFAULTS_FOR_EMBEDDINGS)
    }

    fn first_keyed(&self, defaults: &[(Vendor, &str)]) -> Option<ModelName> {
        let first = defaults.iter().find(|(vendor, _)| self.keyed.contains(vendor));
        first.map(|(_, name)| ModelName((*name).to_owned()))
    }

    /// Whether it is the scripted model, which knows nothing.
    #[must_use]
    pub fn is_scripted(&self, model: &ModelName) -> bool {
        vendor(self.canonical(model.as_str())) == Some(Vendor::Demo)
    }

    /// Whether whoever serves the model of that name has embeddings.
    #[must_use]
    pub fn embeds(&self, model: &ModelName) -> bool {
        vendor(self.canonical(model.as_str())).is_none_or(Vendor::has_embeddings)
    }

    /// Calls the model once, unless most calls of it failed a moment ago. What to do when it fails, `next` says.
    ///
    /// # Errors
    /// What the failure means for the run.
    pub async fn call(&self, request: &Request) -> Result<Answer, ModelFault> {
        let canonical = self.canonical(request.model.as_str());
        let Some(vendor) = vendor(canonical) else {
            return self.network.call(request).await;
        };
        let renamed = (canonical != request.model.as_str())
            .then(|| Request { model: ModelName(canonical.to_owned()), ..request.clone() });
        let request = renamed.as_ref().unwrap_or(request);
        if vendor == Vendor::Demo {
            return self.scripted.call(request).await;
        }
        let answer = self.with_breaker(canonical, ask(&self.network, request)).await;
        if let (Ok(_), Some(bucket)) = (&answer, self.buckets.get(&vendor)) {
            bucket.refund();
        }
        answer
    }

    /// The texts as vectors, asked for once, by the model of that name, which may take so many milliseconds. For no text nothing is asked.
    ///
    /// # Errors
    /// What the failure means, as of [`Models::call`]. Not every provider has embeddings.
    pub async fn embed(&self, name: &ModelName, texts: &[String], timeout_ms: u64) -> Result<Embedded, ModelFault> {
        let canonical = self.canonical(name.as_str());
        match vendor(canonical) {
            _ if texts.is_empty() => Ok(Embedded { vectors: Vec::new(), tokens: None }),
            Some(Vendor::Demo) => Ok(embedding::scripted(texts)),
            vendor => {
                let answer = self.with_breaker(canonical, self.network.embed(canonical, texts, timeout_ms)).await;
                if let (Ok(_), Some(bucket)) = (&answer, vendor.and_then(|vendor| self.buckets.get(&vendor))) {
                    bucket.refund();
                }
                answer
            }
        }
    }

    /// What comes of a call, unless the breaker of that name holds it back.
    async fn with_breaker<T>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, ModelFault>>,
    ) -> Result<T, ModelFault> {
        let breaker = self.breakers.of(name);
        let pass = breaker.admit(self.now_ms()).map_err(ModelFault::circuit_open)?;
        let outcome = call.await;
        breaker.record(pass, self.now_ms(), outcome.as_ref().is_err_and(|fault| breaker::counts(fault.kind)));
        outcome
    }

    /// How long an organisation's calls of that model are held back, in milliseconds, because most of them failed a moment ago; `None` when they are
    /// not. `call` does so by itself; to ask first saves what is written before a call.
    #[must_use]
    pub fn held_back_ms(&self, org: OrgId, model: &ModelName) -> Option<u64> {
        let canonical = self.canonical(model.as_str());
        let breaker = match vendor(canonical) {
            Some(Vendor::Demo) => return None,
            Some(_) => self.breakers.of(canonical),
            None => self.breakers.of(&of_org(org, canonical)),
        };
        breaker.closed_for_ms(self.now_ms())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What to do after an organisation's call number `attempt` (the first is 1) of that model failed. `random` is uniform in 0..1; `remaining_ms` is
    /// how long this invocation may still run.
    #[must_use]
    pub fn next(
        &self,
        org: OrgId,
        model: &ModelName,
        attempt: u32,
        fault: &ModelFault,
        random: f64,
        remaining_ms: u64,
    ) -> Next {
        let next = |bucket: &Bucket| self.policy.next(bucket, attempt, fault, random, remaining_ms);
        let canonical = self.canonical(model.as_str());
        match (vendor(canonical), canonical.split_once('/')) {
            (Some(vendor), _) => self.buckets.get(&vendor).map_or(Next::GiveUp, next),
            (None, Some((id, _))) => next(&self.own_buckets.of(&of_org(org, id))),
            (None, None) => Next::GiveUp,
        }
    }

    /// What the model costs; `None` when that is not known.
    #[must_use]
    pub fn price(&self, model: &ModelName) -> Option<Price> {
        let canonical = self.canonical(model.as_str());
        // The scripted model's variants cost what it costs.
        let name = if vendor(canonical) == Some(Vendor::Demo) { SCRIPTED } else { canonical };
        self.prices.entry(name)?.price
    }

    /// The most tokens that an image may be for that model.
    #[must_use]
    pub fn image_tokens(&self, model: &ModelName) -> u64 {
        match vendor(self.canonical(model.as_str())) {
            Some(
                Vendor::Anthropic | Vendor::Gemini | Vendor::Mistral | Vendor::Bedrock | Vendor::Ollama | Vendor::Demo,
            ) => IMAGE_TOKENS,
            // An organisation's own provider may be any.
            Some(Vendor::OpenAi | Vendor::OpenRouter) | None => OPENAI_IMAGE_TOKENS,
        }
    }

    /// What the vendor's model costs at the vendor's own address; `None` when that is not known.
    pub(crate) fn price_of(&self, vendor: Vendor, model: &str) -> Option<Price> {
        self.price(&ModelName(format!("{}/{model}", vendor.prefix())))
    }

    /// The vendor's models with a known price, as it spells them.
    #[must_use]
    pub fn priced(&self, vendor: Vendor) -> Vec<String> {
        let of_vendor = |name: &str| name.strip_prefix(vendor.prefix())?.strip_prefix('/').map(str::to_owned);
        self.prices.entries().filter(|entry| entry.price.is_some()).filter_map(|entry| of_vendor(&entry.name)).collect()
    }

    /// The vendors whose models this deployment can call, the scripted one's among them.
    #[must_use]
    pub fn vendors(&self) -> Vec<Vendor> {
        self.network.vendors().chain([Vendor::Demo]).collect()
    }

    /// Whether both are names of the same model.
    #[must_use]
    pub fn same(&self, one: &ModelName, other: &ModelName) -> bool {
        self.canonical(one.as_str()) == self.canonical(other.as_str())
    }

    /// The canonical name: of an alias, also one with its provider before it; otherwise the text itself.
    fn canonical<'a>(&'a self, text: &'a str) -> &'a str {
        match text.split_once('/') {
            None => self.prices.canonical(text).unwrap_or(text),
            Some((prefix, model)) => self
                .prices
                .canonical(model)
                .filter(|name| name.split_once('/').is_some_and(|(its, _)| its == prefix))
                .unwrap_or(text),
        }
    }
}

/// Whether that may be how a provider spells a model: 1 to 200 characters of printable ASCII. The provider's crate reads `a::b` as a provider
/// and its model.
pub(crate) fn is_model(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()) && !text.contains("::")
}

async fn ask(provider: &dyn Provider, request: &Request) -> Result<Answer, ModelFault> {
    if request.tool_mode == ToolMode::Json && !request.tools.is_empty() {
        json_tools::call(provider, request).await
    } else {
        provider.call(request).await
    }
}

/// Who serves the model of that canonical name.
fn vendor(canonical: &str) -> Option<Vendor> {
    Vendor::from_prefix(canonical.split_once('/')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn models(variables: &[(&str, &str)]) -> Models {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Models::new(&Settings::from_lookup(lookup)).unwrap()
    }

    #[test]
    fn without_any_key_only_the_scripted_model_is_there() {
        let models = models(&[]);
        assert_eq!(models.default_model().as_str(), "demo/scripted");
        assert_eq!(models.list().iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["demo/scripted"]);
        for name in ["demo/scripted", "scripted", "demo/scripted-l0"] {
            assert!(models.resolve(name).is_ok(), "{name}");
        }
        let unknown = models.resolve("gpt-5-mini").unwrap_err();
        assert_eq!(unknown.to_string(), "model 'gpt-5-mini' is not available: OPENAI_API_KEY is not set");
        assert_eq!(unknown.known, ["demo/scripted"]);
        assert_eq!(models.resolve("ollama/x").unwrap_err().variable, Some("OLLAMA_BASE_URL"));
        for name in ["", "/", "gpt", "nobody/x", "demo/other", "demo/scripted-e1"] {
            assert_eq!(models.resolve(name).unwrap_err().variable, None, "{name}");
        }
    }

    #[test]
    fn a_key_makes_its_providers_models_callable() {
        let models = models(&[("MISTRAL_API_KEY", "k"), ("ANTHROPIC_API_KEY", "k")]);
        for name in ["mistral-large-3", "mistral/mistral-large-3", "mistral/new-model", "claude-haiku-4-5"] {
            assert_eq!(models.resolve(name).unwrap().as_str(), name);
        }
        for name in ["openai/gpt-5", "mistral/", "mistral/a b", "mistral/openai::x", "openai/mistral-large-3"] {
            assert!(models.resolve(name).is_err(), "{name}");
        }
        assert_eq!(models.default_model().as_str(), "anthropic/claude-haiku-4-5");
        let price = |name| models.price(&models.resolve(name).unwrap());
        assert_eq!(price("mistral-large-3"), price("mistral/mistral-large-2512"));
        assert!(price("mistral-large-3").is_some() && price("demo/scripted-l0").is_some());
        assert_eq!(price("mistral/new-model"), None);
    }

    #[test]
    fn a_base_url_alone_makes_any_openai_name_callable_but_lists_none() {
        let models = models(&[("OPENAI_BASE_URL", "http://127.0.0.1:1")]);
        assert!(models.resolve("openai/whatever-l1").is_ok());
        assert_eq!(models.list().len(), 1);
        assert_eq!(models.default_model().as_str(), "demo/scripted");
    }

    #[test]
    fn a_bad_base_url_is_told_by_its_variable_only() {
        for url in ["canary://x", "http://cañary/v1"] {
            let lookup = |name: &str| (name == "OPENAI_BASE_URL").then(|| url.to_owned());
            let error = Models::new(&Settings::from_lookup(lookup)).unwrap_err();
            let expected = "OPENAI_BASE_URL is not an http or https URL with an ASCII host (an international name as punycode, xn--…)";
            assert_eq!(error.to_string(), expected, "{url}");
        }
    }
}
