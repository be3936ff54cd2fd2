//! The tool calls of one answer, side by side: each is checked, perhaps approved, written down as sent, sent, and its answer fills
//! a slot of its own.

use std::{collections::HashSet, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use super::{
    Held,
    beside::{Beside, beside},
    call::Called,
    decide::asked,
    fault,
    held::Saved,
};
use crate::{
    agent::{AgentVersion, Definition, Mode},
    app::App,
    error::Result,
    id::RunId,
    message::{Record, ToolEnd},
    model::{Finish, Offer, ToolCall},
    random,
    run::{CallState, PendingCall, Reason},
    tenant::Tenant,
    tool::{self, Approval, Found, OnUnknown, Outcome, Policy, Tool},
};

/// The most tool calls of one answer that are made.
const CALLS_PER_TURN: usize = 64;
/// How often a call may fail in a way that may pass.
const FAILURES: u32 = 3;
/// How often it is found out whether a call took place before it is taken as unknown.
const LOOKS: u32 = 6;
/// The first pause after such a failure, in milliseconds; the next is twice as long. Random from 0 to that.
const PAUSE_MS: f64 = 500.0;
/// How often in a row the same call may be made.
const SAME_IN_A_ROW: usize = 3;

/// What the model is told of the agent's tools.
pub(super) fn offers(definition: &Definition) -> Vec<Offer> {
    let offer = |tool: &Tool| Offer {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
    };
    definition.tools.iter().map(offer).collect()
}

/// The longest that a call of the agent's tools may take, in milliseconds.
pub(super) fn longest_ms(definition: &Definition) -> u64 {
    definition.tools.iter().map(|tool| tool.timeout_ms).max().unwrap_or(0)
}

/// Where the calls that an answer asks for stand at first. Without tools there are none: the run will not go on.
pub(super) fn expected(definition: &Definition, mode: Mode, asked: &[ToolCall]) -> Vec<PendingCall> {
    if definition.tools.is_empty() {
        return Vec::new();
    }
    let state = |call: &ToolCall| match definition.tools.iter().find(|tool| tool.name == call.name) {
        // What must not be called at all needs nobody's approval.
        Some(tool) if (mode == Mode::Manual || tool.approval == Approval::Always) && arguments(tool, call).is_ok() => {
            CallState::AwaitsApproval
        }
        _ => CallState::Ready,
    };
    asked.iter().map(|call| PendingCall::new(&call.name, state(call))).collect()
}

fn arguments(tool: &Tool, call: &ToolCall) -> Result<tool::Arguments, String> {
    tool::schema::arguments(&tool.parameters, &call.arguments)
}

/// What was waited for: a call, or a look at whether an earlier one took place.
enum Came {
    Outcome(Outcome),
    Lookup(Found),
}

/// What is under way in this process.
type UnderWay = FuturesUnordered<BoxFuture<'static, (usize, Came)>>;

/// What is done with a call next.
enum Step {
    Send(tool::Arguments),
    Look,
    Ask,
    Fill(ToolEnd, String),
}

/// Makes the calls of the last answer, until all are filled or nothing is left to do without a person.
pub(super) async fn call(app: &App, held: &mut Held, agent: &AgentVersion) -> Result<Called> {
    let mut turn = Turn {
        app,
        definition: &agent.definition,
        asked: asked(&held.journal).to_vec(),
        cut_off: cut_off(held),
        begins: held.run.step,
        here: HashSet::new(),
        under_way: FuturesUnordered::new(),
    };
    loop {
        if held.run.ends_now(app.now()) {
            return Ok(Called::Ended);
        }
        match turn.begin(held).await? {
            Saved::Gone => return Ok(Called::Gone),
            Saved::Yes | Saved::Changed if held.run.step != turn.begins => return Ok(Called::Again),
            Saved::Yes => {}
            Saved::Changed => continue,
        }
        if held.run.ends_now(app.now()) {
            return Ok(Called::Ended);
        }
        if turn.under_way.is_empty() {
            return Ok(waits(held));
        }
        match beside(app, held, turn.under_way.next()).await? {
            Beside::Ended(Some((index, came))) => {
                turn.came(held, index, came);
                while let Some(Some((index, came))) = turn.under_way.next().now_or_never() {
                    turn.came(held, index, came);
                }
                if held.run.step != turn.begins {
                    return Ok(Called::Again);
                }
            }
            Beside::Ended(None) | Beside::Changed | Beside::Stopped => {}
            Beside::Gone => return Ok(Called::Gone),
        }
    }
}

/// Whether the answer was cut off, so that what it asks for may be only a part of what was meant.
fn cut_off(held: &Held) -> bool {
    let last = held.journal.iter().rev().find_map(|slot| match &slot.record {
        Record::Answer { finish, .. } => Some(*finish),
        Record::Input { .. } | Record::Repair { .. } | Record::Result { .. } => None,
    });
    last == Some(Finish::Length)
}

/// Nothing is under way, and not all is filled: a person is asked.
fn waits(held: &Held) -> Called {
    let unclear = held.run.calls.iter().any(|call| call.state == CallState::AwaitsApproval && call.unclear);
    let reason = if unclear { Reason::OutcomeUnknown } else { Reason::ApprovalRequired };
    Called::Waits(reason, held.run.deadline_at)
}

/// What is about to be done, once it is written down.
#[derive(Default)]
struct Planned {
    sends: Vec<(usize, tool::Arguments)>,
    looks: Vec<usize>,
    /// Whether the row says something new.
    changed: bool,
}

struct Turn<'a> {
    app: &'a App,
    definition: &'a Definition,
    asked: Vec<ToolCall>,
    cut_off: bool,
    /// The first slot of these calls.
    begins: u32,
    /// The calls that this process has sent and not seen the end of.
    here: HashSet<usize>,
    under_way: UnderWay,
}

impl Turn<'_> {
    /// Decides about every call that may go on, writes that down, and then sends what is to be sent.
    async fn begin(&mut self, held: &mut Held) -> Result<Saved> {
        let planned = self.plan(held);
        if held.run.step != self.begins {
            // All are filled: what comes next is written with it.
            return Ok(Saved::Yes);
        }
        if planned.changed || held.unwritten() {
            let saved = held.save(self.app).await?;
            if saved != Saved::Yes {
                self.forget(&planned);
                return Ok(saved);
            }
            if held.run.cancel_requested {
                // The cancel came with the write: nothing was sent.
                planned.sends.iter().for_each(|(index, _)| set(held, *index, CallState::Ready));
                return Ok(Saved::Yes);
            }
        }
        if !planned.sends.is_empty() {
            fault::point("K4");
            fault::point("K5");
        }
        for (index, arguments) in planned.sends {
            self.send(held, index, arguments);
        }
        for index in planned.looks {
            self.look(held, index);
        }
        Ok(Saved::Yes)
    }

    /// What every call that may go on is to do, as it is put into the row.
    fn plan(&mut self, held: &mut Held) -> Planned {
        let mut planned = Planned::default();
        for index in 0..held.run.calls.len() {
            let Some(step) = self.next(held, index) else { continue };
            planned.changed = true;
            match step {
                Step::Send(arguments) => {
                    self.mark_sent(held, index);
                    planned.sends.push((index, arguments));
                }
                Step::Look => {
                    self.here.insert(index);
                    planned.looks.push(index);
                }
                Step::Ask => ask(held, index),
                Step::Fill(end, content) => self.fill(held, index, end, content),
            }
            if held.run.step != self.begins {
                break;
            }
        }
        planned
    }

    /// What was planned does not hold.
    fn forget(&mut self, planned: &Planned) {
        for index in planned.sends.iter().map(|(index, _)| index).chain(&planned.looks) {
            self.here.remove(index);
        }
    }

    /// What to do with that call now; `None` when it is under way, waits, or is filled.
    fn next(&self, held: &Held, index: usize) -> Option<Step> {
        let (call, asked) = (held.run.calls.get(index)?, self.asked.get(index)?);
        if self.here.contains(&index) || matches!(call.state, CallState::AwaitsApproval | CallState::Filled) {
            return None;
        }
        let refuse = |message: String| Some(Step::Fill(ToolEnd::Refused, message));
        let Some(tool) = self.definition.tools.iter().find(|tool| tool.name == asked.name) else {
            return refuse(format!("there is no tool '{}'", asked.name));
        };
        if self.cut_off {
            return refuse("your answer was cut off at its longest, so the tool was not called".to_owned());
        }
        if index >= CALLS_PER_TURN {
            return refuse(format!("an answer may ask for {CALLS_PER_TURN} tool calls; this one was not made"));
        }
        if same_in_a_row(held, asked) {
            return refuse(format!("this call was made {SAME_IN_A_ROW} times in a row; do something else"));
        }
        let arguments = match arguments(tool, asked) {
            Ok(arguments) => arguments,
            Err(message) => return refuse(format!("the tool was not called: {message}")),
        };
        if let Some(denied) = call.denied() {
            return Some(denial(call.unclear, denied.message.as_deref()));
        }
        if call.state == CallState::Sent {
            // By a holder that is no more, or by this one, and no answer came.
            return Some(match (tool.policy, tool.on_unknown) {
                (Policy::Read | Policy::Idempotent, _) => Step::Send(arguments),
                (Policy::Verify, _) if !call.unclear && call.failures < LOOKS => Step::Look,
                (Policy::Verify | Policy::Once, OnUnknown::Tell) => unknown(),
                (Policy::Verify | Policy::Once, OnUnknown::Halt) => Step::Ask,
            });
        }
        Some(Step::Send(arguments))
    }

    fn mark_sent(&mut self, held: &mut Held, index: usize) {
        let (fence, now) = (held.run.fence, self.app.now());
        if let Some(call) = held.run.calls.get_mut(index) {
            call.state = CallState::Sent;
            call.attempts = call.attempts.saturating_add(1);
            (call.sent_at, call.fence, call.unclear) = (Some(now), fence, false);
        }
        self.here.insert(index);
    }

    fn send(&mut self, held: &Held, index: usize, arguments: tool::Arguments) {
        let Some(call) = self.call(held, index) else { return };
        let failures = held.run.calls.get(index).map_or(0, |call| call.failures);
        let pause_ms = random::unit() * PAUSE_MS * f64::from(failures);
        self.under_way.push(Box::pin(async move {
            // A pause of nothing would take until the timer's next tick.
            if failures > 0 {
                tokio::time::sleep(Duration::from_secs_f64(pause_ms / 1_000.0)).await;
            }
            (index, Came::Outcome(tool::execute(&call.app, call.tenant, &call.tool, &arguments, &call.key).await))
        }));
    }

    fn look(&mut self, held: &Held, index: usize) {
        let (Some(call), Some(asked)) = (self.call(held, index), self.asked.get(index)) else { return };
        let arguments = arguments(&call.tool, asked).unwrap_or_default();
        self.under_way.push(Box::pin(async move {
            (index, Came::Lookup(tool::look_up(&call.app, call.tenant, &call.tool, &arguments, &call.key).await))
        }));
    }

    fn call(&self, held: &Held, index: usize) -> Option<Sending> {
        let asked = self.asked.get(index)?;
        let tool = self.definition.tools.iter().find(|tool| tool.name == asked.name)?.clone();
        let key = idempotency_key(held.id(), held.run.call_slot(index));
        Some(Sending { app: self.app.clone(), tenant: held.tenant(), tool, key })
    }

    /// Takes what came of a call: its slot is filled, or it is made again, or a person is asked.
    fn came(&mut self, held: &mut Held, index: usize, came: Came) {
        fault::point("K6");
        self.here.remove(&index);
        let Some(asked) = self.asked.get(index) else { return };
        let policy = self.definition.tools.iter().find(|tool| tool.name == asked.name).map(|tool| tool.policy);
        let Some(call) = held.run.calls.get_mut(index) else { return };
        let again = call.failures.saturating_add(1) < FAILURES;
        let repeatable = matches!(policy, Some(Policy::Read | Policy::Idempotent));
        let (end, content) = match came {
            Came::Outcome(Outcome::Answered { passing: true, .. }) if repeatable && again => {
                return fail(call, CallState::Ready);
            }
            Came::Outcome(Outcome::NotSent { passing: true, .. }) if again => return fail(call, CallState::Ready),
            Came::Outcome(Outcome::Unclear { .. }) if repeatable && again => return fail(call, CallState::Ready),
            // It stays as sent: what may be done about it is decided as for a call of a holder that is no more.
            Came::Outcome(Outcome::Unclear { .. }) if !repeatable => return fail(call, CallState::Sent),
            Came::Lookup(Found::Unknown) => {
                call.unclear = true;
                return fail(call, CallState::Sent);
            }
            // Finding out that it did not take place is no failure: the call is new again.
            Came::Lookup(Found::DidNot) => {
                call.state = CallState::Ready;
                return;
            }
            Came::Lookup(Found::TookPlace { content }) => (ToolEnd::Answered, content),
            Came::Outcome(Outcome::Answered { content, failed, .. }) => {
                (if failed { ToolEnd::Failed } else { ToolEnd::Answered }, content)
            }
            Came::Outcome(Outcome::NotSent { message, .. }) => (ToolEnd::Failed, message),
            Came::Outcome(Outcome::Unclear { message }) => (ToolEnd::Unknown, message),
        };
        self.fill(held, index, end, content);
        fault::point("K7");
    }

    fn fill(&self, held: &mut Held, index: usize, end: ToolEnd, content: String) {
        let (Some(asked), Some(call)) = (self.asked.get(index), held.run.calls.get(index)) else { return };
        let note = call.decision.as_ref().filter(|said| said.approved).and_then(|said| said.message.as_deref());
        let content =
            note.map_or_else(|| content.clone(), |note| format!("{content}\n\n[a person approved this call: {note}]"));
        let result = Record::Result {
            call_id: asked.id.clone(),
            tool: asked.name.clone(),
            content,
            end,
            attempts: call.attempts,
            decision: call.decision.clone(),
        };
        held.fill(self.app, held.run.call_slot(index), result.at(self.app.now()), Vec::new());
    }
}

/// What a call needs while it is under way.
struct Sending {
    app: App,
    tenant: Tenant,
    tool: Tool,
    key: String,
}

/// The same for every try of a call, so that a tool can tell a repeated one.
fn idempotency_key(run: RunId, slot: u32) -> String {
    format!("{}/{slot}", run.prefixed())
}

fn set(held: &mut Held, index: usize, state: CallState) {
    if let Some(call) = held.run.calls.get_mut(index) {
        call.state = state;
    }
}

/// A person is asked whether to send that call again.
fn ask(held: &mut Held, index: usize) {
    if let Some(call) = held.run.calls.get_mut(index) {
        (call.state, call.unclear, call.decision) = (CallState::AwaitsApproval, true, None);
    }
}

fn fail(call: &mut PendingCall, state: CallState) {
    call.failures = call.failures.saturating_add(1);
    call.state = state;
}

fn denial(unclear: bool, message: Option<&str>) -> Step {
    if unclear {
        return unknown();
    }
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    Step::Fill(ToolEnd::Denied, format!("a person said that this must not be done{message}"))
}

fn unknown() -> Step {
    let note = r#"{"status":"unknown","note":"the call was sent, and may or may not have taken place"}"#;
    Step::Fill(ToolEnd::Unknown, note.to_owned())
}

/// Whether the last answers before this one asked for nothing but this call.
fn same_in_a_row(held: &Held, call: &ToolCall) -> bool {
    let answers = held.journal.iter().rev().filter_map(|slot| match &slot.record {
        Record::Answer { tool_calls, .. } => Some(tool_calls),
        Record::Input { .. } | Record::Repair { .. } | Record::Result { .. } => None,
    });
    let same = |calls: &&Vec<ToolCall>| matches!(calls.as_slice(), [only] if only.name == call.name && only.arguments == call.arguments);
    answers.take_while(same).count() > SAME_IN_A_ROW
}
