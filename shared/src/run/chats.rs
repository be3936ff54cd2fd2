//! Lists of chats.

use super::{
    Chat, Run,
    search::{Order, Search, Slice, found},
};
use crate::{
    agent,
    app::App,
    error::Result,
    id::{AgentId, RunId},
    store::Versioned,
    tenant::{Caller, Scope},
};

/// The chats whose first runs are looked for, newest first, and how many there are in all. Runs that are no caller's, but another
/// run's sub-agents, are no chats.
///
/// # Errors
/// As [`super::search`].
pub async fn chats(app: &App, caller: &Caller, search: Search, slice: Slice) -> Result<(Vec<Chat>, usize)> {
    caller.require(Scope::RunsRead)?;
    let search = Search { begins_chat: true, ..search };
    let (firsts, total) = found(app, caller.tenant(), &search, Order::default(), slice).await?;
    let longer: Vec<RunId> = firsts.iter().filter_map(|first| first.value.continued_by.last().copied()).collect();
    let mut lasts = app.store().runs(caller.tenant(), &longer).await?.into_iter().flatten();
    let mut last = |first: &Run| match first.continued_by.last() {
        Some(id) => lasts.find(|last| last.value.id == *id).map(|last| last.value),
        None => None,
    };
    let chat = |Versioned { value: first, rev }: Versioned<Run>| Chat {
        last: last(&first).unwrap_or_else(|| first.clone()),
        first,
        first_rev: rev,
    };
    Ok((firsts.into_iter().map(chat).collect(), total))
}

/// The chats of an agent: see [`chats`].
///
/// # Errors
/// [`crate::Error::NotFound`], also for an agent that was deleted; as [`super::search`].
pub async fn agent_chats(
    app: &App,
    caller: &Caller,
    id: AgentId,
    search: Search,
    slice: Slice,
) -> Result<(Vec<Chat>, usize)> {
    caller.require(Scope::RunsRead)?;
    agent::current(app, caller.tenant(), id).await?;
    chats(app, caller, Search { agents: vec![id], ..search }, slice).await
}
