//! Streams of events while something goes wrong: who hangs up, a model that breaks off, a holder that stood still.

use std::time::Duration;

use http_body_util::BodyExt;
use model_server::Tools;
use serde_json::{Value, json};
use shared::{
    engine,
    id::AgentId,
    idempotency::Claim,
    run::{self, NewRun, Origin, Prompt},
};
use tokio::time::{sleep, timeout};

use super::events::{pages, types, whole};
use crate::{
    harness::{Muster, on_every_backend, text},
    reaper::LEASE_AND_MORE_MS,
};

on_every_backend!(
    who_hangs_up_does_not_end_the_run,
    an_answer_that_breaks_off_is_begun_anew_under_the_next_attempt,
    a_holder_that_stood_still_tells_nothing_under_a_number_that_is_taken,
    the_answer_of_a_holder_that_stood_still_is_told_once,
);

async fn who_hangs_up_does_not_end_the_run(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l800").await;
    let body = json!({"message": "a b c d"}).to_string();
    let mut response = muster.us.open("POST", &format!("/v1/agents/{agent}/runs/stream"), body).await;
    let mut heard = String::new();
    while !heard.contains("event: message.delta") {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        heard.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    drop(response);
    let listed = muster.us.get("/v1/runs").await.ok();
    assert_eq!(listed["data"][0]["status"], "running", "the first piece came long before the end");
    let run = text(&listed["data"][0], "id");
    let ended = muster.until(&format!("/v1/runs/{run}"), |run| run["terminal"] == true).await;
    assert_eq!((&ended["status"], &ended["usage"]["model_calls"]), (&json!("done"), &json!(1)));
    whole(&pages(&muster, &run).await);
}

async fn an_answer_that_breaks_off_is_begun_anew_under_the_next_attempt(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l300-f20-c8-s1").await;
    let path = format!("/v1/agents/{agent}/runs/stream");
    muster.us.post(&path, json!({"message": "hello"})).await;
    let run = text(&muster.us.get("/v1/runs").await.ok()["data"][0], "id");
    let events = pages(&muster, &run).await;
    whole(&events);
    let of = |attempt: u64| -> String {
        let deltas = events.iter().filter(|event| event["attempt"] == attempt);
        deltas.filter_map(|event| event["delta"].as_str()).collect()
    };
    let message = &events.iter().find(|event| event["type"] == "message.completed").unwrap()["message"];
    let (first, second) = (of(1), of(2));
    assert_eq!(message["content"], second.trim());
    assert!(!first.is_empty() && first.len() < second.len() && second.starts_with(&first), "{events:?}");
    assert_eq!(muster.models.calls_with("hello"), 2);
}

/// A streamed run that is held, not yet worked on.
async fn held(muster: &Muster, agent: &str) -> engine::Held {
    let caller = muster.caller(&muster.us).await;
    let new = NewRun::of(AgentId::parse_prefixed(agent).unwrap(), Prompt::Message("hello".into()), Origin::Native);
    let planned = run::plan(&muster.app, &caller, new).await.unwrap().streamed();
    run::begin(&muster.app, planned, Claim::none()).await.unwrap()
}

/// Works on the run for so long, stands still until another has taken it and done what `seen` wants, and goes on. All events.
async fn stands_still(muster: &Muster, agent: &str, works_ms: u64, seen: fn(&Value) -> bool) -> Vec<Value> {
    let held = Box::pin(held(muster, agent)).await;
    let run = held.id().prefixed();
    let mut first = Box::pin(engine::work(&muster.app, held, None));
    assert!(timeout(Duration::from_millis(works_ms), &mut first).await.is_err(), "it has ended");
    let before = pages(muster, &run).await;
    // The model goes on meanwhile: its answer is there when the first holder goes on.
    sleep(Duration::from_millis(1_500)).await;
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 1);
    let both = async {
        muster.until(&format!("/v1/runs/{run}/explain"), |run| run["takeovers"] == 1).await;
        let events = muster.until(&format!("/v1/runs/{run}/events"), seen).await;
        first.await.unwrap();
        events
    };
    let ((), between) = tokio::join!(Box::pin(muster.drain()), Box::pin(both));
    let events = pages(muster, &run).await;
    whole(&events);
    assert_eq!(events[..before.len()], before, "what was told stays told");
    let between = between["data"].as_array().unwrap();
    assert_eq!(events[..between.len()], between[..], "what was told stays told");
    events
}

async fn a_holder_that_stood_still_tells_nothing_under_a_number_that_is_taken(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l1200-f100-c8").await;
    let second = |events: &Value| events["data"].as_array().unwrap().iter().any(|event| event["attempt"] == 2);
    let events = Box::pin(stands_still(&muster, &agent, 500, second)).await;
    assert!(events.iter().any(|event| event["attempt"] == 1), "{events:?}");
    assert_eq!(types(&events).iter().filter(|kind| **kind == "message.completed").count(), 1, "{events:?}");
    assert_eq!(events.last().unwrap()["type"], "run.done");
}

async fn the_answer_of_a_holder_that_stood_still_is_told_once(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool =
        json!({"type": "http", "name": "act", "method": "POST", "url": server.url("/do/it"), "parameters": parameters});
    let body = json!({"name": "actor", "model": "openai/fake-l1200-t1", "tools": [tool]});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let events = Box::pin(stands_still(&muster, &agent, 200, |_| true)).await;
    let told: Vec<&str> = types(&events).into_iter().filter(|kind| *kind != "message.delta").collect();
    let expected = [
        "run.created",
        "run.started",
        "message.completed",
        "usage.updated",
        "tool_call.started",
        "tool_call.completed",
        "message.completed",
        "usage.updated",
        "run.done",
    ];
    assert_eq!(told, expected);
    assert_eq!(server.effects().len(), 1);
}
