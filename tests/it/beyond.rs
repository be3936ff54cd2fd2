//! Runs that take longer than an invocation may: a worker puts its run back before its time is up, and another goes on with it, as often as
//! it takes; one that is put back for ever is stopped.

use model_server::Tools;
use serde_json::{Value, json};
use shared::{engine, queue::Chunk, run::HOPS_LIMIT};

use crate::{
    harness::{Muster, on_every_backend, text},
    native::sub_agents::explain,
};

on_every_backend!(
    a_run_goes_on_in_one_invocation_after_another_until_it_is_done,
    a_run_that_no_invocation_has_time_for_ends_at_the_hop_limit,
);

/// How long an invocation may take: 15 minutes but for what its end needs.
const INVOCATION_MS: i64 = 870_000;
/// How long each call takes by the clock: what is left of an invocation after one is no time for another.
const CALL_MS: i64 = 850_000;
/// How often the model asks for the tool before it answers.
const ROUNDS: usize = 3;

/// How much has been asked of the model and the tool.
fn asked(muster: &Muster, tools: &Tools) -> u64 {
    muster.models.stats().calls + u64::from(tools.requests())
}

/// Works on what is queued next, for as long as an invocation may take; the clock passes with each call that is begun. How many were.
async fn invocation(muster: &Muster, tools: &Tools) -> u64 {
    let chunk: Chunk = muster.receive().await;
    let (before, until) = (asked(muster, tools), muster.app.now().plus_ms(INVOCATION_MS));
    let mut working = Box::pin(engine::work_on(&muster.app, chunk, Some(until)));
    let mut seen = before;
    loop {
        tokio::select! {
            worked = &mut working => {
                worked.unwrap();
                break;
            }
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
        }
        let now = asked(muster, tools);
        if now > seen {
            muster.pass(CALL_MS);
            seen = now;
        }
    }
    assert!(muster.app.now() < until, "it ended before its time was up");
    seen - before
}

async fn a_run_goes_on_in_one_invocation_after_another_until_it_is_done(muster: Muster) {
    let tools = Tools::start().await.unwrap();
    let act =
        json!({"type": "http", "name": "act", "method": "POST", "url": tools.url("/do/it?rest=700"), "policy": "once"});
    let body = json!({"name": "patient", "model": format!("openai/fake-l700-t{ROUNDS}"), "tools": [act]});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let run = muster.us.run(&agent, "hello").await;
    let path = format!("/v1/runs/{run}");
    let mut invocations = 0;
    while muster.us.get(&path).await.ok()["terminal"] == false {
        assert_eq!(muster.queued(), 1, "it was asked for");
        assert_eq!(invocation(&muster, &tools).await, 1, "one call is all that there is time for");
        invocations += 1;
    }
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(ended["status"], "done", "{ended}");
    let steps = 2 * ROUNDS + 1;
    let explained: Value = explain(&muster, &run).await;
    assert_eq!((invocations, &explained["hops"]), (steps, &json!(steps - 1)), "{explained}");
    assert_eq!((muster.models.stats().calls, tools.effects().len()), (ROUNDS as u64 + 1, ROUNDS));
    println!("| invocations | hops | model calls | tool calls | minutes from the first to the last |");
    let minutes = CALL_MS * i64::try_from(steps).unwrap() / 60_000;
    println!("| {invocations} | {} | {} | {} | {minutes} |", steps - 1, ROUNDS + 1, ROUNDS);
}

async fn a_run_that_no_invocation_has_time_for_ends_at_the_hop_limit(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let run = muster.us.run(&agent, "hello").await;
    let mut invocations = 0;
    while muster.queued() > 0 {
        let chunk = muster.receive().await;
        engine::work_on(&muster.app, chunk, Some(muster.app.now().plus_ms(1_000))).await.unwrap();
        invocations += 1;
    }
    let ended = muster.us.get(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!(json!([ended["status"], ended["reason"]]), json!(["error", "hop_limit"]), "{ended}");
    assert_eq!((invocations, muster.models.stats().calls), (HOPS_LIMIT + 1, 0));
}
