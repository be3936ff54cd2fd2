//! Looking at evaluations and at what came of their cases.

use std::{collections::BTreeMap, ops::Range};

use super::{Cell, Configuration, Evaluation, Judged, Source, Standing, settle, verdicts};
use crate::{
    agent::{self, Metadata},
    app::App,
    error::{Error, Result},
    id::{EvaluationId, RunId},
    message::Record,
    page::{Page, PageRequest},
    store::evaluations::Place,
    tenant::{Caller, Scope},
};

/// The evaluation as it stands, after it has gone on for a while if it could.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(app: &App, caller: &Caller, id: EvaluationId) -> Result<Standing> {
    caller.require(Scope::RunsRead)?;
    settle::advance(app, caller.tenant(), id).await
}

/// The evaluation that the caller has started with the request that is being answered: that needs no right to look at others.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn own(app: &App, caller: &Caller, id: EvaluationId) -> Result<Standing> {
    caller.require(Scope::RunsWrite)?;
    settle::advance(app, caller.tenant(), id).await
}

/// Asks every run of the evaluation that has not ended to end. It ends with what there is then: who has no answer has missed.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn cancel(app: &App, caller: &Caller, id: EvaluationId) -> Result<Standing> {
    caller.require(Scope::RunsWrite)?;
    settle::cancel(app, caller.tenant(), id).await
}

/// The organisation's evaluations that have all of these pairs, newest first.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, page: &PageRequest, metadata: &Metadata) -> Result<Page<Standing>> {
    caller.require(Scope::RunsRead)?;
    let of = format!("evaluations?{metadata:?}");
    let mut before = page.position(&of)?;
    let mut entries = Vec::new();
    loop {
        let (found, next) = app.store().listed_evaluations(caller.tenant(), before.take(), page.limit).await?;
        let mut found = found.into_iter();
        let fits = |one: &Evaluation| metadata.iter().all(|(key, value)| one.metadata.get(key) == Some(value));
        for evaluation in found.by_ref().filter(fits) {
            let position = evaluation.id.to_string();
            entries.push(settle::standing(app, evaluation).await?);
            if entries.len() == page.limit {
                let more = next.is_some() || found.len() > 0;
                return Ok(Page::new(entries, more.then_some(position.as_str()), &of));
            }
        }
        match next {
            Some(next) => before = Some(next),
            None => return Ok(Page::new(entries, None, &of)),
        }
    }
}

/// The system prompt that the configuration was given; `None` when its agent has its own.
///
/// # Errors
/// Faults of the store.
pub async fn own_prompt(app: &App, caller: &Caller, configuration: &Configuration) -> Result<Option<String>> {
    caller.require(Scope::RunsRead)?;
    if configuration.source == Source::Listed {
        return Ok(None);
    }
    let agent = agent::version(app, caller.tenant(), configuration.agent_id, configuration.agent_version).await?;
    Ok(Some(agent.definition.system_prompt.clone()))
}

/// The cells of the evaluation's matrix from position `from` on, at most `limit`, as they are at this moment: case by case, and of a case one
/// for each configuration.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] when the test set was deleted before the verdicts were written.
pub async fn cells(app: &App, caller: &Caller, id: EvaluationId, from: usize, limit: usize) -> Result<Vec<Cell>> {
    let mut cells = bare_cells(app, caller, id, from, limit).await?;
    tell(app, caller, &mut cells).await?;
    Ok(cells)
}

/// As [`cells`], without what the agents said.
///
/// # Errors
/// As of [`cells`].
pub async fn bare_cells(app: &App, caller: &Caller, id: EvaluationId, from: usize, limit: usize) -> Result<Vec<Cell>> {
    let evaluation = readable(app, caller, id).await?;
    let number = evaluation.configurations.len().max(1);
    let end = from.saturating_add(limit).min(evaluation.cells());
    let first = from.checked_div(number).unwrap_or(0);
    let found =
        read(app, &evaluation, &Block { cases: first..end.div_ceil(number), configurations: 0..number }).await?;
    let skipped = from.saturating_sub(first.saturating_mul(number));
    Ok(found.into_iter().skip(skipped).take(end.saturating_sub(from)).collect())
}

/// The cells of one configuration from case `from` on, at most `limit`, without what the agent said.
///
/// # Errors
/// As of [`cells`].
pub async fn column(
    app: &App,
    caller: &Caller,
    id: EvaluationId,
    configuration: usize,
    from: usize,
    limit: usize,
) -> Result<Vec<Cell>> {
    let evaluation = readable(app, caller, id).await?;
    let configurations = configuration..configuration.saturating_add(1).min(evaluation.configurations.len());
    let cases = from..from.saturating_add(limit).min(evaluation.cases);
    read(app, &evaluation, &Block { cases, configurations }).await
}

/// Adds to these cells what their agents said.
///
/// # Errors
/// Faults of the store.
pub async fn tell(app: &App, caller: &Caller, cells: impl IntoIterator<Item = &mut Cell>) -> Result<()> {
    caller.require(Scope::RunsRead)?;
    let mut cells: Vec<&mut Cell> = cells.into_iter().filter(|cell| cell.answer.is_some()).collect();
    let wanted: Vec<(RunId, u32)> = cells.iter().filter_map(|cell| Some((cell.run_id, cell.answer?))).collect();
    let slots = app.store().slots(caller.tenant(), &wanted).await?;
    for (cell, slot) in cells.iter_mut().zip(slots) {
        if let Some(Record::Answer { text, .. }) = slot.map(|slot| slot.record) {
            cell.output = Some(text);
        }
    }
    Ok(())
}

/// The evaluation, if verdicts can be had of it.
async fn readable(app: &App, caller: &Caller, id: EvaluationId) -> Result<Evaluation> {
    caller.require(Scope::RunsRead)?;
    let evaluation = settle::found(app, caller.tenant(), id).await?.value;
    match &evaluation.settled {
        Some(settled) if settled.test_set_deleted => Err(unknowable()),
        Some(_) | None => Ok(evaluation),
    }
}

fn unknowable() -> Error {
    Error::Conflict("the test set was deleted before the evaluation had ended, so there are no verdicts".to_owned())
}

/// A part of a matrix.
struct Block {
    cases: Range<usize>,
    configurations: Range<usize>,
}

/// What is known of cells, by configuration and case.
type Known = BTreeMap<(usize, usize), Judged>;

/// The cells of that part, case by case.
async fn read(app: &App, evaluation: &Evaluation, block: &Block) -> Result<Vec<Cell>> {
    if block.cases.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = written(app, evaluation, block).await?;
    find(app, evaluation, block, &mut known).await?;
    let mut cells = Vec::with_capacity(known.len());
    for case in block.cases.clone() {
        for configuration in block.configurations.clone() {
            let judged = known.remove(&(configuration, case));
            let run_id = evaluation.run_ids(configuration, case, 1).pop();
            let (Some(judged), Some(run_id)) = (judged, run_id) else {
                return Err(Error::Internal("a cell of an evaluation is missing".into()));
            };
            cells.push(judged.cell(case, configuration, run_id));
        }
    }
    Ok(cells)
}

/// The cells of that part whose verdicts are written.
async fn written(app: &App, evaluation: &Evaluation, block: &Block) -> Result<Known> {
    let of = |case: usize| case.checked_div(verdicts::TOGETHER);
    let rows = of(block.cases.start)..=of(block.cases.end.saturating_sub(1));
    let within = |place: &Place| rows.contains(&of(place.first)) && block.configurations.contains(&place.configuration);
    let places: Vec<Place> = evaluation.places().into_iter().filter(within).collect();
    let rows = app.store().verdicts(evaluation.tenant(), evaluation.id, &places).await?;
    let mut known = Known::new();
    for (place, row) in places.into_iter().zip(rows) {
        for (case, judged) in (place.first..).zip(row.unwrap_or_default()) {
            known.insert((place.configuration, case), judged);
        }
    }
    Ok(known)
}

/// Finds the cells of that part that are not written yet, as far as they are known.
async fn find(app: &App, evaluation: &Evaluation, block: &Block, known: &mut Known) -> Result<()> {
    let missing = |configuration: &usize| block.cases.clone().any(|case| !known.contains_key(&(*configuration, case)));
    let open: Vec<usize> = block.configurations.clone().filter(missing).collect();
    if open.is_empty() {
        return Ok(());
    }
    let first = block.cases.start;
    let cases = match verdicts::cases(app, evaluation, first, block.cases.len()).await {
        Err(Error::NotFound(_)) => return Err(unknowable()),
        other => other?,
    };
    for configuration in open {
        let found = verdicts::now(app, evaluation, configuration, first, &cases).await?;
        for (case, judged) in (first..).zip(found) {
            known.entry((configuration, case)).or_insert(judged);
        }
    }
    Ok(())
}
