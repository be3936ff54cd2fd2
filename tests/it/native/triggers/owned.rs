//! What the owner of a trigger does with it.

use serde_json::{Value, json};

use super::trigger;
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_trigger_is_made_listed_changed_and_deleted,
    what_makes_no_trigger_is_refused_with_its_field,
    a_secret_is_told_once,
    what_it_starts_is_in_the_name_of_who_changed_it_last,
);

async fn a_trigger_is_made_listed_changed_and_deleted(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let body = json!({"agent_id": agent, "name": "pushes", "source": "github", "message": "{{ body.ref }}", "filter": "body.ref",
        "secret": "It's a Secret to Everybody", "metadata": {"a": "b"}});
    let made = us.post("/v1/triggers", body).await.status(201);
    assert_eq!(made["secret"], "It's a Secret to Everybody");
    let id = text(&made, "id");
    let path = format!("/v1/triggers/{id}");
    let expected = json!({"id": id, "agent_id": agent, "name": "pushes", "description": "", "source": "github", "from": null, "object": null, "enabled": true,
        "url_path": format!("/v1/hooks/{id}"), "message": "{{ body.ref }}", "inputs": null, "rows": null, "custom_id": null,
        "filter": "body.ref", "version": null, "model": null, "mode": null, "max_steps": null, "budget_micro_usd": null,
        "on_budget": "stop_new", "max_concurrency": null, "reduce": null, "metadata": {"a": "b"}, "previous_secret_until": null,
        "created_at": made["created_at"], "updated_at": made["updated_at"]});
    assert_eq!(us.get(&path).await.ok(), expected);
    muster.pass(1_000);
    let change = json!({"inputs": {"ref": "{{ body.ref }}"}, "filter": null, "enabled": false, "name": "all"});
    let changed = us.patch(&path, change).await.ok();
    let as_changed = |view: &Value| ["message", "inputs", "filter", "enabled", "name"].map(|field| view[field].clone());
    let new = [json!(null), json!({"ref": "{{ body.ref }}"}), json!(null), json!(false), json!("all")];
    assert_eq!(as_changed(&changed), new);
    assert!(text(&changed, "updated_at") > text(&changed, "created_at"));
    assert_eq!(as_changed(&us.get(&path).await.ok()), new);
    assert_eq!(us.patch(&path, json!({})).await.ok(), changed);
    let second = trigger(us, &agent, "token", json!({"message": "x"})).await;
    let listed = us.get("/v1/triggers?limit=1").await.ok();
    assert_eq!(listed["data"][0]["id"], json!(second.id));
    let rest = us.get(&format!("/v1/triggers?limit=5&after={}", text(&listed, "next_cursor"))).await.ok();
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&json!(id), &json!(false)));
    us.delete(&path).await.status(204);
    for answer in [us.get(&path).await, us.delete(&path).await, us.patch(&path, json!({})).await] {
        assert_eq!(answer.status(404)["error"]["message"], "trigger not found");
    }
    assert_eq!(us.get("/v1/triggers").await.ok()["data"].as_array().unwrap().len(), 1);
    // The same request again makes nothing more.
    let once = us.with("idempotency-key", "one trigger");
    let body = json!({"agent_id": agent, "name": "once", "source": "stripe", "message": "x"});
    assert_eq!(once.post("/v1/triggers", body.clone()).await.text, once.post("/v1/triggers", body).await.text);
    assert_eq!(us.get("/v1/triggers").await.ok()["data"].as_array().unwrap().len(), 2);
}

async fn what_makes_no_trigger_is_refused_with_its_field(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let typed = json!({"name": "typed", "model": "demo/scripted-l0", "inputs": [{"name": "n", "type": "integer"}]});
    let typed = text(&us.post("/v1/agents", typed).await.status(201), "id");
    for (others, param) in [
        (json!({"name": ""}), "name"),
        (json!({"source": "carrier pigeon"}), "source"),
        (json!({"message": ""}), "message"),
        (json!({"message": "a\n{{ body."}), "message"),
        (json!({"message": "{{ 'a' * 9 }}"}), "message"),
        (json!({"message": "x".repeat(16_385)}), "message"),
        (json!({"message": "x", "inputs": {}}), "message"),
        (json!({"inputs": {"a": {"b": "{{ x"}}}), "inputs.a.b"),
        (json!({"inputs": {"a": "x".repeat(70_000)}}), "inputs"),
        (json!({"message": "x", "filter": ""}), "filter"),
        (json!({"message": "x", "filter": "{{ x }}"}), "filter"),
        (json!({"message": "x", "custom_id": "y"}), "custom_id"),
        (json!({"rows": "body"}), "message"),
        (json!({"rows": "body |", "message": "x"}), "rows"),
        (json!({"message": "x", "secret": "short"}), "secret"),
        (json!({"message": "x", "source": "standard_webhooks", "secret": "whsec_short"}), "secret"),
        (json!({"message": "x", "source": "eventbridge", "secret": "too short"}), "secret"),
        (json!({"message": "x", "max_steps": 0}), "max_steps"),
        (json!({"message": "x", "max_concurrency": 2}), "max_concurrency"),
        (json!({"rows": "body", "message": "x", "max_steps": 2}), "max_steps"),
        (json!({"message": "x", "model": "no/such"}), "model"),
        (json!({"agent_id": typed, "message": "x"}), "inputs"),
        (json!({"agent_id": typed, "inputs": {}}), "inputs.n"),
        (json!({"agent_id": typed, "inputs": {"n": "{{ body.n }}", "m": 1}}), "inputs.m"),
        (json!({"agent_id": typed, "inputs": {"n": "no. {{ body.n }}"}}), "inputs.n"),
        (json!({"agent_id": typed, "rows": "body", "inputs": {}}), "inputs.n"),
    ] {
        let mut body = json!({"agent_id": agent, "name": "x", "source": "token"});
        body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        let answer = us.post("/v1/triggers", body).await;
        assert_eq!(answer.clone().param(), param, "{others:.100}: {}", answer.text);
    }
    let line = us
        .post("/v1/triggers", json!({"agent_id": agent, "name": "x", "source": "token", "message": "a\n{{ body."}))
        .await;
    assert!(line.text.contains("line 2"), "{}", line.text);
    let nobody =
        json!({"agent_id": format!("agent_{}", uuid::Uuid::now_v7()), "name": "x", "source": "token", "message": "x"});
    assert_eq!(us.post("/v1/triggers", nobody).await.code_of(404), "not_found");
    assert_eq!(us.get("/v1/triggers").await.ok()["data"], json!([]));
    let bus = trigger(us, &agent, "eventbridge", json!({"message": "x"})).await;
    assert_eq!(us.post(&format!("/v1/triggers/{}/rotate_secret", bus.id), json!({})).await.code, 200);
    let ends = trigger(us, &agent, "run", json!({"message": "x", "from": {"agent_id": agent}})).await;
    assert_eq!(us.post(&format!("/v1/triggers/{}/rotate_secret", ends.id), json!({})).await.code, 409);
    trigger(us, &typed, "token", json!({"inputs": {"n": "{{ body.n }}"}})).await;
    trigger(us, &typed, "token", json!({"rows": "body", "inputs": {"n": "{{ row }}"}})).await;
}

async fn a_secret_is_told_once(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let made = trigger(us, &agent, "github", json!({"message": "x"})).await;
    let path = format!("/v1/triggers/{}", made.id);
    made.deliver(&muster, "e", json!({})).await.status(202);
    let answers = [
        us.get(&path).await,
        us.get("/v1/triggers").await,
        us.patch(&path, json!({"name": "y"})).await,
        us.get(&format!("{path}/events")).await,
        us.post(&format!("{path}/test"), json!({"body": {}})).await,
        us.get(&format!("/api/agents/{}/trigger", agent.replace("agent_", ""))).await,
    ];
    assert!(answers.iter().all(|answer| answer.code == 200 && !answer.text.contains(&made.secret)));
    for body in [
        format!(r#"{{"agent_id":"{agent}","name":"x","source":"token","{}":1}}"#, made.secret),
        format!(r#"{{"agent_id":"{agent}","name":"x","source":"token","message":"x","secret":["{}"]}}"#, made.secret),
        format!(r#"{{"agent_id":"{agent}","name":"x","source":"token","message":"x","secret":"{}\n"}}"#, made.secret),
    ] {
        let refused = us.send("POST", "/v1/triggers", body).await;
        assert!(refused.code == 400 && !refused.text.contains(&made.secret), "{}", refused.text);
    }
}

async fn what_it_starts_is_in_the_name_of_who_changed_it_last(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let (one, two) = (us.new_key(json!({})).await, us.new_key(json!({})).await);
    let made = trigger(&one, &agent, "token", json!({"message": "x"})).await;
    let used_by = async |event: &str| {
        made.deliver(&muster, event, json!({})).await.status(202);
        muster.drain().await;
        let usage = us.get("/v1/usage?group_by=key").await.ok();
        usage["data"].as_array().unwrap().iter().map(|entry| entry["key_id"].clone()).collect::<Vec<_>>()
    };
    let first = used_by("a").await;
    two.patch(&format!("/v1/triggers/{}", made.id), json!({"name": "y"})).await.ok();
    let both = used_by("b").await;
    assert!(first.len() == 1 && both.len() == 2 && both.contains(&first[0]), "{first:?} {both:?}");
    let reader = us.new_key(json!({"scopes": ["runs:read"]})).await;
    assert_eq!(reader.patch(&format!("/v1/triggers/{}", made.id), json!({})).await.code, 403);
    assert_eq!(reader.get(&format!("/v1/triggers/{}", made.id)).await.code, 200);
}
