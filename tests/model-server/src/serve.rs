//! The server: accepts, counts, fails when it is asked to, answers when it is due.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
    time::sleep_until,
};

use crate::{
    answer::{Answer, Said, hash_of},
    embed::Asked,
    format::{Format, InPath},
    reply::{Reply, failure, garbage, streamed, whole},
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
    /// Attempts by request, streamed or not.
    attempts: Mutex<HashMap<u64, u64>>,
    /// Calls by the text of the last user message.
    prompts: Mutex<HashMap<u64, u64>>,
    /// Calls of tools by the tool's name.
    tool_calls: Mutex<HashMap<u64, u64>>,
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
            tool_calls: Mutex::default(),
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

    /// How often models asked for a call of the tool of that name.
    #[must_use]
    pub fn tool_calls_of(&self, name: &str) -> u64 {
        locked(&self.shared.tool_calls).get(&hash_of(name)).copied().unwrap_or(0)
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
        locked(&self.tool_calls).clear();
        locked(&self.last).clear();
    }

    /// An answer is made, whether it arrives or not.
    fn bill(&self, answer: &Answer) {
        self.stats.input_tokens.fetch_add(answer.prompt_tokens, Relaxed);
        self.stats.output_tokens.fetch_add(answer.completion_tokens, Relaxed);
        if let Said::ToolCalls(calls) = &answer.said {
            self.stats.tool_calls.fetch_add(calls.len() as u64, Relaxed);
            for (_, name, _) in calls {
                count(&self.tool_calls, hash_of(name.as_str()));
            }
        }
    }

    /// The number of a request's attempt; the greatest when that does not matter.
    fn attempt(&self, spec: &Spec, hash: u64) -> u64 {
        if spec.counts_attempts() { count(&self.attempts, hash) } else { u64::MAX }
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

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Reply> {
    let path = request.uri().path();
    if request.method() == Method::POST
        && let Some((format, in_path)) = Format::of_path(path)
    {
        return answer(&shared, format, in_path, request).await;
    }
    if request.method() == Method::POST && ["/v1/embeddings", "/embeddings"].contains(&path) {
        return embed(&shared, request).await;
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

async fn answer(shared: &Shared, format: Format, in_path: InPath, request: Request<Incoming>) -> io::Result<Reply> {
    let started = Instant::now();
    let ticket = Ticket::take(&shared.stats);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    shared.stats.request_bytes.fetch_add(body.len() as u64, Relaxed);
    let call = match format.parse(in_path, &body) {
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
    let attempt = shared.attempt(&spec, hash ^ u64::from(call.stream));
    if let Some(faulty) = faulty(format, &spec, attempt) {
        ticket.failed();
        return faulty;
    }
    let total = spec.takes(hash);
    let answer = Answer::to(&call, &spec, hash, body.len(), attempt <= spec.truncate_first);
    let answer = if spec.dense { answer.billed_the_most(&call, &body) } else { answer };
    shared.bill(&answer);
    if call.stream {
        shared.stats.streams.fetch_add(1, Relaxed);
        let fault = spec.stream_fault.and_then(|(fault, first)| (attempt <= first).then_some(fault));
        let chunks = stream::chunks((format, &call, hash), (&spec, fault), &answer, (started, total), ticket);
        return Ok(streamed(format, chunks));
    }
    let reply = whole(StatusCode::OK, &format.render(&call.model, hash, &answer));
    let due = started + total;
    sleep_until(due.into()).await;
    ticket.answered(due);
    Ok(reply)
}

/// How the attempt of that number fails, if it shall.
fn faulty(format: Format, spec: &Spec, attempt: u64) -> Option<io::Result<Reply>> {
    match attempt {
        u64::MAX => None,
        attempt if attempt <= spec.cut_first => Some(Err(io::Error::other("cut on purpose"))),
        attempt if attempt <= spec.fail_first => Some(Ok(failure(format, spec))),
        attempt if attempt <= spec.garbage_first => Some(Ok(garbage())),
        _ => None,
    }
}

async fn embed(shared: &Shared, request: Request<Incoming>) -> io::Result<Reply> {
    let started = Instant::now();
    let ticket = Ticket::take(&shared.stats);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    shared.stats.request_bytes.fetch_add(body.len() as u64, Relaxed);
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => {
            ticket.failed();
            let error = Format::OpenAi.error(400, "invalid_request_error", &error.to_string());
            return Ok(whole(StatusCode::BAD_REQUEST, &error));
        }
    };
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    locked(&shared.last).insert(Format::OpenAi, (path, head.headers, body.clone()));
    let spec = Spec::parse(&asked.model, shared.latency_ms);
    let hash = hash_of(&(asked.model.as_str(), &body[..]));
    if let Some(faulty) = faulty(Format::OpenAi, &spec, shared.attempt(&spec, hash)) {
        ticket.failed();
        return faulty;
    }
    shared.stats.input_tokens.fetch_add(asked.tokens(), Relaxed);
    let reply = whole(StatusCode::OK, &asked.answer());
    let due = started + spec.takes(hash);
    sleep_until(due.into()).await;
    ticket.answered(due);
    Ok(reply)
}
