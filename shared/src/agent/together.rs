//! Changing many agents together: all of them or none, and nobody sees a part.
//!
//! A *change set* is a row that is open. Its writer puts the new versions, where no pointer names them yet, in transactions of at most
//! 100; each is in the place of the agent's next number, so whoever else wants to change that agent meets it. Then one transaction
//! closes the change set and moves all pointers. Who meets a version of an open change set waits for it, and stops it when it takes
//! longer than [`WAIT_MS`], or when its writer is known to be dead; a stopped one can commit nothing any more, so what it left behind may be
//! overwritten. Versions are put in the order of the agents' ids, so that two writers never wait for one another.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{
    AgentVersion, Change, Draft, PlannedChange, TRIES,
    registered::{self, Registered},
};
use crate::{
    app::App,
    engine::fault,
    error::{Error, Problem, Result},
    id::AgentId,
    random,
    store::{
        self, Versioned,
        agents::{Bucket, ChangeSet, ChangeState},
        row::{Rev, TRANSACTION_LIMIT, Write},
    },
    tenant::{Caller, Scope, Tenant},
    tool::Pins,
};

/// The most agents that are changed together.
pub const UPDATED_TOGETHER_LIMIT: usize = 200;
/// How long others wait for an open change set, in milliseconds: many times what one takes.
const WAIT_MS: i64 = 5_000;
/// How long before others stop waiting its writer says that it is still at work, in milliseconds.
const RENEWED_MS: i64 = WAIT_MS / 2;
/// The most bytes of versions in one transaction: a good part of the 4 MiB that DynamoDB allows.
const TOGETHER_BYTES: usize = 3 << 20;

/// What is done about an agent that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It is left out.
    LeftOut,
    /// Nothing is changed.
    Refused,
}

/// A change, and which agent it is of; `None` is one that cannot be there, as when its id is none.
pub type OfAgent<'a> = (Option<AgentId>, Change<'a>);

/// Changes these agents, all of them or none: nobody sees some as they were and others as they are now, in a list or one after the other.
/// Answers those that are there, as they are now, in the order of the changes.
///
/// # Errors
/// [`Error::Invalid`] with every problem of every change, below `items[n]`, also for an agent that is named twice; [`Error::NotFound`] for
/// an agent that is not there, if that is not left out; [`Error::Unavailable`] when others change these agents all the time.
pub async fn update_many(
    app: &App,
    caller: &Caller,
    changes: &[OfAgent<'_>],
    unknown: Unknown,
) -> Result<Vec<Arc<AgentVersion>>> {
    caller.require(Scope::AgentsWrite)?;
    check(changes)?;
    let mut looked_up = LookedUp::default();
    looked_up.pins.resize_with(changes.len(), Pins::default);
    for attempt in 1..=TRIES {
        let planned = plan(app, caller.tenant(), changes, unknown, &mut looked_up).await?;
        if Box::pin(write(app, caller.tenant(), &planned)).await? {
            return Ok(planned.into_iter().map(|change| change.to.unwrap_or(change.from)).collect());
        }
        random::pause(attempt).await;
    }
    Err(Error::Unavailable("the agents are being changed by others all the time".into()))
}

fn check(changes: &[OfAgent<'_>]) -> Result<()> {
    if !(1..=UPDATED_TOGETHER_LIMIT).contains(&changes.len()) {
        return Err(Error::invalid("items", format!("must have 1 to {UPDATED_TOGETHER_LIMIT} entries")));
    }
    let mut first = BTreeMap::new();
    let mut problems = Vec::new();
    for (index, id) in changes.iter().enumerate().filter_map(|(index, (id, _))| Some((index, (*id)?))) {
        if let Some(before) = first.insert(id, index) {
            let message = format!("is the agent of items[{before}] too");
            problems.push(Problem { field: format!("items[{index}].id"), message });
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// What was asked of others for a change that may have to be tried again.
#[derive(Default)]
struct LookedUp {
    /// Of each change.
    pins: Vec<Pins>,
    registered: Option<Registered>,
}

/// Every change, checked against the agents as they are at one moment.
async fn plan(
    app: &App,
    tenant: Tenant,
    changes: &[OfAgent<'_>],
    unknown: Unknown,
    LookedUp { pins, registered }: &mut LookedUp,
) -> Result<Vec<PlannedChange>> {
    let ids: Vec<AgentId> = changes.iter().filter_map(|(id, _)| *id).collect();
    let buckets = app.store().agent_buckets(tenant, &ids).await?;
    let (mut planned, mut problems) = (Vec::with_capacity(changes.len()), Vec::new());
    for (index, ((id, change), pins)) in changes.iter().zip(pins).enumerate() {
        let found = id.and_then(|id| Some((id, current(&buckets, id)?)));
        let Some((id, number)) = found else {
            if unknown == Unknown::Refused {
                return Err(Error::NotFound("agent"));
            }
            if let Err(error) = of_nobody(app, tenant, change).await {
                problems.extend(below(index, error)?);
            }
            continue;
        };
        let from = super::version(app, tenant, id, number).await?;
        match change.planned(app, tenant, from, (pins, registered)).await {
            Ok(change) => planned.push(change),
            Err(error) => problems.extend(below(index, error)?),
        }
    }
    if problems.is_empty() { Ok(planned) } else { Err(Error::Invalid(problems)) }
}

/// Whether the change makes sense, of an agent that is not there: an item that would be bad of any agent is refused whoever's it is. What
/// tools and which model such an agent has nobody knows.
async fn of_nobody(app: &App, tenant: Tenant, change: &Change<'_>) -> Result<()> {
    // No change can say it.
    let unsaid = Uuid::now_v7().to_string();
    let mut draft = Draft::new("nobody", unsaid.clone());
    (change.apply)(&mut draft);
    let mut problems = change.tool_names.map(registered::twice).unwrap_or_default();
    match draft.check_of_any(app, tenant, &unsaid).await {
        Err(Error::Invalid(more)) => problems.extend(more),
        other => other?,
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

fn current(buckets: &[Bucket], id: AgentId) -> Option<u32> {
    buckets.iter().find(|bucket| bucket.is_of(id))?.current(id)
}

/// What is wrong with an item, with its place; another error is the whole request's.
fn below(index: usize, error: Error) -> Result<Vec<Problem>> {
    let at = |field: &str| match field {
        "" => format!("items[{index}]"),
        field => format!("items[{index}].{field}"),
    };
    if let Error::UnknownModel { field, known, .. } = &error {
        let message = format!("{error}; known: {}", known.join(", "));
        return Ok(vec![Problem { field: at(field), message }]);
    }
    let Error::Invalid(problems) = error else { return Err(error) };
    Ok(problems.into_iter().map(|problem| Problem { field: at(&problem.field), ..problem }).collect())
}

/// Makes the new versions the current ones; `false` when one of the agents was changed meanwhile, and nothing is written.
async fn write(app: &App, tenant: Tenant, planned: &[PlannedChange]) -> Result<bool> {
    let mut new: Vec<&AgentVersion> = planned.iter().filter_map(|change| change.to.as_deref()).collect();
    if new.is_empty() {
        return Ok(true);
    }
    new.sort_unstable_by_key(|version| version.agent_id);
    let (owner, until) = (app.owner(), app.now().plus_ms(WAIT_MS));
    let set = ChangeSet { id: Uuid::now_v7(), owner, until, state: ChangeState::Open };
    let rev = app.store().save_change_set(tenant, &set, None, Vec::new()).await?;
    let mut open = Versioned { value: set, rev };
    fault::point("C1");
    let done = match put(app, tenant, &mut open, &new).await {
        Ok(true) => {
            fault::point("C2");
            commit(app, tenant, &mut open, &new).await
        }
        other => other,
    };
    fault::point("C3");
    if !matches!(done, Ok(true)) {
        // Others need not wait for it; whether they learn of it changes nothing else.
        let _ = stop(app, tenant, &open).await;
    }
    done
}

/// Has others wait longer for a change set that is still being written; `false` when one of them has stopped it.
async fn renewed(app: &App, tenant: Tenant, open: &mut Versioned<ChangeSet>) -> Result<bool> {
    if app.now().plus_ms(RENEWED_MS) < open.value.until {
        return Ok(true);
    }
    let longer = ChangeSet { until: app.now().plus_ms(WAIT_MS), ..open.value.clone() };
    match app.store().save_change_set(tenant, &longer, Some(open.rev), Vec::new()).await {
        Ok(rev) => *open = Versioned { value: longer, rev },
        Err(store::Error::Conflict { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// Puts the versions; `false` when one of the agents was changed meanwhile, or the change set was stopped.
async fn put(app: &App, tenant: Tenant, open: &mut Versioned<ChangeSet>, versions: &[&AgentVersion]) -> Result<bool> {
    let set = open.value.id;
    let mut left: Vec<Option<Rev>> = vec![None; versions.len()];
    let mut begin = 0;
    while begin < versions.len() {
        if !renewed(app, tenant, open).await? {
            return Ok(false);
        }
        let mut writes = Vec::new();
        let mut bytes: usize = 0;
        for (version, left) in versions.iter().zip(&left).skip(begin).take(TRANSACTION_LIMIT) {
            let write = app.store().version_write(tenant, set, version, *left)?;
            bytes = bytes.saturating_add(length(&write));
            if bytes > TOGETHER_BYTES && !writes.is_empty() {
                break;
            }
            writes.push(write);
        }
        let count = writes.len();
        match app.store().save_versions(writes).await {
            Ok(()) => begin = begin.saturating_add(count),
            Err(store::Error::Conflict { index }) => {
                let at = begin.saturating_add(index);
                let (Some(version), Some(left)) = (versions.get(at), left.get_mut(at)) else { return Ok(false) };
                match cleared(app, tenant, open, version).await? {
                    Place::Free(found) => *left = found,
                    Place::Taken | Place::Written => return Ok(false),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

const fn length(write: &Write) -> usize {
    match write {
        Write::Put(row, _) => row.body.len(),
        Write::Delete(..) | Write::Check(..) | Write::Add(_) => 0,
    }
}

/// Moves all pointers, and closes the change set with that; `false` when it was stopped, or one of the agents is gone.
async fn commit(
    app: &App,
    tenant: Tenant,
    open: &mut Versioned<ChangeSet>,
    versions: &[&AgentVersion],
) -> Result<bool> {
    let ids: Vec<AgentId> = versions.iter().map(|version| version.agent_id).collect();
    for attempt in 1..=TRIES {
        if !renewed(app, tenant, open).await? {
            return Ok(false);
        }
        let closed = ChangeSet { state: ChangeState::Committed, ..open.value.clone() };
        let mut buckets = app.store().agent_buckets(tenant, &ids).await?;
        for version in versions {
            let bucket = buckets.iter_mut().find(|bucket| bucket.is_of(version.agent_id));
            let before = version.number.checked_sub(1);
            let Some(bucket) = bucket.filter(|bucket| bucket.current(version.agent_id) == before) else {
                return Ok(false);
            };
            bucket.point(version.agent_id, version.number);
        }
        match app.store().save_change_set(tenant, &closed, Some(open.rev), buckets).await {
            Ok(_) => return Ok(true),
            Err(store::Error::Conflict { index: 0 }) => return Ok(false),
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("agents are being changed by others all the time".into()))
}

/// As [`clear`], for the writer of a change set: what there is in the place of this version, or [`Place::Taken`] when that one was stopped
/// meanwhile.
async fn cleared(app: &App, tenant: Tenant, open: &mut Versioned<ChangeSet>, to: &AgentVersion) -> Result<Place> {
    let mut looked: u32 = 0;
    while renewed(app, tenant, open).await? {
        looked = looked.saturating_add(1);
        match look(app, tenant, to, looked).await? {
            Place::Taken => {}
            found @ (Place::Free(_) | Place::Written) => return Ok(found),
        }
    }
    Ok(Place::Taken)
}

/// Stops a change set that is open, if it is as it was seen.
async fn stop(app: &App, tenant: Tenant, open: &Versioned<ChangeSet>) -> store::Result<()> {
    let stopped = ChangeSet { state: ChangeState::Stopped, ..open.value.clone() };
    app.store().save_change_set(tenant, &stopped, Some(open.rev), Vec::new()).await.map(drop)
}

/// Makes sure that the place of this version may be written: waits for a change set that is in it, and stops it if it takes too long.
/// Answers the revision of what is left there to be overwritten, if anything is.
///
/// # Errors
/// [`Error::Conflict`] when the agent has been changed meanwhile, or is gone.
pub(super) async fn clear(app: &App, tenant: Tenant, to: &AgentVersion) -> Result<Option<Rev>> {
    for looked in 1.. {
        match look(app, tenant, to, looked).await? {
            Place::Free(left) => return Ok(left),
            Place::Taken => {}
            Place::Written => break,
        }
    }
    Err(Error::Conflict("the agent was changed at the same time".to_owned()))
}

/// What is in the place of a version that is to be written.
enum Place {
    /// Nothing, or what a stopped change set left behind, with its revision.
    Free(Option<Rev>),
    /// A version of a change set that was open a moment ago: to be looked at again.
    Taken,
    /// A version that counts: the agent has been changed meanwhile, or is gone.
    Written,
}

/// Looks for the `looked`th time what is in the place of this version. For a change set that is open it waits a moment, or stops it.
async fn look(app: &App, tenant: Tenant, to: &AgentVersion, looked: u32) -> Result<Place> {
    let found = app.store().version_writer(tenant, to.agent_id, to.number).await?;
    let Some((writer, rev)) = found else { return Ok(Place::Free(None)) };
    let Some(writer) = writer else { return Ok(Place::Written) };
    let set = app.store().change_set(tenant, writer).await?;
    if let Some(open) = set.filter(|set| set.value.state == ChangeState::Open) {
        wait_or_stop(app, tenant, &open, looked).await?;
        return Ok(Place::Taken);
    }
    // It commits nothing any more. Whether it has, the pointer says.
    let pointed = app.store().agent_bucket(tenant, to.agent_id).await?.current(to.agent_id);
    Ok(if pointed == to.number.checked_sub(1) { Place::Free(Some(rev)) } else { Place::Written })
}

/// Gives an open change set time, or stops it when it has had enough. One of an earlier process of a host that is alone has nobody who
/// would go on with it.
async fn wait_or_stop(app: &App, tenant: Tenant, open: &Versioned<ChangeSet>, looked: u32) -> Result<()> {
    let epoch = app.config().sole_epoch.as_deref();
    let alive = epoch.is_none_or(|epoch| open.value.owner.starts_with(epoch));
    if alive && open.value.until > app.now() {
        random::pause(looked.min(TRIES)).await;
        return Ok(());
    }
    match stop(app, tenant, open).await {
        // Somebody was faster; whether with the end or with stopping it, the next look tells.
        Ok(()) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
