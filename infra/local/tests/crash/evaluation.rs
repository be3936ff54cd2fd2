//! An evaluation whose process is killed, while it is started, while its runs are under way and while its verdicts are written. What comes of it is
//! what is known beforehand: every attempt counts, killed ones as much as they may have been billed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

const SYSTEM: &str = "You answer.";
/// The prices of the model: a micro-USD for an input token, two for one of output.
const PRICES: &str = r#"{"models": [
    {"name": "openai/fake-l30-j50", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-l50", "input": 1000000, "output": 2000000}
]}"#;

fn word(n: usize) -> String {
    format!("word {n:04}")
}

fn prompt(n: usize) -> String {
    format!("say {}", word(n))
}

/// What a lost attempt counts for: a token for each byte of text, 16 for each of two turns, and the longest answer.
fn lost() -> u64 {
    (SYSTEM.len() + prompt(0).len()) as u64 + 2 * 16 + 2 * 4_096
}

async fn agent(client: &Client, model: &str) -> String {
    client.agent_with(json!({"name": "a", "model": model, "system_prompt": SYSTEM})).await
}

/// A set whose every third case asks for something else.
async fn set(client: &Client, cases: usize) -> String {
    let expected = |n: usize| if n.is_multiple_of(3) { "else".to_owned() } else { word(n) };
    let case = |n: usize| json!({"message": prompt(n), "validations": [{"exact": {"expected": expected(n)}}]});
    let body = json!({"name": "set", "items": (0..cases).map(case).collect::<Vec<Value>>()}).to_string();
    let (status, made) = client.send("POST", "/v1/test_sets", "", body).await.unwrap();
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// What a call that is answered costs: that of a run that nobody killed.
async fn cost_of_one(client: &Client, agent: &str, n: usize) -> u64 {
    let body = json!({"message": prompt(n)}).to_string();
    let (status, run) = client.send("POST", &format!("/v1/agents/{agent}/runs?wait=20"), "", body).await.unwrap();
    assert_eq!((status, &run["usage"]["model_calls"]), (200, &json!(1)), "{run}");
    run["cost_micro_usd"].as_u64().unwrap()
}

/// Starts it as a careful caller does, and answers its path once it is there.
pub(crate) async fn started(client: &Client, set: &str, agents: &[String]) -> String {
    let configurations: Vec<Value> = agents.iter().map(|agent| json!({"agent_id": agent})).collect();
    let body = json!({"configurations": configurations}).to_string();
    client.insist(&format!("/v1/test_sets/{set}/evaluations"), "once", &body).await;
    loop {
        if let Ok(list) = client.get("/v1/evaluations").await {
            let all = list["data"].as_array().unwrap();
            assert_eq!(all.len(), 1, "one, however often it was asked for");
            return format!("/v1/evaluations/{}", all[0]["id"].as_str().unwrap());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn ended(client: &Client, path: &str) -> Value {
    for _ in 0..1_200 {
        match client.get(path).await {
            Ok(seen) if seen["terminal"] == true => return seen,
            Ok(_) | Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("{path} does not end");
}

pub(crate) async fn cells(client: &Client, path: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}/results{after}")).await.unwrap();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_after"].as_u64() {
            Some(last) => after = format!("?after={last}"),
            None => return all,
        }
    }
}

/// Whether all that is told follows from what is known: attempts, costs, verdicts and figures.
fn check(ended: &Value, cells: &[Value], cases: usize, costs: &[u64], served: &Served) -> u64 {
    let (number, mut killed) = (costs.len(), 0);
    assert_eq!(cells.len(), cases * number);
    let mut sums = vec![(0_u64, 0_u64, 0_u64); number];
    for (index, cell) in cells.iter().enumerate() {
        let (case, configuration) = (index / number, index % number);
        let right = !case.is_multiple_of(3);
        assert_eq!(cell["verdict"], if right { "correct" } else { "wrong" }, "{cell}");
        let attempts = cell["usage"]["model_calls"].as_u64().unwrap();
        let cost = costs[configuration] + (attempts - 1) * lost();
        assert_eq!(cell["cost_micro_usd"], cost, "{cell}");
        let sum = &mut sums[configuration];
        *sum = (sum.0 + u64::from(right), sum.1 + attempts, sum.2 + cost);
        killed += attempts - 1;
    }
    for (told, (correct, attempts, cost)) in ended["configurations"].as_array().unwrap().iter().zip(sums) {
        let seen = json!([told["correct"], told["attempts"], told["cost_micro_usd"]]);
        assert_eq!(seen, json!([correct, attempts, cost]), "{told}");
        let price = told["price_per_correct_micro_usd"].as_f64().unwrap();
        assert!((price - cost as f64 / correct as f64).abs() < 1e-6, "{told}");
    }
    for n in 0..cases {
        let counted: u64 =
            cells[n * number..][..number].iter().map(|cell| cell["usage"]["model_calls"].as_u64().unwrap()).sum();
        let called = served.model.calls_with(&prompt(n));
        assert!((number as u64..=counted).contains(&called), "{n}: {called} calls, {counted} counted");
    }
    killed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_evaluation_counts_every_attempt_and_comes_to_what_is_known() {
    // Lives in which a run can get on, also on a busy machine: ten that end before it does are taken for its fault.
    let (cases, kills, life_ms) = by_form((60, 4, (30, 250)), (600, 25, (200, 900)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    served.kill();
    served.start_with(&[("MUSTER_PRICES", PRICES)]).await;
    let client = served.client.clone();
    let (mut agents, mut costs) = (Vec::new(), Vec::new());
    for model in ["openai/fake-l50", "openai/fake-l30-j50"] {
        let agent = agent(&client, model).await;
        costs.push(cost_of_one(&client, &agent, 9_999).await);
        agents.push(agent);
    }
    let set = set(&client, cases).await;
    let starting = tokio::spawn({
        let client = client.clone();
        async move { started(&client, &set, &agents).await }
    });
    for _ in 0..kills {
        sleep(Duration::from_millis(random.between(life_ms.0, life_ms.1))).await;
        served.kill();
        served.start_with(&[("MUSTER_PRICES", PRICES)]).await;
    }
    let path = starting.await.unwrap();
    let ended = ended(&client, &path).await;
    let cells = cells(&client, &path).await;
    let killed = check(&ended, &cells, cases, &costs, &served);
    println!("{kills} kills, {} cells, {killed} attempts killed", cells.len());
    served.kill();
    served.start_again(None).await;
    assert_eq!(client.get(&path).await.unwrap(), ended, "the same after a crash");
}

/// Dies between any two writes: of what it stages and its acceptance, of that and its messages, of verdicts, and of those and what they come to.
#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn no_point_of_an_evaluation_is_one_where_it_is_lost() {
    let cases = 230;
    for (point, pass) in [("E1", 1), ("E2", 1), ("E3", 1), ("E3", 2), ("E3", 5), ("E4", 1)] {
        let mut served = Served::start().await;
        let client = served.client.clone();
        let agents = [agent(&client, "demo/scripted-l0").await, agent(&client, "openai/fake").await];
        let set = set(&client, cases).await;
        served.kill();
        served.start_again(Some(&format!("{point}:abort:{pass}"))).await;
        let going = tokio::spawn({
            let client = client.clone();
            async move {
                let path = started(&client, &set, &agents).await;
                (ended(&client, &path).await, path)
            }
        });
        assert!(!served.dies().await.success(), "{point} was not passed");
        served.start_again(None).await;
        let (ended, path) = going.await.unwrap();
        let told: Vec<Value> =
            ended["configurations"].as_array().unwrap().iter().map(|one| one["correct"].clone()).collect();
        assert_eq!(told, [json!(0), json!(153)], "{point}:{pass}");
        let verdicts: Vec<Value> = cells(&client, &path).await.iter().map(|cell| cell["verdict"].clone()).collect();
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == "correct").count(), 153, "{point}:{pass}");
        assert_eq!(verdicts.len(), 2 * cases);
    }
}

/// Dies while the change is tried: nothing is changed by that, and the same change goes on with the same evaluation afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_process_dies_while_its_change_is_tried_is_changed_afterwards() {
    let mut served = Served::start().await;
    let client = served.client.clone();
    let agent = agent(&client, "demo/scripted-l0").await;
    let set = set(&client, 30).await;
    let path = format!("/v1/agents/{agent}");
    let gate = format!("{path}?gate={set}&min_correctness=0.66");
    let change = json!({"model": "openai/fake-l400"}).to_string();
    let before = client.get(&path).await.unwrap();
    let trying = tokio::spawn({
        let (client, gate, change) = (client.clone(), gate.clone(), change.clone());
        async move { client.send("PATCH", &gate, "", change).await }
    });
    let found = loop {
        let list = client.get("/v1/evaluations").await.unwrap();
        match list["data"].as_array().unwrap().as_slice() {
            [one] => break one.clone(),
            _ => sleep(Duration::from_millis(5)).await,
        }
    };
    served.kill();
    assert!(trying.await.unwrap().is_err(), "it had not ended");
    served.start_again(None).await;
    assert_eq!(client.get(&path).await.unwrap(), before);
    assert_eq!(found["metadata"], json!({"gate": agent}));
    let again = format!("{gate}&gate_evaluation={}", found["id"].as_str().unwrap());
    let (status, made) = client.send("PATCH", &again, "", change).await.unwrap();
    assert_eq!(json!([status, made["version"], made["model"]]), json!([200, 2, "openai/fake-l400"]), "{made}");
    let all = client.get("/v1/evaluations").await.unwrap();
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
}
