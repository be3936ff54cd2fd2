//! OpenAI chat completions, streamed.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Call, halves, openai, sse};
use crate::{
    answer::Answer,
    stream::{Events, Piece},
};

pub(super) fn events(call: &Call, hash: u64, answer: &Answer, pieces: &[Piece]) -> Events {
    let mut deltas: Vec<Value> = pieces.iter().flat_map(deltas).collect();
    if let Some(first) = deltas.first_mut() {
        first["role"] = json!("assistant");
    }
    let deltas = deltas.into_iter().map(|delta| event(call, hash, delta, Value::Null)).collect();
    let mut tail = vec![event(call, hash, json!({}), json!(openai::reason(answer.finish)))];
    if call.include_usage {
        let mut chunk = head(call, hash);
        chunk["choices"] = json!([]);
        chunk["usage"] = openai::usage(answer);
        tail.push(sse(None, &chunk));
    }
    tail.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Events { head: Vec::new(), deltas, tail }
}

/// A call comes in two pieces, the second without id and name.
fn deltas(piece: &Piece) -> Vec<Value> {
    match piece {
        Piece::Text(text) => vec![json!({"content": text})],
        Piece::Call(index, (id, name, arguments)) => {
            let (first, rest) = halves(arguments);
            vec![
                json!({"tool_calls": [{"index": index, "id": id, "type": "function",
                    "function": {"name": name, "arguments": first}}]}),
                json!({"tool_calls": [{"index": index, "function": {"arguments": rest}}]}),
            ]
        }
    }
}

fn head(call: &Call, hash: u64) -> Value {
    json!({"id": openai::id(hash), "object": "chat.completion.chunk", "created": openai::CREATED, "model": call.model})
}

fn event(call: &Call, hash: u64, delta: Value, finish: Value) -> Bytes {
    let mut chunk = head(call, hash);
    chunk["choices"] = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    sse(None, &chunk)
}
