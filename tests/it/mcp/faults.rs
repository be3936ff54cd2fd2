//! Calls of servers that break off, lie or never end, and of workers that die: what is done depends on what is known.

use serde_json::{Value, json};

use super::{
    agent, answered, done, entry,
    raw::{Raw, Reply},
    run,
};
use crate::{
    harness::{Muster, on_every_backend},
    reaper::LEASE_AND_MORE_MS,
};

on_every_backend!(
    a_call_that_breaks_off_is_made_again_only_as_its_policy_says,
    a_stream_that_never_ends_is_read_until_the_answer,
    answers_that_are_none_are_unclear,
    what_a_server_refuses_is_told_to_the_model,
    what_a_gateway_answers_is_unclear_where_a_call_must_not_be_made_twice,
    a_session_that_is_gone_is_begun_anew,
    a_call_of_a_worker_that_died_is_made_again_only_as_its_policy_says,
    a_server_that_is_away_was_sent_nothing,
);

const CALL: &str = "tools/call";

/// Answers the first calls so, and all others as they should be.
fn calls(times: usize, reply: Reply) -> impl Fn(&str, usize, &Value) -> Option<Reply> + Send + Sync + 'static {
    move |method, nth, _| (method == CALL && nth <= times).then(|| reply.clone())
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// The idempotency keys of the calls.
fn keys(server: &Raw) -> Vec<Value> {
    server.asked(CALL).iter().map(|call| call["params"]["_meta"]["idempotencyKey"].clone()).collect()
}

async fn a_call_that_breaks_off_is_made_again_only_as_its_policy_says(muster: Muster) {
    for fault in [Reply::Cut, Reply::Half, Reply::Events(vec![]), Reply::Silence] {
        for (policy, times, outcome) in [("once", 1, "unknown"), ("idempotent", 2, "answered"), ("read", 2, "answered")]
        {
            let server = Raw::start(calls(1, fault.clone())).await;
            let fields = json!({"policy": policy, "timeout_ms": 1_000});
            let agent = agent(&muster, vec![entry(&server.url(), fields)]).await;
            let path = run(&muster, &agent, "act").await;
            assert_eq!(answered(&muster, &path).await.0, outcome, "{policy} {fault:?}");
            let keys = keys(&server);
            assert_eq!(keys.len(), times, "{policy} {fault:?}");
            assert!(keys.iter().all(|key| key.is_string() && *key == keys[0]), "{keys:?}");
        }
    }
}

async fn a_stream_that_never_ends_is_read_until_the_answer(muster: Muster) {
    let endless = |method: &str, _: usize, message: &Value| {
        let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": text("at last")});
        let noise = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}});
        let asks = json!({"jsonrpc": "2.0", "id": message["id"], "method": "sampling/createMessage", "params": {}});
        (method == CALL).then(|| Reply::EndlessEvents(vec![noise, asks, answer]))
    };
    let server = Raw::start(endless).await;
    let agent = agent(&muster, vec![entry(&server.url(), json!({}))]).await;
    let path = run(&muster, &agent, "act").await;
    assert_eq!(answered(&muster, &path).await, done("answered", "at last"));
    let silent = Raw::start(calls(9, Reply::EndlessEvents(vec![]))).await;
    let agent = super::agent(&muster, vec![entry(&silent.url(), json!({"timeout_ms": 1_000}))]).await;
    let path = run(&muster, &agent, "act").await;
    assert_eq!((answered(&muster, &path).await.0.as_str(), keys(&silent).len()), ("unknown", 1));
}

async fn answers_that_are_none_are_unclear(muster: Muster) {
    let large = text(&"x".repeat(3 * 1024 * 1024));
    for fault in [
        Reply::Json(json!({"jsonrpc": "2.0", "id": 999, "result": text("not yours")})),
        Reply::Json(json!({"jsonrpc": "2.0", "id": null, "result": text("nobody's")})),
        Reply::Json(json!([1, 2, 3])),
        Reply::Status(200, "<html>".to_owned()),
        Reply::Status(202, String::new()),
        Reply::Result(large),
        Reply::Result(json!({"content": vec![json!([]); 60_000]})),
    ] {
        let server = Raw::start(calls(9, fault.clone())).await;
        let agent =
            agent(&muster, vec![entry(&server.url(), json!({"on_unknown": "halt", "timeout_ms": 5_000}))]).await;
        let path = run(&muster, &agent, "act").await;
        let waiting = muster.us.get(&path).await.ok();
        let shown = format!("{fault:?}").chars().take(100).collect::<String>();
        assert_eq!((&waiting["status"], &waiting["reason"]), (&json!("waiting"), &json!("outcome_unknown")), "{shown}");
        assert_eq!(keys(&server).len(), 1, "{shown}");
    }
}

async fn what_a_server_refuses_is_told_to_the_model(muster: Muster) {
    let error = |message: &str| {
        let message = message.to_owned();
        move |method: &str, _: usize, asked: &Value| {
            let error = json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32602, "message": message}});
            (method == CALL).then(|| Reply::Json(error))
        }
    };
    let long = "x".repeat(100_000);
    let refused = Raw::start(error(&long)).await;
    let agent = agent(&muster, vec![entry(&refused.url(), json!({}))]).await;
    let path = run(&muster, &agent, "act").await;
    let (outcome, content) = answered(&muster, &path).await;
    assert_eq!(outcome, "failed");
    assert!(content.starts_with("the MCP server refused the call: xxx") && content.len() < 1_100);
    for (status, policy, expected, times) in
        [(403, "idempotent", "HTTP 403\nno", 1), (503, "idempotent", "done", 2), (500, "once", "HTTP 500\nno", 1)]
    {
        let server = Raw::start(calls(1, Reply::Status(status, "no".to_owned()))).await;
        let agent = super::agent(&muster, vec![entry(&server.url(), json!({ "policy": policy }))]).await;
        let path = run(&muster, &agent, "act").await;
        assert_eq!((answered(&muster, &path).await.1.as_str(), keys(&server).len()), (expected, times), "{status}");
    }
}

async fn what_a_gateway_answers_is_unclear_where_a_call_must_not_be_made_twice(muster: Muster) {
    for status in [408, 502, 503, 504, 500, 429, 400] {
        let gateway = !matches!(status, 500 | 429 | 400);
        let told = if gateway { "unknown" } else { "failed" };
        let tries = if status == 400 { 1 } else { 3 };
        for (policy, times, expected) in [("read", tries, "failed"), ("idempotent", tries, "failed"), ("once", 1, told)]
        {
            for on_unknown in ["tell", "halt"] {
                let server = Raw::start(calls(9, Reply::Status(status, "no".to_owned()))).await;
                let fields = json!({"policy": policy, "on_unknown": on_unknown});
                let agent = agent(&muster, vec![entry(&server.url(), fields)]).await;
                let path = run(&muster, &agent, "act").await;
                let case = format!("{policy} {on_unknown} {status}");
                assert_eq!(keys(&server).len(), times, "{case}");
                if (expected, on_unknown) == ("unknown", "halt") {
                    let waiting = muster.us.get(&path).await.ok();
                    let waits = (&json!("waiting"), &json!("outcome_unknown"));
                    assert_eq!((&waiting["status"], &waiting["reason"]), waits, "{case}");
                } else {
                    assert_eq!(answered(&muster, &path).await.0, expected, "{case}");
                }
            }
        }
    }
}

async fn a_session_that_is_gone_is_begun_anew(muster: Muster) {
    for method in [CALL, "tools/list"] {
        let gone = move |asked: &str, nth: usize, _: &Value| {
            // The first listing is that of the agent being saved.
            let first = if method == CALL { 1 } else { 2 };
            (asked == method && nth == first).then(|| Reply::Status(404, "no such session".to_owned()))
        };
        let server = Raw::start(gone).await;
        let agent = agent(&muster, vec![entry(&server.url(), json!({}))]).await;
        let path = run(&muster, &agent, "act").await;
        assert_eq!(answered(&muster, &path).await, done("answered", "done"), "{method}");
        assert_eq!(server.asked("initialize").len(), 3, "{method}");
    }
}

async fn a_call_of_a_worker_that_died_is_made_again_only_as_its_policy_says(muster: Muster) {
    for (policy, times, outcome) in [("once", 1, "unknown"), ("idempotent", 2, "answered")] {
        let server = Raw::start(calls(1, Reply::Silence)).await;
        let agent = agent(&muster, vec![entry(&server.url(), json!({ "policy": policy }))]).await;
        let id = muster.us.run(&agent, "call shop__act {\"city\": \"Oslo\"}").await;
        tokio::select! {
            () = muster.drain() => panic!("the server does not answer"),
            () = server.was_asked(CALL) => {}
        }
        muster.pass(LEASE_AND_MORE_MS);
        muster.reap().await;
        Box::pin(muster.drain()).await;
        assert_eq!(answered(&muster, &format!("/v1/runs/{id}")).await.0, outcome, "{policy}");
        let keys = keys(&server);
        assert_eq!(keys.len(), times, "{policy}");
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}

async fn a_server_that_is_away_was_sent_nothing(muster: Muster) {
    let server = Raw::start(|_, _, _| None).await;
    let agent = agent(&muster, vec![entry(&server.url(), json!({"on_unknown": "halt"}))]).await;
    drop(server);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let path = run(&muster, &agent, "act").await;
    assert_eq!(answered(&muster, &path).await, done("failed", "the MCP server could not be reached"));
}
