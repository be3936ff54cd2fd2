//! Idempotency keys, each sent by twenty requests at once while the process is killed: one run, one effect and one answer.

use std::time::Duration;

use model_server::Tools;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served, tools};

/// How many requests with the same key are sent at once.
const AT_ONCE: usize = 20;

fn prompt(n: usize) -> String {
    format!("Do {n}.")
}

/// Every second request waits for the end of its run: that end is its answer.
fn path(agent: &str, n: usize) -> String {
    format!("/v1/agents/{agent}/runs{}", if n.is_multiple_of(2) { "" } else { "?wait=25" })
}

/// Asks until there is an answer other than that the same request is being worked on.
async fn answer(client: Client, path: String, n: usize, message: String) -> (u16, Value) {
    let body = json!({ "message": message }).to_string();
    loop {
        match client.send("POST", &path, &format!("key {n}"), body.clone()).await {
            Ok((409, _)) | Err(_) => sleep(Duration::from_millis(20)).await,
            Ok(answer) => return answer,
        }
    }
}

/// Sends the requests of each key at once, one key after the other over the time of the kills. The answers, by key.
async fn ask_for_all(client: Client, agent: String, keys: usize, pause: Duration) -> Vec<Vec<(u16, Value)>> {
    let mut asked = Vec::new();
    for n in 0..keys {
        let ask = |_| tokio::spawn(answer(client.clone(), path(&agent, n), n, prompt(n)));
        asked.push((0..AT_ONCE).map(ask).collect::<Vec<_>>());
        sleep(pause).await;
    }
    let mut answers = Vec::new();
    for requests in asked {
        let mut of_key = Vec::new();
        for request in requests {
            of_key.push(request.await.unwrap());
        }
        answers.push(of_key);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_effect_and_one_answer_whenever_the_process_is_killed() {
    let (keys, kills, life_ms) = by_form((40, 5, (150, 700)), (200, 30, (150, 1_500)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let tools = Tools::start().await.unwrap();
    let agent = tools::agent(&served, &tools, "idempotent", "openai/fake-l30-j50-t1").await;
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / keys as u64);
    let asking = tokio::spawn(ask_for_all(served.client.clone(), agent.clone(), keys, pause));
    served.killed_at_random(&mut random, kills, life_ms).await;
    let answers = asking.await.unwrap();
    let runs = served.all_ended(keys).await;
    assert_eq!(runs.len(), keys, "none lost, none twice");
    assert!(runs.iter().all(|run| run["status"] == "done"), "{runs:?}");
    // Two runs of a key would make their calls under two keys of their own.
    let effects = tools::effects(&tools);
    assert!(effects.len() == keys && effects.values().all(|times| *times == 1), "{effects:?}");
    assert!((0..keys).all(|n| served.model.calls_with(&prompt(n)) >= 2), "a run that asked nobody is not done");

    served.kill();
    served.start_again(None).await;
    for (n, of_key) in answers.iter().enumerate() {
        let (status, first) = &of_key[0];
        assert_eq!(*status, if n.is_multiple_of(2) { 202 } else { 200 }, "{first}");
        assert!(of_key.iter().all(|answer| answer == &of_key[0]), "key {n}: {of_key:?}");
        let again = answer(served.client.clone(), path(&agent, n), n, prompt(n)).await;
        assert_eq!(&again, &of_key[0], "key {n}: the same after a crash");
        let (status, other) = answer(served.client.clone(), path(&agent, n), n, "Do something else.".to_owned()).await;
        assert_eq!(status, 422, "{other}");
    }
    assert_eq!((served.all_ended(keys).await.len(), tools::effects(&tools).len()), (keys, keys), "nothing new");
    println!("| keys | requests a key | kills | runs | effects | same answer after a crash | other body refused |");
    println!("| {keys} | {AT_ONCE} | {kills} | {} | {} | {keys} | {keys} |", runs.len(), effects.len());
}
