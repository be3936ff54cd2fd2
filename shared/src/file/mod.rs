//! Files: what runs are shown. A file never changes: it is put once, checked, and then ready for ever, or deleted.

mod attach;
mod content;
mod place;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use self::attach::{Search, find_all, keep_all, shown};
use self::place::Kept;
#[cfg(feature = "aws")]
pub use self::place::S3;
pub use self::{
    attach::{ATTACHMENTS_LIMIT, Attachment, NewAttachment, TOGETHER_LIMIT_BYTES, URLS_LIMIT},
    content::MEDIA_TYPES,
    place::{Files, Folder},
};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::{FileId, OrgId},
    idempotency::Claim,
    page::{Page, PageRequest},
    random,
    store::{self, Versioned},
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
/// [`Error::Conflict`] when a request with the same idempotency key was faster; [`Error::Unavailable`].
pub async fn keep(app: &App, planned: Planned, claim: Claim) -> Result<File> {
    let Planned { file, bytes } = planned;
    let tenant = Tenant::of(file.org);
    if let Some(bytes) = bytes {
        put(app, tenant, &file, bytes).await?;
    }
    match app.store().save_file(&file, None, claim.write(app, None)?).await {
        Err(store::Error::Conflict { .. }) => {
            // Nobody will ask for it: what stays behind when this fails is only room.
            let _ = unput(app, tenant, &file).await;
            Err(Claim::in_progress())
        }
        other => Ok(other.map(|()| file)?),
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

/// Takes the bytes of a pending file, for whoever has the address that [`upload`] gave.
///
/// # Errors
/// [`Error::NotFound`] for an address that was not given, or does not hold any more; [`Error::Conflict`] when they have come;
/// [`Error::Invalid`] when they are not what was announced.
pub async fn receive(app: &App, id: FileId, token: &str, bytes: Bytes) -> Result<File> {
    let tenant = place::opened(app, id, token).ok_or(Error::NotFound("file"))?;
    let Versioned { value: file, rev } = app.store().file(tenant, id).await?.ok_or(Error::NotFound("file"))?;
    if file.status != Status::Pending {
        return Err(Error::Conflict("the file's bytes have come before".to_owned()));
    }
    content::announced(&file, &bytes).map_err(|message| Error::invalid("", message))?;
    let file = ready(file, &bytes);
    put(app, tenant, &file, bytes).await?;
    match app.store().save_file(&file, Some(rev), None).await {
        Err(store::Error::Conflict { .. }) => match overtaken(app, tenant, &file).await? {
            Some(_) => Err(Error::Conflict("the file's bytes have come before".to_owned())),
            None => Err(Error::NotFound("file")),
        },
        other => Ok(other.map(|()| file)?),
    }
}

/// The file as it is after another wrote it first, or deleted it. Bytes that were put for what it is not are taken away.
async fn overtaken(app: &App, tenant: Tenant, file: &File) -> Result<Option<File>> {
    let now = app.store().file(tenant, file.id).await?.map(|found| found.value);
    if now.as_ref().and_then(|now| now.sha256.as_ref()) != file.sha256.as_ref() {
        unput(app, tenant, file).await?;
    }
    Ok(now)
}

impl File {
    /// Where its bytes are, once they have come.
    fn kept(&self) -> Option<Kept<'_>> {
        self.sha256.as_deref().map(|sha256| Kept { id: self.id, sha256 })
    }
}

async fn put(app: &App, tenant: Tenant, file: &File, bytes: Bytes) -> Result<()> {
    let kept = file.kept().ok_or_else(|| Error::Internal("a file without a digest has no bytes".into()))?;
    app.files().put(tenant, kept, &file.media_type, bytes).await
}

async fn unput(app: &App, tenant: Tenant, file: &File) -> Result<()> {
    match file.kept() {
        Some(kept) => app.files().delete(tenant, kept).await,
        None => Ok(()),
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
    let settled = match content::announced(&file, &bytes) {
        Ok(()) => {
            // To where no address that was given out leads: it cannot change any more.
            let file = ready(file, &bytes);
            put(app, tenant, &file, bytes).await?;
            file
        }
        Err(problem) => File { status: Status::Rejected, problem: Some(problem), upload_until: None, ..file },
    };
    match app.store().save_file(&settled, Some(rev), None).await {
        Ok(()) => Ok(Some(settled)),
        // Another has looked too, or it was deleted.
        Err(store::Error::Conflict { .. }) => overtaken(app, tenant, &settled).await,
        Err(error) => Err(error.into()),
    }
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
        // The bytes first: as long as they may be there, the file can be found and deleted again.
        unput(app, tenant, &file).await?;
        app.files().forget_upload(tenant, id).await?;
        match app.store().delete_file(tenant, id, rev).await {
            // Its bytes came meanwhile.
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            other => return Ok(other?),
        }
    }
    Err(Error::Unavailable("the file is being written".into()))
}
