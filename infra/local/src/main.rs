//! `muster`: the embedded host's commands.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use muster::{Host, demo, key};
use shared::{Scope, config, limit::KeyLimits};
use tracing_subscriber::EnvFilter;

/// Run AI agents from your own code, on this machine.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fan prompts out to an agent, show what comes of it, and go on serving
    Demo(demo::Options),
    /// Serve every route
    Serve(Serve),
    /// Manage API keys
    #[command(subcommand)]
    Key(Key),
}

#[derive(Debug, Args)]
struct Serve {
    /// The folder that keeps everything
    #[arg(long, default_value = ".muster")]
    data: PathBuf,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[derive(Debug, Subcommand)]
enum Key {
    /// Make a key; a server may be running on the same folder
    Create(CreateKey),
}

#[derive(Debug, Args)]
struct CreateKey {
    /// The folder that keeps everything
    #[arg(long, default_value = ".muster")]
    data: PathBuf,
    /// The organisation: made if it is new
    #[arg(long)]
    org: String,
    /// What the key may do, separated by commas; everything unless given
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<Scope>,
    /// Requests a minute; 0 is no limit
    #[arg(long)]
    requests_per_minute: Option<u32>,
    /// Requests in flight at a time; 0 is no limit
    #[arg(long)]
    in_flight: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let level = config::variable("MUSTER_LOG").unwrap_or_else(|| "warn,muster=info".to_owned());
    // The providers' crate writes errors with the URLs that it called.
    let filter = EnvFilter::new(format!("{level},genai=off,rmcp=off"));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("muster: {error}");
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match command {
        Command::Demo(options) => Ok(demo::run(options).await?),
        Command::Serve(Serve { data, listen }) => {
            let host = Host::start(&data, listen).await?;
            eprintln!("serving http://{} from {}", host.address, data.display());
            stopped().await?;
            host.stop().await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Key(Key::Create(options)) => create_key(options).await,
    }
}

#[expect(clippy::print_stdout, reason = "the key is what the command is for")]
async fn create_key(options: CreateKey) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let CreateKey { data, org, scopes, requests_per_minute, in_flight, json } = options;
    let created =
        key::create(&data, &org, scopes, KeyLimits { requests_per_minute, in_flight, ..KeyLimits::default() }).await?;
    if json {
        println!("{}", serde_json::to_string(&created)?);
    } else {
        println!("organisation {}\nkey          {}\nsecret       {}", created.org_id, created.key_id, created.key);
        println!("The secret is shown once; keep it.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a signal to stop.
async fn stopped() -> std::io::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome,
        _ = terminated.recv() => Ok(()),
    }
}
