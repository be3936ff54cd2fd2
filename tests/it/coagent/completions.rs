//! Completions: answered, told in their session's log, counted; on an agent that nobody sees.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Muster, on_every_backend, text};

on_every_backend!(
    a_prompt_is_answered,
    a_session_tells_of_its_completions,
    nobody_sees_the_agent_behind_it,
    a_bad_request_is_refused_with_its_field_and_nothing_is_stored,
    a_model_that_is_not_there_is_named_with_those_that_are,
    a_failure_of_the_provider_is_told,
    a_budget_is_kept,
    the_same_request_again_is_answered_again,
    another_organisation_sees_nothing_of_it,
    the_operator_may_name_another_path,
    a_path_that_is_none_or_another_calls_is_refused,
);

const COMPLETIONS: &str = "/api/v1/completions";

fn body(prompt: &str) -> Value {
    json!({"prompt": prompt, "model_ref": {"provider_id": "openai", "model_name": "fake"}})
}

fn kinds(entries: &Value) -> Vec<String> {
    entries.as_array().unwrap().iter().map(|entry| text(entry, "event_type")).collect()
}

async fn logs(client: &Client, session: &str) -> Value {
    client.get(&format!("/api/v1/logs/{session}")).await.ok()
}

async fn runs(client: &Client) -> Vec<Value> {
    client.get("/v1/runs").await.ok()["data"].as_array().unwrap().clone()
}

async fn a_prompt_is_answered(muster: Muster) {
    let muster = muster.at_work();
    let us = muster.us.clone();
    let mut asked = body("hello");
    asked["preamble"] = json!("say from the preamble");
    asked["run_id"] = json!("mine / 1");
    let answer = us.post(COMPLETIONS, asked).await.ok();
    assert_eq!((&answer["response"], &answer["run_id"]), (&json!("from the preamble"), &json!("mine / 1")));
    let run = runs(&us).await.remove(0);
    let usage = json!({
        "prompt_tokens": run["usage"]["input_tokens"], "completion_tokens": run["usage"]["output_tokens"],
        "total_tokens": run["usage"]["input_tokens"].as_u64().unwrap() + run["usage"]["output_tokens"].as_u64().unwrap(),
    });
    assert_eq!(answer["token_usage"], usage);
    assert!(usage["completion_tokens"].as_u64().unwrap() > 0 && run["cost_micro_usd"].as_u64().unwrap() > 0, "{run}");
    // Without a model it is the deployment's default one; without an id, the run's own.
    let answer = us.post(COMPLETIONS, json!({"prompt": "hello"})).await.ok();
    assert_eq!(format!("run_{}", text(&answer, "run_id")), text(&runs(&us).await[0], "id"));
    assert_eq!(runs(&us).await[0]["model"], json!(muster.app.models().default_model().as_str()));
    assert_eq!(kinds(&logs(&us, &text(&answer, "run_id")).await).len(), 5);
}

async fn a_session_tells_of_its_completions(muster: Muster) {
    let muster = muster.at_work();
    let us = muster.us.clone();
    for number in 1..=3 {
        let mut asked = body(&format!("say number {number}"));
        asked["run_id"] = json!("s/1");
        asked["log_meta"] = json!({"turn": number});
        us.post(COMPLETIONS, asked).await.ok();
        muster.pass(10);
    }
    let told = logs(&us, "s%2F1").await;
    let one = ["user_input", "llm_call", "llm_response", "session_end"];
    assert_eq!(kinds(&told), [&["session_start"][..], &one, &one, &one].concat());
    for entry in told.as_array().unwrap() {
        assert_eq!(entry["session_id"], "s/1");
        assert_eq!(entry["log_meta"]["turn"], entry["prompt_number"], "{entry}");
    }
    assert_eq!(told[7]["llm_response"]["response"], "number 2");
    let listed = us.get("/api/v1/runs?summarize=1").await.ok();
    let session = listed.as_array().unwrap().iter().find(|session| session["run_id"] == "s/1").unwrap();
    assert_eq!(session["log_count"], 13);
    let middle = told[5]["timestamp"].as_u64().unwrap();
    let part = us.get(&format!("/api/v1/logs/s%2F1?from={middle}&to={middle}")).await.ok();
    assert!(part.as_array().unwrap().iter().all(|entry| entry["prompt_number"] == 2) && part[0] == told[5], "{part}");
    let tokens = us.get("/api/v1/filter_logs/s%2F1?pre=lmmcall_tokens").await.ok();
    assert_eq!(tokens.as_array().unwrap().len(), 3);

    // What is said for the log without a session's id stands in the run's own log.
    let mut asked = body("hello");
    asked["log_meta"] = json!({"a": [1]});
    let own = text(&us.post(COMPLETIONS, asked).await.ok(), "run_id");
    let told = logs(&us, &own).await;
    assert_eq!((kinds(&told).len(), &told[1]["log_meta"]), (5, &json!({"a": [1]})));
}

async fn nobody_sees_the_agent_behind_it(muster: Muster) {
    let muster = muster.at_work();
    let us = muster.us.clone();
    let mut asked = body("hello");
    asked["preamble"] = json!("p");
    let all = join_all((0..4).map(|_| us.post(COMPLETIONS, asked.clone()))).await;
    all.into_iter().for_each(|answer| drop(answer.ok()));
    let other = json!({"prompt": "hello", "preamble": "q", "model_ref": asked["model_ref"]});
    us.post(COMPLETIONS, other).await.ok();
    let ids: Vec<String> = runs(&us).await.iter().map(|run| text(run, "agent_id")).collect();
    assert!(ids.len() == 5 && ids[1..].iter().all(|id| *id == ids[1]) && ids[0] != ids[1], "{ids:?}");
    let (id, plain) = (&ids[1], ids[1].replace("agent_", ""));
    for (list, of) in [("/v1/agents", "data"), ("/api/v1/agents", "agents")] {
        assert_eq!(us.get(list).await.ok()[of], json!([]), "{list}");
    }
    assert_eq!(us.get("/api/agents").await.ok(), json!([]));
    for path in [format!("/v1/agents/{id}"), format!("/v1/agents/{id}/versions"), format!("/api/v1/agents/{id}")] {
        us.get(&path).await.status(404);
    }
    us.patch(&format!("/v1/agents/{id}"), json!({"name": "mine"})).await.status(404);
    us.delete(&format!("/v1/agents/{id}")).await.status(404);
    us.post(&format!("/v1/agents/{id}/runs"), json!({"message": "a"})).await.status(404);
    us.post(&format!("/api/agents/{plain}/run-async"), json!({"inputs": {}})).await.status(404);
}

async fn a_bad_request_is_refused_with_its_field_and_nothing_is_stored(muster: Muster) {
    let model = |provider: &str, name: &str| json!({"provider_id": provider, "model_name": name});
    for (field, value, at) in [
        ("prompt", json!(""), "prompt"),
        ("prompt", json!(" \n"), "prompt"),
        ("prompt", json!(1), "prompt"),
        ("preamble", json!("p".repeat(200_001)), "preamble"),
        ("run_id", json!(""), "run_id"),
        ("run_id", json!("x".repeat(513)), "run_id"),
        ("model_ref", json!("openai/fake"), "model_ref"),
        ("model_ref", json!({"provider_id": "openai"}), "model_ref.model_name"),
        ("model_ref", model("", "fake"), "model_ref.provider_id"),
        ("model_ref", model("openai/x", "fake"), "model_ref.provider_id"),
        ("model_ref", model("openai", ""), "model_ref.model_name"),
        ("log_meta", json!([]), "log_meta"),
        ("log_meta", json!({"a": "x".repeat(16_384)}), "log_meta"),
        ("colour", json!("red"), "colour"),
    ] {
        let mut asked = body("hello");
        asked["run_id"] = json!("s");
        asked[field] = value;
        let refused = muster.us.post(COMPLETIONS, asked).await.status(400);
        assert_eq!(refused["error"]["details"]["field"], at, "{refused}");
    }
    assert_eq!(muster.us.post(COMPLETIONS, json!({})).await.status(400)["error"]["details"]["field"], "prompt");
    assert_eq!(runs(&muster.us).await, Vec::<Value>::new());
    assert_eq!(muster.us.get("/api/v1/runs").await.ok(), json!([]));
}

async fn a_model_that_is_not_there_is_named_with_those_that_are(muster: Muster) {
    for (provider, name) in [("acme", "x"), ("openai", "a b"), ("demo", "other/x")] {
        let asked = json!({"prompt": "a", "model_ref": {"provider_id": provider, "model_name": name}});
        let error = muster.us.post(COMPLETIONS, asked).await.status(404)["error"].clone();
        assert_eq!(error["code"], "MODEL_NOT_FOUND");
        assert_eq!(
            (&error["details"]["provider_id"], &error["details"]["model_name"]),
            (&json!(provider), &json!(name))
        );
        assert!(error["details"]["available_models"].as_array().unwrap().contains(&json!("demo/scripted")), "{error}");
    }
    assert_eq!(runs(&muster.us).await, Vec::<Value>::new());
}

async fn a_failure_of_the_provider_is_told(muster: Muster) {
    let muster = muster.at_work();
    let us = muster.us.clone();
    let mut asked = body("hello");
    asked["model_ref"]["model_name"] = json!("fake-q");
    asked["run_id"] = json!("s");
    let error = us.post(COMPLETIONS, asked).await.status(502)["error"].clone();
    assert_eq!((&error["code"], &error["details"]["reason"]), (&json!("UPSTREAM_ERROR"), &json!("provider_quota")));
    assert_eq!(format!("run_{}", text(&error["details"], "run_id")), text(&runs(&us).await[0], "id"));
    let told = logs(&us, "s").await;
    assert!(kinds(&told).contains(&"error".to_owned()), "{told}");
}

async fn a_budget_is_kept(muster: Muster) {
    let muster = muster.at_work();
    let poor = muster.us.new_key(json!({"day_budget_micro_usd": 1})).await;
    let error = poor.post(COMPLETIONS, body("hello")).await.status(409)["error"].clone();
    assert_eq!((&error["code"], &error["details"]["reason"]), (&json!("CONFLICT"), &json!("budget_exceeded")));
    assert_eq!(muster.models.stats().calls, 0);
}

async fn the_same_request_again_is_answered_again(muster: Muster) {
    let muster = muster.at_work();
    let us = muster.us.with("idempotency-key", "once");
    let mut asked = body("hello");
    asked["run_id"] = json!("mine");
    let first = us.post(COMPLETIONS, asked.clone()).await;
    let again = us.post(COMPLETIONS, asked).await;
    assert_eq!((again.header("idempotency-replayed"), again.code, &again.text), ("true", 200, &first.text));
    us.post(COMPLETIONS, body("other")).await.status(422);
    assert_eq!((runs(&us).await.len(), kinds(&logs(&us, "mine").await).len()), (1, 5));
}

async fn another_organisation_sees_nothing_of_it(muster: Muster) {
    let muster = muster.at_work();
    let mut asked = body("hello");
    asked["run_id"] = json!("s");
    muster.us.post(COMPLETIONS, asked.clone()).await.ok();
    assert_eq!(logs(&muster.them, "s").await, json!([]));
    assert_eq!(muster.them.get("/api/v1/runs").await.ok(), json!([]));
    muster.them.post(COMPLETIONS, asked).await.ok();
    assert_eq!(kinds(&logs(&muster.them, "s").await).len(), 5);
    assert_ne!(runs(&muster.us).await[0]["agent_id"], runs(&muster.them).await[0]["agent_id"]);
}

async fn the_operator_may_name_another_path(muster: Muster) {
    let muster = muster.with_completions_path("/v1/complete").at_work();
    let us = muster.us.with("idempotency-key", "once");
    let ask = async |method: &str, client: &Client, body: Value| {
        Answer::read(client.open(method, "/v1/complete?", body.to_string()).await).await
    };
    let answer = ask("POST", &us, body("say hi")).await;
    assert_eq!((answer.code, &answer.body["response"]), (200, &json!("hi")));
    // It is the same call, whatever path it is made by, and on the same surface.
    let again = us.post(&format!("{COMPLETIONS}?"), body("say hi")).await;
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &answer.text));
    let refused = ask("POST", &muster.us, json!({})).await.status(400);
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["details"]["field"]),
        (&json!("INVALID_REQUEST"), &json!("prompt"))
    );
    let wrong = ask("GET", &muster.us, Value::Null).await;
    assert_eq!((wrong.code, wrong.header("allow")), (405, "POST"));
    assert_eq!(ask("POST", &muster.us.nobody(), body("hi")).await.status(401)["error"]["code"], "UNAUTHORIZED");
    assert_eq!(runs(&us).await.len(), 1);
}

async fn a_path_that_is_none_or_another_calls_is_refused(mut muster: Muster) {
    let (none, taken) = ("must be a path such as ", "is the path of another call");
    for (path, problem) in [
        ("complete", none),
        ("/", none),
        ("/a/", none),
        ("//a", none),
        ("/a/../b", none),
        ("/a?b", none),
        ("/{a}", none),
        ("/a%2Fb", none),
        ("/é", none),
        ("/health", taken),
        ("/openapi.json", taken),
        ("/api/v1/agents", taken),
        ("/v1/runs/x", taken),
        ("/api/v1/filter_logs/complete", taken),
    ] {
        muster = muster.with_completions_path(path);
        let refused = functions::check_completions_path(&muster.app).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("MUSTER_COMPLETIONS_PATH: {problem}")), "{path}: {refused}");
    }
    for path in [COMPLETIONS, "/complete", "/v1/complete", "/api/v1/chat/completions", "/a-b/c.d/~e_1"] {
        muster = muster.with_completions_path(path);
        functions::check_completions_path(&muster.app).unwrap();
    }
}
