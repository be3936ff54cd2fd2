//! The judges' phase. When the runs of a configuration have ended, models are asked about each answer what each of its case's judged
//! validations asks: a judge for a score, or one that makes embeddings how alike it is to a sentence. That is a batch of its own. Whoever finds
//! it due takes the evaluation for a while and writes the batch's runs; one transaction accepts them and names their batch in the evaluation's
//! row. A cancel is a write of the same row, so none begin after it.

use std::collections::BTreeMap;

use super::{
    Configuration, Evaluation, Judge, Judges, Opinion,
    hold::{self, Hold},
    judge,
    questions::{About, Question, judged, questions},
    similarity, verdicts,
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
    run::{self, DEADLINE_MS, InBatch, Pinned, Run, Status, Usage},
    store::{Versioned, evaluations::Place},
    test_set::Case,
};

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
    let panel = Panel {
        judge: pin(app, evaluation, &first, configuration.judge.as_ref()).await?,
        comparer: pin(app, evaluation, &first, configuration.comparer.as_ref()).await?,
    };
    let shared = Shared { max_concurrency: runs.max_concurrency, ..Shared::default() };
    let speaker = panel.judge.as_ref().or(panel.comparer.as_ref()).ok_or_else(missing)?;
    let batch = batch::first_row(app, speaker, BatchId::new(now), 0, shared);
    let (before, items) = stage(app, evaluation, number, &batch, &panel).await?;
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

/// Who is asked about the answers of a configuration.
struct Panel {
    judge: Option<Pinned>,
    comparer: Option<Pinned>,
}

/// The judge, with what its runs share with those that it is asked about, of which one is given.
async fn pin(app: &App, evaluation: &Evaluation, about: &Run, judge: Option<&Judge>) -> Result<Option<Pinned>> {
    let Some(Judge { agent_id, model }) = judge.cloned() else { return Ok(None) };
    let agent = agent::version(app, evaluation.tenant(), agent_id, agent::UNNAMED_VERSION).await?;
    Ok(Some(Pinned {
        tenant: evaluation.tenant(),
        key_id: evaluation.key_id,
        key_budget: about.key_budget,
        model,
        mode: Mode::Auto,
        max_steps: agent.definition.max_steps,
        // What an evaluation's runs may cost is said for what the agents do.
        budget_micro_usd: None,
        deadline_at: app.now().plus_ms(DEADLINE_MS),
        metadata: Metadata::new(),
        origin: evaluation.origin,
        agent,
    }))
}

/// Writes the runs of the panel. Answers how many there are before those of each row of verdicts, and how many in all; none are needed when the
/// test set is gone, for then nothing can be said of the answers.
async fn stage(
    app: &App,
    evaluation: &Evaluation,
    number: usize,
    batch: &Batch,
    panel: &Panel,
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
            staged.push(staged_run(app, batch, panel, items, case, &question)?);
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
    panel: &Panel,
    index: u16,
    case: &Case,
    question: &Question<'_>,
) -> Result<(Run, Slot)> {
    let (pinned, text) = match question.about {
        About::Criteria(criteria) => (&panel.judge, judge::told(&case.prompt, question.answer, criteria)),
        About::Sentence(sentence) => (&panel.comparer, similarity::told(question.answer, sentence)),
    };
    let pinned = pinned.as_ref().ok_or_else(|| Error::Internal("nobody is there to be asked".into()))?;
    let text = text.map_err(|error| Error::Internal(error.into()))?;
    let custom_id = case.custom_id.clone();
    let max_concurrency = batch.max_concurrency;
    let in_batch = InBatch {
        id: batch.id,
        index,
        custom_id,
        budget_micro_usd: None,
        max_concurrency,
        awaited: false,
        evaluates: true,
    };
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
        let opinion = match (said.filter(|_| run.status == Status::Done), question.about) {
            (Some(said), About::Criteria(_)) => judge::opinion(&said),
            (Some(said), About::Sentence(_)) => similarity::read(&said).map(Opinion::Similarity),
            (None, _) => Err(verdicts::why_none(run)),
        };
        opine(question, opinion.unwrap_or_else(Opinion::Failed), run.usage);
    }
    Ok(found)
}

/// The batch of the judges, and how many of its runs come before those of that row of verdicts.
fn batch_at(evaluation: &Evaluation, place: Place) -> Option<(BatchId, u16)> {
    let judges = evaluation.configurations.get(place.configuration)?.judges.as_ref()?;
    let row = place.first.checked_div(verdicts::TOGETHER)?;
    Some((judges.batch_id?, *judges.before.get(row)?))
}
