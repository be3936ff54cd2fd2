//! Runs of test sets told in parts, before their end, and without their set.

use serde_json::{Value, json};

use super::testset_matrix::{LONG, SHORT, capitals, knowing, started};
use crate::{
    harness::{Muster, on_every_backend, text},
    native::evaluations::set_of,
};

on_every_backend!(
    cells_come_in_parts,
    a_matrix_that_is_too_long_is_told_in_parts_alone,
    a_run_tells_how_far_it_is,
    a_matrix_stays_when_its_set_is_deleted_and_is_none_when_that_was_before,
);

async fn cells_come_in_parts(muster: Muster) {
    let set = set_of(&muster.us, 110).await.replace("ts_", "");
    let scripted = json!({"provider_id": "demo", "model_name": "scripted-l0"});
    let fake = json!({"provider_id": "openai", "model_name": "fake"});
    let path =
        started(&muster.us, &set, json!({"configurations": [{"model_ref": fake}, {"model_ref": scripted}]})).await;
    muster.drain().await;
    let before = muster.us.get(&path).await.ok();
    let whole = muster.us.get(&path).await.ok();
    assert_eq!(whole["status"], "done");
    assert_eq!(whole["cells"], before["cells"], "what is written is what was seen before");
    let all = whole["cells"].as_array().unwrap();
    assert_eq!(all.len(), 220);
    for (index, cell) in all.iter().enumerate() {
        let place = json!([cell["case"], cell["configuration"], cell["case_id"]]);
        assert_eq!(place, json!([index / 2, index % 2, format!("case {}", index / 2)]));
    }
    for (offset, limit) in [(0, 1), (1, 3), (99, 2), (101, 100), (117, 103), (219, 5)] {
        let part = muster.us.get(&format!("{path}?offset={offset}&limit={limit}")).await.ok();
        assert_eq!(part["cells"], json!(all[offset..220.min(offset + limit)]), "{offset} {limit}");
        assert_eq!(part["configurations"], whole["configurations"]);
    }
    assert_eq!(muster.us.get(&format!("{path}?offset=200")).await.ok()["cells"], json!(all[200..]));
    for offset in ["220", "70000", "18446744073709551615"] {
        assert_eq!(muster.us.get(&format!("{path}?offset={offset}")).await.ok()["cells"], json!([]), "{offset}");
    }
    for (query, field) in [("limit=0", "limit"), ("limit=x", "limit"), ("offset=-1", "offset"), ("after=1", "after")] {
        let refused = muster.us.get(&format!("{path}?{query}")).await.status(400);
        assert_eq!(refused["error"]["details"]["field"], field, "{query}");
    }
}

async fn a_matrix_that_is_too_long_is_told_in_parts_alone(muster: Muster) {
    let set = set_of(&muster.us, 0).await;
    let long = "x".repeat(400_000);
    let case = json!({"message": format!("say {long}"), "validations": [{"exact": {"expected": "x"}}]});
    for _ in 0..2 {
        let items: Vec<&Value> = std::iter::repeat_n(&case, 7).collect();
        muster.us.post(&format!("/v1/test_sets/{set}/items"), json!({"items": items})).await.ok();
    }
    let fake = json!({"provider_id": "openai", "model_name": "fake"});
    let path = started(&muster.us, &set.replace("ts_", ""), json!({"configurations": [{"model_ref": fake}]})).await;
    muster.drain().await;
    let refused = muster.us.get(&path).await.status(400);
    assert_eq!(refused["error"]["details"]["field"], "limit", "{refused}");
    let part = muster.us.get(&format!("{path}?limit=10&offset=4")).await.ok();
    let outputs = part["cells"].as_array().unwrap().iter().map(|cell| text(cell, "output").len());
    assert_eq!(outputs.collect::<Vec<_>>(), [400_000; 10]);
}

async fn a_run_tells_how_far_it_is(muster: Muster) {
    let (set, agent) = (capitals(&muster.us).await, knowing(&muster.us, SHORT).await);
    let path = started(&muster.us, &set, json!({"configurations": [{"agent_id": agent}]})).await;
    let told = muster.us.get(&path).await.ok();
    let configuration = json!({
        "agent_id": agent, "agent_version": 1, "preamble": null,
        "model_ref": {"provider_id": "demo", "model_name": "scripted-lookup-l0"}, "ended": 0, "correct": null,
        "attempts": 0, "correctness": null, "correctness_interval": null, "cost_usd": 0.0, "judge_cost_usd": 0.0,
        "price_per_correct_usd": null, "price_per_correct_interval": null, "no_price_reason": "not_ended",
        "p50_ms": null, "p95_ms": null, "unbeaten": null,
    });
    assert_eq!(told["configurations"], json!([configuration]));
    let head = json!([told["status"], told["ended_at"], told["max_concurrency"], told["budget_usd"], told["cost_usd"]]);
    assert_eq!(head, json!(["running", null, null, null, 0.0]));
    let verdicts =
        |told: &Value| told["cells"].as_array().unwrap().iter().map(|cell| text(cell, "verdict")).collect::<Vec<_>>();
    assert_eq!(verdicts(&told), ["pending"; 4]);
    let run = text(&told["cells"][1], "run_id");
    muster.us.send("POST", &format!("/v1/runs/run_{run}/cancel"), "").await.ok();
    let told = muster.us.get(&path).await.ok();
    assert_eq!(verdicts(&told), ["pending", "no_answer", "pending", "pending"]);
    assert_eq!(json!([told["status"], told["configurations"][0]["ended"]]), json!(["running", 1]));
    muster.drain().await;
    let told = muster.us.get(&path).await.ok();
    assert_eq!(verdicts(&told), ["correct", "no_answer", "wrong", "wrong"]);
    assert_eq!(json!([told["status"], told["configurations"][0]["correct"]]), json!(["done", 1]));
    assert_eq!(told["cells"][1]["error"], "cancelled");
}

async fn a_matrix_stays_when_its_set_is_deleted_and_is_none_when_that_was_before(muster: Muster) {
    let agent = knowing(&muster.us, SHORT).await;
    let body = json!({"configurations": [{"agent_id": agent, "preamble": LONG}]});
    let (ended, open) = (capitals(&muster.us).await, capitals(&muster.us).await);
    let path = started(&muster.us, &ended, body.clone()).await;
    muster.drain().await;
    let told = muster.us.get(&path).await.ok();
    assert_eq!(told["status"], "done");
    let early = started(&muster.us, &open, body).await;
    for set in [ended, open] {
        muster.us.delete(&format!("/v1/test_sets/ts_{set}")).await.status(204);
    }
    muster.us.delete(&format!("/v1/agents/agent_{agent}")).await.status(204);
    assert_eq!(muster.us.get(&path).await.ok(), told);
    assert_eq!(muster.us.get(&early).await.ok()["cells"], Value::Null);
    muster.drain().await;
    let told = muster.us.get(&early).await.ok();
    let of = &told["configurations"][0];
    let known = json!([told["status"], told["cells"], of["correct"], of["no_price_reason"], of["preamble"]]);
    assert_eq!(known, json!(["done", null, null, "test_set_deleted", LONG]));
    assert!(of["cost_usd"].as_f64().unwrap() > 0.0 && of["p50_ms"].is_u64(), "{of}");
}
