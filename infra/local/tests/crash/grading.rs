//! Results that are graded while the process is killed: each is graded once, and says what it should.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, random::Random, served::Served};

const RUNS: usize = 50;
/// How long all may take to be graded after the last kill.
const PATIENCE: Duration = Duration::from_secs(60);

/// What run number `n` is asked for, and says: the model says what follows `say `.
fn message(n: usize) -> String {
    format!("say {n} to Oslo")
}

fn result(n: usize) -> String {
    format!("{n} to Oslo")
}

/// The judge of the model server finds a criterion met when the result contains it.
const CRITERIA: [(&str, bool); 3] = [("to Oslo", true), ("Rome", false), ("Os", true)];

/// What the judge is told, word by word.
fn judged(n: usize, criterion: &str) -> String {
    format!(r#"{{"task":"{}","result":"{}","criterion":"{criterion}"}}"#, message(n), result(n))
}

async fn agent(served: &Served) -> String {
    let criteria: Vec<&str> = CRITERIA.into_iter().map(|(criterion, _)| criterion).collect();
    let body = json!({
        "name": "witness", "description": "d", "systemPrompt": "s", "modelAlias": "openai/fake-y-l30-j50", "acceptanceCriteria": criteria,
    });
    let (status, made) = served.client.send("POST", "/api/agents", "", body.to_string()).await.unwrap();
    assert_eq!(status, 200, "{made}");
    format!("agent_{}", made["id"].as_str().unwrap())
}

async fn all_graded(served: &Served) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let runs = served.client.runs().await.unwrap();
        let open = runs.iter().filter(|run| run["evaluation"].is_null()).count();
        if runs.len() == RUNS && open == 0 {
            return runs;
        }
        assert!(started.elapsed() < PATIENCE, "{} runs, of them not graded: {open}", runs.len());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_graded_once_whenever_the_process_is_killed() {
    let (kills, life_ms) = by_form((10, (100, 500)), (50, (100, 1_000)));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let agent = agent(&served).await;
    let pause = Duration::from_millis((life_ms.0 + life_ms.1) / 2 * kills / RUNS as u64);
    let client = served.client.clone();
    let asking = tokio::spawn(async move {
        for n in 0..RUNS {
            let body = json!({"message": message(n), "metadata": {"n": n.to_string()}}).to_string();
            client.insist(&format!("/v1/agents/{agent}/runs"), &format!("run {n}"), &body).await;
            sleep(pause).await;
        }
    });
    served.killed_at_random(&mut random, kills, life_ms).await;
    asking.await.unwrap();
    let runs = all_graded(&served).await;

    let (mut of_agent, mut of_judge) = (0, 0);
    for run in &runs {
        let n: usize = run["metadata"]["n"].as_str().unwrap().parse().unwrap();
        assert_eq!((&run["status"], &run["result"]), (&json!("done"), &json!(result(n))), "{run}");
        let results = run["evaluation"]["results"].as_array().unwrap();
        let met: Vec<(&str, bool)> =
            results.iter().map(|one| (one["criterion"].as_str().unwrap(), one["met"].as_bool().unwrap())).collect();
        assert_eq!(met, CRITERIA, "{run}");
        assert_eq!(run["evaluation"]["score"], json!(2.0 / 3.0));
        of_agent += served.model.calls_with(&message(n));
        let calls: Vec<u64> =
            CRITERIA.iter().map(|(criterion, _)| served.model.calls_with(&judged(n, criterion))).collect();
        let extra = calls.iter().sum::<u64>() - CRITERIA.len() as u64;
        assert!(calls.iter().all(|calls| *calls >= 1) && extra <= kills, "{calls:?} calls for run {n}, {kills} kills");
        of_judge += calls.iter().sum::<u64>();
    }
    assert_eq!(served.model.stats().calls, of_agent + of_judge, "no call for anything else");
    let used = served.client.get("/v1/usage?group_by=purpose").await.unwrap();
    let counted = |purpose: &str| {
        let entries = used["data"].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["purpose"] == purpose)
            .map(|entry| entry["model_calls"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert!(
        of_agent <= counted("agent") && of_judge <= counted("judge"),
        "{of_agent} and {of_judge} calls, counted {used}"
    );
    let needed = (RUNS * CRITERIA.len()) as u64;
    println!(
        "{kills} kills, {RUNS} results graded, {} calls of the agent and {} of the judge beyond those needed",
        of_agent - RUNS as u64,
        of_judge - needed
    );
}
