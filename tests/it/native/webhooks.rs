//! Webhooks out: made, changed, and told of what happens, in the transaction in which it does.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use model_server::Tools;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{Endpoint, Got, Muster, on_every_backend, redacted, text};

on_every_backend!(
    an_endpoint_is_made_changed_and_deleted,
    what_makes_no_endpoint_is_refused_with_its_field,
    there_are_so_many_and_no_more,
    an_endpoint_is_told_what_it_asked_for_and_nothing_else,
    a_run_and_a_batch_tell_an_address_of_their_own,
    the_end_of_a_batch_is_told_when_its_last_run_ends,
    a_person_that_is_asked_for_is_told_of,
    a_budget_that_is_reached_is_told_of_once,
    a_run_that_a_budget_refuses_at_once_is_told_of,
    a_schedule_that_fails_is_told_of_once,
    sub_agents_and_judges_are_not_told_of,
    what_was_sent_is_listed_and_sent_again,
    a_test_is_sent,
    few_are_under_way_at_a_time,
    what_is_anothers_is_not_told,
);

pub(super) async fn made(muster: &Muster, url: &str, events: &[&str]) -> (String, String) {
    let webhook = muster.us.post("/v1/webhooks", json!({"url": url, "events": events})).await.status(201);
    (text(&webhook, "id"), text(&webhook, "secret"))
}

/// Whether one of the signatures is of this secret: worked out here, from the specification.
pub(super) fn signed_by(got: &Got, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let told = format!("{}.{}.{}", got.header("webhook-id"), got.header("webhook-timestamp"), got.body);
    got.header("webhook-signature").split(' ').any(|one| {
        let tag = STANDARD.decode(one.strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, told.as_bytes(), &tag).is_ok()
    })
}

pub(super) async fn deliveries(muster: &Muster, id: &str) -> Vec<Value> {
    let found = muster.us.get(&format!("/v1/webhooks/{id}/deliveries?limit=100")).await.ok();
    found["data"].as_array().unwrap().clone()
}

fn kinds(got: &[Got]) -> Vec<String> {
    let mut kinds: Vec<String> = got.iter().map(|one| text(&one.json(), "type")).collect();
    kinds.sort();
    kinds
}

async fn an_endpoint_is_made_changed_and_deleted(muster: Muster) {
    let url = "https://hooks.example.com/muster";
    let body = json!({"url": url, "events": ["run.done", "batch.ended"], "description": "ours"});
    let twice = muster.us.with("idempotency-key", "one");
    let made = twice.post("/v1/webhooks", body.clone()).await;
    assert_eq!(twice.post("/v1/webhooks", body).await.text, made.text);
    let made = made.status(201);
    assert!(text(&made, "secret").starts_with("whsec_"));
    let id = text(&made, "id");
    let path = format!("/v1/webhooks/{id}");
    let found = muster.us.get(&path).await.ok();
    let mut expected = json!({
        "id": "<id>", "url": url, "events": ["run.done", "batch.ended"], "description": "ours", "enabled": true,
        "disabled_reason": null, "failing_since": null, "old_secret_until": null,
        "created_at": "<time>", "updated_at": "<time>",
    });
    assert_eq!(redacted(&found), expected);
    assert_eq!(muster.us.get("/v1/webhooks").await.ok()["data"], json!([found]));
    let change = json!({"events": ["run.error"], "description": "", "enabled": false});
    let changed = muster.us.patch(&path, change).await.ok();
    (expected["events"], expected["description"]) = (json!(["run.error"]), json!(""));
    (expected["enabled"], expected["disabled_reason"]) = (json!(false), json!("by_owner"));
    assert_eq!(redacted(&changed), expected);
    assert_eq!(muster.us.patch(&path, json!({"enabled": true})).await.ok()["disabled_reason"], Value::Null);
    let rotated = muster.us.post(&format!("{path}/rotate"), Value::Null).await.ok();
    assert_ne!(rotated["secret"], made["secret"]);
    assert!(rotated["old_secret_until"].is_string());
    muster.us.delete(&path).await.status(204);
    assert_eq!(muster.us.get(&path).await.code, 404);
}

async fn what_makes_no_endpoint_is_refused_with_its_field(muster: Muster) {
    for (body, field) in [
        (json!({"url": "ftp://example.com/", "events": ["run.done"]}), "url"),
        (json!({"url": "https://169.254.169.254/", "events": ["run.done"]}), "url"),
        (json!({"url": "https://hooks.example.com/", "events": []}), "events"),
        (json!({"url": "https://hooks.example.com/"}), "events"),
        (json!({"url": "https://hooks.example.com/", "events": ["run.done", "run.walks"]}), "events[1]"),
        (json!({"url": "https://hooks.example.com/", "events": ["run.done", "run.done"]}), "events"),
        (json!({"url": "https://hooks.example.com/", "events": ["webhook.test"]}), "events[0]"),
        (json!({"events": ["run.done"]}), "events"),
        (
            json!({"url": "https://hooks.example.com/", "events": ["run.done"], "description": "x".repeat(201)}),
            "description",
        ),
        (json!({"url": 5, "events": ["run.done"]}), "url"),
        (json!({"secret": "whsec_x"}), "secret"),
    ] {
        assert_eq!(muster.us.post("/v1/webhooks", body.clone()).await.param(), field, "{body}");
    }
    let (id, _) = made(&muster, "https://hooks.example.com/", &["run.done"]).await;
    let path = format!("/v1/webhooks/{id}");
    assert_eq!(muster.us.patch(&path, json!({"url": "https://10.0.0.1/"})).await.param(), "url");
    assert_eq!(muster.us.patch(&path, json!({"events": []})).await.param(), "events");
    for (body, field) in [
        (json!({}), "event_id"),
        (json!({"event_id": "evt_x", "since": "2026-01-01T00:00:00Z"}), "event_id"),
        (json!({"since": "yesterday"}), "since"),
    ] {
        assert_eq!(muster.us.post(&format!("{path}/redeliver"), body).await.param(), field);
    }
    assert_eq!(muster.us.get(&format!("{path}/deliveries?state=lost")).await.param(), "state");
    // Nothing could be signed for an address of a run's own yet.
    let agent = muster.us.agent("demo/scripted-l0").await;
    for (kind, mut body) in
        [("runs", json!({"message": "hello"})), ("batches", json!({"items": [{"message": "hello"}]}))]
    {
        body["webhook_url"] = json!("https://hooks.example.com/");
        assert_eq!(muster.us.post(&format!("/v1/agents/{agent}/{kind}"), body.clone()).await.param(), "webhook_url");
        body["webhook_url"] = json!("https://127.0.0.2/");
        assert_eq!(muster.us.post(&format!("/v1/agents/{agent}/{kind}"), body).await.param(), "webhook_url");
    }
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]));
}

async fn there_are_so_many_and_no_more(muster: Muster) {
    let body = json!({"url": "https://hooks.example.com/", "events": ["run.done"]});
    let mut calls = Vec::new();
    for _ in 0..12 {
        let (us, body) = (muster.us.clone(), body.clone());
        calls.push(tokio::spawn(async move { us.post("/v1/webhooks", body).await.code }));
    }
    let mut codes = Vec::new();
    for call in calls {
        codes.push(call.await.unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, [vec![201; 10], vec![409; 2]].concat());
    assert_eq!(muster.us.get("/v1/webhooks").await.ok()["data"].as_array().unwrap().len(), 10);
    // The one for addresses of runs counts too, and there is one.
    let id = text(&muster.us.get("/v1/webhooks").await.ok()["data"][0], "id");
    muster.us.delete(&format!("/v1/webhooks/{id}")).await.status(204);
    muster.us.post("/v1/webhooks", json!({})).await.status(201);
    assert_eq!(muster.us.post("/v1/webhooks", json!({})).await.code, 409);
}

async fn an_endpoint_is_told_what_it_asked_for_and_nothing_else(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let ends = ["run.done", "run.error", "run.interrupted"];
    let (_, secret) = made(&muster, &endpoint.url("/all"), &ends).await;
    made(&muster, &endpoint.url("/errors"), &["run.error"]).await;
    let (done, error) = (muster.us.agent("demo/scripted-l0").await, muster.us.agent("openai/fake-q").await);
    let agents = [(&done, "run.done"), (&error, "run.error")];
    for (agent, _) in agents {
        let body = json!({"message": "hello", "metadata": {"order": "7"}});
        muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202);
        muster.drain().await;
    }
    let cancelled = muster.us.run(&done, "hello").await;
    muster.us.post(&format!("/v1/runs/{cancelled}/cancel"), Value::Null).await.ok();
    muster.drain().await;
    let got = endpoint.got();
    let all: Vec<Got> = got.iter().filter(|one| one.path == "/all").cloned().collect();
    assert_eq!(kinds(&all), ["run.done", "run.error", "run.interrupted"]);
    assert_eq!(kinds(&got), ["run.done", "run.error", "run.error", "run.interrupted"]);
    assert!(all.iter().all(|one| signed_by(one, &secret)));
    let told = all.iter().find(|one| one.body.contains("run.done")).unwrap();
    let (body, data) = (told.json(), told.json()["data"].clone());
    assert_eq!((&data["status"], &data["metadata"]), (&json!("done"), &json!({"order": "7"})));
    let run = muster.us.get(&format!("/v1/runs/{}", text(&data, "run_id"))).await.ok();
    assert_eq!((&run["cost_micro_usd"], &run["agent_id"]), (&data["cost_micro_usd"], &data["agent_id"]));
    assert_eq!(body["timestamp"], run["ended_at"]);
    assert_eq!((told.header("content-type"), told.header("webhook-id").len()), ("application/json", 40));
    let now = muster.app.now().millis() / 1_000;
    assert!((now - 60..=now).contains(&told.header("webhook-timestamp").parse::<i64>().unwrap()));
}

async fn a_run_and_a_batch_tell_an_address_of_their_own(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let secret = text(&muster.us.post("/v1/webhooks", json!({})).await.status(201), "secret");
    let agent = muster.us.agent("demo/scripted-l0").await;
    let run = json!({"message": "hello", "webhook_url": endpoint.url("/run")});
    let run = muster.us.post(&format!("/v1/agents/{agent}/runs"), run).await.status(202);
    let batch = json!({"items": [{"message": "a"}, {"message": "b"}], "webhook_url": endpoint.url("/batch")});
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), batch).await.status(202);
    let lines = muster.us.with("content-type", "application/x-ndjson");
    let query = format!("webhook_url={}", endpoint.url("/lines"));
    let path = format!("/v1/agents/{agent}/batches?{query}");
    lines.send("POST", &path, r#"{"message":"one"}"#).await.status(202);
    muster.us.run(&agent, "nobody is told").await;
    muster.drain().await;
    let mut got = endpoint.got();
    got.sort_by(|one, other| one.path.cmp(&other.path));
    let paths: Vec<&str> = got.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["/batch", "/lines", "/run"]);
    assert!(got.iter().all(|one| signed_by(one, &secret)));
    assert_eq!(got[0].json()["data"]["batch_id"], batch["id"]);
    assert_eq!(got[0].json()["data"]["counts"], json!({"done": 2, "error": 0, "interrupted": 0}));
    assert_eq!(got[2].json()["data"]["run_id"], run["id"]);
}

async fn the_end_of_a_batch_is_told_when_its_last_run_ends(muster: Muster) {
    let endpoint = Endpoint::start().await;
    made(&muster, &endpoint.url("/"), &["batch.ended"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    let items: Vec<Value> = (0..120).map(|n| json!({"message": format!("item {n}")})).collect();
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({ "items": items })).await.status(202);
    muster.drain().await;
    // Nobody has looked at it, neither a caller nor the reaper.
    let got = endpoint.got();
    assert_eq!(kinds(&got), ["batch.ended"]);
    assert_eq!(got[0].json()["data"]["batch_id"], batch["id"]);
    // Looked at, it is not told again.
    muster.us.get(&format!("/v1/batches/{}", text(&batch, "id"))).await.ok();
    muster.pass(120_000);
    muster.reap().await;
    muster.drain().await;
    assert_eq!(endpoint.got().len(), 1);
}

async fn a_person_that_is_asked_for_is_told_of(muster: Muster) {
    let (endpoint, tools) = (Endpoint::start().await, Tools::start().await.unwrap());
    made(&muster, &endpoint.url("/"), &["run.approval_required", "run.done"]).await;
    let tool = json!({"type": "http", "name": "act", "method": "POST", "url": tools.url("/do/it"), "approval": "always",
        "parameters": {"type": "object"}});
    let agent = json!({"name": "a", "model": "openai/fake-t1", "tools": [tool]});
    let agent = text(&muster.us.post("/v1/agents", agent).await.status(201), "id");
    let run = muster.us.run(&agent, "do it").await;
    muster.drain().await;
    let got = endpoint.got();
    assert_eq!(kinds(&got), ["run.approval_required"]);
    let data = got[0].json()["data"].clone();
    assert_eq!((text(&data, "run_id"), text(&data, "reason")), (run.clone(), "approval_required".to_owned()));
    let asked = muster.us.get(&format!("/v1/runs/{run}/approvals")).await.ok();
    let decision = json!({"approval_id": asked["data"][0]["id"], "decision": "approve"});
    muster.us.post(&format!("/v1/runs/{run}/approvals"), decision).await.ok();
    muster.drain().await;
    assert_eq!(kinds(&endpoint.got()), ["run.approval_required", "run.done"]);
}

async fn a_budget_that_is_reached_is_told_of_once(muster: Muster) {
    let endpoint = Endpoint::start().await;
    made(&muster, &endpoint.url("/"), &["budget.reached"]).await;
    let agent = muster.us.agent("openai/fake").await;
    let poor = muster.us.new_key(json!({"day_budget_micro_usd": 1})).await;
    // Many at the same moment.
    let items: Vec<Value> = (0..20).map(|n| json!({"message": format!("say {n}")})).collect();
    poor.post(&format!("/v1/agents/{agent}/batches"), json!({ "items": items })).await.status(202);
    muster.drain().await;
    assert_eq!(kinds(&endpoint.got()), ["budget.reached"]);
    for _ in 0..3 {
        let run = poor.run(&agent, "hello").await;
        muster.drain().await;
        assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["reason"], "budget_exceeded");
    }
    let got = endpoint.got();
    assert_eq!(kinds(&got), ["budget.reached"]);
    let data = got[0].json()["data"].clone();
    assert_eq!((&data["budget"], &data["period"]), (&json!("key day"), &json!(muster.app.now().day())));
    assert!(text(&data, "of").starts_with("key_"));
    // A day later it is another.
    muster.pass(86_400_000);
    poor.run(&agent, "hello").await;
    muster.drain().await;
    assert_eq!(endpoint.got().len(), 2);
}

async fn a_run_that_a_budget_refuses_at_once_is_told_of(muster: Muster) {
    let endpoint = Endpoint::start().await;
    made(&muster, &endpoint.url("/"), &["run.error"]).await;
    let agent = muster.us.agent("openai/fake").await;
    let run = json!({"message": "hello", "budget_micro_usd": 1});
    let run = muster.us.post(&format!("/v1/agents/{agent}/runs?wait=25"), run).await.ok();
    assert_eq!(run["reason"], "budget_exceeded");
    muster.drain().await;
    assert_eq!(endpoint.got()[0].json()["data"]["run_id"], run["id"]);
}

async fn a_schedule_that_fails_is_told_of_once(muster: Muster) {
    let endpoint = Endpoint::start().await;
    made(&muster, &endpoint.url("/"), &["schedule.failed"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    let schedule = json!({"agent_id": agent, "name": "s", "schedule": "rate(1 hour)", "message": "hello"});
    let schedule = muster.us.post("/v1/schedules", schedule).await.status(201);
    muster.us.delete(&format!("/v1/agents/{agent}")).await.status(204);
    muster.pass(3_601_000);
    for _ in 0..2 {
        muster.reap().await;
        muster.reap_by_another().await;
        muster.drain_twice().await;
    }
    let got = endpoint.got();
    assert_eq!(kinds(&got), ["schedule.failed"]);
    let data = got[0].json()["data"].clone();
    assert_eq!((&data["schedule_id"], &data["code"]), (&schedule["id"], &json!("not_found")), "{data}");
}

async fn sub_agents_and_judges_are_not_told_of(muster: Muster) {
    let endpoint = Endpoint::start().await;
    made(&muster, &endpoint.url("/"), &["run.done", "batch.ended"]).await;
    let graded = json!({"name": "g", "description": "", "systemPrompt": "", "modelAlias": "openai/fake",
        "acceptanceCriteria": ["it is polite"]});
    let graded = text(&muster.us.post("/api/agents", graded).await.ok(), "id");
    let graded = format!("agent_{graded}");
    muster.us.run(&graded, "hello").await;
    let below = muster.us.agent("openai/fake").await;
    let above = json!({"name": "above", "model": "openai/fake-t1",
        "tools": [{"type": "agent", "name": "ask", "agent_id": below}]});
    let above = text(&muster.us.post("/v1/agents", above).await.status(201), "id");
    muster.us.run(&above, "hello").await;
    muster.drain().await;
    let agents: Vec<Value> = endpoint.got().iter().map(|one| one.json()["data"]["agent_id"].clone()).collect();
    assert_eq!(agents.len(), 2, "{agents:?}");
    assert!(agents.contains(&json!(graded)) && agents.contains(&json!(above)), "{agents:?}");
}

async fn what_was_sent_is_listed_and_sent_again(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, secret) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    for _ in 0..3 {
        muster.us.run(&agent, "hello").await;
        muster.drain().await;
        muster.pass(10);
    }
    let all = deliveries(&muster, &id).await;
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|one, other| one["created_at"].as_str() > other["created_at"].as_str()));
    let first = muster.us.get(&format!("/v1/webhooks/{id}/deliveries?limit=2")).await.ok();
    let cursor = text(&first, "next_cursor");
    let rest = muster.us.get(&format!("/v1/webhooks/{id}/deliveries?limit=2&after={cursor}")).await.ok();
    assert_eq!([first["data"].as_array().unwrap().clone(), rest["data"].as_array().unwrap().clone()].concat(), all);
    assert_eq!((&all[0]["state"], &all[0]["tries"][0]["status"]), (&json!("delivered"), &json!(200)));
    let event = text(&all[1], "event_id");
    let path = format!("/v1/webhooks/{id}/redeliver");
    assert_eq!(muster.us.post(&path, json!({"event_id": event})).await.ok(), json!({"redelivered": 1}));
    muster.drain().await;
    let got = endpoint.got();
    assert_eq!(got.len(), 4);
    assert_eq!((got[3].header("webhook-id"), got[3].body.as_str()), (event.as_str(), all[1]["body"].as_str().unwrap()));
    assert!(signed_by(&got[3], &secret));
    // None has failed, so there is none to be sent again.
    let since = json!({"since": "2020-01-01T00:00:00Z"});
    assert_eq!(muster.us.post(&path, since).await.ok(), json!({"redelivered": 0}));
    let nobody = format!("evt_{}", muster.us.org);
    assert_eq!(muster.us.post(&path, json!({"event_id": nobody})).await.code, 404);
}

async fn a_test_is_sent(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, secret) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    let tested = muster.us.post(&format!("/v1/webhooks/{id}/test"), Value::Null).await.ok();
    muster.drain().await;
    let got = endpoint.got();
    assert_eq!(
        (got[0].header("webhook-id"), kinds(&got)),
        (text(&tested, "event_id").as_str(), vec!["webhook.test".to_owned()])
    );
    assert!(signed_by(&got[0], &secret));
    let path = format!("/v1/webhooks/{id}");
    muster.us.patch(&path, json!({"enabled": false})).await.ok();
    assert_eq!(muster.us.post(&format!("{path}/test"), Value::Null).await.code, 409);
}

async fn few_are_under_way_at_a_time(muster: Muster) {
    let endpoint = Endpoint::start().await;
    endpoint.delay(Duration::from_millis(20));
    made(&muster, &endpoint.url("/"), &["run.done"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    let items: Vec<Value> = (0..60).map(|n| json!({"message": format!("item {n}")})).collect();
    muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({ "items": items })).await.status(202);
    let muster = muster.at_work();
    let got = endpoint.when(60).await;
    assert_eq!(got.len(), 60);
    assert!((2..=5).contains(&endpoint.most()), "{}", endpoint.most());
    drop(muster);
}

async fn what_is_anothers_is_not_told(muster: Muster) {
    let endpoint = Endpoint::start().await;
    made(&muster, &endpoint.url("/"), &["run.done", "batch.ended"]).await;
    let agent = muster.them.agent("demo/scripted-l0").await;
    muster.them.run(&agent, "hello").await;
    let batch = json!({"items": [{"message": "a"}]});
    muster.them.post(&format!("/v1/agents/{agent}/batches"), batch).await.status(202);
    muster.drain().await;
    assert_eq!(endpoint.got().len(), 0);
}
