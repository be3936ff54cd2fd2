//! The server: accepts, counts, fails when it is asked to, answers when it is due.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
    time::sleep_until,
};

use crate::{
    answer::{Answer, Said, hash_of},
    format::Format,
    spec::Spec,
    stats::{Counts, Stats, Ticket},
    stream,
};

/// How a server is started.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where it listens; port 0 is any free one.
    pub addr: SocketAddr,
    /// The latency of a call whose model's name says none, in milliseconds.
    pub latency_ms: u64,
}

impl Default for Options {
    /// Any free port of this machine, no latency.
    fn default() -> Self {
        Self { addr: ([127, 0, 0, 1], 0).into(), latency_ms: 0 }
    }
}

/// A running server; it stops when this is dropped. Its connections end with their clients or the runtime.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// The last request of a format, as it came in.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The path with its query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

struct Shared {
    stats: Arc<Stats>,
    latency_ms: u64,
    /// Attempts by request.
    attempts: Mutex<HashMap<u64, u64>>,
    /// Calls by the text of the last user message.
    prompts: Mutex<HashMap<u64, u64>>,
    last: Mutex<HashMap<Format, (String, HeaderMap, Bytes)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.stats.counts())
    }
}

impl Server {
    /// Starts a server on the runtime that this is called in.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start(options: Options) -> io::Result<Server> {
        let socket = if options.addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(options.addr)?;
        let listener = socket.listen(65_535)?; // the kernel cuts it to net.core.somaxconn
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            stats: Arc::default(),
            latency_ms: options.latency_ms,
            attempts: Mutex::default(),
            prompts: Mutex::default(),
            last: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Server { addr, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The counters since the start or the last reset.
    #[must_use]
    pub fn stats(&self) -> Counts {
        self.shared.stats.counts()
    }

    /// Sets all counters to zero and forgets attempts and recorded requests.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// How often a model was called with that text as the last user message.
    #[must_use]
    pub fn calls_with(&self, prompt: &str) -> u64 {
        locked(&self.shared.prompts).get(&hash_of(prompt)).copied().unwrap_or(0)
    }

    /// How many different last user messages models were called with.
    #[must_use]
    pub fn distinct_prompts(&self) -> usize {
        locked(&self.shared.prompts).len()
    }

    /// The last request of that format; `None` when there was none.
    #[must_use]
    pub fn last(&self, format: Format) -> Option<Recorded> {
        let (path, headers, body) = locked(&self.shared.last).get(&format)?.clone();
        Some(Recorded { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn reset(&self) {
        self.stats.reset();
        locked(&self.attempts).clear();
        locked(&self.prompts).clear();
        locked(&self.last).clear();
    }

    fn to_json(&self) -> Value {
        let mut stats = self.stats.to_json();
        let prompts = locked(&self.prompts);
        stats["distinct_prompts"] = json!(prompts.len());
        stats["max_calls_per_prompt"] = json!(prompts.values().max().unwrap_or(&0));
        stats
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(of: &Mutex<HashMap<u64, u64>>, hash: u64) -> u64 {
    let mut counts = locked(of);
    let count = counts.entry(hash).or_insert(0);
    *count += 1;
    *count
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: wait for some to be closed.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let stats = shared.stats.clone();
            stats.connected();
            let service = service_fn(move |request| route(shared.clone(), request));
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            stats.disconnected();
        });
    }
}

type Reply = Response<Either<Full<Bytes>, StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>>>;

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Reply> {
    let path = request.uri().path();
    if request.method() == Method::POST
        && let Some((format, model)) = Format::of_path(path)
    {
        return answer(&shared, format, model, request).await;
    }
    Ok(match (request.method(), path) {
        (&Method::GET, "/v1/models" | "/models") => {
            let model = json!({"id": "fake", "object": "model", "created": 0, "owned_by": "model-server"});
            whole(StatusCode::OK, &json!({"object": "list", "data": [model]}))
        }
        (&Method::GET, "/health") => whole(StatusCode::OK, &json!("ok")),
        (&Method::GET, "/stats") => whole(StatusCode::OK, &shared.to_json()),
        (&Method::POST, "/reset") => {
            let before = shared.to_json();
            shared.reset();
            whole(StatusCode::OK, &before)
        }
        _ => whole(StatusCode::NOT_FOUND, &json!({"error": {"message": "no such path", "type": "not_found"}})),
    })
}

async fn answer(
    shared: &Shared,
    format: Format,
    model: Option<String>,
    request: Request<Incoming>,
) -> io::Result<Reply> {
    let started = Instant::now();
    let ticket = Ticket::take(&shared.stats);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    shared.stats.request_bytes.fetch_add(body.len() as u64, Relaxed);
    let call = match format.parse(model, &body) {
        Ok(call) => call,
        Err(error) => {
            ticket.failed();
            return Ok(whole(StatusCode::BAD_REQUEST, &format.error(400, "invalid_request_error", &error.to_string())));
        }
    };
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    locked(&shared.last).insert(format, (path, head.headers, body.clone()));
    count(&shared.prompts, hash_of(call.prompt.as_str()));

    let spec = Spec::parse(&call.model, shared.latency_ms);
    let hash = hash_of(&(call.model.as_str(), &body[..]));
    if spec.counts_attempts() {
        let attempt = count(&shared.attempts, hash);
        if attempt <= spec.cut_first {
            ticket.failed();
            return Err(io::Error::other("cut on purpose"));
        }
        if attempt <= spec.fail_first.max(spec.garbage_first) {
            ticket.failed();
            return Ok(if attempt <= spec.fail_first { failure(format, &spec) } else { garbage() });
        }
    }

    let jitter_ms = if spec.jitter_ms > 0 { hash % (spec.jitter_ms + 1) } else { 0 };
    let total = Duration::from_millis(spec.latency_ms + jitter_ms);
    let answer = Answer::to(&call, &spec, hash, body.len());
    if let Said::ToolCalls(calls) = &answer.said {
        shared.stats.tool_calls.fetch_add(calls.len() as u64, Relaxed);
    }
    if call.stream && format == Format::OpenAi {
        shared.stats.streams.fetch_add(1, Relaxed);
        return Ok(streamed(stream::chunks(&call, &spec, hash, &answer, (started, total), ticket)));
    }
    let reply = whole(StatusCode::OK, &format.render(&call.model, hash, &answer));
    let due = started + total;
    sleep_until(due.into()).await;
    ticket.answered(due);
    Ok(reply)
}

fn failure(format: Format, spec: &Spec) -> Reply {
    let status = StatusCode::from_u16(spec.fail_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = whole(status, &format.refusal(spec));
    if let Some(seconds) = spec.retry_after_s {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}

fn garbage() -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from_static(b"{\"choices\": [{\"mess"))));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn whole(status: StatusCode, body: &Value) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from(body.to_string()))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn streamed(chunks: BoxStream<'static, io::Result<Frame<Bytes>>>) -> Reply {
    let mut reply = Response::new(Either::Right(StreamBody::new(chunks)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}
