//! Which model is called next: the run's own, or the next of its agent's fallback models that is not passed over.

use crate::{
    agent::AgentVersion,
    app::App,
    clock::Timestamp,
    id::OrgId,
    model::{ModelFault, ModelName, retry::Next},
    random,
    run::{Reason, Run},
};

/// Which model is called next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// This one.
    Call(ModelName),
    /// None before then.
    Wait(Reason, Timestamp),
    /// All are given up.
    Nothing,
}

/// Follows from the row, but for models whose circuit is open in this process: those are passed over for a while.
pub(super) fn choose(app: &App, run: &mut Run, agent: &AgentVersion) -> Choice {
    let now = app.now();
    let own = run.model.clone();
    let others = agent.definition.fallback_models.iter().filter(|other| !app.models().same(other, &own));
    for model in std::iter::once(&own).chain(others) {
        if !run.may_call(model, now) {
            continue;
        }
        match held_back(app, run.org, model, now) {
            None => return Choice::Call(model.clone()),
            until => run.pass_over(model, until, Reason::CircuitOpen),
        }
    }
    run.awaited(now).map_or(Choice::Nothing, |(reason, until)| Choice::Wait(reason, until))
}

/// Until when calls of that model are held back, if they are.
fn held_back(app: &App, org: OrgId, model: &ModelName, now: Timestamp) -> Option<Timestamp> {
    let fault = ModelFault::circuit_open(app.models().held_back_ms(org, model)?);
    match app.models().next(org, model, 1, &fault, random::unit(), 0) {
        Next::Yield(ms) | Next::After(ms) => Some(now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX))),
        Next::GiveUp => None,
    }
}
