//! What is done with a tool call next: pure, from the agent, the journal and where the call stands.

use std::borrow::Cow;

use serde_json::json;

use super::decide::asked;
use crate::{
    agent::{Definition, Mode},
    message::{Record, Slot, ToolEnd},
    model::{Finish, Offer, ToolCall},
    run::{CallState, PendingCall},
    tool::{self, Approval, Kind, OnUnknown, Policy, SubAgent, Tool},
};

/// The most tool calls of one answer that are made.
const CALLS_PER_TURN: usize = 64;
/// How often it is found out whether a call took place before it is taken as unknown.
const LOOKS: u32 = 6;
/// How often in a row the same call may be made.
const SAME_IN_A_ROW: usize = 3;

/// What the model is told of the agent's tools.
pub(super) fn offers(definition: &Definition) -> Vec<Offer> {
    let offer = |tool: Cow<Tool>| Offer {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
    };
    tool::callable(&definition.tools).map(offer).collect()
}

/// The longest that a call of the agent's tools may take, in milliseconds.
pub(super) fn longest_ms(definition: &Definition) -> u64 {
    definition.tools.iter().map(Tool::call_ms).max().unwrap_or(0)
}

/// Where the calls that an answer asks for stand at first. Without tools there are none: the run will not go on.
pub(super) fn expected(definition: &Definition, mode: Mode, finish: Finish, asked: &[ToolCall]) -> Vec<PendingCall> {
    if definition.tools.is_empty() {
        return Vec::new();
    }
    let state = |index: usize, call: &ToolCall| match tool::named(&definition.tools, &call.name) {
        // What must not be called at all needs nobody's approval.
        _ if finish == Finish::Length || index >= CALLS_PER_TURN => CallState::Ready,
        Some(tool) if (mode == Mode::Manual || tool.approval == Approval::Always) && arguments(&tool, call).is_ok() => {
            CallState::AwaitsApproval
        }
        _ => CallState::Ready,
    };
    asked.iter().enumerate().map(|(index, call)| PendingCall::new(&call.name, state(index, call))).collect()
}

pub(super) fn arguments(tool: &Tool, call: &ToolCall) -> Result<tool::Arguments, String> {
    tool::schema::arguments(&tool.parameters, &call.arguments)
}

/// What is done with a call next.
pub(super) enum Step {
    Send(tool::Arguments),
    /// A run of this agent is started.
    Start(SubAgent, tool::Arguments),
    Look,
    Ask,
    Fill(ToolEnd, String),
}

/// What to do with that call now; `None` when it waits or is filled. `index` is its place in the answer.
pub(super) fn next(definition: &Definition, journal: &[Slot], call: &PendingCall, index: usize) -> Option<Step> {
    if matches!(call.state, CallState::AwaitsApproval | CallState::Filled) {
        return None;
    }
    let asked = asked(journal).get(index)?;
    let refuse = |message: String| Some(Step::Fill(ToolEnd::Refused, message));
    let Some(tool) = tool::named(&definition.tools, &asked.name) else {
        return refuse(format!("there is no tool '{}'", asked.name));
    };
    if cut_off(journal) {
        return refuse("your answer was cut off at its longest, so the tool was not called".to_owned());
    }
    if index >= CALLS_PER_TURN {
        return refuse(format!("an answer may ask for {CALLS_PER_TURN} tool calls; this one was not made"));
    }
    if same_in_a_row(journal, asked) {
        return refuse(format!("this call was made {SAME_IN_A_ROW} times in a row; do something else"));
    }
    let arguments = match arguments(&tool, asked) {
        Ok(arguments) => arguments,
        Err(message) => return refuse(format!("the tool was not called: {message}")),
    };
    if let Some(denied) = call.denied() {
        return Some(denial(call.unclear, denied.message.as_deref()));
    }
    if let Kind::Agent(agent) = tool.kind {
        // One that is started is under way until its run has ended.
        return (call.state == CallState::Ready).then_some(Step::Start(agent, arguments));
    }
    if call.state == CallState::Sent {
        // By a holder that is no more, or by this one, and no answer came.
        return Some(match (tool.policy, tool.on_unknown) {
            (Policy::Read | Policy::Idempotent, _) => Step::Send(arguments),
            (Policy::Verify, _) if !call.unclear && call.failures < LOOKS => Step::Look,
            (Policy::Verify | Policy::Once, OnUnknown::Tell) => unknown(None),
            (Policy::Verify | Policy::Once, OnUnknown::Halt) => Step::Ask,
        });
    }
    Some(Step::Send(arguments))
}

/// Whether the answer was cut off, so that what it asks for may be only a part of what was meant.
fn cut_off(journal: &[Slot]) -> bool {
    let last = journal.iter().rev().find_map(|slot| match &slot.record {
        Record::Answer { finish, .. } => Some(*finish),
        Record::Input { .. } | Record::Repair { .. } | Record::Result { .. } => None,
    });
    last == Some(Finish::Length)
}

fn denial(unclear: bool, message: Option<&str>) -> Step {
    if unclear {
        return unknown(message);
    }
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    Step::Fill(ToolEnd::Denied, format!("a person said that this must not be done{message}"))
}

/// `message` is what a person who was asked says of it.
fn unknown(message: Option<&str>) -> Step {
    let mut told = json!({"status": "unknown", "note": "the call was sent, and may or may not have taken place"});
    if let (Some(message), Some(fields)) = (message, told.as_object_mut()) {
        fields.insert("a_person_says".to_owned(), message.into());
    }
    Step::Fill(ToolEnd::Unknown, told.to_string())
}

/// Whether the last answers before this one asked for nothing but this call.
fn same_in_a_row(journal: &[Slot], call: &ToolCall) -> bool {
    let answers = journal.iter().rev().filter_map(|slot| match &slot.record {
        Record::Answer { tool_calls, .. } => Some(tool_calls),
        Record::Input { .. } | Record::Repair { .. } | Record::Result { .. } => None,
    });
    let same = |calls: &&Vec<ToolCall>| matches!(calls.as_slice(), [only] if only.name == call.name && only.arguments == call.arguments);
    answers.take_while(same).count() > SAME_IN_A_ROW
}
