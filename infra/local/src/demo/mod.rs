//! `muster demo`: the main job, as a user would do it: over HTTP, against this host.

mod client;
mod prompts;
mod show;

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use shared::limit::KeyLimits;

use crate::{Failure, Host, key};
use client::{Client, Unexpected};

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What the demo does.
#[derive(Debug, Args)]
pub struct Options {
    /// End when the batch has ended; the exit code tells whether every item ended well
    #[arg(long)]
    pub once: bool,
    /// Your own prompts: one a line, or JSON lines with `message` or `inputs`, and `custom_id`
    #[arg(long)]
    pub prompts: Option<PathBuf>,
    /// The model; unless given, the first one for which the environment has a key, or the scripted one
    #[arg(long)]
    pub model: Option<String>,
    /// How many items: the prompts are repeated or cut; 50 of the built-in ones, or all of your own, unless given
    #[arg(long)]
    pub items: Option<usize>,
    /// The folder that keeps everything
    #[arg(long, default_value = ".muster")]
    pub data: PathBuf,
    /// The address to listen on; another port is taken when this one is in use
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The host cannot serve.
    #[error(transparent)]
    Host(#[from] Failure),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] key::Refused),
    /// The prompts cannot be used.
    #[error("{0}")]
    Prompts(String),
    /// The host answered something else.
    #[error(transparent)]
    Answer(#[from] Unexpected),
    /// The terminal is gone.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// Runs the demo.
///
/// # Errors
/// As [`Stopped`] says.
pub async fn run(options: Options) -> Result<ExitCode, Stopped> {
    let items = prompts::load(options.prompts.as_deref(), options.items).map_err(Stopped::Prompts)?;
    let host = start(&options).await?;
    let key = key::create(&options.data, "demo", Vec::new(), KeyLimits::default()).await?;
    let client = Client::new(host.address, &key.key);
    let model = options.model.clone().unwrap_or_else(|| host.app.models().default_model().to_string());
    show::opening(&host, &options.data, &model, items.len());
    let agent = client.create_agent(&model).await?;
    let batch = client.create_batch(&agent, &items).await?;
    let ended = watch(&client, &batch).await?;
    let results = client.results(&batch).await?;
    show::table(&ended, &results);
    let all_well = show::summary(&ended);
    let code = if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !options.once {
        show::next_steps(host.address, &key.key, &agent, &batch);
        tokio::signal::ctrl_c().await?;
    }
    host.stop().await;
    Ok(code)
}

/// Serves at the address, or at a free port of the same machine when somebody else does.
async fn start(options: &Options) -> Result<Host, Failure> {
    match Host::start(&options.data, options.listen).await {
        Err(Failure::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            Host::start(&options.data, SocketAddr::new(options.listen.ip(), 0)).await
        }
        other => other,
    }
}

/// Looks at the batch until every run has ended, and shows how far it is.
async fn watch(client: &Client, batch: &str) -> Result<client::Batch, Stopped> {
    let live = io::stderr().is_terminal();
    loop {
        let now = client.batch(batch).await?;
        show::progress(&now, live);
        if now.terminal {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}
