//! JSON over HTTP to a process that may die at any moment.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::time::sleep;

/// The process went away before it had answered.
#[derive(Debug)]
pub(crate) struct NoAnswer;

#[derive(Clone)]
pub(crate) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    key: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        // A connection to a process that was killed must not be used for its successor.
        let http = Http::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { http, base: format!("http://{address}"), key: key.to_owned() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The same at another address.
    #[cfg(feature = "fault-points")]
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { base: format!("http://{address}"), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, NoAnswer> {
        self.send("GET", path, "", String::new()).await.map(|(status, body)| {
            assert_eq!(status, 200, "{path}: {body}");
            body
        })
    }

    pub(crate) async fn agent(&self, model: &str) -> String {
        self.agent_with(json!({"name": "witness", "model": model})).await
    }

    pub(crate) async fn agent_with(&self, body: Value) -> String {
        let body = body.to_string();
        let (status, made) = self.send("POST", "/v1/agents", "", body).await.unwrap();
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// Sends it with this idempotency key: JSON lines when it does not begin as an object.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        idempotency_key: &str,
        body: String,
    ) -> Result<(u16, Value), NoAnswer> {
        let media = if body.contains("}\n{") { "application/x-ndjson" } else { "application/json" };
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", media);
        if !idempotency_key.is_empty() {
            request = request.header("idempotency-key", idempotency_key);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = self.http.request(request).await.map_err(|_| NoAnswer)?;
        let status = response.status().as_u16();
        let text = response.into_body().collect().await.map_err(|_| NoAnswer)?.to_bytes();
        Ok((status, serde_json::from_slice(&text).unwrap_or(Value::Null)))
    }

    /// Reads server-sent events after that number, as far as they come, and says whether the answer came to its end.
    pub(crate) async fn follow(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: &str,
        events: &mut Vec<Value>,
    ) -> bool {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key))
            .header("accept", "text/event-stream")
            .header("last-event-id", events.len().to_string());
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let Ok(response) = self.http.request(request).await else { return false };
        assert!([200, 204, 409].contains(&response.status().as_u16()), "{}", response.status());
        let (mut body, mut text) = (response.into_body(), String::new());
        loop {
            match body.frame().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => {
                    text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                    while let Some((block, rest)) = text.split_once("\n\n") {
                        let data = block.lines().find_map(|line| line.strip_prefix("data: "));
                        events.extend(data.map(|data| serde_json::from_str::<Value>(data).unwrap()));
                        text = rest.to_owned();
                    }
                }
            }
        }
    }

    /// Asks until there is an answer, with the same idempotency key, as a careful caller does.
    pub(crate) async fn insist(&self, path: &str, key: &str, body: &str) {
        loop {
            match self.send("POST", path, key, body.to_owned()).await {
                Ok((200 | 202, _)) => return,
                // The same request is still being worked on: by a call whose caller has gone.
                Ok((409, _)) | Err(_) => sleep(Duration::from_millis(20)).await,
                Ok((status, answer)) => panic!("{path}: {status}: {answer}"),
            }
        }
    }

    /// Every run that there is.
    pub(crate) async fn runs(&self) -> Result<Vec<Value>, NoAnswer> {
        let (mut runs, mut path) = (Vec::new(), "/v1/runs?limit=100".to_owned());
        loop {
            let page = self.get(&path).await?;
            runs.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/runs?limit=100&after={cursor}"),
                None => return Ok(runs),
            }
        }
    }
}
