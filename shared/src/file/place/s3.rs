//! A bucket of S3.
//!
//! An upload goes under `uploads/`, where it may be put again as long as its URL holds, and where a rule of the bucket deletes it after a
//! day. What was found good is under `files/`, where nothing but this process writes.

use std::time::Duration;

use aws_config::SdkConfig;
use bytes::Bytes;
use http::{Method, StatusCode};

use super::{File, Kept, Upload};
use crate::{
    clock::Timestamp,
    error::{Fault, Result},
    file::FILE_LIMIT_BYTES,
    id::FileId,
    s3::{Asked, Client},
    tenant::Tenant,
};

/// How long a URL holds that a caller is given to read a file.
const LINK: Duration = Duration::from_secs(300);

/// The bucket.
#[derive(Debug)]
pub struct S3 {
    client: Client,
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
        Ok(Self { client: Client::new(credentials, region)?, base: base.trim_end_matches('/').to_owned() })
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
        let url = self.client.signed(Method::PUT, &url, &headers, holds).await?;
        Ok(Upload { url, headers: vec![("content-type", file.media_type.clone())], until })
    }

    /// Where a caller can read the bytes for some minutes.
    pub(super) async fn link(&self, tenant: Tenant, kept: Kept<'_>) -> Result<String> {
        self.client.signed(Method::GET, &self.kept_url(tenant, kept), &[], LINK).await
    }

    fn upload_url(&self, tenant: Tenant, id: FileId) -> String {
        format!("{}/uploads/{}/{id}", self.base, tenant.org())
    }

    fn kept_url(&self, tenant: Tenant, kept: Kept<'_>) -> String {
        format!("{}/files/{}/{}", self.base, tenant.org(), kept.name())
    }

    /// One request. The body of a 2xx; nothing of a 404.
    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Option<Bytes>> {
        let (limit_bytes, answers) = (FILE_LIMIT_BYTES, &[StatusCode::NOT_FOUND]);
        let (status, body) = self.client.ask(&Asked { method, url, headers, body, limit_bytes, answers }).await?;
        Ok(Some(body).filter(|_| status != StatusCode::NOT_FOUND))
    }
}
