//! The model server and the tool server on a thread of their own.

use std::{net::SocketAddr, sync::mpsc, thread};

use model_server::{Options, Server, Tools};

use crate::Outcome;

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
        self.tools.url(&format!("/do/it?wait={takes_ms}"))
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
