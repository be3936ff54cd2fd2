//! Tools that are HTTP requests: what is sent, and what is known of a call afterwards.
//!
//! Knows no run, no secret's name and no retry: headers come filled in, and the engine decides what an outcome means.

mod answer;
mod check;
mod template;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

pub(super) use self::check::check_headers;
pub use self::check::check_http;
use self::template::Template;
use super::{ANSWER_LIMIT_BYTES, Http, Method, Outcome, answer::refused};
use crate::{
    net::{Answer, Failure, Guard, GuardedUrl, Sending},
    secret::Redaction,
};

/// What takes the call's idempotency key in a `lookup_url`.
const KEY_PLACEHOLDER: &str = "idempotency_key";
/// The header that hands it to the tool.
const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// One call of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// How the tool is called.
    pub(crate) http: &'a Http,
    /// The arguments, valid by the tool's schema.
    pub(crate) arguments: &'a Map<String, Value>,
    /// The tool's headers, secrets filled in.
    pub(crate) headers: &'a BTreeMap<String, SecretString>,
    /// What takes those secrets out of what the tool says.
    pub(crate) secrets: &'a Redaction,
    /// The same at every try of this call.
    pub(crate) idempotency_key: &'a str,
    /// How long it may take, connecting included.
    pub(crate) timeout: Duration,
}

/// What the tool knows of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It took place.
    TookPlace {
        /// What the model is given as the call's answer.
        content: String,
    },
    /// It did not.
    DidNot,
    /// The tool did not say.
    Unknown,
}

/// Calls the tool, once.
pub(crate) async fn call(guard: &Guard, call: &Call<'_>) -> Outcome {
    let (url, sending) = match prepare(guard, call) {
        Ok(prepared) => prepared,
        Err(message) => return Outcome::NotSent { message, passing: false },
    };
    match guard.send(&url, sending).await {
        Ok(answer) if answer.status.is_success() => {
            Outcome::Answered { content: answer::content(call.secrets, answer), failed: false, passing: false }
        }
        Ok(answer) => {
            let status = answer.status;
            refused(status, answer::failed_content(call.secrets, answer))
        }
        Err(failure @ Failure::Redirect) => {
            Outcome::Answered { content: failure.to_string(), failed: true, passing: false }
        }
        Err(failure @ Failure::NotSent) => Outcome::NotSent { message: failure.to_string(), passing: true },
        Err(Failure::NoAnswer) => Outcome::Unclear {
            message: "the request was sent, and no complete answer came: it may have taken place or not".to_owned(),
        },
    }
}

/// Asks the tool's `lookup_url` whether this call took place.
pub(crate) async fn lookup(guard: &Guard, call: &Call<'_>) -> Found {
    let Ok((url, sending)) = prepare_lookup(guard, call) else { return Found::Unknown };
    match guard.send(&url, sending).await {
        Ok(answer) if answer.status.is_success() => Found::TookPlace { content: answer::content(call.secrets, answer) },
        Ok(Answer { status, .. }) if matches!(status.as_u16(), 404 | 410) => Found::DidNot,
        Ok(_) | Err(_) => Found::Unknown,
    }
}

/// Where the call goes and what is sent; the error is for the model.
fn prepare(guard: &Guard, call: &Call<'_>) -> Result<(GuardedUrl, Sending), String> {
    let template = Template::parse(&call.http.url).map_err(|flaw| format!("the tool's URL {flaw}"))?;
    let url = template.fill(call.arguments)?;
    let others = call.arguments.iter().filter(|(name, _)| !template.placeholders().any(|taken| taken == name.as_str()));
    let mut headers = headers(call.headers)?;
    if !matches!(call.http.method, Method::Get | Method::Head) && !headers.contains_key(KEY_HEADER) {
        let key = HeaderValue::try_from(call.idempotency_key).map_err(|_| "the idempotency key cannot be sent")?;
        headers.insert(KEY_HEADER, key);
    }
    let (url, body) = match call.http.method {
        Method::Get | Method::Head | Method::Delete => (template::with_query(url, others), Bytes::new()),
        Method::Post | Method::Put | Method::Patch => {
            let others: Map<String, Value> = others.map(|(name, value)| (name.clone(), value.clone())).collect();
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            (url, Value::Object(others).to_string().into())
        }
    };
    let url = guard.check(&url).map_err(|refusal| format!("the tool's URL {refusal}"))?;
    Ok((url, Sending { body, headers, ..sending(call.http.method, call.timeout) }))
}

fn prepare_lookup(guard: &Guard, call: &Call<'_>) -> Result<(GuardedUrl, Sending), String> {
    let template = call.http.lookup_url.as_deref().ok_or("no lookup_url")?;
    let mut arguments = call.arguments.clone();
    arguments.insert(KEY_PLACEHOLDER.to_owned(), call.idempotency_key.into());
    let url = Template::parse(template).map_err(|flaw| flaw.to_string())?.fill(&arguments)?;
    let url = guard.check(&url).map_err(|refusal| refusal.to_string())?;
    Ok((url, Sending { headers: headers(call.headers)?, ..sending(Method::Get, call.timeout) }))
}

/// An empty request. Redirects are followed where nothing is changed by asking.
fn sending(method: Method, timeout: Duration) -> Sending {
    Sending {
        method: match method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
            Method::Delete => http::Method::DELETE,
        },
        headers: HeaderMap::new(),
        body: Bytes::new(),
        follow: matches!(method, Method::Get | Method::Head),
        body_limit_bytes: ANSWER_LIMIT_BYTES,
        timeout,
    }
}

pub(super) fn headers(filled: &BTreeMap<String, SecretString>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in filled {
        let unfit = || format!("the tool's header '{name}' has a value that cannot be sent");
        let parsed = HeaderName::try_from(name).map_err(|_| unfit())?;
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| unfit())?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}
