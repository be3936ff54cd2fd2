//! API keys on the native surface.

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result, Scope,
    api_key::{self, ApiKey, Minted, NewKey},
    error::Problem,
    id::KeyId,
    limit::KeyLimits,
};

use super::views::{ListQuery, PageView, moment};
use crate::{Request, Response, auth, claims, response};

/// What a key shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    /// What you call it.
    #[serde(default)]
    #[schemars(length(max = 200))]
    name: String,
    /// What it may do: `agents:read`, `agents:write`, `runs:read`, `runs:write`, `keys:manage`, `secrets:write`. Nothing, or
    /// none: everything that the key that makes it may.
    #[serde(default)]
    scopes: Vec<String>,
    /// When it ends by itself.
    #[schemars(extend("format" = "date-time"))]
    expires_at: Option<String>,
    /// Requests a minute; 0 is no limit; nothing is the surface's own.
    requests_per_minute: Option<u32>,
    /// Requests in flight at a time; 0 is no limit; nothing is the surface's own.
    in_flight: Option<u32>,
    /// The most that its runs may cost on a day (UTC), in micro-USD; nothing is no budget.
    #[schemars(range(min = 1))]
    day_budget_micro_usd: Option<u64>,
    /// The same in a month (UTC).
    #[schemars(range(min = 1))]
    month_budget_micro_usd: Option<u64>,
}

impl TryFrom<CreateKey> for NewKey {
    type Error = Error;

    fn try_from(body: CreateKey) -> Result<Self> {
        let CreateKey {
            name,
            scopes,
            expires_at,
            requests_per_minute,
            in_flight,
            day_budget_micro_usd,
            month_budget_micro_usd,
        } = body;
        let mut problems = Vec::new();
        let mut known = Vec::new();
        for (index, text) in scopes.iter().enumerate() {
            match text.parse::<Scope>() {
                Ok(scope) => known.push(scope),
                Err(message) => problems.push(Problem { field: format!("scopes[{index}]"), message }),
            }
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let limits = KeyLimits { requests_per_minute, in_flight, day_budget_micro_usd, month_budget_micro_usd };
        Ok(Self { name, scopes: known, limits, expires_at: moment("expires_at", expires_at)? })
    }
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKey {
    /// How long the old key goes on, in milliseconds: 0 unless given, at most 7 days.
    #[serde(default)]
    #[schemars(range(max = 604_800_000))]
    overlap_ms: u64,
}

/// A key.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct KeyView {
    id: String,
    name: String,
    /// What it may do; none is everything.
    scopes: Vec<&'static str>,
    /// The secret's last four characters.
    last4: String,
    requests_per_minute: Option<u32>,
    in_flight: Option<u32>,
    /// The most that its runs may cost on a day (UTC), together with those of the keys whose place it took.
    day_budget_micro_usd: Option<u64>,
    /// The same in a month (UTC).
    month_budget_micro_usd: Option<u64>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// When it was used last, to the hour.
    last_used_at: Option<String>,
    /// The key whose place it took.
    rotated_from: Option<String>,
}

impl From<&ApiKey> for KeyView {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.prefixed(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
            last4: key.last4.clone(),
            requests_per_minute: key.limits.requests_per_minute,
            in_flight: key.limits.in_flight,
            day_budget_micro_usd: key.limits.day_budget_micro_usd,
            month_budget_micro_usd: key.limits.month_budget_micro_usd,
            created_at: key.created_at.rfc3339(),
            expires_at: key.expires_at.map(|at| at.rfc3339()),
            revoked_at: key.revoked_at.map(|at| at.rfc3339()),
            last_used_at: key.last_used_at.map(|at| at.rfc3339()),
            rotated_from: key.rotated_from.map(KeyId::prefixed),
        }
    }
}

/// A new key, with its secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct NewKeyView {
    /// The secret: shown here, and never again.
    key: String,
    #[serde(flatten)]
    about: KeyView,
}

impl From<&Minted> for NewKeyView {
    fn from(minted: &Minted) -> Self {
        Self { key: minted.secret.expose_secret().to_owned(), about: KeyView::from(&minted.key) }
    }
}

pub(super) async fn create_key(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::KeysManage, async |claim| {
        let body: CreateKey = request.json()?;
        let minted = api_key::plan(app, &caller, body.try_into()?)?;
        let response = response::created(&NewKeyView::from(&minted));
        api_key::create(app, &caller, &minted, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn list_keys(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = api_key::list(app, &caller, &page).await?;
    Ok(response::ok(&PageView::of(page, |key| KeyView::from(&key))))
}

pub(super) async fn revoke_key(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let key = api_key::revoke(app, &caller, request.id("key_id")?).await?;
    Ok(response::ok(&KeyView::from(&key)))
}

pub(super) async fn rotate_key(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::KeysManage, async |claim| {
        let body: RotateKey = if request.body().is_empty() { RotateKey::default() } else { request.json()? };
        let (rotation, minted) = api_key::plan_rotation(app, &caller, request.id("key_id")?, body.overlap_ms).await?;
        let response = response::created(&NewKeyView::from(&minted));
        api_key::rotate(app, &caller, &rotation, &minted, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}
