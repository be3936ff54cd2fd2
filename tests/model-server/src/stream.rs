//! A streamed answer in the OpenAI format: a list of bytes, each with the moment at which it leaves.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::sleep_until;

use crate::{
    answer::{Answer, Said},
    format::{Call, openai},
    spec::Spec,
    stats::Ticket,
};

/// The chunks of an answer that is due `total` after `started`.
pub(crate) fn chunks(
    call: &Call,
    spec: &Spec,
    hash: u64,
    answer: &Answer,
    (started, total): (Instant, Duration),
    ticket: Ticket,
) -> BoxStream<'static, io::Result<Frame<Bytes>>> {
    let deltas: Vec<Bytes> =
        deltas(answer, spec).into_iter().map(|delta| event(call, hash, delta, Value::Null)).collect();
    let mut tail = event(call, hash, json!({}), json!(openai::reason(answer.finish))).to_vec();
    if call.include_usage {
        let mut chunk = head(call, hash);
        chunk["choices"] = json!([]);
        chunk["usage"] = openai::usage(answer);
        tail.extend_from_slice(format!("data: {chunk}\n\n").as_bytes());
    }
    tail.extend_from_slice(b"data: [DONE]\n\n");

    let first = Duration::from_millis(spec.first_ms.unwrap_or(spec.latency_ms / 4)).min(total);
    let gap = (total - first) / deltas.len().max(1) as u32;
    let moments = (0_u32..).map(|i| started + first + gap * i);
    let mut plan: Vec<(Instant, Bytes)> = moments.zip(deltas).collect();
    plan.push((started + total, Bytes::from(tail)));
    let left = plan.len();
    stream::unfold((plan.into_iter(), left, Some(ticket)), |(mut plan, left, mut ticket)| async move {
        let (at, bytes) = plan.next()?;
        sleep_until(at.into()).await;
        if left == 1
            && let Some(ticket) = ticket.take()
        {
            ticket.answered(at);
        }
        Some((Ok(Frame::data(bytes)), (plan, left - 1, ticket)))
    })
    .boxed()
}

fn deltas(answer: &Answer, spec: &Spec) -> Vec<Value> {
    let mut deltas: Vec<Value> = match &answer.said {
        Said::Text(text) => {
            let words: Vec<&str> = text.split_inclusive(' ').collect();
            let per_chunk = words.len().div_ceil(spec.chunks).max(1);
            words.chunks(per_chunk).map(|piece| json!({"content": piece.concat()})).collect()
        }
        Said::ToolCalls(calls) => {
            let delta = |(index, call)| {
                let mut call = openai::tool_call(call);
                call["index"] = json!(index);
                json!({"tool_calls": [call]})
            };
            calls.iter().enumerate().map(delta).collect()
        }
    };
    if let Some(first) = deltas.first_mut() {
        first["role"] = json!("assistant");
    }
    deltas
}

fn head(call: &Call, hash: u64) -> Value {
    json!({"id": openai::id(hash), "object": "chat.completion.chunk", "created": openai::CREATED, "model": call.model})
}

fn event(call: &Call, hash: u64, delta: Value, finish: Value) -> Bytes {
    let mut chunk = head(call, hash);
    chunk["choices"] = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    Bytes::from(format!("data: {chunk}\n\n"))
}
