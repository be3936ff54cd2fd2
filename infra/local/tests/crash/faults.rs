//! The process dies at each named point of the run protocol, and is started again.

use serde_json::{Value, json};

use crate::{by_form, client::Client, served::Served};

/// The points that the embedded host passes, with a model that leads there.
const POINTS: [(&str, &str); 11] = [
    ("K1", "fake-l50"),
    ("K2", "fake-l50"),
    ("K3", "fake-l50"),
    ("K4", "fake-l50"),
    ("K5", "fake-l50"),
    ("K6", "fake-l50"),
    ("K7", "fake-l50"),
    // The provider asks to wait so long that the run is let go of.
    ("K8", "fake-l50-e1-x429-a21"),
    ("K9", "fake-l50-e1-x429-a21"),
    ("K10", "fake-l50"),
    ("K11", "fake-l50"),
];
/// A run that its caller waits for, one that nobody waits for, and a batch.
const RUNS: usize = 2 + BATCH;
const BATCH: usize = 3;

fn prompt(name: &str) -> String {
    format!("Say {name} and nothing else.")
}

fn requests(agent: &str) -> Vec<(String, &'static str, String)> {
    let single = |name: &str| json!({"message": prompt(name), "metadata": {"name": name}}).to_string();
    let names = (0..BATCH).map(|n| format!("item {n}"));
    let items: Vec<Value> = names.map(|name| json!({"custom_id": name, "message": prompt(&name)})).collect();
    vec![
        (format!("/v1/agents/{agent}/batches"), "batch", json!({ "items": items }).to_string()),
        (format!("/v1/agents/{agent}/runs"), "single", single("single")),
        (format!("/v1/agents/{agent}/runs?wait=1"), "waited for", single("waited for")),
    ]
}

/// Sends them one after the other; true for each that was accepted, now or, with the same idempotency key, before: what is
/// still in progress is a conflict.
async fn send(client: &Client, requests: &[(String, &'static str, String)]) -> Vec<bool> {
    let mut accepted = Vec::new();
    for (path, key, body) in requests {
        let answer = client.send("POST", path, key, body.clone()).await;
        accepted.push(answer.is_ok_and(|(status, _)| status < 300 || status == 409));
    }
    accepted
}

fn name_of(run: &Value) -> &str {
    run["custom_id"].as_str().or(run["metadata"]["name"].as_str()).unwrap()
}

async fn dies_at(point: &str, model: &str, pass: u32) {
    let mut served = Served::start().await;
    let agent = served.client.agent(&format!("openai/{model}")).await;
    served.kill();
    served.start_again(Some(&format!("{point}:abort:{pass}"))).await;
    let requests = requests(&agent);
    let accepted = send(&served.client, &requests).await;
    let status = served.dies().await;
    assert!(!status.success(), "{point} was not passed");
    served.start_again(None).await;

    // What was answered is there without its caller; what was not is asked for again.
    let survived: Vec<String> = served.client.runs().await.unwrap().iter().map(|run| name_of(run).to_owned()).collect();
    for ((_, key, _), accepted) in requests.iter().zip(accepted) {
        let there = survived.iter().any(|name| name == key || (*key == "batch" && name.starts_with("item")));
        assert!(there || !accepted, "{point}:{pass}: {key} was accepted and is gone");
    }
    assert!(send(&served.client, &requests).await.iter().all(|accepted| *accepted), "{point}:{pass}");
    let runs = served.all_ended(RUNS).await;
    assert_eq!(runs.len(), RUNS, "{point}:{pass}: {runs:?}");
    assert!(runs.iter().all(|run| run["status"] == "done"), "{point}:{pass}: {runs:?}");
    let beyond = served.calls_beyond_one(&runs, |run| prompt(name_of(run)));
    println!("{point}:{pass}: {beyond} model calls beyond one a run");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_point_of_the_protocol_is_one_where_a_run_is_lost() {
    for pass in by_form(1..=1, 1..=3) {
        // A run that its caller waits for asks for no worker, so only two of the requests pass K2.
        let passed = POINTS.into_iter().filter(|(point, _)| *point != "K2" || pass <= 2);
        let deaths: Vec<_> = passed.map(|(point, model)| tokio::spawn(dies_at(point, model, pass))).collect();
        for death in deaths {
            death.await.unwrap();
        }
    }
}
