//! The Cotera surface, through its border, on each backend.

mod agents;
mod batches;
mod chats;
mod errors;
mod lists;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Muster, text};

/// A new agent; its id as this surface writes it.
async fn agent(client: &Client, model: &str) -> String {
    client.agent(model).await.replace("agent_", "")
}

fn chat_path(agent: &str) -> String {
    format!("/api/v1/resource/agent/{agent}/chat")
}

fn status_path(chat: &str) -> String {
    format!("/api/v1/resource/chat/{chat}/status")
}

/// Sends a prompt and waits for the result.
async fn chat(muster: &Muster, agent: &str, body: Value) -> Answer {
    muster.us.post(&chat_path(agent), body).await
}

/// Starts these prompts; the ids of their chats, in order.
async fn start(muster: &Muster, agent: &str, messages: &[&str]) -> Vec<String> {
    let items: Vec<Value> = messages.iter().map(|message| json!({"message": message})).collect();
    let started = muster.us.post(&format!("{}/batch", chat_path(agent)), json!(items)).await.ok();
    started["result"].as_array().unwrap().iter().map(|chat| text(chat, "chatId")).collect()
}

/// The kind of error of a body of this surface.
fn error_type(answer: Answer, status: u16) -> String {
    let body = answer.status(status);
    assert_eq!(body["success"], false);
    text(&body, "errorType")
}

/// The fields that a refused body names.
fn fields(answer: Answer) -> Vec<Value> {
    let body = answer.status(400);
    assert_eq!((&body["success"], &body["errorType"]), (&json!(false), &json!("InvalidInput")));
    body["info"]["problems"].as_array().unwrap().iter().map(|problem| problem["field"].clone()).collect()
}
