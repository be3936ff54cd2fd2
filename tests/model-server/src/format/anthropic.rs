//! Anthropic messages.

use serde_json::{Value, json};

use super::{Call, Kind, Messages, arguments, halves, number, offered, sse, string};
use crate::{
    answer::{Answer, Finish, Said},
    stream::{Events, Piece},
};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    let messages = Messages::of(&body, "messages", "content", |part| match part["type"].as_str() {
        Some("tool_result") => Kind::Result,
        Some("tool_use") => Kind::Call,
        _ => Kind::Said,
    });
    Ok(Call {
        model: string(&body, "model"),
        prompt: messages.prompt(),
        max_tokens: number(&body, "/max_tokens"),
        stream: body["stream"] == true,
        include_usage: true,
        tools: offered(&body["tools"], "/name", "/input_schema"),
        tool_rounds_done: messages.rounds_done(),
        ..Call::default()
    })
}

pub(super) fn render(model: &str, hash: u64, answer: &Answer) -> Value {
    let content: Value = match &answer.said {
        Said::Text(text) => json!([{"type": "text", "text": text}]),
        Said::ToolCalls(calls) => calls
            .iter()
            .map(|(id, name, input)| json!({"type": "tool_use", "id": id, "name": name, "input": arguments(input)}))
            .collect(),
    };
    json!({"id": format!("msg_{hash:016x}"), "type": "message", "role": "assistant", "model": model,
        "content": content, "stop_reason": reason(answer), "stop_sequence": null, "usage": usage(answer)})
}

pub(super) fn events(call: &Call, hash: u64, answer: &Answer, pieces: &[Piece]) -> Events {
    let event = |value: Value| sse(value["type"].as_str(), &value);
    let mut start = render(&call.model, hash, answer);
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    let mut head = vec![event(json!({"type": "message_start", "message": start})), event(json!({"type": "ping"}))];
    let mut tail = Vec::new();
    if answer.text().is_some() {
        let block = json!({"type": "text", "text": ""});
        head.push(event(json!({"type": "content_block_start", "index": 0, "content_block": block})));
        tail.push(event(json!({"type": "content_block_stop", "index": 0})));
    }
    let delta =
        |index: usize, delta: Value| event(json!({"type": "content_block_delta", "index": index, "delta": delta}));
    let deltas = pieces.iter().flat_map(|piece| match piece {
        Piece::Text(text) => vec![delta(0, json!({"type": "text_delta", "text": text}))],
        Piece::Call(index, (id, name, input)) => {
            let (first, rest) = halves(input);
            let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
            let part = |text: &str| delta(*index, json!({"type": "input_json_delta", "partial_json": text}));
            vec![
                event(json!({"type": "content_block_start", "index": index, "content_block": block})),
                part(first),
                part(rest),
                event(json!({"type": "content_block_stop", "index": index})),
            ]
        }
    });
    let deltas = deltas.collect();
    tail.push(event(json!({"type": "message_delta", "delta": {"stop_reason": reason(answer), "stop_sequence": null},
        "usage": {"output_tokens": answer.completion_tokens}})));
    tail.push(event(json!({"type": "message_stop"})));
    Events { head, deltas, tail }
}

fn reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
    }
}

/// Here, unlike elsewhere, `input_tokens` leaves the cached ones out.
fn usage(answer: &Answer) -> Value {
    json!({"input_tokens": answer.prompt_tokens - answer.cached_tokens, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens, "output_tokens": answer.completion_tokens})
}
