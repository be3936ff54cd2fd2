//! The SDK's HTTP over `reqwest`, which calls the models as well: one HTTP client, one TLS, one list of authorities in the binary.

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
use aws_smithy_types::body::SdkBody;

use super::{CONNECT_TIMEOUT, READ_TIMEOUT};
use crate::{error::Fault, net};

/// As [`http_client`], without a limit on how long an answer takes: for calls that bring a limit of their own.
///
/// # Errors
/// When TLS cannot be set up.
pub fn patient_http_client() -> Result<SharedHttpClient, Fault> {
    let client = net::trusting()?.no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
    Ok(SharedHttpClient::new(Client(client)))
}

/// A client whose connections every AWS service can share. Its timeouts are [`CONNECT_TIMEOUT`] and [`READ_TIMEOUT`], whatever an
/// SDK client asks for. It goes to AWS directly, whatever the proxy variables of the environment say: those are for what lies outside,
/// and a function reaches its tables from within.
///
/// # Errors
/// When TLS cannot be set up.
pub fn http_client() -> Result<SharedHttpClient, Fault> {
    let client = net::trusting()?.no_proxy().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()?;
    Ok(SharedHttpClient::new(Client(client)))
}

#[derive(Debug, Clone)]
struct Client(reqwest::Client);

impl HttpClient for Client {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(exchange(self.0.clone(), request))
    }
}

/// Sends a request and reads its answer whole: answers of DynamoDB and SQS are at most 16 MB, and the SDK wants all of it.
async fn exchange(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap));
    let request = request.map_err(|error| ConnectorError::user(error.into()))?;
    let mut answer = client.execute(request).await.map_err(fault)?;
    let (status, headers) = (answer.status().as_u16(), std::mem::take(answer.headers_mut()));
    let body = answer.bytes().await.map_err(fault)?;
    let status = StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &headers {
        // What AWS answers is ASCII; a header that is not is not one that the SDK reads.
        if let Ok(value) = value.to_str() {
            response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(response)
}

/// What the SDK's retries go by. Whether a call was applied is not known of any of them.
fn fault(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_builder() {
        ConnectorError::user(error.into())
    } else if error.is_connect() {
        ConnectorError::io(error.into()).never_connected()
    } else {
        ConnectorError::io(error.into())
    }
}
