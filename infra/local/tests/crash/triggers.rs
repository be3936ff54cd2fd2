//! Events, each delivered many times at once while the process is killed: what was answered well has started one thing, and nothing has
//! started two.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

/// How often an event is delivered at once.
const AT_ONCE: usize = 8;
/// How many items an event of every second trigger becomes.
const ROWS: usize = 3;
/// So many triggers share the events, so that none of them has too many in a minute.
const TRIGGERS: usize = 8;

/// Delivers an event until there is an answer other than that it should come again.
async fn deliver(client: Client, trigger: String, event: usize) -> (u16, Value) {
    let body = json!({"n": event, "rows": [0, 1, 2]}).to_string();
    loop {
        match client.send("POST", &format!("/v1/hooks/{trigger}"), &format!("event {event}"), body.clone()).await {
            Ok((429 | 503, _)) | Err(_) => sleep(Duration::from_millis(20)).await,
            Ok(answer) => return answer,
        }
    }
}

/// Makes a trigger: its secret is the client's key, which the client shows with every call.
async fn made(client: &Client, agent: &str, nth: usize) -> String {
    let mut body = json!({"agent_id": agent, "name": "crash", "source": "token", "secret": client.key()});
    body["message"] = json!("Event {{ body.n }}.");
    if !nth.is_multiple_of(2) {
        body["rows"] = json!("body.rows");
    }
    let (status, made) = client.send("POST", "/v1/triggers", "", body.to_string()).await.unwrap();
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_starts_one_thing_whenever_the_process_is_killed() {
    let (events, kills, life_ms) = by_form((64, 8, (100, 500)), (400, 40, (100, 900)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let agent = served.client.agent("openai/fake-l10").await;
    let mut triggers = Vec::new();
    for nth in 0..TRIGGERS {
        triggers.push(made(&served.client, &agent, nth).await);
    }
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / events as u64);
    let (client, of) = (served.client.clone(), triggers.clone());
    let delivering = tokio::spawn(async move {
        let mut asked = Vec::new();
        for event in 0..events {
            let deliver = |_| tokio::spawn(deliver(client.clone(), of[event % TRIGGERS].clone(), event));
            asked.push((0..AT_ONCE).map(deliver).collect::<Vec<_>>());
            sleep(pause).await;
        }
        let mut answers = Vec::new();
        for deliveries in asked {
            for delivery in deliveries {
                answers.push(delivery.await.unwrap());
            }
        }
        answers
    });
    served.killed_at_random(&mut random, kills, life_ms).await;
    let answers = delivering.await.unwrap();
    let batches = (0..events).filter(|event| !(event % TRIGGERS).is_multiple_of(2)).count();
    let expected = events - batches + batches * ROWS;
    let runs = served.all_ended(expected).await;
    assert_eq!(runs.len(), expected, "none lost, none twice");
    assert!(runs.iter().all(|run| run["status"] == "done"), "{runs:?}");
    // Each event's answers name one thing, and that is there; no two events have the same.
    let mut things: BTreeMap<String, usize> = BTreeMap::new();
    for (event, of_event) in answers.chunks(AT_ONCE).enumerate() {
        let name = if (event % TRIGGERS).is_multiple_of(2) { "run_id" } else { "batch_id" };
        let id = of_event[0].1[name].as_str().unwrap().to_owned();
        assert!(of_event.iter().all(|(code, body)| [200, 202].contains(code) && body[name] == id), "{of_event:?}");
        let field = if name == "run_id" { "id" } else { "batch_id" };
        assert!(runs.iter().any(|run| run[field] == id), "{id} is not there");
        assert_eq!(things.insert(id, event), None);
    }
    // Once more after all: nothing new.
    for event in 0..events {
        let (code, again) = deliver(served.client.clone(), triggers[event % TRIGGERS].clone(), event).await;
        assert_eq!((code, &again["duplicate"]), (200, &json!(true)), "{again}");
    }
    assert_eq!(served.all_ended(expected).await.len(), expected);
    println!("| events | deliveries of each at once | kills | runs and batches | runs |");
    println!("| {events} | {AT_ONCE} | {kills} | {} | {} |", things.len(), runs.len());
}
