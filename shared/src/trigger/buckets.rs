//! The buckets whose objects triggers may read: those that the operator names, for every organisation or for one.

#[cfg(feature = "s3")]
use http::{Method, StatusCode};
#[cfg(feature = "s3")]
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::object::Put;
#[cfg(any(feature = "s3", test))]
use crate::config::Invalid;
use crate::{
    error::{Error, Result},
    id::OrgId,
};
#[cfg(feature = "s3")]
use crate::{
    file::FILE_LIMIT_BYTES,
    s3::{Asked, Client},
};

/// What stands in a key as it is: the rest is escaped.
#[cfg(feature = "s3")]
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The buckets that may be read, and by whom.
#[derive(Debug, Default)]
pub struct Buckets {
    names: Vec<(String, Option<OrgId>)>,
    #[cfg(feature = "s3")]
    client: Option<Client>,
}

impl Buckets {
    /// Those in a list such as `reports, invoices=org_…`, with commas or blanks between them: a bucket that every organisation may read, or one alone.
    ///
    /// # Errors
    /// [`Invalid`] when something in the list is none of these.
    #[cfg(feature = "s3")]
    pub fn new(client: Client, name: &'static str, list: &str) -> std::result::Result<Self, Invalid> {
        Ok(Self { names: names(name, list)?, client: Some(client) })
    }

    /// Whether triggers of the organisation may read it.
    pub(super) fn may_read(&self, org: OrgId, bucket: &str) -> bool {
        self.names.iter().any(|(name, its)| name == bucket && its.is_none_or(|its| its == org))
    }

    /// The bytes of an object, or why there are none, for a person.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when S3 does not answer.
    #[cfg(feature = "s3")]
    pub(super) async fn read(
        &self,
        &Put { bucket, key, version, etag }: &Put<'_>,
    ) -> Result<std::result::Result<bytes::Bytes, String>> {
        let Some(client) = &self.client else { return Err(none()) };
        let mut url = format!("{}/{bucket}/{}", client.endpoint(), utf8_percent_encode(key, &KEPT));
        if let Some(version) = version {
            url = format!("{url}?versionId={}", utf8_percent_encode(version, NON_ALPHANUMERIC));
        }
        // A version is the same for ever; without one, another object may be in its place.
        let quoted = etag.filter(|_| version.is_none()).map(|etag| format!("\"{etag}\""));
        let headers: Vec<_> = quoted.iter().map(|etag| ("if-match", etag.as_str())).collect();
        let answers = &[
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::FORBIDDEN,
            StatusCode::PRECONDITION_FAILED,
        ];
        let (method, body, limit_bytes) = (Method::GET, bytes::Bytes::new(), FILE_LIMIT_BYTES);
        let (status, bytes) =
            client.ask(&Asked { method, url: &url, headers: &headers, body, limit_bytes, answers }).await?;
        Ok(match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err("is not there".to_owned()),
            StatusCode::PRECONDITION_FAILED => {
                Err("is another than the event tells of: it was put again, which is an event of its own".to_owned())
            }
            StatusCode::FORBIDDEN => Err("is not there, or may not be read: s3:GetObject is missing".to_owned()),
            _ if bytes.len() > FILE_LIMIT_BYTES => Err(format!("has more than {FILE_LIMIT_BYTES} bytes")),
            _ => Ok(bytes),
        })
    }

    /// The same where nothing can be read.
    #[cfg(not(feature = "s3"))]
    #[expect(clippy::unused_async, reason = "as where something can be read")]
    pub(super) async fn read(&self, _: &Put<'_>) -> Result<std::result::Result<bytes::Bytes, String>> {
        Err(none())
    }
}

fn none() -> Error {
    Error::Unavailable("no bucket can be read".into())
}

#[cfg(any(feature = "s3", test))]
fn names(name: &'static str, list: &str) -> std::result::Result<Vec<(String, Option<OrgId>)>, Invalid> {
    let parts = list.split(|between: char| between == ',' || between.is_whitespace()).filter(|part| !part.is_empty());
    let read = parts.zip(1..).map(|(part, place)| {
        let (bucket, org) = part.split_once('=').map_or((part, None), |(bucket, org)| (bucket, Some(org)));
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let named = (3..=63).contains(&bucket.len()) && bucket.bytes().all(allowed);
        let org = org.map(OrgId::parse_prefixed).transpose();
        org.ok().filter(|_| named).map(|org| (bucket.to_owned(), org)).ok_or_else(|| Invalid {
            name,
            problem: format!("number {place} is not a bucket, or a bucket and an organisation as in reports=org_…"),
        })
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn buckets_are_everybodys_or_one_organisations() {
        let [ours, theirs] = [1, 2].map(|at| OrgId::new(Timestamp::from_millis(at)));
        let list = format!("reports, invoices.2026={}", ours.prefixed());
        let buckets = Buckets { names: names("X", &list).unwrap(), ..Buckets::default() };
        let may = |org, bucket| buckets.may_read(org, bucket);
        assert_eq!((may(ours, "reports"), may(theirs, "reports")), (true, true));
        assert_eq!(
            (may(ours, "invoices.2026"), may(theirs, "invoices.2026"), may(ours, "other")),
            (true, false, false)
        );
        for bad in ["a/b", "ab", "reports=", "reports=us", "Reports", "reports=org_x"] {
            let error = names("X", bad).unwrap_err().to_string();
            assert!(error.starts_with("X: number 1 is not a bucket"), "{error}");
        }
        assert_eq!(names("X", "").unwrap(), []);
    }
}
