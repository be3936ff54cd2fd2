//! What holds for every call of this surface: unknown paths, wrong methods, keys, ids.

use serde_json::json;

use super::{agent, fields, path};
use crate::harness::{Muster, on_every_backend};

on_every_backend!(
    unknown_paths_and_wrong_methods_are_answered_in_the_surfaces_body,
    a_missing_key_a_foreign_one_and_a_lesser_one_are_refused,
    an_agent_that_is_not_ours_is_not_found,
    what_is_wrong_beside_the_body_is_named_too,
);

async fn unknown_paths_and_wrong_methods_are_answered_in_the_surfaces_body(muster: Muster) {
    for unknown in ["/api/", "/api/nothing", "/api/agents/", "/api/agents/x/y"] {
        assert_eq!(muster.us.get(unknown).await.status(404), json!({"error": "path not found"}), "{unknown}");
    }
    let refused = muster.us.send("DELETE", "/api/agents", "").await;
    assert_eq!(refused.header("allow"), "GET, POST");
    assert_eq!(refused.status(405), json!({"error": "method not allowed; allowed: GET, POST"}));
}

async fn a_missing_key_a_foreign_one_and_a_lesser_one_are_refused(muster: Muster) {
    let id = agent(&muster.us).await;
    let nobody = muster.us.nobody().get("/api/agents").await.status(401);
    assert_eq!(nobody.as_object().unwrap().len(), 1);
    let foreign = muster.us.with("x-org-id", &muster.them.org.to_string()).get("/api/agents").await;
    assert!(foreign.status(403).get("missingPerms").is_none());
    let nothing = muster.us.new_key(json!({"scopes": ["runs:read"]})).await;
    let batch = json!({"items": [{"id": id, "name": "n"}]});
    for (method, at, body, missing) in [
        ("GET", "/api/agents".to_owned(), json!({}), "agent.read"),
        ("GET", path(&id), json!({}), "agent.read"),
        ("GET", format!("{}/versions", path(&id)), json!({}), "agent.read"),
        ("POST", "/api/agents".to_owned(), json!({"name": "n", "description": "", "systemPrompt": ""}), "agent.create"),
        ("PUT", path(&id), json!({"name": "n"}), "agent.create"),
        ("PUT", "/api/agents/batch".to_owned(), batch, "agent.create"),
        ("POST", format!("{}/copy", path(&id)), json!({}), "agent.create"),
    ] {
        let refused = nothing.send(method, &at, body.to_string()).await.status(403);
        assert_eq!(refused["missingPerms"], json!([missing]), "{method} {at}");
    }
    assert_eq!(muster.us.get(&path(&id)).await.ok()["name"], "a");
}

async fn an_agent_that_is_not_ours_is_not_found(muster: Muster) {
    let id = agent(&muster.us).await;
    let prefixed = format!("agent_{id}");
    for (method, rest) in [("GET", ""), ("PUT", ""), ("GET", "/versions"), ("POST", "/copy")] {
        let foreign = muster.them.send(method, &format!("{}{rest}", path(&id)), "{}").await;
        for other in ["019a2b3c-4d5e-7f60-8123-456789abcdef", "1", "x%00", &prefixed, &"9".repeat(300)] {
            let unknown = muster.them.send(method, &format!("{}{rest}", path(other)), "{}").await;
            assert_eq!((foreign.code, &foreign.text), (404, &unknown.text), "{method} {rest} {other}");
        }
        assert_eq!(foreign.body, json!({"error": "agent not found"}));
        muster.us.send(method, &format!("{}{rest}", path(&id)), "{}").await.ok();
    }
}

async fn what_is_wrong_beside_the_body_is_named_too(muster: Muster) {
    let (id, other) = (agent(&muster.us).await, agent(&muster.us).await);
    let (us, at) = (&muster.us, path(&id));
    // Calls that take no query, or no body.
    for (method, target, body) in [
        ("GET", "/api/agents?colour=1".to_owned(), ""),
        ("GET", format!("{at}?colour=1"), ""),
        ("PUT", format!("{at}?colour=1"), "{}"),
        ("GET", format!("{at}/versions?colour=1"), ""),
        ("POST", format!("{at}/copy?colour=1"), ""),
        ("POST", format!("{at}/copy"), r#"{"colour": 1}"#),
        ("POST", format!("{at}/run-async?colour=1"), r#"{"inputs": {}}"#),
    ] {
        assert_eq!(fields(us.send(method, &target, body).await), ["colour"], "{method} {target}");
    }
    for body in ["{", "[]", "x"] {
        assert_eq!(fields(us.send("POST", &format!("{at}/copy"), body).await), [""], "{body}");
    }
    assert_eq!(us.get("/api/agents").await.ok().as_array().unwrap().len(), 2, "no copy was made");
    us.send("POST", &format!("{at}/copy"), "").await.ok();
    // An agent that was read may be sent back, but not to another.
    for wrong in [json!(other), json!(5), json!("x")] {
        assert_eq!(fields(us.put(&at, json!({"id": wrong, "name": "n"})).await), ["id"]);
    }
    assert_eq!(us.put(&at, json!({"id": id, "name": "n"})).await.ok()["name"], "n");
    assert_eq!(fields(us.get("/api/agent-runs?agentNameFilter=").await), ["agentNameFilter"]);
    us.post(&format!("{at}/run-async"), json!({"inputs": {}, "attachments": null})).await.ok();
}
