//! Looking at runs.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{Run, Status, Usage};
use crate::{
    agent::Metadata,
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{AgentId, BatchId, RunId},
    message::Record,
    money::Budget,
    page::{self, Page, PageRequest},
    store::{Versioned, row::Rev},
    tenant::{Caller, Scope, Tenant},
    tool::schema,
};

/// How far back a list by page number goes, in runs.
pub const PAGES_LIMIT: usize = 10_000;

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of this agent.
    pub agent_id: Option<AgentId>,
    /// Those that stand so.
    pub status: Option<Status>,
    /// Those of this batch.
    pub batch_id: Option<BatchId>,
    /// Those that have all of these pairs.
    pub metadata: Metadata,
    /// Only the first run of each chat.
    pub first_of_chat: bool,
    /// Only those whose parent is this.
    pub parent: Option<ParentIs>,
}

/// Which parent a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentIs {
    /// None: nobody started it as a sub-agent.
    Nobody,
    /// This run.
    Run(RunId),
}

impl Filter {
    fn fits(&self, run: &Run) -> bool {
        self.agent_id.is_none_or(|id| run.agent_id == id)
            && self.status.is_none_or(|status| run.status == status)
            && self.batch_id.is_none_or(|id| run.batch.as_ref().is_some_and(|batch| batch.id == id))
            && self.metadata.iter().all(|(key, value)| run.metadata.get(key) == Some(value))
            && (!self.first_of_chat || run.chat_id == run.id)
            && self.parent.is_none_or(|parent| match parent {
                ParentIs::Nobody => run.parent.is_none(),
                ParentIs::Run(id) => run.parent.is_some_and(|parent| parent.run == id),
            })
    }

    /// The run beside which all that fit stand in the list: children have their parent's time.
    fn beside(&self) -> Option<RunId> {
        match self.parent {
            Some(ParentIs::Run(id)) => Some(id),
            Some(ParentIs::Nobody) | None => None,
        }
    }
}

/// A chat: its first run, which bears its id, and its last.
#[derive(Debug, Clone)]
pub struct Chat {
    /// The first run.
    pub first: Run,
    /// The last run; the first itself when nothing went on with it.
    pub last: Run,
    pub(crate) first_rev: Rev,
}

/// The run.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(app: &App, caller: &Caller, id: RunId) -> Result<Run> {
    caller.require(Scope::RunsRead)?;
    Ok(visible(app, caller.tenant(), id).await?.value)
}

/// The run that the caller has started with the request that is being answered: that needs no right to look at others.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn own(app: &App, caller: &Caller, id: RunId) -> Result<Run> {
    caller.require(Scope::RunsWrite)?;
    Ok(visible(app, caller.tenant(), id).await?.value)
}

/// The run, if its organisation may see it: a run of a batch is there when its batch is, and one that grades another never.
pub(crate) async fn visible(app: &App, tenant: Tenant, id: RunId) -> Result<Versioned<Run>> {
    let found = app.store().run(tenant, id).await?.ok_or(Error::NotFound("run"))?;
    let accepted = found.value.accepted
        || match &found.value.batch {
            Some(batch) => app.store().batch(tenant, batch.id).await?.is_some(),
            None => true,
        };
    if accepted && found.value.grades.is_none() { Ok(found) } else { Err(Error::NotFound("run")) }
}

/// The chat of this id.
///
/// # Errors
/// [`Error::NotFound`], also for the id of a run that went on with a chat.
pub async fn chat(app: &App, caller: &Caller, id: RunId) -> Result<Chat> {
    caller.require(Scope::RunsRead)?;
    let not_found = || Error::NotFound("chat");
    let found = match visible(app, caller.tenant(), id).await {
        Err(Error::NotFound(_)) => return Err(not_found()),
        other => other?,
    };
    let first = found.value;
    if first.chat_id != first.id {
        return Err(not_found());
    }
    let last = match first.continued_by.last() {
        Some(last) => visible(app, caller.tenant(), *last).await?.value,
        None => first.clone(),
    };
    Ok(Chat { first, last, first_rev: found.rev })
}

/// What the run's agent said at its end; `None` when it has not said anything or has not ended well.
///
/// # Errors
/// As the store says.
pub async fn output(app: &App, caller: &Caller, run: &Run) -> Result<Option<String>> {
    Ok(outputs(app, caller, std::slice::from_ref(run)).await?.pop().flatten())
}

/// What the agents of these runs said at their ends, each in the place of its run. Who was given the runs may know that too.
///
/// # Errors
/// As the store says.
pub async fn outputs(app: &App, caller: &Caller, runs: &[Run]) -> Result<Vec<Option<String>>> {
    outputs_of(app, caller.tenant(), runs).await
}

pub(crate) async fn outputs_of(app: &App, tenant: Tenant, runs: &[Run]) -> Result<Vec<Option<String>>> {
    let ended: Vec<(RunId, u32)> =
        runs.iter().filter(|run| run.status == Status::Done).map(|run| (run.id, run.step.saturating_sub(1))).collect();
    let slots = app.store().slots(tenant, &ended).await?;
    let mut said: HashMap<RunId, String> = HashMap::with_capacity(ended.len());
    for ((id, _), slot) in ended.into_iter().zip(slots) {
        if let Some(Record::Answer { text, .. }) = slot.map(|slot| slot.record) {
            said.insert(id, text);
        }
    }
    Ok(runs.iter().map(|run| said.remove(&run.id)).collect())
}

/// The organisation's runs that fit, newest first. A page may be short while more follow.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, filter: &Filter, page: &PageRequest) -> Result<Page<Run>> {
    caller.require(Scope::RunsRead)?;
    let of = format!("runs?{filter:?}");
    let beside = filter.beside();
    let mut before = page.position(&of)?.or_else(|| beside.map(|id| id.last_of_moment().to_string()));
    let mut entries = Vec::new();
    let mut looked_at: usize = 0;
    loop {
        let (runs, next) = listed(app, caller.tenant(), before.take(), page::LIMIT).await?;
        looked_at = looked_at.saturating_add(runs.len());
        let beyond = runs.last().zip(beside).is_some_and(|(run, id)| !run.id.same_moment(id));
        let next = next.filter(|_| !beyond);
        let mut runs = runs.into_iter();
        for run in runs.by_ref().filter(|run| filter.fits(run)) {
            let position = run.id.to_string();
            entries.push(run);
            if entries.len() == page.limit {
                let more = next.is_some() || runs.len() > 0;
                return Ok(Page::new(entries, more.then_some(position.as_str()), &of));
            }
        }
        match next {
            Some(next) if looked_at < page::SCAN_LIMIT => before = Some(next),
            next => return Ok(Page::new(entries, next.as_deref(), &of)),
        }
    }
}

/// Page `number` (from 0) of `size` runs that fit, newest first, and whether more follow.
///
/// # Errors
/// [`Error::Invalid`] for a page that begins after [`PAGES_LIMIT`] runs.
pub async fn list_pages(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    number: usize,
    size: usize,
) -> Result<(Vec<Run>, bool)> {
    caller.require(Scope::RunsRead)?;
    let begin = number.saturating_mul(size);
    if begin >= PAGES_LIMIT {
        return Err(Error::invalid("page", format!("must begin within the last {PAGES_LIMIT} runs")));
    }
    let (mut entries, mut passed, mut before) = (Vec::new(), 0_usize, None);
    loop {
        let (runs, next) = listed(app, caller.tenant(), before, page::LIMIT).await?;
        for run in runs.into_iter().filter(|run| filter.fits(run)) {
            if entries.len() == size {
                return Ok((entries, true));
            }
            if passed < begin {
                passed = passed.saturating_add(1);
            } else {
                entries.push(run);
            }
        }
        match next {
            Some(next) => before = Some(next),
            None => return Ok((entries, false)),
        }
    }
}

/// A page of the list as it is stored, without the runs whose batch was never accepted.
async fn listed(app: &App, tenant: Tenant, before: Option<String>, limit: usize) -> Result<(Vec<Run>, Option<String>)> {
    let (mut runs, next) = app.store().listed_runs(tenant, before, limit).await?;
    let staged: BTreeSet<BatchId> =
        runs.iter().filter(|run| !run.accepted).filter_map(|run| run.batch.as_ref()).map(|batch| batch.id).collect();
    let mut missing = BTreeSet::new();
    for batch in staged {
        if app.store().batch(tenant, batch).await?.is_none() {
            missing.insert(batch);
        }
    }
    runs.retain(|run| run.accepted || run.batch.as_ref().is_none_or(|batch| !missing.contains(&batch.id)));
    Ok((runs, next))
}

/// What a batch adds up of its runs: read from their rows without the rest, which is most of the work for thousands.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Glance {
    pub(crate) status: Status,
    pub(crate) usage: Usage,
    #[serde(default)]
    pub(crate) refused_by: Option<Budget>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
}

impl Glance {
    /// As [`Run::run_ms`].
    pub(crate) fn run_ms(&self, now: Timestamp) -> u64 {
        self.started_at.map_or(0, |start| self.ended_at.unwrap_or(now).since_ms(start))
    }
}

impl Run {
    /// What the agent said at its end as JSON, when it has an output schema and the run has ended well.
    #[must_use]
    pub fn parsed(&self, said: Option<&str>) -> Option<Value> {
        said.filter(|_| self.structured && self.status == Status::Done).and_then(|said| schema::value(said).ok())
    }

    pub(crate) const fn glance(&self) -> Glance {
        Glance {
            status: self.status,
            usage: self.usage,
            refused_by: self.refused_by,
            started_at: self.started_at,
            ended_at: self.ended_at,
        }
    }
}
