//! Secrets on the native surface: put, named, deleted, never shown. What is wrong with a request is said without repeating any of it,
//! since a value may stand where it should not.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use shared::{
    App, Error, Result,
    error::Problem,
    secret::{self, Secret},
};

use super::views::{ListQuery, PageView};
use crate::{Request, Response, auth, response};

/// What a secret shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutSecret {
    /// The value, fit for a header: at most 8,192 bytes, without line breaks. It is never shown again.
    #[schemars(with = "String", length(min = 1, max = 8_192))]
    #[serde(deserialize_with = "hidden")]
    value: SecretString,
}

fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// A secret, without its value.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SecretView {
    /// What tools call it by, as in `{{secret:NAME}}`.
    name: String,
    /// When it was put last.
    updated_at: String,
}

impl From<Secret> for SecretView {
    fn from(secret: Secret) -> Self {
        let Secret { name, updated_at } = secret;
        Self { name, updated_at: updated_at.rfc3339() }
    }
}

pub(super) async fn put_secret(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let body: PutSecret = request.json().map_err(unsaid)?;
    let secret = secret::put(app, &caller, request.parameter("name")?, &body.value).await?;
    Ok(response::ok(&SecretView::from(secret)))
}

pub(super) async fn list_secrets(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = secret::list(app, &caller, &page).await?;
    Ok(response::ok(&PageView::of(page, SecretView::from)))
}

pub(super) async fn delete_secret(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    secret::delete(app, &caller, request.parameter("name")?).await?;
    Ok(response::no_content())
}

/// A field that is not known is not named: it may be the value.
fn unsaid(error: Error) -> Error {
    let Error::Invalid(mut problems) = error else { return error };
    for problem in &mut problems {
        if !matches!(problem.field.as_str(), "" | "value") {
            *problem = Problem { field: String::new(), message: "only the field `value` is known".to_owned() };
        }
    }
    Error::Invalid(problems)
}
