//! One call of a tool: its secrets are put in, it is sent, and its answer read. Decides nothing about repeating it.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;

use super::{Arguments, Found, Http, Kind, Outcome, Tool, http};
use crate::{app::App, secret, tenant::Tenant};

/// Calls the tool once. `key` is the same for every try of this call.
pub(crate) async fn execute(app: &App, tenant: Tenant, tool: &Tool, arguments: &Arguments, key: &str) -> Outcome {
    let Kind::Http(request) = &tool.kind;
    match headers(app, tenant, request).await {
        Ok(headers) => http::call(app.guard(), &call(tool, request, arguments, &headers, key)).await,
        Err(message) => Outcome::NotSent { message, passing: false },
    }
}

/// Asks the tool whether the call of this key took place.
pub(crate) async fn look_up(app: &App, tenant: Tenant, tool: &Tool, arguments: &Arguments, key: &str) -> Found {
    let Kind::Http(request) = &tool.kind;
    match headers(app, tenant, request).await {
        Ok(headers) => http::lookup(app.guard(), &call(tool, request, arguments, &headers, key)).await,
        Err(_) => Found::Unknown,
    }
}

fn call<'a>(
    tool: &Tool,
    http: &'a Http,
    arguments: &'a Arguments,
    headers: &'a BTreeMap<String, SecretString>,
    key: &'a str,
) -> http::Call<'a> {
    http::Call { http, arguments, headers, idempotency_key: key, timeout: Duration::from_millis(tool.timeout_ms) }
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
