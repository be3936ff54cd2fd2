//! The tool calls of one answer, side by side: each is checked, perhaps approved, written down as sent, sent, and its answer fills
//! a slot of its own.

use std::{collections::HashSet, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use super::{
    Held,
    beside::{Beside, beside},
    call::Called,
    children,
    decide::asked,
    fault,
    held::Saved,
    tool_step::{Step, arguments, next},
};
use crate::{
    agent::{AgentVersion, Definition},
    app::App,
    error::Result,
    message::ToolEnd,
    model::ToolCall,
    random,
    run::{CallState, PendingCall, Reason, Usage},
    simulation::{self, Guard},
    tenant::Tenant,
    tool::{self, Change, Found, Outcome, Policy, Tool},
};

/// How often a call may fail in a way that may pass.
const FAILURES: u32 = 3;
/// The first pause after such a failure, in milliseconds; the next is twice as long. Random from 0 to that.
const PAUSE_MS: f64 = 500.0;

/// What was waited for: a call, or a look at whether an earlier one took place.
enum Came {
    Outcome(Outcome),
    Lookup(Found),
}

/// What is under way in this process.
type UnderWay = FuturesUnordered<BoxFuture<'static, (usize, Came)>>;

/// Makes the calls of the last answer, until all are filled or nothing is left to do without a person.
pub(super) async fn call(app: &App, held: &mut Held, agent: &AgentVersion) -> Result<Called> {
    let mut turn = Turn {
        app,
        definition: &agent.definition,
        asked: asked(&held.journal).to_vec(),
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
            Saved::Yes | Saved::Changed | Saved::Refused if held.run.step != turn.begins => return Ok(Called::Again),
            Saved::Yes => {}
            Saved::Changed | Saved::Refused => continue,
        }
        if held.run.ends_now(app.now()) {
            return Ok(Called::Ended);
        }
        if turn.under_way.is_empty() {
            // What a person said may have come with the write: then there is something to do, and nobody would say it again.
            if held.run.calls.iter().any(|call| call.state == CallState::Ready) {
                continue;
            }
            match children::take_results(app, held, &turn.asked).await? {
                Saved::Gone => return Ok(Called::Gone),
                Saved::Changed | Saved::Refused => continue,
                Saved::Yes if held.run.step != turn.begins => return Ok(Called::Again),
                Saved::Yes => return Ok(waits(app, held)),
            }
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

/// Nothing is under way here, and not all is filled: a person is asked, or sub-agents have not ended.
fn waits(app: &App, held: &Held) -> Called {
    let asked: Vec<Reason> = held.run.calls.iter().filter_map(PendingCall::asked_for).collect();
    if asked.is_empty() {
        return Called::Waits(Reason::SubAgent, app.now().plus_ms(app.config().lease_ms));
    }
    let first = |reason: &Reason| asked.contains(reason).then_some(*reason);
    let reason = [Reason::ToolChanged, Reason::OutcomeUnknown].iter().find_map(first);
    Called::Waits(reason.unwrap_or(Reason::ApprovalRequired), held.run.deadline_at)
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
        if (planned.changed || held.unwritten()) && !simulation::off(Guard::Intent) {
            if !planned.sends.is_empty() {
                fault::point("K4");
            }
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
            fault::point("K5");
            if held.run.lease_is_over(self.app.now()) {
                // This process stood still: another may have found out by now that nothing was sent, and sent it. Who writes first goes on.
                planned.sends.iter().for_each(|(index, _)| set(held, *index, CallState::Ready));
                self.forget(&planned);
                held.run.renew(self.app.now(), self.app.config().lease_ms);
                return Ok(Saved::Changed);
            }
        }
        for (index, arguments) in planned.sends {
            self.send(held, index, arguments);
        }
        for index in planned.looks {
            self.look(held, index);
        }
        children::start(self.app, held, self.definition, &self.asked).await
    }

    /// What every call that may go on is to do, as it is put into the row.
    fn plan(&mut self, held: &mut Held) -> Planned {
        let mut planned = Planned::default();
        for index in 0..held.run.calls.len() {
            let call = held.run.calls.get(index).filter(|_| !self.here.contains(&index));
            let Some(step) = call.and_then(|call| next(self.definition, &held.journal, call, index)) else { continue };
            planned.changed |= !matches!(step, Step::Start(..));
            match step {
                // Sub-agents are started after what the row says now is written.
                Step::Start(..) => {}
                Step::Send(arguments) => {
                    self.mark_sent(held, index);
                    planned.sends.push((index, arguments));
                }
                Step::Look => {
                    self.here.insert(index);
                    planned.looks.push(index);
                }
                Step::Ask => ask(self.app, held, index),
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

    fn mark_sent(&mut self, held: &mut Held, index: usize) {
        let (fence, now) = (held.run.fence, self.app.now());
        if let Some(call) = held.run.calls.get_mut(index) {
            call.state = CallState::Sent;
            call.attempts = call.attempts.saturating_add(1);
            (call.sent_at, call.fence, call.unclear) = (Some(now), fence, false);
        }
        held.run.tell_sent(index, now);
        self.here.insert(index);
    }

    fn send(&mut self, held: &Held, index: usize, arguments: tool::Arguments) {
        let Some(call) = self.call(held, index) else { return };
        let pending = held.run.calls.get(index);
        let failures = pending.map_or(0, |call| call.failures);
        let accepted = pending.and_then(PendingCall::accepted).cloned();
        let pause_ms = random::unit() * PAUSE_MS * f64::from(failures);
        self.under_way.push(Box::pin(async move {
            // A pause of nothing would take until the timer's next tick.
            if failures > 0 {
                tokio::time::sleep(Duration::from_secs_f64(pause_ms / 1_000.0)).await;
            }
            let accepted = accepted.as_ref();
            let outcome = tool::execute(&call.app, call.tenant, &call.tool, &arguments, &call.key, accepted).await;
            (index, Came::Outcome(outcome))
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
        let tool = tool::named(&self.definition.tools, &asked.name)?.into_owned();
        let key = held.run.idempotency_key(held.run.call_slot(index));
        Some(Sending { app: self.app.clone(), tenant: held.tenant(), tool, key })
    }

    /// Takes what came of a call: its slot is filled, or it is made again, or a person is asked.
    fn came(&mut self, held: &mut Held, index: usize, came: Came) {
        fault::point("K6");
        self.here.remove(&index);
        let Some(asked) = self.asked.get(index) else { return };
        let policy = tool::named(&self.definition.tools, &asked.name).map(|tool| tool.policy);
        // What an earlier holder's answer has filled meanwhile stays filled.
        let call = held.run.calls.get_mut(index).filter(|call| call.state != CallState::Filled);
        let Some(call) = call else { return };
        let again = call.failures.saturating_add(1) < FAILURES;
        let repeatable = matches!(policy, Some(Policy::Read | Policy::Idempotent));
        let (end, content) = match came {
            Came::Outcome(Outcome::Answered { passing: true, .. }) if repeatable && again => {
                return fail(call, CallState::Ready);
            }
            Came::Outcome(Outcome::NotSent { passing: true, .. }) if again => return fail(call, CallState::Ready),
            Came::Outcome(Outcome::Gateway { .. } | Outcome::Unclear { .. }) if repeatable && again => {
                return fail(call, CallState::Ready);
            }
            // It stays as sent: what may be done about it is decided as for a call of a holder that is no more.
            Came::Outcome(Outcome::Gateway { .. } | Outcome::Unclear { .. }) if !repeatable => {
                return fail(call, CallState::Sent);
            }
            Came::Outcome(Outcome::Changed(change)) => {
                ask_about(call, *change);
                return held.run.tell_asked(index, self.app.now());
            }
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
            Came::Outcome(Outcome::NotSent { message: content, .. } | Outcome::Gateway { content }) => {
                (ToolEnd::Failed, content)
            }
            Came::Outcome(Outcome::Unclear { message }) => (ToolEnd::Unknown, message),
        };
        self.fill(held, index, end, content);
    }

    fn fill(&self, held: &mut Held, index: usize, end: ToolEnd, content: String) {
        held.answer(self.app, &self.asked, index, end, content, Usage::default());
    }
}

/// What a call needs while it is under way.
struct Sending {
    app: App,
    tenant: Tenant,
    tool: Tool,
    key: String,
}

fn set(held: &mut Held, index: usize, state: CallState) {
    if let Some(call) = held.run.calls.get_mut(index) {
        call.state = state;
    }
}

/// A person is asked whether to send that call again.
fn ask(app: &App, held: &mut Held, index: usize) {
    if let Some(call) = held.run.calls.get_mut(index) {
        (call.state, call.unclear, call.decision) = (CallState::AwaitsApproval, true, None);
    }
    held.run.tell_asked(index, app.now());
}

/// A person is asked whether to make that call although its tool is not what it was. What an earlier try did, nobody knows.
fn ask_about(call: &mut PendingCall, change: Change) {
    (call.state, call.unclear, call.decision) = (CallState::AwaitsApproval, call.attempts > 1, None);
    call.changed = Some(change);
}

fn fail(call: &mut PendingCall, state: CallState) {
    call.failures = call.failures.saturating_add(1);
    call.state = state;
}
