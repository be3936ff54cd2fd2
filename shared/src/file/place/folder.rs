//! A folder of this machine: a folder for each organisation, in it a file for each id and digest. Paths are made of those alone. Another
//! folder, [`UNFINISHED`], has what is being written.

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

/// What the folder of unfinished files is called: no organisation is called so.
const UNFINISHED: &str = ".unfinished";

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// That folder. It is made when the first file is put.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Removes what earlier processes had begun to write when they died. Only for a process that knows that no other writes here.
    ///
    /// # Errors
    /// When the folder cannot be changed.
    pub fn clear_unfinished(&self) -> io::Result<()> {
        found(fs::remove_dir_all(self.0.join(UNFINISHED))).map(|_| ())
    }

    fn path(&self, tenant: Tenant, kept: Kept<'_>) -> PathBuf {
        self.0.join(tenant.org().to_string()).join(kept.name())
    }

    pub(super) async fn put(&self, tenant: Tenant, kept: Kept<'_>, bytes: Bytes) -> Result<()> {
        let (path, unfinished) = (self.path(tenant, kept), self.0.join(UNFINISHED));
        beside(move || put(&path, &unfinished, &bytes)).await
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

/// In another folder first: what has the id's name is whole, and on the disk with its name when this returns.
fn put(path: &Path, unfinished: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    builder.create(unfinished)?;
    let beside = unfinished.join(Uuid::now_v7().to_string());
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
