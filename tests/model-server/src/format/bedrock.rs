//! Bedrock Converse, streamed in AWS' own framing.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::{Call, Kind, Messages, arguments, halves, number, offered};
use crate::{
    answer::{Answer, Finish, Said},
    stream::{Events, Piece},
};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    let messages = Messages::of(&body, "messages", "content", |part| {
        let has = |key: &str| part.get(key).is_some();
        if has("toolResult") {
            Kind::Result
        } else if has("toolUse") {
            Kind::Call
        } else {
            Kind::Said
        }
    });
    Ok(Call {
        prompt: messages.prompt(),
        max_tokens: number(&body, "/inferenceConfig/maxTokens"),
        include_usage: true,
        tools: offered(&body["toolConfig"]["tools"], "/toolSpec/name", "/toolSpec/inputSchema/json"),
        tool_rounds_done: messages.rounds_done(),
        ..Call::default()
    })
}

pub(super) fn render(answer: &Answer) -> Value {
    let content: Value = match &answer.said {
        Said::Text(text) => json!([{"text": text}]),
        Said::ToolCalls(calls) => calls
            .iter()
            .map(|(id, name, input)| json!({"toolUse": {"toolUseId": id, "name": name, "input": arguments(input)}}))
            .collect(),
    };
    json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason(answer),
        "usage": usage(answer), "metrics": {"latencyMs": 1}})
}

pub(super) fn events(answer: &Answer, pieces: &[Piece]) -> Events {
    let mut tail = Vec::new();
    if answer.text().is_some() {
        tail.push(frame("contentBlockStop", &json!({"contentBlockIndex": 0})));
    }
    tail.push(frame("messageStop", &json!({"stopReason": reason(answer)})));
    tail.push(frame("metadata", &json!({"usage": usage(answer), "metrics": {"latencyMs": 1}})));
    let delta =
        |index: usize, delta: Value| frame("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": delta}));
    let deltas = pieces.iter().flat_map(|piece| match piece {
        Piece::Text(text) => vec![delta(0, json!({"text": text}))],
        Piece::Call(index, (id, name, input)) => {
            let (first, rest) = halves(input);
            let start = json!({"toolUse": {"toolUseId": id, "name": name}});
            let part = |text: &str| delta(*index, json!({"toolUse": {"input": text}}));
            vec![
                frame("contentBlockStart", &json!({"contentBlockIndex": index, "start": start})),
                part(first),
                part(rest),
                frame("contentBlockStop", &json!({"contentBlockIndex": index})),
            ]
        }
    });
    Events { head: vec![frame("messageStart", &json!({"role": "assistant"}))], deltas: deltas.collect(), tail }
}

/// One message of `application/vnd.amazon.eventstream`.
pub(super) fn frame(event: &str, payload: &Value) -> Bytes {
    let payload = payload.to_string();
    let mut headers = BytesMut::new();
    for (name, value) in [(":message-type", "event"), (":event-type", event)] {
        headers.put_u8(name.len() as u8);
        headers.put_slice(name.as_bytes());
        headers.put_u8(7); // a string
        headers.put_u16(value.len() as u16);
        headers.put_slice(value.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u32((16 + headers.len() + payload.len()) as u32);
    frame.put_u32(headers.len() as u32);
    frame.put_u32(crc32fast::hash(&frame));
    frame.put_slice(&headers);
    frame.put_slice(payload.as_bytes());
    frame.put_u32(crc32fast::hash(&frame));
    frame.freeze()
}

fn reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
    }
}

fn usage(answer: &Answer) -> Value {
    json!({"inputTokens": answer.prompt_tokens - answer.cached_tokens, "outputTokens": answer.completion_tokens,
        "cacheReadInputTokens": answer.cached_tokens, "totalTokens": answer.prompt_tokens + answer.completion_tokens})
}
