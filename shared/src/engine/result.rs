//! What came of a tool call becomes the slot that it fills.

use super::Held;
use crate::{
    app::App,
    message::{Record, ToolEnd},
    model::ToolCall,
    run::Usage,
};

impl Held {
    /// Fills the slot of that call of the last answer with the next write. The model is told with it what a person said; `usage` is
    /// what others used for it.
    pub(super) fn answer(
        &mut self,
        app: &App,
        asked: &[ToolCall],
        index: usize,
        end: ToolEnd,
        content: String,
        usage: Usage,
    ) {
        let (Some(asked), Some(call)) = (asked.get(index), self.run.calls.get(index)) else { return };
        let note = call.decision.as_ref().filter(|said| said.approved).and_then(|said| said.message.as_deref());
        let content = match note {
            Some(note) => format!("{content}\n\n[a person approved this call: {note}]"),
            None => content,
        };
        let result = Record::Result {
            call_id: asked.id.clone(),
            tool: asked.name.clone(),
            content,
            end,
            attempts: call.attempts,
            decision: call.decision.clone(),
        };
        self.fill_result(app, self.run.call_slot(index), result.at(app.now()), usage);
    }
}
