//! What is known of the models that this deployment can call: their names and prices, and which one is meant where none is named. Calls none.

use super::Models;
use crate::{
    error::unset,
    model::{ModelName, price::Price, scripted::Scripted, settings::Vendor},
};

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
    pub(super) fn canonical<'a>(&'a self, text: &'a str) -> &'a str {
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

/// Who serves the model of that canonical name.
pub(super) fn vendor(canonical: &str) -> Option<Vendor> {
    Vendor::from_prefix(canonical.split_once('/')?.0)
}

#[cfg(test)]
mod tests {
    use crate::model::catalogue::tests::models;

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
}
