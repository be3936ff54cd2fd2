//! The first key of an organisation: invoked by an operator with the rights of the account, reached by no HTTP call.

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use shared::{
    App, Result,
    api_key::{self, NewKey},
};

/// For whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The organisation's name: it is made if it is new.
    pub org: String,
}

/// The key, to be kept: it is shown once.
#[derive(Serialize)]
pub struct Made {
    /// The organisation.
    pub org_id: String,
    /// The key's id.
    pub key_id: String,
    /// The secret.
    pub key: String,
}

/// Makes a key that may do everything.
///
/// # Errors
/// [`shared::Error::Invalid`] for a name that is empty or too long; as the store says.
pub async fn first_key(app: &App, wanted: Wanted) -> Result<Made> {
    let new = NewKey { name: "first key".to_owned(), ..NewKey::default() };
    let (org, minted) = api_key::create_for_organisation(app, &wanted.org, new).await?;
    let key = minted.secret.expose_secret().to_owned();
    Ok(Made { org_id: org.prefixed(), key_id: minted.key.id.prefixed(), key })
}
