//! Chats: runs that go on with an earlier one.

use model_server::Format;
use serde_json::json;

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_run_goes_on_with_a_chat_and_the_model_sees_all_of_it,
    a_chat_is_not_gone_on_with_before_its_last_run_has_ended,
    of_two_that_go_on_at_the_same_time_one_does,
    only_a_chat_of_the_same_agent_and_organisation_is_gone_on_with,
);

async fn a_run_goes_on_with_a_chat_and_the_model_sees_all_of_it(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let first = muster.us.run(&agent, "first").await;
    muster.drain().await;
    let path = format!("/v1/agents/{agent}/runs");
    let mut said = vec!["first".to_owned()];
    for message in ["second", "third"] {
        let before = muster.us.get("/v1/runs?limit=1").await.ok();
        said.extend([text(&before["data"][0], "result"), message.to_owned()]);
        muster.pass(2);
        let next = muster.us.post(&path, json!({"message": message, "chat_id": first})).await.status(202);
        assert_eq!((&next["chat_id"], next["id"] == next["chat_id"]), (&json!(first), false));
        muster.drain().await;
        let sent = muster.models.last(Format::OpenAi).unwrap().body;
        let sent: Vec<String> = sent["messages"].as_array().unwrap().iter().map(|turn| text(turn, "content")).collect();
        assert_eq!(sent, said);
    }
    let own = muster.us.get(&format!("/v1/runs/{first}/messages")).await.ok();
    assert_eq!(own["data"].as_array().unwrap().len(), 2, "a run's messages are its own");
}

async fn a_chat_is_not_gone_on_with_before_its_last_run_has_ended(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let first = muster.us.run(&agent, "first").await;
    let path = format!("/v1/agents/{agent}/runs");
    let go_on = || muster.us.post(&path, json!({"message": "second", "chat_id": first}));
    assert_eq!(go_on().await.code_of(409), "conflict");
    muster.drain().await;
    go_on().await.status(202);
    assert_eq!(go_on().await.code_of(409), "conflict");
    muster.us.send("POST", &format!("/v1/runs/{first}/cancel"), "").await.ok();
    assert_eq!(go_on().await.code_of(409), "conflict", "the first run had ended; the second has not");
    muster.drain().await;
    go_on().await.status(202);
}

async fn of_two_that_go_on_at_the_same_time_one_does(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let first = muster.us.run(&agent, "first").await;
    muster.drain().await;
    let path = format!("/v1/agents/{agent}/runs");
    let twins = (0..4).map(|_| muster.us.post(&path, json!({"message": "next", "chat_id": first})));
    let mut codes: Vec<u16> = futures_util::future::join_all(twins).await.iter().map(|answer| answer.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [202, 409, 409, 409]);
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"].as_array().unwrap().len(), 2);
}

async fn only_a_chat_of_the_same_agent_and_organisation_is_gone_on_with(muster: Muster) {
    let (one, other) = (muster.us.agent("demo/scripted-l0").await, muster.us.agent("demo/scripted-l0").await);
    let first = muster.us.run(&one, "first").await;
    muster.drain().await;
    let second = muster.us.post(&format!("/v1/agents/{one}/runs"), json!({"message": "b", "chat_id": first})).await;
    let second = text(&second.status(202), "id");
    muster.drain().await;
    let path = format!("/v1/agents/{other}/runs");
    assert_eq!(muster.us.post(&path, json!({"message": "b", "chat_id": first})).await.param(), "chat_id");
    let theirs = muster.them.agent("demo/scripted-l0").await;
    let them = muster.them.with("x-request-id", "same");
    let foreign = them.post(&format!("/v1/agents/{theirs}/runs"), json!({"message": "b", "chat_id": first})).await;
    let unknown = json!({"message": "b", "chat_id": "run_019a2b3c-4d5e-7f60-8123-456789abcdef"});
    let unknown = them.post(&format!("/v1/agents/{theirs}/runs"), unknown).await;
    assert_eq!((foreign.code, &foreign.text), (404, &unknown.text));
    let middle = muster.us.post(&format!("/v1/agents/{one}/runs"), json!({"message": "b", "chat_id": second})).await;
    assert_eq!(middle.code, 404, "a chat has the id of its first run");
}
