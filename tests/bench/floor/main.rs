//! The durable floor: the least that a run server can cost which loses nothing. HTTP in, HTTP out, one log that many requests
//! share an fsync of, and no feature. Figures are measured beside it, so that a busy disk or a slow machine shows in both.
//!
//! `floor ADDRESS MODEL_URL LOG_FILE`: `POST /runs/wait`, `POST /batch`, `GET /batch/{id}`, `GET /health`.

mod log;

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, body::Incoming, header::CONTENT_TYPE, server::conn::http1, service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::log::Log;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Deserialize)]
struct NewRun {
    model: String,
    prompt: String,
}

#[derive(Deserialize)]
struct NewBatch {
    model: String,
    prompts: Vec<String>,
}

struct App {
    http: Client<HttpConnector, Full<Bytes>>,
    model_url: String,
    log: Log,
    /// What each run said, once it has ended.
    runs: Mutex<HashMap<u64, Option<String>>>,
    /// The first and the last run of each batch.
    batches: Mutex<HashMap<u64, (u64, u64)>>,
    next: AtomicU64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, model_url, log] = arguments.as_slice() else {
        eprintln!("usage: floor ADDRESS MODEL_URL LOG_FILE");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let served = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve(address, model_url, log)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str, model_url: &str, log: &str) -> Outcome<()> {
    let _ = rlimit::increase_nofile_limit(65_536);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let app = Arc::new(App {
        http: Client::builder(TokioExecutor::new()).build(connector),
        model_url: model_url.to_owned(),
        log: Log::open(Path::new(log))?,
        runs: Mutex::default(),
        batches: Mutex::default(),
        next: AtomicU64::new(1),
    });
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse::<SocketAddr>()?)?;
    let listener = socket.listen(4096)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&app), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(app: Arc<App>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match route(&app, request).await {
        Ok(found) => found,
        Err(error) => (500, json!({ "error": error.to_string() })),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn route(app: &Arc<App>, request: Request<Incoming>) -> Outcome<(u16, Value)> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await?.to_bytes();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    Ok(match (method, parts.as_slice()) {
        (Method::POST, ["runs", "wait"]) => {
            let NewRun { model, prompt } = serde_json::from_slice(&body)?;
            let id = app.create();
            app.log.append(&json!({"id": id, "prompt": prompt})).await?;
            let output = app.run(id, &model, &prompt).await?;
            (200, json!({"id": id.to_string(), "output": output}))
        }
        (Method::POST, ["batch"]) => (202, app.batch(serde_json::from_slice(&body)?).await?),
        (Method::GET, ["batch", id]) => (200, json!({ "open": app.open(id.parse()?) })),
        (Method::GET, ["health"]) => (200, json!("ok")),
        _ => (404, json!({})),
    })
}

impl App {
    fn create(&self) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.runs).insert(id, None);
        id
    }

    async fn batch(self: &Arc<Self>, new: NewBatch) -> Outcome<Value> {
        let NewBatch { model, prompts } = new;
        let ids: Vec<u64> = prompts.iter().map(|_| self.create()).collect();
        self.log.append(&json!({"ids": ids, "prompts": prompts})).await?;
        let (Some(first), Some(last)) = (ids.first().copied(), ids.last().copied()) else {
            return Err("a batch without prompts".into());
        };
        lock(&self.batches).insert(first, (first, last));
        for (id, prompt) in ids.into_iter().zip(prompts) {
            let (app, model) = (Arc::clone(self), model.clone());
            tokio::spawn(async move { app.run(id, &model, &prompt).await.inspect_err(|error| eprintln!("{error}")) });
        }
        Ok(json!({ "id": first.to_string() }))
    }

    /// How many runs of the batch have not ended.
    fn open(&self, batch: u64) -> usize {
        let (first, last) = lock(&self.batches).get(&batch).copied().unwrap_or((1, 0));
        let runs = lock(&self.runs);
        (first..=last).filter(|id| runs.get(id).is_some_and(Option::is_none)).count()
    }

    /// Calls the model, and remembers what it said when that is on the disk.
    async fn run(&self, id: u64, model: &str, prompt: &str) -> Outcome<String> {
        let body = json!({"model": model, "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": prompt},
        ]});
        let request = Request::post(&self.model_url)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let reply = self.http.request(request).await?.into_body().collect().await?.to_bytes();
        let reply: Value = serde_json::from_slice(&reply)?;
        let said = reply.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.log.append(&json!({"id": id, "done": said})).await?;
        lock(&self.runs).insert(id, Some(said.clone()));
        Ok(said)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
