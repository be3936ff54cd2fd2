//! An evaluation whose answers a judge scores, while the process is killed: before its judges' runs are accepted, behind that, while they are under
//! way, and while verdicts are written. Each answer is scored once, and nothing is lost.

use serde_json::{Value, json};

use crate::{
    by_form,
    evaluation::{cells, ended, started},
    random::Random,
    served::Served,
};

const AGENT: &str = "openai/fake-l20-j30";
const JUDGE: &str = "fake-y-l20-j30";

fn message(n: usize) -> String {
    format!("say {n} to Oslo")
}

/// What the judge is told, word by word.
fn judged(n: usize, criteria: &str) -> String {
    format!(r#"{{"task":"{}","result":"{n} to Oslo","criteria":"{criteria}"}}"#, message(n))
}

/// The judge of the model server gives 10 when the answer contains the criteria, and 1 when not.
fn criteria(n: usize) -> [&'static str; 2] {
    if n.is_multiple_of(3) { ["to Oslo", "to Rome"] } else { ["to Oslo", "Os"] }
}

fn case(n: usize) -> Value {
    let model = json!({"provider_id": "openai", "model_name": JUDGE});
    let judge = |criteria: &str| json!({"llm_v0": {"llm0": {"llm_criteria": criteria, "model_reference": model}}});
    json!({"message": message(n), "validations": criteria(n).map(judge)})
}

/// A set and an agent to try with it.
async fn prepared(served: &Served, cases: usize) -> (String, [String; 1]) {
    let body = json!({"name": "set", "items": (0..cases).map(case).collect::<Vec<Value>>()}).to_string();
    let (status, set) = served.client.send("POST", "/v1/test_sets", "", body).await.unwrap();
    assert_eq!(status, 201, "{set}");
    let agent = served.client.agent_with(json!({"name": "a", "model": AGENT, "system_prompt": "You answer."})).await;
    (set["id"].as_str().unwrap().to_owned(), [agent])
}

/// Whether every verdict is as it must be, and how many calls of the judge there were beyond those needed.
async fn check(served: &Served, path: &str, ended: &Value, cases: usize) -> u64 {
    let told = &ended["configurations"][0];
    let right = (0..cases).filter(|n| !n.is_multiple_of(3)).count();
    assert_eq!(told["correct"], right, "{ended}");
    let cells = cells(&served.client, path).await;
    assert_eq!(cells.len(), cases);
    let (mut of_judge, mut beyond) = (0, 0);
    for (n, cell) in cells.iter().enumerate() {
        let verdict = if n.is_multiple_of(3) { "wrong" } else { "correct" };
        assert_eq!(cell["verdict"], verdict, "{cell}");
        for criteria in criteria(n) {
            let calls = served.model.calls_with(&judged(n, criteria));
            assert!(calls >= 1, "{n} is judged by '{criteria}'");
            of_judge += calls;
            beyond += calls - 1;
        }
    }
    let used = served.client.get("/v1/usage?group_by=purpose").await.unwrap();
    let entries = used["data"].as_array().unwrap().iter();
    let of_judges = entries.filter(|entry| entry["purpose"] == "judge");
    let counted: u64 = of_judges.map(|entry| entry["model_calls"].as_u64().unwrap()).sum();
    assert!(of_judge <= counted, "{of_judge} calls of the judge, {counted} counted");
    let batches = served.client.get("/v1/batches").await.unwrap();
    assert_eq!(batches["data"].as_array().unwrap().len(), 2, "one of runs and one of judges: {batches}");
    beyond
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_judged_whenever_the_process_is_killed() {
    let (cases, kills, life_ms) = by_form((110, 6, (50, 400)), (500, 30, (200, 900)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let client = served.client.clone();
    let (set, agents) = prepared(&served, cases).await;
    let going = tokio::spawn(async move {
        let path = started(&client, &set, &agents).await;
        (ended(&client, &path).await, path)
    });
    served.killed_at_random(&mut random, kills, life_ms).await;
    let (ended, path) = going.await.unwrap();
    let beyond = check(&served, &path, &ended, cases).await;
    println!("{kills} kills, {cases} answers judged twice each, {beyond} more calls of the judge than needed");
}

/// Dies before the judge's runs are accepted, behind that, and between rows of verdicts.
#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn no_point_of_the_judges_phase_is_one_where_it_is_lost() {
    let cases = 110;
    for (point, pass) in [("E5", 1), ("E6", 1), ("E3", 1), ("E4", 1)] {
        let mut served = Served::start().await;
        let client = served.client.clone();
        let (set, agents) = prepared(&served, cases).await;
        served.kill();
        served.start_again(Some(&format!("{point}:abort:{pass}"))).await;
        let going = tokio::spawn(async move {
            let path = started(&client, &set, &agents).await;
            (ended(&client, &path).await, path)
        });
        assert!(!served.dies().await.success(), "{point} was not passed");
        served.start_again(None).await;
        let (ended, path) = going.await.unwrap();
        let beyond = check(&served, &path, &ended, cases).await;
        assert_eq!(beyond, 0, "{point}:{pass}");
    }
}
