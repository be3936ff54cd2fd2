//! Two hundred runs, single ones and batches, while the process is killed at random moments and started again.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

const SINGLE: usize = 100;
const BATCHES: usize = 10;
const PER_BATCH: usize = 10;
const RUNS: usize = SINGLE + BATCHES * PER_BATCH;

fn prompt(name: &str) -> String {
    format!("Say {name} and nothing else.")
}

/// Single runs, of which every second waits for its end, and batches between them, spread over the time of the kills.
async fn ask_for_all(client: Client, agent: String, pause: Duration) {
    let mut requests = Vec::new();
    for n in 0..SINGLE {
        let name = format!("single {n}");
        let wait = if n % 2 == 0 { "?wait=25" } else { "" };
        let body = json!({"message": prompt(&name), "metadata": {"name": name}});
        requests.push((format!("/v1/agents/{agent}/runs{wait}"), name, body));
        if n % (SINGLE / BATCHES) == 0 {
            let names = (0..PER_BATCH).map(|item| format!("batch {n} item {item}"));
            let items: Vec<Value> = names.map(|name| json!({"custom_id": name, "message": prompt(&name)})).collect();
            requests.push((format!("/v1/agents/{agent}/batches"), format!("batch {n}"), json!({ "items": items })));
        }
    }
    let mut asked = Vec::new();
    for (path, key, body) in requests {
        let client = client.clone();
        asked.push(tokio::spawn(async move { client.insist(&path, &key, &body.to_string()).await }));
        sleep(pause).await;
    }
    for request in asked {
        request.await.unwrap();
    }
}

fn name_of(run: &Value) -> String {
    let name = run["custom_id"].as_str().or(run["metadata"]["name"].as_str());
    name.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_end_once_whenever_the_process_is_killed() {
    let (kills, life_ms) = by_form((20, (250, 900)), (100, (150, 1_500)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let agent = served.client.agent("openai/fake-l30-j50").await;
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / RUNS as u64);
    let asking = tokio::spawn(ask_for_all(served.client.clone(), agent, pause));
    served.killed_at_random(&mut random, kills, life_ms).await;
    asking.await.unwrap();
    let runs = served.all_ended(RUNS).await;

    let names: HashSet<String> = runs.iter().map(name_of).collect();
    assert_eq!((runs.len(), names.len()), (RUNS, RUNS), "none lost, none twice");
    for run in &runs {
        assert!(run["status"] == "done" && run["result"].is_string(), "{run}");
    }
    let beyond = served.calls_beyond_one(&runs, |run| prompt(&name_of(run)));
    println!("{kills} kills, {RUNS} runs done, {beyond} model calls beyond one a run");
    assert_eq!(served.model.stats().calls, RUNS as u64 + beyond, "no call for a run that is not there");
}
