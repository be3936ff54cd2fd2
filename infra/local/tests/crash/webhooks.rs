//! Webhooks while the process is killed: every run that ended is told of, each time under the same id, and what could not be sent before a
//! kill is sent after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use model_server::{Effect, Tools};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, random::Random, served::Served};

/// How long what is left may take after the last kill: a delivery that was in hand is anybody's after half a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came to the endpoint: the events by their ids, each with its bodies.
fn told(tools: &Tools) -> BTreeMap<String, BTreeSet<String>> {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Effect { webhook_id, body, .. } in tools.effects() {
        told.entry(webhook_id.unwrap()).or_default().insert(body);
    }
    told
}

async fn endpoint(served: &Served, url: &str) -> String {
    let body = json!({"url": url, "events": ["run.done", "batch.ended"]}).to_string();
    let (status, made) = served.client.send("POST", "/v1/webhooks", "", body).await.unwrap();
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// Waits until nothing is to be sent any more, and answers how often something was.
async fn all_sent(served: &Served, webhook: &str, tools: &Tools) -> usize {
    let begun = Instant::now();
    let path = format!("/v1/webhooks/{webhook}/deliveries?state=pending");
    loop {
        let pending = served.client.get(&path).await.unwrap();
        if pending["data"].as_array().unwrap().is_empty() {
            return tools.effects().len();
        }
        assert!(begun.elapsed() < PATIENCE, "{pending}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// The subject of each event: a run or a batch.
fn subjects(told: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut subjects = Vec::new();
    for (id, bodies) in told {
        assert_eq!(bodies.len(), 1, "{id}: the same every time");
        let body: Value = serde_json::from_str(bodies.first().unwrap()).unwrap();
        let id = if body["type"] == "batch.ended" { &body["data"]["batch_id"] } else { &body["data"]["run_id"] };
        subjects.push(id.as_str().unwrap().to_owned());
    }
    subjects.sort();
    subjects
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_told_whenever_the_process_is_killed() {
    let (batches, items, kills, life_ms) = by_form((6, 20, 6, (150, 700)), (40, 50, 40, (150, 1_500)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let tools = Tools::start().await.unwrap();
    let webhook = endpoint(&served, &tools.url("/do/hook?rest=20")).await;
    let agent = served.client.agent("openai/fake-l30-j50").await;
    let (client, path) = (served.client.clone(), format!("/v1/agents/{agent}/batches"));
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / batches as u64);
    let asking = tokio::spawn(async move {
        let mut ids = Vec::new();
        for n in 0..batches {
            let items: Vec<Value> = (0..items).map(|item| json!({"message": format!("{n} {item}")})).collect();
            let body = json!({ "items": items }).to_string();
            let id = loop {
                match client.send("POST", &path, &format!("batch {n}"), body.clone()).await {
                    Ok((202, batch)) => break batch["id"].as_str().unwrap().to_owned(),
                    _ => sleep(Duration::from_millis(20)).await,
                }
            };
            ids.push(id);
            sleep(pause).await;
        }
        ids
    });
    served.killed_at_random(&mut random, kills, life_ms).await;
    let mut expected = asking.await.unwrap();
    let runs = served.all_ended(batches * items).await;
    for batch in &expected {
        // A batch whose last run ended as the process died has ended when it is looked at.
        assert_eq!(served.client.get(&format!("/v1/batches/{batch}")).await.unwrap()["terminal"], true);
    }
    expected.extend(runs.iter().map(|run| run["id"].as_str().unwrap().to_owned()));
    expected.sort();
    let sent = all_sent(&served, &webhook, &tools).await;
    let told = told(&tools);
    assert_eq!(subjects(&told), expected, "each is told of under one id");
    println!("| runs and batches | kills | events | requests |");
    println!("| {} | {kills} | {} | {sent} |", expected.len(), told.len());
}

/// Ends the process at that point of the first delivery, and answers how often that was sent in the end.
#[cfg(feature = "fault-points")]
async fn dies_at(point: &str) -> usize {
    let mut served = Served::start().await;
    let tools = Tools::start().await.unwrap();
    let webhook = endpoint(&served, &tools.url("/do/hook")).await;
    let agent = served.client.agent("demo/scripted-l0").await;
    served.kill();
    served.start_again(Some(&format!("{point}:abort:1"))).await;
    let run = json!({"message": "hello"}).to_string();
    let _ = served.client.send("POST", &format!("/v1/agents/{agent}/runs"), "the key", run).await;
    assert!(!served.dies().await.success(), "{point} was not passed");
    served.start_again(None).await;
    let sent = all_sent(&served, &webhook, &tools).await;
    assert_eq!(subjects(&told(&tools)).len(), 1, "{point}: under one id");
    sent
}

/// A delivery is in hand and not sent; sent and not written; written.
#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_sent_again_only_if_nobody_wrote_that_it_was() {
    assert_eq!(tokio::join!(dies_at("W1"), dies_at("W2"), dies_at("W3")), (1, 2, 1));
}
