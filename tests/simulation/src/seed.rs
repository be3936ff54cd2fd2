//! One simulation from its beginning to its end: the callers, the storm, the calm after it, and what must hold then.

use std::sync::Arc;

use serde_json::json;
use shared::{
    App,
    agent::{self, Draft},
    api_key::{self, NewKey},
    idempotency::Claim,
    simulation,
};

use secrecy::ExposeSecret;

use crate::{
    cluster,
    people::{self, Known},
    plan::{Plan, Tool},
    world::{Counts, World, sleep},
};

/// How long after the storm everything must have come to its end, in milliseconds: the longest pause between two looks at a run
/// is 15 minutes, and a message may be as late.
const CALM_MS: u64 = 90 * 60_000;
/// How long staged runs stay before they are taken away, and a little more.
const STAGED_MS: u64 = 64 * 60_000;

/// What came of a simulation.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What must not be and was.
    pub violations: Vec<String>,
    /// How often things went wrong.
    pub counts: Counts,
    /// Runs that were accepted.
    pub runs: u64,
    /// Answers of models that were in no slot.
    pub extra_calls: u64,
    /// How long it took, in its own time.
    pub simulated_ms: u64,
    /// Everything that happened, in one number.
    pub trace: u64,
    /// The same, to be read, if it was asked for.
    pub lines: Vec<String>,
}

/// Simulates that plan.
#[must_use]
pub fn simulate(plan: Plan, traced: bool) -> Outcome {
    simulate_and(plan, traced, |_| ()).0
}

/// Simulates that plan, and looks at the world at its end.
pub fn simulate_and<T>(plan: Plan, traced: bool, look: impl FnOnce(&World) -> T) -> (Outcome, T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (outcome, looked) = runtime.block_on(async {
        let world = World::new(plan, traced);
        let entered = simulation::enter(world.clone(), world.plan.seed, &world.plan.off);
        go(&world).await;
        let outcome = outcome(&world);
        let looked = look(&world);
        drop(entered);
        (outcome, looked)
    });
    (outcome, looked)
}

async fn go(world: &Arc<World>) {
    world.start_all();
    let known = given(world).await;
    world.state().known = Some(known.clone());
    world.state().storm = true;
    world.state().callers = world.plan.wishes.len();
    for (number, wish) in world.plan.wishes.iter().enumerate() {
        world.beside(people::wants(world.clone(), known.clone(), number, wish.clone()));
    }
    world.beside(people::looks(world.clone(), known));
    world.beside(cluster::reap(world.clone()));
    world.beside(kills(world.clone()));
    world.beside(freezes(world.clone()));
    let stormy = world.plan.storm_ms;
    while world.now_ms() < stormy {
        sleep(1_000).await;
        // Nothing is left for the storm.
        if world.state().callers == 0 && world.state().ledger.open() == 0 {
            break;
        }
    }
    world.state().storm = false;
    world.note("calm", "", String::new);
    ended(world).await;
    if world.plan.waits_for_discards && world.plan.reaper_ms.is_some() {
        discarded(world).await;
        // Who slept all that time may have had something accepted only now.
        ended(world).await;
    }
    let slack_ms = 3 * world.plan.lease_ms + 4 * world.plan.reaper_ms.unwrap_or(0) as i64 + 120_000;
    let mut state = world.state();
    let idle_ms = state.cluster.idle_ms(world.now_ms()) as i64;
    state.ledger.check_end(slack_ms + idle_ms);
}

/// Waits until all that was accepted has ended, as long as that may take in calm weather.
async fn ended(world: &World) {
    let until_ms = world.now_ms() + CALM_MS;
    while open(world) && world.now_ms() < until_ms && world.state().ledger.violations.is_empty() {
        sleep(5_000).await;
    }
}

/// Waits until what was staged and never accepted is taken away. A process that slept may have staged it late.
async fn discarded(world: &World) {
    for _ in 0..3 {
        if world.state().ledger.staged() == 0 {
            return;
        }
        sleep(STAGED_MS).await;
    }
    let staged = { world.state().ledger.staged() };
    if staged > 0 {
        world.state().ledger.wrong(format!("{staged} runs of batches that were never accepted are still there"));
    }
}

/// Whether something is still to come to its end.
fn open(world: &World) -> bool {
    let state = world.state();
    state.callers > 0 || state.ledger.open() > 0
}

/// An organisation, a key and an agent, made in calm weather.
async fn given(world: &World) -> Known {
    let app = world.any(|_| true).unwrap().1;
    let new = || NewKey { name: "simulation".to_owned(), ..NewKey::default() };
    let (_, minted) = api_key::create_for_organisation(&app, "simulation", new()).await.unwrap();
    let caller = api_key::authenticate(&app, Some(minted.secret.expose_secret()), None).await.unwrap();
    let criteria: &[&str] = if world.plan.grades { &["is short", "is true"] } else { &[] };
    let agent = agent::plan(&app, &caller, draft(criteria)).await.unwrap();
    agent::create(&app, &caller, &agent, Claim::none()).await.unwrap();
    Known { caller, agent: agent.agent_id }
}

/// The agent: a tool of each policy.
fn draft(criteria: &[&str]) -> Draft {
    let tool = |tool: Tool| {
        let name = tool.name();
        let policy = match tool {
            Tool::Read => "read",
            Tool::Idempotent => "idempotent",
            Tool::Verify => "verify",
            Tool::Once | Tool::OnceHalt | Tool::Asked => "once",
        };
        json!({
            "name": name, "description": "", "policy": policy,
            "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
            "approval": if tool == Tool::Asked { "always" } else { "never" },
            "on_unknown": if tool == Tool::OnceHalt { "halt" } else { "tell" },
            "timeout_ms": cluster::CALL_MS, "type": "http", "headers": {},
            "method": if tool == Tool::Read { "GET" } else { "POST" },
            "url": format!("https://tools.example.com/{name}"),
            "lookup_url": (tool == Tool::Verify).then_some("https://tools.example.com/did/{idempotency_key}"),
        })
    };
    // A key is handed to every tool that changes something, and to this one too, so that its calls can be counted.
    serde_json::from_value(json!({
        "name": "simulated", "description": "", "system_prompt": "", "model": "openai/gpt-5-mini",
        "fallback_models": ["anthropic/claude-haiku-4-5"], "max_steps": 200, "max_tokens": 500, "temperature": null,
        "budget_micro_usd": null, "mode": "auto", "tools": Tool::ALL.map(tool), "metadata": {},
        "guidance": {"acceptance_criteria": criteria},
    }))
    .unwrap()
}

async fn kills(world: Arc<World>) {
    let Some(mean_ms) = world.plan.dies_every_ms else { return };
    loop {
        let ms = { world.state().chance.about(mean_ms) };
        sleep(ms).await;
        let victim: Option<(u32, App)> = world.any(|_| true);
        let mut state = world.state();
        if !state.storm {
            return;
        }
        if let Some((number, _)) = victim {
            world.kill_in(&mut state, number);
        }
    }
}

async fn freezes(world: Arc<World>) {
    let Some(mean_ms) = world.plan.freezes_every_ms else { return };
    loop {
        let ms = { world.state().chance.about(mean_ms) };
        sleep(ms).await;
        let victim = world.any(|_| true);
        let mut state = world.state();
        if !state.storm {
            return;
        }
        if let Some((number, _)) = victim {
            let ms = world.frozen_ms(&mut state);
            world.freeze_in(&mut state, number, ms);
        }
    }
}

fn outcome(world: &World) -> Outcome {
    let mut state = world.state();
    let accepted = |known: &&crate::ledger::Known| known.row.is_some() && state.ledger.accepted(known);
    let runs = state.ledger.runs.values().filter(accepted).count() as u64;
    let extra_calls = state.ledger.runs.values().map(|known| u64::from(known.extra())).sum();
    Outcome {
        seed: world.plan.seed,
        violations: state.ledger.violations.clone(),
        counts: state.counts,
        runs,
        extra_calls,
        simulated_ms: world.now_ms(),
        trace: state.trace,
        lines: state.lines.take().unwrap_or_default(),
    }
}
