//! Who calls: a key and headers, and the answers to its requests.

use std::convert::Infallible;

use bytes::Bytes;
use functions::Response;
use http::{HeaderMap, HeaderName};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shared::{App, id::OrgId};

use super::document;

/// Sends requests with a key, in process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    app: App,
    pub(crate) org: OrgId,
    headers: HeaderMap,
}

impl Client {
    pub(crate) fn new(app: App, org: OrgId, key: &str) -> Self {
        Self { app, org, headers: HeaderMap::new() }.with("authorization", &format!("Bearer {key}"))
    }

    /// The same at another application over the same store.
    pub(crate) fn of(&self, app: &App) -> Self {
        Self { app: app.clone(), ..self.clone() }
    }

    /// Somebody without a key.
    pub(crate) fn nobody(&self) -> Self {
        Self { headers: HeaderMap::new(), ..self.clone() }
    }

    /// The same with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        self.with("authorization", &format!("Bearer {key}"))
    }

    /// The same with this header too.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        other
    }

    /// The same with another value of a header that it has.
    pub(crate) fn with_another(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        other
    }

    /// The key.
    pub(crate) fn key(&self) -> String {
        self.headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
    }

    /// The answer, which is as the OpenAPI document says.
    pub(crate) async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let answer = Answer::read(self.open(method, path, body).await).await;
        document::assert_documented(method, path, &answer);
        answer
    }

    /// The answer before its body is read.
    pub(crate) async fn open(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Response {
        let mut request = http::Request::builder().method(method).uri(path).body(body.into()).unwrap();
        request.headers_mut().extend(self.headers.clone());
        functions::handle(&self.app, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, body.to_string()).await
    }

    /// A new agent with this model; its id as the native surface writes it.
    pub(crate) async fn agent(&self, model: &str) -> String {
        let answer = self.post("/v1/agents", json!({"name": "tester", "model": model})).await;
        text(&answer.status(201), "id")
    }

    /// A new run of this agent, queued; its id.
    pub(crate) async fn run(&self, agent: &str, message: &str) -> String {
        text(&self.post(&format!("/v1/agents/{agent}/runs"), json!({"message": message})).await.status(202), "id")
    }

    /// A new key made with this one.
    pub(crate) async fn new_key(&self, body: Value) -> Self {
        self.with_key(&text(&self.post("/v1/keys", body).await.status(201), "key"))
    }
}

/// The text in this field.
pub(crate) fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_else(|| panic!("no text in {field}: {body}")).to_owned()
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// `null` when it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let Ok::<_, Infallible>(body) = body.collect().await;
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self { code: parts.status.as_u16(), headers: parts.headers, text, body }
    }

    /// The body, if the status is this one.
    pub(crate) fn status(self, expected: u16) -> Value {
        assert_eq!(self.code, expected, "{}", self.text);
        self.body
    }

    /// The body of a 200.
    pub(crate) fn ok(self) -> Value {
        self.status(200)
    }

    /// The body without what differs each time, if the status is this one.
    pub(crate) fn shape(self, expected: u16) -> Value {
        super::redacted(&self.status(expected))
    }

    /// The header's text; nothing when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The code of a native error of this status.
    pub(crate) fn code_of(self, expected: u16) -> String {
        text(&self.status(expected)["error"], "code")
    }

    /// The field that a native 400 names.
    pub(crate) fn param(self) -> Value {
        self.status(400)["error"].get("param").cloned().unwrap_or_default()
    }
}
