//! The process dies or stands still at each named point of a tool call, under each policy: the table of reliability.md 2.1.3. A
//! process that stands still for longer than its lease is as one that died; and when it goes on, nothing of what it does counts.

use std::time::Duration;

use model_server::Tools;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    served::Served,
    tools::{POLICIES, agent, effects, outcomes},
};

/// How often a call takes effect, and how it ends, for each of the policies.
type Expected = [(u32, &'static str); 4];
/// Before the call is sent; its answer in memory only; the answer taken and not written.
const POINTS: [(&str, Expected); 4] = [("K4", UNSENT), ("K5", UNSENT), ("K6", SENT), ("K7", SENT)];
const UNSENT: Expected = [(1, "answered"), (1, "answered"), (1, "answered"), (0, "unknown")];
const SENT: Expected = [(2, "answered"), (1, "answered"), (1, "answered"), (1, "unknown")];

/// A lease that a process can outlast, and does not on a busy machine unless it stands still.
const SHORT_LEASE: (&str, &str) = ("MUSTER_LEASE_MS", "3000");
/// How long it stands still.
const FREEZE: Duration = Duration::from_secs(4);
/// How long it is watched after that.
const WATCHED: Duration = Duration::from_secs(2);

/// A process with an agent that calls a tool of that policy once, and meets a fault over the call.
struct Cell {
    served: Served,
    tools: Tools,
}

impl Cell {
    /// Starts the run; the process is about to die or to stand still at that point.
    async fn begin(point: &str, policy: &str, fault: &str) -> Self {
        let mut served = Served::start().await;
        let tools = Tools::start().await.unwrap();
        let agent = agent(&served, &tools, policy, "openai/fake-l20-t1").await;
        served.kill();
        // The first pass is the model call's.
        served.start_with(&[("MUSTER_FAULT", &format!("{point}:{fault}:2")), SHORT_LEASE]).await;
        let (client, path) = (served.client.clone(), format!("/v1/agents/{agent}/runs"));
        tokio::spawn(async move { client.send("POST", &path, "", json!({"message": "Do it."}).to_string()).await });
        Self { served, tools }
    }

    /// How often the call took effect, and how it ended, once the run is done.
    async fn seen(&self) -> (u32, String) {
        let runs = self.served.all_ended(1).await;
        assert_eq!((runs.len(), &runs[0]["status"]), (1, &json!("done")), "{runs:?}");
        let outcome = outcomes(&self.served, &runs[0]).await.into_values().next().unwrap();
        (effects(&self.tools).into_values().sum(), outcome)
    }

    /// All that a caller can read of the run.
    async fn read(&self) -> Vec<Value> {
        let client = &self.served.client;
        let runs = client.runs().await.unwrap();
        let path = format!("/v1/runs/{}", runs[0]["id"].as_str().unwrap());
        let mut read = runs;
        for path in [format!("{path}/messages"), format!("{path}/events"), format!("{path}/explain")] {
            read.push(client.get(&path).await.unwrap());
        }
        read
    }
}

async fn dies(point: &'static str, policy: &'static str) -> (u32, String) {
    let mut cell = Cell::begin(point, policy, "abort").await;
    assert!(!cell.served.dies().await.success(), "{point} was not passed");
    cell.served.start_again(None).await;
    cell.seen().await
}

/// Another process takes over, and the run ends, before this one goes on.
async fn is_replaced(point: &'static str, policy: &'static str) -> (u32, String) {
    let cell = loop {
        let mut cell = Cell::begin(point, policy, "stop").await;
        cell.served.stops().await;
        sleep(FREEZE).await;
        if cell.served.starts_beside().await {
            break cell;
        }
    };
    let (seen, before) = (cell.seen().await, cell.read().await);
    cell.served.signal("-CONT");
    sleep(WATCHED).await;
    assert_eq!(cell.read().await, before, "{point} {policy}: what the process did when it went on");
    assert_eq!(cell.seen().await, seen, "{point} {policy}: what the process sent when it went on");
    seen
}

/// Nobody takes over: the process finds its own lease run out, as on a laptop that slept.
async fn sleeps(point: &'static str, policy: &'static str) -> (u32, String) {
    let cell = Cell::begin(point, policy, "stop").await;
    cell.served.stops().await;
    sleep(FREEZE).await;
    cell.served.signal("-CONT");
    let seen = cell.seen().await;
    sleep(WATCHED).await;
    assert_eq!(cell.seen().await, seen, "{point} {policy}");
    seen
}

/// What became of the call at a point, under a policy.
struct Seen {
    cell: String,
    policy: &'static str,
    /// What is expected when the process died there.
    expected: (u32, String),
    seen: (u32, String),
}

/// Every cell, side by side.
async fn table<F>(cell: fn(&'static str, &'static str) -> F) -> Vec<Seen>
where
    F: Future<Output = (u32, String)> + Send + 'static,
{
    let mut cells = Vec::new();
    for (point, expected) in POINTS {
        for (policy, (times, outcome)) in POLICIES.into_iter().zip(expected) {
            cells.push((point, policy, (times, outcome.to_owned()), tokio::spawn(cell(point, policy))));
        }
    }
    let mut table = Vec::new();
    for (point, policy, expected, cell) in cells {
        table.push(Seen { cell: format!("{point} {policy}"), policy, expected, seen: cell.await.unwrap() });
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_that_a_process_died_over_ends_as_its_policy_says() {
    for Seen { cell, expected, seen, .. } in table(dies).await {
        assert_eq!(seen, expected, "{cell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_over_a_tool_call_is_as_one_that_died() {
    for Seen { cell, expected, seen, .. } in table(is_replaced).await {
        assert_eq!(seen, expected, "{cell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_that_its_own_process_slept_over_ends_as_its_policy_says() {
    println!("| point and policy | took effect | ended |");
    for Seen { cell, policy, seen: (times, outcome), .. } in table(sleeps).await {
        println!("| {cell} | {times} | {outcome} |");
        match (policy, outcome.as_str()) {
            ("read", "answered") => assert!((1..=2).contains(&times), "{cell}: {times} times"),
            ("once", "unknown") => assert!(times <= 1, "{cell}: {times} times"),
            (_, "answered") => assert_eq!(times, 1, "{cell}"),
            other => panic!("{cell}: {other:?}"),
        }
    }
}
