//! Gemini `generateContent`.

use serde_json::{Value, json};

use super::{Call, last_of_user, number};
use crate::answer::{Answer, Finish};

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let body: Value = serde_json::from_slice(body)?;
    Ok(Call {
        prompt: last_of_user(&body, "contents", "parts"),
        max_tokens: number(&body, "/generationConfig/maxOutputTokens"),
        ..Call::default()
    })
}

pub(super) fn render(model: &str, answer: &Answer) -> Value {
    let reason = if answer.finish == Finish::Length { "MAX_TOKENS" } else { "STOP" };
    let content = json!({"role": "model", "parts": [{"text": answer.text()}]});
    json!({"candidates": [{"content": content, "finishReason": reason, "index": 0}], "modelVersion": model,
        "usageMetadata": {"promptTokenCount": answer.prompt_tokens, "cachedContentTokenCount": answer.cached_tokens,
            "candidatesTokenCount": answer.completion_tokens,
            "totalTokenCount": answer.prompt_tokens + answer.completion_tokens}})
}
