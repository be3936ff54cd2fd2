//! Answers: whole ones, streamed ones, and errors in the surface's own body. Knows no host.

use std::{
    convert::Infallible,
    error::Error as _,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future::BoxFuture, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use serde::Serialize;
use shared::{
    Error, Result,
    limit::{Place, Quota},
};
use tokio::time::timeout;

use crate::{Surface, request, route::caught, surface::retry_after_s};

/// An answer.
pub type Response = http::Response<Body>;

/// The body of an answer.
pub enum Body {
    /// All of it; empty once it was sent.
    Full(Bytes),
    /// Pieces as they come.
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(pieces) => {
                pieces.as_mut().poll_next(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// 200 with this body.
pub fn ok(body: &impl Serialize) -> Response {
    with_json(StatusCode::OK, body)
}

/// 201 with this body.
pub fn created(body: &impl Serialize) -> Response {
    with_json(StatusCode::CREATED, body)
}

/// 202 with this body.
pub fn accepted(body: &impl Serialize) -> Response {
    with_json(StatusCode::ACCEPTED, body)
}

/// 204.
#[must_use]
pub fn no_content() -> Response {
    with_bytes(StatusCode::NO_CONTENT, Bytes::new())
}

/// This status with this body.
pub fn with_json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_bytes(status, bytes.into()),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            with_bytes(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new())
        }
    }
}

/// This status with this body: JSON unless the handler sets another content type.
#[must_use]
pub fn with_bytes(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::Full(body));
    *response.status_mut() = status;
    response
}

/// The answer to a call that may take minutes. For the first [`PATIENCE`] it is awaited, and answers with its own status.
/// After that the answer begins with 200 and a space every [`BEAT`], which JSON allows before a value, so that nothing on
/// the way takes the connection for dead; then comes the body, an error's too.
///
/// # Errors
/// The outcome's own, when it comes early.
pub async fn late(
    envelope: Envelope,
    outcome: impl Future<Output = Result<Response>> + Send + 'static,
) -> Result<Response> {
    let mut outcome: BoxFuture<'static, Result<Response>> = Box::pin(caught(outcome));
    if let Ok(early) = timeout(PATIENCE, &mut outcome).await {
        return early;
    }
    let space = Bytes::from_static(b" ");
    let rest = stream::unfold(Some((outcome, envelope)), |waiting| async {
        let (mut outcome, envelope) = waiting?;
        match timeout(BEAT, &mut outcome).await {
            Err(_) => Some((Bytes::from_static(b" "), Some((outcome, envelope)))),
            Ok(outcome) => {
                let response = outcome.unwrap_or_else(|error| envelope.refuse(&error));
                envelope.leave().await;
                let Ok(body) = response.into_body().collect().await;
                Some((body.to_bytes(), None))
            }
        }
    });
    Ok(Response::new(Body::Stream(Box::pin(stream::iter([space]).chain(rest)))))
}

/// How long a call is waited for before its answer begins without it: less than the minute that many proxies wait.
pub const PATIENCE: Duration = Duration::from_secs(50);

/// How often an answer that has begun shows that it is alive.
pub const BEAT: Duration = Duration::from_secs(15);

/// What every answer to one request has in common.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The surface that it came to.
    pub surface: Surface,
    /// Its id.
    pub request_id: String,
    /// The caller's place in flight, which is given up with the last copy of this, and what is left of its rate.
    admitted: Arc<OnceLock<(Place, Quota)>>,
}

impl Envelope {
    pub(crate) fn of<T>(request: &http::Request<T>) -> Self {
        let surface = Surface::of(request.uri().path());
        Self::new(surface, request::request_id(request.headers()))
    }

    /// For a request to this surface with this id.
    #[must_use]
    pub fn new(surface: Surface, request_id: String) -> Self {
        Self { surface, request_id, admitted: Arc::default() }
    }

    /// The caller was let in: it holds its place until the request is answered.
    pub(crate) fn admit(&self, admitted: (Place, Quota)) {
        // A request has one caller; a second one would give its place up at once.
        let _ = self.admitted.set(admitted);
    }

    /// Gives the place back before the answer goes out, where nobody would later.
    pub(crate) async fn leave(&self) {
        if let Some((place, _)) = self.admitted.get() {
            place.leave().await;
        }
    }

    /// The error, logged and rendered.
    #[must_use]
    pub fn refuse(&self, error: &Error) -> Response {
        let status = self.surface.status(error);
        log(error, status);
        let mut response = with_bytes(status, self.surface.body(error, &self.request_id));
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after_s(error) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Error::RateLimited { requests_per_minute: Some(limit), retry_after_ms, .. } = error {
            headers.extend(quota_headers(&Quota { limit: *limit, remaining: 0, reset_ms: *retry_after_ms }));
        }
        if matches!(error, Error::Unauthorized) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Error::MethodNotAllowed { allowed } = error
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            headers.insert(header::ALLOW, allowed);
        }
        response
    }

    /// The answer with the headers that all have.
    #[must_use]
    pub(crate) fn seal(&self, mut response: Response) -> Response {
        let has_body = response.status() != StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if has_body {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert("x-request-id", id);
        }
        if let Some((_, quota)) = self.admitted.get().filter(|(_, quota)| quota.limit > 0) {
            headers.extend(quota_headers(quota));
        }
        response
    }
}

/// The headers of the IETF's draft "RateLimit header fields for HTTP".
fn quota_headers(quota: &Quota) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let Quota { limit, remaining, reset_ms } = quota;
    let policy = format!("\"requests\";q={limit};w=60");
    let state = format!("\"requests\";r={remaining};t={}", reset_ms.div_ceil(1_000));
    let named = [("ratelimit-policy", policy), ("ratelimit", state)];
    named
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)))
}

/// Once per error, without what the caller sent: of bad input only the fields.
fn log(error: &Error, status: StatusCode) {
    let status = status.as_u16();
    match error {
        Error::Internal(_) => tracing::error!(status, error = causes(error), "failed"),
        Error::Unavailable(_) => tracing::warn!(status, error = causes(error), "unavailable"),
        Error::Invalid(problems) => {
            let fields: Vec<&str> = problems.iter().take(10).map(|problem| problem.field.as_str()).collect();
            tracing::info!(status, ?fields, "refused: invalid input");
        }
        Error::UnknownModel { field, .. } => {
            tracing::info!(status, field, "refused: unknown model")
        }
        Error::Unauthorized
        | Error::Forbidden { .. }
        | Error::NotFound(_)
        | Error::MethodNotAllowed { .. }
        | Error::Conflict(_)
        | Error::GateFailed(_)
        | Error::InProgress
        | Error::IdempotencyMismatch
        | Error::TooLarge { .. }
        | Error::RateLimited { .. } => tracing::info!(status, %error, "refused"),
    }
}

fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
