//! OpenAI chat completions. Read without copying what does not matter: benchmarks use this one.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{Call, text_of};
use crate::answer::{Answer, Finish, Said, ToolCall};

/// The `created` of every answer: they depend only on the request.
pub(super) const CREATED: u64 = 1_700_000_000;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    model: String,
    #[serde(borrow, default)]
    messages: Vec<Message<'a>>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    tools: Option<Vec<Tool>>,
    #[serde(default, alias = "max_completion_tokens")]
    max_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    role: String,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tool {
    function: ToolFunction,
}

#[derive(Deserialize)]
struct ToolFunction {
    name: String,
    #[serde(default)]
    parameters: Value,
}

pub(super) fn parse(body: &[u8]) -> Result<Call, serde_json::Error> {
    let request: Request = serde_json::from_slice(body)?;
    let last = |role: &str| {
        let message = request.messages.iter().rev().find(|message| message.role == role);
        message.and_then(|message| serde_json::from_str(message.content?.get()).ok()).as_ref().map(text_of)
    };
    let (prompt, system) = (last("user"), last("system"));
    let since_user = request.messages.iter().rev().take_while(|message| message.role != "user");
    let tools = request.tools.into_iter().flatten().map(|tool| (tool.function.name, tool.function.parameters));
    Ok(Call {
        prompt: prompt.unwrap_or_default(),
        system: system.unwrap_or_default(),
        max_tokens: request.max_tokens,
        stream: request.stream,
        include_usage: request.stream_options.is_some_and(|options| options.include_usage),
        tools: tools.collect(),
        tool_rounds_done: since_user.filter(|m| m.role == "assistant" && m.tool_calls.is_some()).count(),
        model: request.model,
    })
}

pub(super) fn render(model: &str, hash: u64, answer: &Answer) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text(), "refusal": null});
    if let Said::ToolCalls(calls) = &answer.said {
        message["tool_calls"] = calls.iter().map(tool_call).collect();
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason(answer.finish)});
    json!({"id": id(hash), "object": "chat.completion", "created": CREATED, "model": model, "choices": [choice],
        "usage": usage(answer)})
}

pub(super) fn id(hash: u64) -> String {
    format!("chatcmpl-{hash:016x}")
}

fn tool_call((id, name, arguments): &ToolCall) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

pub(super) fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}

pub(super) fn usage(answer: &Answer) -> Value {
    json!({"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens}})
}
