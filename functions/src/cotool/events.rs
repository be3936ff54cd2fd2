//! What was said in a chat, as this surface tells it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use shared::{
    message::{Attachment, ToolEnd, ToolResult},
    model::ToolCall,
    run::{ChatEvent, ChatEventKind},
};

use super::result::json_or_text;

/// Something that was said or done in a chat. Its form is our own choice.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView {
    /// The same at every look: feedback names it.
    id: String,
    /// The run in which it was.
    run_id: String,
    #[serde(flatten)]
    what: WhatView,
    created_at: String,
}

/// What was said or done.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum WhatView {
    /// The caller said this.
    UserMessage {
        content: String,
        /// The files that it was said with.
        attachments: Vec<FileView>,
    },
    /// A model said this.
    AssistantMessage {
        content: String,
        /// Which one, as `provider/model`.
        model: Option<String>,
    },
    /// The model was told this, as that its answer is not of the agent's schema.
    SystemMessage { content: String },
    /// A model wanted a tool to be called.
    ToolCall {
        tool_call_id: String,
        tool_name: String,
        /// The arguments; as the model wrote them when that is not JSON.
        args: Value,
    },
    /// What came of a call.
    ToolResult {
        tool_call_id: String,
        tool_name: String,
        /// What the model was given: JSON where it is JSON, a string otherwise.
        result: Value,
        /// Whether the tool says that it failed, or the call was not made, or nobody knows.
        is_error: bool,
    },
}

/// A file that something was said with.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FileView {
    file_id: String,
    file_name: String,
    /// In bytes.
    size: u64,
}

impl From<ChatEvent> for EventView {
    fn from(ChatEvent { id, run_id, kind, created_at }: ChatEvent) -> Self {
        Self { id, run_id: run_id.to_string(), what: kind.into(), created_at: created_at.rfc3339() }
    }
}

impl From<ChatEventKind> for WhatView {
    fn from(kind: ChatEventKind) -> Self {
        match kind {
            ChatEventKind::User(content, files) => {
                Self::UserMessage { content, attachments: files.into_iter().map(file).collect() }
            }
            ChatEventKind::Assistant(content, model) => {
                Self::AssistantMessage { content, model: model.map(|model| model.to_string()) }
            }
            ChatEventKind::System(content) => Self::SystemMessage { content },
            ChatEventKind::Call(ToolCall { id, name, arguments }) => {
                Self::ToolCall { tool_call_id: id, tool_name: name, args: json_or_text(&arguments) }
            }
            ChatEventKind::Result(ToolResult { call_id, tool, end }, content) => Self::ToolResult {
                tool_call_id: call_id,
                tool_name: tool,
                result: json_or_text(&content),
                is_error: end != ToolEnd::Answered,
            },
        }
    }
}

fn file(attachment: Attachment) -> FileView {
    FileView { file_id: attachment.file_id.to_string(), file_name: attachment.name, size: attachment.bytes }
}
