//! Ends of runs from which another agent goes on, while the process is killed: each is gone on from once.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, random::Random, served::Served};

/// An agent, and another that goes on with what it says.
async fn chain(served: &Served, model: &str) -> String {
    let (first, next) = (served.client.agent(model).await, served.client.agent(model).await);
    let body = json!({"agent_id": next, "name": "next", "source": "run", "from": {"agent_id": first}, "message": "{{ body.run_id }}"});
    let (status, made) = served.client.send("POST", "/v1/triggers", "", body.to_string()).await.unwrap();
    assert_eq!(status, 201, "{made}");
    first
}

/// Whether each of the first agent's runs was gone on from, and no other.
fn gone_on(runs: &[Value], first: &str) {
    let of = |its: bool| runs.iter().filter(move |run| (run["agent_id"] == first) == its);
    let began: BTreeSet<&str> = of(true).map(|run| run["id"].as_str().unwrap()).collect();
    let went_on: Vec<&str> = of(false).map(|run| run["caused_by_run_id"].as_str().unwrap()).collect();
    assert_eq!(went_on.len(), began.len(), "none twice");
    assert_eq!(went_on.into_iter().collect::<BTreeSet<_>>(), began, "none lost");
    assert!(runs.iter().all(|run| run["status"] == "done"), "{runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_is_gone_on_from_once_whenever_the_process_is_killed() {
    let (batches, items, kills, life_ms) = by_form((6, 20, 6, (150, 700)), (40, 50, 40, (150, 1_500)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let first = chain(&served, "openai/fake-l30-j50").await;
    let (client, path) = (served.client.clone(), format!("/v1/agents/{first}/batches"));
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / batches as u64);
    let asking = tokio::spawn(async move {
        for n in 0..batches {
            let items: Vec<Value> = (0..items).map(|item| json!({"message": format!("{n} {item}")})).collect();
            client.insist(&path, &format!("batch {n}"), &json!({ "items": items }).to_string()).await;
            sleep(pause).await;
        }
    });
    served.killed_at_random(&mut random, kills, life_ms).await;
    asking.await.unwrap();
    let runs = served.all_ended(2 * batches * items).await;
    gone_on(&runs, &first);
    println!("| ends | kills | gone on from |");
    println!("| {} | {kills} | {} |", batches * items, runs.len() - batches * items);
}

/// A delivery is in hand and nothing started; started and not written; written.
#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_gone_on_from_once_wherever_the_process_dies() {
    for point in ["W1", "W2", "W3"] {
        let mut served = Served::start().await;
        let first = chain(&served, "demo/scripted-l0").await;
        served.kill();
        served.start_again(Some(&format!("{point}:abort:1"))).await;
        let run = json!({"message": "hello"}).to_string();
        let _ = served.client.send("POST", &format!("/v1/agents/{first}/runs"), "the key", run).await;
        assert!(!served.dies().await.success(), "{point} was not passed");
        served.start_again(None).await;
        gone_on(&served.all_ended(2).await, &first);
    }
}
