//! Models, as this surface names them.

use schemars::JsonSchema;
use serde::Deserialize;
use shared::{App, error::Problem};

/// A model of this deployment, or of a provider of the organisation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelRef {
    /// What stands before the `/` of its name on other surfaces.
    #[schemars(length(min = 1))]
    provider_id: String,
    /// What stands behind it.
    #[schemars(length(min = 1))]
    model_name: String,
}

impl ModelRef {
    /// What is wrong with it, as a field `model_ref`.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let plain = !self.provider_id.is_empty() && !self.provider_id.contains('/');
        let all = [
            (plain, "model_ref.provider_id", "must not be empty and have no '/'"),
            (!self.model_name.is_empty(), "model_ref.model_name", "must not be empty"),
        ];
        let problem =
            |(_, field, message): (bool, &str, &str)| Problem { field: field.to_owned(), message: message.to_owned() };
        all.into_iter().filter(|(holds, ..)| !holds).map(problem).collect()
    }
}

/// The model's name on other surfaces; the deployment's default model unless one is given.
pub(super) fn named(app: &App, model: Option<&ModelRef>) -> String {
    let named = model.map(|model| format!("{}/{}", model.provider_id, model.model_name));
    named.unwrap_or_else(|| app.models().default_model().to_string())
}
