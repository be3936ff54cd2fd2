//! A tap between an AWS SDK and its connections, which sees each request and decides what becomes of it. Knows no service.

use std::{fmt::Debug, sync::Arc};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde_json::Value;

/// What stands between the SDK and the connection.
pub trait Tap: Debug + Send + Sync + 'static {
    /// Answers the request, by itself or through the connection.
    fn pass(
        &self,
        connection: SharedHttpConnector,
        request: HttpRequest,
    ) -> impl Future<Output = Result<HttpResponse, ConnectorError>> + Send;
}

/// The client with the tap before each of its connections.
pub fn tapped<T: Tap>(tap: Arc<T>, client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Tapped { tap, inner: client })
}

/// An answer with this status and body.
pub fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()))
}

/// The body of an answer.
pub async fn body(answer: HttpResponse) -> Result<Value, ConnectorError> {
    let bytes = ByteStream::new(answer.into_body()).collect().await;
    let bytes = bytes.map_err(|error| ConnectorError::io(error.into()))?.into_bytes();
    Ok(serde_json::from_slice(&bytes).unwrap())
}

/// A client, or one of its connections.
#[derive(Debug)]
struct Tapped<T, Inner> {
    tap: Arc<T>,
    inner: Inner,
}

impl<T: Tap> HttpClient for Tapped<T, SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Tapped { tap: self.tap.clone(), inner })
    }
}

impl<T: Tap> HttpConnector for Tapped<T, SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (tap, connection) = (self.tap.clone(), self.inner.clone());
        HttpConnectorFuture::new(async move { tap.pass(connection, request).await })
    }
}
