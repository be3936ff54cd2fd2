//! How much there may be of files: what an organisation may keep, and what this process may hold in memory at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::TOGETHER_LIMIT_BYTES;
use crate::{
    app::App,
    error::{Error, Result},
    tenant::Tenant,
};

/// The limits, which an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most files of an organisation that are ready.
    pub files: u64,
    /// The most bytes that they may have together.
    pub bytes: u64,
    /// The most bytes of files that this process holds for model calls at a time: further runs wait for their turn. What a call needs
    /// of memory is up to six times the bytes of its files. Never less than [`TOGETHER_LIMIT_BYTES`], so that every run gets its turn.
    pub shown_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 10_000, bytes: 10 * 1024 * 1024 * 1024, shown_bytes: 100 * 1024 * 1024 }
    }
}

impl Limits {
    /// The error for a file that an organisation has no room for.
    pub(super) fn full(&self) -> Error {
        let Self { files, bytes, .. } = self;
        Error::Conflict(format!(
            "an organisation has at most {files} files of at most {bytes} bytes together: delete some"
        ))
    }

    /// Refuses files that the organisation has no room for at this moment: whether it still has when they are kept shows in that write.
    pub(super) async fn check(&self, app: &App, tenant: Tenant, files: u64, bytes: u64) -> Result<()> {
        let (has_files, has_bytes) = app.store().files_kept(tenant).await?;
        let fits = has_files.saturating_add(files) <= self.files && has_bytes.saturating_add(bytes) <= self.bytes;
        if fits { Ok(()) } else { Err(self.full()) }
    }
}

/// The memory for files that models are shown, handed out in KiB, to who came first.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

/// A part of it, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Taken {
    /// Whether so many bytes fit into it.
    pub(crate) const fn holds(&self, bytes: u64) -> bool {
        self.bytes >= bytes
    }
}

impl Room {
    /// Room for so many bytes, or for what one run may be shown, if that is more.
    pub(crate) fn new(bytes: u64) -> Self {
        let kib = usize::try_from(bytes.max(TOGETHER_LIMIT_BYTES).div_ceil(1024)).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes room for so many bytes, at most [`TOGETHER_LIMIT_BYTES`], if there is some and nobody waits for it.
    pub(crate) fn now(&self, bytes: u64) -> Option<Taken> {
        let permit = Arc::clone(&self.0).try_acquire_many_owned(kib(bytes)).ok()?;
        Some(Taken { bytes, _permit: permit })
    }

    /// The same, as soon as there is some.
    ///
    /// # Errors
    /// None as long as the process goes on.
    pub(crate) async fn take(&self, bytes: u64) -> Result<Taken> {
        let permit = Arc::clone(&self.0).acquire_many_owned(kib(bytes)).await;
        permit.map(|permit| Taken { bytes, _permit: permit }).map_err(|error| Error::Internal(error.into()))
    }
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.min(TOGETHER_LIMIT_BYTES).div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_taken_once_and_by_who_came_first() {
        let room = Room::new(0);
        let all = room.now(TOGETHER_LIMIT_BYTES).unwrap();
        assert!(all.holds(TOGETHER_LIMIT_BYTES) && room.now(1).is_none());
        let mut large = Box::pin(room.take(TOGETHER_LIMIT_BYTES));
        assert!(futures_util::poll!(&mut large).is_pending());
        drop(all);
        assert!(room.now(1).is_none(), "a small one does not go before a large one that waits");
        let all = large.await.unwrap();
        assert!(room.now(1).is_none());
        drop(all);
        assert!(room.now(u64::MAX).is_some(), "nobody waits for more than there is");
    }
}
