//! Idempotency keys: the same request answers what was answered and does nothing again; another is refused.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Muster, on_every_backend, text};

on_every_backend!(
    the_same_request_is_answered_again_and_does_nothing,
    another_request_with_the_same_key_is_refused,
    a_key_is_of_one_organisation_and_one_path,
    twins_have_exactly_one_effect,
    how_long_a_client_waits_is_not_what_it_asks_for,
    a_key_is_forgotten_after_seven_days,
    a_replayed_key_has_the_same_secret,
    a_replay_needs_the_scope_that_the_work_needs,
    a_replayed_key_may_not_do_more_than_who_asks_for_it,
    a_waited_for_run_is_in_progress_until_it_ends_and_then_answered_again,
    what_was_refused_is_not_remembered,
    a_chat_of_cotera_is_answered_again,
);

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn keyed(client: &Client) -> Client {
    client.with("idempotency-key", "order 7")
}

/// A call that creates something, where it is listed, and how many it makes.
async fn creating(muster: &Muster) -> Vec<(String, Value, &'static str, usize)> {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let case = json!({"message": "a", "validations": [{"exact": {"expected": "a"}}]});
    let set = json!({"name": "set", "items": [case]});
    let set = text(&muster.us.post("/v1/test_sets", set).await.status(201), "id");
    let cotera = format!("/api/v1/resource/agent/{}/chat/batch", agent.replace("agent_", ""));
    vec![
        ("/v1/keys".to_owned(), json!({"name": "k"}), "/v1/keys", 1),
        ("/v1/agents".to_owned(), json!({"name": "a", "model": "demo/scripted"}), "/v1/agents", 1),
        (format!("/v1/agents/{agent}/runs"), json!({"message": "a"}), "/v1/runs", 1),
        (
            format!("/v1/agents/{agent}/batches"),
            json!({"items": [{"message": "a"}, {"message": "b"}]}),
            "/v1/batches",
            1,
        ),
        (
            format!("/v1/test_sets/{set}/evaluations"),
            json!({"configurations": [{"agent_id": agent}]}),
            "/v1/evaluations",
            1,
        ),
        (
            format!("/api/v1/testsets/{}/run", set.replace("ts_", "")),
            json!({"configurations": [{"preamble": "a"}]}),
            "/v1/evaluations",
            1,
        ),
        (cotera, json!([{"message": "a"}, {"message": "b"}]), "/v1/runs", 2),
    ]
}

async fn listed(muster: &Muster, path: &str) -> usize {
    muster.us.get(&format!("{path}?limit=100")).await.ok()["data"].as_array().unwrap().len()
}

async fn the_same_request_is_answered_again_and_does_nothing(muster: Muster) {
    for (path, body, list, _) in creating(&muster).await {
        let first = keyed(&muster.us).post(&path, body.clone()).await;
        assert!(first.code < 300 && first.header("idempotency-replayed").is_empty(), "{path}: {}", first.text);
        let before = listed(&muster, list).await;
        muster.drain().await;
        for _ in 0..2 {
            let again = keyed(&muster.us).post(&path, body.clone()).await;
            assert_eq!((again.code, &again.text), (first.code, &first.text), "{path}");
            assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
            assert_eq!(again.header("location"), first.header("location"), "{path}");
            assert_eq!(again.header("content-type"), "application/json");
        }
        assert_eq!(listed(&muster, list).await, before, "{path}");
        assert_eq!(muster.queued(), 0, "{path}");
    }
}

async fn another_request_with_the_same_key_is_refused(muster: Muster) {
    for (path, body, list, _) in creating(&muster).await {
        keyed(&muster.us).post(&path, body.clone()).await;
        let before = listed(&muster, list).await;
        let other = keyed(&muster.us).send("POST", &path, format!("{body} ")).await;
        assert_eq!(other.code, 422, "{path}: {}", other.text);
        assert!(other.text.contains("Idempotency-Key"), "{path}: {}", other.text);
        assert_eq!(listed(&muster, list).await, before, "{path}");
    }
    let refused = keyed(&muster.us).post("/v1/agents", json!({})).await;
    assert_eq!(refused.code_of(422), "idempotency_mismatch", "before the body is looked at");
}

async fn a_key_is_of_one_organisation_and_one_path(muster: Muster) {
    let body = json!({"name": "a", "model": "demo/scripted"});
    let ours = keyed(&muster.us).post("/v1/agents", body.clone()).await.status(201);
    let theirs = keyed(&muster.them).post("/v1/agents", body).await;
    assert!(theirs.header("idempotency-replayed").is_empty());
    assert_ne!(theirs.status(201)["id"], ours["id"]);
    keyed(&muster.us).post("/v1/keys", json!({})).await.status(201);
}

async fn twins_have_exactly_one_effect(muster: Muster) {
    for (path, body, list, effect) in creating(&muster).await {
        let before = listed(&muster, list).await;
        let twins = keyed(&muster.us);
        let answers = join_all((0..6).map(|_| twins.post(&path, body.clone()))).await;
        let (won, lost): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.code < 300);
        assert!(won.windows(2).all(|pair| pair[0].text == pair[1].text), "{path}");
        assert!(!won.is_empty() && lost.iter().all(|answer| answer.code == 409), "{path}");
        assert_eq!(won.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count(), 1, "{path}");
        assert_eq!(listed(&muster, list).await, before + effect, "{path}");
        let after = twins.post(&path, body.clone()).await;
        assert_eq!((after.code, &after.text), (won[0].code, &won[0].text), "{path}");
    }
}

async fn how_long_a_client_waits_is_not_what_it_asks_for(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/runs");
    let first = keyed(&muster.us).post(&format!("{path}?wait=20"), json!({"message": "a"})).await.status(200);
    for query in ["", "?wait=0", "?wait=5"] {
        let again = keyed(&muster.us).post(&format!("{path}{query}"), json!({"message": "a"})).await.status(200);
        assert_eq!(again["id"], first["id"], "{query}");
    }
    assert_eq!(listed(&muster, "/v1/runs").await, 1);
}

async fn a_key_is_forgotten_after_seven_days(muster: Muster) {
    for (path, body, list, effect) in creating(&muster).await {
        let first = keyed(&muster.us).post(&path, body.clone()).await;
        let before = listed(&muster, list).await;
        muster.pass(7 * DAY_MS - 5_000);
        assert_eq!(keyed(&muster.us).post(&path, body.clone()).await.text, first.text);
        muster.pass(5_000);
        let other = keyed(&muster.us).send("POST", &path, format!("{body} ")).await;
        assert!(other.code < 300 && other.text != first.text, "{path}: {}", other.text);
        assert_eq!(listed(&muster, list).await, before + effect, "{path}");
        let again = keyed(&muster.us).send("POST", &path, format!("{body} ")).await;
        assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
    }
}

async fn a_replayed_key_has_the_same_secret(muster: Muster) {
    let us = keyed(&muster.us);
    let made = us.post("/v1/keys", json!({"name": "a"})).await.status(201);
    let again = us.post("/v1/keys", json!({"name": "a"})).await.status(201);
    assert_eq!(text(&again, "key"), text(&made, "key"));
    muster.us.with_key(&text(&again, "key")).get("/v1/models").await.ok();
    let rotate = format!("/v1/keys/{}/rotate", text(&made, "id"));
    let turned = us.post(&rotate, json!({})).await.status(201);
    assert_eq!(us.post(&rotate, json!({})).await.status(201)["key"], turned["key"]);
    muster.us.with_key(&text(&turned, "key")).get("/v1/models").await.ok();
}

async fn a_replay_needs_the_scope_that_the_work_needs(muster: Muster) {
    let mut calls: Vec<(String, Value)> =
        creating(&muster).await.into_iter().map(|(path, body, ..)| (path, body)).collect();
    calls[2].0.push_str("?wait=1");
    let of_cotera = calls.iter().find(|(path, _)| path.ends_with("/batch")).unwrap().0.replace("/batch", "");
    calls.push((of_cotera, json!({"message": "c"})));
    let key = text(&muster.us.post("/v1/keys", json!({})).await.status(201), "id");
    calls.push((format!("/v1/keys/{key}/rotate"), json!({})));
    let batch = muster.us.post(&calls[3].0, json!({"items": [{"message": "d"}]})).await.status(202);
    muster.us.send("POST", &format!("/v1/batches/{}/cancel", text(&batch, "id")), "").await;
    calls.push((format!("/v1/batches/{}/retry", text(&batch, "id")), json!({})));
    let lesser = keyed(&muster.us.new_key(json!({"scopes": ["agents:read", "runs:read"]})).await);
    for (path, body) in calls {
        let first = keyed(&muster.us).post(&path, body.clone()).await;
        assert!(first.code < 300, "{path}: {}", first.text);
        let refused = lesser.post(&path, body.clone()).await;
        assert_eq!(refused.code, 403, "{path}: {}", refused.text);
        assert!(refused.header("idempotency-replayed").is_empty(), "{path}");
        muster.drain().await;
        assert_eq!(keyed(&muster.us).post(&path, body).await.header("idempotency-replayed"), "true", "{path}");
    }
}

async fn a_replayed_key_may_not_do_more_than_who_asks_for_it(muster: Muster) {
    let made = keyed(&muster.us).post("/v1/keys", json!({"name": "a"})).await.status(201);
    let rotate = format!("/v1/keys/{}/rotate", text(&made, "id"));
    keyed(&muster.us).post(&rotate, json!({})).await.status(201);
    let lesser = keyed(&muster.us.new_key(json!({"scopes": ["keys:manage"]})).await);
    assert_eq!(lesser.post("/v1/keys", json!({"name": "a"})).await.code_of(422), "idempotency_mismatch");
    assert_eq!(lesser.post(&rotate, json!({})).await.code_of(422), "idempotency_mismatch");
    let equal = keyed(&muster.us.new_key(json!({})).await);
    assert_eq!(equal.post("/v1/keys", json!({"name": "a"})).await.status(201), made);
}

async fn a_waited_for_run_is_in_progress_until_it_ends_and_then_answered_again(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l1500").await;
    let muster = muster.at_work();
    let path = format!("/v1/agents/{agent}/runs?wait=20");
    let us = keyed(&muster.us);
    let (first, early) = tokio::join!(us.post(&path, json!({"message": "a"})), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        us.post(&path, json!({"message": "a"})).await
    });
    assert_eq!((early.header("retry-after"), &early.body["error"]["retryable"]), ("1", &json!(true)));
    assert_eq!(early.code_of(409), "in_progress");
    let first = first.ok();
    assert_eq!(first["status"], "done");
    let again = us.post(&path, json!({"message": "a"})).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    let again = again.ok();
    assert_eq!(json!([again["id"], again["result"]]), json!([first["id"], first["result"]]));
    assert_eq!(muster.models.calls_with("a"), 1);
    let other = us.post(&path, json!({"message": "b"})).await;
    assert_eq!(other.code_of(422), "idempotency_mismatch");
}

async fn what_was_refused_is_not_remembered(muster: Muster) {
    let us = keyed(&muster.us);
    assert_eq!(us.post("/v1/agents", json!({"name": "a", "model": "acme/x"})).await.code, 400);
    let lesser = keyed(&muster.us.new_key(json!({"scopes": ["agents:read"]})).await);
    assert_eq!(lesser.post("/v1/agents", json!({"name": "a", "model": "demo/scripted"})).await.code, 403);
    us.post("/v1/agents", json!({"name": "a", "model": "demo/scripted"})).await.status(201);
    for bad in ["", &"k".repeat(256), "é"] {
        let cancel = muster.us.with("idempotency-key", bad).post("/v1/runs/1/cancel", json!({})).await;
        assert_eq!(cancel.param(), "Idempotency-Key", "{bad}");
        let us = muster.us.with("idempotency-key", bad);
        assert_eq!(us.post("/v1/agents", json!({})).await.param(), "Idempotency-Key", "{bad}");
    }
    for (first, second) in [("one", "other"), ("order 7", "order 7")] {
        let twice = muster.us.with("idempotency-key", first).with_another("idempotency-key", second);
        assert_eq!(
            twice.post("/v1/agents", json!({"name": "a", "model": "demo/scripted"})).await.param(),
            "Idempotency-Key"
        );
    }
    muster.us.with("idempotency-key", &"k".repeat(255)).post("/v1/keys", json!({})).await.status(201);
}

async fn a_chat_of_cotera_is_answered_again(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await.replace("agent_", "");
    let muster = muster.at_work();
    let path = format!("/api/v1/resource/agent/{agent}/chat");
    let us = keyed(&muster.us);
    let first = us.post(&path, json!({"message": "a"})).await;
    let again = us.post(&path, json!({"message": "a"})).await;
    assert_eq!((again.code, &again.text), (200, &first.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(us.post(&path, json!({"message": "b"})).await.status(422)["errorType"], "InvalidInput");
    assert_eq!(muster.models.stats().calls, 1);
}
