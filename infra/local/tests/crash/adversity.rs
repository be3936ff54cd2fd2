//! Processes to which everything that may happen does: messages doubled and lost, a store that refuses, stays silent and is written by others,
//! workers that hand on after every step, and a run that kills its worker. The model and tool servers are the witnesses.

use std::time::{Duration, Instant};

use model_server::Tools;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, served::Served, tools};

/// What the processes of these tests are told besides: who lost a lease is missed soon.
const LEASE: (&str, &str) = ("MUSTER_LEASE_MS", "3000");

/// A process in adversity, a tool server, and an agent with a tool of that policy, which its model is told to call so often.
struct Hard {
    served: Served,
    tools: Tools,
    agent: String,
    rounds: u64,
}

impl Hard {
    async fn start(adversity: &str, policy: &str, rounds: u64) -> Self {
        let mut served = Served::start().await;
        let tools = Tools::start().await.unwrap();
        let agent = tools::agent(&served, &tools, policy, "openai/fake-l20-j30").await;
        served.kill();
        served.start_with(&[LEASE, ("MUSTER_ADVERSITY", adversity)]).await;
        Self { served, tools, agent, rounds }
    }

    /// Asks for so many runs, half of them in a batch, until each is accepted; 503 is no answer.
    async fn ask(&self, runs: usize) {
        let calls: Vec<String> = (0..self.rounds).map(|n| format!("call act {{\"city\": \"{n}\"}}")).collect();
        let message = |n: usize| json!({"message": format!("Do {n}.\n{}", calls.join("\nthen\n"))});
        let alone = runs / 2;
        let items: Vec<Value> = (alone..runs).map(message).collect();
        self.insist("batches", "batch", &json!({ "items": items })).await;
        for n in 0..alone {
            self.insist("runs", &format!("run {n}"), &message(n)).await;
        }
    }

    async fn insist(&self, what: &str, key: &str, body: &Value) {
        let path = format!("/v1/agents/{}/{what}", self.agent);
        loop {
            match self.served.client.send("POST", &path, key, body.to_string()).await.unwrap() {
                (200 | 202, _) => return,
                (409 | 503, _) => sleep(Duration::from_millis(50)).await,
                (status, answer) => panic!("{path}: {status}: {answer}"),
            }
        }
    }

    /// Waits until so many runs have ended.
    async fn all_ended(&self, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let runs = self.runs().await;
            if runs.len() == count && runs.iter().all(|run| run["terminal"] == true) {
                return runs;
            }
            assert!(
                started.elapsed() < Duration::from_secs(by_form(180, 600)),
                "they do not end: {}",
                self.served.log()
            );
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Every run. What a store in adversity does not answer is asked for again.
    async fn runs(&self) -> Vec<Value> {
        let (mut runs, mut path) = (Vec::new(), "/v1/runs?limit=100".to_owned());
        loop {
            let (status, page) = self.served.client.send("GET", &path, "", String::new()).await.unwrap();
            if status == 503 {
                continue;
            }
            assert_eq!(status, 200, "{page}");
            runs.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/runs?limit=100&after={cursor}"),
                None => return runs,
            }
        }
    }

    /// Checks that all are done and every call took effect once, and prints the row. Answers the model calls beyond one a slot.
    fn check(&self, what: &str, runs: &[Value], took: Duration) -> u64 {
        for run in runs {
            assert_eq!(run["status"], "done", "{run}");
        }
        let effects = tools::effects(&self.tools);
        let (count, calls) = (runs.len() as u64, self.served.model.stats().calls);
        let twice = effects.values().filter(|times| **times > 1).count();
        assert_eq!((effects.len() as u64, twice), (count * self.rounds, 0), "each effect once");
        let beyond = calls - count * (self.rounds + 1);
        println!("| {what} | {count} | {} | {twice} | {calls} | {beyond} | {} ms |", effects.len(), took.as_millis());
        beyond
    }
}

fn head() {
    println!("| what | runs done | effects | of them twice | model calls | beyond one a slot | time |");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_five_times_is_worked_on_once() {
    let count = by_form(60, 500);
    let hard = Hard::start("twice", "idempotent", 2).await;
    let began = Instant::now();
    hard.ask(count).await;
    let runs = hard.all_ended(count).await;
    head();
    assert_eq!(hard.check("R3: messages twice, a fifth five times", &runs, began.elapsed()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_lost_is_made_up_for() {
    let count = by_form(60, 500);
    let hard = Hard::start(by_form("lost=20", "lost=20,yields"), "idempotent", 2).await;
    let began = Instant::now();
    hard.ask(count).await;
    let runs = hard.all_ended(count).await;
    head();
    assert_eq!(hard.check("R4: a fifth of the messages lost", &runs, began.elapsed()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_loses_nothing_and_repeats_no_effect() {
    let count = by_form(60, 500);
    head();
    // There are no retries below the core here, as the DynamoDB backend has them: a fifth is more than a caller ever sees of it.
    let hard = by_form(
        ("R5: 3 % refused, 3 % silent, 5 % conflicts", "throttled=3,unanswered=3,conflicts=5"),
        ("R5: 10 % refused, 10 % silent, 5 % conflicts", "throttled=10,unanswered=10,conflicts=5"),
    );
    for (what, adversity) in [("R5: a store that does not fail", ""), hard] {
        let hard = Hard::start(adversity, "idempotent", 2).await;
        let began = Instant::now();
        hard.ask(count).await;
        let runs = hard.all_ended(count).await;
        hard.check(what, &runs, began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_hands_on_after_every_step_gets_there() {
    let count = by_form(10, 50);
    let hard = Hard::start("yields", "idempotent", 20).await;
    let began = Instant::now();
    hard.ask(count).await;
    let runs = hard.all_ended(count).await;
    head();
    assert_eq!(hard.check("R6: handed on after every step", &runs, began.elapsed()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_kills_its_worker_is_given_up_and_the_others_end() {
    let count = 100;
    let settings = [LEASE, ("MUSTER_ADVERSITY", "poison=hemlock")];
    let mut served = Served::start().await;
    let agent = served.client.agent("openai/fake-l50-j100").await;
    served.kill();
    served.start_with(&settings).await;
    let items: Vec<Value> = (0..count).map(|n| json!({"message": format!("Say {n}.")})).collect();
    let mut requests = vec![("batches", json!({ "items": items }).to_string())];
    requests.push(("runs", json!({"message": "Drink the hemlock.", "metadata": {"is": "poison"}}).to_string()));
    for (what, body) in requests {
        let path = format!("/v1/agents/{agent}/{what}");
        while !matches!(served.client.send("POST", &path, what, body.clone()).await, Ok((202, _))) {
            served.revive(&settings).await;
        }
    }
    let (mut deaths, started) = (0, Instant::now());
    let runs = loop {
        deaths += usize::from(served.revive(&settings).await);
        if let Ok(runs) = served.client.runs().await
            && runs.len() == count + 1
            && runs.iter().all(|run| run["terminal"] == true)
        {
            break runs;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{deaths} deaths");
        sleep(Duration::from_millis(20)).await;
    };
    let (poison, others): (Vec<&Value>, Vec<&Value>) = runs.iter().partition(|run| run["metadata"]["is"] == "poison");
    assert_eq!(json!([poison[0]["status"], poison[0]["reason"]]), json!(["error", "worker_crash_loop"]));
    assert!(others.iter().all(|run| run["status"] == "done"), "{others:?}");
    println!("| R8: runs | done | given up | deaths of the process |");
    println!("| {} | {} | 1 | {deaths} |", runs.len(), others.len());
    assert!((1..=12).contains(&deaths), "{deaths}");
}
