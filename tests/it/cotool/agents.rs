//! Agents: made, looked at, changed, copied; their versions.

use model_server::Format;
use serde_json::{Value, json};
use shared::model::settings::Settings;
use uuid::Uuid;

use super::{agent, fields, made, path};
use crate::harness::{Client, Muster, on_every_backend, redacted, text};

on_every_backend!(
    an_agent_is_made_and_found,
    every_field_is_kept_and_changed,
    an_agent_as_it_was_read_can_be_sent_back,
    a_bad_agent_is_refused_with_its_fields,
    agents_are_listed_newest_first,
    a_change_makes_a_version_and_an_identical_one_none,
    a_copy_is_another_agent,
    an_agent_that_names_what_is_gone_can_be_changed_and_copied,
    tools_are_kept_by_name,
    a_tool_that_an_agent_has_can_be_given_to_another_by_name,
    a_model_is_told_what_guides_it,
    the_same_agent_is_on_the_native_surface,
);

async fn an_agent_is_made_and_found(muster: Muster) {
    let made = made(&muster.us, json!({})).await;
    assert!(text(&made, "id").parse::<Uuid>().is_ok());
    assert_eq!(made["organizationId"], json!(muster.us.org.to_string()));
    let expected = json!({
        "id": "<id>", "organizationId": "<id>", "name": "a", "description": "d", "systemPrompt": "s", "toolNames": [],
        "inputs": [], "modelAlias": "demo/scripted-l0", "planningMode": "never", "structuredOutputSchema": null, "tags": [],
        "contextDocs": [], "skills": [], "acceptanceCriteria": [], "toolActionConfigs": [], "cliNames": [],
        "tinesStoryImportId": null, "persistentWorkspaceEnabled": false, "detectionQuery": null, "siemType": null,
        "isSuggestion": false, "createdAt": "<time>", "updatedAt": "<time>", "deletedAt": null, "isBuiltIn": false,
        "triggerSummary": [], "lastDetectionRunAt": null,
    });
    assert_eq!(redacted(&made), expected);
    assert_eq!(muster.us.get(&path(&text(&made, "id"))).await.ok(), made);
    let plain = json!({"name": "a", "description": "", "systemPrompt": ""});
    let plain = muster.us.post("/api/agents", plain).await.ok();
    assert!(!text(&plain, "modelAlias").is_empty(), "the deployment's default model");
}

/// Every field that may be changed, with something in it.
fn everything() -> Value {
    json!({
        "name": "n", "description": "e", "systemPrompt": "p {{city}}", "modelAlias": "demo/scripted", "planningMode": "auto",
        "inputs": [{"type": "text", "name": "city", "description": "where", "required": true}],
        "structuredOutputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}, "x-cotool": {"order": ["n"]}},
        "tags": ["x", "y"],
        "contextDocs": [{"provider": "drive", "id": "1", "name": "Guide", "mimeType": "text/plain"}],
        "skills": [{"skillId": "s1", "skillVersionId": "v1", "skill": {"name": "k", "description": "when", "content": "how"}}],
        "acceptanceCriteria": ["is short"],
        "toolActionConfigs": [{"type": "slack", "allowedChannels": [{"id": "C1", "name": "ops"}], "hideAgentButton": true}],
        "cliNames": ["gh"], "tinesStoryImportId": "t", "persistentWorkspaceEnabled": true, "detectionQuery": "q",
        "siemType": "splunk", "isSuggestion": true,
    })
}

async fn every_field_is_kept_and_changed(muster: Muster) {
    let made = made(&muster.us, everything()).await;
    let id = agent(&muster.us).await;
    let changed = muster.us.put(&path(&id), everything()).await.ok();
    let found = muster.us.get(&path(&id)).await.ok();
    assert_eq!(changed, found);
    for (field, value) in everything().as_object().unwrap() {
        assert_eq!((&made[field], &found[field]), (value, value), "{field}");
    }
    let null =
        json!({"structuredOutputSchema": null, "tinesStoryImportId": null, "detectionQuery": null, "siemType": null});
    let taken = muster.us.put(&path(&id), null.clone()).await.ok();
    for field in null.as_object().unwrap().keys() {
        assert_eq!(taken[field], Value::Null, "{field}");
    }
    assert_eq!(taken["tags"], json!(["x", "y"]), "what is left out stays");
}

async fn an_agent_as_it_was_read_can_be_sent_back(muster: Muster) {
    let mut read = made(&muster.us, everything()).await;
    let id = text(&read, "id");
    assert_eq!(
        muster.us.put(&path(&id), read.clone()).await.ok(),
        read,
        "nothing has changed, so there is no new version"
    );
    read["skills"][0]["invocationCount30d"] = json!(7);
    assert_eq!(
        muster.us.put("/api/agents/batch", json!({"items": [read]})).await.ok()["agents"][0]["updatedAt"],
        read["updatedAt"]
    );
    read["name"] = json!("changed");
    for (field, value) in [
        ("organizationId", json!("x")),
        ("createdAt", json!(5)),
        ("deletedAt", json!("now")),
        ("isBuiltIn", json!(true)),
    ] {
        read[field] = value;
    }
    let changed = muster.us.put(&path(&id), read).await.ok();
    let expected = (json!("changed"), json!(muster.us.org.to_string()), Value::Null, json!(false));
    let found = [&changed["name"], &changed["organizationId"], &changed["deletedAt"], &changed["isBuiltIn"]];
    assert_eq!(found, [&expected.0, &expected.1, &expected.2, &expected.3]);
}

async fn a_bad_agent_is_refused_with_its_fields(muster: Muster) {
    let id = agent(&muster.us).await;
    let before = muster.us.get("/api/agents").await.ok();
    let many: Vec<String> = (0..51).map(|n| n.to_string()).collect();
    for (field, value, at) in [
        ("name", json!(""), "name"),
        ("name", json!(1), "name"),
        ("name", Value::Null, "name"),
        ("description", json!("d".repeat(2_001)), "description"),
        ("systemPrompt", json!("s".repeat(200_001)), "systemPrompt"),
        ("system_prompt", json!("s"), "system_prompt"),
        ("modelAlias", json!("acme/x"), "modelAlias"),
        ("planningMode", json!("sometimes"), "planningMode"),
        ("structuredOutputSchema", json!({"type": 1}), "structuredOutputSchema"),
        ("inputs", json!([{"name": "a b"}]), "inputs[0].name"),
        ("inputs", json!([{"name": "a", "type": "date"}]), "inputs[0].type"),
        ("tags", json!(["a", "a"]), "tags[1]"),
        ("tags", json!([""]), "tags[0]"),
        ("tags", json!(many), "tags"),
        ("contextDocs", json!([{"provider": "p", "id": "1", "name": "n"}]), "contextDocs[0].mimeType"),
        ("contextDocs", json!([{"provider": "", "id": "1", "name": "n", "mimeType": "m"}]), "contextDocs[0].provider"),
        ("skills", json!([{"skillId": ""}]), "skills[0].skillId"),
        ("skills", json!([{"skillId": "s", "skill": {"content": "c".repeat(200_001)}}]), "skills"),
        ("acceptanceCriteria", json!(["c".repeat(2_001)]), "acceptanceCriteria[0]"),
        ("toolNames", json!(["nothing"]), "toolNames[0]"),
        ("cliNames", json!([1]), "cliNames[0]"),
        ("toolActionConfigs", json!([{"type": "slack", "x": 1}]), "toolActionConfigs[0].x"),
        ("persistentWorkspaceEnabled", json!("yes"), "persistentWorkspaceEnabled"),
        ("siemType", json!("s".repeat(501)), "siemType"),
        ("colour", json!("red"), "colour"),
    ] {
        let mut body = json!({"name": "b", "description": "", "systemPrompt": ""});
        body[field] = value.clone();
        assert_eq!(fields(muster.us.post("/api/agents", body).await), [at], "{field}");
        assert_eq!(fields(muster.us.put(&path(&id), json!({field: value})).await), [at], "{field}");
    }
    let missing = fields(muster.us.post("/api/agents", json!({})).await);
    assert_eq!(missing, ["name", "description", "systemPrompt"]);
    assert_eq!(muster.us.get("/api/agents").await.ok(), before, "nothing was stored");
}

async fn agents_are_listed_newest_first(muster: Muster) {
    assert_eq!(muster.us.get("/api/agents").await.ok(), json!([]));
    let (first, second) = (made(&muster.us, json!({})).await, made(&muster.us, json!({"name": "b"})).await);
    made(&muster.them, json!({})).await;
    let third =
        text(&muster.us.post("/v1/agents", json!({"name": "c", "model": "demo/scripted"})).await.status(201), "id");
    let listed = muster.us.get("/api/agents").await.ok();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(listed[0]["id"], json!(third.replace("agent_", "")));
    assert_eq!((&listed[1], &listed[2]), (&second, &first));
}

async fn a_change_makes_a_version_and_an_identical_one_none(muster: Muster) {
    let id = agent(&muster.us).await;
    muster.us.put(&path(&id), json!({"name": "b", "description": "two"})).await.ok();
    let same = muster.us.put(&path(&id), json!({"name": "b"})).await.ok();
    let versions = muster.us.get(&format!("{}/versions", path(&id))).await.ok();
    let seen: Vec<Value> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["version"], one["agentId"], one["definition"]["name"], one["description"]]))
        .collect();
    assert_eq!(seen, [json!([2, id, "b", "two"]), json!([1, id, "a", "d"])]);
    assert_eq!(versions[0]["createdAt"], same["updatedAt"]);
    let ids = [text(&versions[0], "id"), text(&versions[1], "id")];
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.parse::<Uuid>().is_ok()));
    assert_eq!(muster.us.get(&format!("{}/versions", path(&id))).await.ok(), versions, "the same at every look");
}

async fn a_copy_is_another_agent(muster: Muster) {
    let original = made(&muster.us, everything()).await;
    let copied = muster.us.post(&format!("{}/copy", path(&text(&original, "id"))), json!({})).await.ok();
    let copy = copied["agent"].clone();
    assert_ne!(copy["id"], original["id"]);
    let mut expected = original.clone();
    for field in ["id", "createdAt", "updatedAt"] {
        expected[field] = copy[field].clone();
    }
    assert_eq!(copy, expected);
    muster.us.put(&path(&text(&copy, "id")), json!({"name": "other"})).await.ok();
    assert_eq!(muster.us.get(&path(&text(&original, "id"))).await.ok(), original);
    let once = muster.us.with("idempotency-key", "copy");
    let copy_path = format!("{}/copy", path(&text(&original, "id")));
    let (one, two) = (once.send("POST", &copy_path, "").await.ok(), once.send("POST", &copy_path, "").await);
    assert_eq!(two.header("idempotency-replayed"), "true");
    assert_eq!(two.ok(), one);
}

async fn an_agent_that_names_what_is_gone_can_be_changed_and_copied(muster: Muster) {
    let (helper, other) = (agent(&muster.us).await, agent(&muster.us).await);
    let tool = json!({"type": "agent", "name": "helper", "agent_id": format!("agent_{helper}")});
    let body = json!({
        "name": "head", "model": "openai/fake", "fallback_models": ["openai/fake-y"], "budget_micro_usd": 50_000, "tools": [tool],
    });
    let head = text(&muster.us.post("/v1/agents", body).await.status(201), "id").replace("agent_", "");
    muster.us.delete(&format!("/v1/agents/agent_{helper}")).await.status(204);
    // Neither the sub-agent nor the models are there any more.
    let muster = muster.with_models(Settings::from_lookup(|_| None));
    let (us, native) = (&muster.us, format!("/v1/agents/agent_{head}"));
    let changed = us.put(&path(&head), json!({"description": "alone"})).await.ok();
    assert_eq!(
        json!([changed["description"], changed["toolNames"], changed["modelAlias"]]),
        json!(["alone", ["helper"], "openai/fake"])
    );
    let items = json!({"items": [{"id": head, "description": "both"}, {"id": other, "description": "both"}]});
    assert_eq!(us.put("/api/agents/batch", items).await.ok()["agents"].as_array().unwrap().len(), 2);
    let read = us.get(&path(&head)).await.ok();
    assert_eq!(us.put(&path(&head), read.clone()).await.ok(), read, "as it was read it can be sent back");
    let whole = us.get(&native).await.ok();
    let same = json!({"tools": whole["tools"], "model": whole["model"], "fallback_models": whole["fallback_models"]});
    assert_eq!(us.patch(&native, same).await.ok(), whole);
    let copy = us.post(&format!("{}/copy", path(&head)), json!({})).await.ok();
    assert_eq!(json!([copy["agent"]["toolNames"], copy["agent"]["modelAlias"]]), json!([["helper"], "openai/fake"]));
    // What a change touches is looked at, and named as it is named here.
    let refused = us.put(&path(&other), json!({"toolNames": ["helper"]})).await;
    assert!(refused.text.contains("the tool's agent_id: is no agent of the organisation"), "{}", refused.text);
    assert_eq!(fields(refused), ["toolNames[0]"]);
    let items = json!({"items": [{"id": other, "toolNames": ["helper"]}]});
    assert_eq!(fields(us.put("/api/agents/batch", items).await), ["items[0].toolNames[0]"]);
    for (id, model) in [(&other, "openai/fake"), (&head, "openai/fake-y"), (&head, "openai/fake-l1")] {
        assert_eq!(fields(us.put(&path(id), json!({"modelAlias": model})).await), ["modelAlias"], "{model}");
    }
    // No price of its other model is known here, and it has a budget.
    let refused = us.put(&path(&head), json!({"modelAlias": "demo/scripted-l0"})).await;
    assert!(refused.text.contains("the agent's budget_micro_usd"), "{}", refused.text);
    assert_eq!(fields(refused), ["modelAlias"]);
    us.patch(&native, json!({"budget_micro_usd": null})).await.ok();
    us.put(&path(&head), json!({"modelAlias": "demo/scripted-l0"})).await.ok();
    us.post(&format!("{native}/versions/1/restore"), json!({})).await.status(400);
}

async fn tools_are_kept_by_name(muster: Muster) {
    let tool = |name: &str| json!({"type": "http", "name": name, "method": "GET", "url": "https://api.example.com/x"});
    let body = json!({"name": "a", "model": "demo/scripted", "tools": [tool("one"), tool("two"), tool("three")]});
    let id = text(&muster.us.post("/v1/agents", body).await.status(201), "id").replace("agent_", "");
    assert_eq!(muster.us.get(&path(&id)).await.ok()["toolNames"], json!(["one", "two", "three"]));
    let chosen = muster.us.put(&path(&id), json!({"toolNames": ["three", "one"]})).await.ok();
    assert_eq!(chosen["toolNames"], json!(["three", "one"]));
    assert_eq!(
        fields(muster.us.put(&path(&id), json!({"toolNames": ["one", "one", "two"]})).await),
        ["toolNames[1]", "toolNames[2]"]
    );
    let native = muster.us.get(&format!("/v1/agents/agent_{id}")).await.ok();
    assert_eq!(native["tools"][0]["url"], "https://api.example.com/x");
}

async fn a_tool_that_an_agent_has_can_be_given_to_another_by_name(muster: Muster) {
    let tool = |name: &str, path: &str| json!({"type": "http", "name": name, "method": "GET", "url": format!("https://api.example.com/{path}")});
    let with = async |client: &Client, tools: Value| {
        let body = json!({"name": "box", "model": "demo/scripted", "tools": tools});
        text(&client.post("/v1/agents", body).await.status(201), "id")
    };
    with(&muster.us, json!([tool("one", "1"), tool("two", "2")])).await;
    with(&muster.us, json!([tool("two", "other"), tool("one", "1")])).await;
    with(&muster.them, json!([tool("theirs", "3")])).await;
    let agent = made(&muster.us, json!({"toolNames": ["one"]})).await;
    assert_eq!(agent["toolNames"], json!(["one"]));
    let native = format!("/v1/agents/agent_{}", text(&agent, "id"));
    assert_eq!(muster.us.get(&native).await.ok()["tools"][0]["url"], "https://api.example.com/1");
    let at = path(&text(&agent, "id"));
    for (name, why) in [("two", "different tools"), ("theirs", "no agent has"), ("three", "no agent has")] {
        let refused = muster.us.put(&at, json!({"toolNames": ["one", name]})).await.status(400);
        assert!(refused["issues"][0].to_string().contains(why), "{refused}");
        assert_eq!(fields(muster.us.put(&at, json!({"toolNames": ["one", name]})).await), ["toolNames[1]"]);
    }
    let other = made(&muster.us, json!({})).await;
    let items = json!({"items": [{"id": other["id"], "toolNames": ["one"]}]});
    let changed = muster.us.put("/api/agents/batch", items).await.ok();
    assert_eq!(changed["agents"][0]["toolNames"], json!(["one"]));
    let none = muster.us.put(&at, json!({"toolNames": []})).await.ok();
    assert_eq!(none["toolNames"], json!([]));
}

async fn a_model_is_told_what_guides_it(muster: Muster) {
    // Another model judges, so that the last request is the agent's.
    let muster = muster.with_judge("demo/scripted-l0").at_work();
    let mut body = everything();
    body["modelAlias"] = json!("openai/fake");
    body["structuredOutputSchema"] = Value::Null;
    let id = text(&made(&muster.us, body).await, "id");
    let run = json!({"inputs": {"city": "Oslo"}});
    muster.us.post(&format!("/v1/agents/agent_{id}/runs?wait=25"), run).await.ok();
    let sent = muster.models.last(Format::OpenAi).unwrap().body;
    let system = text(&sent["messages"][0], "content");
    let expected =
        ["p Oslo\n\n## Plan", "## Skill: k\nwhen\nhow", "- Guide (text/plain, drive: 1)", "each of these\n- is short"];
    for part in expected {
        assert!(system.contains(part), "{part}: {system}");
    }
    let missing = muster.us.post(&format!("/v1/agents/agent_{id}/runs"), json!({"inputs": {}})).await;
    assert_eq!(missing.param(), "inputs.city");
}

async fn the_same_agent_is_on_the_native_surface(muster: Muster) {
    let id = text(&made(&muster.us, everything()).await, "id");
    let native = format!("/v1/agents/agent_{id}");
    assert_eq!(muster.us.get(&native).await.ok()["system_prompt"], "p {{city}}");
    let before = muster.us.get(&path(&id)).await.ok();
    muster.us.patch(&native, json!({"description": "from there"})).await.ok();
    let after = muster.us.get(&path(&id)).await.ok();
    assert_eq!(after["description"], "from there");
    for field in ["skills", "tags", "toolActionConfigs", "acceptanceCriteria"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}
