//! API keys: made, shown once, kept as a digest, looked up by it.
//!
//! A key is `ag_live_`, 43 characters base62 (256 random bits) and 6 characters base62 of their CRC-32, so that a leaked key
//! can be found by a pattern and a mistyped one is refused without a look-up.

use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::{KeyId, OrgId},
    idempotency::Claim,
    limit::KeyLimits,
    money::NewBudgets,
    page::{Page, PageRequest},
    store,
    tenant::{Caller, Scope, Tenant},
};

const PREFIX: &str = "ag_live_";
const SECRET_LENGTH: usize = 43;
const CHECK_LENGTH: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The longest that a rotated key may go on, in milliseconds: 7 days.
pub const OVERLAP_LIMIT_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// `last_used_at` is as exact as this, in milliseconds: an hour, so that using a key writes little.
const USED_EXACT_MS: i64 = 60 * 60 * 1000;
/// How often a key's row is read again when others write it at the same time.
const TRIES: usize = 8;

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it: at most 200 characters.
    pub name: String,
    /// What it may do; empty means everything.
    pub scopes: Vec<Scope>,
    /// Its limits.
    pub limits: KeyLimits,
    /// The secret's last four characters, to recognise it by.
    pub last4: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// The key whose place it took, when it was made by a rotation.
    pub rotated_from: Option<KeyId>,
    /// Under which key's name its budgets are kept, when it is not its own: that of the first key that it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget_of: Option<KeyId>,
    /// The digest of the secret.
    pub(crate) digest: String,
}

/// What the digest leads to: enough to let a caller in, or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) org: OrgId,
    pub(crate) key_id: KeyId,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) limits: KeyLimits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget_of: Option<KeyId>,
    pub(crate) expires_at: Option<Timestamp>,
    /// The hour in which it was used last.
    pub(crate) last_used_at: Option<Timestamp>,
}

/// What a key shall be.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// At most 200 characters.
    pub name: String,
    /// What it may do; empty means everything that its maker may.
    pub scopes: Vec<Scope>,
    /// Its limits.
    pub limits: KeyLimits,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A new key with its secret, which is nowhere else.
#[derive(Debug)]
pub struct Minted {
    /// The key.
    pub key: ApiKey,
    /// The secret: to be shown once.
    pub secret: SecretString,
}

/// Who calls with this secret, claiming to be of `org` if it says so.
///
/// # Errors
/// [`Error::Unauthorized`], the same for every reason; [`Error::Forbidden`] when the key is of another organisation than claimed.
pub async fn authenticate(app: &App, secret: Option<&str>, org: Option<&str>) -> Result<Caller> {
    let secret = secret.filter(|secret| well_formed(secret)).ok_or(Error::Unauthorized)?;
    let digest = app.sealer().digest(secret);
    let found = app.store().key_entry(&digest).await?.ok_or(Error::Unauthorized)?;
    let entry = &found.value;
    let now = app.now();
    if entry.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::Unauthorized);
    }
    if org.is_some_and(|claimed| claimed != entry.org.to_string() && claimed != entry.org.prefixed()) {
        let message = "x-org-id is not the organisation of this key".to_owned();
        return Err(Error::Forbidden { message, missing: Vec::new() });
    }
    let used = Timestamp::from_millis(now.millis().div_euclid(USED_EXACT_MS).saturating_mul(USED_EXACT_MS));
    if entry.last_used_at != Some(used) {
        // Only for people to look at: a conflict or a fault is no reason to turn the caller away.
        if let Err(error) = app.store().touch_key(&digest, found.clone(), used).await {
            tracing::debug!(error = %error, "the time of a key's use was not noted");
        }
    }
    let Entry { org, key_id, scopes, limits, budget_of, .. } = found.value;
    Ok(Caller { tenant: Tenant::of(org), key_id, scopes, limits, budget_of: budget_of.unwrap_or(key_id) })
}

/// A new key of the caller's organisation, not yet stored: see [`create`].
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Forbidden`] for a scope that the caller lacks itself.
pub fn plan(app: &App, caller: &Caller, new: NewKey) -> Result<Minted> {
    caller.require(Scope::KeysManage)?;
    let scopes = if new.scopes.is_empty() { caller.scopes().to_vec() } else { new.scopes };
    may_give(caller, &scopes)?;
    mint(app, NewKey { scopes, ..new })
}

fn may_give(caller: &Caller, scopes: &[Scope]) -> Result<()> {
    let missing: Vec<Scope> = scopes.iter().copied().filter(|scope| !caller.may(*scope)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = "a key cannot give scopes that it lacks".to_owned();
    Err(Error::Forbidden { message, missing })
}

/// Stores a planned key.
///
/// # Errors
/// As the store says.
pub async fn create(app: &App, caller: &Caller, minted: &Minted, claim: Claim) -> Result<()> {
    let claim = claim.write(app, None)?;
    store_new(app, caller.tenant(), &minted.key, claim).await
}

/// The first key of an organisation, which is made if it is new: for an operator, never for a caller.
///
/// # Errors
/// [`Error::Invalid`].
pub async fn create_for_organisation(app: &App, name: &str, new: NewKey) -> Result<(OrgId, Minted)> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(Error::invalid("org", "must be 1 to 100 characters long"));
    }
    let org = app.store().organisation(name, app.now()).await?;
    let minted = mint(app, new)?;
    store_new(app, Tenant::of(org), &minted.key, None).await?;
    Ok((org, minted))
}

/// The organisation's keys, newest first, the revoked ones among them.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, page: &PageRequest) -> Result<Page<ApiKey>> {
    caller.require(Scope::KeysManage)?;
    let (keys, next) = app.store().keys(caller.tenant(), page.position("keys")?, page.limit).await?;
    Ok(Page::new(keys, next.as_deref(), "keys"))
}

/// Revokes the key: it is dead when this returns. A key may revoke itself.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke(app: &App, caller: &Caller, id: KeyId) -> Result<ApiKey> {
    caller.require(Scope::KeysManage)?;
    for _ in 0..TRIES {
        let found = app.store().key(caller.tenant(), id).await?.ok_or(Error::NotFound("key"))?;
        if found.value.revoked_at.is_some() {
            return Ok(found.value);
        }
        let key = ApiKey { revoked_at: Some(app.now()), ..found.value };
        match app.store().save_revoked_key(caller.tenant(), &key, found.rev).await {
            Ok(()) => return Ok(key),
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the key is being written all the time".into()))
}

/// A key that takes this one's place, with the same rights, not yet stored: see [`rotate`].
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] for a revoked key; [`Error::Invalid`] for an overlap over [`OVERLAP_LIMIT_MS`];
/// [`Error::Forbidden`] for a key that may do what the caller may not.
pub async fn plan_rotation(app: &App, caller: &Caller, id: KeyId, overlap_ms: u64) -> Result<(Rotation, Minted)> {
    caller.require(Scope::KeysManage)?;
    let overlap = i64::try_from(overlap_ms).ok().filter(|_| overlap_ms <= OVERLAP_LIMIT_MS);
    let overlap = overlap.ok_or_else(|| Error::invalid("overlap_ms", format!("must be at most {OVERLAP_LIMIT_MS}")))?;
    let found = app.store().key(caller.tenant(), id).await?.ok_or(Error::NotFound("key"))?;
    let old = found.value;
    let now = app.now();
    if old.revoked_at.is_some() || old.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::Conflict("the key was revoked or has expired".to_owned()));
    }
    may_give(caller, if old.scopes.is_empty() { &Scope::ALL } else { &old.scopes })?;
    let new = NewKey { name: old.name.clone(), scopes: old.scopes.clone(), limits: old.limits, expires_at: None };
    let mut minted = mint(app, new)?;
    minted.key.rotated_from = Some(id);
    minted.key.budget_of = Some(old.budget_of.unwrap_or(id));
    minted.key.expires_at = old.expires_at;
    let end = now.plus_ms(overlap);
    let old = ApiKey { expires_at: Some(old.expires_at.map_or(end, |own| own.min(end))), ..old };
    Ok((Rotation { old, seen: found.rev }, minted))
}

/// What a rotation does to the old key.
#[derive(Debug)]
pub struct Rotation {
    old: ApiKey,
    seen: store::row::Rev,
}

impl Rotation {
    /// The old key as it will be.
    #[must_use]
    pub const fn old(&self) -> &ApiKey {
        &self.old
    }
}

/// Stores the new key and the old one's end, together.
///
/// # Errors
/// [`Error::Conflict`] when the old key was changed meanwhile.
pub async fn rotate(app: &App, caller: &Caller, rotation: &Rotation, minted: &Minted, claim: Claim) -> Result<()> {
    let claim = claim.write(app, None)?;
    match app.store().save_rotation(caller.tenant(), &rotation.old, rotation.seen, &minted.key, claim).await {
        Err(store::Error::Conflict { index: 0 | 1 }) => {
            Err(Error::Conflict("the key was changed at the same time".to_owned()))
        }
        Err(store::Error::Conflict { .. }) => Err(Claim::in_progress()),
        other => Ok(other?),
    }
}

async fn store_new(app: &App, tenant: Tenant, key: &ApiKey, claim: Option<store::row::Write>) -> Result<()> {
    match app.store().save_new_key(tenant, key, claim).await {
        Err(store::Error::Conflict { .. }) => Err(Claim::in_progress()),
        other => Ok(other?),
    }
}

fn mint(app: &App, new: NewKey) -> Result<Minted> {
    let now = app.now();
    let mut problems = Vec::new();
    if new.name.chars().count() > 200 {
        problems.push(Problem { field: "name".to_owned(), message: "must be at most 200 characters long".to_owned() });
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        problems.push(Problem { field: "expires_at".to_owned(), message: "must be in the future".to_owned() });
    }
    let KeyLimits { day_budget_micro_usd, month_budget_micro_usd, .. } = new.limits;
    let budgets = NewBudgets { day_micro_usd: day_budget_micro_usd, month_micro_usd: month_budget_micro_usd };
    budgets.check(&mut problems);
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let secret = fresh_secret()?;
    let text = secret.expose_secret();
    let key = ApiKey {
        id: KeyId::new(now),
        name: new.name,
        scopes: new.scopes,
        limits: new.limits,
        last4: text.get(text.len().saturating_sub(4)..).unwrap_or_default().to_owned(),
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
        rotated_from: None,
        budget_of: None,
        digest: app.sealer().digest(text),
    };
    Ok(Minted { key, secret })
}

fn fresh_secret() -> Result<SecretString> {
    let mut random = [0_u8; 32];
    SystemRandom::new().fill(&mut random).map_err(|_| Error::Internal("no randomness".into()))?;
    let body = base62(&random, SECRET_LENGTH);
    let check = base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECK_LENGTH);
    Ok(SecretString::from(format!("{PREFIX}{body}{check}")))
}

/// Whether this can be a key at all: prefix, length, alphabet, checksum.
fn well_formed(secret: &str) -> bool {
    let Some(rest) = secret.strip_prefix(PREFIX) else { return false };
    let Some((body, check)) = rest.split_at_checked(SECRET_LENGTH) else { return false };
    check.len() == CHECK_LENGTH
        && body.bytes().all(|byte| BASE62.contains(&byte))
        && base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECK_LENGTH) == check
}

/// The big-endian number in base 62, with leading zeros up to `length` digits.
fn base62(bytes: &[u8], length: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = Vec::with_capacity(length);
    for _ in 0..length {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        digits.push(usize::try_from(remainder).ok().and_then(|digit| BASE62.get(digit)).copied().unwrap_or(b'0'));
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_is_well_formed_and_a_mistyped_one_is_not() {
        let secret = fresh_secret().unwrap();
        let text = secret.expose_secret();
        assert_eq!(text.len(), PREFIX.len() + SECRET_LENGTH + CHECK_LENGTH);
        assert!(well_formed(text));
        for at in PREFIX.len()..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            assert!(!well_formed(std::str::from_utf8(&other).unwrap()), "position {at}");
        }
        for junk in ["", "ag_live_", "ag_live_\u{e9}\u{e9}", &text[1..], &format!("{text}0")] {
            assert!(!well_formed(junk), "{junk}");
        }
    }

    #[test]
    fn base62_counts_as_numbers_do() {
        assert_eq!(base62(&[0, 0], 2), "00");
        assert_eq!(base62(&[61], 2), "0z");
        assert_eq!(base62(&[62], 2), "10");
        assert_eq!(base62(&[0xff; 32], 43).len(), 43);
    }
}
