//! Ollama chat.

use serde_json::{Value, json};

use super::{Call, last_of_user, number, string};
use crate::answer::{Answer, Finish};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    Ok(Call {
        model: string(&body, "model"),
        prompt: last_of_user(&body, "messages", "content"),
        max_tokens: number(&body, "/options/num_predict"),
        ..Call::default()
    })
}

pub(super) fn render(model: &str, answer: &Answer) -> Value {
    let reason = if answer.finish == Finish::Length { "length" } else { "stop" };
    json!({"model": model, "created_at": "2023-11-14T22:13:20Z", "done": true, "done_reason": reason,
        "message": {"role": "assistant", "content": answer.text()},
        "prompt_eval_count": answer.prompt_tokens, "eval_count": answer.completion_tokens})
}
