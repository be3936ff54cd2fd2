//! A process that stands still for a while, as on a laptop that sleeps, and then goes on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, served::Served};

const RUNS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_goes_on_as_if_nothing_was() {
    // The long form outlasts the leases.
    let frozen = by_form(Duration::from_secs(3), Duration::from_secs(75));
    let served = Served::start().await;
    let agent = served.client.agent("openai/fake-l1000-j500").await;
    let items: Vec<Value> = (0..RUNS).map(|n| json!({"message": format!("Say {n}.")})).collect();
    let path = format!("/v1/agents/{agent}/batches");
    let (status, batch) = served.client.send("POST", &path, "", json!({ "items": items }).to_string()).await.unwrap();
    assert_eq!(status, 202, "{batch}");
    sleep(Duration::from_millis(500)).await;
    served.signal("-STOP");
    sleep(frozen).await;
    served.signal("-CONT");

    let runs = served.all_ended(RUNS).await;
    assert_eq!(runs.len(), RUNS);
    assert!(runs.iter().all(|run| run["status"] == "done"));
    assert_eq!(served.model.stats().calls, RUNS as u64, "nobody asked twice");
}
