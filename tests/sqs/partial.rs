//! Batches of which SQS takes only a part: a connector between the SDK and the connection that keeps some entries back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde_json::{Value, json};

/// What is said of the last entry of a batch with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing: all are taken.
    None,
    /// SQS could not; the entry was not taken.
    Passing,
    /// The sender made a mistake; the entry was not taken.
    OurMistake,
}

#[derive(Debug)]
pub(crate) struct Partial {
    refusal: Refusal,
    calls: AtomicUsize,
}

impl Partial {
    pub(crate) fn new(refusal: Refusal) -> Arc<Self> {
        Arc::new(Self { refusal, calls: AtomicUsize::new(0) })
    }

    /// How many batches were sent.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn over(self: &Arc<Self>, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Client { inner, partial: self.clone() })
    }

    async fn pass(&self, inner: SharedHttpConnector, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        if request.headers().get("x-amz-target") != Some("AmazonSQS.SendMessageBatch") {
            return inner.call(request).await;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let entries = asked["Entries"].as_array_mut().unwrap();
        if self.refusal == Refusal::None || entries.len() < 2 {
            return inner.call(request).await;
        }
        let kept = entries.pop().unwrap();
        let body = asked.to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        let answer = inner.call(request).await?;
        assert!(answer.status().is_success());
        let body = ByteStream::new(answer.into_body()).collect().await.unwrap().into_bytes();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let ours = self.refusal == Refusal::OurMistake;
        body["Failed"] =
            json!([{ "Id": kept["Id"], "Code": "InternalError", "SenderFault": ours, "Message": "not now" }]);
        Ok(HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(body.to_string())))
    }
}

#[derive(Debug)]
struct Client {
    inner: SharedHttpClient,
    partial: Arc<Partial>,
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, partial: self.partial.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    partial: Arc<Partial>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, partial) = (self.inner.clone(), self.partial.clone());
        HttpConnectorFuture::new(async move { partial.pass(inner, request).await })
    }
}
