//! Muster's figures, each beside the durable floor in the same run: `cargo run --release -p bench`.
//!
//! The model is a server in this process that answers after a fixed time. Everything listens on 127.0.0.1 and keeps its files
//! in a folder beside the programs, which is removed at the end.
#![expect(clippy::print_stdout, reason = "the figures are what the command is for")]

mod agents;
mod client;
mod measure;
mod model;
mod process;
mod report;
mod target;

use std::{
    error::Error,
    path::Path,
    process::{Command, ExitCode},
};

use clap::{Parser, ValueEnum};

use crate::{model::Model, report::Report};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measure Muster beside a bare durable server
#[derive(Debug, Parser)]
struct Options {
    /// How often each figure is taken; the median is shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Sync runs of each kind in a round
    #[arg(long, default_value_t = 100)]
    sync: usize,
    /// Only these, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Measure the programs as they are, without building them
    #[arg(long)]
    no_build: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Start-up and memory at rest
    Start,
    /// What one run adds to the model's latency
    Sync,
    /// What one run with a tool call adds to its model calls and the tool
    Tools,
    /// When the first piece of a streamed answer comes, and what a streamed run adds
    Stream,
    /// Fan-outs: wall time, processor time, memory
    Batch,
    /// Many agents changed together
    Agents,
    /// Ten thousand accepted runs, a kill, and another start
    Crash,
}

fn main() -> ExitCode {
    let outcome = build_and_measure(&Options::parse());
    match outcome {
        Ok(report) => {
            println!("{report}");
            if report.met() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn build_and_measure(options: &Options) -> Outcome<Report> {
    if !options.no_build {
        build("muster")?;
        build("bench")?;
    }
    let _ = rlimit::increase_nofile_limit(65_536);
    let model = Model::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measured(options, &model))
}

async fn measured(options: &Options, model: &Model) -> Outcome<Report> {
    let wanted = |section| options.only.is_empty() || options.only.contains(&section);
    let mut report = Report::default();
    if wanted(Section::Start) {
        measure::start(model, options.rounds, &mut report)?;
    }
    if wanted(Section::Sync) {
        measure::sync(model, options.rounds, options.sync, &mut report).await?;
    }
    if wanted(Section::Tools) {
        measure::tools(model, options.rounds, options.sync, &mut report).await?;
    }
    if wanted(Section::Stream) {
        measure::streams(model, options.rounds, options.sync, &mut report).await?;
    }
    if wanted(Section::Batch) {
        measure::batches(model, options.rounds, &mut report).await?;
    }
    if wanted(Section::Agents) {
        agents::together(model, options.rounds, &mut report).await?;
    }
    if wanted(Section::Crash) {
        measure::crash(model, options.rounds, &mut report).await?;
    }
    Ok(report)
}

/// Builds a package as this program was built, one at a time: what ships is not built with what others need.
fn build(package: &str) -> Outcome<()> {
    let profile = std::env::current_exe()?.parent().and_then(Path::file_name).map(|name| name.to_owned());
    let release = profile.is_some_and(|name| name == "release");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.args(["build", "-p", package]).args(release.then_some("--release"));
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    if status.success() { Ok(()) } else { Err(format!("{package} cannot be built").into()) }
}
