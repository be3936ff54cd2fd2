//! An MCP server written by hand, of the older protocol, which may answer each message in a way of its own: for what servers do that
//! they should not.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle, time::sleep};

/// How a message is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// With this result, as JSON.
    Result(Value),
    /// With this whole JSON-RPC message, whatever was asked.
    Json(Value),
    /// With a status and a text.
    Status(u16, String),
    /// With these events, and after them the end of the stream.
    Events(Vec<Value>),
    /// With these events, and then comments for ever.
    EndlessEvents(Vec<Value>),
    /// With half of an answer.
    Half,
    /// The connection is closed.
    Cut,
    /// Not at all.
    Silence,
}

/// Says how to answer a message of that method, at its nth time, counted from 1; `None` as it should be.
pub(crate) type Says = Arc<dyn Fn(&str, usize, &Value) -> Option<Reply> + Send + Sync>;

/// A running server; it stops when this is dropped.
pub(crate) struct Raw {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    accepting: AbortHandle,
}

impl Raw {
    pub(crate) async fn start(says: impl Fn(&str, usize, &Value) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let says: Says = Arc::new(says);
        let asked = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let kept = Arc::clone(&asked);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (says, kept) = (Arc::clone(&says), Arc::clone(&kept));
                let service = service_fn(move |request| serve(request, Arc::clone(&says), Arc::clone(&kept)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { addr, asked, accepting: accepting.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// The messages of that method, in order.
    pub(crate) fn asked(&self, method: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(asked, _)| asked == method).map(|(_, message)| message.clone()).collect()
    }

    /// Waits until it was asked for that method.
    pub(crate) async fn was_asked(&self, method: &str) {
        for _ in 0..1_000 {
            if !self.asked(method).is_empty() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it was never asked for {method}");
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

async fn serve(
    request: Request<Incoming>,
    says: Says,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<Answer, io::Error> {
    let http_method = request.method().to_string();
    let sent = format!("{} {:?}", request.uri(), request.headers());
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let mut message: Value = serde_json::from_slice(&body).unwrap_or(json!({}));
    message["authorization"] = authorization.into();
    message["sent"] = sent.into();
    let method = message["method"].as_str().unwrap_or(&http_method).to_owned();
    let nth = {
        let mut asked = asked.lock().unwrap();
        asked.push((method.clone(), message.clone()));
        asked.iter().filter(|(earlier, _)| *earlier == method).count()
    };
    let reply = says(&method, nth, &message).unwrap_or_else(|| proper(&method));
    answer(reply, &message["id"]).await
}

/// What a server of the older protocol with a tool `act` says.
fn proper(method: &str) -> Reply {
    match method {
        "initialize" => Reply::Result(json!({
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "raw", "version": "1"}
        })),
        "tools/list" => Reply::Result(json!({"tools": [super::server::tool("act", "Acts")]})),
        "tools/call" => Reply::Result(json!({"content": [{"type": "text", "text": "done"}]})),
        "DELETE" | "notifications/initialized" => Reply::Status(202, String::new()),
        _ => Reply::Status(400, "no session".to_owned()),
    }
}

async fn answer(reply: Reply, id: &Value) -> Result<Answer, io::Error> {
    let whole = |text: String| Full::from(text).map_err(|never: Infallible| match never {}).boxed_unsync();
    let json = |message: Value| {
        let answer = Response::builder().header("content-type", "application/json; charset=utf-8");
        answer.header("mcp-session-id", "session-1").body(whole(message.to_string()))
    };
    let answered = match reply {
        Reply::Result(result) => json(json!({"jsonrpc": "2.0", "id": id, "result": result})),
        Reply::Json(message) => json(message),
        Reply::Status(status, text) => Response::builder().status(status).body(whole(text)),
        Reply::Events(events) => events_of(stream::iter(data(events)).boxed()),
        Reply::EndlessEvents(events) => {
            let forever = stream::unfold((), |()| async {
                sleep(Duration::from_millis(20)).await;
                Some((": still here\n\n".to_owned(), ()))
            });
            events_of(stream::iter(data(events)).chain(forever).boxed())
        }
        Reply::Half => {
            let half = [Ok(Frame::data(Bytes::from("{\"jsonrpc\""))), Err(io::Error::other("half"))];
            let answer = Response::builder().header("content-type", "application/json");
            answer.body(StreamBody::new(stream::iter(half)).boxed_unsync())
        }
        Reply::Cut => return Err(io::Error::other("cut")),
        Reply::Silence => std::future::pending().await,
    };
    answered.map_err(io::Error::other)
}

fn data(events: Vec<Value>) -> Vec<String> {
    events.into_iter().map(|event| format!("event: message\ndata: {event}\n\n")).collect()
}

fn events_of(events: BoxStream<'static, String>) -> Result<Answer, http::Error> {
    let frames = events.map(|text| Ok(Frame::data(Bytes::from(text))));
    Response::builder().header("content-type", "text/event-stream").body(StreamBody::new(frames).boxed_unsync())
}
