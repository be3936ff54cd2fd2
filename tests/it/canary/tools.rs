//! The secret is sent to MCP servers and by tools' requests that repeat it, fail, and break.

use model_server::Tools;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Muster, text},
    mcp::raw::{Raw, Reply},
};

/// Sends it to an MCP server that repeats it wherever it can, when an agent is saved and when its tool is called.
pub(super) async fn through_a_server(muster: &Muster, canary: &str) -> Vec<Answer> {
    let server = Raw::start(|method, _, message| {
        let said = message["authorization"].as_str().unwrap_or("nothing");
        let tool = json!({"name": "act", "description": said, "inputSchema": {"type": "object", "title": said}});
        match method {
            "tools/list" => Some(Reply::Result(json!({"tools": [tool], "_meta": {said: said}}))),
            "tools/call" => Some(Reply::Result(json!({"content": [{"type": "text", "text": said}]}))),
            _ => None,
        }
    })
    .await;
    let headers = json!({"Authorization": "Bearer {{secret:KEY}}"});
    let tool = json!({"type": "mcp", "name": "shop", "url": server.url(), "headers": headers});
    let body = json!({"name": "actor", "model": "demo/scripted-l0", "tools": [tool]});
    let saved = muster.us.post("/v1/agents", body).await;
    let run = muster.us.run(saved.body["id"].as_str().unwrap(), "call shop__act").await;
    Box::pin(muster.drain()).await;
    let sent = server.asked("tools/call");
    assert!(sent.len() == 1 && sent[0]["authorization"] == format!("Bearer {canary}"), "it was not sent");
    let read = told(muster, &run).await;
    assert!(read.iter().any(|answer| answer.text.contains("Bearer [secret]")), "it was not answered");
    [vec![saved], read].concat()
}

/// Sends it by requests of tools: one that is answered with it, one that fails, some that break, one that is asked about afterwards.
pub(super) async fn through_requests(muster: &Muster, canary: &str) -> Vec<Answer> {
    let tools = Tools::start().await.unwrap();
    let tool = |name: &str, url: String, policy: &str| {
        let headers = json!({"Authorization": "Bearer {{secret:KEY}}", "X-Key": "{{secret:KEY}}"});
        let lookup = (policy == "verify").then(|| tools.url("/did/{idempotency_key}"));
        json!({"type": "http", "name": name, "method": "POST", "url": url, "headers": headers, "policy": policy, "timeout_ms": 5_000,
            "lookup_url": lookup, "parameters": {"type": "object", "properties": {}}})
    };
    let all = [
        tool("echo", tools.url("/echo"), "once"),
        tool("failing", tools.url("/do/f?status=500"), "once"),
        tool("cut", tools.url("/do/c?cut=1"), "once"),
        tool("asked", tools.url("/do/a?cut=9"), "verify"),
        tool("lost", tools.url("/do/l?lose=9"), "idempotent"),
        tool("gone", "http://127.0.0.1:1/".to_owned(), "once"),
    ];
    let calls: Vec<String> = all.iter().map(|tool| format!("call {}", text(tool, "name"))).collect();
    let body = json!({"name": "actor", "model": "demo/scripted-l0", "tools": all});
    let saved = muster.us.post("/v1/agents", body).await;
    assert_eq!(saved.code, 201, "{}", saved.text);
    let agent = text(&saved.body, "id");
    let stream = muster.us.post(&format!("/v1/agents/{agent}/runs/stream"), json!({"message": calls.join("\n")})).await;
    let sent: Vec<_> = tools.effects().into_iter().filter_map(|effect| effect.authorization).collect();
    assert!(sent.len() >= 4 && sent.iter().all(|sent| *sent == format!("Bearer {canary}")), "{} were sent", sent.len());
    assert!(stream.text.contains("Bearer [secret]") && stream.text.contains("run.done"), "{}", stream.text);
    let read = told(muster, &run_of(&stream)).await;
    [vec![saved, stream], read].concat()
}

/// The run that a stream tells of.
pub(super) fn run_of(stream: &Answer) -> String {
    let event = stream.text.lines().find_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    text(&event.unwrap(), "run_id")
}

/// All that is told of a run.
pub(super) async fn told(muster: &Muster, run: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for path in ["", "/messages", "/events?limit=500", "/explain", "/approvals"] {
        answers.push(muster.us.get(&format!("/v1/runs/{run}{path}")).await);
    }
    let streamed = muster.us.with("accept", "text/event-stream").get(&format!("/v1/runs/{run}/events")).await;
    assert!(answers.iter().chain([&streamed]).all(|answer| answer.code == 200), "{answers:?}");
    answers.push(streamed);
    answers
}
