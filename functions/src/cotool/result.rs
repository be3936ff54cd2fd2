//! What came of a run that ended well.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use shared::{
    App, Caller, Result,
    message::{self, Message, ToolEnd},
    model::Role,
    run::Run,
};

/// What came of a run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResultView {
    /// What the agent said at its end.
    final_assistant_message: String,
    /// Every tool that the model wanted to be called, in order.
    all_tool_calls_made: Vec<CallView>,
    /// What came of each, in order.
    all_tool_results_received: Vec<ToolResultView>,
    /// Everything that was said, in order.
    messages: Vec<MessageView>,
    /// What the agent said at its end as JSON, when it has a `structuredOutputSchema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_output_result: Option<Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CallView {
    /// Always `tool-call`.
    #[serde(rename = "type")]
    kind: &'static str,
    tool_call_id: String,
    tool_name: String,
    /// The arguments; as the model wrote them when that is not JSON.
    args: Value,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ToolResultView {
    /// Always `tool-result`.
    #[serde(rename = "type")]
    kind: &'static str,
    tool_call_id: String,
    tool_name: String,
    /// What the model was given: JSON where it is JSON, a string otherwise.
    result: Value,
    /// Whether the tool says that it failed, or the call was not made, or nobody knows.
    is_error: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct MessageView {
    /// `user`, `assistant`, `tool` or `system`.
    role: &'static str,
    content: String,
}

impl ResultView {
    /// What came of this run, which has ended well. Who was given the run may know that too.
    pub(super) async fn of(app: &App, caller: &Caller, run: &Run) -> Result<Self> {
        let messages = message::of(app, caller, run).await?;
        let last = messages.iter().rev().find(|message| message.role == Role::Assistant);
        let final_assistant_message = last.map(|message| message.text.clone()).unwrap_or_default();
        Ok(Self {
            structured_output_result: run.parsed(Some(&final_assistant_message)),
            final_assistant_message,
            all_tool_calls_made: messages.iter().flat_map(calls).collect(),
            all_tool_results_received: messages.iter().filter_map(tool_result).collect(),
            messages: messages.into_iter().map(view).collect(),
        })
    }
}

fn calls(message: &Message) -> impl Iterator<Item = CallView> {
    message.tool_calls.iter().map(|call| CallView {
        kind: "tool-call",
        tool_call_id: call.id.clone(),
        tool_name: call.name.clone(),
        args: json_or_text(&call.arguments),
    })
}

fn tool_result(message: &Message) -> Option<ToolResultView> {
    let result = message.result.as_ref()?;
    Some(ToolResultView {
        kind: "tool-result",
        tool_call_id: result.call_id.clone(),
        tool_name: result.tool.clone(),
        result: json_or_text(&message.text),
        is_error: result.end != ToolEnd::Answered,
    })
}

pub(super) fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn view(message: Message) -> MessageView {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    MessageView { role, content: message.text }
}
