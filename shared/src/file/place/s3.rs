//! A bucket of S3, by URLs that are signed (Signature Version 4) for one request each, over the HTTP client that AWS is called with.
//!
//! An upload goes under `uploads/`, where it may be put again as long as its URL holds, and where a rule of the bucket deletes it after a
//! day. What was found good is under `files/`, where nothing but this process writes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use bytes::Bytes;
use http::{Method, StatusCode};

use super::{File, Kept, Upload};
use crate::{
    aws,
    clock::Timestamp,
    error::{Error, Fault, Result},
    file::FILE_LIMIT_BYTES,
    id::FileId,
    tenant::Tenant,
};

/// How long a URL holds that is used at once, and one that a caller is given to read a file.
const AT_ONCE: Duration = Duration::from_secs(60);
const LINK: Duration = Duration::from_secs(300);
/// How often a request is made, and the first pause before it is made again.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// The bucket.
#[derive(Debug)]
pub struct S3 {
    client: reqwest::Client,
    credentials: SharedCredentialsProvider,
    region: String,
    /// Where the bucket is, without a slash at the end.
    base: String,
}

impl S3 {
    /// The bucket at that URL, as in `https://bucket.s3.eu-west-1.amazonaws.com`, with the region and credentials of AWS's other clients.
    ///
    /// # Errors
    /// When there is no region or there are no credentials, or TLS cannot be set up.
    pub fn new(config: &SdkConfig, base: &str) -> std::result::Result<Self, Fault> {
        let region = config.region().ok_or("no region is set")?.to_string();
        let credentials = config.credentials_provider().ok_or("no credentials are set")?;
        Ok(Self { client: aws::plain_client()?, credentials, region, base: base.trim_end_matches('/').to_owned() })
    }

    pub(super) async fn put(&self, tenant: Tenant, kept: Kept<'_>, media_type: &str, bytes: Bytes) -> Result<()> {
        let headers = [("content-type", media_type)];
        self.exchange(Method::PUT, &self.kept_url(tenant, kept), &headers, bytes).await.map(|_| ())
    }

    pub(super) async fn get(&self, tenant: Tenant, kept: Kept<'_>) -> Result<Option<Bytes>> {
        self.exchange(Method::GET, &self.kept_url(tenant, kept), &[], Bytes::new()).await
    }

    pub(super) async fn uploaded(&self, tenant: Tenant, id: FileId) -> Result<Option<Bytes>> {
        self.exchange(Method::GET, &self.upload_url(tenant, id), &[], Bytes::new()).await
    }

    pub(super) async fn delete(&self, tenant: Tenant, kept: Kept<'_>) -> Result<()> {
        self.exchange(Method::DELETE, &self.kept_url(tenant, kept), &[], Bytes::new()).await.map(|_| ())
    }

    pub(super) async fn forget_upload(&self, tenant: Tenant, id: FileId) -> Result<()> {
        self.exchange(Method::DELETE, &self.upload_url(tenant, id), &[], Bytes::new()).await.map(|_| ())
    }

    /// Where a caller puts the bytes: of that length and media type, which are signed.
    pub(super) async fn upload(&self, now: Timestamp, file: &File, until: Timestamp) -> Result<Upload> {
        let length = file.bytes.to_string();
        let headers = [("content-length", length.as_str()), ("content-type", file.media_type.as_str())];
        let url = self.upload_url(Tenant::of(file.org), file.id);
        let holds = Duration::from_millis(until.since_ms(now));
        let url = self.signed(Method::PUT, &url, &headers, holds).await?;
        Ok(Upload { url, headers: vec![("content-type", file.media_type.clone())], until })
    }

    /// Where a caller can read the bytes for some minutes.
    pub(super) async fn link(&self, tenant: Tenant, kept: Kept<'_>) -> Result<String> {
        self.signed(Method::GET, &self.kept_url(tenant, kept), &[], LINK).await
    }

    fn upload_url(&self, tenant: Tenant, id: FileId) -> String {
        format!("{}/uploads/{}/{id}", self.base, tenant.org())
    }

    fn kept_url(&self, tenant: Tenant, kept: Kept<'_>) -> String {
        format!("{}/files/{}/{}", self.base, tenant.org(), kept.name())
    }

    /// The URL with everything in its query that allows this one request until then.
    async fn signed(&self, method: Method, url: &str, headers: &[(&str, &str)], holds: Duration) -> Result<String> {
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

    /// One request, made again when it may pass. The body of a 2xx; nothing of a 404.
    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Option<Bytes>> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let url = self.signed(method.clone(), url, headers, AT_ONCE).await?;
            let request = self.client.request(method.clone(), url).body(body.clone());
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let failed = match answered(request).await {
                Ok(found) => return Ok(found),
                Err(failed) => failed,
            };
            if attempt >= TRIES {
                return Err(Error::Unavailable(failed));
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        Ok(None)
    }
}

/// Reads an answer to its end, but never more than a file may have.
async fn answered(request: reqwest::RequestBuilder) -> std::result::Result<Option<Bytes>, Fault> {
    // The URL is a credential: it must not be in an error.
    let mut answer = request.send().await.map_err(reqwest::Error::without_url)?;
    match answer.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        status if status.is_success() => {}
        status => return Err(format!("S3 answered {}", status.as_u16()).into()),
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        body.extend_from_slice(&piece);
        if body.len() > FILE_LIMIT_BYTES {
            // One byte too many is seen as a wrong length.
            break;
        }
    }
    Ok(Some(body.into()))
}

/// The system's clock: S3 compares it with its own, whatever a test's clock says.
fn clock() -> SystemTime {
    let millis = crate::clock::Clock::System.now().millis_unsigned();
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}
