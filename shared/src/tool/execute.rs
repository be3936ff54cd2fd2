//! One call of a tool: its secrets are put in, it is sent, and its answer read. Decides nothing about repeating it.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;

use super::{Arguments, Http, Kind, Lookup, Outcome, Tool, http};
use crate::{app::App, secret, tenant::Tenant};

/// Calls the tool once. `key` is the same for every try of this call.
pub(crate) async fn execute(app: &App, tenant: Tenant, tool: &Tool, arguments: &Arguments, key: &str) -> Outcome {
    let Kind::Http(request) = &tool.kind;
    let headers = match headers(app, tenant, request).await {
        Ok(headers) => headers,
        Err(message) => return Outcome::NotSent { message, passing: false },
    };
    http::call(app.guard(), request, arguments, headers, key, Duration::from_millis(tool.timeout_ms)).await
}

/// Asks the tool whether the call of this key took place.
pub(crate) async fn look_up(app: &App, tenant: Tenant, tool: &Tool, arguments: &Arguments, key: &str) -> Lookup {
    let Kind::Http(request) = &tool.kind;
    let Ok(headers) = headers(app, tenant, request).await else { return Lookup::Unknown };
    http::look_up(app.guard(), request, arguments, headers, key, Duration::from_millis(tool.timeout_ms)).await
}

/// The tool's headers with the secrets that they name.
async fn headers(app: &App, tenant: Tenant, request: &Http) -> Result<BTreeMap<String, SecretString>, String> {
    let mut filled = BTreeMap::new();
    for (name, template) in &request.headers {
        let value = secret::fill(app, tenant, template).await.map_err(|unfilled| unfilled.to_string())?;
        filled.insert(name.clone(), value);
    }
    Ok(filled)
}
