//! Batches whose results are told to one run, while the process is killed: each is, once, with all of them.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, random::Random, served::Served};

/// Whether each batch was reduced once, with all of its results.
async fn reduced(served: &Served, runs: &[Value], batches: usize, items: usize) {
    let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for run in runs.iter().filter(|run| !run["reduces"].is_null()) {
        of.entry(run["reduces"].as_str().unwrap()).or_default().push(run["id"].as_str().unwrap());
    }
    assert_eq!(of.len(), batches, "none forgotten");
    for (batch, reductions) in of {
        let shown = served.client.get(&format!("/v1/batches/{batch}")).await.unwrap();
        assert_eq!(json!(reductions), json!([shown["reduce"]["run_id"]]), "once");
        let said = served.client.get(&format!("/v1/runs/{}/messages", reductions[0])).await.unwrap();
        assert_eq!(said["data"][0]["content"], json!(format!("{items} of {items}")));
    }
}

fn body(items: usize, name: &str) -> String {
    let items: Vec<Value> = (0..items).map(|item| json!({"message": format!("{name} {item}")})).collect();
    json!({"items": items, "reduce": {"message": "{{ results | length }} of {{ batch.items }}"}}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_is_reduced_once_whenever_the_process_is_killed() {
    let (batches, items, kills, life_ms) = by_form((8, 10, 8, (100, 600)), (60, 25, 50, (100, 1_200)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let agent = served.client.agent("openai/fake-l30-j50").await;
    let (client, path) = (served.client.clone(), format!("/v1/agents/{agent}/batches"));
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / batches as u64);
    let asking = tokio::spawn(async move {
        for n in 0..batches {
            client.insist(&path, &format!("batch {n}"), &body(items, &n.to_string())).await;
            sleep(pause).await;
        }
    });
    served.killed_at_random(&mut random, kills, life_ms).await;
    asking.await.unwrap();
    let runs = served.all_ended(batches * (items + 1)).await;
    assert_eq!(runs.len(), batches * (items + 1));
    reduced(&served, &runs, batches, items).await;
    println!("| batches | kills | reduced |");
    println!("| {batches} | {kills} | {batches} |");
}

/// Before the transaction that starts the run, and behind it.
#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_reduced_once_wherever_the_process_dies() {
    for point in ["B1", "B2"] {
        let mut served = Served::start().await;
        let agent = served.client.agent("demo/scripted-l0").await;
        served.kill();
        served.start_again(Some(&format!("{point}:abort:1"))).await;
        let _ = served.client.send("POST", &format!("/v1/agents/{agent}/batches"), "the key", body(3, "a")).await;
        assert!(!served.dies().await.success(), "{point} was not passed");
        served.start_again(None).await;
        let runs = served.all_ended(4).await;
        reduced(&served, &runs, 1, 3).await;
    }
}
