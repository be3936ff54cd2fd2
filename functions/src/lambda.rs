//! The Lambda host: one function per process, by the name that the template gave it. Knows no route by name.

use std::{convert::Infallible, fmt, future::Future};

use bytes::Bytes;
use http::Uri;
use lambda_http::RequestExt;
use lambda_runtime::{LambdaEvent, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use shared::clock::Timestamp;

use crate::{
    Response, Route, Routes, config, deployment, first_key, reaper,
    route::{Access, Wait},
    serve, worker,
};

/// What a function does.
#[derive(Debug, Clone, Copy)]
pub enum Function {
    /// Answers one route.
    Route(&'static Route),
    /// Answers what has no route: an unknown path, a wrong method.
    Fallback,
    /// Works on runs as the queue names them.
    Worker,
    /// Looks after runs that nobody works on.
    Reaper,
    /// Makes a key for an organisation, when an operator invokes it.
    FirstKey,
}

/// Why a function cannot start or go on.
#[derive(thiserror::Error)]
pub enum Failure {
    /// The template names a function that is not in this binary.
    #[error(
        "no function is named '{0}': `Handler` must be a route's name, `fallback`, `worker`, `reaper` or `first_key`"
    )]
    UnknownHandler(String),
    /// The settings do not make an application.
    #[error("the application cannot be made: {0}")]
    Settings(#[source] shared::error::Fault),
    /// The process has no event loop.
    #[error("the event loop cannot be made: {0}")]
    EventLoop(#[source] std::io::Error),
    /// The Lambda runtime ended.
    #[error("the Lambda runtime ended: {0}")]
    Runtime(#[source] lambda_runtime::Error),
}

/// What `main` shows.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The function of this name.
///
/// # Errors
/// [`Failure::UnknownHandler`].
pub fn handler(name: &str) -> Result<Function, Failure> {
    match name {
        "fallback" => Ok(Function::Fallback),
        "worker" => Ok(Function::Worker),
        "reaper" => Ok(Function::Reaper),
        "first_key" => Ok(Function::FirstKey),
        name => Route::named(name).map(Function::Route).ok_or_else(|| Failure::UnknownHandler(name.to_owned())),
    }
}

/// Does what the function does, event by event, until Lambda ends the process.
///
/// # Errors
/// As [`Failure`] says.
pub fn run(function: Function) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_max_level(config::log_level())
        .init();
    let events = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::EventLoop)?;
    events.block_on(serve(function))
}

async fn serve(function: Function) -> Result<(), Failure> {
    let app = |sends, streams| async move { deployment::app(sends, streams).await.map_err(Failure::Settings) };
    let ended = match function {
        Function::Route(route) => {
            let streams = route.operation.wait == Wait::Long && config::response_streaming();
            let sends = route.operation.access.contains(&Access::Send);
            let (app, routes) = (app(sends, streams).await?, Routes::new([route]));
            let answer = |event| answered(routes.handle(&app, request(event)));
            match streams {
                true => Box::pin(lambda_http::run_with_streaming_response(service_fn(answer))).await,
                false => lambda_http::run(service_fn(answer)).await,
            }
        }
        Function::Fallback => {
            lambda_http::run(service_fn(|event| async { answered(async { serve::refuse(&request(event)) }).await }))
                .await
        }
        Function::Worker => {
            let app = &app(true, false).await?;
            let work = |event: LambdaEvent<worker::Event>| async move {
                Ok::<_, Infallible>(worker::worker(app, event.payload, until(event.context.deadline)).await)
            };
            lambda_runtime::run(service_fn(work)).await
        }
        Function::Reaper => {
            let app = app(true, false).await?;
            let look =
                |_: LambdaEvent<Value>| async { reaper::reaper(&app).await.map_err(lambda_runtime::Error::from) };
            lambda_runtime::run(service_fn(look)).await
        }
        Function::FirstKey => {
            let app = app(false, false).await?;
            let make = |event: LambdaEvent<first_key::Wanted>| async {
                first_key::first_key(&app, event.payload).await.map_err(lambda_runtime::Error::from)
            };
            lambda_runtime::run(service_fn(make)).await
        }
    };
    ended.map_err(Failure::Runtime)
}

async fn answered(response: impl Future<Output = Response>) -> Result<Response, Infallible> {
    Ok(response.await)
}

/// When Lambda will end the invocation.
fn until(deadline_ms: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(deadline_ms).unwrap_or(i64::MAX))
}

/// What must be escaped to stand in a URI; what is escaped already stays.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The gateway's event as a request: with the path that the client asked for, without the stage.
fn request(event: lambda_http::Request) -> http::Request<Bytes> {
    let path = utf8_percent_encode(event.raw_http_path(), ESCAPED).to_string();
    let target = match event.uri().query() {
        Some(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path,
    };
    let uri = target.parse::<Uri>().unwrap_or_default();
    let (mut parts, body) = event.into_parts();
    parts.uri = uri;
    let body = match body {
        lambda_http::Body::Text(text) => Bytes::from(text),
        lambda_http::Body::Binary(bytes) => Bytes::from(bytes),
        lambda_http::Body::Empty | _ => Bytes::new(),
    };
    http::Request::from_parts(parts, body)
}
