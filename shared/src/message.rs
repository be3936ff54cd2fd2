//! A run's journal: what was said and decided, one write-once slot after the other; and the messages that it tells of.

use serde::{Deserialize, Serialize};

use crate::{
    agent::Inputs,
    app::App,
    clock::Timestamp,
    error::Result,
    id::{MessageId, RunId},
    model::{Finish, ModelName, Role, Tokens, ToolCall},
    run::{self, Decision, Run, Told},
    tenant::{Caller, Scope, Tenant},
};

pub use crate::file::Attachment;

/// The version in which slots are written. Readers accept every older one.
pub(crate) const SCHEMA: u32 = 1;

/// A filled slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// See [`SCHEMA`].
    pub(crate) schema: u32,
    pub(crate) at: Timestamp,
    /// The events that tell of it; none of the input, nor of slots that are older than events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told: Option<Told>,
    #[serde(flatten)]
    pub(crate) record: Record,
}

/// What a slot says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// What the caller said: slot 0. `inputs` are those that the agent declares; as the model reads them they are `text`. `attachments`
    /// are the files that it was said with.
    Input {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs: Option<Inputs>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// What a model answered.
    Answer { text: String, tool_calls: Vec<ToolCall>, finish: Finish, model: ModelName, tokens: Option<Tokens> },
    /// What the model is told about the answer before it, which is not what the agent's output schema asks for.
    Repair { text: String },
    /// What came of a tool call of the answer before it.
    Result { call_id: String, tool: String, content: String, end: ToolEnd, attempts: u32, decision: Option<Decision> },
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolEnd {
    /// With an answer.
    Answered,
    /// With an answer that says that it failed, or it could not be made.
    Failed,
    /// It was not made: no such tool, or arguments that do not satisfy its schema.
    Refused,
    /// It was not made: a person said no.
    Denied,
    /// It may or may not have taken place.
    Unknown,
}

impl Record {
    pub(crate) fn at(self, at: Timestamp) -> Slot {
        Slot { schema: SCHEMA, at, told: None, record: self }
    }
}

/// A message of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id: the same at every look.
    pub id: MessageId,
    /// The run in which it was said.
    pub run_id: RunId,
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub text: String,
    /// In an answer of a model: which one.
    pub model: Option<ModelName>,
    /// In what the caller said: the files that it was said with.
    pub attachments: Vec<Attachment>,
    /// The tools that the model wanted to be called.
    pub tool_calls: Vec<ToolCall>,
    /// In a tool's message: what it answers.
    pub result: Option<ToolResult>,
    /// When it was written down.
    pub created_at: Timestamp,
}

impl ToolEnd {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

/// Which call a tool's message answers, and how the call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The provider's id of the call.
    pub call_id: String,
    /// The tool's name.
    pub tool: String,
    /// How the call ended.
    pub end: ToolEnd,
}

/// The id of the message in that slot.
pub(crate) fn id(run: RunId, position: u32) -> MessageId {
    MessageId::of_run(run, u16::try_from(position).unwrap_or(u16::MAX))
}

/// The message in that slot.
pub(crate) fn message(run: RunId, position: u32, slot: Slot) -> Message {
    let empty = Message {
        id: id(run, position),
        run_id: run,
        role: Role::User,
        text: String::new(),
        model: None,
        attachments: Vec::new(),
        tool_calls: Vec::new(),
        result: None,
        created_at: slot.at,
    };
    match slot.record {
        Record::Input { text, attachments, .. } => Message { text, attachments, ..empty },
        Record::Repair { text } => Message { role: Role::System, text, ..empty },
        Record::Answer { text, tool_calls, model, .. } => {
            Message { role: Role::Assistant, text, model: Some(model), tool_calls, ..empty }
        }
        Record::Result { call_id, tool, content, end, .. } => {
            let result = Some(ToolResult { call_id, tool, end });
            Message { role: Role::Tool, text: content, result, ..empty }
        }
    }
}

/// The run's messages, in order.
///
/// # Errors
/// [`crate::Error::NotFound`] when the caller's organisation has no such run.
pub async fn list(app: &App, caller: &Caller, id: RunId) -> Result<Vec<Message>> {
    caller.require(Scope::RunsRead)?;
    let run = run::visible(app, caller.tenant(), id).await?.value;
    of_run(app, caller.tenant(), &run).await
}

/// The run's messages, in order. Who was given the run may know them too.
///
/// # Errors
/// As the store says.
pub async fn of(app: &App, caller: &Caller, run: &Run) -> Result<Vec<Message>> {
    of_run(app, caller.tenant(), run).await
}

/// The messages of a whole chat, in order: those of its first run and of every run that went on with it.
///
/// # Errors
/// As [`list`].
pub async fn list_chat(app: &App, caller: &Caller, id: RunId) -> Result<Vec<Message>> {
    let chat = run::chat(app, caller, id).await?;
    let mut messages = of_run(app, caller.tenant(), &chat.first).await?;
    for next in &chat.first.continued_by {
        let next = run::visible(app, caller.tenant(), *next).await?.value;
        messages.extend(of_run(app, caller.tenant(), &next).await?);
    }
    Ok(messages)
}

pub(crate) async fn of_run(app: &App, tenant: Tenant, run: &Run) -> Result<Vec<Message>> {
    let journal = app.store().journal(tenant, run).await?;
    Ok(journal.into_iter().map(|(position, slot)| message(run.id, position, slot)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_input_without_declared_inputs_is_written_and_read_as_ever() {
        let old = json!({"schema": 1, "at": Timestamp::from_millis(0), "input": {"text": "hi"}});
        let slot = Record::Input { text: "hi".to_owned(), inputs: None, attachments: Vec::new() }
            .at(Timestamp::from_millis(0));
        assert_eq!(serde_json::to_value(&slot).unwrap(), old);
        assert_eq!(serde_json::from_value::<Slot>(old).unwrap(), slot);
        let inputs = json!({"n": 1.5, "big": u64::MAX, "list": [null, {"a": "b"}]}).as_object().cloned();
        let slot =
            Record::Input { text: "hi".to_owned(), inputs, attachments: Vec::new() }.at(Timestamp::from_millis(0));
        assert_eq!(serde_json::from_str::<Slot>(&serde_json::to_string(&slot).unwrap()).unwrap(), slot);
    }
}
