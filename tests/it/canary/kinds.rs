//! Secrets of several kinds, to servers that refuse with them, write them in other ways, and say so much that half of one is cut off.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shared::tool::ANSWER_LIMIT_BYTES;

use super::tools::told;
use crate::{
    harness::{Answer, Muster, text},
    mcp::raw::{Raw, Reply},
};

/// A secret, and the part of its value that must be nowhere.
struct Kind {
    name: &'static str,
    value: String,
    part: String,
}

/// One that is escaped wherever it can be, two of which one begins with the other (and is named first), and one of which half is cut off.
fn kinds(canary: &str) -> [Kind; 4] {
    let id: String = canary.chars().rev().take(16).collect();
    let [odd, short, long, half] = ["odd", "short", "long", "half"].map(|kind| format!("{kind}{id}"));
    [
        Kind { name: "ODD", value: format!("\"<{odd}>/\\ &+%41'"), part: odd },
        Kind { name: "A1", value: short.clone(), part: short.clone() },
        Kind { name: "B1", value: format!("{short}{long}"), part: long },
        Kind { name: "HALF", value: format!("{half}.its.other.half.that.is.never.said"), part: half },
    ]
}

/// What must be nowhere, besides the canary.
pub(super) fn parts(canary: &str) -> Vec<String> {
    kinds(canary).into_iter().map(|kind| kind.part).collect()
}

/// Ways to repeat what was sent.
fn repeated(sent: &str) -> [Reply; 10] {
    let json = json!({"error": {"denied": sent, sent: 1}});
    let unicode: String = sent.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let percent: String = sent.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // Only of the one of which a half must not be seen: long answers take long to look through.
    let before = if sent.contains("half") { ANSWER_LIMIT_BYTES - 40 } else { 0 };
    let half = ["x".repeat(before).as_str(), sent, &"y".repeat(99)].concat();
    [
        Reply::Status(403, format!("access denied for {sent}")),
        Reply::Status(
            500,
            format!("<p>{}</p>", sent.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")),
        ),
        Reply::Status(400, json.to_string()),
        Reply::Status(422, json!(json.to_string()).to_string()),
        Reply::Status(403, unicode),
        Reply::Status(501, percent),
        Reply::Status(401, STANDARD.encode(sent)),
        Reply::Status(400, format!("{}{sent}", "z".repeat(990))),
        Reply::Status(200, half.clone()),
        Reply::Status(400, half),
    ]
}

/// Puts them, and sends each to an MCP server and by requests, all of which refuse.
pub(super) async fn through_refusals(muster: &Muster, canary: &str) -> Vec<Answer> {
    let kinds = kinds(canary);
    for Kind { name, value, .. } in &kinds {
        muster.us.put(&format!("/v1/secrets/{name}"), json!({ "value": value })).await.ok();
    }
    let says = |nth: usize, sent: &str| repeated(sent).into_iter().nth((nth - 1) % repeated("").len());
    let server = Raw::start(move |method, nth, message| {
        let sent = message["authorization"].as_str().unwrap_or_default();
        matches!(method, "tools/call" | "POST").then(|| says(nth, sent)).flatten()
    })
    .await;
    let many = repeated("").len();
    let mut answers = Vec::new();
    for kind in ["mcp", "http"] {
        for secrets in ["{{secret:ODD}}", "{{secret:HALF}}", "{{secret:A1}} {{secret:B1}}"] {
            answers.extend(refused(muster, &server, kind, secrets, many).await);
        }
    }
    let sent = [server.asked("tools/call"), server.asked("POST")].concat();
    assert_eq!(sent.len(), 6 * many);
    for Kind { value, .. } in &kinds {
        assert!(sent.iter().any(|sent| sent["authorization"].as_str().unwrap().contains(value)), "it was not sent");
    }
    answers
}

/// One run of as many calls as there are ways to be refused, and all that is told of it.
async fn refused(muster: &Muster, server: &Raw, kind: &str, secrets: &str, many: usize) -> Vec<Answer> {
    let mut tool = json!({"type": kind, "name": "shop", "url": server.url(), "policy": "once",
        "headers": {"Authorization": format!("Basic {secrets}")}});
    if kind == "http" {
        tool["method"] = json!("POST");
        tool["parameters"] = json!({"type": "object"});
    }
    let body = json!({"name": "actor", "model": "demo/scripted-l0", "tools": [tool]});
    let saved = muster.us.post("/v1/agents", body).await;
    assert_eq!(saved.code, 201, "{}", saved.text);
    let called = if kind == "http" { "shop" } else { "shop__act" };
    let message = vec![format!("call {called} {{\"city\": \"Oslo\"}}"); many].join("\n");
    let run = muster.us.run(&text(&saved.body, "id"), &message).await;
    Box::pin(muster.drain()).await;
    let read = told(muster, &run).await;
    assert_eq!(read[0].body["status"], "done", "{}", read[0].text);
    let contents: Vec<&Value> =
        read[1].body["data"].as_array().unwrap().iter().filter(|message| message["role"] == "tool").collect();
    let marked = contents.iter().filter(|message| message["content"].to_string().contains("[secret]")).count();
    assert!(contents.len() == many && marked + 4 >= many, "{marked} of {}", contents.len());
    [vec![saved], read].concat()
}
