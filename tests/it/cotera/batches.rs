//! Sending many prompts at once.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{agent, chat_path, error_type, fields, start, status_path};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    fifty_prompts_are_accepted_in_their_order,
    no_prompts_and_fifty_one_are_refused,
    one_bad_prompt_among_fifty_and_nothing_is_started,
    a_body_that_is_no_array_is_refused,
    an_agent_that_is_not_ours_is_not_found,
);

fn prompts(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({"message": format!("prompt {n}")})).collect()
}

async fn nothing_was_started(muster: &Muster) {
    assert_eq!(muster.us.get("/api/v1/resource/chat/list").await.ok()["result"], json!([]));
    assert_eq!(muster.queued(), 0);
}

async fn fifty_prompts_are_accepted_in_their_order(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let mut items = prompts(50);
    items[3]["mode"] = json!("manual");
    let answer = muster.us.post(&format!("{}/batch", chat_path(&agent)), json!(items)).await;
    let started = json!({"id": "<id>", "chatId": "<id>", "status": "queued"});
    let body = answer.body.clone();
    assert_eq!(answer.shape(200), json!({"success": true, "batchId": "<id>", "result": vec![started; 50]}));
    assert!(text(&body, "batchId").parse::<Uuid>().is_ok());
    assert_eq!(muster.queued(), 1, "one message names them all");
    muster.drain().await;
    for (index, chat) in body["result"].as_array().unwrap().iter().enumerate() {
        assert_eq!(chat["id"], chat["chatId"]);
        let id = text(chat, "chatId");
        assert_eq!(muster.us.get(&status_path(&id)).await.ok()["status"], "done");
        let said = muster.us.get(&format!("/api/v1/resource/chat/{id}/list")).await.ok();
        assert_eq!(said["result"][0]["content"], format!("prompt {index}"));
    }
    let batch = muster.us.get(&format!("/v1/batches/batch_{}", text(&body, "batchId"))).await.ok();
    assert_eq!(json!([batch["items"], batch["counts"]["done"]]), json!([50, 50]));
    let manual = muster.us.get(&format!("/v1/runs/run_{}", text(&body["result"][3], "id"))).await.ok();
    assert_eq!(manual["mode"], "manual");
}

async fn no_prompts_and_fifty_one_are_refused(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let path = format!("{}/batch", chat_path(&agent));
    for count in [0, 51, 1_000] {
        let refused = muster.us.post(&path, json!(prompts(count))).await;
        assert_eq!(refused.body["message"], format!("must have 1 to 50 items, not {count}"));
        assert_eq!(fields(refused), [""]);
    }
    nothing_was_started(&muster).await;
    start(&muster, &agent, &["one"]).await;
}

async fn one_bad_prompt_among_fifty_and_nothing_is_started(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let path = format!("{}/batch", chat_path(&agent));
    for (bad, field) in [
        (json!({"message": ""}), "[31].message"),
        (json!({"message": "  "}), "[31].message"),
        (json!({"message": 1}), "[31].message"),
        (json!({}), "[31].message"),
        (json!({"message": "a", "mode": "fast"}), "[31].mode"),
        (json!({"message": "a", "chatId": "019a2b3c-4d5e-7f60-8123-456789abcdef"}), "[31].chatId"),
        (json!("a"), "[31]"),
        (json!(null), "[31]"),
        (json!(["a"]), "[31]"),
    ] {
        let mut items = prompts(50);
        items[31] = bad.clone();
        assert_eq!(fields(muster.us.post(&path, json!(items)).await), [field], "{bad}");
    }
    let mut items = prompts(50);
    items[0] = json!({"message": ""});
    items[49] = json!({"message": ""});
    assert_eq!(fields(muster.us.post(&path, json!(items)).await), ["[0].message", "[49].message"]);
    nothing_was_started(&muster).await;
}

async fn a_body_that_is_no_array_is_refused(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let path = format!("{}/batch", chat_path(&agent));
    for body in ["", "{}", "[", "[{\"message\": \"a\"}", "null", "{\"message\": \"a\"}", "[1]x"] {
        assert_eq!(fields(muster.us.send("POST", &path, body).await), [""], "{body}");
    }
    nothing_was_started(&muster).await;
}

async fn an_agent_that_is_not_ours_is_not_found(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let prefixed = format!("agent_{agent}");
    for rest in ["", "/batch"] {
        let body = if rest.is_empty() { json!({"message": "a"}) } else { json!([{"message": "a"}]) };
        let foreign = muster.them.post(&format!("{}{rest}", chat_path(&agent)), body.clone()).await;
        for other in ["019a2b3c-4d5e-7f60-8123-456789abcdef", "1", &prefixed, "list"] {
            let unknown = muster.them.post(&format!("{}{rest}", chat_path(other)), body.clone()).await;
            assert_eq!((foreign.code, &foreign.text), (404, &unknown.text), "{other}");
        }
        assert_eq!(error_type(foreign, 404), "NotFound");
    }
    nothing_was_started(&muster).await;
}
