//! A request in the crate's types: conversation, tools, images, options. What vendors ask for beyond what the crate does is here.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatResponseFormat, ContentPart, JsonSpec, MessageContent, ReasoningEffort,
    Tool, ToolCall as WireCall, ToolResponse,
};
use serde_json::{Value, json};

use super::{endpoint::is_chat_completions, fault::refused};
use crate::model::{Image, ModelFault, Offer, Request, ToolCall, Turn, settings::Vendor};

/// The images that every vendor takes. The crate leaves some others out in silence.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Models of Anthropic from before it had structured output.
const WITHOUT_SCHEMA: [&str; 5] =
    ["claude-2", "claude-3", "claude-sonnet-4-2025", "claude-opus-4-2025", "claude-opus-4-0"];

/// The conversation with its tools.
///
/// # Errors
/// When an image is of a kind that not every vendor takes.
pub(super) fn conversation(vendor: Vendor, model: &str, request: &Request) -> Result<ChatRequest, ModelFault> {
    let mut conversation = ChatRequest::new(messages(vendor, &request.turns)?);
    let mut system = request.system.clone();
    if let Some(schema) = &request.output_schema
        && told_in_words(vendor, model, request, schema)
    {
        let gap = if system.is_empty() { "" } else { "\n\n" };
        system = format!(
            "{system}{gap}Your answer is read by a program. Answer with JSON that satisfies this JSON Schema, and with nothing \
             else, no code fence either: {schema}"
        );
    }
    if !system.is_empty() {
        conversation = conversation.with_system(system);
    }
    if !request.tools.is_empty() {
        conversation = conversation.with_tools(request.tools.iter().map(tool));
    }
    Ok(conversation)
}

/// How the model is to answer.
pub(super) fn options(vendor: Vendor, model: &str, request: &Request) -> ChatOptions {
    let mut options = ChatOptions::default().with_max_tokens(request.max_tokens);
    if let Some(temperature) = request.temperature {
        options = options.with_temperature(temperature);
    }
    if is_chat_completions(vendor) {
        // The crate takes a name's end as an effort (`mistral-medium` would become `mistral`) unless one is given; a budget is one
        // that it does not send in this format.
        options = options.with_reasoning_effort(ReasoningEffort::Budget(0));
        // Arguments of calls are read from there: see `answer`.
        options = options.with_capture_raw_body(!request.tools.is_empty());
    }
    match &request.output_schema {
        Some(schema) if takes_schema(vendor, model, request, schema) => {
            options.with_response_format(JsonSpec::new("answer", schema.clone()))
        }
        // Any JSON: the model would call no tool any more.
        Some(_) if vendor == Vendor::Ollama && request.tools.is_empty() => {
            options.with_response_format(ChatResponseFormat::JsonMode)
        }
        _ => options,
    }
}

/// Whether the vendor is given the schema itself.
fn takes_schema(vendor: Vendor, model: &str, request: &Request, schema: &Value) -> bool {
    let object = schema.get("type").and_then(Value::as_str) == Some("object");
    match vendor {
        Vendor::OpenAi | Vendor::OpenRouter => object,
        Vendor::Mistral => object && request.tools.is_empty(),
        Vendor::Anthropic => object && !WITHOUT_SCHEMA.iter().any(|old| model.starts_with(old)),
        // Before version 3 it is one or the other.
        Vendor::Gemini => request.tools.is_empty() || model.contains("gemini-3"),
        Vendor::Bedrock | Vendor::Ollama | Vendor::Demo => false,
    }
}

/// Whether the model is told of the schema in the system prompt. `OpenRouter` ignores a schema that a model's host does not know, and so
/// do servers of other models that speak Anthropic's format, such as llama.cpp's.
fn told_in_words(vendor: Vendor, model: &str, request: &Request, schema: &Value) -> bool {
    let ignored = match vendor {
        Vendor::OpenRouter => true,
        Vendor::Anthropic => !model.contains("claude"),
        Vendor::OpenAi | Vendor::Gemini | Vendor::Mistral | Vendor::Bedrock | Vendor::Ollama | Vendor::Demo => false,
    };
    ignored || !takes_schema(vendor, model, request, schema)
}

fn tool(offer: &Offer) -> Tool {
    Tool::new(offer.name.as_str()).with_description(offer.description.as_str()).with_schema(offer.parameters.clone())
}

fn messages(vendor: Vendor, turns: &[Turn]) -> Result<Vec<ChatMessage>, ModelFault> {
    let same = |before: &Turn, after: &Turn| joined(vendor, before, after);
    turns.chunk_by(same).map(|group| message(vendor, group)).collect()
}

/// Whether two adjacent turns are one message. All answers to one message's calls are, but Ollama's format holds one in each; and
/// Bedrock wants user and assistant to take turns.
const fn joined(vendor: Vendor, before: &Turn, after: &Turn) -> bool {
    match (vendor, before, after) {
        (Vendor::Bedrock, Turn::Assistant { .. }, Turn::Assistant { .. }) => true,
        (Vendor::Bedrock, Turn::Assistant { .. }, _) | (Vendor::Bedrock, _, Turn::Assistant { .. }) => false,
        (Vendor::Bedrock, ..) => true,
        (Vendor::Ollama, ..) => false,
        (_, Turn::Tool { .. }, Turn::Tool { .. }) => true,
        _ => false,
    }
}

fn message(vendor: Vendor, group: &[Turn]) -> Result<ChatMessage, ModelFault> {
    let parts = group.iter().map(|turn| parts(vendor, turn)).collect::<Result<Vec<_>, _>>()?;
    let content = MessageContent::from_parts(parts.concat());
    Ok(match group.first() {
        Some(Turn::Assistant { .. }) => ChatMessage::assistant(content),
        Some(Turn::Tool { .. }) if vendor != Vendor::Bedrock => ChatMessage::tool(content),
        _ => ChatMessage::user(content),
    })
}

fn parts(vendor: Vendor, turn: &Turn) -> Result<Vec<ContentPart>, ModelFault> {
    let said = |text: &str, alone: bool| (alone || !text.is_empty()).then(|| ContentPart::from_text(text));
    Ok(match turn {
        Turn::User { text, images } => {
            let images = images.iter().map(image).collect::<Result<Vec<_>, _>>()?;
            said(text, images.is_empty()).into_iter().chain(images).collect()
        }
        Turn::Assistant { text, tool_calls } => {
            let calls = tool_calls.iter().map(|call| ContentPart::ToolCall(wire_call(vendor, call)));
            said(text, tool_calls.is_empty()).into_iter().chain(calls).collect()
        }
        Turn::Tool { call_id, name, content } => {
            let response = ToolResponse::new(wire_id(vendor, call_id), content.as_str()).with_fn_name(name.as_str());
            vec![ContentPart::ToolResponse(response)]
        }
    })
}

fn image(image: &Image) -> Result<ContentPart, ModelFault> {
    let media_type = image.media_type.to_ascii_lowercase();
    if !IMAGES.contains(&media_type.as_str()) {
        return Err(refused("an image is of a type that models do not take: PNG, JPEG, GIF and WebP are"));
    }
    Ok(ContentPart::from_binary_base64(media_type, Arc::<str>::from(STANDARD.encode(&image.data)), None))
}

/// Vendors take an object for arguments and nothing else, so what the model wrote otherwise is sent back within one.
fn wire_call(vendor: Vendor, call: &ToolCall) -> WireCall {
    let parsed = serde_json::from_str(&call.arguments).ok().filter(Value::is_object);
    WireCall {
        call_id: wire_id(vendor, &call.id),
        fn_name: call.name.clone(),
        fn_arguments: parsed.unwrap_or_else(|| json!({"unreadable_arguments": call.arguments})),
        thought_signatures: None,
    }
}

/// The id as the vendor takes it: its own, or, when another model made the call, one made of that.
fn wire_id(vendor: Vendor, id: &str) -> String {
    let plain = |most: usize| {
        (1..=most).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let fits = match vendor {
        Vendor::Mistral => id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        Vendor::Anthropic | Vendor::Bedrock => plain(64),
        Vendor::OpenAi => id.len() <= 40,
        Vendor::Gemini | Vendor::OpenRouter | Vendor::Ollama | Vendor::Demo => true,
    };
    if fits {
        return id.to_owned();
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    hash.as_ref().iter().take(9).map(|byte| char::from(b'a' + byte % 26)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_vendor_is_sent_in_the_form_that_this_one_takes() {
        assert_eq!(wire_id(Vendor::Mistral, "D681PevKs"), "D681PevKs");
        assert_eq!(wire_id(Vendor::Anthropic, "toolu_01A-b"), "toolu_01A-b");
        assert_eq!(wire_id(Vendor::Gemini, "call#add#0"), "call#add#0");
        for vendor in [Vendor::Mistral, Vendor::Anthropic, Vendor::Bedrock] {
            let (sent, other) = (wire_id(vendor, "call#add#0"), wire_id(vendor, "call#add#1"));
            assert!(sent.len() == 9 && sent.bytes().all(|b| b.is_ascii_lowercase()), "{sent}");
            assert_eq!(sent, wire_id(vendor, "call#add#0"));
            assert_ne!(sent, other);
        }
        assert_eq!(wire_id(Vendor::OpenAi, &"x".repeat(41)).len(), 9);
    }

    #[test]
    fn arguments_that_are_no_object_are_sent_back_within_one() {
        let call = |arguments: &str| {
            let call = ToolCall { id: "1".to_owned(), name: "x".to_owned(), arguments: arguments.to_owned() };
            wire_call(Vendor::OpenAi, &call).fn_arguments
        };
        assert_eq!(call(r#"{"a": 1}"#), json!({"a": 1}));
        assert_eq!(call(r#"{"a": "#), json!({"unreadable_arguments": r#"{"a": "#}));
        assert_eq!(call("[1]"), json!({"unreadable_arguments": "[1]"}));
    }
}
