//! Files on the native surface: kept, looked at, read, deleted; and the bytes of one that was announced.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, Scope,
    error::Problem,
    file::{self, Content, File, NewAttachment, Upload},
    id::FileId,
    message,
};

use super::views::{ListQuery, PageView};
use crate::{Request, Response, auth, claims, response};

/// What a file shall be: with its bytes, or with how many there will be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateFile {
    /// What it is called: 1 to 200 characters.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// `text/…`, `image/png`, `image/jpeg`, `image/gif`, `image/webp`, `application/json`, `application/x-ndjson`, `application/xml` or
    /// `application/yaml`; without parameters. Text is UTF-8.
    media_type: String,
    /// Its bytes in base64: with the rest of the body at most 6 MiB, so about 4.4 MB of them.
    data: Option<String>,
    /// How many bytes it will have, when they come by an upload: at most 20 MiB.
    #[schemars(range(min = 1, max = 20_971_520))]
    bytes: Option<u64>,
}

/// A file, without its bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FileView {
    id: String,
    name: String,
    media_type: String,
    bytes: u64,
    /// In lower-case hexadecimal; `null` as long as the bytes have not come.
    sha256: Option<String>,
    /// `pending` until its bytes have come, then `ready`; or `rejected`, where files are in a bucket, when they were not what was announced
    /// (a folder refuses such bytes, and waits for others).
    status: &'static str,
    /// Why it was rejected.
    problem: Option<String>,
    created_at: String,
    /// Where the bytes of a pending file go.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<UploadView>,
}

/// One request that brings a file's bytes. It needs no key.
#[derive(Debug, Serialize, JsonSchema)]
struct UploadView {
    /// `PUT`.
    method: &'static str,
    url: String,
    /// Headers that must be sent, by name.
    headers: std::collections::BTreeMap<&'static str, String>,
    expires_at: String,
}

impl FileView {
    fn new(file: &File, upload: Option<UploadView>) -> Self {
        Self {
            id: file.id.prefixed(),
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            status: file.status.name(),
            problem: file.problem.clone(),
            created_at: file.created_at.rfc3339(),
            upload,
        }
    }
}

impl UploadView {
    /// An address of this host's gets the name under which it was asked.
    fn new(request: &Request, upload: Upload) -> Self {
        let Upload { mut url, headers, until } = upload;
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        if let Some(host) = host.filter(|_| url.starts_with('/')) {
            // What ends TLS before this host says so.
            let forwarded = request.headers().get("x-forwarded-proto").is_some_and(|proto| proto == "https");
            url = format!("{}://{host}{url}", if forwarded { "https" } else { "http" });
        }
        Self { method: "PUT", url, headers: headers.into_iter().collect(), expires_at: until.rfc3339() }
    }
}

/// A file that a message is shown with: `file_id`, `url`, or `media_type` and `data`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachmentBody {
    /// A file of `POST /v1/files`.
    file_id: Option<String>,
    /// Where it is: fetched once, when the run is started, and kept as a file.
    url: Option<String>,
    /// What it is called, with `data`.
    name: Option<String>,
    /// What it holds, with `data`.
    media_type: Option<String>,
    /// Its bytes in base64; kept as a file.
    data: Option<String>,
}

/// A file that a message was shown with.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AttachmentView {
    file_id: String,
    name: String,
    media_type: String,
    bytes: u64,
}

impl From<message::Attachment> for AttachmentView {
    fn from(attachment: message::Attachment) -> Self {
        let message::Attachment { file_id, name, media_type, bytes, .. } = attachment;
        Self { file_id: file_id.prefixed(), name, media_type, bytes }
    }
}

/// The attachments of a request; `at` stands before the names of fields.
pub(super) fn attachments(at: &str, bodies: Vec<AttachmentBody>) -> Result<Vec<NewAttachment>, Problem> {
    let each = bodies.into_iter().enumerate();
    each.map(|(index, body)| attachment(&format!("{at}attachments[{index}]"), body)).collect()
}

fn attachment(at: &str, body: AttachmentBody) -> Result<NewAttachment, Problem> {
    let problem = |field: String, message: &str| Problem { field, message: message.to_owned() };
    match body {
        AttachmentBody { file_id: Some(id), url: None, name: None, media_type: None, data: None } => {
            let id = FileId::parse_prefixed(&id);
            id.map(NewAttachment::File).map_err(|_| problem(format!("{at}.file_id"), "must be an id, as in file_…"))
        }
        AttachmentBody { file_id: None, url: Some(url), name: None, media_type: None, data: None } => {
            Ok(NewAttachment::Url(url))
        }
        AttachmentBody { file_id: None, url: None, name, media_type: Some(media_type), data: Some(data) } => {
            Ok(NewAttachment::Data { name, media_type, bytes: decoded(&format!("{at}.data"), &data)? })
        }
        _ => Err(problem(at.to_owned(), "must have file_id, or url, or media_type and data")),
    }
}

fn decoded(field: &str, data: &str) -> Result<Bytes, Problem> {
    let problem = |_| Problem { field: field.to_owned(), message: "must be base64".to_owned() };
    STANDARD.decode(data).map(Bytes::from).map_err(problem)
}

pub(super) async fn create_file(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let CreateFile { name, media_type, data, bytes } = request.json()?;
        let planned = match (data, bytes) {
            (Some(data), None) => {
                let bytes = decoded("data", &data).map_err(|problem| Error::Invalid(vec![problem]))?;
                file::plan(app, &caller, &name, &media_type, bytes)?
            }
            (None, Some(bytes)) => file::plan_upload(app, &caller, &name, &media_type, bytes)?,
            _ => return Err(Error::invalid("data", "must have data or bytes, and not both")),
        };
        let upload = file::upload(app, planned.file()).await?.map(|upload| UploadView::new(&request, upload));
        let response = response::created(&FileView::new(planned.file(), upload));
        file::keep(app, planned, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn list_files(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = file::list(app, &caller, &page).await?;
    Ok(response::ok(&PageView::of(page, |file| FileView::new(&file, None))))
}

pub(super) async fn get_file(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let file = file::get(app, &caller, request.id("file_id")?).await?;
    Ok(response::ok(&FileView::new(&file, None)))
}

pub(super) async fn delete_file(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    file::delete(app, &caller, request.id("file_id")?).await?;
    Ok(response::no_content())
}

pub(super) async fn get_file_content(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (file, content) = file::content(app, &caller, request.id("file_id")?).await?;
    let unfit = |_| Error::Internal("a file's media type or address is no header".into());
    match content {
        Content::Bytes(bytes) => {
            let mut response = response::with_bytes(StatusCode::OK, bytes);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(&file.media_type).map_err(unfit)?);
            // Whatever a text says: a browser that is led here runs nothing of it.
            headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            Ok(response)
        }
        Content::Url(url) => {
            let mut response = response::with_bytes(StatusCode::FOUND, Bytes::new());
            response.headers_mut().insert(header::LOCATION, HeaderValue::try_from(url).map_err(unfit)?);
            Ok(response)
        }
    }
}

/// Which address for an upload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// As in `upload.url`.
    token: String,
}

/// Whether the address holds: asked before up to 20 MiB are read.
pub(super) fn may_upload(app: &App, request: &Request) -> Result<()> {
    let UploadQuery { token } = request.query()?;
    file::may_receive(app, request.id("file_id")?, &token)
}

pub(super) async fn upload_file(app: &App, request: Request) -> Result<Response> {
    let id = request.id("file_id")?;
    let UploadQuery { token } = request.query()?;
    let file = file::receive(app, id, &token, request.body().clone()).await?;
    Ok(response::ok(&FileView::new(&file, None)))
}
