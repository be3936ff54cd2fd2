//! Runs that start others as sub-agents, while the process is killed: every parent ends, and each child is started once.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

/// How many sub-agents a run calls, at once; each of them calls one more.
const CHILDREN: usize = 3;
/// A run, its children, and a child of each.
const FAMILY: usize = 1 + 2 * CHILDREN;

fn call(message: &str) -> String {
    format!("call helper {}", json!({ "message": message }))
}

fn youngest(family: usize, child: usize) -> String {
    format!("say {family} and {child}")
}

fn middle(family: usize, child: usize) -> String {
    format!("{}\nsay {family} and {child} of mine", call(&youngest(family, child)))
}

fn oldest(family: usize) -> String {
    let calls: Vec<String> = (0..CHILDREN).map(|child| call(&middle(family, child))).collect();
    format!("{}\nsay family {family}", calls.join("\n"))
}

async fn agent(served: &Served, helper: Option<&str>) -> String {
    let tool = helper.map(|id| json!({"type": "agent", "name": "helper", "agent_id": id}));
    let tools: Vec<Value> = tool.into_iter().collect();
    served.client.agent_with(json!({"name": "relative", "model": "openai/fake-l30-j50", "tools": tools})).await
}

async fn ask_for_all(client: Client, agent: String, families: usize, pause: Duration) {
    for n in 0..families {
        let body = json!({"message": oldest(n), "metadata": {"family": n.to_string()}}).to_string();
        client.insist(&format!("/v1/agents/{agent}/runs"), &format!("family {n}"), &body).await;
        sleep(pause).await;
    }
}

/// What the tools of a run answered, in order.
async fn answers(served: &Served, run: &Value) -> Vec<String> {
    let path = format!("/v1/runs/{}/messages", run["id"].as_str().unwrap());
    let messages = served.client.get(&path).await.unwrap();
    let tools = messages["data"].as_array().unwrap().iter().filter(|message| message["role"] == "tool");
    tools.map(|message| format!("{}: {}", message["outcome"], message["content"]).replace('"', "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn families_end_with_each_child_started_once_whenever_the_process_is_killed() {
    let (families, kills, life_ms) = by_form((20, 10, (100, 700)), (100, 50, (150, 1_500)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let clerk = agent(&served, None).await;
    let head = agent(&served, Some(&clerk)).await;
    let boss = agent(&served, Some(&head)).await;
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / families as u64);
    let asking = tokio::spawn(ask_for_all(served.client.clone(), boss, families, pause));
    served.killed_at_random(&mut random, kills, life_ms).await;
    asking.await.unwrap();
    let runs = served.all_ended(families * FAMILY).await;

    assert_eq!(runs.len(), families * FAMILY, "none lost, none started twice");
    let mut of: HashMap<&str, Vec<&Value>> = HashMap::new();
    for run in &runs {
        assert_eq!(run["status"], "done", "{run}");
        of.entry(run["parent_run_id"].as_str().unwrap_or_default()).or_default().push(run);
    }
    for run in &of[""] {
        let family: usize = run["metadata"]["family"].as_str().unwrap().parse().unwrap();
        let expected: Vec<String> = (0..CHILDREN).map(|n| format!("answered: {family} and {n} of mine")).collect();
        assert_eq!(answers(&served, run).await, expected, "{run}");
        let children = &of[run["id"].as_str().unwrap()];
        assert_eq!(children.len(), CHILDREN);
        let mut used = 2;
        for child in children {
            let below = &of[child["id"].as_str().unwrap()];
            assert_eq!((below.len(), answers(&served, child).await.len()), (1, 1), "{child}");
            used += 3;
        }
        let counted = run["usage"]["model_calls"].as_u64().unwrap();
        assert!(counted >= used, "{counted} of {used}: what those below used counts");
    }
    let mut calls = 0;
    for family in 0..families {
        calls += served.model.calls_with(&oldest(family));
        for child in 0..CHILDREN {
            calls +=
                served.model.calls_with(&middle(family, child)) + served.model.calls_with(&youngest(family, child));
        }
    }
    let counted: u64 = of[""].iter().map(|run| run["usage"]["model_calls"].as_u64().unwrap()).sum();
    assert!(calls <= counted && calls == served.model.stats().calls, "{calls} calls, {counted} counted");
    println!("| families | runs | kills | model calls | of them beyond those needed | counted |");
    let needed = (families * (2 + 3 * CHILDREN)) as u64;
    println!("| {families} | {} | {kills} | {calls} | {} | {counted} |", runs.len(), calls - needed);
}

/// What is left of a family of two whose process died at that point: its runs, when all have ended.
#[cfg(feature = "fault-points")]
async fn dies_at(fault: &str) -> Vec<Value> {
    let mut served = Served::start().await;
    let clerk = agent(&served, None).await;
    let boss = agent(&served, Some(&clerk)).await;
    served.kill();
    served.start_again(Some(fault)).await;
    let body = json!({"message": format!("{}\nsay done", call("say 42"))}).to_string();
    let _ = served.client.send("POST", &format!("/v1/agents/{boss}/runs"), "", body).await;
    assert!(!served.dies().await.success(), "{fault} was not passed");
    served.start_again(None).await;
    served.all_ended(2).await
}

#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn a_family_survives_a_death_at_each_point_of_starting_waiting_and_ending() {
    // Before the child is written, before it is asked for, before and after the parent waits, before and after the child's end.
    let faults = ["K4:abort:2", "K5:abort:2", "K8:abort:1", "K9:abort:1", "K10:abort:1", "K11:abort:1", "K11:abort:2"];
    let deaths = faults.map(|fault| (fault, tokio::spawn(dies_at(fault))));
    for (fault, death) in deaths {
        let runs = death.await.unwrap();
        assert_eq!(runs.len(), 2, "{fault}: {runs:?}");
        assert!(runs.iter().all(|run| run["status"] == "done"), "{fault}: {runs:?}");
    }
}
