//! Batches of which SQS takes only a part: a connector between the SDK and the connection that keeps some entries back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpClient, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tests::tap::{self, Tap};

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
        tap::tapped(self.clone(), inner)
    }
}

impl Tap for Partial {
    async fn pass(
        &self,
        connection: SharedHttpConnector,
        mut request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        if request.headers().get("x-amz-target") != Some("AmazonSQS.SendMessageBatch") {
            return connection.call(request).await;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let entries = asked["Entries"].as_array_mut().unwrap();
        if self.refusal == Refusal::None || entries.len() < 2 {
            return connection.call(request).await;
        }
        let kept = entries.pop().unwrap();
        let body = asked.to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        let answer = connection.call(request).await?;
        assert!(answer.status().is_success());
        let mut body = tap::body(answer).await?;
        let ours = self.refusal == Refusal::OurMistake;
        body["Failed"] =
            json!([{ "Id": kept["Id"], "Code": "InternalError", "SenderFault": ours, "Message": "not now" }]);
        Ok(tap::answer(200, &body))
    }
}
