//! JSON over HTTP to one server.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::Outcome;

/// A client that keeps its connections.
pub(crate) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    key: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Http::builder(TokioExecutor::new()).build(connector);
        Self { http, base: format!("http://{address}"), key: key.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> Outcome<Value> {
        self.call("GET", path, "application/json", Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.call("POST", path, "application/json", body.to_string().into()).await
    }

    pub(crate) async fn post_lines(&self, path: &str, lines: &[Value]) -> Outcome<Value> {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        self.call("POST", path, "application/x-ndjson", lines.join("\n").into()).await
    }

    async fn call(&self, method: &str, path: &str, media: &str, body: Bytes) -> Outcome<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", media)
            .body(Full::new(body))?;
        let response = self.http.request(request).await?;
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{method} {path}: {status}: {}", String::from_utf8_lossy(&text)).into());
        }
        Ok(serde_json::from_slice(&text)?)
    }
}

/// The text at this place of an answer.
pub(crate) fn text(answer: &Value, pointer: &str) -> Outcome<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    Ok(found.ok_or_else(|| format!("an answer without {pointer}: {answer}"))?.to_owned())
}
