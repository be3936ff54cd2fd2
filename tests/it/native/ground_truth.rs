//! An evaluation of which everything is known beforehand: what each model says, fails at and is billed for, which attempts are retried, which
//! workers are killed. What it says must be exactly that: the matrix, the attempts, the costs, the price per correct answer, its interval.
//!
//! What is expected is computed here, from nothing that Muster computes: tokens are what the model server bills for a request of the same
//! length, or what is documented of an attempt whose end nobody knows; the interval is the solution of the equation that defines it.

use serde_json::{Value, json};
use shared::engine;

use super::evaluations::{cells, started};
use crate::{
    harness::{Muster, on_every_backend, text},
    reaper::LEASE_AND_MORE_MS,
};

on_every_backend!(what_an_evaluation_says_is_what_is_known_beforehand);

const SYSTEM: &str = "You answer.";
/// What a model may write, and what a lost attempt counts for: as documented.
const MOST_TOKENS: u64 = 4_096;
/// What the model server bills for an answer of twelve words.
const ANSWER_TOKENS: u64 = 12;

/// What is known of a cell: its verdict, attempts, input and output tokens.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    verdict: &'static str,
    attempts: u64,
    input: u64,
    output: u64,
}

/// The words that models are told to say, all of the same length, and what is asked of them.
fn cases() -> Vec<(&'static str, Value)> {
    let schema = json!({"type": "object", "required": ["a"]});
    let pattern = |pattern: &str| json!({"content_match": {"pattern": pattern}});
    vec![
        ("Helsinki", json!([{"exact": {"expected": "Helsinki"}}])),
        ("Brussels", json!([{"exact": {"expected": "Paris"}}])),
        ("Oslo 042", json!([pattern("^Oslo [0-9]+$"), {"exact": {"expected": "Oslo 042"}}])),
        (r#"{"a": 1}"#, json!([{"json_schema": {"schema": schema}}])),
        ("Salzburg", json!([pattern("Salzburg"), pattern("Vienna")])),
        (r#"{"b": 1}"#, json!([{"json_schema": {"schema": schema}}])),
        ("scripted", json!([pattern("scripted")])),
    ]
}

/// A prompt that tells the model to say the word: as JSON, each is as long as the others.
fn prompt(word: &str) -> String {
    let written = json!(word).to_string().len();
    format!("say {word}\n{}", ".".repeat(30 - written))
}

/// The most that a call with this prompt may use, which is what a lost attempt counts for: a token a byte, 16 tokens for each of two turns.
fn reserved(word: &str) -> u64 {
    (SYSTEM.len() + prompt(word).len()) as u64 + 2 * 16
}

async fn agent(muster: &Muster, model: &str, schema: Value) -> String {
    let body = json!({"name": model, "model": model, "system_prompt": SYSTEM, "output_schema": schema});
    text(&muster.us.post("/v1/agents", body).await.status(201), "id")
}

/// What one run of that agent uses for a prompt of this length: attempts, input and output tokens.
async fn measured(muster: &Muster, agent: &str, word: &str) -> (u64, u64, u64) {
    let run = muster.us.run(agent, &prompt(word)).await;
    muster.drain().await;
    let usage = muster.us.get(&format!("/v1/runs/{run}")).await.ok()["usage"].clone();
    let of = |field: &str| usage[field].as_u64().unwrap();
    (of("model_calls"), of("input_tokens"), of("output_tokens"))
}

/// A configuration: its agent, and what is known of each of its cells.
struct Configuration {
    agent: String,
    cells: Vec<Known>,
    /// What a cell costs, in micro-USD, of its input and output tokens; `None` when nobody knows.
    cost: fn(u64, u64) -> Option<u64>,
}

/// The verdicts on a model that says what it is told to say.
const PASSED: [&str; 7] = ["correct", "wrong", "correct", "correct", "wrong", "wrong", "correct"];

/// A micro-USD for an input token, two for one of output.
const fn priced(input: u64, output: u64) -> Option<u64> {
    Some(input + 2 * output)
}

impl Configuration {
    fn new(agent: String, cost: fn(u64, u64) -> Option<u64>, cell: impl Fn(usize, &str) -> Known) -> Self {
        let cells = cases().iter().enumerate().map(|(number, (word, _))| cell(number, word)).collect();
        Self { agent, cells, cost }
    }

    fn cost_of(&self, cell: &Known) -> Option<u64> {
        (self.cost)(cell.input, cell.output)
    }

    fn correct(&self) -> usize {
        self.cells.iter().filter(|cell| cell.verdict == "correct").count()
    }

    fn costs(&self) -> Option<u64> {
        self.cells.iter().map(|cell| self.cost_of(cell)).sum()
    }

    /// What a correct answer costs; infinite when there is none.
    fn price(&self) -> Option<f64> {
        self.costs().map(|cost| if self.correct() == 0 { f64::INFINITY } else { cost as f64 / self.correct() as f64 })
    }

    /// Whether it is at least as good as the other in both, and better in one.
    fn beats(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (self.price(), other.price()) else { return false };
        self.correct() >= other.correct() && ours <= theirs && (self.correct() > other.correct() || ours < theirs)
    }
}

/// One that answers each time.
async fn answering(muster: &Muster, model: &str, cost: fn(u64, u64) -> Option<u64>) -> Configuration {
    let agent = agent(muster, model, Value::Null).await;
    let (attempts, input, output) = measured(muster, &agent, "Budapest").await;
    assert_eq!((attempts, output), (1, ANSWER_TOKENS));
    Configuration::new(agent, cost, |number, _| Known { verdict: PASSED[number], attempts, input, output })
}

/// One that must answer with an object: what is none is asked for once more, and then the run fails.
async fn strict(muster: &Muster) -> Configuration {
    let agent = agent(muster, "openai/fake", json!({"type": "object"})).await;
    let right = measured(muster, &agent, r#"{"c": 1}"#).await;
    let failed = measured(muster, &agent, "Budapest").await;
    assert_eq!((right.0, right.2, failed.0, failed.2), (1, ANSWER_TOKENS, 2, 2 * ANSWER_TOKENS));
    Configuration::new(agent, priced, |number, word| {
        let is = word.starts_with('{');
        let (attempts, input, output) = if is { right } else { failed };
        Known { verdict: if is { PASSED[number] } else { "no_answer" }, attempts, input, output }
    })
}

/// One whose first attempt fails each time, which costs nothing.
async fn failing(muster: &Muster) -> Configuration {
    let agent = agent(muster, "openai/fake-e1", Value::Null).await;
    let (attempts, input, output) = measured(muster, &agent, "Budapest").await;
    assert_eq!((attempts, output), (2, ANSWER_TOKENS));
    Configuration::new(agent, priced, |number, _| Known { verdict: PASSED[number], attempts, input, output })
}

/// One whose first attempt is cut off each time, which may have been billed.
async fn cut_off(muster: &Muster) -> Configuration {
    let agent = agent(muster, "openai/fake-l20-r1", Value::Null).await;
    let (attempts, input, output) = measured(muster, &agent, "Budapest").await;
    assert_eq!((attempts, output), (2, ANSWER_TOKENS + MOST_TOKENS));
    let answered = input - reserved("Budapest");
    Configuration::new(agent, priced, |number, word| Known {
        verdict: PASSED[number],
        attempts,
        input: answered + reserved(word),
        output,
    })
}

/// One whose quota is used up: it costs nothing, and nothing is correct.
async fn poor(muster: &Muster) -> Configuration {
    let agent = agent(muster, "openai/fake-q", Value::Null).await;
    assert_eq!(measured(muster, &agent, "Budapest").await, (1, 0, 0));
    let none = |_: usize, _: &str| Known { verdict: "no_answer", attempts: 1, input: 0, output: 0 };
    Configuration::new(agent, |_, _| Some(0), none)
}

/// The scripted model: its tokens are a quarter of the bytes, rounded up.
async fn scripted(muster: &Muster) -> Configuration {
    let agent = agent(muster, "demo/scripted-l0", Value::Null).await;
    let cost = |input: u64, output: u64| Some((input * 250_000 + output * 2_000_000).div_ceil(1_000_000));
    Configuration::new(agent, cost, |number, word| {
        let words = prompt(word).split_whitespace().collect::<Vec<_>>().join(" ");
        let count = words.split(' ').count();
        let said = format!(
            "[scripted answer: no model was asked] Your message has {count} words in 2 lines and begins: \"{words}\""
        );
        let input = ((SYSTEM.len() + prompt(word).len()) as u64).div_ceil(4);
        let verdict = if number == 6 { "correct" } else { "wrong" };
        Known { verdict, attempts: 1, input, output: (said.len() as u64).div_ceil(4) }
    })
}

/// One whose workers are killed while it answers, once for each case.
async fn killed(muster: &Muster) -> Configuration {
    let agent = agent(muster, "openai/fake-l500", Value::Null).await;
    let (attempts, input, output) = measured(muster, &agent, "Budapest").await;
    assert_eq!((attempts, output), (1, ANSWER_TOKENS));
    Configuration::new(agent, priced, |number, word| Known {
        verdict: PASSED[number],
        attempts: 2,
        input: input + reserved(word),
        output: output + MOST_TOKENS,
    })
}

/// Which of the configurations asks no model server.
const SCRIPTED: usize = 6;

/// Runs all of it; the workers of the last configuration are killed when all of its calls are under way.
async fn run_and_kill(muster: &Muster, path: &str) {
    for _ in 0..7 {
        let chunk = muster.receive().await;
        engine::work_on(&muster.app, chunk, None).await.unwrap();
    }
    let (app, chunk) = (muster.app.clone(), muster.receive().await);
    let worker = tokio::spawn(async move { engine::work_on(&app, chunk, None).await });
    while muster.models.stats().in_flight < 7 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    assert_eq!(muster.us.get(path).await.ok()["status"], "running");
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 7);
    muster.drain().await;
}

/// The bounds of p with (p̂ − p)² = z² p (1 − p) ÷ n: those at which a true share is just not refuted with 95 %.
fn interval(correct: f64, cases: f64) -> (f64, f64) {
    let z = 1.959_963_984_540_054_f64;
    let (share, spread) = (correct / cases, z * z / cases);
    let (a, b, c) = (1.0 + spread, -(2.0 * share + spread), share * share);
    let root = (b * b - 4.0 * a * c).sqrt();
    (((-b - root) / (2.0 * a)).max(0.0), ((-b + root) / (2.0 * a)).min(1.0))
}

fn near(found: &Value, expected: f64) -> bool {
    (found.as_f64().unwrap() - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

/// The value at rank ⌈percent ÷ 100 × number⌉.
fn percentile(mut took: Vec<u64>, percent: usize) -> u64 {
    took.sort_unstable();
    took[(took.len() * percent).div_ceil(100) - 1]
}

/// Each cell is as it is known, and the model server has seen as many calls.
fn check_cells(muster: &Muster, all: &[Value], known: &[Configuration]) {
    let mut asked = 0;
    for (index, cell) in all.iter().enumerate() {
        let (case, configuration) = (index / known.len(), &known[index % known.len()]);
        let usage = |field: &str| cell["usage"][field].as_u64().unwrap();
        let (attempts, input, output) = (usage("model_calls"), usage("input_tokens"), usage("output_tokens"));
        let expected = &configuration.cells[case];
        let verdict = expected.verdict;
        assert_eq!(Known { verdict, attempts, input, output }, *expected, "{cell}");
        assert_eq!(cell["verdict"], verdict, "{cell}");
        assert_eq!(cell["cost_micro_usd"].as_u64(), configuration.cost_of(expected), "{cell}");
        assert_eq!(cell["error"].is_string(), verdict == "no_answer", "{cell}");
        assert_eq!(cell["findings"] == json!([]), verdict != "wrong", "{cell}");
        asked += if index % known.len() == SCRIPTED { 0 } else { attempts };
    }
    assert_eq!((all.len(), muster.models.stats().calls), (7 * known.len(), asked));
}

/// What is told of a configuration follows from what is known of its cells.
fn check_figures(told: &Value, known: &Configuration) {
    let (correct, costs) = (known.correct(), known.costs());
    assert_eq!(told["correct"], correct, "{told}");
    assert_eq!(told["attempts"], known.cells.iter().map(|cell| cell.attempts).sum::<u64>(), "{told}");
    assert_eq!((told["cost_micro_usd"].as_u64(), &told["judge_cost_micro_usd"]), (costs, &json!(0)), "{told}");
    let done = known.cells.iter().filter(|cell| cell.verdict != "no_answer").count();
    assert_eq!(json!([told["counts"]["done"], told["counts"]["error"]]), json!([done, 7 - done]));
    let (low, high) = interval(correct as f64, 7.0);
    assert!(near(&told["correctness"], correct as f64 / 7.0), "{told}");
    let bounds = &told["correctness_interval"];
    assert!(near(&bounds["low"], low) && near(&bounds["high"], high), "{told}");
    let bounds = &told["price_per_correct_interval"];
    match (costs, correct) {
        (Some(cost), 1..) => {
            assert!(near(&told["price_per_correct_micro_usd"], cost as f64 / correct as f64), "{told}");
            let each = cost as f64 / 7.0;
            assert!(near(&bounds["low"], each / high) && near(&bounds["high"], each / low), "{told}");
            assert_eq!(told["no_price_reason"], Value::Null);
        }
        (cost, _) => {
            let reason = if cost.is_some() { "nothing_correct" } else { "unknown_price" };
            let seen = json!([told["price_per_correct_micro_usd"], bounds, told["no_price_reason"]]);
            assert_eq!(seen, json!([null, null, reason]));
        }
    }
}

async fn what_an_evaluation_says_is_what_is_known_beforehand(muster: Muster) {
    let known = [
        answering(&muster, "openai/fake", priced).await,
        answering(&muster, "openai/fake-l1", |_, _| None).await,
        strict(&muster).await,
        failing(&muster).await,
        cut_off(&muster).await,
        poor(&muster).await,
        scripted(&muster).await,
        killed(&muster).await,
    ];
    let item = |(word, validations): (&str, Value)| json!({"message": prompt(word), "validations": validations});
    let set = json!({"name": "ground truth", "items": cases().into_iter().map(item).collect::<Vec<Value>>()});
    let set = text(&muster.us.post("/v1/test_sets", set).await.status(201), "id");
    muster.models.reset();
    let configurations: Vec<Value> = known.iter().map(|one| json!({"agent_id": one.agent})).collect();
    let path = started(&muster.us, &set, json!(configurations)).await;
    run_and_kill(&muster, &path).await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(json!([ended["status"], ended["cost_micro_usd"]]), json!(["done", null]), "a price is not known");
    let all = cells(&muster.us, &path, 100).await;
    check_cells(&muster, &all, &known);
    assert_eq!(known.iter().map(Configuration::correct).collect::<Vec<_>>(), [4, 4, 1, 4, 4, 0, 1, 4]);
    for (number, of) in known.iter().enumerate() {
        let told = &ended["configurations"][number];
        check_figures(told, of);
        let took = all.iter().filter(|cell| cell["configuration"] == number);
        let took: Vec<u64> = took.map(|cell| cell["run_ms"].as_u64().unwrap()).collect();
        let percentiles = json!([percentile(took.clone(), 50), percentile(took, 95)]);
        assert_eq!(json!([told["p50_ms"], told["p95_ms"]]), percentiles);
        let unbeaten = of.price().map(|_| !known.iter().any(|other| other.beats(of)));
        assert_eq!(told["unbeaten"], json!(unbeaten), "{told}");
    }
    // Who is cut off or killed is as often correct, and dearer; of who has no price, nobody can say.
    let unbeaten = [0, 1, 4, 7].map(|number| ended["configurations"][number]["unbeaten"].clone());
    assert_eq!(unbeaten, [json!(true), Value::Null, json!(false), json!(false)]);
}
