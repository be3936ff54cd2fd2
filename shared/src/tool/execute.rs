//! One call of a tool: its secrets are put in, it is sent, and its answer read. Decides nothing about repeating it.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;

use super::{Arguments, Change, Found, Http, Kind, Lambda, Outcome, Tool, http, lambda, mcp};
use crate::{
    app::App,
    secret::{self, Redaction, Unfilled},
    tenant::Tenant,
};

/// Calls the tool once. `key` is the same for every try of this call; `accepted` is the change of the tool with which a person approved
/// it. What the tool says of the secrets that it was sent is taken out where its bytes become text, before anything of it is cut.
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
    http::call(&app.guard().of(tenant.org()), &call(tool, request, arguments, (&headers, &secrets), key)).await
}

/// Asks the tool whether the call of this key took place.
pub(crate) async fn look_up(app: &App, tenant: Tenant, tool: &Tool, arguments: &Arguments, key: &str) -> Found {
    // Policy `verify` is for requests only.
    let Kind::Http(request) = &tool.kind else { return Found::Unknown };
    let Ok((secrets, headers)) = headers(app, tenant, &request.headers).await else { return Found::Unknown };
    http::lookup(&app.guard().of(tenant.org()), &call(tool, request, arguments, (&headers, &secrets), key)).await
}

fn call<'a>(
    tool: &Tool,
    http: &'a Http,
    arguments: &'a Arguments,
    (headers, secrets): (&'a BTreeMap<String, SecretString>, &'a Redaction),
    key: &'a str,
) -> http::Call<'a> {
    http::Call { http, arguments, headers, secrets, idempotency_key: key, timeout: timeout(tool) }
}

const fn timeout(tool: &Tool) -> Duration {
    Duration::from_millis(tool.timeout_ms)
}

/// Headers with the secrets that they name, and what takes those out of an answer.
pub(super) async fn headers(
    app: &App,
    tenant: Tenant,
    headers: &BTreeMap<String, String>,
) -> Result<(Redaction, BTreeMap<String, SecretString>), Unfilled> {
    let secrets = secret::open(app, tenant, headers.values().map(String::as_str)).await?;
    let filled = headers.iter().map(|(name, template)| Ok((name.clone(), secrets.fill(template)?)));
    let filled = filled.collect::<Result<_, Unfilled>>()?;
    Ok((secrets.redaction(), filled))
}
