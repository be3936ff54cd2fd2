//! A request as handlers see it: typed body, typed query, typed ids, the few headers that mean something. Knows no host.

use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use shared::{
    Error, Result,
    id::{
        AgentId, BatchId, EvaluationId, FileId, KeyId, MessageId, RunId, ScheduleId, TestSetId, TriggerId, WebhookId,
    },
};
use uuid::Uuid;

use crate::{Envelope, Route, Surface, decode};

/// A request that has found its route.
#[derive(Debug)]
pub struct Request {
    route: &'static Route,
    http: http::Request<Bytes>,
    parameters: Vec<(String, String)>,
    envelope: Envelope,
}

impl Request {
    pub(crate) const fn new(
        route: &'static Route,
        http: http::Request<Bytes>,
        parameters: Vec<(String, String)>,
        envelope: Envelope,
    ) -> Self {
        Self { route, http, parameters, envelope }
    }

    /// What every answer to this request has in common.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The body, as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.http.body()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.http.method()
    }

    /// The path, as it came.
    #[must_use]
    pub fn path(&self) -> &str {
        self.http.uri().path()
    }

    /// The path with the query, as they came.
    #[must_use]
    pub fn target(&self) -> &str {
        self.http.uri().path_and_query().map_or("/", |target| target.as_str())
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.http.headers()
    }

    /// The body: a JSON object.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field that is wrong.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        decode::object(self.body())
    }

    /// Refuses parameters of the query where the route takes none, as [`Request::query`] does with those that are not known.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the parameter.
    pub(crate) fn no_other_query(&self) -> Result<()> {
        if self.route.operation.query.is_some() {
            return Ok(());
        }
        self.query::<Nothing>().map(|Nothing {}| ())
    }

    /// Refuses a body that has something in it, where the route takes none: it may be missing, or an object without fields.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field that is wrong.
    pub(crate) fn no_body(&self) -> Result<()> {
        if self.body().is_empty() {
            return Ok(());
        }
        self.json::<Nothing>().map(|Nothing {}| ())
    }

    /// The body: a JSON array of objects.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every item that is wrong.
    pub fn json_array<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        decode::array(self.body())
    }

    /// The body: any JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not JSON.
    pub fn json_value(&self) -> Result<Value> {
        decode::value(self.body())
    }

    /// The query parameters.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the parameter that is wrong.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T> {
        decode::query(self.http.uri().query().unwrap_or_default())
    }

    /// The same, where these parameters may be given several times: as if their values had been given with commas between them.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the parameter that is wrong.
    pub fn query_with_lists<T: DeserializeOwned>(&self, lists: &[&str]) -> Result<T> {
        decode::query(&decode::joined(self.http.uri().query().unwrap_or_default(), lists))
    }

    /// A part of the path that varies, decoded.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the route has no such part.
    pub fn parameter(&self, name: &str) -> Result<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).ok_or(Error::NotFound("path"))
    }

    /// An id in the path, as the surface writes it.
    ///
    /// # Errors
    /// [`Error::NotFound`], as for an unknown one, when it is no id.
    pub fn id<T: PathId>(&self, name: &str) -> Result<T> {
        self.id_of(self.parameter(name)?)
    }

    /// The id that this text is, as the surface writes it.
    ///
    /// # Errors
    /// [`Error::NotFound`], as for an unknown one, when it is no id.
    pub fn id_of<T: PathId>(&self, text: &str) -> Result<T> {
        let id = match self.envelope.surface {
            Surface::Native => T::parse_prefixed(text),
            Surface::Coagent => T::parse_prefixed(text).or_else(|| text.parse().ok()),
            Surface::Cotera | Surface::Cotool => text.parse().ok(),
        };
        id.ok_or(Error::NotFound(T::KIND))
    }

    /// The key that the caller shows.
    #[must_use]
    pub fn bearer_key(&self) -> Option<&str> {
        let (scheme, key) = self.header(header::AUTHORIZATION.as_str())?.split_once(' ')?;
        Some(key.trim()).filter(|key| scheme.eq_ignore_ascii_case("bearer") && !key.is_empty())
    }

    /// The organisation that the caller says it is. What is no text, or is said twice, is no organisation's id.
    #[must_use]
    pub fn org_id(&self) -> Option<&str> {
        let mut said = self.http.headers().get_all("x-org-id").iter();
        let first = said.next()?;
        Some(first.to_str().ok().filter(|_| said.next().is_none()).unwrap_or_default())
    }

    /// The key under which an answer may be replayed.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless it is 1 to 255 printable ASCII characters, given once.
    pub fn idempotency_key(&self) -> Result<Option<&str>> {
        let mut given = self.http.headers().get_all("idempotency-key").iter();
        let Some(value) = given.next() else {
            return Ok(None);
        };
        if given.next().is_some() {
            return Err(Error::invalid("Idempotency-Key", "is given twice"));
        }
        let printable = value.to_str().ok().filter(|key| key.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let key = printable.filter(|key| (1..=255).contains(&key.len()));
        key.map(Some).ok_or_else(|| Error::invalid("Idempotency-Key", "must be 1 to 255 printable ASCII characters"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.http.headers().get(name)?.to_str().ok()
    }
}

/// An object without fields, or a query without parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The id of a request: the caller's, if it is 1 to 128 letters, digits, `-` and `_`; a new one otherwise.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let plain = |id: &&str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    given
        .filter(|id| (1..=128).contains(&id.len()))
        .filter(plain)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// An id that may stand in a request.
pub trait PathId: FromStr {
    /// What it is the id of, as in "agent not found".
    const KIND: &'static str;

    /// Reads the id with its prefix.
    fn parse_prefixed(text: &str) -> Option<Self>;
}

macro_rules! path_ids {
    ($($id:ident = $kind:literal),+) => {$(
        impl PathId for $id {
            const KIND: &'static str = $kind;

            fn parse_prefixed(text: &str) -> Option<Self> {
                $id::parse_prefixed(text).ok()
            }
        }
    )+};
}

path_ids!(
    AgentId = "agent",
    RunId = "run",
    BatchId = "batch",
    KeyId = "key",
    FileId = "file",
    MessageId = "message",
    TestSetId = "test set",
    EvaluationId = "evaluation",
    WebhookId = "webhook",
    ScheduleId = "schedule",
    TriggerId = "trigger"
);
