//! How bodies name a model by its two parts.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use shared::App;

/// A model of this deployment, or of a provider of the organisation.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelRef {
    /// What stands before the `/` of its name on other surfaces.
    #[schemars(length(min = 1), with = "String")]
    #[serde(deserialize_with = "provider")]
    provider_id: String,
    /// What stands behind it.
    #[schemars(length(min = 1), with = "String")]
    #[serde(deserialize_with = "model")]
    model_name: String,
}

fn provider<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    let plain = !id.is_empty() && !id.contains('/');
    if plain { Ok(id) } else { Err(D::Error::custom("must not be empty and have no '/'")) }
}

fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() { Err(D::Error::custom("must not be empty")) } else { Ok(name) }
}

impl ModelRef {
    /// The model's name: `provider/model`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.provider_id, self.model_name)
    }

    /// The model's name; the deployment's default model unless one is given.
    pub(crate) fn named(app: &App, model: Option<&Self>) -> String {
        model.map(Self::name).unwrap_or_else(|| app.models().default_model().to_string())
    }

    /// The two parts of a name that [`ModelRef::name`] made.
    pub(crate) fn of(name: &str) -> Self {
        let (provider_id, model_name) = name.split_once('/').unwrap_or(("", name));
        Self { provider_id: provider_id.to_owned(), model_name: model_name.to_owned() }
    }
}
