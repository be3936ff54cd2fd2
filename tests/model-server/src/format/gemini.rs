//! Gemini `generateContent`. Its calls have no ids, and their reason is `STOP`.

use serde_json::{Value, json};

use super::{Call, Kind, Messages, arguments, number, offered, sse};
use crate::{
    answer::{Answer, Finish, Said},
    stream::{Events, Piece},
};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    let messages = Messages::of(&body, "contents", "parts", |part| {
        let has = |key: &str| part.get(key).is_some();
        if has("functionResponse") {
            Kind::Result
        } else if has("functionCall") {
            Kind::Call
        } else {
            Kind::Said
        }
    });
    Ok(Call {
        prompt: messages.prompt(),
        max_tokens: number(&body, "/generationConfig/maxOutputTokens"),
        include_usage: true,
        tools: offered(&body["tools"][0]["functionDeclarations"], "/name", "/parametersJsonSchema"),
        tool_rounds_done: messages.rounds_done(),
        ..Call::default()
    })
}

pub(super) fn render(model: &str, answer: &Answer) -> Value {
    let parts = match &answer.said {
        Said::Text(text) => json!([{"text": text}]),
        Said::ToolCalls(calls) => calls.iter().map(|(_, name, args)| call_part(name, args)).collect(),
    };
    let mut body = chunk(model, parts);
    body["candidates"][0]["finishReason"] = json!(reason(answer));
    body["usageMetadata"] = usage(answer);
    body
}

/// Each call is a chunk of its own.
pub(super) fn events(call: &Call, answer: &Answer, pieces: &[Piece]) -> Events {
    let part = |piece: &Piece| match piece {
        Piece::Text(text) => json!({"text": text}),
        Piece::Call(_, (_, name, args)) => call_part(name, args),
    };
    let deltas = pieces.iter().map(|piece| sse(None, &chunk(&call.model, json!([part(piece)])))).collect();
    let last = json!({"candidates": [{"content": {"role": "model"}, "finishReason": reason(answer), "index": 0}],
        "modelVersion": call.model, "usageMetadata": usage(answer)});
    Events { head: Vec::new(), deltas, tail: vec![sse(None, &last)] }
}

fn call_part(name: &str, args: &str) -> Value {
    json!({"functionCall": {"name": name, "args": arguments(args)}})
}

fn chunk(model: &str, parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}], "modelVersion": model})
}

fn reason(answer: &Answer) -> &'static str {
    if answer.finish == Finish::Length { "MAX_TOKENS" } else { "STOP" }
}

fn usage(answer: &Answer) -> Value {
    json!({"promptTokenCount": answer.prompt_tokens, "cachedContentTokenCount": answer.cached_tokens,
        "candidatesTokenCount": answer.completion_tokens,
        "totalTokenCount": answer.prompt_tokens + answer.completion_tokens})
}
