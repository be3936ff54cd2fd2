//! Streams of events while the process is killed: who comes back with the number of the last event that it has seen misses nothing,
//! and sees nothing twice or otherwise than before.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

/// Starts a run and follows it to its end, whatever becomes of the connection.
async fn followed(client: Client, agent: String, name: String) -> Vec<Value> {
    let (path, body) = (format!("/v1/agents/{agent}/runs/stream"), json!({"message": name}).to_string());
    let mut events: Vec<Value> = Vec::new();
    loop {
        let ended = match events.first().map(|event| event["run_id"].as_str().unwrap().to_owned()) {
            None => client.follow("POST", &path, &name, &body, &mut events).await,
            Some(run) => client.follow("GET", &format!("/v1/runs/{run}/events"), "", "", &mut events).await,
        };
        let last = events.last().and_then(|event| event["type"].as_str());
        if ended && last.is_some_and(|last| ["run.done", "run.error", "run.interrupted"].contains(&last)) {
            return events;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_run_misses_nothing_whenever_the_process_is_killed() {
    let (runs, kills, life_ms) = by_form((12, 6, (150, 700)), (100, 50, (300, 2_500)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let agent = served.client.agent("demo/scripted-l900").await;
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / runs);
    let client = served.client.clone();
    let asking = tokio::spawn(async move {
        let mut asked = Vec::new();
        for n in 0..runs {
            asked.push(tokio::spawn(followed(client.clone(), agent.clone(), format!("run {n} one two three four"))));
            sleep(pause).await;
        }
        asked
    });
    served.killed_at_random(&mut random, kills, life_ms).await;
    let (mut told, mut again) = (0, 0);
    for follower in asking.await.unwrap() {
        let events = follower.await.unwrap();
        let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<u64>>(), "{events:?}");
        assert_eq!(events.last().unwrap()["type"], "run.done", "{events:?}");
        let run = events[0]["run_id"].as_str().unwrap();
        let kept = served.client.get(&format!("/v1/runs/{run}/events?limit=500")).await.unwrap();
        assert_eq!(kept["data"], json!(events), "what was told is what is kept");
        told += events.len();
        again += events.iter().filter_map(|event| event["attempt"].as_u64()).max().unwrap_or(1) - 1;
    }
    assert_eq!(served.client.runs().await.unwrap().len() as u64, runs, "each was started once");
    println!("| runs followed | kills | events | attempts begun anew |\n| {runs} | {kills} | {told} | {again} |");
}
