//! Models that fail in every way, for a quarter of all runs; a model that always fails; and one whose quota is used up. The model
//! server counts what it was asked, the tool server what was done.

use std::time::Duration;

use model_server::Tools;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, served::Served, tools};

/// What goes wrong at the first attempt of each request of a run, as its model's name says it: asked to wait, overloads, a connection
/// that breaks, an answer that is no JSON, a slow one, a wrong reason for its end, and arguments of a tool that end half-way, said
/// and not said.
const FAULTS: [&str; 9] = ["e1-x429-a1", "e1-x529", "e1-x500", "e1-x408", "r1", "g1", "l3000", "n", CUT_OFF];
/// The same of streamed runs: the stream breaks, ends, makes no sense, or says that it gives up.
const STREAM_FAULTS: [&str; 4] = ["s1", "z1", "m1", "v1"];
/// Arguments that end half-way: the call is not made.
const CUT_OFF: &str = "k1";
/// The same by a model that says that it was done.
const CUT_OFF_UNSAID: &str = "k1-n";

/// Starts a batch of so many runs, and answers its path.
async fn batch(served: &Served, agent: &str, runs: usize) -> String {
    let items: Vec<Value> = (0..runs).map(|n| json!({"message": format!("Do {n} of {agent}.")})).collect();
    let path = format!("/v1/agents/{agent}/batches");
    let (status, made) = served.client.send("POST", &path, "", json!({ "items": items }).to_string()).await.unwrap();
    assert_eq!(status, 202, "{made}");
    format!("/v1/batches/{}", made["id"].as_str().unwrap())
}

/// Starts so many runs whose answers are streamed; the streams are followed to their ends.
fn streamed(served: &Served, agent: &str, runs: usize) {
    for n in 0..runs {
        let (client, path) = (served.client.clone(), format!("/v1/agents/{agent}/runs/stream"));
        let body = json!({"message": format!("Do {n} of {agent}.")}).to_string();
        tokio::spawn(async move { client.send("POST", &path, "", body).await });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_get_through_what_models_do_and_nothing_invalid_is_executed() {
    let each = by_form(2, 6);
    let served = Served::start().await;
    let tools = Tools::start().await.unwrap();
    let agent = async |fault: &str| tools::agent(&served, &tools, "once", &format!("openai/fake-t1-{fault}")).await;
    let faulty = each * (FAULTS.len() + 1 + STREAM_FAULTS.len());
    let runs = 4 * faulty;
    batch(&served, &agent("l20").await, runs - faulty).await;
    for fault in FAULTS.into_iter().chain([CUT_OFF_UNSAID]) {
        batch(&served, &agent(fault).await, each).await;
    }
    for fault in STREAM_FAULTS {
        streamed(&served, &agent(fault).await, each);
    }
    let ended = served.all_ended(runs).await;
    let done = ended.iter().filter(|run| run["status"] == "done").count();
    let counted: u64 = ended.iter().map(|run| run["usage"]["model_calls"].as_u64().unwrap()).sum();
    let (mut answered, mut refused) = (0, 0);
    for run in &ended {
        for outcome in tools::outcomes(&served, run).await.values() {
            answered += usize::from(outcome == "answered");
            refused += usize::from(outcome == "refused");
        }
    }
    let effects = tools.effects();
    let valid = |body: &str| serde_json::from_str::<Value>(body).is_ok_and(|body| body["city"].is_string());
    let invalid = effects.iter().filter(|effect| !valid(&effect.body)).count();
    let calls = served.model.stats().calls;
    println!("| runs | of them with faults | done | model calls | tool calls done | of them invalid | refused |");
    println!("| {runs} | {faulty} | {done} | {calls} | {} | {invalid} | {refused} |", effects.len());
    assert_eq!(done, runs, "{:?}", ended.iter().find(|run| run["status"] != "done"));
    assert_eq!(counted, calls, "every call is counted, and none that was not made");
    assert_eq!((refused, answered), (2 * each, runs - 2 * each), "what was cut off, and all else");
    assert_eq!((effects.len(), invalid), (answered, 0));
    assert!(tools::effects(&tools).values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_always_fails_is_hardly_called_again_and_its_runs_wait() {
    let (runs, time) = by_form((60, Duration::from_secs(5)), (300, Duration::from_secs(60)));
    let served = Served::start().await;
    let dead = served.client.agent("openai/fake-l20-e1000000").await;
    let path = batch(&served, &dead, runs).await;
    sleep(time).await;
    let calls = served.model.stats().calls;
    let again = calls - served.model.distinct_prompts() as u64;
    let counts = served.client.get(&path).await.unwrap()["counts"].clone();
    let given_up = counts["error"].as_u64().unwrap();
    println!("| runs of a dead model | seconds | model calls | of them again | counts of the batch |");
    println!("| {runs} | {} | {calls} | {again} | {counts} |", time.as_secs());
    assert!(again * 5 <= calls, "{again} of {calls}");
    assert!(given_up * 10 <= runs as u64, "a run waits while its model is dead: {counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_is_asked_once_a_run() {
    let runs = by_form(60, 300);
    let served = Served::start().await;
    let agent = served.client.agent("openai/fake-q").await;
    batch(&served, &agent, runs).await;
    let ended = served.all_ended(runs).await;
    assert!(ended.iter().all(|run| run["reason"] == "provider_quota"), "{ended:?}");
    assert_eq!(served.model.stats().calls, runs as u64);
}
