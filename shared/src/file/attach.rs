//! Files that a run is shown: named by its caller, written into its journal as references, and read when a model is called.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method, header};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::{FILE_LIMIT_BYTES, File, Kept, NAME_LIMIT, Planned, Status, content, keep_checked, planned, settled};
use crate::{
    app::App,
    error::{Error, Problem, Result},
    id::FileId,
    idempotency::Claim,
    model::Image,
    net::{self, Guard, GuardedUrl, Sending},
    tenant::Tenant,
};

/// The most files that a message is shown with.
pub const ATTACHMENTS_LIMIT: usize = 16;
/// The most bytes that they may have together.
pub const TOGETHER_LIMIT_BYTES: u64 = FILE_LIMIT_BYTES as u64;
/// The most URLs that are fetched for one request, whether for a run or a batch.
pub const URLS_LIMIT: usize = 16;
/// How long all files of others that one request names may take to come: a gateway waits for 29 s.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// How many new files are kept side by side.
const KEPT_AT_A_TIME: usize = 8;

/// A file that a run shall be shown.
#[derive(Debug, Clone)]
pub enum NewAttachment {
    /// One of the organisation's.
    File(FileId),
    /// One that is fetched once, and kept as a file of the organisation's.
    Url(String),
    /// One whose bytes are here; it is kept in the same way.
    Data {
        /// What it is called.
        name: Option<String>,
        /// As a file's.
        media_type: String,
        /// Its bytes.
        bytes: Bytes,
    },
}

/// A file that a run is shown, as its journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The file.
    pub file_id: FileId,
    /// What it is called.
    pub name: String,
    /// What it holds.
    pub media_type: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
}

/// What was found behind a [`NewAttachment`].
#[derive(Debug)]
pub(crate) enum Found {
    /// A file that is there.
    Kept(File),
    /// One that is yet to be kept.
    New(Planned),
}

impl Found {
    const fn file(&self) -> &File {
        match self {
            Self::Kept(file) => file,
            Self::New(planned) => planned.file(),
        }
    }
}

/// What one request may still ask for, and which of the organisation's files were found for it.
#[derive(Debug)]
pub(crate) struct Search {
    known: HashMap<FileId, File>,
    /// How many bytes may yet be fetched or taken along: what is held in memory for one request.
    room_bytes: usize,
    /// How many files were found that are yet to be kept.
    new: u64,
    urls: usize,
    until: Instant,
}

impl Search {
    pub(crate) fn new() -> Self {
        Self {
            known: HashMap::new(),
            room_bytes: FILE_LIMIT_BYTES,
            new: 0,
            urls: URLS_LIMIT,
            until: Instant::now() + FETCH_TIMEOUT,
        }
    }
}

/// Finds these files, and keeps none: see [`keep_all`]. `at` stands before names of fields.
///
/// # Errors
/// [`Error::Invalid`] with each that is not there, not ready, or cannot be had; [`Error::Conflict`] when the organisation has no room for
/// those that are new.
pub(crate) async fn find_all(
    app: &App,
    tenant: Tenant,
    new: Vec<NewAttachment>,
    at: &str,
    search: &mut Search,
) -> Result<Vec<Found>> {
    if new.len() > ATTACHMENTS_LIMIT {
        return Err(Error::invalid(format!("{at}attachments"), format!("must be at most {ATTACHMENTS_LIMIT}")));
    }
    let (mut found, mut problems) = (Vec::with_capacity(new.len()), Vec::new());
    for (index, wanted) in new.into_iter().enumerate() {
        match find(app, tenant, wanted, search).await? {
            Ok(file) => found.push(file),
            Err((field, message)) => {
                problems.push(Problem { field: format!("{at}attachments[{index}].{field}"), message });
            }
        }
    }
    let together = found.iter().fold(0_u64, |sum, found| sum.saturating_add(found.file().bytes));
    if together > TOGETHER_LIMIT_BYTES {
        let message = format!("have {together} bytes together, and may have {TOGETHER_LIMIT_BYTES}");
        problems.push(Problem { field: format!("{at}attachments"), message });
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    if found.iter().any(|found| matches!(found, Found::New(_))) {
        let new_bytes = u64::try_from(FILE_LIMIT_BYTES - search.room_bytes).unwrap_or(u64::MAX);
        app.config().files.check(app, tenant, search.new, new_bytes).await?;
    }
    Ok(found)
}

/// Keeps those of the files that are new.
///
/// # Errors
/// [`Error::Unavailable`]; [`Error::Conflict`] when others took the room that there was.
pub(crate) async fn keep_all(app: &App, found: Vec<Found>) -> Result<Vec<Attachment>> {
    let kept = found.into_iter().map(|found| async {
        let file = match found {
            Found::Kept(file) => file,
            Found::New(planned) => keep_checked(app, planned, Claim::none()).await?,
        };
        let File { id, name, media_type, bytes, sha256, .. } = file;
        let sha256 = sha256.ok_or_else(|| Error::Internal("a file that is ready has no digest".into()))?;
        Ok(Attachment { file_id: id, name, media_type, bytes, sha256 })
    });
    stream::iter(kept).buffered(KEPT_AT_A_TIME).try_collect().await
}

/// What is wrong with one: its field, and why.
type Flaw = (&'static str, String);

async fn find(
    app: &App,
    tenant: Tenant,
    wanted: NewAttachment,
    search: &mut Search,
) -> Result<std::result::Result<Found, Flaw>> {
    match wanted {
        NewAttachment::File(id) => {
            let file = match search.known.get(&id) {
                Some(file) => Some(file.clone()),
                None => settled(app, tenant, id).await?,
            };
            let Some(file) = file else { return Ok(Err(("file_id", "no such file".to_owned()))) };
            search.known.insert(id, file.clone());
            Ok(match file.status {
                Status::Ready => Ok(Found::Kept(file)),
                Status::Pending | Status::Rejected => Err(("file_id", format!("the file is {}", file.status.name()))),
            })
        }
        NewAttachment::Url(url) => {
            Ok(fetched(app, tenant, &url, search).await.map(Found::New).map_err(|why| ("url", why)))
        }
        NewAttachment::Data { name, media_type, bytes } => {
            let name = name.unwrap_or_else(|| "attachment".to_owned());
            Ok(checked(app, tenant, &name, &media_type, bytes, search).map(Found::New))
        }
    }
}

fn checked(
    app: &App,
    tenant: Tenant,
    name: &str,
    media_type: &str,
    bytes: Bytes,
    search: &mut Search,
) -> std::result::Result<Planned, Flaw> {
    if let Some(problem) = content::named(name, media_type).into_iter().next() {
        return Err((if problem.field == "name" { "name" } else { "media_type" }, problem.message));
    }
    content::check(media_type, &bytes).map_err(|message| ("data", message))?;
    search.room_bytes = search.room_bytes.checked_sub(bytes.len()).ok_or_else(|| ("data", too_much()))?;
    search.new = search.new.saturating_add(1);
    Ok(planned(app, tenant, name, media_type, bytes))
}

fn too_much() -> String {
    format!("does not fit: files that come with a request may have {FILE_LIMIT_BYTES} bytes together")
}

/// What is behind that URL, all of it. The error tells nothing of what answered but what the caller could see there too.
pub(crate) async fn fetch(
    guard: &Guard,
    url: &GuardedUrl,
    limit_bytes: usize,
    timeout: Duration,
) -> std::result::Result<net::Answer, String> {
    let sending = Sending {
        method: Method::GET,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        follow: true,
        body_limit_bytes: limit_bytes,
        timeout,
    };
    let answer = guard.send(url, sending).await.map_err(|failure| failure.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("answered {}", answer.status.as_u16()));
    }
    if answer.cut { Err(too_much()) } else { Ok(answer) }
}

async fn fetched(app: &App, tenant: Tenant, url: &str, search: &mut Search) -> std::result::Result<Planned, String> {
    let guarded = app.guard().check(url).map_err(|refusal| refusal.to_string())?;
    search.urls = search.urls.checked_sub(1).ok_or_else(|| {
        format!("a request may name {URLS_LIMIT} URLs: put the file with POST /v1/files and name it by its id")
    })?;
    let timeout = search.until.saturating_duration_since(Instant::now());
    let answer = fetch(&app.guard().of(tenant.org()), &guarded, search.room_bytes, timeout).await?;
    let media_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    checked(app, tenant, &named_by(url), &media_type, answer.body.into(), search).map_err(|(field, why)| match field {
        "media_type" => format!("is a '{media_type}', which no file may be"),
        _ => why,
    })
}

/// The last part of the URL's path, as a file's name.
fn named_by(url: &str) -> String {
    let url = Url::parse(url).ok();
    let last = url.as_ref().and_then(|url| url.path_segments()?.next_back()).unwrap_or_default();
    let name: String = last.chars().filter(|char| !char.is_control()).take(NAME_LIMIT).collect();
    if name.is_empty() { "attachment".to_owned() } else { name }
}

/// Takes so many bytes from the room that there is, if they fit.
fn fits(bytes: u64, room_bytes: &mut u64) -> bool {
    let left = room_bytes.checked_sub(bytes);
    *room_bytes = left.unwrap_or(*room_bytes);
    left.is_some()
}

/// How many bytes [`shown`] would read of these files, with as much room. Takes them from it in the same way.
pub(crate) fn shown_bytes(attachments: &[Attachment], room_bytes: &mut u64) -> u64 {
    attachments.iter().map(|attachment| attachment.bytes).filter(|bytes| fits(*bytes, room_bytes)).sum()
}

/// What a model is shown of these files: images, and the text that goes behind the message. A file that is gone is said to be, and one
/// that has more bytes than there is room for, which are taken from it, too.
///
/// # Errors
/// [`Error::Unavailable`]; [`Error::Internal`] when the bytes are not those that the journal tells of.
pub(crate) async fn shown(
    app: &App,
    tenant: Tenant,
    attachments: &[Attachment],
    room_bytes: &mut u64,
) -> Result<(String, Vec<Image>)> {
    let (mut text, mut images) = (String::new(), Vec::new());
    for attachment in attachments {
        let Attachment { file_id, name, media_type, bytes, sha256 } = attachment;
        if !fits(*bytes, room_bytes) {
            text.push_str(&format!("\n\n[the file {name:?} was shown here, and is left out now]"));
            continue;
        }
        let Some(data) = app.files().get(tenant, Kept { id: *file_id, sha256 }).await? else {
            text.push_str(&format!("\n\n[the file {name:?} was deleted]"));
            continue;
        };
        if content::sha256(&data) != *sha256 {
            return Err(Error::Internal(format!("the bytes of {file_id:?} were changed").into()));
        }
        if content::is_image(media_type) {
            images.push(Image { media_type: media_type.clone(), data });
        } else {
            // What a text says cannot name its own digest, so no text ends before its end.
            let mark = sha256.get(..16).unwrap_or_default();
            let content = String::from_utf8_lossy(&data);
            text.push_str(&format!("\n\n[file {name:?}, {media_type}, {mark}]\n{content}\n[end of file {mark}]"));
        }
    }
    Ok((text, images))
}
