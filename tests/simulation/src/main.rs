//! `tests/simulate.sh`: the core under a deterministic simulation, as a table. Exit code 1 when something is wrong.
#![allow(clippy::print_stdout, reason = "a command that prints a table")]

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use simulation::{
    experiments,
    mutation::Mutation,
    plan::Plan,
    seed::{Outcome, simulate},
};

/// The core under a deterministic simulation.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints everything that happens; with --seed.
    #[arg(long)]
    trace: bool,
    /// Only a part: seeds, mutations, r3, r4, r5, r6, r8.
    #[arg(long)]
    only: Option<String>,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// How many seeds a guard that is switched off may take to be noticed.
const CAUGHT_WITHIN: u64 = 1_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        return one(seed, arguments.trace);
    }
    let only = |part: &str| arguments.only.as_deref().is_none_or(|only| only == part);
    let mut well = true;
    for (_, experiment) in experiments::ALL.iter().filter(|(name, _)| only(name)) {
        let line = experiment(arguments.from);
        println!("{}  {}", line.name, line.result);
        line.violations.iter().for_each(|what| println!("    VIOLATION {what}"));
        well &= line.violations.is_empty();
    }
    if only("mutations") {
        well &= mutations(arguments.from);
    }
    if only("seeds") {
        well &= seeds(&arguments);
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, trace: bool) -> ExitCode {
    let outcome = simulate(Plan::of_seed(seed), trace);
    outcome.lines.iter().for_each(|line| println!("{line}"));
    println!("SEED={seed} trace {:016x}, {} runs, {:?}", outcome.trace, outcome.runs, outcome.counts);
    outcome.violations.iter().for_each(|what| println!("VIOLATION {what}"));
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mutations(from: u64) -> bool {
    println!("\nguard switched off                       caught after seeds");
    for (name, mutation) in Mutation::HALVES {
        match mutation.caught(from, CAUGHT_WITHIN) {
            Some((seeds, what)) => println!("{name:<40} {seeds:>5}  {what}"),
            None => println!("{name:<40}     -  the other half holds for {CAUGHT_WITHIN} seeds"),
        }
    }
    Mutation::ALL.iter().fold(true, |well, (name, mutation)| {
        let caught = mutation.caught(from, CAUGHT_WITHIN);
        match &caught {
            Some((seeds, what)) => println!("{name:<40} {seeds:>5}  {what}"),
            None => println!("{name:<40} NOT WITHIN {CAUGHT_WITHIN}"),
        }
        well && caught.is_some()
    })
}

fn seeds(arguments: &Arguments) -> bool {
    let began = Instant::now();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| work(&next, &sum, arguments));
        }
    });
    let sum = sum.into_inner().unwrap_or_default();
    sum.print(began.elapsed().as_secs_f64());
    sum.bad == 0
}

/// Simulates the seeds that nobody else does.
fn work(next: &AtomicU64, sum: &Mutex<Sum>, arguments: &Arguments) {
    while let Some(seed) = following(next, arguments) {
        let outcome = simulate(Plan::of_seed(seed), false);
        if let Some(what) = outcome.violations.first() {
            println!("VIOLATION SEED={seed} {what}");
        }
        if let Ok(mut sum) = sum.lock() {
            sum.add(&outcome);
        }
    }
}

fn following(next: &AtomicU64, arguments: &Arguments) -> Option<u64> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    (index < arguments.seeds).then(|| arguments.from + index)
}

#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    bad: u64,
    runs: u64,
    extra_calls: u64,
    simulated_ms: u64,
    kills: u64,
    freezes: u64,
    store_faults: u64,
    operations: u64,
    conflicts: u64,
    duplicates: u64,
    lost_messages: u64,
    model_calls: u64,
    tool_requests: u64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.bad += u64::from(!outcome.violations.is_empty());
        self.runs += outcome.runs;
        self.extra_calls += outcome.extra_calls;
        self.simulated_ms += outcome.simulated_ms;
        let counts = &outcome.counts;
        self.kills += counts.kills;
        self.freezes += counts.freezes;
        self.store_faults += counts.store_faults;
        self.operations += counts.operations;
        self.conflicts += counts.conflicts;
        self.duplicates += counts.duplicates;
        self.lost_messages += counts.lost_messages;
        self.model_calls += counts.model_calls;
        self.tool_requests += counts.tool_requests;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn print(&self, seconds: f64) {
        let per = |count: u64, of: u64| count as f64 / of.max(1) as f64;
        println!(
            "\nseeds               {:>12}   {:.0} a second, {seconds:.0} s",
            self.seeds,
            self.seeds as f64 / seconds
        );
        println!("simulated time      {:>12} h", self.simulated_ms / 3_600_000);
        println!("runs accepted       {:>12}", self.runs);
        println!("processes killed    {:>12}", self.kills);
        println!("processes frozen    {:>12}", self.freezes);
        println!("store operations    {:>12}   {} conflicts", self.operations, self.conflicts);
        println!("store faults        {:>12}", self.store_faults);
        println!("messages doubled    {:>12}   {} lost", self.duplicates, self.lost_messages);
        println!("tool requests       {:>12}", self.tool_requests);
        println!("model calls         {:>12}", self.model_calls);
        let hits = self.kills + self.freezes;
        println!("extra model calls   {:>12}   {:.3} a kill or freeze", self.extra_calls, per(self.extra_calls, hits));
        println!("seeds with violations {:>10}", self.bad);
    }
}
