//! Addresses for uploads to this host: what they allow is sealed in them, so that nobody can make one.

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::{File, Upload};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{FileId, OrgId},
    tenant::Tenant,
};

#[derive(Serialize, Deserialize)]
struct Allowed {
    org: OrgId,
    until: Timestamp,
}

/// A token is for one file.
fn purpose(id: FileId) -> String {
    format!("upload/{id}")
}

pub(super) fn upload(app: &App, file: &File, until: Timestamp) -> Result<Upload> {
    let allowed =
        serde_json::to_vec(&Allowed { org: file.org, until }).map_err(|error| Error::Internal(error.into()))?;
    let token = app.sealer().seal(&purpose(file.id), &allowed)?;
    let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let url = format!("/v1/files/{}/content?token={token}", file.id.prefixed());
    let headers = vec![("content-type", file.media_type.clone())];
    Ok(Upload { url, headers, until })
}

/// Whose file may be uploaded with that token, if it is this file's and not too old.
pub(in crate::file) fn opened(app: &App, id: FileId, token: &str) -> Option<Tenant> {
    let opened = app.sealer().open(&purpose(id), token).ok()?;
    let Allowed { org, until } = serde_json::from_slice(&opened).ok()?;
    (app.now() < until).then(|| Tenant::of(org))
}
