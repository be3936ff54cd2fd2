//! Runs with sub-agents, cancelled at random moments in the middle of seconds of work: a second later nothing more is sent. The model
//! server and the tool server are the witnesses, and families that nobody cancels the control. `MUSTER_TEST_SEED` repeats the moments,
//! `MUSTER_TEST_LONG=1` takes 200 of them.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use model_server::{
    Tools,
    family::{Family, MODEL, TOOL},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, random::Random, served::Served};

/// In the middle of its work a family is cancelled, at the latest after so many milliseconds.
const SPAN_MS: u64 = 3_000;
/// How long the servers are watched from the cancel on.
const WATCHED: Duration = Duration::from_secs(4);
/// How long something may still be sent.
const MOST: Duration = Duration::from_secs(1);
/// How many families nobody cancels.
const CONTROLS: usize = 3;
/// A price for the model, so that what was under way is booked.
const PRICES: &str = r#"{"models": [{"name": "openai/fake-l80", "input": 1000000, "output": 2000000}]}"#;

struct Witnesses {
    served: Served,
    tools: Tools,
    boss: String,
}

/// What was seen of a family.
struct Seen {
    cancelled: bool,
    calls: u64,
    effects: usize,
    /// Model calls that were under way when it was cancelled, and are booked.
    booked: usize,
    /// How long it went on sending.
    sent_for: Duration,
}

impl Witnesses {
    async fn start() -> Self {
        let mut served = Served::start().await;
        served.kill();
        served.start_with(&[("MUSTER_PRICES", PRICES)]).await;
        let tools = Tools::start().await.unwrap();
        let numbers = json!({"type": "object", "properties": {"n": {"type": "integer"}, "round": {"type": "integer"}}});
        let act =
            json!({"type": "http", "name": "act", "method": "POST", "url": tools.url(TOOL), "parameters": numbers});
        let clerk = served.client.agent_with(json!({"name": "clerk", "model": MODEL, "tools": [act]})).await;
        let helper = json!({"type": "agent", "name": "helper", "agent_id": clerk});
        let boss = served.client.agent_with(json!({"name": "boss", "model": MODEL, "tools": [act, helper]})).await;
        Self { served, tools, boss }
    }

    /// Starts a family and cancels it at that moment, if at any. How long it went on sending from then on.
    async fn family(&self, n: usize, moment_ms: u64, cancels: bool) -> Seen {
        let (family, client) = (Family(n), &self.served.client);
        let body = json!({"message": family.message()}).to_string();
        let (status, run) = client.send("POST", &format!("/v1/agents/{}/runs", self.boss), "", body).await.unwrap();
        assert_eq!(status, 202, "{run}");
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        sleep(Duration::from_millis(moment_ms)).await;
        if cancels {
            let (status, answer) = client.send("POST", &format!("{path}/cancel"), "", "{}".to_owned()).await.unwrap();
            assert!(matches!(status, 200 | 202), "{answer}");
        }
        let sent_for = family.sends_for(&self.served.model, &self.tools, WATCHED).await;
        let sent = family.sent(&self.served.model, &self.tools);
        let booked = if cancels { self.booked(&path, sent.calls).await } else { 0 };
        Seen { cancelled: cancels, calls: sent.calls, effects: sent.effects, booked, sent_for }
    }

    /// How many calls of a cancelled family were under way. All of it has ended, and no call was made that is not booked.
    async fn booked(&self, path: &str, calls: u64) -> usize {
        let client = &self.served.client;
        let head = client.get(path).await.unwrap();
        let list = format!("/v1/runs?parent_run_id={}", head["id"].as_str().unwrap());
        let children = client.get(&list).await.unwrap()["data"].as_array().unwrap().clone();
        let (mut booked, mut counted) = (0, 0);
        for run in std::iter::once(&head).chain(&children) {
            assert_eq!(run["status"], "interrupted", "{run}");
            let explained = client.get(&format!("/v1/runs/{}/explain", run["id"].as_str().unwrap())).await.unwrap();
            let attempts: &Vec<Value> = explained["attempts"].as_array().unwrap();
            for attempt in attempts.iter().filter(|attempt| attempt["outcome"] == "cancelled") {
                assert!(attempt["estimated"] == true && attempt["cost_micro_usd"].as_u64() > Some(0), "{attempt}");
                booked += 1;
            }
            counted += attempts.len() as u64;
        }
        assert!(calls <= counted, "every call that was made is booked: {calls} of {counted}");
        assert_eq!(head["usage"]["model_calls"], counted, "what those below used counts as the head's");
        booked
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_family_sends_nothing_more_after_a_second() {
    let (moments, at_a_time) = by_form((24, 27), (200, 25));
    let mut random = Random::seeded();
    let mut planned: Vec<(u64, bool)> = (0..CONTROLS).map(|_| (random.between(0, SPAN_MS), false)).collect();
    planned.extend((0..moments).map(|_| (random.between(0, SPAN_MS), true)));
    let witnesses = Witnesses::start().await;
    let seen: Vec<Seen> = stream::iter(planned.into_iter().enumerate())
        .map(|(n, (moment_ms, cancels))| witnesses.family(n, moment_ms, cancels))
        .buffer_unordered(at_a_time)
        .collect()
        .await;
    let (cancelled, controls): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|seen| seen.cancelled);
    let calls: u64 = cancelled.iter().map(|seen| seen.calls).sum();
    let effects: usize = cancelled.iter().map(|seen| seen.effects).sum();
    let booked: usize = cancelled.iter().map(|seen| seen.booked).sum();
    let longest = cancelled.iter().map(|seen| seen.sent_for).max().unwrap();
    let shortest = controls.iter().map(|seen| seen.sent_for).min().unwrap();
    println!(
        "| cancelled | model calls | effects | under way, booked | sent for at most | not cancelled: sent for at least |"
    );
    println!("| {} | {calls} | {effects} | {booked} | {longest:?} | {shortest:?} |", cancelled.len());
    assert!(shortest > MOST * 2, "the control: who is not cancelled goes on, and did for {shortest:?} alone");
    assert!(longest < MOST, "sent {longest:?} after the cancel");
    assert!(booked > 0, "some were in the middle of a model call");
}
