//! What a person says of a tool call that waits for it.

use super::{CallState, Decision, PendingCall, Reason, Run, Status, visible};
use crate::{
    app::App,
    clock::Timestamp,
    engine,
    error::{Error, Problem, Result},
    id::{ApprovalId, RunId},
    message::{Record, Slot},
    model::ToolCall,
    random, store,
    tenant::{Caller, Scope},
    tool::Change,
};

/// How often the row is read again when others write it at the same time.
const TRIES: u32 = 20;
/// The longest message to the model, in characters.
const MESSAGE_CHARS: usize = 2_000;

/// A tool call about which a person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The question's id.
    pub id: ApprovalId,
    /// The call as the model wrote it.
    pub call: ToolCall,
    /// [`Reason::ApprovalRequired`], [`Reason::OutcomeUnknown`] or [`Reason::ToolChanged`].
    pub reason: Reason,
    /// How the tool differs from what it was when the agent was saved, if it does.
    pub change: Option<Change>,
    /// When the run ends if nobody has said anything: its deadline.
    pub expires_at: Timestamp,
}

/// The tool calls of the run about which a person is asked now, in the order of the model's answer.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn approvals(app: &App, caller: &Caller, id: RunId) -> Result<Vec<Approval>> {
    caller.require(Scope::RunsRead)?;
    let run = visible(app, caller.tenant(), id).await?.value;
    let open = run.awaits_approval() && closed(&run, app.now()).is_none();
    let Some(answer) = run.step.checked_sub(1).filter(|_| open) else {
        return Ok(Vec::new());
    };
    let asked = match app.store().slots(caller.tenant(), &[(id, answer)]).await?.pop().flatten() {
        Some(Slot { record: Record::Answer { tool_calls, .. }, .. }) => tool_calls,
        _ => return Ok(Vec::new()),
    };
    let approval = |(index, (pending, call)): (usize, (&PendingCall, ToolCall))| {
        let reason = pending.asked_for()?;
        let change = pending.changed.clone();
        Some(Approval { id: run.approval_id(index), call, reason, change, expires_at: run.deadline_at })
    };
    Ok(run.calls.iter().zip(asked).enumerate().filter_map(approval).collect())
}

/// What a person says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which call: [`Run::approval_id`].
    pub approval_id: ApprovalId,
    /// Whether it may be sent.
    pub approved: bool,
    /// What the model is told with it: at most 2,000 characters.
    pub message: Option<String>,
}

impl Run {
    /// The id under which a person is asked about the call at that place of the model's last answer.
    #[must_use]
    pub fn approval_id(&self, index: usize) -> ApprovalId {
        self.approval_of(self.call_slot(index))
    }

    /// The id under which a person is asked about the call that fills that slot.
    pub(super) fn approval_of(&self, slot: u32) -> ApprovalId {
        ApprovalId::of_run(self.id, u16::try_from(slot).unwrap_or(u16::MAX))
    }
}

/// Approves or denies a tool call. The run goes on at once; other calls that wait go on waiting. Saying the same again changes
/// nothing.
///
/// # Errors
/// [`Error::NotFound`] for the run and for an approval that it never asked for; [`Error::Conflict`] when something else was
/// said before, or the run has ended or must end without it: after its deadline nothing is sent any more.
pub async fn decide(app: &App, caller: &Caller, id: RunId, answer: &Answer) -> Result<Run> {
    caller.require(Scope::RunsWrite)?;
    if answer.message.as_ref().is_some_and(|message| message.chars().count() > MESSAGE_CHARS) {
        let message = format!("must be at most {MESSAGE_CHARS} characters long");
        return Err(Error::Invalid(vec![Problem { field: "message".to_owned(), message }]));
    }
    for attempt in 1..=TRIES {
        let found = visible(app, caller.tenant(), id).await?;
        let mut run = found.value;
        let index = (0..run.calls.len()).find(|index| run.approval_id(*index) == answer.approval_id);
        let Some(index) = index else {
            said_before(answer, decided(app, caller, &run, answer.approval_id).await?.as_ref())?;
            return Ok(run);
        };
        let now = app.now();
        let closed = closed(&run, now);
        let call = run.calls.get_mut(index).ok_or(Error::NotFound("approval"))?;
        if call.state != CallState::AwaitsApproval {
            said_before(answer, call.decision.as_ref())?;
            return Ok(run);
        }
        if let Some(why) = closed {
            return Err(Error::Conflict(why.to_owned()));
        }
        call.state = CallState::Ready;
        call.decision =
            Some(Decision { approved: answer.approved, by: caller.key_id(), at: now, message: answer.message.clone() });
        let wakes = run.status == Status::Waiting;
        if wakes {
            run.ask_for_worker(now.plus_ms(app.config().lease_ms));
        }
        run.updated_at = now;
        match app.store().save_run(&run, Some(found.rev), Vec::new()).await {
            Ok(_) => {
                app.signals().wake(id);
                if wakes {
                    engine::ask_for_workers(app, caller.tenant(), &[id]).await;
                }
                return Ok(run);
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the run is being written all the time".into()))
}

/// Why nobody is asked any more, if that is so.
fn closed(run: &Run, now: Timestamp) -> Option<&'static str> {
    if run.status.terminal() {
        Some("the run has ended")
    } else if run.cancel_requested {
        Some("the run was cancelled")
    } else {
        (run.deadline_at <= now).then_some("the run's deadline has passed: the approval has expired")
    }
}

/// What was said of a call whose result is written, if that was asked.
async fn decided(app: &App, caller: &Caller, run: &Run, id: ApprovalId) -> Result<Option<Decision>> {
    let Some(slot) = (0..run.step).find(|slot| run.approval_of(*slot) == id) else { return Ok(None) };
    Ok(match app.store().slots(caller.tenant(), &[(run.id, slot)]).await?.pop().flatten() {
        Some(Slot { record: Record::Result { decision, .. }, .. }) => decision,
        _ => None,
    })
}

/// Saying the same again changes nothing.
fn said_before(answer: &Answer, said: Option<&Decision>) -> Result<()> {
    match said {
        Some(said) if said.approved == answer.approved => Ok(()),
        Some(_) => Err(Error::Conflict("the call was decided otherwise before".to_owned())),
        None => Err(Error::NotFound("approval")),
    }
}
