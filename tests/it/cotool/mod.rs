//! The Cotool surface, through its border, on each backend.

mod agent_runs;
mod agents;
mod chats;
mod crons;
mod errors;
mod fractured;
mod grading;
mod prompts;
mod runs;
mod samples;
mod together;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, text};

/// A new agent made here; as it is answered.
async fn made(client: &Client, others: Value) -> Value {
    let mut body = json!({"name": "a", "description": "d", "systemPrompt": "s", "modelAlias": "demo/scripted-l0"});
    body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    client.post("/api/agents", body).await.ok()
}

/// Its id.
async fn agent(client: &Client) -> String {
    text(&made(client, json!({})).await, "id")
}

fn path(agent: &str) -> String {
    format!("/api/agents/{agent}")
}

/// The fields that a refused body names.
fn fields(answer: Answer) -> Vec<Value> {
    let body = answer.status(400);
    assert!(body["error"].is_string(), "{body}");
    body["issues"].as_array().unwrap().iter().map(|issue| issue["path"].clone()).collect()
}
