//! Changing an agent.

use serde_json::{Value, json};

use super::{agent, chat, error_type, fields, start};
use crate::harness::{Muster, on_every_backend, redacted, text};

on_every_backend!(
    a_changed_agent_is_answered,
    runs_that_start_after_a_change_use_it_and_those_in_flight_do_not,
    a_bad_change_is_refused,
    an_agent_that_is_not_ours_is_not_changed,
);

fn path(agent: &str) -> String {
    format!("/api/v1/resource/agent/{agent}/update")
}

async fn a_changed_agent_is_answered(muster: Muster) {
    let id = agent(&muster.us, "demo/scripted").await;
    let body = json!({"name": "n", "description": "d", "systemPrompt": "s", "model": "demo/scripted-l0", "tools": []});
    let changed = muster.us.post(&path(&id), body).await.ok();
    assert_eq!(changed["result"]["id"], json!(id));
    let expected = json!({"success": true, "result": {
        "id": "<id>", "name": "n", "description": "d", "systemPrompt": "s", "model": "demo/scripted-l0", "tools": [],
        "version": 2, "createdAt": "<time>", "updatedAt": "<time>",
    }});
    assert_eq!(redacted(&changed), expected);
    assert_eq!(muster.us.post(&path(&id), json!({})).await.ok(), changed);
    let native = muster.us.get(&format!("/v1/agents/agent_{id}")).await.ok();
    assert_eq!(json!([native["system_prompt"], native["version"]]), json!(["s", 2]));
}

async fn runs_that_start_after_a_change_use_it_and_those_in_flight_do_not(muster: Muster) {
    let id = agent(&muster.us, "openai/fake").await;
    let before = start(&muster, &id, &["before"]).await;
    muster.us.post(&path(&id), json!({"model": "demo/scripted-l0"})).await.ok();
    let muster = muster.at_work();
    let after = chat(&muster, &id, json!({"message": "after"})).await.ok();
    assert!(text(&after, "result").starts_with("[scripted answer"));
    muster.until(&super::status_path(&before[0]), |chat| chat["status"] == "done").await;
    assert_eq!((muster.models.calls_with("before"), muster.models.calls_with("after")), (1, 0));
}

async fn a_bad_change_is_refused(muster: Muster) {
    let id = agent(&muster.us, "demo/scripted").await;
    for (body, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": 1}), "name"),
        (json!({"systemPrompt": "s".repeat(200_001)}), "systemPrompt"),
        (json!({"system_prompt": "s"}), "system_prompt"),
        (json!({"name": null}), "name"),
        (json!({"description": null}), "description"),
        (json!({"systemPrompt": null}), "systemPrompt"),
        (json!({"model": null}), "model"),
        (json!({"tools": null}), "tools"),
        (json!({"tools": [{"type": "http"}]}), "tools[0].name"),
        (json!([]), ""),
    ] {
        let refused = muster.us.post(&path(&id), body.clone()).await;
        assert_eq!(fields(refused), [field], "{}", body.to_string().get(..60).unwrap_or_default());
    }
    let unknown = muster.us.post(&path(&id), json!({"model": "acme/x"})).await.status(400);
    assert_eq!((&unknown["errorType"], &unknown["info"]["model"]), (&json!("InvalidInput"), &json!("acme/x")));
    assert!(unknown["info"]["knownModels"].as_array().unwrap().contains(&json!("demo/scripted")));
    let agent = muster.us.get(&format!("/v1/agents/agent_{id}")).await.ok();
    assert_eq!(agent["version"], 1);
}

async fn an_agent_that_is_not_ours_is_not_changed(muster: Muster) {
    let id = agent(&muster.us, "demo/scripted").await;
    let foreign = muster.them.post(&path(&id), json!({"name": "theirs"})).await;
    for other in ["019a2b3c-4d5e-7f60-8123-456789abcdef", "1", "agent_1"] {
        let unknown = muster.them.post(&path(other), json!({"name": "theirs"})).await;
        assert_eq!((foreign.code, &foreign.text), (404, &unknown.text), "{other}");
    }
    assert_eq!(error_type(foreign, 404), "NotFound");
    let agent: Value = muster.us.get(&format!("/v1/agents/agent_{id}")).await.ok();
    assert_eq!(agent["name"], "tester");
}
