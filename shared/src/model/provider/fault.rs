//! What a failed call means: the table of reliability.md 2.10. Its messages carry no key, no URL and no header.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use genai::{
    BoxError, Error,
    webc::{self, StreamTimeout},
};
use percent_encoding::percent_decode_str;
use reqwest::{Url, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::model::{FaultKind, ModelFault};

/// How much of a provider's message is passed on, in characters.
const MESSAGE_CHARS: usize = 500;
/// The error codes that mean that an account's money or quota is used up.
const QUOTA_CODES: [&str; 4] =
    ["insufficient_quota", "enforced_spend_limit_reached", "billing_hard_limit_reached", "billing_not_active"];

/// What must not be in a message: the key, the parts of the base URL, and the user and password in it as they are sent.
pub(super) struct Redaction(Vec<SecretString>);

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redaction")
    }
}

impl Redaction {
    pub(super) fn new(key: Option<&SecretString>, endpoint: &str) -> Self {
        let key = key.map(|key| key.expose_secret().to_owned());
        let url = Url::parse(endpoint).ok();
        let parts = url.iter().flat_map(|url| {
            let of_url = [url.password(), Some(url.username()), url.host_str(), url.query()];
            let mut parts: Vec<String> = of_url.into_iter().flatten().map(str::to_owned).collect();
            if !url.username().is_empty() || url.password().is_some() {
                let [user, password] = [url.username(), url.password().unwrap_or_default()]
                    .map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
                parts.extend([STANDARD.encode(format!("{user}:{password}")), user, password]);
            }
            parts
        });
        Self(key.into_iter().chain(parts).filter(|part| !part.is_empty()).map(SecretString::from).collect())
    }

    /// The text without secrets and addresses, cut.
    fn clean(&self, text: &str) -> String {
        let known =
            self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "[redacted]"));
        let words = known.split_inclusive(char::is_whitespace).map(|word| {
            let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric());
            // A provider that refuses a key repeats parts of it.
            if word.contains("://") || bare.starts_with("sk-") { "[redacted] " } else { word }
        });
        words.flat_map(str::chars).take(MESSAGE_CHARS).collect::<String>().trim_end().to_owned()
    }
}

/// The call took longer than it may.
pub(super) fn timeout(timeout_ms: u64) -> ModelFault {
    ModelFault::new(FaultKind::Lost, format!("the model did not answer within {timeout_ms} ms"))
}

/// The answer has nothing of an answer in it.
pub(super) fn incomprehensible() -> ModelFault {
    ModelFault::new(FaultKind::Incomprehensible, "the provider's answer makes no sense".to_owned())
}

/// The request cannot be sent as it is.
pub(super) fn refused(message: &str) -> ModelFault {
    ModelFault::new(FaultKind::Refused, message.to_owned())
}

/// Nobody answers there, or nobody may be asked there: which of the two, nobody is told.
pub(super) fn unreachable() -> ModelFault {
    ModelFault::new(FaultKind::Busy, "the provider cannot be reached".to_owned())
}

/// A stream ended before its answer did. Nothing tells whether it was billed.
pub(super) fn ended_early() -> ModelFault {
    ModelFault::new(FaultKind::Lost, "the provider's stream ended before the answer was complete".to_owned())
}

/// What that error means.
pub(super) fn of(error: &Error, redaction: &Redaction) -> ModelFault {
    if let Error::WebModelCall { webc_error, .. } | Error::WebAdapterCall { webc_error, .. } = error {
        return of_exchange(webc_error, redaction);
    }
    if let Error::HttpError { status, body, headers, .. } = error {
        return of_status(status.as_u16(), headers, body, redaction, OffsetDateTime::now_utc());
    }
    let unreadable = matches!(
        error,
        Error::ChatResponseGeneration { .. }
            | Error::ChatResponse { .. }
            | Error::NoChatResponse { .. }
            | Error::InvalidJsonResponseElement { .. }
            | Error::StreamParse { .. }
            | Error::JsonValueExt(_)
    );
    if unreadable {
        return incomprehensible();
    }
    // What is left is said before anything is sent: the request cannot be put in the provider's
    // format.
    let message = "the request cannot be sent to this model".to_owned();
    ModelFault::new(FaultKind::Refused, message)
}

/// What an error within a stream means: the provider began to answer, so it may have billed.
pub(super) fn of_stream(error: &Error, redaction: &Redaction) -> ModelFault {
    if let Error::WebStream { error, .. } = error {
        return of_broken_stream(error, redaction);
    }
    let Error::ChatResponse { body, .. } = error else { return of(error, redaction) };
    let own = own_message(body).map(|own| redaction.clean(own)).filter(|own| !own.is_empty());
    let said = own.map_or_else(String::new, |own| format!(": {own}"));
    ModelFault::new(FaultKind::Lost, format!("the provider ended its stream with an error{said}"))
}

fn of_broken_stream(error: &BoxError, redaction: &Redaction) -> ModelFault {
    if let Some(error) = error.downcast_ref::<Error>() {
        return of(error, redaction);
    }
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return of_transport(error);
    }
    if error.is::<StreamTimeout>() {
        return ModelFault::new(FaultKind::Lost, "the provider's stream stood still for too long".to_owned());
    }
    incomprehensible()
}

fn of_exchange(error: &webc::Error, redaction: &Redaction) -> ModelFault {
    match error {
        webc::Error::ResponseFailedStatus { status, body, headers } => {
            let now = OffsetDateTime::now_utc();
            of_status(status.as_u16(), headers, body, redaction, now)
        }
        webc::Error::Reqwest(error) => of_transport(error),
        webc::Error::ResponseFailedNotJson { .. }
        | webc::Error::ResponseFailedInvalidJson { .. }
        | webc::Error::JsonValueExt(_) => incomprehensible(),
    }
}

fn of_transport(error: &reqwest::Error) -> ModelFault {
    if error.is_builder() {
        ModelFault::new(FaultKind::Refused, "the key or base URL of the provider is not usable".to_owned())
    } else if error.is_connect() {
        unreachable()
    } else {
        ModelFault::new(
            FaultKind::Lost,
            "the connection to the provider broke before the answer was complete".to_owned(),
        )
    }
}

fn of_status(status: u16, headers: &HeaderMap, body: &str, redaction: &Redaction, now: OffsetDateTime) -> ModelFault {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let retry_after_ms = retry_after_ms(headers, now).or_else(|| retry_delay_ms(&json));
    let kind = match status {
        429 if retry_after_ms.is_none() && is_quota(&json) => FaultKind::Quota,
        429 => FaultKind::RateLimited,
        402 => FaultKind::Quota,
        408 | 409 | 500 | 502..=504 | 506..=599 => FaultKind::Busy,
        _ => FaultKind::Refused,
    };
    let message = match own_message(&json).map(|own| redaction.clean(own)).filter(|own| !own.is_empty()) {
        Some(own) => format!("HTTP {status}: {own}"),
        None => format!("HTTP {status}"),
    };
    ModelFault { kind, status: Some(status), retry_after_ms, message }
}

/// The provider's own words. A body that is no JSON is some proxy's page: not passed on.
fn own_message(json: &Value) -> Option<&str> {
    ["/error/message", "/message", "/error", "/detail", "/0/error/message"]
        .into_iter()
        .find_map(|pointer| json.pointer(pointer)?.as_str())
}

fn is_quota(json: &Value) -> bool {
    ["/error/code", "/error/type", "/code", "/type"]
        .into_iter()
        .filter_map(|pointer| json.pointer(pointer)?.as_str())
        .any(|code| QUOTA_CODES.contains(&code))
}

/// `retry-after-ms`, or `Retry-After` in seconds or as a date.
fn retry_after_ms(headers: &HeaderMap, now: OffsetDateTime) -> Option<u64> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|text| millis(text, 1.0)) {
        return Some(ms);
    }
    let after = text("retry-after")?;
    millis(after, 1_000.0).or_else(|| {
        let wait = OffsetDateTime::parse(after, &Rfc2822).ok()? - now;
        Some(u64::try_from(wait.whole_milliseconds()).unwrap_or(0))
    })
}

/// Google's way of saying it: `{"error": {"details": [{"retryDelay": "37s"}]}}`.
fn retry_delay_ms(json: &Value) -> Option<u64> {
    let details = json.pointer("/error/details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    millis(delay.strip_suffix('s')?, 1_000.0)
}

/// That many units of so many milliseconds, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be finite and not negative; `as` saturates"
)]
fn millis(text: &str, unit_ms: f64) -> Option<u64> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    Some((number * unit_ms).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use time::macros::datetime;

    use super::*;

    fn fault(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> ModelFault {
        let headers = headers
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        let key = SecretString::from("canary-key");
        let redaction = Redaction::new(Some(&key), "https://canary-user:canary-word@canary.example/v1/?canary-query");
        assert!(!format!("{redaction:?}").contains("canary"));
        of_status(status, &headers.collect(), body, &redaction, datetime!(2026-01-01 00:00 UTC))
    }

    #[test]
    fn a_status_means_what_the_table_says() {
        for status in [408, 409, 500, 502, 503, 504, 529] {
            assert_eq!(fault(status, &[], "").kind, FaultKind::Busy, "{status}");
        }
        for status in [302, 400, 401, 403, 404, 413, 422, 501] {
            assert_eq!(fault(status, &[], "").kind, FaultKind::Refused, "{status}");
        }
        assert_eq!(fault(402, &[], "").kind, FaultKind::Quota);
        assert_eq!(fault(429, &[], "").kind, FaultKind::RateLimited);
    }

    #[test]
    fn a_used_up_quota_is_told_from_a_passing_limit_by_code_and_header() {
        for body in
            [r#"{"error": {"code": "insufficient_quota"}}"#, r#"{"error": {"type": "enforced_spend_limit_reached"}}"#]
        {
            assert_eq!(fault(429, &[], body).kind, FaultKind::Quota);
            assert_eq!(fault(429, &[("retry-after", "3")], body).kind, FaultKind::RateLimited);
            assert_eq!(fault(503, &[], body).kind, FaultKind::Busy);
        }
    }

    #[test]
    fn the_time_to_try_again_is_read_in_every_form() {
        let after = |name, value| fault(429, &[(name, value)], "").retry_after_ms;
        assert_eq!(after("retry-after", "2"), Some(2_000));
        assert_eq!(after("retry-after", "0.25"), Some(250));
        assert_eq!(after("retry-after-ms", "1500.5"), Some(1_501));
        assert_eq!(after("retry-after", "Thu, 01 Jan 2026 00:00:30 GMT"), Some(30_000));
        assert_eq!(after("retry-after", "Wed, 31 Dec 2025 00:00:00 GMT"), Some(0));
        for nonsense in ["soon", "-1", "NaN", "inf", ""] {
            assert_eq!(after("retry-after", nonsense), None, "{nonsense}");
        }
        let google = r#"{"error": {"code": 429, "details": [{"@type": "x"}, {"retryDelay": "37s"}]}}"#;
        assert_eq!(fault(429, &[], google).retry_after_ms, Some(37_000));
    }

    #[test]
    fn a_message_is_the_providers_own_without_secrets_and_cut() {
        let message = |body: &str| fault(401, &[], body).message;
        assert_eq!(message(r#"{"error": {"message": "No such model."}}"#), "HTTP 401: No such model.");
        assert_eq!(message(r#"{"message": "plain"}"#), "HTTP 401: plain");
        assert_eq!(message("<html>canary</html>"), "HTTP 401");
        let leaky = r#"{"error": {"message": "Bad key canary-key (sk-abc***xyz), see https://canary.example/keys or canary.example, canary-user, canary-word, canary-query, Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXdvcmQ=."}}"#;
        let said = message(leaky);
        assert!(
            !said.contains("canary") && !said.contains("Y2FuYXJ5") && !said.contains("sk-") && said.contains("Bad key"),
            "{said}"
        );
        let long = format!(r#"{{"error": {{"message": "{}"}}}}"#, "é".repeat(2_000));
        assert_eq!(message(&long).chars().count(), "HTTP 401: ".len() + 500);
    }
}
