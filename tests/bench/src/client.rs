//! JSON over HTTP to one server.

use std::{net::SocketAddr, time::Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Incoming};
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

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.call("PUT", path, "application/json", body.to_string().into()).await
    }

    pub(crate) async fn post_lines(&self, path: &str, lines: &[Value]) -> Outcome<Value> {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        self.call("POST", path, "application/x-ndjson", lines.join("\n").into()).await
    }

    /// Reads a stream of events to its end, and says when the first of each of these kinds came.
    pub(crate) async fn follow<const N: usize>(
        &self,
        path: &str,
        body: &Value,
        kinds: [&str; N],
    ) -> Outcome<[Instant; N]> {
        let mut stream = self.answer("POST", path, "application/json", body.to_string().into()).await?;
        let wanted = kinds.map(|kind| format!("event: {kind}\n"));
        let (mut text, mut came) = (String::new(), [None; N]);
        while let Some(frame) = stream.frame().await {
            let now = Instant::now();
            text.push_str(&String::from_utf8_lossy(frame?.data_ref().map_or(&[], AsRef::as_ref)));
            let new = wanted.iter().zip(&mut came).filter(|(line, came)| came.is_none() && text.contains(*line));
            new.for_each(|(_, came)| *came = Some(now));
        }
        let mut moments = [Instant::now(); N];
        for ((moment, came), kind) in moments.iter_mut().zip(came).zip(kinds) {
            *moment = came.ok_or_else(|| format!("{path}: no {kind}: {text}"))?;
        }
        Ok(moments)
    }

    async fn call(&self, method: &str, path: &str, media: &str, body: Bytes) -> Outcome<Value> {
        let text = self.answer(method, path, media, body).await?.collect().await?.to_bytes();
        Ok(serde_json::from_slice(&text)?)
    }

    /// The body of an answer that says that all is well.
    async fn answer(&self, method: &str, path: &str, media: &str, body: Bytes) -> Outcome<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", media)
            .body(Full::new(body))?;
        let response = self.http.request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let text = response.into_body().collect().await?.to_bytes();
        Err(format!("{method} {path}: {status}: {}", String::from_utf8_lossy(&text)).into())
    }
}

/// The text at this place of an answer.
pub(crate) fn text(answer: &Value, pointer: &str) -> Outcome<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    Ok(found.ok_or_else(|| format!("an answer without {pointer}: {answer}"))?.to_owned())
}
