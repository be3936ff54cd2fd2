//! Sending a prompt and getting back its result; where a chat stands; going on with one.

use model_server::Format;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{agent, chat, chat_path, error_type, fields, start, status_path};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_prompt_is_answered_with_its_result,
    a_run_that_ends_badly_is_answered_with_its_error,
    a_bad_prompt_is_refused_with_its_field,
    a_chat_is_gone_on_with,
    a_chat_that_is_busy_is_a_conflict,
    what_is_no_chat_is_not_gone_on_with,
    a_chat_says_where_it_stands,
    a_chat_is_the_same_run_on_the_native_surface,
);

async fn a_prompt_is_answered_with_its_result(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster.us, "demo/scripted-l20").await;
    for body in [json!({"message": "hello"}), json!({"message": "hello", "mode": "auto"})] {
        let answer = chat(&muster, &agent, body).await;
        let said = answer.body.clone();
        assert_eq!(said["id"], said["chatId"]);
        assert!(text(&said, "id").parse::<Uuid>().is_ok() && text(&said, "result").contains("hello"));
        assert!(said["usage"]["costMicroUsd"].as_u64() > Some(0));
        let usage = json!({
            "modelCalls": 1, "inputTokens": said["usage"]["inputTokens"], "outputTokens": said["usage"]["outputTokens"],
            "costMicroUsd": said["usage"]["costMicroUsd"],
        });
        let expected = json!({
            "success": true, "id": "<id>", "chatId": "<id>", "status": "done", "result": said["result"], "usage": usage,
        });
        assert_eq!(answer.shape(200), expected);
    }
    let manual = chat(&muster, &agent, json!({"message": "hello", "mode": "manual"})).await.ok();
    let run = muster.us.get(&format!("/v1/runs/run_{}", text(&manual, "id"))).await.ok();
    assert_eq!((&run["mode"], &run["status"]), (&json!("manual"), &json!("done")));
}

async fn a_run_that_ends_badly_is_answered_with_its_error(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster.us, "openai/fake-q").await;
    let answer = chat(&muster, &agent, json!({"message": "hello"})).await.ok();
    assert_eq!(json!([answer["success"], answer["status"], answer["result"]]), json!([true, "error", null]));
    assert!(text(&answer, "error").contains("429"), "{answer}");
    let status = muster.us.get(&status_path(&text(&answer, "chatId"))).await.ok();
    assert_eq!(json!([status["status"], status["error"]]), json!(["error", answer["error"]]));
}

async fn a_bad_prompt_is_refused_with_its_field(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    for (body, field) in [
        (json!({}), "message"),
        (json!({"message": ""}), "message"),
        (json!({"message": 1}), "message"),
        (json!({"message": null}), "message"),
        (json!({"message": "a", "mode": "fast"}), "mode"),
        (json!({"message": "a", "mode": 1}), "mode"),
        (json!({"message": "a", "chatId": "x"}), "chatId"),
        (json!({"message": "a", "colour": 1}), "colour"),
        (json!(["a"]), ""),
        (json!("a"), ""),
    ] {
        assert_eq!(fields(chat(&muster, &agent, body.clone()).await), [field], "{body}");
    }
    for body in ["", "{", "hello", "{\"message\": \"a\"} x"] {
        assert_eq!(fields(muster.us.send("POST", &chat_path(&agent), body).await), [""], "{body}");
    }
    let listed = muster.us.get("/api/v1/resource/chat/list").await;
    assert_eq!(listed.ok(), json!({"success": true, "result": []}));
}

async fn a_chat_is_gone_on_with(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster.us, "openai/fake").await;
    let first = chat(&muster, &agent, json!({"message": "first"})).await.ok();
    let id = text(&first, "chatId");
    let second = chat(&muster, &agent, json!({"message": "second", "chatId": id})).await.ok();
    assert_eq!((&second["id"], &second["chatId"]), (&json!(id), &json!(id)));
    assert_ne!(second["result"], first["result"]);
    let sent = muster.models.last(Format::OpenAi).unwrap().body;
    let sent: Vec<Value> =
        sent["messages"].as_array().unwrap().iter().map(|turn| json!([turn["role"], turn["content"]])).collect();
    assert_eq!(sent, [json!(["user", "first"]), json!(["assistant", first["result"]]), json!(["user", "second"])]);
    let listed = muster.us.get(&format!("/api/v1/resource/chat/{id}/list")).await.ok();
    let said: Vec<Value> =
        listed["result"].as_array().unwrap().iter().map(|one| json!([one["role"], one["content"]])).collect();
    assert_eq!(said[..3], sent);
    assert_eq!(said[3], json!(["assistant", second["result"]]));
    assert_eq!(muster.us.get(&status_path(&id)).await.ok()["status"], "done");
}

async fn a_chat_that_is_busy_is_a_conflict(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let ids = start(&muster, &agent, &["first"]).await;
    let refused = chat(&muster, &agent, json!({"message": "second", "chatId": ids[0]})).await;
    assert_eq!(error_type(refused, 409), "Conflict");
}

async fn what_is_no_chat_is_not_gone_on_with(muster: Muster) {
    let ours = agent(&muster.us, "demo/scripted-l0").await;
    let theirs = agent(&muster.them, "demo/scripted-l0").await;
    let ids = start(&muster, &ours, &["first"]).await;
    muster.drain().await;
    let with = |id: &str| json!({"message": "second", "chatId": id});
    let foreign = muster.them.post(&chat_path(&theirs), with(&ids[0])).await;
    let unknown = muster.them.post(&chat_path(&theirs), with("019a2b3c-4d5e-7f60-8123-456789abcdef")).await;
    assert_eq!((foreign.code, &foreign.text), (404, &unknown.text));
    assert_eq!(error_type(foreign, 404), "NotFound");
    let other = agent(&muster.us, "demo/scripted-l0").await;
    assert_eq!(fields(chat(&muster, &other, with(&ids[0])).await), ["chatId"], "a chat with another agent");
}

async fn a_chat_says_where_it_stands(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let ids = start(&muster, &agent, &["hello"]).await;
    let usage = json!({"modelCalls": 0, "inputTokens": 0, "outputTokens": 0, "costMicroUsd": 0});
    let queued = muster.us.get(&status_path(&ids[0])).await.ok();
    assert_eq!(queued, json!({"success": true, "id": ids[0], "status": "queued", "usage": usage}));
    muster.drain().await;
    let done = muster.us.get(&status_path(&ids[0])).await.ok();
    assert_eq!(
        json!([done["success"], done["id"], done["status"], done["error"]]),
        json!([true, ids[0], "done", null])
    );
    assert_eq!(done["usage"]["modelCalls"], 1);
}

async fn a_chat_is_the_same_run_on_the_native_surface(muster: Muster) {
    let agent = agent(&muster.us, "openai/fake").await;
    let ids = start(&muster, &agent, &["hello"]).await;
    let path = format!("/v1/runs/run_{}", ids[0]);
    assert_eq!(muster.us.get(&path).await.ok()["status"], "queued");
    muster.us.send("POST", &format!("{path}/cancel"), "").await.ok();
    let status = muster.us.get(&status_path(&ids[0])).await.ok();
    assert_eq!(status["status"], "interrupted");
    muster.drain().await;
    let run = muster.us.run(&format!("agent_{agent}"), "from there").await.replace("run_", "");
    assert_eq!(muster.us.get(&status_path(&run)).await.ok()["status"], "queued");
}
