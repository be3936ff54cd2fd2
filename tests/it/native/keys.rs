//! Keys: made, listed, revoked, rotated; what a key may do, and until when.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_key_is_shown_once,
    what_makes_no_key_is_refused_with_its_field,
    keys_are_listed_newest_first_in_pages,
    a_revoked_key_is_dead_at_once,
    keys_revoked_at_the_same_time_are_both_answered,
    a_rotated_key_without_overlap_is_dead_at_once,
    a_rotated_key_goes_on_for_its_overlap,
    a_key_that_is_gone_is_not_rotated,
    a_key_ends_when_it_was_said_to,
    a_key_cannot_give_what_it_lacks,
    a_key_may_do_only_what_its_scopes_say,
    when_a_key_was_used_is_kept_through_its_end,
    every_bad_key_is_answered_alike,
    a_key_is_of_one_organisation,
);

const SCOPES: [&str; 6] = ["agents:read", "agents:write", "runs:read", "runs:write", "keys:manage", "secrets:write"];

async fn a_key_is_shown_once(muster: Muster) {
    let body = json!({"name": "ci", "scopes": ["runs:read"], "requests_per_minute": 7, "in_flight": 3});
    let answer = muster.us.post("/v1/keys", body).await;
    assert!(answer.header("location").is_empty() && answer.header("cache-control") == "no-store");
    let made = answer.body.clone();
    assert_eq!(text(&made, "key").len(), 57);
    assert!(text(&made, "key").ends_with(made["last4"].as_str().unwrap()));
    let mut expected = json!({
        "key": "<secret>", "id": "<id>", "name": "ci", "scopes": ["runs:read"], "last4": made["last4"],
        "requests_per_minute": 7, "in_flight": 3, "created_at": "<time>", "expires_at": null, "revoked_at": null,
        "last_used_at": null, "rotated_from": null, "day_budget_micro_usd": null, "month_budget_micro_usd": null,
    });
    assert_eq!(answer.shape(201), expected);
    let listed = muster.us.get("/v1/keys?limit=1").await;
    assert!(!listed.text.contains("ag_live_"));
    expected.as_object_mut().unwrap().remove("key");
    assert_eq!(listed.shape(200)["data"], json!([expected]));
    muster.us.with_key(&text(&made, "key")).get("/v1/runs").await.ok();
}

async fn what_makes_no_key_is_refused_with_its_field(muster: Muster) {
    for (body, param) in [
        (json!({"name": "n".repeat(201)}), json!("name")),
        (json!({"scopes": ["runs:read", "runs:eat"]}), json!("scopes[1]")),
        (json!({"expires_at": "tomorrow"}), json!("expires_at")),
        (json!({"expires_at": muster.in_ms(-1)}), json!("expires_at")),
        (json!({"requests_per_minute": -1}), json!("requests_per_minute")),
        (json!({"day_budget_micro_usd": 0}), json!("day_budget_micro_usd")),
        (json!({"month_budget_micro_usd": -5}), json!("month_budget_micro_usd")),
        (json!({"colour": "red"}), json!("colour")),
        (json!([]), Value::Null),
    ] {
        assert_eq!(muster.us.post("/v1/keys", body.clone()).await.param(), param, "{body}");
    }
    assert_eq!(muster.us.get("/v1/keys").await.ok()["data"].as_array().unwrap().len(), 1);
}

async fn keys_are_listed_newest_first_in_pages(muster: Muster) {
    for number in 0..5 {
        muster.us.post("/v1/keys", json!({"name": format!("key {number}")})).await.status(201);
        muster.pass(2);
    }
    let mut names = Vec::new();
    let mut path = "/v1/keys?limit=2".to_owned();
    loop {
        let page = muster.us.get(&path).await.ok();
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        names.extend(data.iter().map(|key| text(key, "name")));
        if page["has_more"] == false {
            assert_eq!(page["next_cursor"], Value::Null);
            break;
        }
        path = format!("/v1/keys?limit=2&after={}", text(&page, "next_cursor"));
    }
    assert_eq!(names, ["key 4", "key 3", "key 2", "key 1", "key 0", ""]);
    for (query, param) in [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("after=x", "after")] {
        assert_eq!(muster.us.get(&format!("/v1/keys?{query}")).await.param(), param);
    }
}

async fn a_revoked_key_is_dead_at_once(muster: Muster) {
    let made = muster.us.post("/v1/keys", json!({})).await.status(201);
    let (key, path) = (muster.us.with_key(&text(&made, "key")), format!("/v1/keys/{}", text(&made, "id")));
    key.get("/v1/models").await.ok();
    let revoked = muster.us.delete(&path).await.ok();
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(key.get("/v1/models").await.code_of(401), "unauthorized");
    assert_eq!(muster.us.delete(&path).await.ok(), revoked, "once revoked it stays as it is");
    let other = muster.us.post("/v1/keys", json!({})).await.status(201);
    let itself = muster.us.with_key(&text(&other, "key"));
    itself.delete(&format!("/v1/keys/{}", text(&other, "id"))).await.ok();
    assert_eq!(itself.get("/v1/models").await.code, 401);
}

async fn keys_revoked_at_the_same_time_are_both_answered(muster: Muster) {
    for _ in 0..5 {
        let made = muster.us.post("/v1/keys", json!({})).await.status(201);
        let path = format!("/v1/keys/{}", text(&made, "id"));
        let twins = futures_util::future::join_all((0..4).map(|_| muster.us.delete(&path))).await;
        for twin in twins {
            assert!(twin.ok()["revoked_at"].is_string());
        }
    }
}

async fn a_rotated_key_without_overlap_is_dead_at_once(muster: Muster) {
    let made = muster.us.post("/v1/keys", json!({"name": "a", "scopes": ["runs:read"], "in_flight": 9})).await;
    let made = made.status(201);
    let path = format!("/v1/keys/{}/rotate", text(&made, "id"));
    let turned = muster.us.send("POST", &path, "").await.status(201);
    assert_eq!((&turned["rotated_from"], &turned["scopes"]), (&made["id"], &made["scopes"]));
    assert_eq!((&turned["name"], &turned["in_flight"]), (&made["name"], &made["in_flight"]));
    assert_eq!(muster.us.with_key(&text(&made, "key")).get("/v1/runs").await.code, 401);
    muster.us.with_key(&text(&turned, "key")).get("/v1/runs").await.ok();
}

async fn a_rotated_key_goes_on_for_its_overlap(muster: Muster) {
    let made = muster.us.post("/v1/keys", json!({})).await.status(201);
    let path = format!("/v1/keys/{}/rotate", text(&made, "id"));
    let too_long = muster.us.post(&path, json!({"overlap_ms": 604_800_001})).await;
    assert_eq!(too_long.param(), "overlap_ms");
    let turned = muster.us.post(&path, json!({"overlap_ms": 60_000})).await.status(201);
    let (old, new) = (muster.us.with_key(&text(&made, "key")), muster.us.with_key(&text(&turned, "key")));
    old.get("/v1/models").await.ok();
    muster.pass(60_001);
    assert_eq!(old.get("/v1/models").await.code, 401);
    new.get("/v1/models").await.ok();
    assert_eq!(turned["expires_at"], Value::Null);
}

async fn a_key_that_is_gone_is_not_rotated(muster: Muster) {
    let made = muster.us.post("/v1/keys", json!({"expires_at": muster.in_ms(5_000)})).await.status(201);
    muster.pass(5_001);
    let rotate = |id: &str| format!("/v1/keys/{id}/rotate");
    assert_eq!(muster.us.post(&rotate(&text(&made, "id")), json!({})).await.code_of(409), "conflict");
    let unknown = muster.us.post(&rotate("key_019a2b3c-4d5e-7f60-8123-456789abcdef"), json!({})).await;
    let foreign = muster.them.post(&rotate(&text(&made, "id")), json!({})).await;
    let malformed = muster.us.post(&rotate("1"), json!({})).await;
    for answer in [unknown, foreign, malformed] {
        assert_eq!(answer.status(404)["error"]["message"], "key not found");
    }
}

async fn a_key_ends_when_it_was_said_to(muster: Muster) {
    let key = muster.us.new_key(json!({"expires_at": muster.in_ms(60_000)})).await;
    key.get("/v1/models").await.ok();
    muster.pass(60_000);
    assert_eq!(key.get("/v1/models").await.code, 401);
}

async fn a_key_cannot_give_what_it_lacks(muster: Muster) {
    let lesser = muster.us.new_key(json!({"scopes": ["keys:manage", "runs:read"]})).await;
    let refused = lesser.post("/v1/keys", json!({"scopes": ["runs:read", "runs:write"]})).await.status(403);
    assert_eq!(refused["error"]["details"]["missing_scopes"], json!(["runs:write"]));
    let heir = lesser.post("/v1/keys", json!({})).await.status(201);
    assert_eq!(heir["scopes"], json!(["keys:manage", "runs:read"]), "none asked for: its maker's");
    let full = muster.us.post("/v1/keys", json!({})).await.status(201);
    let rotate = format!("/v1/keys/{}/rotate", text(&full, "id"));
    assert_eq!(lesser.post(&rotate, json!({})).await.code_of(403), "forbidden");
    muster.us.with_key(&text(&full, "key")).get("/v1/models").await.ok();
}

async fn a_key_may_do_only_what_its_scopes_say(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let run = muster.us.run(&agent, "hello").await;
    let doomed = format!("/v1/agents/{}", muster.us.agent("demo/scripted-l0").await);
    let (agent, run) = (format!("/v1/agents/{agent}"), format!("/v1/runs/{run}"));
    let muster = muster.at_work();
    let calls = [
        ("GET", "/v1/agents".to_owned(), "agents:read"),
        ("GET", agent.clone(), "agents:read"),
        ("GET", format!("{agent}/versions"), "agents:read"),
        ("POST", "/v1/agents".to_owned(), "agents:write"),
        ("PATCH", agent.clone(), "agents:write"),
        ("POST", format!("{agent}/versions/1/restore"), "agents:write"),
        ("GET", "/v1/runs".to_owned(), "runs:read"),
        ("GET", run.clone(), "runs:read"),
        ("GET", format!("{run}/messages"), "runs:read"),
        ("GET", format!("{run}/explain"), "runs:read"),
        ("GET", "/v1/batches".to_owned(), "runs:read"),
        ("POST", format!("{agent}/runs"), "runs:write"),
        ("POST", format!("{agent}/runs?wait=9"), "runs:write"),
        ("POST", format!("{agent}/batches?wait=9"), "runs:write"),
        ("POST", format!("{run}/cancel"), "runs:write"),
        ("POST", "/v1/keys".to_owned(), "keys:manage"),
        ("GET", "/v1/keys".to_owned(), "keys:manage"),
        ("PUT", "/v1/secrets/KEY".to_owned(), "secrets:write"),
        ("GET", "/v1/secrets".to_owned(), "secrets:write"),
        ("DELETE", "/v1/secrets/KEY".to_owned(), "secrets:write"),
        ("DELETE", doomed, "agents:write"),
    ];
    for scope in SCOPES {
        let key = muster.us.new_key(json!({"scopes": [scope]})).await;
        for (method, path, needed) in &calls {
            let body = match *path {
                _ if *method == "GET" || *method == "DELETE" => String::new(),
                ref path if path.contains("/batches") => json!({"items": [{"message": "hello"}]}).to_string(),
                ref path if path.contains("/runs") && !path.contains("cancel") => {
                    json!({"message": "hello"}).to_string()
                }
                _ if *method == "PUT" => json!({"value": "x"}).to_string(),
                ref path if path == "/v1/agents" => json!({"name": "a", "model": "demo/scripted-l0"}).to_string(),
                _ => "{}".to_owned(),
            };
            let answer = key.send(method, path, body).await;
            if scope == *needed {
                assert!(answer.code < 300, "{scope}: {method} {path}: {}", answer.text);
            } else {
                let missing = answer.status(403)["error"]["details"]["missing_scopes"].clone();
                assert_eq!(missing, json!([needed]), "{scope}: {method} {path}");
            }
        }
    }
}

async fn when_a_key_was_used_is_kept_through_its_end(muster: Muster) {
    let made = muster.us.post("/v1/keys", json!({})).await.status(201);
    let (id, key) = (text(&made, "id"), muster.us.with_key(&text(&made, "key")));
    key.get("/v1/models").await.ok();
    let used = || async {
        let listed = muster.us.get("/v1/keys").await.ok();
        listed["data"].as_array().unwrap().iter().find(|key| key["id"] == id.as_str()).unwrap()["last_used_at"].clone()
    };
    let hour = used().await;
    assert!(text(&json!({"hour": hour}), "hour").ends_with(":00:00.000Z"));
    muster.us.post(&format!("/v1/keys/{id}/rotate"), json!({"overlap_ms": 1_000})).await.status(201);
    assert_eq!(used().await, hour);
    muster.us.delete(&format!("/v1/keys/{id}")).await.ok();
    assert_eq!(used().await, hour);
}

async fn every_bad_key_is_answered_alike(muster: Muster) {
    let revoked = muster.us.post("/v1/keys", json!({})).await.status(201);
    muster.us.delete(&format!("/v1/keys/{}", text(&revoked, "id"))).await.ok();
    let expired = muster.us.new_key(json!({"expires_at": muster.in_ms(1_000)})).await;
    muster.pass(1_000);
    let us = muster.us.with("x-request-id", "same");
    let good = us.key();
    let unknown = "ag_live_0000000000000000000000000000000000000000000000000";
    let keys = [text(&revoked, "key"), expired.key(), unknown.to_owned(), format!("{good}x"), "x".to_owned()];
    let mut bodies = Vec::new();
    for key in keys {
        let answer = us.with_key(&key).get("/v1/runs").await;
        assert_eq!((answer.code, answer.header("www-authenticate")), (401, "Bearer"));
        bodies.push(answer.text);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    us.with("authorization", &format!("bearer {good}")).get("/v1/runs").await.ok();
    assert_eq!(us.with("authorization", &format!("Basic {good}")).get("/v1/runs").await.code, 401);
}

async fn a_key_is_of_one_organisation(muster: Muster) {
    let (ours, theirs) = (muster.us.org, muster.them.org);
    for own in [ours.to_string(), ours.prefixed()] {
        muster.us.with("x-org-id", &own).get("/v1/runs").await.ok();
    }
    for other in [theirs.to_string(), theirs.prefixed(), "x".to_owned(), String::new()] {
        assert_eq!(muster.us.with("x-org-id", &other).get("/v1/runs").await.code_of(403), "forbidden", "{other}");
    }
    let listed = muster.us.get("/v1/keys").await.ok();
    let id = text(&listed["data"][0], "id");
    assert_eq!(muster.them.delete(&format!("/v1/keys/{id}")).await.code, 404);
    muster.us.get("/v1/runs").await.ok();
}
