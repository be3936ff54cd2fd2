//! Starting evaluations: checked, given their ids, and accepted by one transaction with the batches of their runs.

use std::sync::Arc;

use super::{Configuration, Evaluation, Judge, NewConfiguration, Source, Standing, questions, tried};
use crate::{
    agent::{self, AgentVersion, Metadata},
    app::App,
    batch::{self, Batch, Counts, Progress, Shared},
    engine,
    error::{Error, Problem, Result},
    id::{BatchId, EvaluationId, RunId, TestSetId},
    idempotency::Claim,
    message::{Record, Slot},
    run::{self, InBatch, Origin, Pinned, Run},
    store,
    tenant::{Caller, Scope},
    test_set::{self, CASES_LIMIT, Case},
};

/// The most configurations of an evaluation.
pub const CONFIGURATIONS_LIMIT: usize = 20;
/// The most cases × configurations.
pub const CELLS_LIMIT: usize = 30_000;
/// The most that `max_concurrency` may be.
pub const MAX_CONCURRENCY_LIMIT: u32 = batch::MAX_CONCURRENCY_LIMIT;

/// The most problems with cases that are told of at once.
const PROBLEMS_TOLD: usize = 100;
/// How many runs are written at a time.
const STAGED_TOGETHER: usize = 1_000;

/// What an evaluation shall be.
#[derive(Debug, Clone)]
pub struct NewEvaluation {
    /// Whose cases are run: all that it has now.
    pub test_set_id: TestSetId,
    /// What they are run with.
    pub configurations: Vec<NewConfiguration>,
    /// Where the call came from.
    pub origin: Origin,
    /// How many runs may be in hand at a time: 1 to [`MAX_CONCURRENCY_LIMIT`]. Each configuration has an even share, and 1 at least.
    pub max_concurrency: Option<u32>,
    /// The most that all runs may cost together, in micro-USD: at least 1. Each configuration has an even share, and 1 at least.
    pub budget_micro_usd: Option<u64>,
    /// The caller's own pairs, for the evaluation and each of its runs.
    pub metadata: Metadata,
}

/// An evaluation that is checked and has its ids, not yet accepted: see [`start`].
#[derive(Debug)]
pub struct Planned {
    evaluation: Evaluation,
    batches: Vec<(Batch, Pinned)>,
    unnamed: Vec<Arc<AgentVersion>>,
    cases: Vec<Case>,
}

impl Planned {
    /// The evaluation as it will be when it is accepted.
    #[must_use]
    pub const fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// How it will stand then.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let queued = u32::try_from(self.cases.len()).unwrap_or(u32::MAX);
        let counts = Counts { queued, ..Counts::default() };
        let progress = vec![Progress { counts, ..Progress::default() }; self.batches.len()];
        let judges = vec![self.evaluation.judged().then(Progress::default); self.batches.len()];
        Standing { evaluation: self.evaluation.clone(), progress, judges }
    }
}

/// Checks an evaluation and gives it its ids. One case that cannot be told to one of the agents, and nothing is started.
///
/// # Errors
/// [`Error::NotFound`] for the test set, an agent or its version; [`Error::Invalid`]; [`Error::UnknownModel`]; [`Error::Forbidden`].
pub async fn plan(app: &App, caller: &Caller, new: NewEvaluation) -> Result<Planned> {
    caller.require(Scope::RunsWrite)?;
    let NewEvaluation { test_set_id, configurations, origin, max_concurrency, budget_micro_usd, metadata } = new;
    check(&configurations, max_concurrency, budget_micro_usd, &metadata)?;
    let sources: Vec<Source> = configurations.iter().map(|configuration| configuration.agent.source()).collect();
    let pinned = tried::pinned(app, caller, configurations, &metadata, origin).await?;
    let cases = test_set::some_cases(app, caller.tenant(), test_set_id, 0, CASES_LIMIT).await?;
    check_cases(&cases, &pinned).await?;
    let now = app.now();
    let id = EvaluationId::new(now);
    let shared = shares(max_concurrency, budget_micro_usd, pinned.len());
    let needed = questions::check(app, caller.tenant(), &cases, &pinned).await?;
    let mut batches = Vec::with_capacity(pinned.len());
    for (pinned, shared) in pinned.into_iter().zip(shared) {
        batch::check_shared(app, &pinned, shared).await?;
        let batch = batch::first_row(app, &pinned, BatchId::new(now), cases.len(), shared);
        batches.push((Batch { evaluation: Some(id), ..batch }, pinned));
    }
    let (mut configurations, mut unnamed) = (Vec::with_capacity(batches.len()), Vec::new());
    for ((batch, pinned), source) in batches.iter().zip(sources) {
        unnamed.extend((source != Source::Listed).then(|| Arc::clone(&pinned.agent)));
        let agents = questions::agents(app, needed, pinned);
        unnamed.extend(agents.iter().flatten().cloned());
        let [judge, comparer] = agents.map(|agent| agent.map(|agent| Judge::of(&agent)));
        configurations.push(Configuration {
            agent_id: batch.agent_id,
            agent_version: batch.agent_version,
            agent_name: pinned.agent.definition.name.clone(),
            source,
            model: batch.model.clone(),
            batch_id: batch.id,
            judge,
            comparer,
            judges: None,
        });
    }
    let evaluation = Evaluation {
        id,
        org: caller.tenant().org(),
        key_id: caller.key_id(),
        origin,
        test_set_id,
        cases: cases.len(),
        configurations,
        max_concurrency,
        budget_micro_usd,
        metadata,
        cancel_requested: false,
        created_at: now,
        next_check_at: now.plus_ms(app.config().lease_ms),
        hold: None,
        settled: None,
    };
    Ok(Planned { evaluation, batches, unnamed, cases })
}

/// What can be seen of the request alone.
fn check(
    configurations: &[NewConfiguration],
    max_concurrency: Option<u32>,
    budget_micro_usd: Option<u64>,
    metadata: &Metadata,
) -> Result<()> {
    let mut problems = Vec::new();
    agent::check_metadata(metadata, &mut problems);
    let mut wrong = |field: &str, message: String| problems.push(Problem { field: field.to_owned(), message });
    if !(1..=CONFIGURATIONS_LIMIT).contains(&configurations.len()) {
        let message = format!("must be 1 to {CONFIGURATIONS_LIMIT}, not {}", configurations.len());
        wrong("configurations", message);
    }
    if max_concurrency.is_some_and(|most| !(1..=MAX_CONCURRENCY_LIMIT).contains(&most)) {
        wrong("max_concurrency", format!("must be from 1 to {MAX_CONCURRENCY_LIMIT}"));
    }
    if budget_micro_usd == Some(0) {
        wrong("budget_micro_usd", "must be at least 1".to_owned());
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// Whether each case can be told to each agent, and there are not too many.
async fn check_cases(cases: &[Case], pinned: &[Pinned]) -> Result<()> {
    if cases.is_empty() {
        return Err(Error::invalid("test_set_id", "is a test set without cases"));
    }
    let cells = cases.len().saturating_mul(pinned.len());
    if cells > CELLS_LIMIT {
        let message = format!("times the set's {} cases may be at most {CELLS_LIMIT} runs, not {cells}", cases.len());
        return Err(Error::invalid("configurations", message));
    }
    let mut problems = Vec::new();
    for (index, pinned) in pinned.iter().enumerate() {
        for (number, case) in cases.iter().enumerate() {
            let found = case.prompt.clone().checked(&pinned.agent.definition, "", None).err().unwrap_or_default();
            let field = format!("configurations[{index}]");
            let told = found.into_iter().map(|Problem { field: of, message }| Problem {
                field: field.clone(),
                message: format!("cannot be told case {number}: {of}: {message}"),
            });
            problems.extend(told);
            if problems.len() >= PROBLEMS_TOLD {
                problems.truncate(PROBLEMS_TOLD);
                return Err(Error::Invalid(problems));
            }
            // Others go on meanwhile.
            tokio::task::yield_now().await;
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// What the runs of each of so many configurations share.
fn shares(max_concurrency: Option<u32>, budget_micro_usd: Option<u64>, number: usize) -> Vec<Shared> {
    let number = u64::try_from(number).unwrap_or(u64::MAX).max(1);
    let share = |total: u64, index: u64| {
        let rest = u64::from(index < total.checked_rem(number).unwrap_or(0));
        total.checked_div(number).unwrap_or(0).saturating_add(rest).max(1)
    };
    let of = |index: u64| Shared {
        budget_micro_usd: budget_micro_usd.map(|total| share(total, index)),
        max_concurrency: max_concurrency.and_then(|total| u32::try_from(share(total.into(), index)).ok()),
        ..Shared::default()
    };
    (0..number).map(of).collect()
}

/// Accepts the evaluation and asks for workers. When it returns, every run is durable.
///
/// # Errors
/// [`Error::InProgress`] when a request with the same idempotency key was faster; as the store says.
pub async fn start(app: &App, caller: &Caller, planned: Planned, claim: Claim) -> Result<Evaluation> {
    let Planned { evaluation, batches, unnamed, cases } = planned;
    let (tenant, claim) = (evaluation.tenant(), claim.write(app, None)?);
    for agent in &unnamed {
        agent::keep_unnamed(app, caller, agent).await?;
    }
    for (batch, pinned) in &batches {
        for (part, cases) in cases.chunks(STAGED_TOGETHER).enumerate() {
            let first = part.saturating_mul(STAGED_TOGETHER);
            app.store().stage_runs(tenant, &staged(app, batch, pinned, first, cases)?).await?;
        }
    }
    engine::fault::point("E1");
    let batches: Vec<Batch> = batches.into_iter().map(|(batch, _)| batch).collect();
    match app.store().save_new_evaluation(&evaluation, &batches, claim).await {
        Err(store::Error::Conflict { .. }) => {
            for batch in &batches {
                batch::take_away(app, batch).await;
            }
            return Err(Claim::in_progress());
        }
        other => other?,
    }
    engine::fault::point("E2");
    for batch in &batches {
        batch::ask_for_first(app, batch).await;
    }
    Ok(evaluation)
}

/// The runs of these cases, the first of which has that number, with their inputs.
fn staged(app: &App, batch: &Batch, pinned: &Pinned, first: usize, cases: &[Case]) -> Result<Vec<(Run, Slot)>> {
    let &Batch { id, budget_micro_usd, max_concurrency, .. } = batch;
    let staged = (first..).zip(cases).map(|(number, case)| {
        let index = u16::try_from(number).map_err(|error| Error::Internal(error.into()))?;
        let custom_id = case.custom_id.clone();
        let in_batch =
            InBatch { id, index, custom_id, budget_micro_usd, max_concurrency, awaited: false, evaluates: true };
        let told = case.prompt.clone().checked(&pinned.agent.definition, "", None);
        let (text, inputs) = told.map_err(Error::Invalid)?;
        let run = run::first_row(app, pinned, RunId::of_batch(id, index), &text, Some(in_batch));
        Ok((run, Record::Input { text, inputs, attachments: Vec::new() }.at(batch.created_at)))
    });
    staged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_each_has_one() {
        let of = |concurrency: u32, budget: u64, number: usize| {
            let shares = shares(Some(concurrency), Some(budget), number);
            shares
                .iter()
                .map(|share| (share.max_concurrency.unwrap(), share.budget_micro_usd.unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(10, 100, 3), [(4, 34), (3, 33), (3, 33)]);
        assert_eq!(of(1, 2, 3), [(1, 1), (1, 1), (1, 1)]);
        assert_eq!(of(7, 8, 1), [(7, 8)]);
        assert_eq!(shares(None, None, 2), [Shared::default(), Shared::default()]);
    }
}
