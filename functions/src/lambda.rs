//! The Lambda host: one function per process, by the name that the template gave it. Knows no route by name.

use std::{convert::Infallible, fmt};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Uri;
use http_body_util::BodyExt;
use lambda_http::{IntoResponse, RequestExt};
use lambda_runtime::{LambdaEvent, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use shared::{App, clock::Timestamp, engine, file};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    Response, Route, Routes, config, deployment, first_key, receive_event,
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
    /// Takes events of Amazon EventBridge.
    ReceiveEvent,
}

/// Why a function cannot start or go on.
#[derive(thiserror::Error)]
pub enum Failure {
    /// The template names a function that is not in this binary.
    #[error(
        "no function is named '{0}': `Handler` must be a route's name, `fallback`, `worker`, `poster`, `reaper`, `first_key` or `receive_event`"
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
        "worker" | "poster" => Ok(Function::Worker),
        "reaper" => Ok(Function::Reaper),
        "first_key" => Ok(Function::FirstKey),
        "receive_event" => Ok(Function::ReceiveEvent),
        name => Route::named(name).map(Function::Route).ok_or_else(|| Failure::UnknownHandler(name.to_owned())),
    }
}

/// Does what the function does, event by event, until Lambda ends the process.
///
/// # Errors
/// As [`Failure`] says.
pub fn run(function: Function) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    tracing_subscriber::registry().with(shown(config::log_level())).with(lines).init();
    let events = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::EventLoop)?;
    events.block_on(serve(function))
}

/// The log lines of that level, but those of the crates that speak with providers and MCP servers: one writes errors with the URLs that
/// it called, the other whole messages.
fn shown(level: LevelFilter) -> Targets {
    Targets::new().with_default(level).with_target("genai", LevelFilter::OFF).with_target("rmcp", LevelFilter::OFF)
}

async fn serve(function: Function) -> Result<(), Failure> {
    let ended = match function {
        Function::Route(route) => {
            let streams = route.operation.wait == Wait::Long && config::response_streaming();
            let app = app(route.operation.access.contains(&Access::Send), streams).await?;
            let host = Host { app: Some(app), routes: Routes::new([route]) };
            if streams {
                let answer = |event| async { Ok::<_, Infallible>(host.answer(event).await) };
                Box::pin(lambda_http::run_with_streaming_response(service_fn(answer))).await
            } else {
                buffered(host).await
            }
        }
        Function::Fallback => buffered(Host { app: None, routes: Routes::default() }).await,
        Function::Worker | Function::Reaper | Function::FirstKey | Function::ReceiveEvent => {
            let app = app(!matches!(function, Function::FirstKey), false).await?;
            let invoked = |event| Box::pin(invoked(&app, function, event));
            lambda_runtime::run(service_fn(invoked)).await
        }
    };
    ended.map_err(Failure::Runtime)
}

async fn app(sends: bool, streams: bool) -> Result<App, Failure> {
    deployment::app(sends, streams).await.map_err(Failure::Settings)
}

/// Does what a function that no HTTP call reaches does with an event.
async fn invoked(app: &App, function: Function, event: LambdaEvent<Value>) -> Result<Value, lambda_runtime::Error> {
    let until = until(event.context.deadline);
    match function {
        Function::Worker => {
            let event: worker::Event = serde_json::from_value(event.payload)?;
            Ok(serde_json::to_value(worker::worker(app, event, until).await)?)
        }
        Function::FirstKey => {
            let wanted: first_key::Wanted = serde_json::from_value(event.payload)?;
            Ok(serde_json::to_value(first_key::first_key(app, wanted).await?)?)
        }
        Function::ReceiveEvent => {
            let delivered: receive_event::Delivered = serde_json::from_value(event.payload)?;
            Ok(serde_json::to_value(receive_event::receive_event(app, delivered).await?)?)
        }
        Function::Reaper | Function::Route(_) | Function::Fallback => {
            engine::reap(app).await?;
            file::sweep(app).await?;
            Ok(Value::Null)
        }
    }
}

/// Answers requests of the gateway; without an application, by refusing them.
struct Host {
    app: Option<App>,
    routes: Routes,
}

impl Host {
    async fn answer(&self, event: lambda_http::Request) -> Response {
        let request = request(event);
        match &self.app {
            Some(app) => self.routes.handle(app, request).await,
            None => serve::refuse(&request),
        }
    }
}

async fn buffered(host: Host) -> Result<(), lambda_runtime::Error> {
    let answer = |event| async { Ok::<_, Infallible>(whole(host.answer(event).await).await) };
    lambda_http::run(service_fn(answer)).await
}

/// The answer in one piece. Every body of ours is text, whatever its content type is called; as binary it would need a
/// gateway that decodes it.
async fn whole(response: Response) -> Text {
    let (parts, body) = response.into_parts();
    let Ok::<_, Infallible>(body) = body.collect().await;
    Text(http::Response::from_parts(parts, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// A text answer, handed to the gateway as it is.
struct Text(http::Response<String>);

impl IntoResponse for Text {
    fn into_response(self) -> BoxFuture<'static, http::Response<lambda_http::Body>> {
        Box::pin(std::future::ready(self.0.map(lambda_http::Body::from)))
    }
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_providers_crate_writes_no_lines() {
        let shown = shown(LevelFilter::TRACE);
        assert!(shown.would_enable("functions::serve", &Level::TRACE));
        assert!(!shown.would_enable("genai::webc::web_stream", &Level::ERROR));
    }
}
