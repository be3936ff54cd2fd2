//! Files that a run comes with, as bodies name them.

use schemars::JsonSchema;
use serde::Deserialize;
use shared::{Error, Result, error::Problem, file::NewAttachment, id::FileId};

/// A file. Only `fileId` acts: what the file is, it says itself; the other fields are checked and passed over. Our own choice, as is
/// where a `fileId` comes from: `POST /v1/files`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "they are checked while they are read")]
pub(super) struct AttachmentBody {
    /// With `file_` before it or not.
    file_id: String,
    file_name: String,
    /// In bytes.
    size: u64,
    file_type: Option<FileType>,
    preview_text: Option<String>,
    /// Of the older form.
    mime_type: Option<String>,
    /// Of the older form.
    object_path: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FileType {
    Image,
    Pdf,
    Spreadsheet,
    Document,
    Presentation,
    File,
}

/// The files that these name.
pub(super) fn attachments(bodies: Vec<AttachmentBody>) -> Result<Vec<NewAttachment>> {
    let (mut found, mut problems) = (Vec::with_capacity(bodies.len()), Vec::new());
    for (index, body) in bodies.into_iter().enumerate() {
        match FileId::parse_prefixed(&body.file_id).or_else(|_| body.file_id.parse()) {
            Ok(id) => found.push(NewAttachment::File(id)),
            Err(_) => {
                let message = "must be the id of a file".to_owned();
                problems.push(Problem { field: format!("attachments[{index}].fileId"), message });
            }
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Error::Invalid(problems)) }
}
