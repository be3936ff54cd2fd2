//! Chains: triggers whose events are the ends of runs, so that another agent goes on. What is here beside what all triggers do: which ends, who
//! has to be told of them, what such an event says, and that chains end.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::{Definition, Received, Source, Trigger, receive::accept};
use crate::{
    agent,
    app::App,
    error::{Error, Result},
    id::{AgentId, RunId, TriggerId},
    message::Record,
    order::{self, Order, Planned},
    run::{self, CHAIN_LIMIT, CHAIN_RUNS_LIMIT, Cause, Chain, Run, Status},
    store::{
        self,
        row::{Rev, Write},
    },
    tenant::{Caller, Tenant},
};

/// The most triggers of an organisation that go on from the ends of runs and are switched on.
pub const LINKS_LIMIT: usize = 100;
/// The most of them that go on from the ends of one agent's runs: each is written in the transaction of the end.
pub const LINKS_FROM_LIMIT: usize = 10;

/// Which ends of runs are a trigger's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Of this agent's runs, but not of those that it does as a sub-agent or in an evaluation.
    pub agent_id: AgentId,
    /// How they ended: at least one.
    pub on: Vec<End>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Well.
    Done,
    /// Badly.
    Error,
    /// It was cancelled.
    Interrupted,
}

impl Ends {
    fn fit(&self, run: &Run) -> bool {
        let end = match run.status {
            Status::Done => End::Done,
            Status::Error => End::Error,
            Status::Interrupted => End::Interrupted,
            Status::Queued | Status::Running | Status::Waiting => return false,
        };
        self.agent_id == run.agent_id && self.on.contains(&end)
    }
}

/// A trigger that is switched on and goes on from the ends of runs, as who writes such an end has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) trigger: TriggerId,
    from: Ends,
}

impl Link {
    /// That of this trigger, if it is one.
    pub(crate) fn of(trigger: &Trigger) -> Option<Self> {
        let from = trigger.definition.from.clone().filter(|_| trigger.definition.enabled)?;
        Some(Self { trigger: trigger.id, from })
    }

    pub(crate) fn fits(&self, run: &Run) -> bool {
        self.from.fit(run)
    }
}

/// Refuses ends that are none, or where there can be none.
pub(super) async fn check(app: &App, caller: &Caller, definition: &Definition) -> Result<()> {
    let from = match (&definition.from, definition.source) {
        (None, Source::Run) => return Err(Error::invalid("from", "must say of which agent's runs the ends are")),
        (None, _) => return Ok(()),
        (Some(from), Source::Run) => from,
        (Some(_), _) => return Err(Error::invalid("from", "is only for the source run")),
    };
    let twice = from
        .on
        .iter()
        .enumerate()
        .any(|(index, end)| from.on.iter().skip(index.saturating_add(1)).any(|other| other == end));
    if from.on.is_empty() || twice {
        return Err(Error::invalid("from.on", "must have at least one of done, error and interrupted, each once"));
    }
    agent::current(app, caller.tenant(), from.agent_id).await.map(|_| ())
}

/// Refuses a trigger for which there is no room among those that go on from the ends of runs.
pub(super) fn check_room(links: &[Link], trigger: &Trigger) -> Result<()> {
    let Some(link) = Link::of(trigger) else { return Ok(()) };
    let others = || links.iter().filter(|other| other.trigger != link.trigger);
    let same = others().filter(|other| other.from.agent_id == link.from.agent_id).count();
    if same >= LINKS_FROM_LIMIT || others().count() >= LINKS_LIMIT {
        let message = format!(
            "at most {LINKS_FROM_LIMIT} triggers go on from the ends of one agent's runs, and {LINKS_LIMIT} in an organisation: delete one, or switch it off"
        );
        return Err(Error::Conflict(message));
    }
    Ok(())
}

/// Writes a trigger that was changed, if it is as it was seen.
///
/// # Errors
/// [`Error::InProgress`] when it is not; [`Error::Conflict`] when there is no room; as the store says.
pub(super) async fn save(app: &App, trigger: &Trigger, seen: Rev) -> Result<()> {
    let saved = if trigger.definition.source == Source::Run {
        let gate = app.store().trigger_gate(trigger.tenant()).await?;
        check_room(&gate.links, trigger)?;
        app.store().save_linked_trigger(trigger, seen, &gate).await
    } else {
        app.store().save_trigger(trigger, seen, None).await
    };
    match saved {
        Ok(()) => {
            changed(app, trigger);
            Ok(())
        }
        Err(store::Error::Conflict { .. }) => Err(Error::InProgress),
        Err(error) => Err(error.into()),
    }
}

/// A trigger was made, changed or deleted: this process knows at once.
pub(super) fn changed(app: &App, trigger: &Trigger) {
    if trigger.definition.source == Source::Run {
        app.outbox().forget(trigger.org);
    }
}

/// Plans what goes on with a chain, unless that has become too long.
///
/// # Errors
/// As [`order::plan`]; [`Error::Conflict`] for a chain that is too long.
pub(super) async fn planned(app: &App, caller: &Caller, order: Order, cause: Cause) -> Result<Planned> {
    let Some(chain) = cause.chain else { return order::plan(app, caller, order, cause).await };
    if chain.length > CHAIN_LIMIT {
        let message = format!("the chain has {CHAIN_LIMIT} starts, one after the other: the most that there may be");
        return Err(Error::Conflict(message));
    }
    let planned = order::plan(app, caller, order, cause).await?;
    let started = app.store().chained_runs(caller.tenant(), chain.root).await?;
    if started.saturating_add(planned.runs()) > CHAIN_RUNS_LIMIT {
        let message = format!(
            "there would be more than {CHAIN_RUNS_LIMIT} runs in the chains that begin with {}",
            chain.root.prefixed()
        );
        return Err(Error::Conflict(message));
    }
    Ok(planned)
}

/// The write that counts what goes on with a chain.
pub(super) fn counted(app: &App, tenant: Tenant, chain: Option<Chain>, planned: &Planned) -> Option<Write> {
    chain.map(|chain| app.store().chain_write(tenant, chain.root, planned.runs(), CHAIN_RUNS_LIMIT, app.now()))
}

/// Starts what the trigger starts at the end of the run that this event tells of, once.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::RateLimited`] and [`Error::Internal`] when it should be tried again. What became of an event otherwise is
/// in the trigger's events.
pub(crate) async fn go_on(app: &App, trigger: &Trigger, event: &str) -> Result<()> {
    let tenant = trigger.tenant();
    let id = run_of(event).ok_or_else(|| Error::Internal("the event names no run".into()))?;
    let run = app.store().run(tenant, id).await?.ok_or(Error::NotFound("run"))?.value;
    if !trigger.definition.from.as_ref().is_some_and(|from| from.fit(&run)) {
        return Err(Error::Conflict("the trigger goes on from other ends by now".to_owned()));
    }
    let body = told(app, tenant, &run).await?;
    let accepted = accept(app, trigger, Some(Chain::after_run(&run)), id.prefixed(), Map::new(), body).await?;
    if let Received::Failed(error) = accepted {
        tracing::warn!(org = %trigger.org, trigger = %trigger.id, run = %id, %error, "a chain does not go on");
    }
    Ok(())
}

fn run_of(event: &str) -> Option<RunId> {
    let event: Json = serde_json::from_str(event).ok()?;
    RunId::parse_prefixed(event.get("data")?.get("run_id")?.as_str()?).ok()
}

/// What templates know of a run that has ended, as `body`.
async fn told(app: &App, tenant: Tenant, run: &Run) -> Result<Json> {
    let said = run::outputs_of(app, tenant, std::slice::from_ref(run)).await?.pop().flatten();
    let output = said.map(|said| run.output(said));
    let input = app.store().slots(tenant, &[(run.id, 0)]).await?.pop().flatten();
    let Some(Record::Input { text, inputs, .. }) = input.map(|slot| slot.record) else {
        return Err(Error::Internal("the input of a run is missing".into()));
    };
    Ok(json!({
        "type": format!("run.{}", run.status.name()),
        "run_id": run.id.prefixed(),
        "agent_id": run.agent_id.prefixed(),
        "agent_version": run.agent_version,
        "status": run.status.name(),
        "reason": run.reason.map(run::Reason::name),
        "error": run.error,
        "output": output,
        "message": text,
        "inputs": inputs,
        "chat_id": run.chat_id.prefixed(),
        "batch_id": run.batch.as_ref().map(|batch| batch.id.prefixed()),
        "custom_id": run.batch.as_ref().and_then(|batch| batch.custom_id.as_deref()),
        "cost_micro_usd": run.usage.cost_micro_usd(),
        "metadata": run.metadata,
    }))
}
