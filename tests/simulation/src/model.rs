//! The model: it asks for what the plan says, counts how often it was asked, and never answers the same twice.

use serde_json::json;
use shared::{
    model::{Answer, FaultKind, Finish, ModelFault, Request, Tokens, ToolCall, Turn},
    simulation::Process,
};

use crate::{
    cluster::{CALL_MS, STEP_MS},
    ledger::judges,
    world::{State, World, sleep},
};

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answers,
    Fails(FaultKind, Option<u64>),
}

/// One call of a model.
pub(crate) async fn call(world: &World, request: &Request) -> Result<Answer, ModelFault> {
    let said = request.turns.iter().find_map(|turn| match turn {
        Turn::User { text, .. } => Some(text.as_str()),
        Turn::Assistant { .. } | Turn::Tool { .. } => None,
    });
    let label = said.map(label).unwrap_or_default();
    let tokens = Tokens { input: request.bytes().div_ceil(4) as u64, cached_input: 0, output: 20 };
    let (end, ms) = begin(world, &label, tokens);
    if ms >= request.timeout_ms {
        sleep(request.timeout_ms).await;
        return Err(fault(FaultKind::Lost, None));
    }
    sleep(ms).await;
    match end {
        End::Answers => Ok(answer(world, request, &label, tokens)),
        End::Fails(kind, retry_after_ms) => Err(fault(kind, retry_after_ms)),
    }
}

/// The label of the run that asks so, or that grades the one that was asked so.
fn label(said: &str) -> String {
    let first = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    said.strip_prefix("{\"task\":\"").map_or_else(|| first(said), |task| judges(&first(task)))
}

/// The call is there: how it will end, and after how long. What the model works on is billed, whoever hears of it.
fn begin(world: &World, label: &str, tokens: Tokens) -> (End, u64) {
    let mut guard = world.state();
    let state = &mut *guard;
    let rates = &world.plan.rates;
    state.counts.model_calls += 1;
    let mut ms = STEP_MS + state.chance.within(0, world.plan.model_ms);
    let mut end = End::Answers;
    if state.storm && state.chance.is(rates.model_fails) {
        end = match state.chance.within(0, 9) {
            0..=3 => End::Fails(FaultKind::Busy, None),
            4..=5 => End::Fails(FaultKind::RateLimited, Some(state.chance.one_of(&[0, 1_000, 60_000]))),
            6..=8 => End::Fails(FaultKind::Lost, None),
            _ => End::Fails(FaultKind::Incomprehensible, None),
        };
    } else if state.storm && state.chance.is(rates.model_slow) {
        ms += state.chance.about(60_000);
    }
    let late = ms >= CALL_MS;
    let billed = late || matches!(end, End::Answers | End::Fails(FaultKind::Lost | FaultKind::Incomprehensible, _));
    let poison = state.ledger.wanted.get(label).is_some_and(|run| run.poison);
    if let Some(known) = state.ledger.labelled(label) {
        known.asked += 1;
        known.answered += u32::from(end == End::Answers && !late);
        known.billed += if billed { tokens.input + tokens.output } else { 0 };
    }
    world.note_in(state, "model", label, || format!("{end:?} in {ms} ms"));
    if let Some(process) = Process::current().filter(|_| poison) {
        world.kill_in(state, process.number());
    }
    (end, ms)
}

fn answer(world: &World, request: &Request, label: &str, tokens: Tokens) -> Answer {
    let mut guard = world.state();
    let State { ledger, chance, nonce, .. } = &mut *guard;
    let calls = |turn: &&Turn| matches!(turn, Turn::Assistant { .. });
    let turn = request.turns.iter().filter(calls).count();
    let mut wanted = ledger.wanted.get(label).and_then(|run| run.turns.get(turn)).cloned().unwrap_or_default();
    // A model says something else each time: a history that is told twice would show.
    if wanted.len() > 1 && chance.is(0.3) {
        wanted.pop();
    }
    let tool_calls: Vec<ToolCall> = wanted
        .iter()
        .map(|tool| {
            *nonce += 1;
            let arguments = json!({ "n": *nonce }).to_string();
            ToolCall { id: format!("call_{nonce}"), name: tool.name().to_owned(), arguments }
        })
        .collect();
    *nonce += 1;
    let finish = if tool_calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
    let text = match request.output_schema {
        Some(_) if chance.is(0.8) => {
            json!({"explanation": format!("verdict {nonce}"), "met": chance.is(0.5)}).to_string()
        }
        _ => format!("answer {nonce}"),
    };
    Answer { text, tool_calls, finish, tokens: Some(tokens) }
}

fn fault(kind: FaultKind, retry_after_ms: Option<u64>) -> ModelFault {
    ModelFault { kind, status: None, retry_after_ms, message: "simulated".to_owned() }
}
