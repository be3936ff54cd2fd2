//! Finding runs: by what is fixed when they are made, for which their places in the list are enough, and by what their rows say.
//!
//! Every place of the time asked for is looked at, since all that fit are counted. Rows are read only for what places do not say, and
//! then of the runs whose places fit. Of each that fits no more is kept than what it is sorted by, and of those no more than pages
//! up to the one asked for have.

mod accepted;
mod top;

use std::{collections::HashSet, sync::Arc};

use serde::Deserialize;

use self::{
    accepted::Accepted,
    top::{Rank, Top},
};
use super::{Called, DEADLINE_MS, Place, Run, Source};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{AgentId, RunId},
    model::ModelName,
    store::{Span, Versioned},
    tenant::{Caller, Scope, Tenant},
};

/// How many runs may be looked at in one call by their places in the list.
pub const PLACES_LIMIT: usize = 1_000_000;
/// How many rows of runs may be read in one call.
pub const ROWS_LIMIT: usize = 100_000;
/// How many rows are read at a time.
const ROWS_AT_A_TIME: usize = 1_000;
/// How far the clocks of two processes may be apart, in milliseconds.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// Which runs are looked for: those that all of this is true of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Search {
    /// Those of one of these agents; with none, of any.
    pub agents: Vec<AgentId>,
    /// Those that one of these started; with none, whatever did.
    pub sources: Vec<Source>,
    /// Those that were accepted at this moment or later.
    pub from: Option<Timestamp>,
    /// Those that were accepted at this moment or earlier.
    pub to: Option<Timestamp>,
    /// Only the first run of each chat that a caller began.
    pub begins_chat: bool,
    /// Those whose agent's name has this in it, in upper or lower case.
    pub agent_name: Option<String>,
    /// Those in which one of these tools was called; with none, any.
    pub tools: Vec<String>,
    /// Those with one of these scores; with none, any.
    pub scores: Vec<Scores>,
}

/// Which scores a run may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scores {
    /// None: it was not graded, or could not be.
    None,
    /// From the one to the other, both among them.
    Range(f64, f64),
}

/// What runs are sorted by; those that have it in common, by their ids, which are in the order of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortBy {
    /// When they were accepted.
    #[default]
    CreatedAt,
    /// When their rows were written last.
    UpdatedAt,
    /// Their agents' names at their start, by code points.
    AgentName,
    /// The models that they call first, by code points.
    Model,
    /// Their scores; those without one come last, whichever way.
    Score,
}

/// Which way runs are sorted. Those with the same value are too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// The least first.
    Ascending,
    /// The greatest first.
    #[default]
    Descending,
}

/// The order of runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Order {
    /// What they are sorted by.
    pub by: SortBy,
    /// Which way.
    pub direction: Direction,
}

/// Which part of what was found is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// How many are passed over.
    pub skip: usize,
    /// At most so many after those.
    pub take: usize,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Matches {
    /// The runs of the part asked for, in order.
    pub runs: Vec<Run>,
    /// How many there are in all.
    pub total: usize,
}

/// What a run is found and sorted by, besides its place: read from its row without the rest.
#[derive(Debug, Deserialize)]
pub(crate) struct Summary {
    id: RunId,
    agent_name: String,
    model: ModelName,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(default)]
    called: Called,
    #[serde(default)]
    evaluation: Option<Graded>,
}

#[derive(Debug, Deserialize)]
struct Graded {
    score: Option<f64>,
}

/// The runs that are looked for, and how many there are.
///
/// # Errors
/// [`Error::Invalid`] naming `date_from` when there are more than [`PLACES_LIMIT`] runs of that time, or rows of more than
/// [`ROWS_LIMIT`] would have to be read.
pub async fn search(app: &App, caller: &Caller, search: &Search, order: Order, slice: Slice) -> Result<Matches> {
    caller.require(Scope::RunsRead)?;
    let (found, total) = found(app, caller.tenant(), search, order, slice).await?;
    Ok(Matches { runs: found.into_iter().map(|found| found.value).collect(), total })
}

pub(super) async fn found(
    app: &App,
    tenant: Tenant,
    search: &Search,
    order: Order,
    slice: Slice,
) -> Result<(Vec<Versioned<Run>>, usize)> {
    let rows = search.wants_rows() || order.by.wants_rows();
    let span = search.span();
    let (mut top, mut accepted) = (Top::new(order, slice), Accepted::new(tenant, span));
    let (mut to_read, mut places_seen, mut before) = (Vec::new(), 0_usize, None);
    loop {
        let (mut places, next) = app.store().run_places(tenant, span, before).await?;
        places_seen = places_seen.saturating_add(places.len());
        if places_seen > PLACES_LIMIT {
            return Err(too_many(format!("there are more than {PLACES_LIMIT} runs of that time")));
        }
        places.retain(|place| search.fits_place(place));
        accepted.retain(app, &mut places).await?;
        if rows {
            to_read.extend(places.iter().map(|place| place.id));
            if to_read.len() > ROWS_LIMIT {
                return Err(too_many(format!("more than {ROWS_LIMIT} runs would have to be read for this")));
            }
        } else {
            places.iter().for_each(|place| top.add(Some(Rank::Time(place.created_at)), place.id));
        }
        match next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    let mut names = Names::default();
    for ids in to_read.chunks(ROWS_AT_A_TIME) {
        let summaries = app.store().summaries(tenant, ids).await?;
        let fits = summaries.into_iter().filter(|summary| search.fits_row(summary));
        fits.for_each(|summary| top.add(summary.rank(order.by, &mut names), summary.id));
    }
    let (ids, total) = top.into_slice();
    Ok((app.store().runs(tenant, &ids).await?.into_iter().flatten().collect(), total))
}

fn too_many(what: String) -> Error {
    Error::invalid("date_from", format!("{what}; ask for a shorter time"))
}

impl Search {
    /// The time of ids that such runs may have. A sub-agent's run has the time of the run above all of its relatives in its id, which
    /// may be as much earlier as that may take.
    fn span(&self) -> Span {
        let earlier = DEADLINE_MS.saturating_add(CLOCKS_DIFFER_MS);
        Span { from: self.from.map(|from| from.plus_ms(-earlier)), to: self.to.map(|to| to.plus_ms(CLOCKS_DIFFER_MS)) }
    }

    fn fits_place(&self, place: &Place) -> bool {
        (self.agents.is_empty() || self.agents.contains(&place.agent_id))
            && (self.sources.is_empty() || self.sources.contains(&place.source))
            && self.from.is_none_or(|from| place.created_at >= from)
            && self.to.is_none_or(|to| place.created_at <= to)
            && (!self.begins_chat || place.begins_chat)
    }

    /// Whether places do not say enough.
    fn wants_rows(&self) -> bool {
        self.agent_name.is_some() || !self.tools.is_empty() || !self.scores.is_empty()
    }

    fn fits_row(&self, row: &Summary) -> bool {
        self.agent_name.as_ref().is_none_or(|part| row.agent_name.to_lowercase().contains(&part.to_lowercase()))
            && (self.tools.is_empty() || self.tools.iter().any(|tool| row.called.names.contains(tool)))
            && (self.scores.is_empty() || self.scores.iter().any(|scores| scores.hold(row.score())))
    }
}

impl Scores {
    fn hold(self, score: Option<f64>) -> bool {
        match self {
            Self::None => score.is_none(),
            Self::Range(from, to) => score.is_some_and(|score| (from..=to).contains(&score)),
        }
    }
}

impl SortBy {
    const fn wants_rows(self) -> bool {
        !matches!(self, Self::CreatedAt)
    }
}

impl Summary {
    fn score(&self) -> Option<f64> {
        self.evaluation.as_ref().and_then(|graded| graded.score)
    }

    fn rank(&self, by: SortBy, names: &mut Names) -> Option<Rank> {
        match by {
            SortBy::CreatedAt => Some(Rank::Time(self.created_at)),
            SortBy::UpdatedAt => Some(Rank::Time(self.updated_at)),
            SortBy::AgentName => Some(Rank::Name(names.of(&self.agent_name))),
            SortBy::Model => Some(Rank::Name(names.of(&self.model.0))),
            SortBy::Score => self.score().map(Rank::Score),
        }
    }
}

/// Names, each kept once.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn of(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(name);
        self.0.insert(Arc::clone(&new));
        new
    }
}
