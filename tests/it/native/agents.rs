//! Agents: made, looked at, listed, changed, deleted; their versions.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    an_agent_is_made_and_found,
    what_makes_no_agent_is_refused_with_its_field,
    agents_are_listed_newest_first_in_pages,
    agents_are_listed_by_their_metadata,
    a_change_makes_a_version_and_an_identical_one_none,
    a_limit_is_taken_away_by_null,
    what_cannot_be_taken_away_is_not_null,
    a_bad_change_changes_nothing,
    a_deleted_agent_is_gone_and_its_runs_go_on,
    an_old_version_is_restored_as_a_new_one,
    changes_at_the_same_time_are_all_made,
    an_agent_of_another_organisation_is_not_found,
);

async fn an_agent_is_made_and_found(muster: Muster) {
    let made = muster.us.post("/v1/agents", json!({"name": "a", "model": "demo/scripted"})).await;
    assert_eq!(
        crate::harness::redacted(&made.body),
        json!({
            "id": "<id>", "version": 1, "name": "a", "description": "", "system_prompt": "", "model": "demo/scripted",
            "fallback_models": [], "max_steps": 25, "max_tokens": null, "temperature": null, "budget_micro_usd": null,
            "mode": "auto", "tools": [], "tool_mode": "native", "output_schema": null, "inputs": [], "metadata": {}, "created_at": "<time>", "updated_at": "<time>",
        })
    );
    let made = made.status(201);
    assert!(text(&made, "id").starts_with("agent_"));
    let all = json!({
        "name": "b", "description": "d", "system_prompt": "s", "model": "scripted", "max_steps": 200, "max_tokens": 10,
        "temperature": 0.5, "budget_micro_usd": 1, "mode": "manual", "metadata": {"team": "x"},
    });
    let full = muster.us.post("/v1/agents", all.clone()).await.status(201);
    for (field, value) in all.as_object().unwrap() {
        assert_eq!(&full[field], value, "{field}");
    }
    for agent in [made, full] {
        assert_eq!(muster.us.get(&format!("/v1/agents/{}", text(&agent, "id"))).await.ok(), agent);
    }
}

async fn what_makes_no_agent_is_refused_with_its_field(muster: Muster) {
    let pairs = |count: usize| (0..count).map(|n| (n.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>();
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(" ")),
        ("name", json!("n".repeat(201))),
        ("name", json!(1)),
        ("name", Value::Null),
        ("description", json!("d".repeat(2_001))),
        ("system_prompt", json!("s".repeat(200_001))),
        ("model", json!("acme/x")),
        ("model", json!("demo/other")),
        ("max_steps", json!(0)),
        ("max_steps", json!(201)),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(1_000_001)),
        ("temperature", json!(2.1)),
        ("temperature", json!(-0.1)),
        ("budget_micro_usd", json!(0)),
        ("budget_micro_usd", json!(-1)),
        ("mode", json!("fast")),
        ("metadata", json!(pairs(17))),
        ("metadata", json!({"": "v"})),
        ("metadata", json!({"k".repeat(65): "v"})),
        ("metadata.k", json!({"k": "v".repeat(513)})),
        ("metadata.k", json!({"k": 1})),
    ] {
        let mut body = json!({"name": "a", "model": "demo/scripted"});
        let top = field.split('.').next().unwrap();
        body[top] = value.clone();
        assert_eq!(muster.us.post("/v1/agents", body).await.param(), field, "{value}");
    }
    let unset = muster.us.post("/v1/agents", json!({"name": "a", "model": "anthropic/claude-haiku-4-5"})).await;
    let message = "model 'anthropic/claude-haiku-4-5' is not available: ANTHROPIC_API_KEY is not set";
    assert_eq!(unset.status(400)["error"]["message"], message);
    let unknown = muster.us.post("/v1/agents", json!({"name": "a", "model": "acme/x"})).await.status(400);
    let details = &unknown["error"]["details"];
    assert_eq!((&unknown["error"]["code"], &details["model"]), (&json!("unknown_model"), &json!("acme/x")));
    assert!(details["known_models"].as_array().unwrap().contains(&json!("demo/scripted")));
    let unpriced = json!({"name": "a", "model": "openai/fake-l1", "budget_micro_usd": 5});
    assert_eq!(muster.us.post("/v1/agents", unpriced).await.param(), "budget_micro_usd");
    assert_eq!(muster.us.get("/v1/agents").await.ok()["data"], json!([]));
}

async fn agents_are_listed_newest_first_in_pages(muster: Muster) {
    let mut made = Vec::new();
    for _ in 0..7 {
        made.insert(0, muster.us.agent("demo/scripted").await);
        muster.pass(2);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/agents?limit=3".to_owned());
    let mut sizes = Vec::new();
    loop {
        let page = muster.us.get(&path).await.ok();
        let data = page["data"].as_array().unwrap();
        sizes.push(data.len());
        seen.extend(data.iter().map(|agent| text(agent, "id")));
        if page["has_more"] == false {
            break;
        }
        path = format!("/v1/agents?limit=3&after={}", text(&page, "next_cursor"));
    }
    assert_eq!((seen, sizes), (made, vec![3, 3, 1]));
    let cursor = text(&muster.us.get("/v1/agents?limit=3").await.ok(), "next_cursor");
    let other = format!("/v1/agents?limit=3&metadata=%7B%22a%22%3A%22b%22%7D&after={cursor}");
    assert_eq!(muster.us.get(&other).await.param(), "after", "a cursor is bound to its filter");
    assert_eq!(muster.us.get(&format!("/v1/runs?after={cursor}")).await.param(), "after");
}

async fn agents_are_listed_by_their_metadata(muster: Muster) {
    for (name, metadata) in
        [("both", json!({"team": "a", "stage": "b"})), ("one", json!({"team": "a"})), ("none", json!({}))]
    {
        let body = json!({"name": name, "model": "demo/scripted", "metadata": metadata});
        muster.us.post("/v1/agents", body).await.status(201);
        muster.pass(2);
    }
    for (filter, expected) in [
        ("%7B%7D", vec!["none", "one", "both"]),
        ("%7B%22team%22%3A%22a%22%7D", vec!["one", "both"]),
        ("%7B%22team%22%3A%22a%22%2C%22stage%22%3A%22b%22%7D", vec!["both"]),
        ("%7B%22team%22%3A%22b%22%7D", vec![]),
    ] {
        let listed = muster.us.get(&format!("/v1/agents?metadata={filter}")).await.ok();
        let names: Vec<String> = listed["data"].as_array().unwrap().iter().map(|agent| text(agent, "name")).collect();
        assert_eq!(names, expected, "{filter}");
    }
    for bad in ["x", "[]", "%7B%22team%22%3A1%7D"] {
        assert_eq!(muster.us.get(&format!("/v1/agents?metadata={bad}")).await.param(), "metadata");
    }
}

async fn a_change_makes_a_version_and_an_identical_one_none(muster: Muster) {
    let path = format!("/v1/agents/{}", muster.us.agent("demo/scripted").await);
    let first = muster.us.get(&path).await.ok();
    let second = muster.us.patch(&path, json!({"name": "other", "metadata": {"a": "b"}})).await.ok();
    assert_eq!((&second["version"], &second["name"], &second["model"]), (&json!(2), &json!("other"), &first["model"]));
    assert_eq!(second["created_at"], first["created_at"]);
    for same in [json!({}), json!({"name": "other"}), json!({"metadata": {"a": "b"}, "max_tokens": null})] {
        assert_eq!(muster.us.patch(&path, same).await.ok(), second);
    }
    let versions = muster.us.get(&format!("{path}/versions")).await.ok();
    assert_eq!(versions, json!({"data": [second, first], "has_more": false, "next_cursor": null}));
}

async fn what_cannot_be_taken_away_is_not_null(muster: Muster) {
    let path = format!("/v1/agents/{}", muster.us.agent("demo/scripted").await);
    let document = muster.us.get("/openapi.json").await.ok();
    let schema = &document["components"]["schemas"]["NativeUpdateAgent"];
    assert_eq!(schema["required"], Value::Null);
    for field in ["name", "description", "system_prompt", "model", "max_steps", "mode", "tools", "metadata"] {
        assert_eq!(muster.us.patch(&path, json!({field: null})).await.param(), field);
        assert!(!schema["properties"][field].to_string().contains("null"), "{}", schema["properties"][field]);
    }
    assert_eq!(muster.us.get(&path).await.ok()["version"], 1);
}

async fn a_limit_is_taken_away_by_null(muster: Muster) {
    let body =
        json!({"name": "a", "model": "demo/scripted", "max_tokens": 5, "temperature": 1.0, "budget_micro_usd": 9});
    let made = muster.us.post("/v1/agents", body).await.status(201);
    let path = format!("/v1/agents/{}", text(&made, "id"));
    let kept = muster.us.patch(&path, json!({"name": "b"})).await.ok();
    assert_eq!((&kept["max_tokens"], &kept["temperature"]), (&json!(5), &json!(1.0)));
    let body = json!({"max_tokens": null, "temperature": null, "budget_micro_usd": null});
    let gone = muster.us.patch(&path, body).await.ok();
    assert_eq!(json!([gone["max_tokens"], gone["temperature"], gone["budget_micro_usd"]]), json!([null, null, null]));
}

async fn a_bad_change_changes_nothing(muster: Muster) {
    let path = format!("/v1/agents/{}", muster.us.agent("demo/scripted").await);
    let before = muster.us.get(&path).await.ok();
    for (body, param) in [
        (json!({"name": ""}), "name"),
        (json!({"max_steps": 0}), "max_steps"),
        (json!({"name": "new", "model": "acme/x"}), "model"),
        (json!({"colour": 1}), "colour"),
        (json!({"temperature": "warm"}), "temperature"),
    ] {
        assert_eq!(muster.us.patch(&path, body).await.param(), param);
    }
    assert_eq!(muster.us.get(&path).await.ok(), before);
}

async fn a_deleted_agent_is_gone_and_its_runs_go_on(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}");
    let run = muster.us.run(&agent, "hello").await;
    let answer = muster.us.delete(&path).await;
    assert_eq!((answer.code, answer.text.as_str(), answer.header("content-type")), (204, "", ""));
    assert_eq!(muster.us.get(&path).await.code, 404);
    assert_eq!(muster.us.delete(&path).await.code, 404);
    assert_eq!(muster.us.patch(&path, json!({"name": "x"})).await.code, 404);
    assert_eq!(muster.us.get(&format!("{path}/versions")).await.code, 404);
    assert_eq!(muster.us.post(&format!("{path}/versions/1/restore"), json!({})).await.code, 404);
    assert_eq!(muster.us.post(&format!("{path}/runs"), json!({"message": "hello"})).await.code, 404);
    assert_eq!(muster.us.get("/v1/agents").await.ok()["data"], json!([]));
    muster.drain().await;
    assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["status"], "done");
}

async fn an_old_version_is_restored_as_a_new_one(muster: Muster) {
    let path = format!("/v1/agents/{}", muster.us.agent("demo/scripted").await);
    muster.us.patch(&path, json!({"name": "second", "temperature": 1.5})).await.ok();
    let restored = muster.us.send("POST", &format!("{path}/versions/1/restore"), "").await.ok();
    assert_eq!(json!([restored["version"], restored["name"], restored["temperature"]]), json!([3, "tester", null]));
    let again = muster.us.send("POST", &format!("{path}/versions/1/restore"), "").await.ok();
    assert_eq!(again, restored, "it says so already");
    for missing in ["0", "4", "x", "-1", "99999999999"] {
        assert_eq!(muster.us.send("POST", &format!("{path}/versions/{missing}/restore"), "").await.code, 404);
    }
    let page = muster.us.get(&format!("{path}/versions?limit=2")).await.ok();
    let next = format!("{path}/versions?limit=2&after={}", text(&page, "next_cursor"));
    let numbers = |page: &Value| -> Vec<Value> {
        page["data"].as_array().unwrap().iter().map(|version| version["version"].clone()).collect()
    };
    assert_eq!(numbers(&page), [3, 2]);
    assert_eq!(numbers(&muster.us.get(&next).await.ok()), [1]);
}

async fn changes_at_the_same_time_are_all_made(muster: Muster) {
    let path = format!("/v1/agents/{}", muster.us.agent("demo/scripted").await);
    let bodies = [json!({"name": "n"}), json!({"description": "d"}), json!({"max_steps": 3}), json!({"max_tokens": 4})];
    let changes = futures_util::future::join_all(bodies.map(|body| muster.us.patch(&path, body))).await;
    for change in changes {
        change.ok();
    }
    let agent = muster.us.get(&path).await.ok();
    let seen = json!([agent["version"], agent["name"], agent["description"], agent["max_steps"], agent["max_tokens"]]);
    assert_eq!(seen, json!([5, "n", "d", 3, 4]));
}

async fn an_agent_of_another_organisation_is_not_found(muster: Muster) {
    let agent = muster.us.agent("demo/scripted").await;
    let unknown = "agent_019a2b3c-4d5e-7f60-8123-456789abcdef";
    let them = muster.them.with("x-request-id", "same");
    for (method, rest, body) in [
        ("GET", "", ""),
        ("PATCH", "", "{}"),
        ("DELETE", "", ""),
        ("GET", "/versions", ""),
        ("POST", "/versions/1/restore", ""),
        ("POST", "/runs", r#"{"message": "hello"}"#),
        ("POST", "/batches", r#"{"items": [{"message": "hello"}]}"#),
    ] {
        let foreign = them.send(method, &format!("/v1/agents/{agent}{rest}"), body).await;
        for other in [unknown, "agent_1", "1", &agent.replace("agent_", "run_")] {
            let unknown = them.send(method, &format!("/v1/agents/{other}{rest}"), body).await;
            assert_eq!((foreign.code, &foreign.text), (404, &unknown.text), "{method} {rest} {other}");
        }
    }
    assert_eq!(muster.them.get("/v1/agents").await.ok()["data"], json!([]));
    muster.us.get(&format!("/v1/agents/{agent}")).await.ok();
}
