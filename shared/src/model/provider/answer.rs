//! The crate's answers as ours. Calls come as the model wrote them: where the crate reads arguments and fails, or makes something
//! else of them, they are taken from the provider's own body.

use genai::{
    Error,
    chat::{ChatResponse, MessageContent, StopReason, ToolCall as WireCall, Usage},
    embed::EmbedResponse,
};
use serde_json::Value;

use super::{endpoint::is_chat_completions, fault};
use crate::model::{Answer, Embedded, Finish, ModelFault, Request, Tokens, ToolCall, call_id, settings::Vendor};

/// The answer of a call that was not streamed.
///
/// # Errors
/// When it has nothing of an answer in it.
pub(super) fn whole(vendor: Vendor, request: &Request, response: ChatResponse) -> Result<Answer, ModelFault> {
    let verbatim = response.captured_raw_body.as_ref().and_then(calls_in_body);
    let text = text_of(&response.content);
    let calls = verbatim.unwrap_or_else(|| response.content.into_tool_calls().into_iter().map(call).collect());
    assembled(vendor, request, Parts { text, calls, stop: response.stop_reason, usage: Some(response.usage) })
}

/// The answer within one that the crate cannot read because of a call's arguments. It drops such answers whole.
pub(super) fn rescued(vendor: Vendor, request: &Request, error: &Error) -> Option<Answer> {
    let Error::ChatResponseGeneration { response_body, .. } = error else { return None };
    let calls = calls_in_body(response_body).filter(|_| is_chat_completions(vendor))?;
    let at = |pointer: &str| response_body.pointer(pointer);
    let text = at("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let stop = at("/choices/0/finish_reason").and_then(Value::as_str).map(|reason| StopReason::from(reason.to_owned()));
    let usage = at("/usage").and_then(|usage| serde_json::from_value(usage.clone()).ok());
    assembled(vendor, request, Parts { text, calls, stop, usage }).ok()
}

/// The calls in a body of the chat completions format; `None` when there are none.
fn calls_in_body(body: &Value) -> Option<Vec<ToolCall>> {
    let calls = body.pointer("/choices/0/message/tool_calls")?.as_array()?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let call = |call: &Value| ToolCall {
        id: text(call.get("id")),
        name: text(call.pointer("/function/name")),
        arguments: call.pointer("/function/arguments").map(written).unwrap_or_default(),
    };
    Some(calls.iter().map(call).collect())
}

pub(super) fn call(call: WireCall) -> ToolCall {
    ToolCall { id: call.call_id, name: call.fn_name, arguments: written(&call.fn_arguments) }
}

/// Arguments as text. A string is what did not parse, or JSON within JSON.
pub(super) fn written(arguments: &Value) -> String {
    match arguments {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => arguments.to_string(),
    }
}

/// The text without what is between its parts.
pub(super) fn text_of(content: &MessageContent) -> String {
    content.texts().concat()
}

/// The vectors of so many texts, each in its text's place.
///
/// # Errors
/// When they are others than those.
pub(super) fn embedded(response: EmbedResponse, texts: usize) -> Result<Embedded, ModelFault> {
    let tokens = tokens(&response.usage);
    let mut embeddings = response.embeddings;
    embeddings.sort_by_key(|embedding| embedding.index);
    let in_order = embeddings.iter().enumerate().all(|(place, embedding)| embedding.index == place);
    let vectors = embeddings.into_iter().map(|embedding| embedding.vector).collect();
    Embedded::checked(vectors, tokens, texts).filter(|_| in_order).ok_or_else(fault::incomprehensible)
}

/// What an answer is made of.
pub(super) struct Parts {
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) stop: Option<StopReason>,
    pub(super) usage: Option<Usage>,
}

/// The answer.
///
/// # Errors
/// When there is nothing of one.
pub(super) fn assembled(vendor: Vendor, request: &Request, parts: Parts) -> Result<Answer, ModelFault> {
    let Parts { text, calls, stop, usage } = parts;
    let tokens = usage.as_ref().and_then(tokens);
    if text.is_empty() && calls.is_empty() && stop.is_none() && tokens.is_none() {
        return Err(fault::incomprehensible());
    }
    let reason = stop.as_ref().map_or(Finish::Other, finish);
    let finish = if calls.is_empty() { reason } else { reason.with_calls() };
    let mut tool_calls = with_ids(vendor, request, calls);
    if finish != Finish::Length {
        // Some servers write nothing for a tool that takes nothing. After `Length` it is a call that was cut.
        tool_calls
            .iter_mut()
            .filter(|call| call.arguments.trim().is_empty())
            .for_each(|call| "{}".clone_into(&mut call.arguments));
    }
    Ok(Answer { text, tool_calls, finish, tokens })
}

/// Gemini gives no ids, but in its newest models; the crate makes some, which repeat within a conversation and a stream. Ours have
/// the same form, by which the crate knows not to send them.
fn with_ids(vendor: Vendor, request: &Request, mut calls: Vec<ToolCall>) -> Vec<ToolCall> {
    if vendor != Vendor::Gemini {
        return call_id::unique(request, calls, call_id::plain);
    }
    calls.iter_mut().filter(|call| call.id.starts_with("call#")).for_each(|call| call.id.clear());
    call_id::unique(request, calls, |call, number| format!("call#{}#{number}", call.name))
}

fn tokens(usage: &Usage) -> Option<Tokens> {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    let cached = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
    match (count(usage.prompt_tokens), count(usage.completion_tokens)) {
        (None, None) => None,
        (input, output) => Some(Tokens {
            input: input.unwrap_or(0),
            cached_input: count(cached).unwrap_or(0),
            output: output.unwrap_or(0),
        }),
    }
}

const fn finish(reason: &StopReason) -> Finish {
    match reason {
        StopReason::Completed(_) | StopReason::StopSequence(_) => Finish::Stop,
        StopReason::MaxTokens(_) => Finish::Length,
        StopReason::ToolCall(_) => Finish::ToolCalls,
        StopReason::ContentFilter(_) => Finish::Filtered,
        StopReason::Other(_) => Finish::Other,
    }
}
