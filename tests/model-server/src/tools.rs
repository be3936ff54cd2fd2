//! A server that tools of tests call. It writes down what it did and for whom: the oracle of "at most once".
//!
//! | method, path           | what                                                                                        |
//! |------------------------|---------------------------------------------------------------------------------------------|
//! | any `/do/…`            | does it: one more effect; answers `{"done": <number>}`                                       |
//! | any `/idempotent/…`    | does it unless an effect with the same `Idempotency-Key` is there; answers the same either way |
//! | any `/echo`            | does it, and answers with the `Authorization` that came                                     |
//! | `GET /did/{key}`       | 200 when an effect with that key is there, 404 otherwise                                     |
//!
//! Query parameters: `wait=500` waits so many milliseconds before it does it and `rest=500` after it; `fail=2` answers the first two
//! requests with 503 and does nothing; `cut=1` does it at the first request and closes the connection without an answer; `lose=1`
//! closes the connection before it does it; `status=404` answers that; `size=1000000` answers so many bytes.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The call's `Idempotency-Key`.
    pub key: Option<String>,
    /// Its `Authorization`.
    pub authorization: Option<String>,
    /// Its `webhook-id`.
    pub webhook_id: Option<String>,
    /// Its body.
    pub body: String,
}

#[derive(Debug, Default)]
struct State {
    effects: Vec<Effect>,
    /// Requests by path and key.
    requests: HashMap<(String, Option<String>), u32>,
    total: u32,
}

/// A running tool server; it stops when this is dropped.
#[derive(Debug)]
pub struct Tools {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Tools {
    /// Starts a server on a free port of this machine, on the runtime that this is called in.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { addr, state, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of that path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// What was done, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        lock(&self.state).effects.clone()
    }

    /// How many of the things that were done are of that kind.
    #[must_use]
    pub fn count(&self, of: impl Fn(&Effect) -> bool) -> usize {
        lock(&self.state).effects.iter().filter(|effect| of(effect)).count()
    }

    /// How many requests came, those included that did nothing.
    #[must_use]
    pub fn requests(&self) -> u32 {
        lock(&self.state).total
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(request, Arc::clone(&state)));
            // A connection that is cut ends here, as it should.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(request: Request<Incoming>, state: Arc<Mutex<State>>) -> io::Result<Response<Full<Bytes>>> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (key, authorization, webhook_id) = (header("idempotency-key"), header("authorization"), header("webhook-id"));
    let (method, uri) = (request.method().to_string(), request.uri().clone());
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let option = |name: &str| number(uri.query().unwrap_or_default(), name);
    let path = uri.path().to_owned();
    let nth = {
        let mut state = lock(&state);
        state.total = state.total.saturating_add(1);
        let nth = state.requests.entry((path.clone(), key.clone())).or_default();
        *nth = nth.saturating_add(1);
        *nth
    };
    if let Some(asked) = path.strip_prefix("/did/") {
        let known = |effect: &Effect| effect.key.as_ref().is_some_and(|key| key.replace('/', "%2F") == asked);
        let did = lock(&state).effects.iter().any(known);
        return answer(if did { StatusCode::OK } else { StatusCode::NOT_FOUND }, json!({"did": did}).to_string());
    }
    sleep(Duration::from_millis(option("wait").unwrap_or(0))).await;
    if option("fail").is_some_and(|times| u64::from(nth) <= times) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, json!({"error": "not now"}).to_string());
    }
    if option("lose").is_some_and(|times| u64::from(nth) <= times) {
        return Err(io::Error::other("lost"));
    }
    let done = {
        let mut state = lock(&state);
        let known = path.starts_with("/idempotent/") && state.effects.iter().any(|effect| effect.key == key);
        if !known {
            let body = String::from_utf8_lossy(&body).into_owned();
            let authorization = authorization.clone();
            state.effects.push(Effect { method, path: uri.to_string(), key, authorization, webhook_id, body });
        }
        state.effects.len()
    };
    sleep(Duration::from_millis(option("rest").unwrap_or(0))).await;
    if option("cut").is_some_and(|times| u64::from(nth) <= times) {
        return Err(io::Error::other("cut"));
    }
    let status = option("status").and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let text = match option("size").and_then(|size| usize::try_from(size).ok()) {
        Some(size) => "x".repeat(size),
        None if path == "/echo" => json!({"you sent": authorization}).to_string(),
        None => json!({"done": done}).to_string(),
    };
    answer(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), text)
}

fn number(query: &str, name: &str) -> Option<u64> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn answer(status: StatusCode, text: String) -> io::Result<Response<Full<Bytes>>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(text))).map_err(io::Error::other)
}
