//! A folder of this machine: a folder for each organisation, in it a file for each id and digest. Paths are made of those alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use uuid::Uuid;

use super::Kept;
use crate::{
    error::{Error, Result},
    tenant::Tenant,
};

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// That folder. It is made when the first file is put.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn path(&self, tenant: Tenant, kept: Kept<'_>) -> PathBuf {
        self.0.join(tenant.org().to_string()).join(kept.name())
    }

    pub(super) async fn put(&self, tenant: Tenant, kept: Kept<'_>, bytes: Bytes) -> Result<()> {
        let path = self.path(tenant, kept);
        beside(move || put(&path, &bytes)).await
    }

    pub(super) async fn get(&self, tenant: Tenant, kept: Kept<'_>) -> Result<Option<Bytes>> {
        let path = self.path(tenant, kept);
        beside(move || found(fs::read(path)).map(|bytes| bytes.map(Bytes::from))).await
    }

    pub(super) async fn delete(&self, tenant: Tenant, kept: Kept<'_>) -> Result<()> {
        let path = self.path(tenant, kept);
        beside(move || found(fs::remove_file(path)).map(|_| ())).await
    }
}

/// Under another name first: what has the id's name is whole, and on the disk with its name when this returns.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let beside = folder.join(format!(".{}", Uuid::now_v7()));
    let mut made = OpenOptions::new();
    made.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut made, 0o600);
    let written = made.open(&beside).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    renamed?;
    File::open(folder)?.sync_all()
}

fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Does what waits for the disk on a thread that may wait.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.into()))?;
    outcome.map_err(|error| Error::Unavailable(error.into()))
}
