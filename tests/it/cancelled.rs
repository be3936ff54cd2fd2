//! Runs and their sub-agents, cancelled at random moments through another process than the one that holds them: a second after the answer
//! nothing more is sent. The model server and the tool server are the witnesses, and a family that nobody cancels the control.
//! `MUSTER_TEST_SEED` repeats the moments, `MUSTER_TEST_LONG=1` takes 200 of them. The same within one process is among the tests `crash`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use model_server::{
    Tools,
    family::{Family, MODEL, TOOL},
};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    harness::{Client, Muster, asked, text},
    native::sub_agents::{agent, explain, helper},
};

/// In the middle of its work a family is cancelled, at the latest after so many milliseconds.
const SPAN_MS: u64 = 3_000;
/// How long the servers are watched from the cancel on.
const WATCHED: Duration = Duration::from_secs(4);
/// How long something may still be sent.
const MOST: Duration = Duration::from_secs(1);
/// How many families run at a time.
const AT_A_TIME: usize = 9;

/// Random moments that can be repeated; the first is of the family that is not cancelled.
fn moments() -> Vec<u64> {
    let count = if asked("MUSTER_TEST_LONG").is_some() { 201 } else { AT_A_TIME };
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

/// Model calls that a cancelled family had under way, and booked.
async fn booked(muster: &Muster, run: &str, calls: u64) -> usize {
    let ended = muster.until(&format!("/v1/runs/{run}"), |run| run["terminal"] == true).await;
    let children = muster.us.get(&format!("/v1/runs?parent_run_id={run}")).await.ok();
    let children = children["data"].as_array().unwrap().clone();
    let (mut booked, mut counted) = (0, 0);
    for member in std::iter::once(&ended).chain(&children) {
        assert_eq!(text(member, "status"), "interrupted", "{member}");
        let explained = explain(muster, &text(member, "id")).await;
        let attempts = explained["attempts"].as_array().unwrap().clone();
        for attempt in attempts.iter().filter(|attempt| attempt["outcome"] == "cancelled") {
            assert!(attempt["estimated"] == true && attempt["cost_micro_usd"].as_u64() > Some(0), "{attempt}");
            booked += 1;
        }
        counted += attempts.len() as u64;
    }
    assert!(calls <= counted, "every call that was made is booked: {calls} of {counted}");
    assert_eq!(ended["usage"]["model_calls"], counted, "what those below used counts as the head's");
    booked
}

/// Starts a family, cancels it through `by` at that moment unless it is the first, and answers how long something was still sent and how
/// many calls were under way.
async fn family(
    muster: &Muster,
    by: &Client,
    tools: &Tools,
    boss: &str,
    (n, moment_ms): (usize, u64),
) -> (Duration, usize) {
    let family = Family(n);
    let run = muster.us.run(boss, &family.message()).await;
    sleep(Duration::from_millis(moment_ms)).await;
    if n > 0 {
        let answer = by.post(&format!("/v1/runs/{run}/cancel"), json!({})).await;
        assert!(matches!(answer.code, 200 | 202), "{}", answer.text);
    }
    let sent_for = family.sends_for(&muster.models, tools, WATCHED).await;
    let calls = family.sent(&muster.models, tools).calls;
    (sent_for, if n > 0 { booked(muster, &run, calls).await } else { 0 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_family_sends_nothing_more_where_another_process_holds_it() {
    let muster = Muster::on_dynamo().await.at_work();
    let by = muster.another_process();
    let tools = Tools::start().await.unwrap();
    let numbers = json!({"type": "object", "properties": {"n": {"type": "integer"}, "round": {"type": "integer"}}});
    let act = json!({"type": "http", "name": "act", "method": "POST", "url": tools.url(TOOL), "parameters": numbers});
    let clerk = agent(&muster, "clerk", MODEL, json!([act])).await;
    let boss = agent(&muster, "boss", MODEL, json!([act, helper(&clerk)])).await;
    let seen: Vec<(Duration, usize)> = stream::iter(moments().into_iter().enumerate())
        .map(|planned| family(&muster, &by, &tools, &boss, planned))
        .buffered(AT_A_TIME)
        .collect()
        .await;
    let (control, cancelled) = (seen[0].0, &seen[1..]);
    let longest = cancelled.iter().map(|seen| seen.0).max().unwrap();
    let booked: usize = cancelled.iter().map(|seen| seen.1).sum();
    println!("| cancelled | calls under way, booked | sent for at most | not cancelled: sent for |");
    println!("| {} | {booked} | {longest:?} | {control:?} |", cancelled.len());
    assert!(control > MOST * 2, "the control: who is not cancelled goes on, and did for {control:?} alone");
    assert!(longest < MOST, "sent {longest:?} after the cancel");
}
