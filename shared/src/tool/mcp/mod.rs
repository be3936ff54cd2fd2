//! Tools of MCP servers (Model Context Protocol, over streamable HTTP), as many as an agent's author allows.
//!
//! What a server says of a tool is kept with the agent's version: that is what the model sees, and what arguments are checked by.
//! Before each call the server is asked again, in the session of the call; a tool that is not what it was is not called. Hints that
//! servers give of their tools are believed only where they are the stricter.
//!
//! Knows no run. All that is sent goes through the network guard.

mod content;
mod events;
mod known;
mod message;
mod pin;
mod save;
mod session;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::save::Pins;
use self::{known::Trouble, session::Session, wire::Wire};
pub use self::{
    pin::Change,
    save::{PINNED_LIMIT_BYTES, SERVER_NAME_LIMIT, SERVERS_LIMIT},
};
pub(super) use self::{
    pin::{callable, named},
    save::check,
};
use super::{Arguments, Outcome, Policy, execute::headers, http};
use crate::{app::App, secret::Unfilled, tenant::Tenant};

/// A server. Its entry in an agent's tools stands for all of its tools that are allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mcp {
    /// Where it is.
    pub url: String,
    /// Headers by name; `{{secret:NAME}}` takes a secret when a request is sent.
    pub headers: BTreeMap<String, String>,
    /// The tools allowed, as the server names them; `None` is all that it has when the agent is saved.
    pub tools: Option<Vec<String>>,
    /// What they are. Empty until the agent is saved, and never then.
    pub pinned: Vec<Pinned>,
}

/// A tool of a server, as it was when the agent was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    /// What the server calls it.
    pub tool: String,
    /// What the model calls it: `<name of the server>__<tool>`, or with a hash where that is not fit for a name.
    pub name: String,
    /// What the model reads about it.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
    /// The policy of its entry, or a stricter one if the server's hints say so.
    pub policy: Policy,
    /// The SHA-256, in hex, of the server's name, description and schema of it, as canonical JSON.
    pub sha256: String,
}

/// Calls the tool of a server that has that one tool pinned, if it is what it was, or is what a person accepted.
pub(super) async fn call(call: &Call<'_>, server: &Mcp, arguments: &Arguments, key: &str) -> Outcome {
    let Some(pinned) = server.pinned.first() else {
        return Outcome::NotSent { message: "the agent has to be saved again".to_owned(), passing: false };
    };
    let wire = match prepare(call.app, call.tenant, server, call.timeout).await {
        Ok(wire) => wire,
        Err(Refused { message, passing }) => return Outcome::NotSent { message, passing },
    };
    let opened = async {
        let session = Session::open(wire).await?;
        let listed = session.tools().await?;
        Ok::<_, Trouble>((session, listed))
    };
    let (session, listed) = match opened.await {
        Ok(opened) => opened,
        Err(trouble) => return Outcome::NotSent { message: trouble.to_string(), passing: trouble.passing() },
    };
    let listed = listed.iter().find(|tool| tool.name == pinned.tool);
    match pin::change(pinned, listed) {
        Some(change) if call.accepted.is_none_or(|accepted| accepted.sha256 != change.sha256) => {
            Outcome::Changed(Box::new(change))
        }
        Some(_) | None => session.call(&pinned.tool, arguments, key).await,
    }
}

/// What a call needs besides the server and its arguments.
pub(super) struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) tenant: Tenant,
    pub(super) timeout: Duration,
    /// The change of the tool that a person saw, and approved this call nevertheless.
    pub(super) accepted: Option<&'a Change>,
}

/// Why nothing was sent.
struct Refused {
    message: String,
    passing: bool,
}

/// The way to the server, with its secrets put in.
async fn prepare(app: &App, tenant: Tenant, server: &Mcp, timeout: Duration) -> Result<Wire, Refused> {
    let lasting = |message: String| Refused { message, passing: false };
    let url = app.guard().check(&server.url).map_err(|refusal| lasting(format!("the MCP server's URL {refusal}")))?;
    let (secrets, filled) = headers(app, tenant, &server.headers).await.map_err(|unfilled| {
        let passing = matches!(unfilled, Unfilled::Store(_));
        Refused { message: unfilled.to_string(), passing }
    })?;
    let filled = http::headers(&filled).map_err(lasting)?;
    Ok(Wire::new(app.guard().of(tenant.org()), url, filled, secrets, timeout))
}

/// How many tools the server at this URL lists, for tests of the guard.
#[cfg(test)]
pub(crate) async fn listed(guard: &crate::net::Guard, url: &str) -> Result<usize, String> {
    let url = guard.check(url).map_err(|refusal| refusal.to_string())?;
    let (headers, secrets) = (::http::HeaderMap::new(), crate::secret::Redaction::default());
    let wire = Wire::new(guard.clone(), url, headers, secrets, Duration::from_secs(10));
    let session = Session::open(wire).await.map_err(|trouble| trouble.to_string())?;
    session.tools().await.map(|tools| tools.len()).map_err(|trouble| trouble.to_string())
}

/// Whether the text is 1 or more of `A-Z a-z 0-9 _ -`.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
