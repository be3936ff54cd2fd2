//! Where the bytes of files are: a folder of this machine, or a bucket of S3. What is put for an id is whole or not there.

mod folder;
#[cfg(feature = "aws")]
mod s3;
mod token;

use bytes::Bytes;

pub use self::folder::Folder;
#[cfg(feature = "aws")]
pub use self::s3::S3;
pub(super) use self::token::opened;
use super::{Content, File, Upload};
use crate::{app::App, clock::Timestamp, error::Result, id::FileId, tenant::Tenant};

/// What is kept: the bytes of that digest, for that file. Whoever puts others puts them beside it, so that what a file's row names
/// never changes, whoever writes at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) id: FileId,
    /// SHA-256 in lower-case hexadecimal.
    pub(super) sha256: &'a str,
}

impl Kept<'_> {
    fn name(self) -> String {
        format!("{}.{}", self.id, self.sha256)
    }
}

/// Where the bytes of files are.
#[derive(Debug)]
pub enum Files {
    /// A folder of this machine; uploads come to this host.
    Folder(Folder),
    /// A bucket; uploads go there.
    #[cfg(feature = "aws")]
    S3(S3),
}

impl Files {
    /// Puts a file's bytes, durably.
    pub(super) async fn put(&self, tenant: Tenant, kept: Kept<'_>, media_type: &str, bytes: Bytes) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                // A folder keeps no media types: the file's row does.
                let _ = media_type;
                folder.put(tenant, kept, bytes).await
            }
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.put(tenant, kept, media_type, bytes).await,
        }
    }

    /// A file's bytes, if they are there.
    pub(super) async fn get(&self, tenant: Tenant, kept: Kept<'_>) -> Result<Option<Bytes>> {
        match self {
            Self::Folder(folder) => folder.get(tenant, kept).await,
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.get(tenant, kept).await,
        }
    }

    /// Deletes a file's bytes, if they are there.
    pub(super) async fn delete(&self, tenant: Tenant, kept: Kept<'_>) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.delete(tenant, kept).await,
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.delete(tenant, kept).await,
        }
    }

    /// What was uploaded for a pending file past this process. A folder's uploads come through it, and are put when they do.
    pub(super) async fn uploaded(&self, tenant: Tenant, id: FileId) -> Result<Option<Bytes>> {
        match self {
            Self::Folder(_) => {
                let _ = (tenant, id);
                Ok(None)
            }
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.uploaded(tenant, id).await,
        }
    }

    /// Deletes what was uploaded for a file past this process, if there is something.
    pub(super) async fn forget_upload(&self, tenant: Tenant, id: FileId) -> Result<()> {
        match self {
            Self::Folder(_) => {
                let _ = (tenant, id);
                Ok(())
            }
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.forget_upload(tenant, id).await,
        }
    }

    /// Where a pending file's bytes are to be put until then.
    pub(super) async fn upload(&self, app: &App, file: &File, until: Timestamp) -> Result<Upload> {
        match self {
            Self::Folder(_) => token::upload(app, file, until),
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.upload(app.now(), file, until).await,
        }
    }

    /// A file's bytes, or where a caller can get them.
    pub(super) async fn content(&self, tenant: Tenant, kept: Kept<'_>) -> Result<Option<Content>> {
        match self {
            Self::Folder(folder) => Ok(folder.get(tenant, kept).await?.map(Content::Bytes)),
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.link(tenant, kept).await.map(|url| Some(Content::Url(url))),
        }
    }
}
