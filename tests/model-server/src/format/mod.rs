//! The providers' wire formats: what of a request matters, and how an answer or a refusal looks.

mod anthropic;
mod bedrock;
mod gemini;
mod messages;
mod ollama;
mod openai;
mod openai_stream;

use bytes::Bytes;
use serde_json::{Value, json};

use self::messages::{Kind, Messages, offered, text_of};
use crate::{
    answer::Answer,
    spec::Spec,
    stream::{Events, Piece},
};

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

/// What of a call is in its path.
#[derive(Debug, Clone, Default)]
pub(crate) struct InPath {
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
}

/// The part of a request that matters here.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) model: String,
    /// The text of the last user message.
    pub(crate) prompt: String,
    /// The system prompt; read in the OpenAI format only.
    pub(crate) system: String,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Names and schemas.
    pub(crate) tools: Vec<(String, Value)>,
    pub(crate) tool_rounds_done: usize,
}

impl Format {
    /// The format of a path, and what of the call is in the path.
    pub(crate) fn of_path(path: &str) -> Option<(Format, InPath)> {
        let nothing = InPath::default();
        match path {
            "/v1/chat/completions" | "/chat/completions" => return Some((Format::OpenAi, nothing)),
            "/v1/messages" => return Some((Format::Anthropic, nothing)),
            "/api/chat" => return Some((Format::Ollama, nothing)),
            _ => {}
        }
        let endings = [
            (Format::Gemini, "/v1beta/models/", ":generateContent", false),
            (Format::Gemini, "/v1beta/models/", ":streamGenerateContent", true),
            (Format::Bedrock, "/model/", "/converse", false),
            (Format::Bedrock, "/model/", "/converse-stream", true),
        ];
        endings.into_iter().find_map(|(format, before, after, stream)| {
            let model = path.strip_prefix(before)?.strip_suffix(after)?.to_owned();
            Some((format, InPath { model: Some(model), stream }))
        })
    }

    pub(crate) fn parse(self, in_path: InPath, body: &[u8]) -> Result<Call, serde_json::Error> {
        let mut call = match self {
            Format::OpenAi => openai::parse(body)?,
            Format::Anthropic => anthropic::parse(body)?,
            Format::Gemini => gemini::parse(body)?,
            Format::Ollama => ollama::parse(body)?,
            Format::Bedrock => bedrock::parse(body)?,
        };
        call.stream |= in_path.stream;
        if let Some(model) = in_path.model {
            call.model = model;
        }
        Ok(call)
    }

    /// The answer in pieces.
    pub(crate) fn events(self, call: &Call, hash: u64, answer: &Answer, pieces: &[Piece]) -> Events {
        match self {
            Format::OpenAi => openai_stream::events(call, hash, answer, pieces),
            Format::Anthropic => anthropic::events(call, hash, answer, pieces),
            Format::Gemini => gemini::events(call, answer, pieces),
            Format::Ollama => ollama::events(&call.model, answer, pieces),
            Format::Bedrock => bedrock::events(answer, pieces),
        }
    }

    pub(crate) fn stream_type(self) -> &'static str {
        match self {
            Format::OpenAi | Format::Anthropic | Format::Gemini => "text/event-stream; charset=utf-8",
            Format::Ollama => "application/x-ndjson",
            Format::Bedrock => "application/vnd.amazon.eventstream",
        }
    }

    /// An event within a stream that nobody can read.
    pub(crate) fn unreadable_event(self) -> Bytes {
        match self {
            Format::OpenAi | Format::Gemini => Bytes::from_static(b"data: {\"choices\": [{\"del\n\n"),
            Format::Anthropic => Bytes::from_static(b"event: content_block_delta\ndata: {\"type\": \"con\n\n"),
            Format::Ollama => Bytes::from_static(b"{\"message\": {\"con\n"),
            Format::Bedrock => Bytes::from_static(&[0; 32]),
        }
    }

    /// The provider gives up within a stream.
    pub(crate) fn error_event(self) -> Bytes {
        let error = self.error(529, "overloaded_error", "injected overload");
        match self {
            Format::OpenAi | Format::Gemini => sse(None, &error),
            Format::Anthropic => sse(Some("error"), &error),
            Format::Ollama => Bytes::from(format!("{error}\n")),
            Format::Bedrock => bedrock::frame("error", &error),
        }
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

/// Arguments where the format has them as JSON. What does not parse is a string.
fn arguments(written: &str) -> Value {
    serde_json::from_str(written).unwrap_or_else(|_| Value::from(written))
}

/// A text in two pieces.
fn halves(text: &str) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(text.len() / 2))
}

/// A server-sent event.
fn sse(event: Option<&str>, data: &Value) -> Bytes {
    Bytes::from(event.map_or_else(|| format!("data: {data}\n\n"), |event| format!("event: {event}\ndata: {data}\n\n")))
}

fn number(body: &Value, pointer: &str) -> Option<usize> {
    usize::try_from(body.pointer(pointer)?.as_u64()?).ok()
}

fn string(body: &Value, key: &str) -> String {
    body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
