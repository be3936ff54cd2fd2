//! Why a run stands where it stands, in a sentence.

use std::collections::BTreeMap;

use super::{ATTEMPTS_KEPT, Attempt, AttemptEnd, CallState, PassedOver, Reason, Run, Status};
use crate::{
    app::App,
    error::Result,
    id::RunId,
    tenant::{Caller, Scope},
};

/// How many of the sub-agents that a run waits for are named in the sentence.
const NAMED: usize = 5;

/// The runs that this one started as sub-agents, in the order of its journal, each with the slot that its result fills.
///
/// # Errors
/// As the store says.
pub async fn children(app: &App, caller: &Caller, run: &Run) -> Result<Vec<(u32, Run)>> {
    caller.require(Scope::RunsRead)?;
    let children = run.children();
    let ids: Vec<RunId> = children.iter().map(|(_, id)| *id).collect();
    let found = app.store().runs(caller.tenant(), &ids).await?;
    Ok(children.into_iter().zip(found).filter_map(|((slot, _), found)| Some((slot, found?.value))).collect())
}

/// The run's attempts to call a model, in the order in which they were made: all that were answered, and the last ones that were not.
/// What others used is in [`Run::left_out`].
///
/// # Errors
/// As the store says.
pub async fn attempts(app: &App, caller: &Caller, run: &Run) -> Result<Vec<Attempt>> {
    caller.require(Scope::RunsRead)?;
    if run.attempts.len() < ATTEMPTS_KEPT {
        return Ok(run.attempts.clone());
    }
    let journal = app.store().journal(caller.tenant(), run).await?;
    let answered = journal.into_iter().filter_map(|(_, slot)| Some(*slot.told?.attempt?));
    let all = answered.chain(run.attempts.iter().cloned());
    let all: BTreeMap<_, _> = all.map(|attempt| ((attempt.slot, attempt.started_at), attempt)).collect();
    Ok(all.into_values().collect())
}

/// Why the run stands where it stands, for a person; `children` are those that it started.
#[must_use]
pub fn explain(run: &Run, children: &[Run]) -> String {
    let since = run.updated_at.rfc3339();
    match run.status {
        Status::Queued if let Some(most) = run.batch.as_ref().and_then(|batch| batch.max_concurrency) => {
            format!("waits for a worker, or a place: at most {most} runs of its batch are in hand at a time")
        }
        Status::Queued if run.hops > 0 => format!("put back at {since}; waits for a worker"),
        Status::Queued => format!("accepted at {}; waits for a worker", run.created_at.rfc3339()),
        Status::Running => match &run.in_flight {
            Some(call) => format!(
                "a worker has been calling {} since {} (attempt {} for step {})",
                call.model,
                call.started_at.rfc3339(),
                call.attempt,
                call.slot
            ),
            None if run.calls.is_empty() => match run.attempts.last().filter(|last| last.slot == run.step) {
                Some(Attempt { model, end: AttemptEnd::Failed(_), message, .. }) => {
                    let why = message.as_deref().unwrap_or_default();
                    format!("a worker holds it, and calls again in a moment: the last call of {model} failed: {why}")
                }
                _ => "a worker holds it".to_owned(),
            },
            None => {
                let sent = run.calls.iter().filter(|call| call.state == CallState::Sent);
                let tools: Vec<&str> = sent.map(|call| call.tool.as_str()).collect();
                format!("a worker has called tools since {since}: {}", tools.join(", "))
            }
        },
        Status::Waiting if run.awaits_approval() => {
            let asks = run.calls.iter().filter(|call| call.state == CallState::AwaitsApproval);
            let tools: Vec<&str> = asks.map(|call| call.tool.as_str()).collect();
            let until = run.deadline_at.rfc3339();
            format!("waits until {until} for a person to say whether these tools may be called: {}", tools.join(", "))
        }
        Status::Waiting if run.waits_for_children() => waits_for(run, children),
        Status::Waiting => {
            let reason = run.reason.map_or("an event", Reason::name);
            let waits = format!("waits until {} because of {reason}", run.next_check_at.rfc3339());
            match run.waits_for() {
                Some(PassedOver { model, reason: Reason::CircuitOpen, .. }) => {
                    format!("{waits}: most calls of {model} failed a moment ago, so it is not called before then")
                }
                Some(PassedOver { model, .. }) => format!("{waits}: {model} is not called before then"),
                None => waits,
            }
        }
        Status::Done if run.graded && run.evaluation.is_none() => {
            "ended well; a judge is grading its result against its agent's acceptance criteria".to_owned()
        }
        Status::Done => "ended well".to_owned(),
        Status::Error => format!(
            "ended with {}: {}",
            run.reason.map_or("an error", Reason::name),
            run.error.as_deref().unwrap_or_default()
        ),
        Status::Interrupted => "was cancelled".to_owned(),
    }
}

fn waits_for(run: &Run, children: &[Run]) -> String {
    let open: Vec<&Run> = children.iter().filter(|child| !child.status.terminal()).collect();
    let named = open.iter().take(NAMED).map(|child| {
        let (id, name) = (child.id.prefixed(), &child.agent_name);
        format!("{id} ({name}): {}", explain(child, &[]))
    });
    let named: Vec<String> = named.collect();
    let more = open.len().saturating_sub(named.len());
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    let why =
        if run.cancel_requested { "was cancelled, and ends after its sub-agents" } else { "waits for sub-agents" };
    let until = run.deadline_at.rfc3339();
    if named.is_empty() {
        return format!("{why} until {until} at the latest");
    }
    format!("{why} until {until} at the latest: {}{more}", named.join("; "))
}
