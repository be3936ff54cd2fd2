//! Ollama chat. Its calls have no ids, and their reason is `stop`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Call, Kind, Messages, arguments, number, offered, string};
use crate::{
    answer::{Answer, Finish, Said},
    stream::{Events, Piece},
};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    let messages = Messages::of(&body, "messages", "content", |_| Kind::Said);
    Ok(Call {
        model: string(&body, "model"),
        prompt: messages.prompt(),
        max_tokens: number(&body, "/options/num_predict"),
        // Unless told otherwise, it streams.
        stream: body["stream"] != false,
        include_usage: true,
        tools: offered(&body["tools"], "/function/name", "/function/parameters"),
        tool_rounds_done: messages.rounds_done(),
        ..Call::default()
    })
}

pub(super) fn render(model: &str, answer: &Answer) -> Value {
    let mut body = match &answer.said {
        Said::Text(text) => line(model, json!({"content": text})),
        Said::ToolCalls(calls) => {
            let calls: Value = calls.iter().map(|(_, name, input)| call(name, input)).collect();
            line(model, json!({"content": "", "tool_calls": calls}))
        }
    };
    body["done"] = json!(true);
    body["done_reason"] = json!(if answer.finish == Finish::Length { "length" } else { "stop" });
    body["prompt_eval_count"] = json!(answer.prompt_tokens);
    body["eval_count"] = json!(answer.completion_tokens);
    body
}

pub(super) fn events(model: &str, answer: &Answer, pieces: &[Piece]) -> Events {
    let delta = |piece: &Piece| match piece {
        Piece::Text(text) => line(model, json!({"content": text})),
        Piece::Call(_, (_, name, input)) => line(model, json!({"content": "", "tool_calls": [call(name, input)]})),
    };
    let mut last = render(model, answer);
    last["message"] = json!({"role": "assistant", "content": ""});
    let ended = |value: Value| Bytes::from(format!("{value}\n"));
    Events {
        head: Vec::new(),
        deltas: pieces.iter().map(|piece| ended(delta(piece))).collect(),
        tail: vec![ended(last)],
    }
}

fn call(name: &str, input: &str) -> Value {
    json!({"function": {"name": name, "arguments": arguments(input)}})
}

fn line(model: &str, mut message: Value) -> Value {
    message["role"] = json!("assistant");
    json!({"model": model, "created_at": "2023-11-14T22:13:20Z", "message": message, "done": false})
}
