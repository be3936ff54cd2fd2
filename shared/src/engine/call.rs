//! One slot of the journal: a model is called, as often as it takes, and its answer fills the slot.

use std::{sync::Arc, time::Duration};

use super::{
    Held,
    beside::{Beside, beside},
    choice::{Choice, choose},
    fault,
    held::Saved,
    request::{most_tokens, request, said},
    tool_step,
};
use crate::{
    adversity,
    agent::AgentVersion,
    app::App,
    clock::Timestamp,
    error::Result,
    evaluation,
    file::Taken,
    message::Record,
    model::{Answer, FaultKind, ModelFault, ModelName, Request, Tokens, price::Price, retry::Next as Retry},
    money::{self, Budget, Limit},
    provider, random,
    run::{AttemptEnd, InFlight, Reason},
    simulation::{self, Guard},
};

/// The longest pause that a provider asked for during which the run is held, in milliseconds: letting go of it and taking it again costs two
/// writes.
const HELD_PAUSE_MS: u64 = 1_500;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// The slot is filled, and written with what comes next; or the run was changed by others. Decide anew.
    Again,
    /// The run ended; write it.
    Ended,
    /// There is nothing to do before then, or before somebody says something; write it.
    Waits(Reason, Timestamp),
    /// The run is not ours any more.
    Gone,
}

/// Writes the intent of the first call into the row of a run that is about to be created, so that creating it, taking it and
/// saying what is done next are one write. Whether it did; if not, the intent is a write of its own.
pub(super) async fn intend_first(app: &App, held: &mut Held) -> bool {
    let Ok(agent) = crate::agent::version(app, held.tenant(), held.run.agent_id, held.run.agent_version).await else {
        return false;
    };
    let Ok(said) = said(app, held).await else { return false };
    if said.file_bytes > 0 {
        // There may be no room for them yet, and nobody waits for that before the run is accepted.
        return false;
    }
    let Ok(mut request) = request(app, held, &agent, said).await else { return false };
    let Choice::Call(model) = choose(app, &mut held.run, &agent) else { return false };
    request.model = model;
    let Ok(whose) = provider::whose(app, held.tenant(), request.model.as_str()).await else { return false };
    let Ok(budgets) = money::organisation_budgets(app, held.tenant()).await else { return false };
    intend(app, held, &request, 1, (whose.price(app, &request.model), budgets))
}

/// Calls a model until the next slot is filled, or another model is to be called. `room` is the memory for the files of the call, once it
/// was waited for.
pub(super) async fn call(
    app: &App,
    held: &mut Held,
    agent: &Arc<AgentVersion>,
    room: &mut Option<Taken>,
) -> Result<Called> {
    let said = said(app, held).await?;
    let taken = room.take().filter(|taken| taken.holds(said.file_bytes));
    // Held until the call has ended, as the files are.
    let Some(_room) = taken.or_else(|| app.room().now(said.file_bytes)) else {
        return wait_for_room(app, held, room, said.file_bytes).await;
    };
    let mut request = request(app, held, agent, said).await?;
    request.deltas = held.deltas();
    let mut attempt: u32 = 0;
    loop {
        // The intent of a run's very first call may be written already, with its creation.
        let intended = held.run.in_flight.as_ref().filter(|_| held.intended).map(|call| call.model.clone());
        let choice = intended.map_or_else(|| choose(app, &mut held.run, agent), Choice::Call);
        let model = match choice {
            Choice::Call(model) => model,
            Choice::Wait(reason, until) => return Ok(Called::Waits(reason, until)),
            Choice::Nothing => {
                held.run.fail(Reason::ModelError, "no model is left to be called".to_owned(), app.now());
                return Ok(Called::Ended);
            }
        };
        attempt = if attempt > 0 && request.model == model { attempt.saturating_add(1) } else { first(held, &model) };
        request.model = model;
        // What is there now: a provider of the organisation may have been changed or deleted meanwhile.
        let whose = provider::whose(app, held.tenant(), request.model.as_str()).await?;
        let price = whose.price(app, &request.model);
        if !std::mem::take(&mut held.intended) {
            match begin(app, held, &request, attempt, price).await? {
                Saved::Yes => {}
                Saved::Refused => return Ok(Called::Ended),
                Saved::Changed => return Ok(Called::Again),
                Saved::Gone => return Ok(Called::Gone),
            }
        }
        if held.run.status.terminal() {
            return Ok(Called::Ended);
        }
        fault::point("K5");
        adversity::told(&request);
        held.pieces.clear();
        let compares = agent.definition.compares;
        let asked = async {
            if compares {
                Box::pin(evaluation::compare(app, &whose, &request)).await
            } else {
                whose.call(app, &request).await
            }
        };
        let outcome = match beside(app, held, asked).await? {
            Beside::Ended(outcome) => outcome,
            Beside::Stopped => {
                held.run.ends_now(app.now());
                return Ok(Called::Ended);
            }
            // Somebody filled our slot: what we are asking for is not wanted any more.
            Beside::Changed => return Ok(Called::Again),
            Beside::Gone => return Ok(Called::Gone),
        };
        fault::point("K6");
        match outcome {
            Ok(answer) => {
                accept(app, held, agent, answer, price);
                return Ok(Called::Again);
            }
            Err(failed) => {
                if let Some(called) = retry(app, held, agent, &request.model, &failed, attempt).await? {
                    return Ok(called);
                }
            }
        }
    }
}

/// Waits until this process has the memory for files of so many bytes; then it is looked anew whether there is still time for the call.
async fn wait_for_room(app: &App, held: &mut Held, room: &mut Option<Taken>, bytes: u64) -> Result<Called> {
    // What tools have answered is not lost with a process that dies meanwhile.
    if held.unwritten() {
        match held.save(app).await? {
            Saved::Yes => {}
            Saved::Changed | Saved::Refused => return Ok(Called::Again),
            Saved::Gone => return Ok(Called::Gone),
        }
    }
    Ok(match beside(app, held, app.room().take(bytes)).await? {
        Beside::Ended(taken) => {
            *room = Some(taken?);
            Called::Again
        }
        Beside::Stopped => {
            held.run.ends_now(app.now());
            Called::Ended
        }
        Beside::Changed => Called::Again,
        Beside::Gone => Called::Gone,
    })
}

/// The number of a model's first attempt: those for this slot by earlier workers count, unless the provider only asked to wait.
fn first(held: &Held, model: &ModelName) -> u32 {
    let asked_to_wait = [FaultKind::RateLimited, FaultKind::CircuitOpen];
    failed(held, model, |kind| !asked_to_wait.contains(&kind)).saturating_add(1)
}

/// How often that model asked to wait for this slot.
fn rate_limited(held: &Held, model: &ModelName) -> u32 {
    failed(held, model, |kind| kind == FaultKind::RateLimited)
}

/// How many attempts with that model failed for this slot in such a way.
fn failed(held: &Held, model: &ModelName, how: impl Fn(FaultKind) -> bool) -> u32 {
    let here = held.run.attempts.iter().filter(|attempt| attempt.slot == held.run.step && attempt.model == *model);
    let failed = here.filter(|attempt| matches!(attempt.end, AttemptEnd::Failed(kind) if how(kind)));
    u32::try_from(failed.count()).unwrap_or(u32::MAX)
}

/// Says what is about to be done and writes it, unless the run may not go on: then the row in memory says so.
async fn begin(app: &App, held: &mut Held, request: &Request, attempt: u32, price: Option<Price>) -> Result<Saved> {
    if held.run.ends_now(app.now()) {
        return Ok(Saved::Yes);
    }
    let budgets = money::organisation_budgets(app, held.tenant()).await?;
    if !intend(app, held, request, attempt, (price, budgets)) {
        return Ok(Saved::Yes);
    }
    fault::point("K4");
    let saved = if simulation::off(Guard::Intent) { Saved::Yes } else { held.save(app).await? };
    if saved == Saved::Yes && held.run.cancel_requested {
        // The cancel came with the write; nothing was sent, so nothing is booked.
        held.run.withdraw();
        held.run.ends_now(app.now());
    }
    Ok(saved)
}

/// Puts the next call, of a model with that price, into the row, if the run's own budget allows it; otherwise the run fails. Under the
/// others, of which those of the organisation are given, it is reserved: whether they allow it shows when the row is written.
fn intend(
    app: &App,
    held: &mut Held,
    request: &Request,
    attempt: u32,
    (price, budgets): (Option<Price>, Vec<Limit>),
) -> bool {
    let now = app.now();
    let reserved = most_tokens(app, request);
    let reserved_micro_usd = price.map(|price| price.cost_micro_usd(reserved));
    let next = InFlight {
        slot: held.run.step,
        attempt,
        model: request.model.clone(),
        started_at: now,
        reserved,
        reserved_micro_usd,
        ledgers: Vec::new(),
    };
    // What a dead worker was doing counts before the budget is looked at.
    held.run.book_lost(now, AttemptEnd::Lost);
    let limits = held.run.limits(now, budgets);
    let own = held.run.budget_micro_usd;
    let Some(next_costs) = reserved_micro_usd else {
        let Some(budget) = own.map(|_| Budget::Run).or_else(|| limits.first().map(|limit| limit.ledger.budget)) else {
            held.run.intend(next, limits, now);
            return true;
        };
        let (model, budget) = (&request.model, budget.name());
        let message = format!("the price of '{model}' is not known, so the {budget} budget cannot be kept");
        held.run.fail(Reason::UnknownPrice, message, now);
        return false;
    };
    let spent = held.run.usage.priced_micro_usd;
    if let Some(budget) = own.filter(|budget| spent.saturating_add(next_costs) > *budget) {
        let message = format!("the next model call may cost {next_costs} micro-USD, and {spent} of {budget} are spent");
        held.run.exceed(Budget::Run, message, now);
        return false;
    }
    held.run.intend(next, limits, now);
    true
}

/// Books the answer and fills the slot with it.
fn accept(app: &App, held: &mut Held, agent: &AgentVersion, answer: Answer, price: Option<Price>) {
    let now = app.now();
    held.tell_pieces(now);
    let model = held.run.in_flight.as_ref().map_or_else(|| held.run.model.clone(), |call| call.model.clone());
    held.run.book(AttemptEnd::Answered, answer.tokens, price.as_ref(), None, now);
    let Answer { text, tool_calls, finish, tokens } = answer;
    let calls = tool_step::expected(&agent.definition, held.run.mode, finish, &tool_calls);
    held.fill(app, held.run.step, Record::Answer { text, tool_calls, finish, model, tokens }.at(now), calls);
}

/// Books the fault, and pauses before the same model's next attempt; or says what else comes next.
async fn retry(
    app: &App,
    held: &mut Held,
    agent: &AgentVersion,
    model: &ModelName,
    failed: &ModelFault,
    attempt: u32,
) -> Result<Option<Called>> {
    let now = app.now();
    book(held, failed, now);
    tracing::debug!(run = %held.id(), %model, kind = ?failed.kind, status = failed.status, attempt, "a model call failed");
    let remaining_ms = held.run.deadline_at.since_ms(now);
    let attempt = attempt.max(rate_limited(held, model));
    match app.models().next(held.run.org, model, attempt, failed, random::unit(), remaining_ms) {
        // The provider said when: nobody needs to hold the run until then.
        Retry::After(ms) if failed.retry_after_ms.is_some() && ms > HELD_PAUSE_MS => {
            let until = now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX));
            held.run.pass_over(model, Some(until), Reason::ProviderRateLimit);
            return Ok(Some(Called::Waits(Reason::ProviderRateLimit, until)));
        }
        Retry::After(ms) => return pause(app, held, Duration::from_millis(ms)).await,
        Retry::Yield(ms) => {
            let circuit = failed.kind == FaultKind::CircuitOpen;
            let reason = if circuit { Reason::CircuitOpen } else { Reason::ProviderRateLimit };
            let until = now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX));
            held.run.pass_over(model, Some(until), reason);
        }
        Retry::GiveUp => held.run.pass_over(model, None, given_up(failed)),
    }
    let choice = if failed.another_may_answer() {
        choose(app, &mut held.run, agent)
    } else {
        // Another model would refuse it too; but one that only asked to wait is heard before the run ends.
        held.run.awaited(now).map_or(Choice::Nothing, |(reason, until)| Choice::Wait(reason, until))
    };
    Ok(Some(match choice {
        Choice::Call(_) => Called::Again,
        Choice::Wait(reason, until) => Called::Waits(reason, until),
        Choice::Nothing => {
            held.run.fail(given_up(failed), failed.message.clone(), now);
            Called::Ended
        }
    }))
}

/// Pauses before the next attempt, unless the run shall end or is not ours any more. What came of the last one is written first: a process
/// that dies meanwhile takes nothing with it that others would have to guess.
async fn pause(app: &App, held: &mut Held, pause: Duration) -> Result<Option<Called>> {
    match held.save(app).await? {
        Saved::Yes => {}
        Saved::Changed | Saved::Refused => return Ok(Some(Called::Again)),
        Saved::Gone => return Ok(Some(Called::Gone)),
    }
    Ok(match beside(app, held, tokio::time::sleep(pause)).await? {
        Beside::Ended(()) => None,
        Beside::Stopped => {
            held.run.ends_now(app.now());
            Some(Called::Ended)
        }
        Beside::Changed => Some(Called::Again),
        Beside::Gone => Some(Called::Gone),
    })
}

const fn given_up(failed: &ModelFault) -> Reason {
    if matches!(failed.kind, FaultKind::Quota) { Reason::ProviderQuota } else { Reason::ModelError }
}

/// Books what a failed call used; a call that was held back is none.
fn book(held: &mut Held, failed: &ModelFault, now: Timestamp) {
    let tokens = match failed.kind {
        FaultKind::CircuitOpen => {
            held.run.withdraw();
            return;
        }
        FaultKind::Lost | FaultKind::Incomprehensible => None,
        FaultKind::Busy | FaultKind::RateLimited | FaultKind::Quota | FaultKind::Refused => Some(Tokens::default()),
    };
    held.run.book(AttemptEnd::Failed(failed.kind), tokens, None, Some(failed.message.clone()), now);
}
