//! The judges' phase. When the runs of a configuration have ended, the judge is asked about each answer what each of its case's judged
//! validations asks, in a batch of its own. Whoever finds that due takes the evaluation for a while and writes the judge's runs; one
//! transaction accepts them and names their batch in the evaluation's row. A cancel is a write of the same row, so none begin after it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Configuration, Evaluation, Judge, Judges, Opinion,
    hold::{self, Hold},
    judge, verdicts,
};
use crate::{
    agent::{self, Metadata, Mode},
    app::App,
    batch::{self, Batch, Progress, Shared},
    engine,
    error::{Error, Result},
    id::{BatchId, RunId},
    message::{Record, Slot},
    model::ModelName,
    provider,
    run::{self, DEADLINE_MS, InBatch, Pinned, Run, Status, Usage},
    store::{Versioned, evaluations::Place},
    tenant::Tenant,
    test_set::{Case, Kind},
};

/// The most judged validations that the cases of an evaluation may have together: each is an item of a batch.
const JUDGED_LIMIT: usize = batch::ITEMS_LIMIT;
/// What the test set is called in requests.
const SET: &str = "test_set_id";

/// What a judge is asked: about the answer to a case, what a validation of it asks.
struct Question<'a> {
    /// The case's number among those that are looked at.
    case: usize,
    /// The validation's number.
    validation: usize,
    answer: &'a str,
    criteria: &'a str,
    model: Option<&'a str>,
}

/// What the judge is asked about these answers, in order: the same whoever asks, for answers do not change.
fn questions<'a>(cases: &'a [Case], answers: &'a [Option<String>]) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    for (case, (of, answer)) in cases.iter().zip(answers).enumerate() {
        let Some(answer) = answer else { continue };
        for (validation, one) in of.validations.iter().enumerate() {
            if let Kind::LlmV0 { llm_criteria: criteria, model_reference } = &one.kind {
                questions.push(Question { case, validation, answer, criteria, model: model_reference.as_deref() });
            }
        }
    }
    questions
}

/// How many validations of the case a judge decides.
fn judged(case: &Case) -> usize {
    case.validations.iter().filter(|validation| matches!(validation.kind, Kind::LlmV0 { .. })).count()
}

/// Whether a judge decides a validation of one of these cases.
///
/// # Errors
/// [`Error::Invalid`] when there are too many, or none judges where none is named; [`Error::UnknownModel`] when one that is named is gone.
pub(super) async fn check(app: &App, tenant: Tenant, cases: &[Case], configurations: &[Pinned]) -> Result<bool> {
    let number = cases.iter().map(judged).fold(0, usize::saturating_add);
    if number > JUDGED_LIMIT {
        let message = format!("has {number} validations that a judge decides, and may have at most {JUDGED_LIMIT}");
        return Err(Error::invalid(SET, message));
    }
    let kinds = || cases.iter().flat_map(|case| &case.validations).map(|validation| &validation.kind);
    if kinds().any(|kind| matches!(kind, Kind::SemanticSimilarity { .. })) {
        return Err(Error::invalid(SET, "has validations of the kind semantic_similarity, which cannot be tried yet"));
    }
    let models: BTreeSet<&str> = kinds().filter_map(Kind::names_model).map(|(_, model)| model).collect();
    for model in models {
        provider::resolve(app, tenant, SET, model).await?;
    }
    let unsaid = kinds().any(|kind| matches!(kind, Kind::LlmV0 { model_reference: None, .. }));
    let without = configurations.iter().position(|pinned| app.judge_model(&pinned.model).is_none());
    if let Some(index) = without.filter(|_| unsaid) {
        let message = "no model may judge its answers where a validation names none: MUSTER_JUDGE_MODEL is not set";
        return Err(Error::invalid(format!("configurations[{index}]"), message));
    }
    Ok(number > 0)
}

/// Begins with the judges of the configurations whose runs have ended, unless somebody else does. Answers the evaluation as it is then.
pub(super) async fn begin(app: &App, evaluation: Evaluation, progress: &[Progress]) -> Result<Evaluation> {
    let ended = evaluation.configurations.iter().zip(progress).enumerate();
    let due: Vec<usize> = ended
        .filter(|(_, (configuration, runs))| configuration.judges.is_none() && runs.ended_at.is_some())
        .map(|(number, _)| number)
        .collect();
    if !evaluation.judged() || evaluation.cancel_requested || due.is_empty() {
        return Ok(evaluation);
    }
    let Some(hold) = hold::take(app, evaluation.tenant(), evaluation.id).await? else { return Ok(evaluation) };
    let begun = begin_held(app, &hold, evaluation, due).await;
    hold.give_back(app).await;
    begun
}

async fn begin_held(app: &App, hold: &Hold, mut evaluation: Evaluation, due: Vec<usize>) -> Result<Evaluation> {
    for number in due {
        if !hold.renew(app).await? {
            break;
        }
        match begin_one(app, hold, &evaluation, number).await? {
            Some(begun) => evaluation = begun,
            None => break,
        }
    }
    Ok(evaluation)
}

/// Begins with the judges of that configuration; nothing when somebody has done so, or wants the evaluation to end.
async fn begin_one(app: &App, hold: &Hold, evaluation: &Evaluation, number: usize) -> Result<Option<Evaluation>> {
    let (tenant, now) = (evaluation.tenant(), app.now());
    let missing = || Error::Internal("a configuration of an evaluation is missing".into());
    let configuration = evaluation.configurations.get(number).ok_or_else(missing)?;
    let runs = app.store().batch(tenant, configuration.batch_id).await?.ok_or_else(missing)?.value;
    let first = app.store().run(tenant, RunId::of_batch(runs.id, 0)).await?.ok_or_else(missing)?.value;
    let Judge { agent_id, model } = configuration.judge.clone().ok_or_else(missing)?;
    let agent = agent::version(app, tenant, agent_id, agent::UNNAMED_VERSION).await?;
    let pinned = Pinned {
        tenant,
        key_id: evaluation.key_id,
        key_budget: first.key_budget,
        model,
        mode: Mode::Auto,
        max_steps: judge::CALLS,
        // What an evaluation's runs may cost is said for what the agents do.
        budget_micro_usd: None,
        deadline_at: now.plus_ms(DEADLINE_MS),
        metadata: Metadata::new(),
        origin: evaluation.origin,
        agent,
    };
    let shared = Shared { max_concurrency: runs.max_concurrency, ..Shared::default() };
    let batch = batch::first_row(app, &pinned, BatchId::new(now), 0, shared);
    let (before, items) = stage(app, evaluation, number, &batch, &pinned).await?;
    let batch = Batch { evaluation: Some(evaluation.id), items, ..batch };
    engine::fault::point("E5");
    let judges = Judges { batch_id: (items > 0).then_some(batch.id), before };
    let accepted = |evaluation: Evaluation| {
        let mut evaluation = evaluation;
        let wanted = !evaluation.cancel_requested && evaluation.settled.is_none();
        let open = evaluation.configurations.get_mut(number).filter(|open| wanted && open.judges.is_none())?;
        open.judges = Some(judges.clone());
        Some(evaluation)
    };
    let row = (items > 0).then(|| app.store().batch_write(&batch, None)).transpose()?;
    let accepted = hold.change(app, row.into_iter().collect(), accepted).await?;
    engine::fault::point("E6");
    if accepted.is_some() {
        batch::ask_for_first(app, &batch).await;
    } else {
        batch::take_away(app, &batch).await;
    }
    Ok(accepted)
}

/// Writes the judge's runs. Answers how many there are before those of each row of verdicts, and how many in all; none are needed when the
/// test set is gone, for then nothing can be said of the answers.
async fn stage(
    app: &App,
    evaluation: &Evaluation,
    number: usize,
    batch: &Batch,
    pinned: &Pinned,
) -> Result<(Vec<u16>, u16)> {
    let (mut before, mut items) = (Vec::new(), 0_u16);
    for first in (0..evaluation.cases).step_by(verdicts::TOGETHER) {
        before.push(items);
        let cases = match verdicts::cases(app, evaluation, first, verdicts::TOGETHER).await {
            Err(Error::NotFound(_)) => return Ok((Vec::new(), 0)),
            other => other?,
        };
        if !cases.iter().any(|case| judged(case) > 0) {
            continue;
        }
        let runs = verdicts::runs(app, evaluation, number, first, cases.len()).await?;
        let answers = run::outputs_of(app, evaluation.tenant(), &runs).await?;
        let mut staged = Vec::new();
        for question in questions(&cases, &answers) {
            let case = cases.get(question.case).ok_or_else(too_many)?;
            staged.push(staged_run(app, batch, pinned, items, case, &question)?);
            items = items.checked_add(1).ok_or_else(too_many)?;
        }
        app.store().stage_runs(evaluation.tenant(), &staged).await?;
    }
    Ok((before, items))
}

fn too_many() -> Error {
    Error::Internal("an evaluation has more to judge than it may".into())
}

fn staged_run(
    app: &App,
    batch: &Batch,
    pinned: &Pinned,
    index: u16,
    case: &Case,
    question: &Question<'_>,
) -> Result<(Run, Slot)> {
    let text =
        judge::told(&case.prompt, question.answer, question.criteria).map_err(|error| Error::Internal(error.into()))?;
    let custom_id = case.custom_id.clone();
    let in_batch =
        InBatch { id: batch.id, index, custom_id, budget_micro_usd: None, max_concurrency: batch.max_concurrency };
    let run = run::first_row(app, pinned, RunId::of_batch(batch.id, index), &text, Some(in_batch));
    let model = question.model.map_or_else(|| run.model.clone(), |model| ModelName(model.to_owned()));
    let run = Run { judges: true, model, ..run };
    Ok((run, Record::Input { text, inputs: None, attachments: Vec::new() }.at(batch.created_at)))
}

/// Looks at the judges of a configuration whose runs are so far, and goes on with a cancel that was begun. Answers how far they are; `None`
/// when there are none, and nothing is waited for.
pub(super) async fn look(
    app: &App,
    evaluation: &Evaluation,
    configuration: &Configuration,
    runs: &Progress,
) -> Result<Option<Progress>> {
    let Some(id) = batch_of(configuration) else { return Ok(without(evaluation, configuration, runs)) };
    let (_, progress) = if evaluation.cancel_requested {
        batch::request_cancel(app, evaluation.tenant(), id).await?
    } else {
        batch::settle(app, evaluation.tenant(), id).await?
    };
    Ok(Some(progress))
}

/// The same without going on with anything.
pub(super) async fn stands(
    app: &App,
    evaluation: &Evaluation,
    configuration: &Configuration,
    runs: &Progress,
) -> Result<Option<Progress>> {
    match batch_of(configuration) {
        Some(id) => Ok(Some(batch::stands(app, evaluation.tenant(), id).await?)),
        None => Ok(without(evaluation, configuration, runs)),
    }
}

fn batch_of(configuration: &Configuration) -> Option<BatchId> {
    configuration.judges.as_ref().and_then(|judges| judges.batch_id)
}

/// How far judges without a batch are: they have not begun, or never will.
fn without(evaluation: &Evaluation, configuration: &Configuration, runs: &Progress) -> Option<Progress> {
    let never = configuration.judges.is_some() || evaluation.cancel_requested;
    let ended_at = runs.ended_at.filter(|_| never);
    evaluation.judged().then(|| Progress { ended_at, ..Progress::default() })
}

/// What models have said of the answer to a case, by the validation's number, and what the judge used for that.
#[derive(Debug, Clone, Default)]
pub(super) struct Opined {
    pub(super) opinions: BTreeMap<usize, Opinion>,
    pub(super) judge: Usage,
}

/// What the judges, who have ended, said of the answers to the cases of a row of verdicts.
pub(super) async fn opinions(
    app: &App,
    evaluation: &Evaluation,
    place: Place,
    (cases, answers): (&[Case], &[Option<String>]),
) -> Result<Vec<Opined>> {
    let mut found = vec![Opined::default(); cases.len()];
    let questions = questions(cases, answers);
    if questions.is_empty() {
        return Ok(found);
    }
    let mut opine = |question: &Question<'_>, opinion: Opinion, used: Usage| {
        if let Some(of) = found.get_mut(question.case) {
            of.opinions.insert(question.validation, opinion);
            of.judge.add(&used);
        }
    };
    let Some((id, before)) = batch_at(evaluation, place) else {
        for question in &questions {
            let why = "the evaluation was cancelled before the judge was asked";
            opine(question, Opinion::Failed(why.to_owned()), Usage::default());
        }
        return Ok(found);
    };
    let ids: Vec<RunId> = (before..).map(|index| RunId::of_batch(id, index)).take(questions.len()).collect();
    let runs = app.store().runs(evaluation.tenant(), &ids).await?.into_iter().collect::<Option<Vec<Versioned<Run>>>>();
    let runs = runs.ok_or_else(|| Error::Internal("a run of a judge is missing".into()))?;
    let runs: Vec<Run> = runs.into_iter().map(|found| found.value).collect();
    let said = run::outputs_of(app, evaluation.tenant(), &runs).await?;
    for (question, (run, said)) in questions.iter().zip(runs.iter().zip(said)) {
        let opinion = match said.filter(|_| run.status == Status::Done) {
            Some(said) => judge::opinion(&said).unwrap_or_else(Opinion::Failed),
            None => Opinion::Failed(verdicts::why_none(run)),
        };
        opine(question, opinion, run.usage);
    }
    Ok(found)
}

/// The batch of the judges, and how many of its runs come before those of that row of verdicts.
fn batch_at(evaluation: &Evaluation, place: Place) -> Option<(BatchId, u16)> {
    let judges = evaluation.configurations.get(place.configuration)?.judges.as_ref()?;
    let row = place.first.checked_div(verdicts::TOGETHER)?;
    Some((judges.batch_id?, *judges.before.get(row)?))
}
