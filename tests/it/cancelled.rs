//! Runs and their sub-agents, cancelled at random moments: a second after the answer nothing more is sent. The model server and the
//! tool server are the witnesses. `MUSTER_TEST_SEED` repeats the moments, `MUSTER_TEST_LONG=1` takes 200 of them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt, stream};
use model_server::Tools;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    harness::{Client, Muster, asked, text},
    native::sub_agents::{agent, explain, helper},
};

/// A family is done after about so long, in milliseconds, so that most moments are in the middle of its work.
const SPAN_MS: u64 = 1_200;
/// How many families run at a time.
const AT_A_TIME: usize = 8;
/// What of a family's messages are its model's: the head's, and those of two below it.
const BELOW: usize = 2;

/// Random moments that can be repeated.
fn moments() -> Vec<u64> {
    let count = if asked("MUSTER_TEST_LONG").is_some() { 200 } else { 50 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = asked("MUSTER_TEST_SEED").map_or(now, |text| text.parse().unwrap());
    println!("MUSTER_TEST_SEED={seed}");
    let mut state = seed | 1;
    let draw = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % SPAN_MS
    };
    (0..count).map(draw).collect()
}

fn below(n: usize, child: usize) -> String {
    format!("call act {{\"n\": {n}}}\nsay {n} {child}")
}

fn head(n: usize) -> String {
    let calls = (0..BELOW).map(|child| format!("call helper {}\n", json!({"message": below(n, child)})));
    format!("call act {{\"n\": {n}}}\n{}then\ncall act {{\"n\": {n}}}\nsay {n}", calls.collect::<String>())
}

/// What the servers have seen of a family.
fn seen(muster: &Muster, tools: &Tools, n: usize) -> (u64, usize) {
    let prompts = std::iter::once(head(n)).chain((0..BELOW).map(|child| below(n, child)));
    let body = json!({ "n": n }).to_string();
    let effects = tools.effects().iter().filter(|effect| effect.body == body).count();
    (prompts.map(|prompt| muster.models.calls_with(&prompt)).sum(), effects)
}

/// How a family stood when it had been cancelled at that moment.
struct Cancelled {
    status: String,
    calls: u64,
    effects: usize,
    /// Model calls that were under way, and are booked.
    booked: usize,
}

/// Runs a family, cancels it through `by` at that moment, and looks at what follows.
async fn cancelled(muster: &Muster, by: &Client, tools: &Tools, boss: &str, n: usize, moment_ms: u64) -> Cancelled {
    let run = muster.us.run(boss, &head(n)).await;
    sleep(Duration::from_millis(moment_ms)).await;
    let answer = by.post(&format!("/v1/runs/{run}/cancel"), json!({})).await;
    assert!(matches!(answer.code, 200 | 202), "{}", answer.text);
    sleep(Duration::from_secs(1)).await;
    let after_a_second = seen(muster, tools, n);
    let ended = muster.until(&format!("/v1/runs/{run}"), |run| run["terminal"] == true).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(seen(muster, tools, n), after_a_second, "after {moment_ms} ms: sent a second after the cancel");
    let status = text(&ended, "status");
    let children = muster.us.get(&format!("/v1/runs?parent_run_id={run}")).await.ok();
    let children = children["data"].as_array().unwrap().clone();
    let (mut booked, mut counted) = (0, 0);
    for member in std::iter::once(&ended).chain(&children) {
        assert_eq!(member["terminal"], true, "{member}");
        assert!(matches!(text(member, "status").as_str(), "interrupted" | "done"), "{member}");
        let explained = explain(muster, &text(member, "id")).await;
        let attempts = explained["attempts"].as_array().unwrap().clone();
        let lost = attempts.iter().filter(|attempt| attempt["outcome"] == "cancelled");
        lost.for_each(|attempt| {
            booked += 1;
            assert!(attempt["estimated"] == true && attempt["cost_micro_usd"].as_u64() > Some(0), "{attempt}");
        });
        counted += attempts.len() as u64;
    }
    assert!(after_a_second.0 <= counted, "every call that was made is booked: {after_a_second:?}, {counted}");
    assert_eq!(ended["usage"]["model_calls"], counted, "what those below used counts as the head's");
    Cancelled { status, calls: after_a_second.0, effects: after_a_second.1, booked }
}

async fn a_cancelled_family_sends_nothing_more(muster: Muster, by: Client) {
    let muster = Arc::new(muster.at_work());
    let tools = Tools::start().await.unwrap();
    let act = json!({"type": "http", "name": "act", "method": "POST", "url": tools.url("/do/it?wait=100&rest=100"),
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}});
    let clerk = agent(&muster, "clerk", "openai/fake-l80", json!([act])).await;
    let boss = agent(&muster, "boss", "openai/fake-l80", json!([act, helper(&clerk)])).await;
    let outcomes: Vec<Cancelled> = stream::iter(moments().into_iter().enumerate())
        .map(|(n, moment_ms)| cancelled(&muster, &by, &tools, &boss, n, moment_ms))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let mut ends: HashMap<&str, usize> = HashMap::new();
    outcomes.iter().for_each(|outcome| *ends.entry(&outcome.status).or_default() += 1);
    let sum = |of: fn(&Cancelled) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (calls, effects) = (sum(|outcome| outcome.calls), sum(|outcome| outcome.effects as u64));
    let booked = sum(|outcome| outcome.booked as u64);
    println!(
        "| cancelled | interrupted | done before | model calls | effects | calls under way, booked | sent after 1 s |"
    );
    let (interrupted, done) = (ends.get("interrupted").unwrap_or(&0), ends.get("done").unwrap_or(&0));
    println!("| {} | {interrupted} | {done} | {calls} | {effects} | {booked} | 0 |", outcomes.len());
    assert_eq!(interrupted + done, outcomes.len());
    assert!(*interrupted > outcomes.len() / 2, "most moments are in the middle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_family_sends_nothing_more_where_one_process_holds_all() {
    let muster = Muster::on_sqlite().await;
    let by = muster.us.clone();
    a_cancelled_family_sends_nothing_more(muster, by).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_family_sends_nothing_more_where_another_process_holds_it() {
    let muster = Muster::on_dynamo().await;
    let by = muster.another_process();
    a_cancelled_family_sends_nothing_more(muster, by).await;
}
