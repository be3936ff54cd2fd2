//! Finding verdicts: from the runs of some cases with a configuration, what their agents said, and what the cases ask of that.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Asked, Evaluation, Judged, Outcome, Said, Verdict, verdict};
use crate::{
    app::App,
    error::{Error, Result},
    id::RunId,
    message::Record,
    run::{self, Reason, Run, Status},
    store::evaluations::Place,
    test_set::{self, Case, Kind},
};

/// Of how many cases of a configuration the verdicts are in one row.
pub(super) const TOGETHER: usize = 100;
/// How many journals are read at a time.
const JOURNALS_AT_A_TIME: usize = 8;
/// How many bytes are kept of a reason: with 20 validations a case, a row is well within what a store takes.
const WHY_BYTES: usize = 400;

/// The cases from number `first` on, at most `most` of those that the evaluation has.
///
/// # Errors
/// [`Error::NotFound`] when the test set was deleted.
pub(super) async fn cases(app: &App, evaluation: &Evaluation, first: usize, most: usize) -> Result<Vec<Case>> {
    let most = most.min(evaluation.cases.saturating_sub(first));
    let cases = test_set::some_cases(app, evaluation.tenant(), evaluation.test_set_id, first, most).await?;
    if cases.len() == most { Ok(cases) } else { Err(Error::Internal("a case of an evaluation is missing".into())) }
}

/// What came of these cases, the first of which has that number, with that configuration: as far as it is known now.
pub(super) async fn of(
    app: &App,
    evaluation: &Evaluation,
    configuration: usize,
    first: usize,
    cases: &[Case],
) -> Result<Vec<Judged>> {
    let tenant = evaluation.tenant();
    let ids = evaluation.run_ids(configuration, first, cases.len());
    let runs = app.store().runs(tenant, &ids).await?.into_iter().flatten().map(|found| found.value);
    let runs: Vec<Run> = runs.collect();
    if runs.len() != cases.len() {
        return Err(Error::Internal("a run of an evaluation is missing".into()));
    }
    let answers = run::outputs_of(app, tenant, &runs).await?;
    let mut asked = asked_for(app, &runs, cases).await?;
    let mut found = Vec::with_capacity(cases.len());
    for ((run, case), answer) in runs.iter().zip(cases).zip(answers) {
        let asked = asked.remove(&run.id).unwrap_or_default();
        found.push(judged(app, run, case, &Said { status: run.status, answer, asked }));
        // Others go on meanwhile: a case can have many large patterns.
        tokio::task::yield_now().await;
    }
    Ok(found)
}

/// The calls that models asked for in those of the runs whose cases ask about calls: others' journals are not read.
async fn asked_for(app: &App, runs: &[Run], cases: &[Case]) -> Result<BTreeMap<RunId, Vec<Asked>>> {
    let about_calls = |case: &Case| case.validations.iter().any(|one| matches!(one.kind, Kind::ToolCall { .. }));
    let wanted = runs.iter().zip(cases).filter(|(run, case)| run.status == Status::Done && about_calls(case));
    let wanted: Vec<Run> = wanted.map(|(run, _)| run.clone()).collect();
    let read = |run: Run| async move {
        let journal = app.store().journal(run.tenant(), &run).await?;
        let calls = journal.into_iter().flat_map(|(_, slot)| match slot.record {
            Record::Answer { tool_calls, .. } => tool_calls,
            Record::Input { .. } | Record::Repair { .. } | Record::Result { .. } => Vec::new(),
        });
        let asked = calls.map(|call| Asked { tool: call.name, arguments: call.arguments }).collect();
        Ok::<_, Error>((run.id, asked))
    };
    stream::iter(wanted).map(read).buffer_unordered(JOURNALS_AT_A_TIME).try_collect().await
}

fn judged(app: &App, run: &Run, case: &Case, said: &Said) -> Judged {
    let mut verdict = verdict(&case.validations, said);
    if let Verdict::Wrong(findings) = &mut verdict {
        findings.iter_mut().filter_map(|finding| finding.why_not.as_mut()).for_each(shorten);
    }
    Judged {
        custom_id: case.custom_id.clone(),
        status: run.status,
        error: (verdict == Verdict::NoAnswer).then(|| why_none(run)),
        verdict,
        usage: run.usage,
        judge: run::Usage::default(),
        run_ms: run.run_ms(app.now()),
        answer: said.answer.is_some().then(|| run.step.saturating_sub(1)),
    }
}

/// Why a run has no answer.
fn why_none(run: &Run) -> String {
    let mut why = run.reason.map_or_else(|| run.status.name().to_owned(), |reason| Reason::name(reason).to_owned());
    if let Some(error) = &run.error {
        why.push_str(": ");
        why.push_str(error);
    }
    shorten(&mut why);
    why
}

fn shorten(why: &mut String) {
    if why.len() > WHY_BYTES {
        why.truncate(why.floor_char_boundary(WHY_BYTES));
        why.push('…');
    }
}

/// What counts of the cells of a configuration whose verdicts are written, in the cases' order.
pub(super) async fn outcomes(app: &App, evaluation: &Evaluation, configuration: usize) -> Result<Vec<Outcome>> {
    let places: Vec<Place> =
        evaluation.places().into_iter().filter(|place| place.configuration == configuration).collect();
    let rows = app.store().verdicts(evaluation.tenant(), evaluation.id, &places).await?;
    let cells: Vec<Judged> = rows.into_iter().flatten().flatten().collect();
    if cells.len() != evaluation.cases {
        return Err(Error::Internal("a verdict of an evaluation is missing".into()));
    }
    Ok(cells.iter().map(Judged::outcome).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut why = "é".repeat(300);
        shorten(&mut why);
        assert_eq!(why, format!("{}…", "é".repeat(200)));
        let mut short = "no".to_owned();
        shorten(&mut short);
        assert_eq!(short, "no");
    }
}
