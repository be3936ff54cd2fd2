//! The models that this deployment can call: names, prices, and the call itself. Decides nothing about retries: see `retry`
//! and `breaker`.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{
    Answer, ModelFault, ModelName, Provider, Request, ToolMode,
    breaker::{self, Breakers},
    json_tools,
    price::{Price, PriceList},
    provider::Genai,
    retry::{Bucket, Next, RetryPolicy},
    scripted::Scripted,
    settings::{Settings, SettingsError, Vendor},
};
use crate::error::unset;

/// What is called by default for a demo, by vendor: a current, cheap model of each.
const DEFAULTS: [(Vendor, &str); 4] = [
    (Vendor::OpenAi, "openai/gpt-5-mini"),
    (Vendor::Anthropic, "anthropic/claude-haiku-4-5"),
    (Vendor::Gemini, "gemini/gemini-2.5-flash"),
    (Vendor::Mistral, "mistral/mistral-large-2512"),
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
        let with_key = |(vendor, access): (&Vendor, &super::settings::Access)| access.key.is_some().then_some(*vendor);
        Ok(Self {
            network: Genai::new(settings)?,
            scripted: Scripted,
            prices: PriceList::new(settings.price_override_json.as_deref())?,
            keyed: settings.access.iter().filter_map(with_key).collect(),
            buckets: Vendor::ALL.into_iter().map(|vendor| (vendor, Bucket::default())).collect(),
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
            // The provider's crate reads `a::b` as a provider and its model.
            Some(vendor) => {
                self.network.vendors().any(|known| known == vendor)
                    && (1..=200).contains(&model.len())
                    && model.chars().all(|c| c.is_ascii_graphic())
                    && !model.contains("::")
            }
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
        let first = DEFAULTS.into_iter().find(|(vendor, _)| self.keyed.contains(vendor));
        first.map(|(_, name)| ModelName(name.to_owned()))
    }

    /// Whether it is the scripted model, which knows nothing.
    #[must_use]
    pub fn is_scripted(&self, model: &ModelName) -> bool {
        vendor(self.canonical(model.as_str())) == Some(Vendor::Demo)
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
        let breaker = self.breakers.of(canonical);
        let pass = breaker.admit(self.now_ms()).map_err(ModelFault::circuit_open)?;
        let answer = if request.tool_mode == ToolMode::Json && !request.tools.is_empty() {
            json_tools::call(&self.network, request).await
        } else {
            self.network.call(request).await
        };
        breaker.record(pass, self.now_ms(), answer.as_ref().is_err_and(|fault| breaker::counts(fault.kind)));
        if let (Ok(_), Some(bucket)) = (&answer, self.buckets.get(&vendor)) {
            bucket.refund();
        }
        answer
    }

    /// How long calls of that model are held back, in milliseconds, because most of them failed a moment ago; `None` when they are
    /// not. `call` does so by itself; to ask first saves what is written before a call.
    #[must_use]
    pub fn held_back_ms(&self, model: &ModelName) -> Option<u64> {
        let canonical = self.canonical(model.as_str());
        vendor(canonical).filter(|vendor| *vendor != Vendor::Demo)?;
        self.breakers.of(canonical).closed_for_ms(self.now_ms())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What to do after call number `attempt` (the first is 1) of that model failed. `random` is uniform in 0..1; `remaining_ms` is
    /// how long this invocation may still run.
    #[must_use]
    pub fn next(&self, model: &ModelName, attempt: u32, fault: &ModelFault, random: f64, remaining_ms: u64) -> Next {
        let bucket = vendor(self.canonical(model.as_str())).and_then(|vendor| self.buckets.get(&vendor));
        bucket.map_or(Next::GiveUp, |bucket| self.policy.next(bucket, attempt, fault, random, remaining_ms))
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
            Some(Vendor::OpenAi | Vendor::OpenRouter) => OPENAI_IMAGE_TOKENS,
            _ => IMAGE_TOKENS,
        }
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

/// Who serves the model of that canonical name.
fn vendor(canonical: &str) -> Option<Vendor> {
    Vendor::from_prefix(canonical.split_once('/')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(variables: &[(&str, &str)]) -> Models {
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
