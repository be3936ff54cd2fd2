//! A large batch, killed as soon as it is accepted.

use serde_json::json;

use crate::{by_form, served::Served};

fn prompt(n: usize) -> String {
    format!("Say {n} and nothing else.")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_survives_a_kill() {
    let runs = by_form(2_000, 10_000);
    let mut served = Served::start().await;
    let agent = served.client.agent("openai/fake-l1000").await;
    let lines: Vec<String> = (0..runs).map(|n| json!({ "message": prompt(n) }).to_string()).collect();
    let path = format!("/v1/agents/{agent}/batches");
    let (status, batch) = served.client.send("POST", &path, "", lines.join("\n")).await.unwrap();
    assert_eq!(status, 202, "{batch}");
    served.kill();
    served.start_again(None).await;

    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    let ended = loop {
        let batch = served.client.get(&path).await.unwrap();
        if batch["terminal"] == true {
            break batch;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    assert_eq!(ended["counts"]["done"], runs, "{ended}");
    assert!((0..runs).all(|n| served.model.calls_with(&prompt(n)) >= 1), "a run that asked nobody is not done");
    println!("{runs} runs done with {} model calls", served.model.stats().calls);
}
