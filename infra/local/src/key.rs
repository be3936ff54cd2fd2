//! `muster key create`: a key for an organisation, which is made if it is new.

use std::path::Path;

use secrecy::ExposeSecret;
use serde::Serialize;
use shared::{
    Scope,
    api_key::{self, NewKey},
    limit::KeyLimits,
};

use crate::host::{self, Failure};

/// A new key, to be shown once.
#[derive(Serialize)]
pub struct Created {
    /// The organisation.
    pub org_id: String,
    /// The key's id.
    pub key_id: String,
    /// The secret.
    pub key: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The folder cannot be used.
    #[error(transparent)]
    Host(#[from] Failure),
    /// The input is wrong, or the store is not available.
    #[error(transparent)]
    Key(#[from] shared::Error),
}

/// Makes a key in this folder; a server may be running on it.
///
/// # Errors
/// As [`Refused`] says.
pub async fn create(data: &Path, org: &str, scopes: Vec<Scope>, limits: KeyLimits) -> Result<Created, Refused> {
    let app = host::app_beside(data)?;
    let new = NewKey { name: "made with muster key create".to_owned(), scopes, limits, expires_at: None };
    let (org, minted) = api_key::create_for_organisation(&app, org, new).await?;
    let key = minted.secret.expose_secret().to_owned();
    Ok(Created { org_id: org.prefixed(), key_id: minted.key.id.prefixed(), key })
}
