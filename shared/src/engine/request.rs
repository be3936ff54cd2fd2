//! What a model is asked for the next slot: the chat so far, and the run's journal. Writes nothing.

use std::borrow::Cow;

use super::{Held, grading, tool_step};
use crate::{
    agent::{self, AgentVersion, Definition, MAX_TOKENS},
    app::App,
    error::Result,
    file::{self, TOGETHER_LIMIT_BYTES},
    message::{Record, Slot},
    model::{Request, Tokens, ToolMode, Turn, json_tools},
    tenant::Tenant,
};

/// Tokens that a provider adds around each message, at most.
const TOKENS_PER_TURN: u64 = 16;
/// Tokens that a provider adds when tools are offered, at most: Anthropic documents up to 530 of its own ("Tool use", pricing).
const TOKENS_OF_TOOLS: u64 = 600;

/// What was said in the chat before this run, or in the run that this one grades, and how many bytes of files the model is shown with that and the run's journal.
pub(super) struct Said {
    earlier: Vec<Slot>,
    pub(super) file_bytes: u64,
}

/// What a request is made of. Reads no file.
pub(super) async fn said(app: &App, held: &Held) -> Result<Said> {
    let earlier = earlier(app, held).await?;
    let mut room_bytes = TOGETHER_LIMIT_BYTES;
    let file_bytes = |slot: &Slot| match &slot.record {
        Record::Input { attachments, .. } => file::shown_bytes(attachments, &mut room_bytes),
        Record::Answer { .. } | Record::Repair { .. } | Record::Result { .. } => 0,
    };
    let file_bytes = earlier.iter().chain(&held.journal).rev().map(file_bytes).sum();
    Ok(Said { earlier, file_bytes })
}

/// The call that fills the next slot: the chat so far, and the run's journal.
pub(super) async fn request(app: &App, held: &Held, agent: &AgentVersion, said: Said) -> Result<Request> {
    // The newest first: of a long chat, what was shown last is what there is room for.
    let (mut turns, mut room_bytes) = (Vec::new(), TOGETHER_LIMIT_BYTES);
    let own = if held.run.grades.is_some() { grading::about_last(&held.journal) } else { &held.journal };
    for slot in said.earlier.iter().chain(own).rev() {
        turns.push(turn(app, held.tenant(), slot, &mut room_bytes).await?);
    }
    turns.reverse();
    if held.run.grades.is_some() {
        turns = grading::as_data(turns)?;
    }
    let given = held.journal.first().and_then(|slot| match &slot.record {
        Record::Input { inputs, .. } => inputs.as_ref(),
        Record::Answer { .. } | Record::Repair { .. } | Record::Result { .. } => None,
    });
    let Definition { system_prompt, guidance, inputs, output_schema, max_tokens, temperature, .. } = &agent.definition;
    Ok(Request {
        model: held.run.model.clone(),
        system: guidance.added_to(agent::filled(system_prompt, inputs, given)),
        turns,
        tools: tool_step::offers(&agent.definition),
        tool_mode: agent.definition.tool_mode,
        output_schema: output_schema.clone(),
        deltas: None,
        max_tokens: max_tokens.unwrap_or(MAX_TOKENS),
        temperature: *temperature,
        timeout_ms: app.config().model_timeout_ms,
    })
}

/// What was said in the chat before this run, or in the run that it grades.
async fn earlier(app: &App, held: &Held) -> Result<Vec<Slot>> {
    let run = &held.run;
    if let Some(graded) = run.grades {
        return grading::graded(app, run, graded).await;
    }
    if run.chat_id == run.id {
        return Ok(Vec::new());
    }
    let Some(first) = app.store().run(held.tenant(), run.chat_id).await? else { return Ok(Vec::new()) };
    let mut slots = Vec::new();
    let before = first.value.continued_by.clone();
    let ids = std::iter::once(first.value.id).chain(before).take_while(|id| *id != run.id);
    for id in ids {
        let Some(found) = app.store().run(held.tenant(), id).await? else { continue };
        let journal = app.store().journal(held.tenant(), &found.value).await?;
        slots.extend(journal.into_iter().map(|(_, slot)| slot));
    }
    Ok(slots)
}

/// What a slot says, with the files that it was said with.
async fn turn(app: &App, tenant: Tenant, slot: &Slot, room_bytes: &mut u64) -> Result<Turn> {
    Ok(match &slot.record {
        Record::Input { text, attachments, .. } => {
            let (files, images) = file::shown(app, tenant, attachments, room_bytes).await?;
            Turn::User { text: format!("{text}{files}"), images }
        }
        Record::Repair { text } => Turn::user(text.as_str()),
        Record::Answer { text, tool_calls, .. } => {
            Turn::Assistant { text: text.clone(), tool_calls: tool_calls.clone() }
        }
        Record::Result { call_id, tool, content, .. } => {
            Turn::Tool { call_id: call_id.clone(), name: tool.clone(), content: content.clone() }
        }
    })
}

/// The most tokens that a call may use. No tokenizer makes more than one of a byte of text; the rest is what providers document as their most,
/// and the longest answer.
pub(super) fn most_tokens(app: &App, request: &Request) -> Tokens {
    let in_json = request.tool_mode == ToolMode::Json && !request.tools.is_empty();
    let sent = if in_json { Cow::Owned(json_tools::asked(request)) } else { Cow::Borrowed(request) };
    let turns = u64::try_from(sent.turns.len()).unwrap_or(u64::MAX).saturating_add(1);
    let text = u64::try_from(sent.bytes()).unwrap_or(u64::MAX);
    let images = u64::try_from(sent.images()).unwrap_or(u64::MAX);
    let parts = [
        text,
        images.saturating_mul(app.models().image_tokens(&request.model)),
        turns.saturating_mul(TOKENS_PER_TURN),
        if sent.tools.is_empty() { 0 } else { TOKENS_OF_TOOLS },
    ];
    Tokens {
        input: parts.into_iter().fold(0, u64::saturating_add),
        cached_input: 0,
        output: u64::from(request.max_tokens),
    }
}
