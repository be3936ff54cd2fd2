//! Bytes that no row names. Before bytes are put it is noted that they will be there, and the write of the file's row takes the note
//! away; the deletion of a row writes one. So whoever dies in between leaves a note, and [`sweep`], beside the reaper, takes the bytes away.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{File, Kept, Status};
use crate::{
    app::App,
    error::{Error, Result},
    id::{FileId, OrgId},
    store::{self, files::Note},
    tenant::Tenant,
};

/// How long bytes stay that no row names, in milliseconds: far longer than it takes to write the row.
pub const UNCLAIMED_MS: i64 = 24 * 60 * 60 * 1000;
/// How many notes one sweep looks at.
const SWEPT_AT_ONCE: usize = 100;

/// Which bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unclaimed {
    pub(crate) org: OrgId,
    pub(crate) id: FileId,
    pub(crate) sha256: String,
}

impl Unclaimed {
    /// The bytes of the file, if they have come.
    pub(crate) fn of(file: &File) -> Option<Self> {
        Some(Self { org: file.org, id: file.id, sha256: file.sha256.clone()? })
    }

    fn kept(&self) -> Kept<'_> {
        Kept { id: self.id, sha256: &self.sha256 }
    }
}

/// Notes the file's bytes and puts them. The note is for the write of the file's row to take away.
pub(super) async fn put(app: &App, file: &File, bytes: Bytes) -> Result<Note> {
    let unclaimed =
        Unclaimed::of(file).ok_or_else(|| Error::Internal("a file without a digest has no bytes".into()))?;
    let note = app.store().note(&unclaimed, app.now()).await?;
    app.files().put(Tenant::of(file.org), unclaimed.kept(), &file.media_type, bytes).await?;
    Ok(note)
}

/// Takes bytes away that no row names any more, and their note. What fails is left to the sweep.
pub(super) async fn remove(app: &App, unclaimed: &Unclaimed, note: Note) -> Result<()> {
    app.files().delete(Tenant::of(unclaimed.org), unclaimed.kept()).await?;
    Ok(app.store().forget_note(note).await?)
}

/// Takes away what was noted more than [`UNCLAIMED_MS`] ago and is not named by a row. To be called now and then.
///
/// # Errors
/// As the store says. What cannot be deleted now is logged, and is looked at again.
pub async fn sweep(app: &App) -> Result<()> {
    for (note, unclaimed) in app.store().notes(app.now().plus_ms(-UNCLAIMED_MS), SWEPT_AT_ONCE).await? {
        if let Err(error) = sweep_one(app, note, &unclaimed).await {
            tracing::warn!(org = %unclaimed.org, file = %unclaimed.id, error = ?error, "bytes without a row are not deleted yet");
        }
    }
    Ok(())
}

async fn sweep_one(app: &App, note: Note, unclaimed: &Unclaimed) -> Result<()> {
    let row = app.store().file(Tenant::of(unclaimed.org), unclaimed.id).await?.map(|found| found.value);
    if row.as_ref().is_some_and(|file| file.status == Status::Pending) {
        // Others may be about to put the same bytes for it: its row goes by itself, or becomes what stays.
        return Ok(());
    }
    // From here on no row can come that names them by this note.
    let note = match app.store().take_note(note, unclaimed).await {
        Err(store::Error::Conflict { .. }) => return Ok(()),
        taken => taken?,
    };
    if row.and_then(|file| file.sha256).as_ref() == Some(&unclaimed.sha256) {
        return Ok(app.store().forget_note(note).await?);
    }
    remove(app, unclaimed, note).await
}
