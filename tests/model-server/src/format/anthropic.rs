//! Anthropic messages.

use serde_json::{Value, json};

use super::{Call, last_of_user, number, string};
use crate::answer::{Answer, Finish};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    Ok(Call {
        model: string(&body, "model"),
        prompt: last_of_user(&body, "messages", "content"),
        max_tokens: number(&body, "/max_tokens"),
        ..Call::default()
    })
}

pub(super) fn render(model: &str, hash: u64, answer: &Answer) -> Value {
    let reason = if answer.finish == Finish::Length { "max_tokens" } else { "end_turn" };
    // Here, unlike elsewhere, `input_tokens` leaves the cached ones out.
    json!({"id": format!("msg_{hash:016x}"), "type": "message", "role": "assistant", "model": model,
        "content": [{"type": "text", "text": answer.text()}], "stop_reason": reason, "stop_sequence": null,
        "usage": {"input_tokens": answer.prompt_tokens - answer.cached_tokens, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": answer.cached_tokens, "output_tokens": answer.completion_tokens}})
}
