//! Files that a run is shown: named by its caller, written into its journal as references, and read when a model is called.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{FILE_LIMIT_BYTES, File, NAME_LIMIT, Planned, Status, content, keep, planned, settled};
use crate::{
    app::App,
    error::{Error, Problem, Result},
    id::FileId,
    idempotency::Claim,
    model::Image,
    net::Sending,
    tenant::Tenant,
};

/// The most files that a message is shown with.
pub const ATTACHMENTS_LIMIT: usize = 16;
/// The most bytes that they may have together.
pub const TOGETHER_LIMIT_BYTES: u64 = FILE_LIMIT_BYTES as u64;
/// How long a file of somebody else's may take to come.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

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
enum Found {
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

/// Finds these files, and keeps those that are new. Nothing is kept unless all are found and good. `at` stands before names of fields;
/// `known` are files that were found before for the same request.
///
/// # Errors
/// [`Error::Invalid`] with each that is not there, not ready, or cannot be had.
pub(crate) async fn attach(
    app: &App,
    tenant: Tenant,
    new: Vec<NewAttachment>,
    at: &str,
    known: &mut HashMap<FileId, File>,
) -> Result<Vec<Attachment>> {
    if new.len() > ATTACHMENTS_LIMIT {
        return Err(Error::invalid(format!("{at}attachments"), format!("must be at most {ATTACHMENTS_LIMIT}")));
    }
    let (mut found, mut problems) = (Vec::with_capacity(new.len()), Vec::new());
    for (index, wanted) in new.into_iter().enumerate() {
        match find(app, tenant, wanted, known).await? {
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
    let mut attachments = Vec::with_capacity(found.len());
    for found in found {
        let file = match found {
            Found::Kept(file) => file,
            Found::New(planned) => keep(app, planned, Claim::none()).await?,
        };
        let File { id, name, media_type, bytes, sha256, .. } = file;
        attachments.push(Attachment { file_id: id, name, media_type, bytes, sha256: sha256.unwrap_or_default() });
    }
    Ok(attachments)
}

/// What is wrong with one: its field, and why.
type Flaw = (&'static str, String);

async fn find(
    app: &App,
    tenant: Tenant,
    wanted: NewAttachment,
    known: &mut HashMap<FileId, File>,
) -> Result<std::result::Result<Found, Flaw>> {
    match wanted {
        NewAttachment::File(id) => {
            let file = match known.get(&id) {
                Some(file) => Some(file.clone()),
                None => settled(app, tenant, id).await?,
            };
            let Some(file) = file else { return Ok(Err(("file_id", "no such file".to_owned()))) };
            known.insert(id, file.clone());
            Ok(match file.status {
                Status::Ready => Ok(Found::Kept(file)),
                Status::Pending | Status::Rejected => Err(("file_id", format!("the file is {}", file.status.name()))),
            })
        }
        NewAttachment::Url(url) => Ok(fetched(app, tenant, &url).await.map(Found::New).map_err(|why| ("url", why))),
        NewAttachment::Data { name, media_type, bytes } => {
            let name = name.unwrap_or_else(|| "attachment".to_owned());
            Ok(checked(app, tenant, &name, &media_type, bytes).map(Found::New))
        }
    }
}

fn checked(
    app: &App,
    tenant: Tenant,
    name: &str,
    media_type: &str,
    bytes: Bytes,
) -> std::result::Result<Planned, Flaw> {
    if let Some(problem) = content::named(name, media_type).into_iter().next() {
        return Err((if problem.field == "name" { "name" } else { "media_type" }, problem.message));
    }
    content::check(media_type, &bytes).map_err(|message| ("data", message))?;
    Ok(planned(app, tenant, name, media_type, bytes))
}

/// Fetches a file through the guard. The error tells nothing of what answered but what the caller could see there too.
async fn fetched(app: &App, tenant: Tenant, url: &str) -> std::result::Result<Planned, String> {
    let guarded = app.guard().check(url).map_err(|refusal| refusal.to_string())?;
    let sending = Sending {
        method: Method::GET,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        follow: true,
        body_limit_bytes: FILE_LIMIT_BYTES,
        timeout: FETCH_TIMEOUT,
    };
    let answer = app.guard().send(&guarded, sending).await.map_err(|failure| failure.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("answered {}", answer.status.as_u16()));
    }
    if answer.cut {
        return Err(format!("has more than {FILE_LIMIT_BYTES} bytes"));
    }
    let media_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    checked(app, tenant, &named_by(url), &media_type, answer.body.into()).map_err(|(field, why)| match field {
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

/// What a model is shown of these files: images, and the text that goes behind the message. A file that is gone is said to be.
pub(crate) async fn shown(app: &App, tenant: Tenant, attachments: &[Attachment]) -> Result<(String, Vec<Image>)> {
    let (mut text, mut images) = (String::new(), Vec::new());
    for attachment in attachments {
        let Attachment { name, media_type, .. } = attachment;
        match app.files().get(tenant, attachment.file_id).await? {
            None => text.push_str(&format!("\n\n[the file \"{name}\" was deleted]")),
            Some(data) if content::is_image(media_type) => images.push(Image { media_type: media_type.clone(), data }),
            Some(data) => {
                let content = String::from_utf8_lossy(&data);
                text.push_str(&format!("\n\n[file \"{name}\", {media_type}]\n{content}\n[end of \"{name}\"]"));
            }
        }
    }
    Ok((text, images))
}
