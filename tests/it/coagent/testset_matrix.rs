//! What runs of test sets tell: a matrix that is known beforehand, and the same on every surface.

use serde_json::{Value, json};

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(the_matrix_is_what_is_known_beforehand, a_run_is_one_on_every_surface);

pub(super) const SETS: &str = "/api/v1/testsets";
pub(super) const SHORT: &str = "The capital of Norway is Oslo.";
pub(super) const LONG: &str =
    "The capital of Norway is Oslo.\nThe capital of Italy is Rome.\nThe capital of France is Paris.";
const QUESTIONS: [&str; 4] =
    ["Capital of Norway?", "Capital of Italy?", "Capital of France? One word.", "Capital of Spain?"];

/// An agent that looks answers up in its prompt, and its id.
pub(super) async fn knowing(client: &Client, prompt: &str) -> String {
    let body = json!({"name": "knows", "model": "demo/scripted-lookup-l0", "system_prompt": prompt});
    text(&client.post("/v1/agents", body).await.status(201), "id").replace("agent_", "")
}

/// The set of the questions; its id.
pub(super) async fn capitals(client: &Client) -> String {
    let pattern = |pattern: &str| json!({"kind": {"content_match": {"pattern": pattern}}});
    let exact = json!({"kind": {"exact": {"expected": "Paris"}}});
    let cases = json!([
        {"id": "no", "input": QUESTIONS[0], "validations": [pattern("Oslo")]},
        {"id": "it", "input": QUESTIONS[1], "validations": [pattern("Rome")]},
        {"input": QUESTIONS[2], "validations": [pattern("Paris"), exact]},
        {"id": "es", "input": QUESTIONS[3], "validations": [pattern("Madrid")]},
    ]);
    text(&client.post(SETS, json!({"name": "capitals", "cases": cases})).await.status(201), "id")
}

/// Starts a run of the set with this body, and answers its path.
pub(super) async fn started(client: &Client, set: &str, body: Value) -> String {
    let made = client.post(&format!("{SETS}/{set}/run"), body).await.status(201);
    format!("{SETS}/{set}/runs/{}", text(&made, "run_id"))
}

/// What a scripted model says to the questions, by its sentences: those with an answer to three, with one, and with none.
fn said(knows: usize) -> [String; 4] {
    let sentence = |question: usize| match (knows, question) {
        // One sentence is taken for an answer to everything that has words of it.
        (1, _) => SHORT.to_owned(),
        (3, 0..3) => LONG.lines().nth(question).unwrap().to_owned(),
        (3, _) => "My instructions do not say.".to_owned(),
        _ => {
            let words = QUESTIONS[question].split(' ').count();
            format!("Your message has {words} words in 1 line and begins: \"{}\"", QUESTIONS[question])
        }
    };
    std::array::from_fn(|question| format!("[scripted answer: no model was asked] {}", sentence(question)))
}

/// What an answer costs, in micro-USD: a token is four bytes, at 0.25 and 2 USD a million.
fn cost(prompt: &str, question: &str, answer: &str) -> usize {
    ((prompt.len() + question.len()).div_ceil(4) * 250_000 + answer.len().div_ceil(4) * 2_000_000).div_ceil(1_000_000)
}

/// What is known of a configuration beforehand.
struct Known {
    /// How it is told which agent, version, preamble and model it is.
    who: Value,
    prompt: &'static str,
    /// How many sentences of its prompt its model looks at.
    knows: usize,
    /// How many cases it passes: the first ones.
    correct: usize,
}

impl Known {
    /// What it costs together, in micro-USD.
    fn cost(&self) -> usize {
        QUESTIONS.iter().zip(&said(self.knows)).map(|(question, answer)| cost(self.prompt, question, answer)).sum()
    }

    /// What is told of its cell of that case, but for the run.
    fn cell(&self, case: usize, number: usize) -> Value {
        let right = case < self.correct;
        let pattern = match (case, self.knows) {
            (2, 3) => json!({"holds": true, "why_not": null}),
            _ => json!({"holds": false, "why_not": "the pattern does not match"}),
        };
        let exact = json!({"holds": false, "why_not": "the answer is another text"});
        let findings = match (right, case) {
            (true, _) => json!([]),
            (false, 2) => json!([pattern, exact]),
            (false, _) => json!([pattern]),
        };
        let output = &said(self.knows)[case];
        let cost_usd = cost(self.prompt, QUESTIONS[case], output) as f64 / 1e6;
        json!({
            "case": case, "case_id": json!(["no", "it", null, "es"])[case], "configuration": number,
            "verdict": if right { "correct" } else { "wrong" }, "findings": findings, "error": null, "output": output,
            "cost_usd": cost_usd, "judge_cost_usd": 0.0,
        })
    }

    /// What is told of it is that.
    fn check(&self, told: &Value) {
        let who = json!([told["agent_id"], told["agent_version"], told["preamble"], told["model_ref"]]);
        assert_eq!(who, self.who);
        let (correct, cost_usd) = (self.correct as f64, self.cost() as f64 / 1e6);
        let figures = json!([told["ended"], told["correct"], told["attempts"], told["correctness"], told["cost_usd"]]);
        assert_eq!(figures, json!([4, self.correct, 4, correct / 4.0, cost_usd]));
        assert!(near(&told["price_per_correct_usd"], (self.correct > 0).then(|| cost_usd / correct)), "{told}");
        assert_eq!(told["no_price_reason"], json!((self.correct == 0).then_some("nothing_correct")));
    }
}

async fn the_matrix_is_what_is_known_beforehand(muster: Muster) {
    let (set, agent) = (capitals(&muster.us).await, knowing(&muster.us, SHORT).await);
    let model = |name: &str| json!({"provider_id": "demo", "model_name": name});
    let (lookup, plain) = (model("scripted-lookup-l0"), model("scripted-l0"));
    let configurations = json!([
        {"agent_id": agent},
        {"agent_id": agent, "preamble": LONG},
        {"agent_id": format!("agent_{agent}"), "model_ref": plain},
        {"agent_id": agent, "preamble": LONG, "model_ref": plain},
        {"preamble": LONG, "model_ref": lookup},
    ]);
    let body = json!({"configurations": configurations, "max_concurrency": 10, "budget_usd": 1.5});
    let path = started(&muster.us, &set, body).await;
    muster.drain().await;
    let told = muster.us.get(&path).await.ok();
    let known = [
        Known { who: json!([agent, 1, null, lookup]), prompt: SHORT, knows: 1, correct: 1 },
        Known { who: json!([agent, null, LONG, lookup]), prompt: LONG, knows: 3, correct: 2 },
        Known { who: json!([agent, 1, null, plain]), prompt: SHORT, knows: 0, correct: 0 },
        Known { who: json!([agent, null, LONG, plain]), prompt: LONG, knows: 0, correct: 0 },
        Known { who: json!([null, null, LONG, lookup]), prompt: LONG, knows: 3, correct: 2 },
    ];
    for (number, of) in known.iter().enumerate() {
        of.check(&told["configurations"][number]);
    }
    let cells = told["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 20);
    for (index, mut cell) in cells.iter().cloned().enumerate() {
        assert!(cell["run_id"].as_str().unwrap().parse::<uuid::Uuid>().is_ok() && cell["run_ms"].is_u64(), "{cell}");
        cell.as_object_mut().unwrap().retain(|name, _| !["run_id", "run_ms"].contains(&name.as_str()));
        assert_eq!(cell, known[index % 5].cell(index / 5, index % 5));
    }
    // Two right answers of a long prompt cost less than twice the one of a short one; what is never right is beaten by all that is.
    assert!(known[1].cost() < 2 * known[0].cost());
    let unbeaten: Vec<&Value> = (0..5).map(|number| &told["configurations"][number]["unbeaten"]).collect();
    assert_eq!(json!(unbeaten), json!([false, true, false, false, true]));
    let head = ["status", "case_count", "max_concurrency", "budget_usd", "cost_usd", "judge_cost_usd"];
    let head: Vec<&Value> = head.iter().map(|field| &told[*field]).collect();
    let total = known.iter().map(Known::cost).sum::<usize>() as f64 / 1e6;
    assert_eq!(json!(head), json!(["done", 4, 10, 1.5, total, 0.0]));
    assert_eq!(format!("{SETS}/{}/runs/{}", text(&told, "testset_id"), text(&told, "run_id")), path);
    let at = (text(&told, "created_at"), text(&told, "ended_at"));
    assert!(at.0.ends_with('Z') && !at.0.contains('.') && at.1.len() == at.0.len(), "{at:?}");
    assert_eq!(muster.us.get("/api/v1/agents").await.ok()["agents"].as_array().unwrap().len(), 1, "and no copy");
    assert_eq!(muster.us.get(&path).await.ok(), told, "what has ended stays as it is");
}

/// Whether that is the number, but for how it is written; or none.
fn near(found: &Value, expected: Option<f64>) -> bool {
    match (found.as_f64(), expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected.abs(),
        (found, expected) => found.is_none() && expected.is_none(),
    }
}

/// What both surfaces tell of the same evaluation is the same.
async fn same(muster: &Muster, set: &str, id: &str) -> Value {
    let ours = muster.us.get(&format!("{SETS}/{set}/runs/{id}")).await.ok();
    let native = muster.us.get(&format!("/v1/evaluations/eval_{id}")).await.ok();
    let cells = muster.us.get(&format!("/v1/evaluations/eval_{id}/results")).await.ok()["data"].clone();
    let usd = |micro: &Value| micro.as_f64().map(|micro| micro / 1e6);
    assert_eq!(json!([ours["status"], ours["case_count"]]), json!([native["status"], native["cases"]]));
    assert_eq!(json!(ours["cost_usd"]), json!(usd(&native["cost_micro_usd"])));
    for (one, other) in
        ours["configurations"].as_array().unwrap().iter().zip(native["configurations"].as_array().unwrap())
    {
        for field in ["correct", "attempts", "correctness", "correctness_interval", "no_price_reason", "unbeaten"] {
            assert_eq!(one[field], other[field], "{field}");
        }
        assert_eq!(json!([one["p50_ms"], one["p95_ms"]]), json!([other["p50_ms"], other["p95_ms"]]));
        for (usds, micro) in [
            (&one["cost_usd"], &other["cost_micro_usd"]),
            (&one["judge_cost_usd"], &other["judge_cost_micro_usd"]),
            (&one["price_per_correct_usd"], &other["price_per_correct_micro_usd"]),
            (&one["price_per_correct_interval"]["low"], &other["price_per_correct_interval"]["low"]),
            (&one["price_per_correct_interval"]["high"], &other["price_per_correct_interval"]["high"]),
        ] {
            assert!(near(usds, usd(micro)), "{one} {other}");
        }
        let model = format!("{}/{}", text(&one["model_ref"], "provider_id"), text(&one["model_ref"], "model_name"));
        assert_eq!(json!(model), other["model"]);
    }
    assert_eq!(ours["cells"].as_array().unwrap().len(), cells.as_array().unwrap().len());
    for (one, other) in ours["cells"].as_array().unwrap().iter().zip(cells.as_array().unwrap()) {
        for field in ["case", "configuration", "verdict", "findings", "error", "output", "run_ms"] {
            assert_eq!(one[field], other[field], "{field}");
        }
        let ids = json!([format!("run_{}", text(one, "run_id")), one["case_id"], one["cost_usd"]]);
        assert_eq!(ids, json!([other["run_id"], other["custom_id"], usd(&other["cost_micro_usd"])]));
    }
    ours
}

async fn a_run_is_one_on_every_surface(muster: Muster) {
    let (set, agent) = (capitals(&muster.us).await, knowing(&muster.us, SHORT).await);
    let unpriced = json!({"provider_id": "openai", "model_name": "fake-l1"});
    let body = json!({"configurations": [{"agent_id": agent}, {"preamble": LONG}, {"model_ref": unpriced}]});
    let path = started(&muster.us, &set, body).await;
    let id = path.rsplit('/').next().unwrap();
    same(&muster, &set, id).await;
    muster.drain().await;
    let told = same(&muster, &set, id).await;
    assert_eq!(json!([told["cost_usd"], told["configurations"][2]["no_price_reason"]]), json!([null, "unknown_price"]));
    let native = muster.us.get("/v1/evaluations").await.ok();
    assert_eq!(
        json!([native["data"].as_array().unwrap().len(), native["data"][0]["id"]]),
        json!([1, format!("eval_{id}")])
    );
    let log = muster.us.get(&format!("/api/v1/logs/{}", text(&told["cells"][0], "run_id"))).await.ok();
    let response = log.as_array().unwrap().iter().find(|entry| entry["event_type"] == "llm_response").unwrap();
    assert_eq!(response["llm_response"]["response"], told["cells"][0]["output"]);
    let changed = json!({"system_prompt": LONG});
    muster.us.patch(&format!("/v1/agents/agent_{agent}"), changed).await.ok();
    let agent = format!("agent_{agent}");
    let body = json!({"configurations": [{"agent_id": agent}, {"agent_id": agent, "version": 1}]});
    let made = muster.us.post(&format!("/v1/test_sets/ts_{set}/evaluations"), body).await.status(202);
    muster.drain().await;
    let told = same(&muster, &set, &text(&made, "id").replace("eval_", "")).await;
    let versions = [0, 1].map(|number| told["configurations"][number]["agent_version"].clone());
    let correct = [0, 1].map(|number| told["configurations"][number]["correct"].clone());
    assert_eq!((versions, correct), ([json!(2), json!(1)], [json!(2), json!(1)]));
    // Cancelled there, it has ended here.
    let path = started(&muster.us, &set, json!({"configurations": [{"agent_id": agent}]})).await;
    let id = path.rsplit('/').next().unwrap();
    muster.us.send("POST", &format!("/v1/evaluations/eval_{id}/cancel"), "").await;
    let told = muster.until(&path, |told| told["status"] == "done").await;
    assert_eq!(json!([told["cells"][0]["verdict"], told["cells"][0]["error"]]), json!(["no_answer", "cancelled"]));
}
