//! An answer that comes in pieces. In the end it is the same as one that comes whole.

use std::time::Duration;

use futures_util::StreamExt as _;
use genai::chat::{ChatOptions, ChatStream, ChatStreamEvent, StreamEnd, ToolCall as WireCall};

use super::{
    answer::{self, Parts},
    endpoint::is_chat_completions,
    fault::{self, Redaction},
};
use crate::model::{Answer, ModelFault, Request, ToolCall, settings::Vendor};

/// The options with which the stream tells what the answer needs.
pub(super) fn options(options: ChatOptions, idle: Duration) -> ChatOptions {
    options.with_capture_usage(true).with_capture_tool_calls(true).with_stream_read_timeout(idle)
}

/// Reads the stream to its end and gives each piece of text to the request's `deltas`.
///
/// # Errors
/// When it breaks, stands still, ends without its last event or cannot be read.
pub(super) async fn answer(
    vendor: Vendor,
    request: &Request,
    mut stream: ChatStream,
    redaction: &Redaction,
) -> Result<Answer, ModelFault> {
    let mut text = String::new();
    let mut calls = Vec::new();
    let mut began = false;
    while let Some(event) = stream.next().await {
        match event.map_err(|error| fault::of_stream(&error, redaction))? {
            ChatStreamEvent::Chunk(chunk) => {
                if let Some(deltas) = &request.deltas {
                    deltas.give(&chunk.content);
                }
                text.push_str(&chunk.content);
            }
            ChatStreamEvent::ToolCallChunk(chunk) => collect(vendor, &mut calls, chunk.tool_call),
            ChatStreamEvent::End(end) => return ended(vendor, request, text, calls, end),
            ChatStreamEvent::Start => continue,
            ChatStreamEvent::ReasoningChunk(_)
            | ChatStreamEvent::ThoughtSignatureChunk(_)
            | ChatStreamEvent::Heartbeat => {}
        }
        began = true;
    }
    // A stream with nothing in it was none: some page, with a status that says all is well.
    Err(if began { fault::ended_early() } else { fault::incomprehensible() })
}

fn ended(
    vendor: Vendor,
    request: &Request,
    text: String,
    mut calls: Vec<ToolCall>,
    end: StreamEnd,
) -> Result<Answer, ModelFault> {
    let StreamEnd { captured_usage: usage, captured_stop_reason: stop, captured_content, .. } = end;
    // The crate makes an end for these vendors when the connection is closed.
    let whole = match vendor {
        Vendor::Gemini | Vendor::Bedrock => stop.is_some(),
        Vendor::Ollama => stop.is_some() || usage.as_ref().is_some_and(|usage| usage.completion_tokens.is_some()),
        Vendor::OpenAi | Vendor::Anthropic | Vendor::Mistral | Vendor::OpenRouter | Vendor::Demo => true,
    };
    if !whole {
        let nothing = text.is_empty() && calls.is_empty();
        return Err(if nothing && vendor != Vendor::Bedrock {
            fault::incomprehensible()
        } else {
            fault::ended_early()
        });
    }
    // A call without any piece of arguments has them, if at all, in the end.
    for last in captured_content.into_iter().flat_map(genai::chat::MessageContent::into_tool_calls) {
        if let Some(empty) = calls.iter_mut().find(|call| call.id == last.call_id && call.arguments.is_empty()) {
            empty.arguments = answer::written(&last.fn_arguments);
        }
    }
    // As the crate does with an answer in this format that comes whole.
    let text = if is_chat_completions(vendor) { text.trim().to_owned() } else { text };
    answer::assembled(vendor, request, Parts { text, calls, stop, usage })
}

/// With some vendors the arguments come in pieces, and each event has all of them so far; with others each event is a call of its
/// own, and their ids may repeat. What the crate has collected in the end is not asked: with Bedrock it makes `{}` of what does not
/// parse.
fn collect(vendor: Vendor, calls: &mut Vec<ToolCall>, seen: WireCall) {
    let in_pieces = match vendor {
        Vendor::Gemini | Vendor::Ollama | Vendor::Demo => false,
        Vendor::OpenAi | Vendor::Anthropic | Vendor::Mistral | Vendor::OpenRouter | Vendor::Bedrock => true,
    };
    let seen = answer::call(seen);
    // Some servers give all calls the same id.
    let same = |call: &&mut ToolCall| {
        call.id == seen.id && call.name == seen.name && seen.arguments.starts_with(&call.arguments)
    };
    match calls.iter_mut().rfind(same).filter(|_| in_pieces) {
        Some(known) => known.arguments = seen.arguments,
        None => calls.push(seen),
    }
}
