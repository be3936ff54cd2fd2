//! Files: what runs are shown. A file never changes: it is put once, checked, and then ready for ever, or deleted.

mod attach;
mod content;
mod limits;
mod place;
mod unclaimed;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::attach::fetch;
use self::place::Kept;
#[cfg(feature = "aws")]
pub use self::place::S3;
pub use self::{
    attach::{ATTACHMENTS_LIMIT, Attachment, NewAttachment, TOGETHER_LIMIT_BYTES, URLS_LIMIT},
    content::MEDIA_TYPES,
    limits::Limits,
    place::{Files, Folder},
    unclaimed::{UNCLAIMED_MS, sweep},
};
pub(crate) use self::{
    attach::{Search, find_all, keep_all, shown, shown_bytes},
    limits::{Room, Taken},
    unclaimed::Unclaimed,
};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::{FileId, OrgId},
    idempotency::Claim,
    page::{Page, PageRequest},
    random,
    store::{self, Versioned, files::Unsaved},
    tenant::{Caller, Scope, Tenant},
};

/// The largest file, in bytes.
pub const FILE_LIMIT_BYTES: usize = 20 * 1024 * 1024;
/// The longest name, in characters.
pub const NAME_LIMIT: usize = 200;
/// How long an address for an upload holds, in milliseconds.
pub const UPLOAD_MS: i64 = 60 * 60 * 1000;

/// How often a file is deleted anew that others write: its row changes once in its life.
const DELETE_TRIES: u32 = 3;

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its bytes have not come yet.
    Pending,
    /// It can be shown to runs.
    Ready,
    /// What came was not what was announced.
    Rejected,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Rejected => "rejected",
        }
    }
}

/// A file, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its id.
    pub id: FileId,
    pub(crate) org: OrgId,
    /// What its owner calls it.
    pub name: String,
    /// One of [`MEDIA_TYPES`], or another `text/…`.
    pub media_type: String,
    /// How many bytes it has, or was announced to have.
    pub bytes: u64,
    /// The SHA-256 of its bytes in lower-case hexadecimal; `None` as long as they have not come.
    pub sha256: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Why it was rejected.
    pub problem: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when its bytes may come; `None` when they came with it.
    pub upload_until: Option<Timestamp>,
}

/// Where the bytes of a pending file are put: one PUT, without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// An address, or the path and query of one of this host's.
    pub url: String,
    /// Headers that must be sent with it.
    pub headers: Vec<(&'static str, String)>,
    /// Until when.
    pub until: Timestamp,
}

/// The bytes of a file, or where they can be had.
#[derive(Debug)]
pub enum Content {
    /// Here they are.
    Bytes(Bytes),
    /// At this address, for some minutes.
    Url(String),
}

/// A file whose bytes are there, or that is announced, not yet kept: see [`keep`].
#[derive(Debug)]
pub struct Planned {
    file: File,
    bytes: Option<Bytes>,
}

impl Planned {
    /// The file as it will be.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }
}

/// Checks a file whose bytes are here.
///
/// # Errors
/// [`Error::Invalid`] naming `name`, `media_type` or `data`; [`Error::Forbidden`].
pub fn plan(app: &App, caller: &Caller, name: &str, media_type: &str, bytes: Bytes) -> Result<Planned> {
    caller.require(Scope::RunsWrite)?;
    let mut problems = content::named(name, media_type);
    if problems.is_empty()
        && let Err(message) = content::check(media_type, &bytes)
    {
        problems.push(Problem { field: "data".to_owned(), message });
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    Ok(planned(app, caller.tenant(), name, media_type, bytes))
}

fn planned(app: &App, tenant: Tenant, name: &str, media_type: &str, bytes: Bytes) -> Planned {
    let file = File {
        sha256: Some(content::sha256(&bytes)),
        status: Status::Ready,
        upload_until: None,
        ..announced(app, tenant, name, media_type, u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    };
    Planned { file, bytes: Some(bytes) }
}

/// Checks a file whose bytes will come by an upload.
///
/// # Errors
/// [`Error::Invalid`] naming `name`, `media_type` or `bytes`; [`Error::Forbidden`].
pub fn plan_upload(app: &App, caller: &Caller, name: &str, media_type: &str, bytes: u64) -> Result<Planned> {
    caller.require(Scope::RunsWrite)?;
    let mut problems = content::named(name, media_type);
    let limit = u64::try_from(FILE_LIMIT_BYTES).unwrap_or(u64::MAX);
    if !(1..=limit).contains(&bytes) {
        problems.push(Problem { field: "bytes".to_owned(), message: format!("must be from 1 to {limit}") });
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    Ok(Planned { file: announced(app, caller.tenant(), name, media_type, bytes), bytes: None })
}

fn announced(app: &App, tenant: Tenant, name: &str, media_type: &str, bytes: u64) -> File {
    let now = app.now();
    File {
        id: FileId::new(now),
        org: tenant.org(),
        name: name.to_owned(),
        media_type: media_type.to_owned(),
        bytes,
        sha256: None,
        status: Status::Pending,
        problem: None,
        created_at: now,
        upload_until: Some(now.plus_ms(UPLOAD_MS)),
    }
}

/// Keeps the file, its bytes first: a file that is there has them.
///
/// # Errors
/// [`Error::Conflict`] when the organisation has no room for it ([`Limits`]), or when a request with the same idempotency key was
/// faster; [`Error::Unavailable`].
pub async fn keep(app: &App, planned: Planned, claim: Claim) -> Result<File> {
    let File { org, bytes, .. } = planned.file;
    app.config().files.check(app, Tenant::of(org), 1, bytes).await?;
    keep_checked(app, planned, claim).await
}

/// Keeps a file that there was room for. What stays behind when this fails has a note.
async fn keep_checked(app: &App, planned: Planned, claim: Claim) -> Result<File> {
    let Planned { file, bytes } = planned;
    let note = match bytes {
        Some(bytes) => Some(unclaimed::put(app, &file, bytes).await?),
        None => None,
    };
    let limits = &app.config().files;
    match app.store().save_file(&file, None, note, limits, claim.write(app, None)?).await {
        Ok(()) => Ok(file),
        Err(Unsaved::Full) => Err(limits.full()),
        Err(Unsaved::Changed) => Err(Claim::in_progress()),
        Err(Unsaved::Failed(error)) => Err(error.into()),
    }
}

/// Where the bytes of a pending file are to be put, if it is pending and it is not too late.
///
/// # Errors
/// [`Error::Internal`] when the address cannot be signed.
pub async fn upload(app: &App, file: &File) -> Result<Option<Upload>> {
    let Some(until) = file.upload_until.filter(|until| file.status == Status::Pending && *until > app.now()) else {
        return Ok(None);
    };
    app.files().upload(app, file, until).await.map(Some)
}

/// Whether this is an address that [`upload`] gave, and still holds. To be asked before bytes are read; [`receive`] asks too.
///
/// # Errors
/// [`Error::NotFound`] for an address that was not given, or does not hold any more.
pub fn may_receive(app: &App, id: FileId, token: &str) -> Result<()> {
    place::opened(app, id, token).map(|_| ()).ok_or(Error::NotFound("file"))
}

/// Takes the bytes of a pending file, for whoever has the address that [`upload`] gave.
///
/// # Errors
/// As [`may_receive`]; [`Error::Conflict`] when they have come, or the organisation has no room for them; [`Error::Invalid`] when they
/// are not what was announced.
pub async fn receive(app: &App, id: FileId, token: &str, bytes: Bytes) -> Result<File> {
    let tenant = place::opened(app, id, token).ok_or(Error::NotFound("file"))?;
    let Versioned { value: file, rev } = app.store().file(tenant, id).await?.ok_or(Error::NotFound("file"))?;
    let come_before = || Error::Conflict("the file's bytes have come before".to_owned());
    if file.status != Status::Pending {
        return Err(come_before());
    }
    content::announced(&file, &bytes).map_err(|message| Error::invalid("", message))?;
    let limits = &app.config().files;
    limits.check(app, tenant, 1, file.bytes).await?;
    let file = ready(file, &bytes);
    let note = unclaimed::put(app, &file, bytes).await?;
    match app.store().save_file(&file, Some(rev), Some(note), limits, None).await {
        Ok(()) => Ok(file),
        Err(Unsaved::Full) => Err(limits.full()),
        Err(Unsaved::Changed) => match app.store().file(tenant, id).await? {
            Some(_) => Err(come_before()),
            None => Err(Error::NotFound("file")),
        },
        Err(Unsaved::Failed(error)) => Err(error.into()),
    }
}

impl File {
    /// Where its bytes are, once they have come.
    fn kept(&self) -> Option<Kept<'_>> {
        self.sha256.as_deref().map(|sha256| Kept { id: self.id, sha256 })
    }
}

fn ready(file: File, bytes: &[u8]) -> File {
    File { sha256: Some(content::sha256(bytes)), status: Status::Ready, upload_until: None, ..file }
}

/// The file. Whether its bytes have come is looked at.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(app: &App, caller: &Caller, id: FileId) -> Result<File> {
    caller.require(Scope::RunsRead)?;
    settled(app, caller.tenant(), id).await?.ok_or(Error::NotFound("file"))
}

/// The file as it is now: one whose bytes have come since it was looked at last is checked, and ready or rejected for ever.
async fn settled(app: &App, tenant: Tenant, id: FileId) -> Result<Option<File>> {
    let Some(Versioned { value: file, rev }) = app.store().file(tenant, id).await? else { return Ok(None) };
    if file.status != Status::Pending {
        return Ok(Some(file));
    }
    let Some(bytes) = app.files().uploaded(tenant, id).await? else { return Ok(Some(file)) };
    let limits = &app.config().files;
    let (mut settled, mut note) = match content::announced(&file, &bytes) {
        Ok(()) => {
            // To where no address that was given out leads: it cannot change any more.
            let file = ready(file.clone(), &bytes);
            let note = unclaimed::put(app, &file, bytes).await?;
            (file, Some(note))
        }
        Err(problem) => (rejected(file.clone(), problem), None),
    };
    loop {
        match app.store().save_file(&settled, Some(rev), note.take(), limits, None).await {
            Ok(()) => return Ok(Some(settled)),
            Err(Unsaved::Full) => settled = rejected(file.clone(), limits.full().to_string()),
            // Another has looked too, or it was deleted.
            Err(Unsaved::Changed) => return Ok(app.store().file(tenant, id).await?.map(|found| found.value)),
            Err(Unsaved::Failed(error)) => return Err(error.into()),
        }
    }
}

fn rejected(file: File, problem: String) -> File {
    File { status: Status::Rejected, problem: Some(problem), upload_until: None, ..file }
}

/// The file's bytes, or where they can be had.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] when it is not ready.
pub async fn content(app: &App, caller: &Caller, id: FileId) -> Result<(File, Content)> {
    let file = get(app, caller, id).await?;
    let Some(kept) = file.kept().filter(|_| file.status == Status::Ready) else {
        return Err(Error::Conflict(format!("the file is {}", file.status.name())));
    };
    let content = app.files().content(caller.tenant(), kept).await?.ok_or(Error::NotFound("file"))?;
    Ok((file, content))
}

/// The file and its bytes, for what the organisation itself does with them.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] when it is not ready.
pub(crate) async fn bytes(app: &App, tenant: Tenant, id: FileId) -> Result<(File, Bytes)> {
    let file = settled(app, tenant, id).await?.ok_or(Error::NotFound("file"))?;
    let Some(kept) = file.kept().filter(|_| file.status == Status::Ready) else {
        return Err(Error::Conflict(format!("the file is {}", file.status.name())));
    };
    let bytes = app.files().get(tenant, kept).await?.ok_or(Error::NotFound("file"))?;
    Ok((file, bytes))
}

/// The organisation's files, newest first, as they were looked at last.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, page: &PageRequest) -> Result<Page<File>> {
    caller.require(Scope::RunsRead)?;
    let before = page.position("files")?;
    let (files, next) = app.store().files(caller.tenant(), before, page.limit).await?;
    Ok(Page::new(files, next.as_deref(), "files"))
}

/// Deletes the file. Runs that were shown it keep its name, and their next model calls are told that it is gone.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn delete(app: &App, caller: &Caller, id: FileId) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    let tenant = caller.tenant();
    for attempt in 1..=DELETE_TRIES {
        let Versioned { value: file, rev } = app.store().file(tenant, id).await?.ok_or(Error::NotFound("file"))?;
        match app.store().delete_file(&file, rev, app.now()).await {
            Ok(note) => {
                if let Err(error) = forget(app, &file, note).await {
                    tracing::warn!(org = %file.org, file = %id, error = ?error, "a deleted file's bytes are still there; they go within a day");
                }
                return Ok(());
            }
            // Its bytes came meanwhile.
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the file is being written".into()))
}

/// Takes the bytes away that are left of a file without a row.
async fn forget(app: &App, file: &File, note: Option<store::files::Note>) -> Result<()> {
    app.files().forget_upload(Tenant::of(file.org), file.id).await?;
    match Unclaimed::of(file).zip(note) {
        Some((unclaimed, note)) => unclaimed::remove(app, &unclaimed, note).await,
        None => Ok(()),
    }
}
