//! The secret is put, deleted, and refused in every way there is.

use serde_json::json;
use shared::store::row::{Key, Rev, Row, Table, When, Write};

use crate::harness::{Answer, Client, Muster};

/// Puts the secret, and tries to in every way that is refused.
pub(super) async fn calls(us: &Client, canary: &str) -> Vec<Answer> {
    let good = json!({ "value": canary }).to_string();
    let mut answers = Vec::new();
    for client in [us.clone(), us.with("idempotency-key", "once"), us.with("idempotency-key", "once")] {
        let answer = client.send("PUT", "/v1/secrets/KEY", good.clone()).await;
        assert_eq!(answer.code, 200);
        answers.push(answer);
    }
    for body in [
        format!(r#"{{"value": {canary}}}"#),
        format!(r#"{{"value": ["{canary}"]}}"#),
        format!(r#"{{"value": {{"{canary}": 1}}}}"#),
        format!(r#"{{"{canary}": "x"}}"#),
        format!(r#"{{"value": "{canary}", "value": "{canary}"}}"#),
        format!(r#"{{"value": "{canary}", "{canary}": 1}}"#),
        format!(r#""{canary}""#),
        format!(r#"["{canary}"]"#),
        canary.to_owned(),
        format!(r#"{{"value": "{canary}"#),
        format!(r#"{{"value": "{canary}"}} {canary}"#),
        format!(r#"{{"value": "{canary}\n"}}"#),
        format!(r#"{{"value": "{canary}\u0000"}}"#),
        format!(r#"{{"value": "{canary}\ud800"}}"#),
        format!(r#"{{"value": "{}"}}"#, canary.repeat(300)),
    ] {
        let answer = us.send("PUT", "/v1/secrets/KEY", body.clone()).await;
        assert_eq!(answer.code, 400, "{}", body.replace(canary, "<canary>"));
        answers.push(answer);
    }
    let broken = [good.trim_end_matches('}').as_bytes(), b"\xff\xfe\"}"].concat();
    answers.push(us.send("PUT", "/v1/secrets/KEY", broken).await);
    let lesser = us.new_key(json!({"scopes": ["agents:write"]})).await;
    let nobody = us.with_key("ag_live_nothing");
    let strange = us.with("x-org-id", "another");
    for (client, method, path, code) in [
        (us, "PUT", "/v1/secrets/bad%20name", 400),
        (us, "PUT", &format!("/v1/secrets/{canary}."), 400),
        (us, "DELETE", &format!("/v1/secrets/{canary}."), 404),
        (us, "POST", "/v1/secrets/KEY", 405),
        (us, "PATCH", &format!("/v1/secrets/{canary}"), 405),
        (us, "PUT", "/v1/secrets/KEY/value", 404),
        (&us.with("idempotency-key", "\u{e9}"), "PUT", "/v1/secrets/KEY", 400),
        (&lesser, "PUT", "/v1/secrets/KEY", 403),
        (&nobody, "PUT", "/v1/secrets/KEY", 401),
        (&strange, "PUT", "/v1/secrets/KEY", 403),
        (us, "GET", "/v1/secrets", 200),
    ] {
        let answer = client.send(method, path, good.clone()).await;
        assert_eq!(answer.code, code, "{method} {}", path.replace(canary, "<canary>"));
        answers.push(answer);
    }
    answers
}

/// The same with the key of a model provider.
pub(super) async fn providers(us: &Client, canary: &str) -> Vec<Answer> {
    let path = "/api/v1/providers";
    let us = &us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await;
    let good = json!({"id": "ours", "name": "n", "type": "openai", "api_key": canary}).to_string();
    let mut answers = Vec::new();
    let once = us.with("idempotency-key", "a provider");
    for client in [&once, &once] {
        let answer = client.post(path, serde_json::from_str(&good).unwrap()).await;
        assert_eq!(answer.code, 201);
        answers.push(answer);
    }
    for body in [
        format!(r#"{{"name": "n", "type": "openai", "api_key": {canary}}}"#),
        format!(r#"{{"name": "n", "type": "openai", "api_key": ["{canary}"]}}"#),
        format!(r#"{{"name": "n", "type": "openai", "api_key": "{canary}\n"}}"#),
        format!(r#"{{"name": "n", "type": "openai", "api_key": "{canary}", "api_key": "{canary}"}}"#),
        format!(r#"{{"name": "n", "type": "openai", "{canary}": 1}}"#),
        format!(r#"{{"name": "n", "type": "{canary}"}}"#),
        format!(r#"{{"name": "n", "type": "openai", "custom_url": "https://user:{canary}@example.com/"}}"#),
        format!(r#"{{"name": "n", "type": "openai", "available_models": ["{canary} x"]}}"#),
        format!(r#"{{"name": "n", "type": "openai", "id": "{canary} x"}}"#),
        format!(r#""{canary}""#),
        canary.to_owned(),
    ] {
        for (method, path) in [("POST", path), ("PUT", "/api/v1/providers/ours")] {
            let answer = us.send(method, path, body.clone()).await;
            assert_eq!(answer.code, 400, "{method} {}", body.replace(canary, "<canary>"));
            answers.push(answer);
        }
    }
    let lesser = us.new_key(json!({"scopes": ["agents:write"]})).await;
    for (client, method, path, code) in [
        (us, "PUT", "/api/v1/providers/ours", 200),
        (us, "PUT", "/api/v1/providers/openai", 409),
        (us, "POST", path, 409),
        (&lesser, "POST", path, 403),
        (us, "GET", path, 200),
        (us, "GET", "/api/v1/providers/ours", 200),
        (us, "GET", "/api/v1/providers/ours/models", 200),
    ] {
        let body = if method == "GET" { String::new() } else { good.clone() };
        let answer = client.send(method, path, body).await;
        assert_eq!(answer.code, code, "{method} {path}");
        answers.push(answer);
    }
    answers
}

/// The same with the secret of a trigger, which its events show too: genuine ones, false ones, and those that repeat it.
pub(super) async fn triggers(us: &Client, canary: &str) -> Vec<Answer> {
    let us = &us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await;
    let agent = us.agent("demo/scripted-l0").await;
    let mut answers = Vec::new();
    for source in ["token", "github", "slack", "stripe"] {
        let good =
            json!({"agent_id": agent, "name": "n", "source": source, "message": "{{ headers }}", "secret": canary});
        // The answer that makes it tells its secret; none after that does.
        let made = us.with("idempotency-key", source).post("/v1/triggers", good).await.status(201);
        let id = made["id"].as_str().unwrap().to_owned();
        let hook = format!("/v1/hooks/{id}");
        let nobody = us.nobody();
        for (client, code) in [
            (nobody.with("authorization", &format!("Bearer {canary}")), if source == "token" { 202 } else { 401 }),
            (nobody.with("x-muster-token", canary), if source == "token" { 202 } else { 401 }),
            (nobody.with("x-muster-token", &format!("{canary}x")), 401),
            (nobody.with("stripe-signature", &format!("t=1,v1={canary}")), 401),
            (nobody.with("x-slack-signature", canary), 401),
            (nobody.with("x-hub-signature-256", &format!("sha256={canary}")), 401),
        ] {
            let answer = client.send("POST", &hook, "{}").await;
            assert_eq!(answer.code, code, "{source}");
            answers.push(answer);
        }
        let path = format!("/v1/triggers/{id}");
        let agent = agent.replace("agent_", "");
        for (method, path) in [
            ("GET", path.clone()),
            ("GET", "/v1/triggers".to_owned()),
            ("GET", format!("{path}/events")),
            ("GET", format!("/api/agents/{agent}/trigger")),
            ("PATCH", path.clone()),
            ("GET", "/v1/runs".to_owned()),
        ] {
            let answer = us.send(method, &path, if method == "GET" { "" } else { r#"{"enabled":false}"# }).await;
            assert_eq!(answer.code, 200, "{method} {path}");
            answers.push(answer);
        }
    }
    for body in [
        format!(r#"{{"agent_id": "{agent}", "name": "n", "source": "token", "message": "x", "secret": {canary}}}"#),
        format!(r#"{{"agent_id": "{agent}", "name": "n", "source": "token", "message": "x", "secret": ["{canary}"]}}"#),
        format!(r#"{{"agent_id": "{agent}", "name": "n", "source": "token", "message": "x", "secret": "{canary}\n"}}"#),
        format!(r#"{{"agent_id": "{agent}", "name": "n", "source": "token", "message": "x", "{canary}": 1}}"#),
        format!(
            r#"{{"agent_id": "{agent}", "name": "n", "source": "standard_webhooks", "message": "x", "secret": "{canary}"}}"#
        ),
        format!(r#"{{"agent_id": "{agent}", "name": "n", "source": "run", "message": "x", "secret": "{canary}"}}"#),
        canary.to_owned(),
    ] {
        let answer = us.send("POST", "/v1/triggers", body.clone()).await;
        assert_eq!(answer.code, 400, "{}", body.replace(canary, "<canary>"));
        answers.push(answer);
    }
    answers
}

/// The same calls when the list of names cannot be read.
pub(super) async fn failures(muster: &Muster, canary: &str) -> Vec<Answer> {
    let key = Key::new(Table::Agents, format!("O#{}#SECRETS", muster.us.org), "LIST");
    let row = Row { key, rev: Rev::fresh(), body: "{".to_owned(), listed: None, due: None, expires_at_s: None };
    muster.app.store().backend().transact(vec![Write::Put(row, When::Any)]).await.unwrap();
    let put = muster.us.send("PUT", "/v1/secrets/KEY", json!({ "value": canary }).to_string()).await;
    let answers = vec![put, muster.us.get("/v1/secrets").await, muster.us.delete("/v1/secrets/KEY").await];
    assert!(answers.iter().all(|answer| answer.code == 500));
    answers
}
