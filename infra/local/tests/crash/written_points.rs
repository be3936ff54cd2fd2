//! The process dies or stands still at each named point of a call that is one write, under an idempotency key, and of a change of many
//! agents: who asks again with the same key gets one effect and one answer, and agents change together or not at all.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, served::Served};

/// Before the work under a key, and after it.
const OF_KEYS: [&str; 2] = ["I1", "I2"];
/// A change set is open; its versions are there; all pointers are moved.
const OF_CHANGES: [&str; 3] = ["C1", "C2", "C3"];
/// Longer than others wait for a change set that is open.
const FREEZE: Duration = Duration::from_secs(6);
/// How long a process that goes on is watched.
const WATCHED: Duration = Duration::from_secs(1);
/// More than one transaction may have versions of.
const AGENTS: usize = 120;

/// What befalls the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Dies,
    IsReplaced,
    Sleeps,
}

const FAULTS: [Fault; 3] = [Fault::Dies, Fault::IsReplaced, Fault::Sleeps];

/// Sends a request to a process that meets the fault at that point, and once it has, answers what there is then, with the agents that were
/// there before. When it was replaced, the other process is there and this one still stands.
async fn meets(
    agents: usize,
    point: &str,
    fault: Fault,
    request: impl Fn(&[String]) -> (&'static str, &'static str, String),
) -> (Served, Vec<String>) {
    loop {
        let mut served = Served::start().await;
        let mut ids = Vec::new();
        for _ in 0..agents {
            ids.push(served.client.agent("demo/scripted-l0").await);
        }
        served.kill();
        let kind = if fault == Fault::Dies { "abort" } else { "stop" };
        served.start_again(Some(&format!("{point}:{kind}:1"))).await;
        let (client, (method, path, body)) = (served.client.clone(), request(&ids));
        tokio::spawn(async move { client.send(method, path, "the key", body).await });
        if fault == Fault::Dies {
            assert!(!served.dies().await.success(), "{point} was not passed");
            served.start_again(None).await;
            return (served, ids);
        }
        served.stops().await;
        sleep(FREEZE).await;
        if fault == Fault::Sleeps {
            served.signal("-CONT");
            return (served, ids);
        }
        if served.starts_beside().await {
            return (served, ids);
        }
    }
}

/// The process goes on, if it still stands.
async fn goes_on(served: &Served, fault: Fault) {
    if fault == Fault::IsReplaced {
        served.signal("-CONT");
    }
    sleep(WATCHED).await;
}

/// Asks again and again, with the same idempotency key; the answer other than that it is being worked on.
async fn answer(served: &Served, (method, path, body): (&str, &str, String)) -> (u16, Value) {
    loop {
        match served.client.send(method, path, "the key", body.clone()).await {
            Ok((409 | 503, _)) | Err(_) => sleep(Duration::from_millis(20)).await,
            Ok(answer) => return answer,
        }
    }
}

async fn a_key(point: &'static str, fault: Fault) {
    let request = |_: &[String]| ("POST", "/v1/agents", json!({"name": "new", "model": "demo/scripted"}).to_string());
    let (served, _) = meets(0, point, fault, request).await;
    let first = answer(&served, request(&[])).await;
    assert_eq!(first.0, 201, "{point} {fault:?}: {first:?}");
    goes_on(&served, fault).await;
    assert_eq!(answer(&served, request(&[])).await, first, "{point} {fault:?}: one answer");
    let agents = served.client.get("/v1/agents").await.unwrap();
    assert_eq!(agents["data"].as_array().unwrap().len(), 1, "{point} {fault:?}: {agents}");
}

/// How many of the agents are as the first change made them, and how many as the second did, in one list.
async fn described(served: &Served) -> (usize, usize) {
    let (status, listed) = served.client.send("GET", "/api/agents", "", String::new()).await.unwrap();
    assert_eq!(status, 200, "{listed}");
    let so = |what: &str| listed.as_array().unwrap().iter().filter(|agent| agent["description"] == what).count();
    (so("first"), so("second"))
}

fn change(ids: &[String], as_what: &str) -> (&'static str, &'static str, String) {
    let items = ids.iter().map(|id| json!({"id": id.replace("agent_", ""), "description": as_what}));
    ("PUT", "/api/agents/batch", json!({"items": items.collect::<Vec<Value>>()}).to_string())
}

async fn a_change(point: &'static str, fault: Fault) {
    let (served, ids) = meets(AGENTS, point, fault, |ids| change(ids, "first")).await;
    let (first, _) = described(&served).await;
    assert!(first == 0 || first == AGENTS, "{point} {fault:?}: {first} of {AGENTS}");
    // What is left open keeps nobody out.
    let (method, path, body) = change(&ids, "second");
    let (status, changed) = loop {
        match served.client.send(method, path, "", body.clone()).await.unwrap() {
            (503, _) => sleep(Duration::from_millis(20)).await,
            answer => break answer,
        }
    };
    assert_eq!(status, 200, "{point} {fault:?}: {changed}");
    goes_on(&served, fault).await;
    let seen = described(&served).await;
    // Who stood still finds that its change set was stopped, and may begin another after ours: then all are as that made them.
    assert!(seen == (0, AGENTS) || fault != Fault::Dies && seen == (AGENTS, 0), "{point} {fault:?}: {seen:?}");
}

async fn every<F>(points: &[&'static str], cell: fn(&'static str, Fault) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for _ in 0..by_form(1, 5) {
        let cells = points
            .iter()
            .copied()
            .flat_map(|point| FAULTS.map(|fault| (point, fault, tokio::spawn(cell(point, fault)))));
        for (point, fault, cell) in cells.collect::<Vec<_>>() {
            cell.await.unwrap();
            println!("| {point} | {fault:?} | one effect, whole |");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_effect_at_whatever_point_the_process_meets_a_fault() {
    every(&OF_KEYS, a_key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_change_together_at_whatever_point_the_process_meets_a_fault() {
    every(&OF_CHANGES, a_change).await;
}
