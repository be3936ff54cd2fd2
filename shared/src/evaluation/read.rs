//! Looking at evaluations and at what came of their cases.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cell, Evaluation, Judged, Standing, settle, verdicts};
use crate::{
    agent::Metadata,
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

/// The cells of the evaluation's matrix from position `from` on, at most `limit`, as they are at this moment: case by case, and of a case one
/// for each configuration.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] when the test set was deleted before the verdicts were written.
pub async fn cells(app: &App, caller: &Caller, id: EvaluationId, from: usize, limit: usize) -> Result<Vec<Cell>> {
    caller.require(Scope::RunsRead)?;
    let evaluation = settle::found(app, caller.tenant(), id).await?.value;
    if evaluation.settled.as_ref().is_some_and(|settled| settled.test_set_deleted) {
        return Err(unknowable());
    }
    let number = evaluation.configurations.len();
    let end = from.saturating_add(limit).min(evaluation.cells());
    let (Some(first), Some(last)) = (from.checked_div(number), end.saturating_sub(1).checked_div(number)) else {
        return Ok(Vec::new());
    };
    if from >= end {
        return Ok(Vec::new());
    }
    let mut known = written(app, &evaluation, first, last).await?;
    find(app, &evaluation, (first, last), &mut known).await?;
    let mut cells = Vec::with_capacity(end.saturating_sub(from));
    for position in from..end {
        let (case, configuration) =
            (position.checked_div(number).unwrap_or(0), position.checked_rem(number).unwrap_or(0));
        let judged = known.remove(&(configuration, case));
        let run_id = evaluation.run_ids(configuration, case, 1).pop();
        let (Some(judged), Some(run_id)) = (judged, run_id) else {
            return Err(Error::Internal("a cell of an evaluation is missing".into()));
        };
        cells.push((case, configuration, run_id, judged));
    }
    with_answers(app, caller, cells).await
}

fn unknowable() -> Error {
    Error::Conflict("the test set was deleted before the evaluation had ended, so there are no verdicts".to_owned())
}

/// What is known of cells, by configuration and case.
type Known = BTreeMap<(usize, usize), Judged>;

/// The cells of these cases, the last one too, whose verdicts are written.
async fn written(app: &App, evaluation: &Evaluation, first: usize, last: usize) -> Result<Known> {
    let of = |case: usize| case.checked_div(verdicts::TOGETHER);
    let within = |place: &Place| (of(first)..=of(last)).contains(&of(place.first));
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

/// Finds the cells of these cases that are not written yet, as far as they are known.
async fn find(app: &App, evaluation: &Evaluation, (first, last): (usize, usize), known: &mut Known) -> Result<()> {
    let missing = |configuration: &usize| (first..=last).any(|case| !known.contains_key(&(*configuration, case)));
    let open: BTreeSet<usize> = (0..evaluation.configurations.len()).filter(missing).collect();
    if open.is_empty() {
        return Ok(());
    }
    let most = last.saturating_sub(first).saturating_add(1);
    let cases = match verdicts::cases(app, evaluation, first, most).await {
        Err(Error::NotFound(_)) => return Err(unknowable()),
        other => other?,
    };
    for configuration in open {
        let found = verdicts::of(app, evaluation, configuration, first, &cases).await?;
        for (case, judged) in (first..).zip(found) {
            known.entry((configuration, case)).or_insert(judged);
        }
    }
    Ok(())
}

/// The cells with what their agents said.
async fn with_answers(app: &App, caller: &Caller, cells: Vec<(usize, usize, RunId, Judged)>) -> Result<Vec<Cell>> {
    let wanted: Vec<(RunId, u32)> =
        cells.iter().filter_map(|(_, _, run, judged)| Some((*run, judged.answer?))).collect();
    let slots = app.store().slots(caller.tenant(), &wanted).await?;
    let mut said: BTreeMap<RunId, String> = BTreeMap::new();
    for ((run, _), slot) in wanted.into_iter().zip(slots) {
        if let Some(Record::Answer { text, .. }) = slot.map(|slot| slot.record) {
            said.insert(run, text);
        }
    }
    let cell = |(case, configuration, run_id, judged): (usize, usize, RunId, Judged)| {
        let Judged { custom_id, status, verdict, error, usage, judge, run_ms, answer: _ } = judged;
        let output = said.remove(&run_id);
        Cell { case, custom_id, configuration, run_id, status, verdict, error, usage, judge, run_ms, output }
    };
    Ok(cells.into_iter().map(cell).collect())
}
