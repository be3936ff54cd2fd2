//! HTTP on one machine: every route behind one listener. Knows no route.

use std::{future::Future, io};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use bytes::{Bytes, BytesMut};
use functions::BODY_LIMIT_BYTES;
use http_body_util::BodyExt;
use shared::App;
use tokio::net::TcpListener;

/// How much of a body that is too large is read before its client is told, in bytes: one that is still writing would not
/// hear.
const DISCARD_LIMIT_BYTES: usize = 8 * BODY_LIMIT_BYTES;

/// Answers whoever connects, until `stop`; then what was begun is answered to its end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let router = Router::new().fallback(answer).with_state(app);
    // A small piece of a streamed answer does not wait for the client to have taken the one before it.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection sends small pieces late");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn answer(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let limit = functions::body_limit_bytes(&app, &parts);
    // A client that asks before it sends a body that nobody wants is answered instead.
    let asks = parts.headers.contains_key(header::EXPECT);
    let body = if limit == 0 && asks { Ok(Bytes::new()) } else { collected(body, limit).await };
    let Ok(body) = body else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let request = axum::http::Request::from_parts(parts, body);
    functions::handle(&app, request).await.map(axum::body::Body::new)
}

/// The body; of one that is too large only so much that it is seen to be. An error when the client broke off.
async fn collected(mut body: axum::body::Body, limit_bytes: usize) -> Result<Bytes, axum::Error> {
    let (mut kept, mut read) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        read += piece.len();
        if kept.len() <= limit_bytes {
            kept.extend_from_slice(&piece);
        }
        if read > DISCARD_LIMIT_BYTES {
            break;
        }
    }
    Ok(kept.freeze())
}
