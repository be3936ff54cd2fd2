//! The providers' wire formats: what of a request matters, and how an answer or a refusal looks.

mod anthropic;
mod bedrock;
mod gemini;
mod ollama;
pub(crate) mod openai;

use serde_json::Value;

use crate::{answer::Answer, spec::Spec};

/// A provider's wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenAI chat completions.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
    /// Gemini `generateContent`.
    Gemini,
    /// Ollama chat.
    Ollama,
    /// Bedrock Converse.
    Bedrock,
}

/// The part of a request that matters here.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) model: String,
    /// The text of the last user message.
    pub(crate) prompt: String,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Names and schemas.
    pub(crate) tools: Vec<(String, Value)>,
    pub(crate) tool_rounds_done: usize,
}

impl Format {
    /// The format of a path, and the model's name when it is in the path.
    pub(crate) fn of_path(path: &str) -> Option<(Format, Option<String>)> {
        match path {
            "/v1/chat/completions" | "/chat/completions" => return Some((Format::OpenAi, None)),
            "/v1/messages" => return Some((Format::Anthropic, None)),
            "/api/chat" => return Some((Format::Ollama, None)),
            _ => {}
        }
        let between = |before: &str, after: &str| path.strip_prefix(before)?.strip_suffix(after).map(str::to_owned);
        between("/v1beta/models/", ":generateContent")
            .map(|model| (Format::Gemini, Some(model)))
            .or_else(|| between("/model/", "/converse").map(|model| (Format::Bedrock, Some(model))))
    }

    pub(crate) fn parse(self, model: Option<String>, body: &[u8]) -> Result<Call, serde_json::Error> {
        let mut call = match self {
            Format::OpenAi => openai::parse(body)?,
            Format::Anthropic => anthropic::parse(body)?,
            Format::Gemini => gemini::parse(body)?,
            Format::Ollama => ollama::parse(body)?,
            Format::Bedrock => bedrock::parse(body)?,
        };
        if let Some(model) = model {
            call.model = model;
        }
        Ok(call)
    }

    pub(crate) fn render(self, model: &str, hash: u64, answer: &Answer) -> Value {
        match self {
            Format::OpenAi => openai::render(model, hash, answer),
            Format::Anthropic => anthropic::render(model, hash, answer),
            Format::Gemini => gemini::render(model, answer),
            Format::Ollama => ollama::render(model, answer),
            Format::Bedrock => bedrock::render(answer),
        }
    }

    /// The body of an injected failure.
    pub(crate) fn refusal(self, spec: &Spec) -> Value {
        let code = if spec.quota { "insufficient_quota" } else { "injected" };
        self.error(spec.fail_status, code, "injected failure")
    }

    pub(crate) fn error(self, status: u16, code: &str, message: &str) -> Value {
        use serde_json::json;
        match self {
            Format::OpenAi => {
                json!({"error": {"message": message, "type": code, "param": null, "code": code}})
            }
            Format::Anthropic => {
                json!({"type": "error", "error": {"type": code, "message": message}})
            }
            Format::Gemini => {
                json!({"error": {"code": status, "message": message, "status": code}})
            }
            Format::Ollama => json!({"error": message}),
            Format::Bedrock => json!({"message": message}),
        }
    }
}

/// The text of a message's content: a string, or the texts of its parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

/// The text of the last message with that role, below that key.
fn last_of_user(body: &Value, messages: &str, content: &str) -> String {
    let messages = body.get(messages).and_then(Value::as_array).into_iter().flatten();
    messages
        .rev()
        .find(|message| message["role"] == "user")
        .map_or_else(String::new, |message| text_of(&message[content]))
}

fn number(body: &Value, pointer: &str) -> Option<usize> {
    usize::try_from(body.pointer(pointer)?.as_u64()?).ok()
}

fn string(body: &Value, key: &str) -> String {
    body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
