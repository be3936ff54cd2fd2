//! What runs tell of themselves, in the shape of entries that the CoAgent surface documents: made of their journals.

use serde_json::{Map, Value, json};

use super::{Entry, SessionRun};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    message::{self, Record, Slot, ToolEnd},
    model::{ModelName, Tokens, ToolCall},
    run::{self, Chat, Run, Status},
    tenant::Tenant,
};

/// The version of the shape that the vendor's client writes.
const VERSION: &str = "2.0.0";

/// What the chat's runs tell, in order.
pub(super) async fn chat(app: &App, tenant: Tenant, chat: &Chat) -> Result<Vec<Entry>> {
    let session = chat.first.chat_id.to_string();
    let place = |number| Place { session: &session, number, meta: None };
    let mut entries = Vec::new();
    told(app, tenant, &chat.first, place(1), &mut entries).await?;
    for (index, next) in chat.first.continued_by.iter().enumerate() {
        let next = run::visible(app, tenant, *next).await?.value;
        told(app, tenant, &next, place(index.saturating_add(2)), &mut entries).await?;
    }
    Ok(entries)
}

/// What a run tells as that number of a session that names it; nothing if it was never accepted.
pub(super) async fn one(
    app: &App,
    tenant: Tenant,
    session: &str,
    number: usize,
    named: SessionRun,
) -> Result<Vec<Entry>> {
    let place = Place { session, number, meta: named.meta.as_ref() };
    let run = match run::visible(app, tenant, named.id).await {
        Ok(found) => found.value,
        Err(Error::NotFound(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    told(app, tenant, &run, place, &mut entries).await?;
    Ok(entries)
}

/// Where a run stands in a session.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    session: &'a str,
    /// Which of the session's runs it is, from 1.
    number: usize,
    /// What its caller said of it for the log.
    meta: Option<&'a Map<String, Value>>,
}

async fn told(app: &App, tenant: Tenant, run: &Run, place: Place<'_>, entries: &mut Vec<Entry>) -> Result<()> {
    let number = place.number;
    let mut telling = Telling { run, place, turn: 0, entries };
    if number == 1 {
        telling.tell(&format!("{}/start", run.id), "session_start", run.created_at, json!({ "prompt": run.title }));
    }
    for (position, slot) in app.store().journal(tenant, run).await? {
        telling.slot(position, slot);
    }
    if run.status.terminal() {
        telling.end();
    }
    Ok(())
}

struct Telling<'a> {
    run: &'a Run,
    place: Place<'a>,
    /// How many answers of the model came before.
    turn: u32,
    entries: &'a mut Vec<Entry>,
}

impl Telling<'_> {
    fn slot(&mut self, position: u32, slot: Slot) {
        let id = message::id(self.run.id, position).to_string();
        let at = slot.at;
        match slot.record {
            Record::Input { text, .. } => {
                self.tell(&id, "user_input", at, json!({ "prompt": text, "input_data": { "prompt": text } }));
            }
            Record::Repair { text } => self.tell(&id, "recovery", at, json!({ "prompt": text })),
            Record::Answer { text, tool_calls, model, tokens, .. } => {
                self.answer(&id, at, &text, &tool_calls, &model, tokens);
            }
            Record::Result { tool, content, end, .. } => {
                let success = end == ToolEnd::Answered;
                let mut response = json!({ "tool_name": tool, "success": success, "result": { "content": content } });
                if let (false, Some(fields)) = (success, response.as_object_mut()) {
                    fields.insert("error_message".to_owned(), end.name().into());
                }
                self.tell(&id, "tool_response", at, json!({ "tool_response": response }));
            }
        }
    }

    /// The call, what came of it, and the tools that it asks for; the call has the time of its answer, as that alone is written down.
    fn answer(
        &mut self,
        id: &str,
        at: Timestamp,
        text: &str,
        calls: &[ToolCall],
        model: &ModelName,
        tokens: Option<Tokens>,
    ) {
        self.turn = self.turn.saturating_add(1);
        let issuer = json!({ "issuer": self.run.agent_name });
        self.tell(&format!("{id}/call"), "llm_call", at, json!({ "llm_call": issuer, "model": model }));
        let mut response = json!({ "response": text });
        if let (Some(Tokens { input, output, .. }), Some(fields)) = (tokens, response.as_object_mut()) {
            fields.insert("input_tokens".to_owned(), input.into());
            fields.insert("output_tokens".to_owned(), output.into());
            fields.insert("total_tokens".to_owned(), input.saturating_add(output).into());
        }
        self.tell(id, "llm_response", at, json!({ "llm_response": response, "model": model }));
        for (index, call) in calls.iter().enumerate() {
            let parameters: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
            let called = json!({ "tool_name": call.name, "parameters": parameters });
            self.tell(&format!("{id}/tool/{index}"), "tool_call", at, json!({ "tool_call": called }));
        }
    }

    fn end(&mut self) {
        let run = self.run;
        let at = run.ended_at.unwrap_or(run.updated_at);
        if run.status != Status::Done {
            let kind = run.reason.map_or(run.status.name(), |reason| reason.name());
            let info = json!({ "error_type": kind, "error_message": run.error });
            self.tell(&format!("{}/error", run.id), "error", at, json!({ "error_info": info }));
        }
        let output = json!({ "status": run.status.name(), "elapsed_time_ms": run.duration_ms(at) });
        self.tell(&format!("{}/end", run.id), "session_end", at, json!({ "output_data": output }));
    }

    fn tell(&mut self, id: &str, kind: &str, at: Timestamp, more: Value) {
        let run = self.run;
        let source = json!({
            "source": "muster", "run_id": run.id, "agent_id": run.agent_id, "agent_name": run.agent_name,
            "agent_version": run.agent_version,
        });
        let head = json!({
            "version": VERSION,
            "session_id": self.place.session,
            "prompt_number": self.place.number,
            "turn_number": self.turn,
            "event_id": id,
            "event_type": kind,
            "timestamp": at.millis(),
            "meta": source,
        });
        let (Value::Object(head), Value::Object(more)) = (head, more) else { return };
        let meta = self.place.meta.map(|meta| ("log_meta".to_owned(), Value::Object(meta.clone())));
        let body: Map<String, Value> = head.into_iter().chain(more).chain(meta).collect();
        self.entries.push(Entry { at, body });
    }
}
