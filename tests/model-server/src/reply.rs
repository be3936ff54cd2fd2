//! The HTTP answers.

use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body_util::{Either, Full, StreamBody};
use hyper::{
    Response, StatusCode,
    body::Frame,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::Value;

use crate::{format::Format, spec::Spec};

pub(crate) type Reply = Response<Either<Full<Bytes>, StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>>>;

pub(crate) fn failure(format: Format, spec: &Spec) -> Reply {
    let status = StatusCode::from_u16(spec.fail_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = whole(status, &format.refusal(spec));
    if let Some(seconds) = spec.retry_after_s {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}

pub(crate) fn garbage() -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from_static(b"{\"choices\": [{\"mess"))));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

pub(crate) fn whole(status: StatusCode, body: &Value) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from(body.to_string()))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

pub(crate) fn streamed(format: Format, chunks: BoxStream<'static, io::Result<Frame<Bytes>>>) -> Reply {
    let mut reply = Response::new(Either::Right(StreamBody::new(chunks)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.stream_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}
