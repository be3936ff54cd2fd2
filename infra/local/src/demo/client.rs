//! The demo's view of the API: a few calls over HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The host answered something else than was expected.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {problem}")]
pub struct Unexpected {
    call: String,
    problem: String,
}

/// A batch, as the API shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    pub(super) terminal: bool,
    pub(super) items: u32,
    pub(super) counts: Counts,
    pub(super) usage: Usage,
    pub(super) cost_micro_usd: Option<u64>,
    pub(super) wall_ms: u64,
    pub(super) sum_run_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Counts {
    pub(super) queued: u32,
    pub(super) running: u32,
    pub(super) waiting: u32,
    pub(super) done: u32,
    pub(super) error: u32,
    pub(super) interrupted: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Usage {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

/// The result of an item.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    pub(super) index: u32,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) result: Option<String>,
    pub(super) error: Option<String>,
    pub(super) usage: Usage,
    pub(super) cost_micro_usd: Option<u64>,
    pub(super) run_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Made {
    id: String,
}

/// Calls the API with a key.
pub(super) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    key: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr, key: &str) -> Self {
        let http = Http::builder(TokioExecutor::new()).build_http();
        Self { http, base: format!("http://{address}"), key: key.to_owned() }
    }

    pub(super) async fn create_agent(&self, model: &str) -> Result<String, Unexpected> {
        let body = json!({
            "name": "demo",
            "system_prompt": "You answer briefly and plainly.",
            "model": model,
        });
        let made: Made = self.json("POST", "/v1/agents", Some(("application/json", body.to_string()))).await?;
        Ok(made.id)
    }

    /// Sends the items as lines, which a batch of any size may.
    pub(super) async fn create_batch(&self, agent: &str, items: &[Value]) -> Result<String, Unexpected> {
        let lines: Vec<String> = items.iter().map(Value::to_string).collect();
        let path = format!("/v1/agents/{agent}/batches");
        let made: Made = self.json("POST", &path, Some(("application/x-ndjson", lines.join("\n")))).await?;
        Ok(made.id)
    }

    pub(super) async fn batch(&self, id: &str) -> Result<Batch, Unexpected> {
        self.json("GET", &format!("/v1/batches/{id}"), None).await
    }

    pub(super) async fn results(&self, id: &str) -> Result<Vec<Item>, Unexpected> {
        let path = format!("/v1/batches/{id}/results?format=ndjson");
        let text = self.call("GET", &path, None).await?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(|error| unexpected("GET", &path, &error))).collect()
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Result<T, Unexpected> {
        let text = self.call(method, path, body).await?;
        serde_json::from_slice(&text).map_err(|error| unexpected(method, path, &error))
    }

    async fn call(&self, method: &str, path: &str, body: Option<(&str, String)>) -> Result<Bytes, Unexpected> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key));
        if let Some((media, _)) = &body {
            request = request.header("content-type", *media);
        }
        let body = body.map(|(_, text)| Bytes::from(text)).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| unexpected(method, path, &error))?;
        let response = self.http.request(request).await.map_err(|error| unexpected(method, path, &error))?;
        let status = response.status();
        let text = response.into_body().collect().await.map_err(|error| unexpected(method, path, &error))?.to_bytes();
        if status.is_success() {
            return Ok(text);
        }
        let said = serde_json::from_slice::<Value>(&text).ok();
        let message = said.as_ref().and_then(|body| body.pointer("/error/message")).and_then(Value::as_str);
        let problem = format!("{status}: {}", message.unwrap_or("no message"));
        Err(Unexpected { call: format!("{method} {path}"), problem })
    }
}

fn unexpected(method: &str, path: &str, problem: &dyn std::fmt::Display) -> Unexpected {
    Unexpected { call: format!("{method} {path}"), problem: problem.to_string() }
}
