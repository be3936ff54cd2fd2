//! How MCP's messages get to the server: each by a request of its own through the network guard, and its answer read until the
//! message that was asked for is there. What is known of a call afterwards is kept here, since only here it shows whether it was sent.
//!
//! The headers with secrets are put in here, and what a server repeats of them is taken out here, whatever it is a part of: nothing
//! above sees any.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rmcp::{
    ErrorData,
    model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage},
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse as Posted,
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    events::Events,
    known::{Called, Trouble},
    message::{Message, SESSION, answers, media, session_id, values},
};
use crate::{
    net::{Failure, Guard, GuardedUrl, Sending, Streamed},
    secret::Redaction,
};

/// The most that is read of what answers a call, in bytes.
pub(super) const ANSWER_READ_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// The most that is read of any other message, and of all others of a session together, in bytes.
const MESSAGE_LIMIT_BYTES: usize = 1024 * 1024;
const SESSION_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// The most values of one message: each takes far more room than it takes to write one.
const VALUES_LIMIT: usize = 50_000;
/// The most that is read of an answer that is an error, in bytes.
const REFUSAL_LIMIT_BYTES: usize = 64 * 1024;
/// How long the end of a session may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

type Error = StreamableHttpError<Trouble>;

/// The way to one server, for one session.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    guard: Guard,
    url: GuardedUrl,
    headers: HeaderMap,
    secrets: Redaction,
    deadline: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    called: Called,
    trouble: Option<Trouble>,
    /// How much was read of what answers no call, in bytes.
    read_bytes: usize,
}

impl Wire {
    pub(super) fn new(
        guard: Guard,
        url: GuardedUrl,
        headers: HeaderMap,
        secrets: Redaction,
        timeout: Duration,
    ) -> Self {
        let (deadline, state) = (Instant::now() + timeout, Mutex::default());
        Self { inner: Arc::new(Inner { guard, url, headers, secrets, deadline, state }) }
    }

    /// When everything is over.
    pub(super) fn deadline(&self) -> Instant {
        self.inner.deadline
    }

    /// What is known of the call: once.
    pub(super) fn called(&self) -> Called {
        std::mem::take(&mut self.state().called)
    }

    /// What was wrong with the last message; what is not known to be anything else is an answer that nobody understands.
    pub(super) fn trouble(&self) -> Trouble {
        self.state().trouble.clone().unwrap_or(Trouble::Foreign)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fails(&self, trouble: Trouble) -> Error {
        self.state().trouble = Some(trouble.clone());
        StreamableHttpError::Client(trouble)
    }

    fn note(&self, message: &Message, called: Called) {
        if message.calls {
            self.state().called = called;
        }
    }

    fn sending(&self, session: Option<&str>, others: HashMap<HeaderName, HeaderValue>) -> Sending {
        let mut headers: HeaderMap = others.into_iter().collect();
        if let Some(id) = session.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(SESSION, id);
        }
        headers.insert(header::ACCEPT, BOTH);
        headers.extend(self.inner.headers.clone());
        let timeout = self.inner.deadline.saturating_duration_since(Instant::now());
        let (method, body, limit) = (Method::POST, bytes::Bytes::new(), MESSAGE_LIMIT_BYTES);
        Sending { method, headers, body, follow: false, body_limit_bytes: limit, timeout }
    }

    async fn post(&self, message: &Message, sending: &Sending, in_session: bool) -> Result<Posted, Error> {
        self.note(message, Called::Unclear);
        self.state().trouble = None;
        let streamed = self.inner.guard.stream(&self.inner.url, sending).await.map_err(|failure| match failure {
            Failure::NotSent => {
                self.note(message, Called::Not);
                self.fails(Trouble::Unreached)
            }
            Failure::NoAnswer | Failure::Redirect => self.fails(Trouble::Silent),
        })?;
        if !streamed.status.is_success() {
            return self.refused(message, streamed, in_session).await;
        }
        let Some(id) = &message.id else { return Ok(Posted::Accepted) };
        let session = session_id(&streamed.headers);
        let found = if media(&streamed.headers) == "text/event-stream" {
            self.among_events(streamed, message, id).await?
        } else {
            let body = self.whole(streamed, message).await?;
            self.json(&body).filter(|found| answers(found, id)).ok_or_else(|| self.fails(Trouble::Foreign))?
        };
        let for_the_protocol = if message.calls {
            let answered = json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}});
            self.note(message, Called::Answered(found));
            answered
        } else {
            found
        };
        let read = serde_json::from_value(for_the_protocol).map_err(|_| self.fails(Trouble::Foreign))?;
        Ok(Posted::Json(read, session))
    }

    /// Reads the events until one is the answer. What else the server says or asks meanwhile is passed over.
    async fn among_events(&self, mut streamed: Streamed, message: &Message, id: &RequestId) -> Result<Value, Error> {
        let mut events = Events::default();
        while let Some(piece) = self.piece(&mut streamed, message).await? {
            let found =
                events.push(&piece).iter().find_map(|data| self.json(data.as_bytes()).filter(|m| answers(m, id)));
            if let Some(found) = found {
                return Ok(found);
            }
            if streamed.cut {
                break;
            }
        }
        Err(self.fails(if streamed.cut { Trouble::TooMuch } else { Trouble::Silent }))
    }

    async fn whole(&self, mut streamed: Streamed, message: &Message) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut streamed, message).await? {
            body.extend_from_slice(&piece);
            if streamed.cut {
                break;
            }
        }
        if streamed.cut { Err(self.fails(Trouble::TooMuch)) } else { Ok(body) }
    }

    async fn piece(&self, streamed: &mut Streamed, message: &Message) -> Result<Option<bytes::Bytes>, Error> {
        let piece = streamed.next().await.map_err(|_| self.fails(Trouble::Silent))?;
        if !message.calls {
            let read = piece.as_ref().map_or(0, bytes::Bytes::len);
            let mut state = self.state();
            state.read_bytes = state.read_bytes.saturating_add(read);
        }
        Ok(piece)
    }

    /// The most that is read of what answers that message.
    fn limit_bytes(&self, message: &Message) -> usize {
        if message.calls {
            return ANSWER_READ_LIMIT_BYTES;
        }
        MESSAGE_LIMIT_BYTES.min(SESSION_LIMIT_BYTES.saturating_sub(self.state().read_bytes))
    }

    /// An answer that is no success. A JSON-RPC error in it is one that the protocol's lifecycle understands; one that refuses
    /// `server/discover` in whatever way comes from a server of the older protocol.
    async fn refused(&self, message: &Message, mut streamed: Streamed, in_session: bool) -> Result<Posted, Error> {
        let status = streamed.status;
        if status == StatusCode::NOT_FOUND && in_session {
            self.note(message, Called::Expired);
            self.state().trouble = Some(Trouble::Silent);
            return Err(StreamableHttpError::SessionExpired);
        }
        let (mut body, mut whole) = (Vec::new(), false);
        while !whole && body.len() < REFUSAL_LIMIT_BYTES {
            match streamed.next().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) if !streamed.cut => whole = true,
                Ok(None) | Err(_) => break,
            }
        }
        let said = self.json(&body).and_then(|said| said.get("error").cloned());
        let said = said.and_then(|said| serde_json::from_value::<ErrorData>(said).ok());
        let raw = || self.inner.secrets.clean(&body, !whole);
        let text = said.as_ref().map_or_else(raw, |said| said.message.to_string());
        self.note(message, Called::Refused(status, text));
        let locked = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let error = match (said, &message.id) {
            _ if message.calls || locked || status.is_redirection() => None,
            (Some(error), Some(id)) => Some((error, id)),
            (None, Some(id)) if message.discovers && status.is_client_error() => {
                Some((ErrorData::invalid_request("no such method", None), id))
            }
            (None, Some(_)) | (_, None) => None,
        };
        let error = error.ok_or_else(|| self.fails(Trouble::Status(status)))?;
        self.state().trouble = Some(Trouble::Status(status));
        Ok(Posted::Json(ServerJsonRpcMessage::error(error.0, Some(error.1.clone())), None))
    }

    /// The value, without the secrets that were sent.
    fn json(&self, text: &[u8]) -> Option<Value> {
        let mut value = Some(text)
            .filter(|text| values(text) <= VALUES_LIMIT)
            .and_then(|text| serde_json::from_slice(text).ok())?;
        self.redact(&mut value);
        Some(value)
    }

    fn redact(&self, value: &mut Value) {
        let clean = |text: &str| self.inner.secrets.clean(text.as_bytes(), false);
        match value {
            Value::String(text) => *text = clean(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(fields) => {
                let taken = std::mem::take(fields).into_iter();
                *fields = taken
                    .map(|(name, mut field)| {
                        self.redact(&mut field);
                        (clean(&name), field)
                    })
                    .collect();
            }
            Value::Number(number) => {
                let digits = number.to_string();
                let left = clean(&digits);
                if left != digits {
                    *value = Value::String(left);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

impl StreamableHttpClient for Wire {
    type Error = Trouble;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Posted, Error> {
        let what = Message::of(&message);
        let mut sending = self.sending(session_id.as_deref(), custom_headers);
        sending.headers.insert(header::CONTENT_TYPE, JSON);
        sending.body = serde_json::to_vec(&message)?.into();
        sending.body_limit_bytes = self.limit_bytes(&what);
        self.post(&what, &sending, session_id.is_some()).await
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Error> {
        let sending = self.sending(Some(&session_id), custom_headers);
        let sending = Sending { method: Method::DELETE, timeout: CLOSE_TIMEOUT, ..sending };
        match self.inner.guard.stream(&self.inner.url, &sending).await {
            Ok(_) => Ok(()),
            Err(_) => Err(StreamableHttpError::ServerDoesNotSupportDeleteSession),
        }
    }

    /// What a server says unasked is not listened to, and an answer that broke off is not asked for again: it is unclear.
    async fn get_stream(
        &self,
        _uri: Arc<str>,
        _session_id: Option<Arc<str>>,
        _last_event_id: Option<String>,
        _auth_header: Option<String>,
        _custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<sse_stream::Sse, SseError>>, Error> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}
