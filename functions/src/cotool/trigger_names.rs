//! What other answers say of triggers: those of an agent in short, and by name what has started a run.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use shared::{
    App, Caller, Error, Result, Scope,
    id::{AgentId, ScheduleId, TriggerId},
    run::{By, Run},
    schedule, trigger,
};

use super::crons;

/// How many names are read at a time.
const AT_A_TIME: usize = 16;

/// A trigger in short.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct SummaryView {
    id: String,
    name: String,
    enabled: bool,
}

/// The triggers of all agents in short, newest first; nothing for a key that may not look at them.
pub(super) async fn summaries(app: &App, caller: &Caller) -> Result<HashMap<AgentId, Vec<SummaryView>>> {
    let mut all: HashMap<AgentId, Vec<SummaryView>> = HashMap::new();
    if !caller.may(Scope::RunsRead) {
        return Ok(all);
    }
    for trigger in trigger::all(app, caller).await? {
        let (id, enabled) = (trigger.id.to_string(), trigger.definition.enabled);
        let summary = SummaryView { id, name: trigger.definition.name, enabled };
        all.entry(trigger.definition.terms.agent_id).or_default().push(summary);
    }
    for schedule in crons::all(app, caller).await? {
        let (id, enabled) = (schedule.id.to_string(), !schedule.paused);
        let summary = SummaryView { id, name: schedule.name, enabled };
        all.entry(schedule.order.terms.agent_id).or_default().push(summary);
    }
    Ok(all)
}

/// What has started these runs, by name: of triggers and schedules that are still there.
pub(super) async fn names(app: &App, caller: &Caller, runs: &[Run]) -> Result<HashMap<String, String>> {
    let causes: BTreeSet<(bool, String)> = runs.iter().filter_map(|run| run.cause).map(|cause| key(cause.by)).collect();
    let found = stream::iter(causes).map(|(timed, id)| async move {
        let name = match (timed, id.parse::<ScheduleId>(), id.parse::<TriggerId>()) {
            (true, Ok(id), _) => schedule::get(app, caller, id).await.map(|schedule| schedule.name),
            (false, _, Ok(id)) => trigger::get(app, caller, id).await.map(|trigger| trigger.definition.name),
            _ => return Ok(None),
        };
        match name {
            Ok(name) => Ok(Some((id, name))),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let found: Vec<Option<(String, String)>> = found.buffer_unordered(AT_A_TIME).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Under which name in those of [`names`] what has started the run is.
pub(super) fn named(run: &Run, names: &HashMap<String, String>) -> Option<String> {
    names.get(&key(run.cause?.by).1).cloned()
}

fn key(by: By) -> (bool, String) {
    match by {
        By::Schedule(id) => (true, id.to_string()),
        By::Trigger(id) => (false, id.to_string()),
    }
}
