//! The single experiments of the reliability design: R3, R4, R5, R6 and R8, each as a line of a table.

use shared::run::{Reason, Status};

use crate::{
    plan::{Plan, Rates, Run, Tool, Wish},
    seed::{Outcome, simulate_and},
    world::World,
};

/// A line of the table.
#[derive(Debug)]
pub struct Line {
    /// Which experiment.
    pub name: &'static str,
    /// What came of it.
    pub result: String,
    /// What must not be and was.
    pub violations: Vec<String>,
}

/// An experiment with a seed.
pub type Experiment = fn(u64) -> Line;

/// All experiments by name.
pub const ALL: [(&str, Experiment); 5] = [("r3", r3), ("r4", r4), ("r5", r5), ("r6", r6), ("r8", r8)];

const LEASE_MS: u64 = 60_000;
const REAPER_MS: u64 = 60_000;

/// Nothing goes wrong.
fn calm(seed: u64, wishes: Vec<Wish>) -> Plan {
    Plan {
        seed,
        sole: false,
        workers: 4,
        apis: 2,
        side_by_side: 10,
        lease_ms: LEASE_MS as i64,
        reaper_ms: Some(REAPER_MS),
        storm_ms: 24 * 3_600_000,
        dies_every_ms: None,
        freezes_every_ms: None,
        message_ms: 500,
        model_ms: 2_000,
        wishes_ms: 60_000,
        rates: Rates::default(),
        wishes,
        off: Vec::new(),
        waits_for_discards: false,
        grades: false,
    }
}

/// The place of the run that ends its workers, in its batch.
const POISON: usize = 60;

/// Six steps: three answers of the model, and calls of tools of all policies between them.
fn six_steps() -> Run {
    run(vec![vec![Tool::Idempotent, Tool::Once], vec![Tool::Verify]])
}

const fn run(turns: Vec<Vec<Tool>>) -> Run {
    Run { turns, deadline_ms: 24 * 3_600_000, cancelled_after_ms: None, unanswered: false, poison: false }
}

fn five_hundred() -> Vec<Wish> {
    (0..500).map(|_| Wish::Run { run: six_steps(), here: false }).collect()
}

/// What is counted at the end.
struct Seen {
    done: usize,
    ended: Vec<(String, Status, Option<Reason>, u32, u32)>,
    asked: u64,
    answers: u64,
    arrived: u64,
    effects: u64,
    calls: u64,
    recoveries_ms: Vec<u64>,
}

fn seen(world: &World) -> Seen {
    let state = world.state();
    let ledger = &state.ledger;
    let rows = || ledger.runs.values().filter_map(|known| Some((known, known.row.as_ref()?)));
    let mut recoveries_ms = ledger.recoveries_ms.clone();
    recoveries_ms.sort_unstable();
    Seen {
        done: rows().filter(|(_, run)| run.status == Status::Done).count(),
        ended: rows()
            .map(|(known, run)| (known.label.clone(), run.status, run.reason, run.hops, known.takeovers))
            .collect(),
        asked: rows().map(|(known, _)| u64::from(known.asked)).sum(),
        answers: rows().map(|(known, _)| u64::from(known.answers())).sum(),
        arrived: ledger.effects.values().map(|(_, effect)| u64::from(effect.arrived)).sum(),
        effects: ledger.effects.values().map(|(_, effect)| u64::from(effect.applied)).sum(),
        calls: ledger.effects.len() as u64,
        recoveries_ms,
    }
}

fn simulated(plan: Plan) -> (Outcome, Seen) {
    simulate_and(plan, false, seen)
}

fn line(name: &'static str, outcome: Outcome, result: String, checks: &[(bool, &str)]) -> Line {
    let failed = checks.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("not so: {what}"));
    Line { name, result, violations: outcome.violations.into_iter().chain(failed).collect() }
}

/// Every message comes twice, a fifth of them five times, in any order.
fn r3(seed: u64) -> Line {
    let mut plan = calm(seed, five_hundred());
    plan.rates = Rates { twice: 1.0, five_times: 0.2, ..Rates::default() };
    let (outcome, seen) = simulated(plan);
    let result = format!(
        "{} of 500 done, {} messages too many, {} model calls for {} answers, {} requests and {} effects of {} tool calls",
        seen.done, outcome.counts.duplicates, seen.asked, seen.answers, seen.arrived, seen.effects, seen.calls
    );
    let exact = seen.arrived == seen.calls && seen.effects == seen.calls;
    let checks = [
        (seen.done == 500, "500 done"),
        (seen.asked == seen.answers, "model calls = answers"),
        (exact, "effects exact"),
    ];
    line("R3", outcome, result, &checks)
}

/// A fifth of the messages cannot be sent.
fn r4(seed: u64) -> Line {
    let mut plan = calm(seed, five_hundred());
    plan.rates = Rates { send_fails_once: 0.2, short_of_time: 0.2, ..Rates::default() };
    let (outcome, seen) = simulated(plan);
    let worst = seen.recoveries_ms.len().saturating_mul(99).div_ceil(100).saturating_sub(1);
    let p99 = seen.recoveries_ms.get(worst).copied().unwrap_or(0);
    let most = LEASE_MS + 2 * REAPER_MS;
    let result = format!(
        "{} of 500 done, {} messages not sent, back at work after {} ms (p50), {p99} ms (p99), at most {most}",
        seen.done,
        seen.recoveries_ms.len(),
        seen.recoveries_ms.get(seen.recoveries_ms.len() / 2).copied().unwrap_or(0)
    );
    line("R4", outcome, result, &[(seen.done == 500, "500 done"), (p99 <= most, "p99 within lease + 2 reaper periods")])
}

/// The store throttles, loses answers, is in conflict with others, lets others come between, and gives short pages.
fn r5(seed: u64) -> Line {
    let (clean, untroubled) = simulated(calm(seed, five_hundred()));
    let mut plan = calm(seed, five_hundred());
    plan.rates =
        Rates { throttled: 0.1, reply_lost: 0.1, conflict: 0.05, slow: 0.05, short_page: 0.02, ..Rates::default() };
    let (outcome, seen) = simulated(plan);
    let all = seen.ended.iter().all(|(_, status, ..)| status.terminal());
    let result = format!(
        "{} of {} done, of {} store operations {} failed and {} were refused, {} of them writes; without faults {} and {}; {} model calls and \
         {} without; {} callers told 503, none another 5xx; {} s of simulated time, {} without faults",
        seen.done,
        outcome.runs,
        outcome.counts.operations,
        outcome.counts.store_faults,
        outcome.counts.made_conflicts,
        outcome.counts.writes,
        clean.counts.operations,
        clean.counts.writes,
        seen.asked,
        untroubled.asked,
        outcome.counts.heard_503,
        outcome.simulated_ms / 1_000,
        clean.simulated_ms / 1_000
    );
    let checks = [
        (all, "all ended"),
        (seen.done >= 495, "at least 495 done"),
        (outcome.counts.operations <= 3 * clean.counts.operations, "at most three times the store operations"),
        (outcome.counts.writes <= 3 * clean.counts.writes, "at most three times the writes"),
        (seen.asked <= 3 * untroubled.asked, "at most three times the model calls"),
        (outcome.counts.made_conflicts * 40 > outcome.counts.operations, "conflicts were made"),
    ];
    line("R5", outcome, result, &checks)
}

/// Workers put runs back after every step.
fn r6(seed: u64) -> Line {
    // 20 turns of a model, a call after each, and the last answer.
    let forty = || run((0..20).map(|_| vec![Tool::Idempotent]).collect());
    let endless = run((0..199).map(|_| vec![Tool::Read]).collect());
    let mut wishes: Vec<Wish> = (0..20).map(|_| Wish::Run { run: forty(), here: false }).collect();
    wishes.push(Wish::Run { run: endless, here: false });
    let mut plan = calm(seed, wishes);
    plan.rates = Rates { short_of_time: 1.0, ..Rates::default() };
    let (outcome, seen) = simulated(plan);
    let (looping, ended): (Vec<_>, Vec<_>) = seen.ended.iter().partition(|(label, ..)| label.starts_with("20."));
    let forty = ended.iter().all(|(_, status, _, hops, _)| *status == Status::Done && *hops == 40);
    let stopped = looping.iter().all(|(_, _, reason, ..)| *reason == Some(Reason::HopLimit));
    let hops: Vec<u32> = ended.iter().map(|(_, _, _, hops, _)| *hops).collect();
    let result = format!(
        "{} runs of 41 steps done in {:?} to {:?} hops; the endless one: {:?} after {:?} hops",
        seen.done,
        hops.iter().min().unwrap_or(&0),
        hops.iter().max().unwrap_or(&0),
        looping.first().and_then(|(_, _, reason, ..)| *reason),
        looping.first().map_or(0, |(_, _, _, hops, _)| *hops)
    );
    line(
        "R6",
        outcome,
        result,
        &[(forty, "40 hops each"), (stopped && looping.len() == 1, "the endless run is stopped")],
    )
}

/// A run whose model calls end the process, among a hundred healthy ones of the same batch.
fn r8(seed: u64) -> Line {
    let mut runs = vec![six_steps(); 101];
    runs[POISON].poison = true;
    let mut plan = calm(seed, vec![Wish::Batch { runs, twins: 1 }]);
    // As on Lambda: a process works on one message at a time.
    (plan.workers, plan.side_by_side) = (12, 1);
    let (outcome, seen) = simulated(plan);
    let poison = seen.ended.iter().find(|(label, ..)| label.ends_with(&format!(".{POISON}")));
    let (reason, takeovers) = poison.map_or((None, 0), |(_, _, reason, _, takeovers)| (*reason, *takeovers));
    let result = format!(
        "{} of 100 healthy runs done; the poison one: {reason:?}, {takeovers} take-overs seen, {} processes dead",
        seen.done, outcome.counts.kills
    );
    // The fourth worker ends it instead of taking it: three take-overs worked, four are counted.
    let checks = [
        (seen.done == 100, "100 done"),
        (reason == Some(Reason::WorkerCrashLoop), "the poison run ends as a crash loop"),
        (outcome.counts.kills == 4, "three take-overs after the first worker"),
    ];
    line("R8", outcome, result, &checks)
}
