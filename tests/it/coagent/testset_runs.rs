//! Starting runs of test sets: what a configuration may say, and what is refused.

use serde_json::{Value, json};

use super::testset_matrix::{LONG, SETS, SHORT, capitals, knowing, started};
use crate::harness::{Answer, Muster, on_every_backend, text};

on_every_backend!(
    a_configuration_without_an_agent_is_as_a_completion,
    a_copy_has_all_of_its_agent_but_the_prompt,
    a_model_may_be_of_a_provider_of_ones_own,
    what_is_wrong_is_named_and_nothing_is_started,
    a_model_that_is_not_there_is_named_with_those_that_are,
    what_is_not_there_is_not_found,
    a_budget_is_kept,
    the_same_request_again_starts_nothing_again,
);

fn model(provider: &str, name: &str) -> Value {
    json!({"provider_id": provider, "model_name": name})
}

async fn a_configuration_without_an_agent_is_as_a_completion(muster: Muster) {
    let set = capitals(&muster.us).await;
    let fake = model("openai", "fake");
    let configurations =
        json!([{"preamble": "say a", "model_ref": fake}, {"model_ref": fake}, {"preamble": "say b"}, {}]);
    let path = started(&muster.us, &set, json!({"configurations": configurations})).await;
    muster.drain().await;
    let told = muster.us.get(&path).await.ok();
    let name = muster.app.models().default_model().to_string();
    let default = name.split_once('/').map(|(provider, name)| model(provider, name)).unwrap();
    for (number, (preamble, model)) in
        [("say a", &fake), ("", &fake), ("say b", &default), ("", &default)].into_iter().enumerate()
    {
        let of = &told["configurations"][number];
        let who = json!([of["agent_id"], of["agent_version"], of["preamble"], of["model_ref"]]);
        assert_eq!(who, json!([null, null, preamble, model]));
    }
    assert_eq!(told["cells"][0]["output"], "a");
    // The same prompt and model are the same agent, whichever call brings them; and no list has it.
    let run = muster.us.get(&format!("/v1/runs/run_{}", text(&told["cells"][0], "run_id"))).await.ok();
    let muster = muster.at_work();
    let body = json!({"prompt": "x", "preamble": "say a", "model_ref": fake});
    let completed = muster.us.post("/api/v1/completions", body).await.ok();
    let other = muster.us.get(&format!("/v1/runs/run_{}", text(&completed, "run_id"))).await.ok();
    assert_eq!(run["agent_id"], other["agent_id"]);
    assert_eq!(muster.us.get("/v1/agents").await.ok()["data"], json!([]));
    muster.us.get(&format!("/v1/agents/{}", text(&run, "agent_id"))).await.status(404);
}

async fn a_copy_has_all_of_its_agent_but_the_prompt(muster: Muster) {
    let input = json!({"name": "city", "description": "", "required": true, "type": "string"});
    let body = json!({
        "name": "a", "model": "openai/fake", "system_prompt": "say no", "inputs": [input], "max_steps": 3,
        "metadata": {"k": "v"},
    });
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id").replace("agent_", "");
    let validations = json!([{"kind": {"exact": {"expected": "It is Oslo"}}}]);
    let cases = json!([{"input": {"city": "Oslo"}, "validations": validations}]);
    let set = text(&muster.us.post(SETS, json!({"name": "s", "cases": cases})).await.status(201), "id");
    let fake = model("openai", "fake-l20");
    let configurations = json!([
        {"agent_id": agent}, {"agent_id": agent, "preamble": "say It is {{city}}"},
        {"agent_id": agent, "preamble": "say It is {{city}}", "model_ref": fake},
    ]);
    let path = started(&muster.us, &set, json!({"configurations": configurations})).await;
    // What becomes of the agent meanwhile is nothing to a run that was started.
    muster.us.delete(&format!("/v1/agents/agent_{agent}")).await.status(204);
    muster.drain().await;
    let told = muster.us.get(&path).await.ok();
    let outputs = [0, 1, 2].map(|cell| text(&told["cells"][cell], "output"));
    assert_eq!(outputs, ["no", "It is Oslo", "It is Oslo"]);
    let correct = [0, 1, 2].map(|number| told["configurations"][number]["correct"].clone());
    assert_eq!(correct, [json!(0), json!(1), json!(1)]);
    let mut runs = Vec::new();
    for cell in told["cells"].as_array().unwrap() {
        runs.push(muster.us.get(&format!("/v1/runs/run_{}", text(cell, "run_id"))).await.ok());
    }
    assert!(runs[1]["agent_id"] == runs[2]["agent_id"] && runs[0]["agent_id"] != runs[1]["agent_id"], "{runs:?}");
    assert!(runs.iter().all(|run| run["max_steps"] == 3), "{runs:?}");
    let native = muster.us.get(&format!("/v1/evaluations/eval_{}", text(&told, "run_id"))).await.ok();
    assert!((0..3).all(|number| native["configurations"][number]["agent_name"] == "a"), "{native}");
    let refused = muster.us.post(&format!("{SETS}/{set}/run"), json!({"configurations": [{"agent_id": agent}]})).await;
    assert_eq!(refused.status(404)["error"]["message"], "agent not found");
}

async fn a_model_may_be_of_a_provider_of_ones_own(muster: Muster) {
    let base = format!("http://{}/v1", muster.models.addr());
    let provider = json!({"name": "own", "type": "openai", "id": "own", "api_key": "k", "custom_url": base});
    muster.us.post("/api/v1/providers", provider).await.status(201);
    let set = capitals(&muster.us).await;
    let body = json!({"configurations": [{"preamble": "say Oslo", "model_ref": model("own", "fake")}]});
    let path = started(&muster.us, &set, body.clone()).await;
    muster.drain().await;
    let told = muster.us.get(&path).await.ok();
    assert_eq!(json!([told["configurations"][0]["correct"], told["cost_usd"]]), json!([1, null]));
    let theirs = capitals(&muster.them).await;
    let refused = muster.them.post(&format!("{SETS}/{theirs}/run"), body).await.status(404);
    assert_eq!(refused["error"]["code"], "MODEL_NOT_FOUND", "another organisation's is not there");
}

async fn what_is_wrong_is_named_and_nothing_is_started(muster: Muster) {
    // The surface lets 100 requests pass in a minute.
    let us = muster.us.new_key(json!({"requests_per_minute": 0})).await;
    let (set, agent) = (capitals(&us).await, knowing(&us, SHORT).await);
    let path = format!("{SETS}/{set}/run");
    let fine = json!({"agent_id": agent});
    let with = |field: &str, value: Value| json!({"configurations": [fine, {field: value}]});
    let beside = |field: &str, value: Value| json!({"configurations": [fine], field: value});
    let many: Vec<Value> = (0..21).map(|n| json!({"model_ref": model("demo", &format!("scripted-l{n}"))})).collect();
    let long: Vec<Value> = (0..11).map(|n| json!({"preamble": format!("{n}{}", "p".repeat(199_990))})).collect();
    let unpriced = json!({"model_ref": model("openai", "fake-l1")});
    let default = model("demo", "scripted");
    for (body, field) in [
        (json!({}), "configurations"),
        (json!({"configurations": {}}), "configurations"),
        (json!({"configurations": []}), "configurations"),
        (json!({"configurations": many}), "configurations"),
        (json!({"configurations": long}), "configurations"),
        (json!({"configurations": [fine, "x"]}), "configurations[1]"),
        (with("agent_id", json!(5)), "configurations[1].agent_id"),
        (with("preamble", json!(["x"])), "configurations[1].preamble"),
        (with("preamble", json!("p".repeat(200_001))), "configurations[1].preamble"),
        (
            json!({"configurations": [fine, {"agent_id": agent, "preamble": "p".repeat(200_001)}]}),
            "configurations[1].preamble",
        ),
        (with("model_ref", json!("demo/scripted")), "configurations[1].model_ref"),
        (with("model_ref", json!({"provider_id": "demo"})), "configurations[1].model_ref.model_name"),
        (with("model_ref", model("", "x")), "configurations[1].model_ref.provider_id"),
        (with("model_ref", model("demo/x", "x")), "configurations[1].model_ref.provider_id"),
        (with("version", json!(1)), "configurations[1].version"),
        (json!({"configurations": [fine, unpriced, fine]}), "configurations[2]"),
        (
            json!({"configurations": [{"preamble": LONG}, {"preamble": LONG, "model_ref": default}]}),
            "configurations[1]",
        ),
        (
            json!({"configurations": [{"agent_id": agent, "preamble": LONG}, {"agent_id": agent, "preamble": LONG}]}),
            "configurations[1]",
        ),
        (beside("max_concurrency", json!(0)), "max_concurrency"),
        (beside("max_concurrency", json!(10_001)), "max_concurrency"),
        (beside("max_concurrency", json!(-1)), "max_concurrency"),
        (beside("max_concurrency", json!(1.5)), "max_concurrency"),
        (beside("budget_usd", json!(0)), "budget_usd"),
        (beside("budget_usd", json!(-0.5)), "budget_usd"),
        (beside("budget_usd", json!(0.000_000_5)), "budget_usd"),
        (beside("budget_usd", json!(1_000_000.5)), "budget_usd"),
        (beside("budget_usd", json!("1")), "budget_usd"),
        (json!({"configurations": [fine, unpriced], "budget_usd": 1}), "budget_usd"),
        (beside("metadata", json!({})), "metadata"),
    ] {
        let refused = us.post(&path, body.clone()).await;
        let told = format!("{:.300}", body.to_string());
        assert_eq!(refused.body["error"]["details"]["field"], field, "{told}: {}", refused.text);
        assert_eq!(refused.status(400)["error"]["code"], "INVALID_REQUEST", "{told}");
    }
    for number in ["NaN", "1e400", "0x1", "1e"] {
        let body = format!(r#"{{"configurations": [{fine}], "budget_usd": {number}}}"#);
        us.send("POST", &path, body).await.status(400);
    }
    let empty = text(&us.post(SETS, json!({"name": "empty", "cases": []})).await.status(201), "id");
    let refused = us.post(&format!("{SETS}/{empty}/run"), json!({"configurations": [fine]})).await.status(400);
    assert_eq!(refused["error"]["details"]["field"], "testset_id");
    for list in ["/v1/runs", "/v1/batches", "/v1/evaluations"] {
        assert_eq!(us.get(list).await.ok()["data"], json!([]), "{list}");
    }
    assert_eq!(muster.queued(), 0);
}

async fn a_model_that_is_not_there_is_named_with_those_that_are(muster: Muster) {
    let (set, agent) = (capitals(&muster.us).await, knowing(&muster.us, SHORT).await);
    let (known, gone) = (model("demo", "scripted"), model("acme", "x"));
    for configuration in [
        json!({"model_ref": gone}),
        json!({"preamble": LONG, "model_ref": gone}),
        json!({"agent_id": agent, "model_ref": gone}),
        json!({"agent_id": agent, "preamble": LONG, "model_ref": gone}),
    ] {
        let body = json!({"configurations": [{"model_ref": known}, configuration]});
        let error = muster.us.post(&format!("{SETS}/{set}/run"), body).await.status(404)["error"].clone();
        let details = &error["details"];
        let named = json!([error["code"], details["provider_id"], details["model_name"]]);
        assert_eq!(named, json!(["MODEL_NOT_FOUND", "acme", "x"]));
        assert!(details["available_models"].as_array().unwrap().contains(&json!("demo/scripted")), "{error}");
    }
    assert_eq!(muster.us.get("/v1/evaluations").await.ok()["data"], json!([]));
}

async fn what_is_not_there_is_not_found(muster: Muster) {
    // The surface lets 100 requests pass in a minute.
    let us = muster.us.new_key(json!({"requests_per_minute": 0})).await;
    let them = muster.them.new_key(json!({"requests_per_minute": 0})).await;
    let (set, agent) = (capitals(&us).await, knowing(&us, SHORT).await);
    let (other, nobodys) = (capitals(&us).await, "019a2b3c-4d5e-7f60-8123-456789abcdef");
    let theirs = (capitals(&them).await, knowing(&muster.them, SHORT).await);
    let not_found = |answer: Answer, what: &str| {
        let expected = json!({"error": {"code": "NOT_FOUND", "message": format!("{what} not found")}});
        assert_eq!(answer.status(404), expected);
    };
    for id in [theirs.1.as_str(), nobodys, "agent_x", "x", ""] {
        for configuration in [json!({"agent_id": id}), json!({"agent_id": id, "preamble": LONG})] {
            let body = json!({"configurations": [configuration]});
            not_found(us.post(&format!("{SETS}/{set}/run"), body).await, "agent");
        }
    }
    let body = json!({"configurations": [{"agent_id": agent}]});
    for id in [theirs.0.as_str(), nobodys, "x"] {
        not_found(us.post(&format!("{SETS}/{id}/run"), body.clone()).await, "test set");
    }
    let path = started(&us, &set, body).await;
    let run = path.rsplit('/').next().unwrap();
    us.get(&format!("{SETS}/ts_{set}/runs/eval_{run}")).await.ok();
    let of = |set: &str, run: &str| format!("{SETS}/{set}/runs/{run}");
    for path in [of(&other, run), of(nobodys, run), of("x", run), of(&set, nobodys), of(&set, "x"), of(&set, &set)] {
        not_found(us.get(&path).await, "run of this test set");
    }
    for path in [of(&set, run), of(&theirs.0, run), of(nobodys, nobodys)] {
        not_found(them.get(&path).await, "run of this test set");
    }
}

async fn a_budget_is_kept(muster: Muster) {
    let set = capitals(&muster.us).await;
    let body = json!({"configurations": [{"preamble": SHORT}, {"preamble": LONG}], "budget_usd": 0.000003});
    let path = started(&muster.us, &set, body).await;
    let native = muster.us.get(&format!("/v1/evaluations/eval_{}", path.rsplit('/').next().unwrap())).await.ok();
    assert_eq!(native["budget_micro_usd"], 3);
    muster.drain().await;
    let told = muster.us.get(&path).await.ok();
    assert_eq!(json!([told["status"], told["budget_usd"], told["cost_usd"]]), json!(["done", 0.000_003, 0.0]));
    for cell in told["cells"].as_array().unwrap() {
        assert!(cell["verdict"] == "no_answer" && text(cell, "error").starts_with("budget_exceeded"), "{cell}");
    }
    let poor = muster.us.new_key(json!({"day_budget_micro_usd": 1})).await;
    let body = json!({"configurations": [{"model_ref": model("openai", "fake-l1")}]});
    let refused = poor.post(&format!("{SETS}/{set}/run"), body).await.status(400);
    assert_eq!(refused["error"]["details"]["field"], "configurations[0].model_ref", "its price is not known");
}

async fn the_same_request_again_starts_nothing_again(muster: Muster) {
    let set = capitals(&muster.us).await;
    let us = muster.us.with("idempotency-key", "once");
    let (path, body) = (format!("{SETS}/{set}/run"), json!({"configurations": [{"preamble": SHORT}]}));
    let first = us.post(&path, body.clone()).await;
    assert_eq!(first.body["status"], "running");
    muster.drain().await;
    let again = us.post(&path, body).await;
    assert_eq!((again.header("idempotency-replayed"), again.code, &again.text), ("true", 201, &first.text));
    let other = us.post(&path, json!({"configurations": [{"preamble": LONG}]})).await;
    assert_eq!(other.status(422)["error"]["code"], "INVALID_REQUEST");
    assert_eq!(muster.us.get("/v1/evaluations").await.ok()["data"].as_array().unwrap().len(), 1);
}
