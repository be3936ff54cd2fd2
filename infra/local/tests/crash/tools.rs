//! Tools while the process is killed. The tool server is the witness: it writes down what was done, and under which key.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use model_server::Tools;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

pub(crate) const POLICIES: [&str; 4] = ["read", "idempotent", "verify", "once"];

/// An agent whose model makes so many rounds of one tool call of that policy before it answers.
pub(crate) async fn agent(served: &Served, tools: &Tools, policy: &str, model: &str) -> String {
    let path = if policy == "idempotent" { "/idempotent/it?wait=50&rest=150" } else { "/do/it?wait=50&rest=150" };
    let lookup = (policy == "verify").then(|| tools.url("/did/{idempotency_key}"));
    let tool = json!({
        "type": "http", "name": "act", "method": "POST", "url": tools.url(path), "policy": policy, "lookup_url": lookup,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    });
    served.client.agent_with(json!({"name": policy, "model": model, "tools": [tool]})).await
}

/// How the run's tool calls ended, by the key that each was made under.
pub(crate) async fn outcomes(served: &Served, run: &Value) -> BTreeMap<String, String> {
    let id = run["id"].as_str().unwrap();
    let messages = served.client.get(&format!("/v1/runs/{id}/messages")).await.unwrap();
    let messages = messages["data"].as_array().unwrap().iter().enumerate();
    let ended = messages.filter_map(|(slot, message)| Some((format!("{id}/{slot}"), message["outcome"].as_str()?)));
    ended.map(|(key, outcome)| (key, outcome.to_owned())).collect()
}

/// How often each call took effect, by the key that it was made under.
pub(crate) fn effects(tools: &Tools) -> HashMap<String, u32> {
    let mut effects = HashMap::new();
    for effect in tools.effects() {
        *effects.entry(effect.key.unwrap()).or_default() += 1;
    }
    effects
}

/// An answer that left the model server so long before a kill may have found nobody who wrote it: it counts as in flight.
const JUST_ANSWERED: Duration = Duration::from_millis(400);

/// Runs of each agent, one after the other over the time of the kills.
async fn ask_for_all(client: Client, agents: Vec<(String, &'static str)>, runs_each: usize, pause: Duration) {
    for n in 0..runs_each {
        for (agent, policy) in &agents {
            let body = json!({"message": format!("Do {n}."), "metadata": {"policy": policy}}).to_string();
            client.insist(&format!("/v1/agents/{agent}/runs"), &format!("{policy} {n}"), &body).await;
            sleep(pause).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_called_as_their_policies_say_whenever_the_process_is_killed() {
    let (per_policy, kills, life_ms) = by_form((25, 10, (420, 800)), (125, 50, (420, 1_500)));
    let runs = per_policy * POLICIES.len();
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let tools = Tools::start().await.unwrap();
    let mut asked = Vec::new();
    for policy in POLICIES {
        asked.push((agent(&served, &tools, policy, "openai/fake-l100-j200-t3").await, policy));
    }
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / runs as u64);
    let asking = tokio::spawn(ask_for_all(served.client.clone(), asked, per_policy, pause));
    let mut just_answered = 0;
    for _ in 0..kills {
        let life = Duration::from_millis(random.between(life_ms.0, life_ms.1));
        sleep(life.saturating_sub(JUST_ANSWERED)).await;
        let before = served.model.stats().ok;
        sleep(JUST_ANSWERED).await;
        served.kill();
        just_answered += served.model.stats().ok - before;
        served.start_again(None).await;
    }
    asking.await.unwrap();
    let ended = served.all_ended(runs).await;

    assert_eq!(ended.len(), runs, "none lost");
    let done = effects(&tools);
    let (mut calls, mut unknown) = (0, 0);
    let mut keys = HashSet::new();
    for run in &ended {
        assert_eq!(run["status"], "done", "{run}");
        let policy = run["metadata"]["policy"].as_str().unwrap();
        for (key, outcome) in outcomes(&served, run).await {
            calls += 1;
            let times = done.get(&key).copied().unwrap_or(0);
            match (policy, outcome.as_str()) {
                ("once", "unknown") => {
                    unknown += 1;
                    assert!(times <= 1, "{key}: {times} times");
                }
                ("read", "answered") => assert!(times >= 1, "{key} was never called"),
                (_, "answered") => assert_eq!(times, 1, "{policy} {key}"),
                other => panic!("{other:?}: {run}"),
            }
            keys.insert(key);
        }
    }
    assert_eq!((calls, keys.len()), (runs * 3, runs * 3), "every call is in a journal, once");
    let stray: Vec<&String> = done.keys().filter(|key| !keys.contains(*key)).collect();
    assert!(stray.is_empty(), "done under keys that no journal has: {stray:?}");
    let (models, cut_off) = (served.model.stats().calls, served.model.stats().aborted);
    let repeated: u32 = done.values().map(|times| times - 1).sum();
    let (beyond, in_flight) = (models - 4 * runs as u64, cut_off + just_answered);
    println!(
        "| runs | kills | tool calls | done | repeated reads | unknown | model calls | beyond 4 a run | in flight at the kills |"
    );
    println!(
        "| {runs} | {kills} | {calls} | {} | {repeated} | {unknown} | {models} | {beyond} | {cut_off} cut off, {just_answered} just answered |",
        done.len()
    );
    assert!(beyond <= in_flight, "{beyond} more model calls, and {in_flight} were in flight");
}
