//! How senders of events prove who they are. Pure: bytes, headers, secrets and a moment in; genuine or not out. Every secret is tried over the
//! whole body whatever the headers say, so that the time does not tell what was wrong.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use subtle::ConstantTimeEq;

use crate::{clock::Timestamp, seal::fingerprint};

/// How far the moment that a sender signs may be from now, before it or after it, in seconds.
pub const TOLERANCE_S: u64 = 300;
/// The longest id of an event, in bytes of printable ASCII.
pub const EVENT_ID_LIMIT_BYTES: usize = 256;
/// The most signatures of a delivery that are looked at.
const SIGNATURES_LIMIT: usize = 16;
/// The headers that tell an event with a token from others: the first that is there. The last two are Jira's and Linear's.
const TOLD_APART_BY: [&str; 4] = ["idempotency-key", "webhook-id", "x-atlassian-webhook-identifier", "linear-delivery"];
/// What stands before the base64 of a secret of Standard Webhooks.
const STANDARD_PREFIX: &str = "whsec_";

/// Where events come from, and so how they prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Standard Webhooks 1.0: HMAC-SHA-256 over id, moment and body.
    StandardWebhooks,
    /// GitHub: HMAC-SHA-256 over the body. Neither the id nor a moment is signed.
    Github,
    /// Stripe: HMAC-SHA-256 over moment and body.
    Stripe,
    /// Slack: HMAC-SHA-256 over moment and body.
    Slack,
    /// Anybody who sends the secret itself, in a header.
    Token,
    /// Rules of Amazon EventBridge: they invoke a function of the deployment, whose right to do so is the account's, or send by HTTP (an API
    /// destination) with the secret itself in a header.
    Eventbridge,
    /// The same rules, of objects that are put into a bucket of S3.
    S3,
    /// Ends of the organisation's own runs. No HTTP.
    Run,
}

impl Source {
    /// Every source, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::StandardWebhooks,
        Self::Github,
        Self::Stripe,
        Self::Slack,
        Self::Token,
        Self::Eventbridge,
        Self::S3,
        Self::Run,
    ];

    /// Its name, as it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StandardWebhooks => "standard_webhooks",
            Self::Github => "github",
            Self::Stripe => "stripe",
            Self::Slack => "slack",
            Self::Token => "token",
            Self::Eventbridge => "eventbridge",
            Self::S3 => "s3",
            Self::Run => "run",
        }
    }

    /// Whether its events come by HTTP, with a proof that a secret makes.
    #[must_use]
    pub const fn by_http(self) -> bool {
        !matches!(self, Self::Run)
    }

    /// Whether its events are those of EventBridge.
    pub(super) const fn of_bus(self) -> bool {
        matches!(self, Self::Eventbridge | Self::S3)
    }

    /// Whether deliveries have a moment that is signed, so that none is taken later.
    pub(super) const fn dated(self) -> bool {
        matches!(self, Self::StandardWebhooks | Self::Stripe | Self::Slack)
    }
}

/// Headers of a delivery, by names in lower case. What is no text is none, and what is there twice has no value.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// These headers, whose names are in lower case.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The value of the header of that name, unless it is there twice.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter().filter(|(its, _)| its == name).map(|(_, value)| value.as_str());
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A delivery that is what it says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Genuine {
    /// An event, with the id by which it is told from others, if it has one.
    Event(Option<String>),
    /// Only to see whether somebody is there.
    Ping,
    /// A question that is answered with this.
    Challenge(String),
    /// An event that is told from others by this header, which is no id: it is there twice, or is empty, or too long.
    Unnamed(&'static str),
}

/// What is wrong with a secret that a user brings, if anything is.
pub(super) fn check_secret(source: Source, secret: &SecretString) -> Result<(), String> {
    let secret = secret.expose_secret();
    let printable = secret.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match source {
        Source::StandardWebhooks => match standard_key(secret).map(|key| key.len()) {
            Some(24..=64) => Ok(()),
            _ => Err(format!("must be {STANDARD_PREFIX} and the base64 of 24 to 64 bytes")),
        },
        Source::Token | Source::Eventbridge | Source::S3
            if !(16..=256).contains(&secret.len()) || !printable || secret.trim() != secret =>
        {
            Err("must be 16 to 256 printable ASCII characters, without blanks at the ends".to_owned())
        }
        Source::Github | Source::Stripe | Source::Slack if !(8..=256).contains(&secret.len()) || !printable => {
            Err("must be 8 to 256 printable ASCII characters".to_owned())
        }
        Source::Run => Err("is not used: its events are of this organisation's own".to_owned()),
        Source::Github | Source::Stripe | Source::Slack | Source::Token | Source::Eventbridge | Source::S3 => Ok(()),
    }
}

/// A secret of these random bytes, as the source wants it.
pub(super) fn secret_of(source: Source, random: &[u8; 32]) -> SecretString {
    let text = STANDARD.encode(random);
    match source {
        Source::StandardWebhooks => SecretString::from(STANDARD_PREFIX.to_owned() + &text),
        Source::Github
        | Source::Stripe
        | Source::Slack
        | Source::Token
        | Source::Eventbridge
        | Source::S3
        | Source::Run => {
            let url_safe = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
            SecretString::from(STANDARD_PREFIX.to_owned() + &url_safe)
        }
    }
}

fn standard_key(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.strip_prefix(STANDARD_PREFIX)?).ok()
}

/// The delivery as what it is, if it was sent by who knows one of the secrets, and about now.
pub(super) fn verify(
    source: Source,
    headers: &Headers,
    body: &[u8],
    secrets: &[SecretString],
    now: Timestamp,
) -> Option<Genuine> {
    let claim = claim(source, headers);
    let none = Claim { before: String::new(), at: None, signatures: Vec::new() };
    let said = claim.as_ref().unwrap_or(&none);
    let mut signed = false;
    for secret in secrets {
        let expected = expected(source, secret.expose_secret(), &said.before, body);
        for signature in said.signatures.iter().take(SIGNATURES_LIMIT) {
            signed |= bool::from(expected.ct_eq(signature.as_slice()));
        }
    }
    let claim = claim.filter(|_| signed)?;
    if source.dated() && !claim.at.is_some_and(|at| about_now(at, now)) {
        return None;
    }
    kind(source, headers, body, &claim)
}

/// Whether so many seconds since 1970 are about now, whatever the number is.
fn about_now(at_s: i64, now: Timestamp) -> bool {
    now.millis().div_euclid(1_000).checked_sub(at_s).is_some_and(|apart| apart.unsigned_abs() <= TOLERANCE_S)
}

/// What the headers of a delivery claim.
struct Claim {
    /// What is signed before the body.
    before: String,
    at: Option<i64>,
    signatures: Vec<Vec<u8>>,
}

fn claim(source: Source, headers: &Headers) -> Option<Claim> {
    match source {
        Source::StandardWebhooks => {
            let (id, at) = (headers.one("webhook-id")?, headers.one("webhook-timestamp")?);
            // With a dot in it, it could be said where it ends, and another moment begins.
            if !is_event_id(id) || id.contains('.') {
                return None;
            }
            let signatures = headers.one("webhook-signature")?.split(' ').filter_map(|one| one.strip_prefix("v1,"));
            let signatures = signatures.filter_map(|one| STANDARD.decode(one).ok()).collect();
            Some(Claim { before: format!("{id}.{at}."), at: seconds(at), signatures })
        }
        Source::Github => {
            let signature = unhex(headers.one("x-hub-signature-256")?.strip_prefix("sha256=")?)?;
            Some(Claim { before: String::new(), at: None, signatures: vec![signature] })
        }
        Source::Stripe => {
            let pairs: Vec<(&str, &str)> =
                headers.one("stripe-signature")?.split(',').filter_map(|pair| pair.trim().split_once('=')).collect();
            let mut moments = pairs.iter().filter(|(name, _)| *name == "t").map(|(_, value)| *value);
            let (at, None) = (moments.next()?, moments.next()) else { return None };
            let signatures = pairs.iter().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| unhex(value));
            Some(Claim { before: format!("{at}."), at: seconds(at), signatures: signatures.collect() })
        }
        Source::Slack => {
            let at = headers.one("x-slack-request-timestamp")?;
            let signature = unhex(headers.one("x-slack-signature")?.strip_prefix("v0=")?)?;
            Some(Claim { before: format!("v0:{at}:"), at: seconds(at), signatures: vec![signature] })
        }
        Source::Token | Source::Eventbridge | Source::S3 => {
            let token = match headers.one("x-muster-token") {
                Some(token) => token,
                None => {
                    let (scheme, token) = headers.one("authorization")?.split_once(' ')?;
                    Some(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?
                }
            };
            Some(Claim { before: String::new(), at: None, signatures: vec![token_digest(token)] })
        }
        Source::Run => None,
    }
}

/// What the signature must be.
fn expected(source: Source, secret: &str, before: &str, body: &[u8]) -> Vec<u8> {
    let standard = matches!(source, Source::StandardWebhooks).then(|| standard_key(secret)).flatten();
    let key = hmac::Key::new(hmac::HMAC_SHA256, standard.as_deref().unwrap_or(secret.as_bytes()));
    let mut context = hmac::Context::with_key(&key);
    context.update(before.as_bytes());
    context.update(body);
    let tag = context.sign();
    if source == Source::Token || source.of_bus() { token_digest(secret) } else { tag.as_ref().to_vec() }
}

/// Digests have the same length, whatever the tokens have.
fn token_digest(token: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"token");
    hmac::sign(&key, token.as_bytes()).as_ref().to_vec()
}

fn kind(source: Source, headers: &Headers, body: &[u8], claim: &Claim) -> Option<Genuine> {
    let said = |name: &str| headers.one(name).filter(|id| is_event_id(id)).map(str::to_owned);
    let digest = || Some(format!("sha256:{}", fingerprint(&[claim.before.as_bytes(), body])));
    let json = || serde_json::from_slice::<Json>(body).ok();
    let of_body = |json: &Option<Json>, field: &str| {
        let id = json.as_ref()?.get(field)?.as_str()?;
        Some(id.to_owned()).filter(|id| is_event_id(id))
    };
    Some(match source {
        Source::StandardWebhooks => Genuine::Event(Some(said("webhook-id")?)),
        Source::Github if headers.one("x-github-event") == Some("ping") => Genuine::Ping,
        Source::Github => Genuine::Event(said("x-github-delivery").or_else(digest)),
        Source::Stripe => Genuine::Event(of_body(&json(), "id").or_else(digest)),
        Source::Slack => {
            let json = json();
            let text = |field: &str| json.as_ref().and_then(|json| json.get(field)?.as_str());
            match text("challenge").filter(|_| text("type") == Some("url_verification")) {
                Some(challenge) => Genuine::Challenge(challenge.to_owned()),
                None => Genuine::Event(of_body(&json, "event_id").or_else(digest)),
            }
        }
        Source::Token => {
            let given = TOLD_APART_BY.into_iter().find(|name| headers.all().any(|(its, _)| its == *name));
            match given {
                Some(name) => said(name).map_or(Genuine::Unnamed(name), |id| Genuine::Event(Some(id))),
                None => Genuine::Event(None),
            }
        }
        Source::Eventbridge | Source::S3 => Genuine::Event(None),
        Source::Run => return None,
    })
}

/// Whether a text can be an event's id.
pub(super) fn is_event_id(text: &str) -> bool {
    (1..=EVENT_ID_LIMIT_BYTES).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Seconds as senders write them.
fn seconds(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The 32 bytes that these 64 digits are.
fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
