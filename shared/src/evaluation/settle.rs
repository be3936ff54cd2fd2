//! How an evaluation goes on, in phases, each of which any look at it goes on with where the last one ended: its runs end; then judges
//! say what they think of answers; then the verdicts are written, rows that nobody writes twice; then what they come to goes into
//! the evaluation's own row. The runs and the judges are batches and need nobody for that.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{ConfigurationSummary, Evaluation, Outcome, Settled, Standing, Summary, judges, verdicts};
use crate::{
    app::App,
    batch::{self, Counts, Progress},
    engine,
    error::{Error, Result},
    id::EvaluationId,
    run::{Glance, Usage},
    store::{self, Versioned, evaluations::Place},
    tenant::Tenant,
    test_set::Case,
};

/// How many rows of verdicts a caller's look writes at most: 5,000 cells, about a second.
const LOOK_ROWS: usize = 50;
/// How many the reaper's look does, which has time for more.
const REAPER_ROWS: usize = 300;
/// When the reaper goes on with verdicts that it has begun with, in milliseconds.
const SOON_MS: i64 = 1_000;
/// Of how many configurations verdicts are found at a time.
const AT_A_TIME: usize = 4;
/// How often an evaluation's row is read again when others write it at the same time.
const TRIES: usize = 10;

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
    /// The test set is gone, so nobody can say any more what would be correct.
    Unknowable,
}

/// Looks at the evaluation, goes on with it for a while if it can, and answers how it stands then.
///
/// # Errors
/// [`Error::NotFound`]; as the store says: the next look goes on.
pub(super) async fn advance(app: &App, tenant: Tenant, id: EvaluationId) -> Result<Standing> {
    advance_by(app, tenant, id, LOOK_ROWS).await
}

/// The same, with so many rows of verdicts at most.
async fn advance_by(app: &App, tenant: Tenant, id: EvaluationId, rows: usize) -> Result<Standing> {
    let evaluation = found(app, tenant, id).await?.value;
    if evaluation.settled.is_some() {
        return Ok(Standing::settled(evaluation));
    }
    let standing = batches(app, evaluation).await?;
    if !standing.ended() {
        return Ok(standing);
    }
    match write_verdicts(app, &standing.evaluation, rows).await? {
        Left::Something => Ok(standing),
        Left::Nothing => settle(app, standing, false).await,
        Left::Unknowable => settle(app, standing, true).await,
    }
}

pub(super) async fn found(app: &App, tenant: Tenant, id: EvaluationId) -> Result<Versioned<Evaluation>> {
    app.store().evaluation(tenant, id).await?.ok_or(Error::NotFound("evaluation"))
}

/// The first two phases: looks at the runs, and at the judges, who begin when the runs of their configuration have ended. Goes on with a
/// cancel that was begun.
async fn batches(app: &App, evaluation: Evaluation) -> Result<Standing> {
    let tenant = evaluation.tenant();
    let (mut progress, mut judges) = (Vec::new(), Vec::new());
    for configuration in &evaluation.configurations {
        let id = configuration.batch_id;
        let (_, runs) = if evaluation.cancel_requested {
            batch::request_cancel(app, tenant, id).await?
        } else {
            batch::settle(app, tenant, id).await?
        };
        judges.push(judges::advance(app, &evaluation, configuration, &runs).await?);
        progress.push(runs);
    }
    Ok(Standing { evaluation, progress, judges })
}

/// The third phase: finds the verdicts that are not written yet, and writes them, so many rows at most, but those of some cases at least.
async fn write_verdicts(app: &App, evaluation: &Evaluation, rows: usize) -> Result<Left> {
    let mut open = evaluation.places();
    for written in app.store().verdict_places(evaluation.tenant(), evaluation.id).await? {
        open.remove(&written);
    }
    // Those of the same cases are found together, so that these are read once.
    let open: Vec<Place> = open.into_iter().collect();
    let mut begun = 0_usize;
    for places in open.chunk_by(|one, other| one.first == other.first) {
        let Some(first) = places.first().map(|place| place.first) else { continue };
        let written = begun;
        begun = begun.saturating_add(places.len());
        if written > 0 && begun > rows {
            return Ok(Left::Something);
        }
        let cases = match verdicts::cases(app, evaluation, first, verdicts::TOGETHER).await {
            Err(Error::NotFound(_)) => return Ok(Left::Unknowable),
            other => other?,
        };
        let cases = cases.as_slice();
        stream::iter(places.to_vec())
            .map(|place| async move { write_row(app, evaluation, place, cases).await })
            .buffer_unordered(AT_A_TIME)
            .try_collect::<Vec<()>>()
            .await?;
    }
    Ok(Left::Nothing)
}

/// Finds and writes the verdicts of one place.
async fn write_row(app: &App, evaluation: &Evaluation, place: Place, cases: &[Case]) -> Result<()> {
    let found = verdicts::of(app, evaluation, place.configuration, place.first, cases).await?;
    match app.store().save_verdicts(evaluation.tenant(), evaluation.id, place, &found).await {
        // A conflict is another who was faster, and found the same.
        Ok(()) | Err(store::Error::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    engine::fault::point("E3");
    Ok(())
}

/// The last phase: writes down what the verdicts come to, once.
async fn settle(app: &App, standing: Standing, test_set_deleted: bool) -> Result<Standing> {
    let Standing { evaluation, progress, judges } = standing;
    let (tenant, id) = (evaluation.tenant(), evaluation.id);
    let mut summaries = Vec::new();
    for (number, (runs, judges)) in progress.iter().zip(&judges).enumerate() {
        let judge = judges.as_ref().map_or_else(Usage::default, |judges| judges.usage);
        let summary = if test_set_deleted {
            unjudged(app, &evaluation, number).await?
        } else {
            Summary::of(&verdicts::outcomes(app, &evaluation, number).await?)
        };
        summaries.push(ConfigurationSummary { counts: runs.counts, summary, judge });
    }
    let ends = progress.iter().chain(judges.iter().flatten()).filter_map(|progress| progress.ended_at);
    let settled = Settled { ended_at: ends.max().unwrap_or(evaluation.created_at), test_set_deleted, summaries };
    engine::fault::point("E4");
    for _ in 0..TRIES {
        let Versioned { value: evaluation, rev } = found(app, tenant, id).await?;
        if evaluation.settled.is_some() {
            return Ok(Standing::settled(evaluation));
        }
        let evaluation = Evaluation { settled: Some(settled.clone()), ..evaluation };
        match app.store().save_evaluation(&evaluation, rev).await {
            Ok(()) => return Ok(Standing::settled(evaluation)),
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the evaluation is being written all the time".into()))
}

/// What the runs of a configuration come to when nobody can say whether they are correct.
async fn unjudged(app: &App, evaluation: &Evaluation, configuration: usize) -> Result<Summary> {
    let ids = evaluation.run_ids(configuration, 0, evaluation.cases);
    let runs = app.store().glances(evaluation.tenant(), &ids).await?;
    let now = app.now();
    let outcome = |run: &Glance| Outcome { correct: false, usage: run.usage, run_ms: run.run_ms(now) };
    Ok(Summary::of(&runs.iter().map(outcome).collect::<Vec<_>>()))
}

/// What the reaper does about an evaluation whose time has come: goes on with it, and sees to it that its time comes again.
pub(crate) async fn look_at(app: &App, tenant: Tenant, id: EvaluationId) -> Result<()> {
    let standing = match advance_by(app, tenant, id, REAPER_ROWS).await {
        // What the index names may be gone.
        Err(Error::NotFound("evaluation")) => return Ok(()),
        other => other?,
    };
    if standing.evaluation.settled.is_some() {
        return Ok(());
    }
    let pause_ms = if standing.ended() { SOON_MS } else { app.config().lease_ms };
    let Versioned { value: evaluation, rev } = found(app, tenant, id).await?;
    if evaluation.settled.is_some() {
        return Ok(());
    }
    let evaluation = Evaluation { next_check_at: app.now().plus_ms(pause_ms), ..evaluation };
    match app.store().save_evaluation(&evaluation, rev).await {
        // A conflict is another who writes the row: it is still due.
        Ok(()) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks every run of the evaluation that has not ended to end: the evaluation ends with what there is then.
pub(super) async fn cancel(app: &App, tenant: Tenant, id: EvaluationId) -> Result<Standing> {
    for _ in 0..TRIES {
        let Versioned { value: evaluation, rev } = found(app, tenant, id).await?;
        if evaluation.settled.is_some() || evaluation.cancel_requested {
            return advance(app, tenant, id).await;
        }
        let evaluation = Evaluation { cancel_requested: true, ..evaluation };
        match app.store().save_evaluation(&evaluation, rev).await {
            Ok(()) => return advance(app, tenant, id).await,
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the evaluation is being written all the time".into()))
}

/// How the evaluation stands, without going on with it.
pub(super) async fn standing(app: &App, evaluation: Evaluation) -> Result<Standing> {
    if evaluation.settled.is_some() {
        return Ok(Standing::settled(evaluation));
    }
    let (mut progress, mut judges) = (Vec::new(), Vec::new());
    for configuration in &evaluation.configurations {
        progress.push(batch::stands(app, evaluation.tenant(), configuration.batch_id).await?);
        judges.push(judges::stands(app, &evaluation, configuration).await?);
    }
    Ok(Standing { evaluation, progress, judges })
}

impl Standing {
    /// How one that is settled stands: all of it is in its row.
    fn settled(evaluation: Evaluation) -> Self {
        let settled = evaluation.settled.as_ref();
        let summaries = settled.map(|settled| settled.summaries.as_slice()).unwrap_or_default();
        let ended_at = settled.map(|settled| settled.ended_at);
        let of = |counts: Counts, usage: Usage| Progress { counts, usage, ended_at, ..Progress::default() };
        let progress = summaries.iter().map(|one| of(one.counts, one.summary.usage)).collect();
        let judges = summaries.iter().map(|one| Some(of(Counts::default(), one.judge))).collect();
        Self { evaluation, progress, judges }
    }
}
