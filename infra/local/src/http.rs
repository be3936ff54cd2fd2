//! HTTP on one machine: every route behind one listener. Knows no route.

use std::{convert::Infallible, future::Future, io, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use functions::{BODY_LIMIT_BYTES, Body};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use shared::App;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// How much of a body that is too large is read before its client is told, in bytes: one that is still writing would not
/// hear.
const DISCARD_LIMIT_BYTES: usize = 8 * BODY_LIMIT_BYTES;
/// How long a connection may be without a whole head of a request, and a body without its next piece: who is slower than that holds a
/// connection for nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait when the system has no connection to give, as it has too many open.
const FULL: Duration = Duration::from_millis(100);

/// Answers whoever connects, until `stop`; then what was begun is answered to its end.
///
/// # Errors
/// When the listener has no address any more.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    listener.local_addr()?;
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => connect(stream, app.clone(), &connections),
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                sleep(FULL).await;
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
    Ok(())
}

fn connect(stream: TcpStream, app: App, connections: &GracefulShutdown) {
    // A small piece of a streamed answer does not wait for the client to have taken the one before it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection sends small pieces late");
    }
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(&app, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
}

async fn answer(app: &App, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let limit = functions::body_limit_bytes(app, &parts);
    // A client that asks before it sends a body that nobody wants is answered instead.
    let asks = parts.headers.contains_key(header::EXPECT);
    let body = if limit == 0 && asks { Ok(Bytes::new()) } else { collected(body, limit).await };
    match body {
        Ok(body) => functions::handle(app, Request::from_parts(parts, body)).await,
        Err(status) => {
            let mut response = Response::new(Body::Full(Bytes::new()));
            *response.status_mut() = status;
            response
        }
    }
}

/// The body; of one that is too large only so much that it is seen to be. A status when the client broke off or went to sleep.
async fn collected(mut body: Incoming, limit_bytes: usize) -> Result<Bytes, StatusCode> {
    let (mut kept, mut read) = (BytesMut::new(), 0_usize);
    loop {
        let frame = timeout(PATIENCE, body.frame()).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else {
            continue;
        };
        read = read.saturating_add(piece.len());
        if kept.len() <= limit_bytes {
            kept.extend_from_slice(&piece);
        }
        if read > DISCARD_LIMIT_BYTES {
            break;
        }
    }
    Ok(kept.freeze())
}
