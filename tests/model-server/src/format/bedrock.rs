//! Bedrock Converse.

use serde_json::{Value, json};

use super::{Call, last_of_user, number};
use crate::answer::{Answer, Finish};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    Ok(Call {
        prompt: last_of_user(&body, "messages", "content"),
        max_tokens: number(&body, "/inferenceConfig/maxTokens"),
        ..Call::default()
    })
}

pub(super) fn render(answer: &Answer) -> Value {
    let reason = if answer.finish == Finish::Length { "max_tokens" } else { "end_turn" };
    json!({"output": {"message": {"role": "assistant", "content": [{"text": answer.text()}]}}, "stopReason": reason,
        "usage": {"inputTokens": answer.prompt_tokens - answer.cached_tokens, "outputTokens": answer.completion_tokens,
            "cacheReadInputTokens": answer.cached_tokens,
            "totalTokens": answer.prompt_tokens + answer.completion_tokens}, "metrics": {"latencyMs": 1}})
}
