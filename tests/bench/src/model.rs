//! The model server and the tool server on a thread of their own.

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use model_server::{Options, Server, Tools};
use serde_json::json;

use crate::{
    Outcome,
    client::{Client, text},
};

/// A model server that lives as long as the process, and a tool server beside it.
pub(crate) struct Model {
    server: Server,
    tools: Tools,
}

impl Model {
    pub(crate) fn start() -> Outcome<Self> {
        let (ready, started) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = async move {
            let _ = ready.send((Server::start(Options::default()).await, Tools::start().await));
            std::future::pending::<()>().await;
        };
        thread::Builder::new().name("model".to_owned()).spawn(move || runtime.block_on(serve))?;
        let (server, tools) = started.recv()?;
        Ok(Self { server: server?, tools: tools? })
    }

    /// A tool that takes so many milliseconds.
    pub(crate) fn tool(&self, takes_ms: f64) -> String {
        self.tools.url(&tool_path(takes_ms))
    }

    /// How long two calls of a model and, between them, one of that tool take without anything else: the model over a connection
    /// that is kept, the tool over a new one.
    pub(crate) async fn direct(&self, kept: &Client, model: &str, prompt: &str, tool_ms: f64) -> Outcome<Duration> {
        let body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
        let started = Instant::now();
        let answer = kept.post("/v1/chat/completions", &body).await?;
        Client::new(self.tools.addr(), "").post(&tool_path(tool_ms), &json!({"city": "example"})).await?;
        kept.post("/v1/chat/completions", &body).await?;
        let took = started.elapsed();
        text(&answer, "/choices/0/message/content")?;
        Ok(took)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Forgets everything that was counted.
    pub(crate) fn reset(&self) {
        self.server.reset();
    }

    /// How often a model was called, and with how many different prompts.
    pub(crate) fn calls(&self) -> (u64, usize) {
        (self.server.stats().calls, self.server.distinct_prompts())
    }
}

fn tool_path(takes_ms: f64) -> String {
    format!("/do/it?wait={takes_ms}")
}
