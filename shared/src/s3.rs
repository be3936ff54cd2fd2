//! S3 by URLs that are signed (Signature Version 4) for one request each. Knows no bucket, and not what is in one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use bytes::Bytes;
use http::{Method, StatusCode};

use crate::{
    config::{required, variable},
    error::{Error, Fault, Result},
    net,
};

/// How long a URL holds that is used at once.
const AT_ONCE: Duration = Duration::from_secs(60);
/// How often a request is made, and the first pause before it is made again.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// The longest wait for a connection, and between two pieces of an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
const READ_TIMEOUT: Duration = Duration::from_secs(4);

/// Who asks S3, and where that is.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    credentials: SharedCredentialsProvider,
    region: String,
    endpoint: Option<String>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: Bytes,
    /// How much of an answer is read, in bytes, and one more.
    pub(crate) limit_bytes: usize,
    /// Statuses that are an answer, beside those of success. Others may pass.
    pub(crate) answers: &'a [StatusCode],
}

impl Client {
    /// With these credentials, in that region.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(credentials: SharedCredentialsProvider, region: String) -> std::result::Result<Self, Fault> {
        let http = net::trusting()?.no_proxy().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()?;
        Ok(Self { http, credentials, region, endpoint: None })
    }

    /// The same at an endpoint for all buckets, as an emulator's.
    #[must_use]
    pub fn at(self, endpoint: &str) -> Self {
        Self { endpoint: Some(endpoint.trim_end_matches('/').to_owned()), ..self }
    }

    /// With the credentials, the region and the endpoint of the environment (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL` and the like), as a
    /// function of Lambda has them.
    ///
    /// # Errors
    /// When one is missing, or TLS cannot be set up.
    pub fn from_environment() -> std::result::Result<Self, Fault> {
        let (id, secret) = (required("AWS_ACCESS_KEY_ID")?, required("AWS_SECRET_ACCESS_KEY")?);
        let credentials = Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment");
        let region = variable("AWS_REGION").map_or_else(|| required("AWS_DEFAULT_REGION"), Ok)?;
        let client = Self::new(SharedCredentialsProvider::new(credentials), region)?;
        Ok(variable("AWS_ENDPOINT_URL").map_or_else(|| client.clone(), |endpoint| client.clone().at(&endpoint)))
    }

    /// Where the buckets of the region are, each below its name.
    pub(crate) fn endpoint(&self) -> String {
        let regional = || {
            let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("https://s3.{}.{suffix}", self.region)
        };
        self.endpoint.clone().unwrap_or_else(regional)
    }

    /// The URL with everything in its query that allows this one request until then.
    pub(crate) async fn signed(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        holds: Duration,
    ) -> Result<String> {
        let credentials = self.credentials.provide_credentials().await;
        let identity = credentials.map_err(|error| Error::Unavailable(error.into()))?.into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(holds);
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let internal = |error: Fault| Error::Internal(error);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(clock())
            .settings(settings)
            .build()
            .map_err(|error| internal(error.into()))?;
        let request =
            SignableRequest::new(method.as_str(), url, headers.iter().copied(), SignableBody::UnsignedPayload)
                .map_err(|error| internal(error.into()))?;
        let (instructions, _) = sign(request, &params.into()).map_err(|error| internal(error.into()))?.into_parts();
        let mut signed = http::Request::builder().uri(url).body(()).map_err(|error| internal(error.into()))?;
        instructions.apply_to_request_http1x(&mut signed);
        Ok(signed.uri().to_string())
    }

    /// One request, made again when it may pass. The answer's status, and its body when that is one of success.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it did not pass.
    pub(crate) async fn ask(&self, asked: &Asked<'_>) -> Result<(StatusCode, Bytes)> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let url = self.signed(asked.method.clone(), asked.url, asked.headers, AT_ONCE).await?;
            let request = self.http.request(asked.method.clone(), url).body(asked.body.clone());
            let request = asked.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            match answered(request, asked).await {
                Ok(answer) => return Ok(answer),
                Err(failed) if attempt >= TRIES => return Err(Error::Unavailable(failed)),
                Err(_) => tokio::time::sleep(pause).await,
            }
            attempt = attempt.saturating_add(1);
            pause = pause.saturating_mul(2);
        }
    }
}

/// Reads an answer to its end, but never much more than it may have.
async fn answered(
    request: reqwest::RequestBuilder,
    asked: &Asked<'_>,
) -> std::result::Result<(StatusCode, Bytes), Fault> {
    // The URL is a credential: it must not be in an error.
    let mut answer = request.send().await.map_err(reqwest::Error::without_url)?;
    let status = answer.status();
    if asked.answers.contains(&status) {
        return Ok((status, Bytes::new()));
    }
    if !status.is_success() {
        return Err(format!("S3 answered {}", status.as_u16()).into());
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        body.extend_from_slice(&piece);
        if body.len() > asked.limit_bytes {
            // More than there may be is seen as a wrong length.
            break;
        }
    }
    Ok((status, body.into()))
}

/// The system's clock: S3 compares it with its own, whatever a test's clock says.
fn clock() -> SystemTime {
    let millis = crate::clock::Clock::System.now().millis_unsigned();
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}
