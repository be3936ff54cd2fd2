//! One call of a tool: its secrets are put in, it is sent, and its answer read. Decides nothing about repeating it.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;

use super::{Arguments, Change, Found, Http, Kind, Lambda, Outcome, Tool, http, lambda, mcp};
use crate::{
    app::App,
    secret::{self, Opened, Unfilled},
    tenant::Tenant,
};

/// Calls the tool once. `key` is the same for every try of this call; `accepted` is the change of the tool with which a person approved
/// it. What the tool says of the secrets that it was sent is taken out.
pub(crate) async fn execute(
    app: &App,
    tenant: Tenant,
    tool: &Tool,
    arguments: &Arguments,
    key: &str,
    accepted: Option<&Change>,
) -> Outcome {
    match &tool.kind {
        Kind::Http(request) => call_http(app, tenant, tool, request, arguments, key).await,
        Kind::Mcp(server) => {
            let call = mcp::Call { app, tenant, timeout: timeout(tool), accepted };
            Box::pin(mcp::call(&call, server, arguments, key)).await
        }
        Kind::Lambda(Lambda { function }) => {
            let call = lambda::Call { function, arguments, idempotency_key: key, timeout: timeout(tool) };
            app.functions().call(&call).await
        }
        // The engine starts a run instead.
        Kind::Agent(_) => {
            Outcome::NotSent { message: "a sub-agent is not called like this".to_owned(), passing: false }
        }
    }
}

async fn call_http(
    app: &App,
    tenant: Tenant,
    tool: &Tool,
    request: &Http,
    arguments: &Arguments,
    key: &str,
) -> Outcome {
    let (secrets, headers) = match headers(app, tenant, &request.headers).await {
        Ok(filled) => filled,
        Err(unfilled) => {
            let passing = matches!(unfilled, Unfilled::Store(_));
            return Outcome::NotSent { message: unfilled.to_string(), passing };
        }
    };
    match http::call(app.guard(), &call(tool, request, arguments, &headers, key)).await {
        Outcome::Answered { content, failed, passing } => {
            Outcome::Answered { content: secrets.redact(content), failed, passing }
        }
        other @ (Outcome::NotSent { .. } | Outcome::Changed(_) | Outcome::Unclear { .. }) => other,
    }
}

/// Asks the tool whether the call of this key took place.
pub(crate) async fn look_up(app: &App, tenant: Tenant, tool: &Tool, arguments: &Arguments, key: &str) -> Found {
    // Policy `verify` is for requests only.
    let Kind::Http(request) = &tool.kind else { return Found::Unknown };
    let Ok((secrets, headers)) = headers(app, tenant, &request.headers).await else { return Found::Unknown };
    match http::lookup(app.guard(), &call(tool, request, arguments, &headers, key)).await {
        Found::TookPlace { content } => Found::TookPlace { content: secrets.redact(content) },
        other @ (Found::DidNot | Found::Unknown) => other,
    }
}

fn call<'a>(
    tool: &Tool,
    http: &'a Http,
    arguments: &'a Arguments,
    headers: &'a BTreeMap<String, SecretString>,
    key: &'a str,
) -> http::Call<'a> {
    http::Call { http, arguments, headers, idempotency_key: key, timeout: timeout(tool) }
}

const fn timeout(tool: &Tool) -> Duration {
    Duration::from_millis(tool.timeout_ms)
}

/// Headers with the secrets that they name.
pub(super) async fn headers(
    app: &App,
    tenant: Tenant,
    headers: &BTreeMap<String, String>,
) -> Result<(Opened, BTreeMap<String, SecretString>), Unfilled> {
    let secrets = secret::open(app, tenant, headers.values().map(String::as_str)).await?;
    let filled = headers.iter().map(|(name, template)| Ok((name.clone(), secrets.fill(template)?)));
    let filled = filled.collect::<Result<_, Unfilled>>()?;
    Ok((secrets, filled))
}
