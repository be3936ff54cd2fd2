//! What an operator configures about models: keys, base URLs, prices. Reads no environment itself: it is given a function that does.

use std::{collections::BTreeMap, fmt};

use secrecy::SecretString;

/// Who serves models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vendor {
    /// OpenAI, and any server that speaks its chat completions format.
    OpenAi,
    /// Anthropic's messages format.
    Anthropic,
    /// Google's Gemini API (`generateContent`).
    Gemini,
    /// Mistral: the chat completions format.
    Mistral,
    /// Amazon Bedrock's Converse API, by bearer API key.
    Bedrock,
    /// OpenRouter: the chat completions format.
    OpenRouter,
    /// Ollama's own chat format.
    Ollama,
    /// The scripted model of this process: no network, no key.
    Demo,
}

impl Vendor {
    /// All of them, in the order in which a default model is looked for.
    pub const ALL: [Self; 8] = [
        Self::OpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Mistral,
        Self::Bedrock,
        Self::OpenRouter,
        Self::Ollama,
        Self::Demo,
    ];

    /// What stands before the `/` of a model's name.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Mistral => "mistral",
            Self::Bedrock => "bedrock",
            Self::OpenRouter => "openrouter",
            Self::Ollama => "ollama",
            Self::Demo => "demo",
        }
    }

    /// The vendor with that prefix.
    #[must_use]
    pub fn from_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.prefix() == prefix)
    }

    /// The variables that hold its key, the first one set wins; none when it takes no key.
    #[must_use]
    pub const fn key_variables(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["OPENAI_API_KEY"],
            Self::Anthropic => &["ANTHROPIC_API_KEY"],
            Self::Gemini => &["GEMINI_API_KEY"],
            Self::Mistral => &["MISTRAL_API_KEY"],
            Self::Bedrock => &["AWS_BEARER_TOKEN_BEDROCK", "BEDROCK_API_KEY"],
            Self::OpenRouter => &["OPENROUTER_API_KEY"],
            Self::Ollama | Self::Demo => &[],
        }
    }

    /// Whether it has models of embeddings that can be called.
    #[must_use]
    pub const fn has_embeddings(self) -> bool {
        !matches!(self, Self::Anthropic | Self::Bedrock)
    }

    /// The variable that holds its base URL; `None` when it has no network.
    #[must_use]
    pub const fn base_url_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("OPENAI_BASE_URL"),
            Self::Anthropic => Some("ANTHROPIC_BASE_URL"),
            Self::Gemini => Some("GEMINI_BASE_URL"),
            Self::Mistral => Some("MISTRAL_BASE_URL"),
            Self::Bedrock => Some("BEDROCK_BASE_URL"),
            Self::OpenRouter => Some("OPENROUTER_BASE_URL"),
            Self::Ollama => Some("OLLAMA_BASE_URL"),
            Self::Demo => None,
        }
    }

    /// The variable to set first when its models are wanted; `None` when they are always there.
    #[must_use]
    pub fn first_variable(self) -> Option<&'static str> {
        self.key_variables().first().copied().or_else(|| self.base_url_variable())
    }

    /// Whether its models can be called with that access: a key is needed, but for an OpenAI-format server and for Ollama, whose
    /// base URL is enough.
    pub(super) const fn usable(self, access: &Access) -> bool {
        match self {
            Self::OpenAi => access.key.is_some() || access.base_url.is_some(),
            Self::Ollama => access.base_url.is_some(),
            Self::Demo => true,
            Self::Anthropic | Self::Gemini | Self::Mistral | Self::Bedrock | Self::OpenRouter => access.key.is_some(),
        }
    }
}

/// How one vendor is reached. `Debug` tells only what is set.
#[derive(Clone, Default)]
pub struct Access {
    /// The API key.
    pub key: Option<SecretString>,
    /// The base URL, when it is not the vendor's own. Secret too: some carry credentials.
    pub base_url: Option<SecretString>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("key", &self.key.is_some()).field("base_url", &self.base_url.is_some()).finish()
    }
}

/// What an operator configures about models.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How each vendor is reached; one that is missing is not configured.
    pub access: BTreeMap<Vendor, Access>,
    /// The AWS region of Bedrock; `us-east-1` when none is given.
    pub aws_region: Option<String>,
    /// Prices that replace the built-in ones, in the same JSON shape.
    pub price_override_json: Option<String>,
}

impl Settings {
    /// Collects the settings by asking for each variable by its name. An empty value counts as not set.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let lookup = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let access = Vendor::ALL
            .into_iter()
            .filter(|vendor| vendor.first_variable().is_some())
            .map(|vendor| {
                let key = vendor.key_variables().iter().find_map(|name| lookup(name));
                let base_url = vendor.base_url_variable().and_then(lookup);
                (vendor, Access { key: key.map(SecretString::from), base_url: base_url.map(SecretString::from) })
            })
            .collect();
        Self {
            access,
            aws_region: lookup("AWS_REGION").or_else(|| lookup("AWS_DEFAULT_REGION")),
            price_override_json: lookup("MUSTER_PRICES"),
        }
    }
}

/// Settings that cannot be used. Tells the variable, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A base URL is not one.
    #[error("{0} is not an http or https URL with an ASCII host (an international name as punycode, xn--…)")]
    BaseUrl(&'static str),
    /// The prices are not JSON of the expected shape.
    #[error("MUSTER_PRICES: {0}")]
    Prices(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_never_show_a_key_or_a_base_url() {
        let settings = Settings::from_lookup(|name| match name {
            "OPENAI_API_KEY" => Some("canary-key".to_owned()),
            "OPENAI_BASE_URL" => Some("https://canary-user:canary-word@host/v1".to_owned()),
            _ => None,
        });
        assert!(!format!("{settings:?}").contains("canary"));
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let settings = Settings::from_lookup(|_| Some("  ".to_owned()));
        assert!(settings.access.values().all(|access| access.key.is_none() && access.base_url.is_none()));
        assert!(settings.price_override_json.is_none());
    }
}
