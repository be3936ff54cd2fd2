//! System prompts: the one that an agent has, those that it had, drafts.

use serde_json::{Value, json};

use super::{agent, fields, made, path};
use crate::harness::{Muster, on_every_backend, redacted, text};

on_every_backend!(
    a_draft_is_made_and_listed,
    a_prompt_stands_where_the_agents_versions_say,
    a_bad_draft_is_refused,
    drafts_have_an_end_and_are_not_made_twice,
    prompts_of_another_organisation_are_not_found,
);

fn prompts_path(agent: &str) -> String {
    format!("{}/system-prompts", path(agent))
}

/// Prompt and status of each, newest first.
async fn listed(muster: &Muster, agent: &str) -> Vec<Value> {
    let listed = muster.us.get(&prompts_path(agent)).await.ok();
    listed.as_array().unwrap().iter().map(|one| json!([one["prompt"], one["status"]])).collect()
}

async fn a_draft_is_made_and_listed(muster: Muster) {
    let id = agent(&muster.us).await;
    muster.pass(1_000);
    let made = muster.us.post(&prompts_path(&id), json!({"description": "shorter", "prompt": "Be brief."})).await.ok();
    let expected = json!({
        "id": "<id>", "agentId": "<id>", "description": "shorter", "prompt": "Be brief.", "status": "draft",
        "createdAt": "<time>", "updatedAt": "<time>",
    });
    assert_eq!((redacted(&made), &made["agentId"]), (expected, &json!(id)));
    let all = muster.us.get(&prompts_path(&id)).await.ok();
    assert_eq!(all[0], made);
    assert_eq!(json!([all[1]["prompt"], all[1]["status"], all[1]["description"]]), json!(["s", "active", ""]));
    assert_eq!(muster.us.get(&path(&id)).await.ok()["systemPrompt"], "s", "a draft changes nothing");
}

async fn a_prompt_stands_where_the_agents_versions_say(muster: Muster) {
    let id = agent(&muster.us).await;
    muster.pass(1_000);
    let draft = muster.us.post(&prompts_path(&id), json!({"description": "d", "prompt": "two"})).await.ok();
    for prompt in ["two", "three"] {
        muster.pass(1_000);
        muster.us.put(&path(&id), json!({"systemPrompt": prompt})).await.ok();
    }
    let expected = [json!(["three", "active"]), json!(["two", "previous"]), json!(["s", "previous"])];
    assert_eq!(listed(&muster, &id).await, expected);
    let all = muster.us.get(&prompts_path(&id)).await.ok();
    assert_eq!((&all[1]["id"], &all[1]["createdAt"]), (&draft["id"], &draft["createdAt"]));
    assert_ne!(all[1]["updatedAt"], draft["updatedAt"]);
    muster.pass(1_000);
    muster.us.put(&path(&id), json!({"systemPrompt": "s"})).await.ok();
    let expected = [json!(["three", "previous"]), json!(["two", "previous"]), json!(["s", "active"])];
    assert_eq!(listed(&muster, &id).await, expected);
    let empty = text(&made(&muster.us, json!({"systemPrompt": ""})).await, "id");
    assert_eq!(listed(&muster, &empty).await, Vec::<Value>::new());
}

async fn a_bad_draft_is_refused(muster: Muster) {
    let id = agent(&muster.us).await;
    for (body, at) in [
        (json!({"prompt": "p"}), "description"),
        (json!({"description": "d"}), "prompt"),
        (json!({"description": "d", "prompt": " "}), "prompt"),
        (json!({"description": "d", "prompt": 1}), "prompt"),
        (json!({"description": "d", "prompt": "p".repeat(200_001)}), "prompt"),
        (json!({"description": "d".repeat(2_001), "prompt": "p"}), "description"),
        (json!({"description": "d", "prompt": "p", "status": "active"}), "status"),
    ] {
        assert_eq!(fields(muster.us.post(&prompts_path(&id), body).await), [at]);
    }
    assert_eq!(listed(&muster, &id).await, [json!(["s", "active"])]);
}

async fn drafts_have_an_end_and_are_not_made_twice(muster: Muster) {
    let id = agent(&muster.us).await;
    let once = muster.us.with("idempotency-key", "draft");
    let body = json!({"description": "d", "prompt": "once"});
    let first = once.post(&prompts_path(&id), body.clone()).await.ok();
    assert_eq!(once.post(&prompts_path(&id), body).await.ok(), first);
    for n in 1..100 {
        muster.us.post(&prompts_path(&id), json!({"description": "", "prompt": n.to_string()})).await.ok();
    }
    let refused = muster.us.post(&prompts_path(&id), json!({"description": "", "prompt": "more"})).await.status(409);
    assert!(text(&refused, "error").contains("100"));
    assert_eq!(listed(&muster, &id).await.len(), 101);
}

async fn prompts_of_another_organisation_are_not_found(muster: Muster) {
    let id = agent(&muster.us).await;
    let body = json!({"description": "d", "prompt": "theirs"});
    for other in [id.as_str(), "019a2b3c-4d5e-7f60-8123-456789abcdef", "x"] {
        let unknown = json!({"error": "agent not found"});
        assert_eq!(muster.them.get(&prompts_path(other)).await.status(404), unknown);
        assert_eq!(muster.them.post(&prompts_path(other), body.clone()).await.status(404), unknown);
    }
    let lesser = muster.us.new_key(json!({"scopes": ["runs:write"]})).await;
    let refused = lesser.get(&prompts_path(&id)).await.status(403);
    assert_eq!(refused["missingPerms"], json!(["agent.read"]));
    let refused = lesser.post(&prompts_path(&id), body).await.status(403);
    assert_eq!(refused["missingPerms"], json!(["agent.create"]));
    assert_eq!(listed(&muster, &id).await, [json!(["s", "active"])]);
}
