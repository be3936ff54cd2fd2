//! Gates: a change of an agent is tried on a test set before it is made. What is tried is an agent that no list has and whose id follows from
//! the whole change ([`agent::candidate`]), in an evaluation like any other. A gate keeps nothing besides: whether an evaluation is of
//! exactly this change, and of the version that the agent still has, its candidate's id says, in any process and after any crash.

use std::{fmt, sync::Arc};

use super::{Evaluation, NewConfiguration, NewEvaluation, Settled, Summary, Tried, figures, plan, settle, start};
use crate::{
    agent::{self, AgentVersion, Metadata, PlannedChange},
    app::App,
    error::{Error, Problem, Result},
    id::{EvaluationId, TestSetId},
    idempotency::Claim,
    run::Origin,
    tenant::{Caller, Scope},
    test_set,
};

/// The pair in a gate's evaluation that names the agent whose change is tried, by its id as the native surface writes it.
pub const GATE: &str = "gate";
/// What the thresholds are called.
const MIN_CORRECTNESS: &str = "min_correctness";
const MAX_PRICE: &str = "max_price_per_correct_micro_usd";

/// What a changed agent must come to. Figures are held against it as they are, without their intervals. A price alone would say nothing: cases
/// that were never run cost nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    min_correctness: f64,
    max_price_micro_usd: Option<u64>,
}

impl Thresholds {
    /// The least correctness, above 0 and at most 1, and the most that a correct answer may cost, in micro-USD, at least 1.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming what is missing or out of range.
    pub fn new(min_correctness: Option<f64>, max_price_micro_usd: Option<u64>) -> Result<Self> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, message: &str| {
            problems.push(Problem { field: field.to_owned(), message: message.to_owned() });
        };
        let least = min_correctness.unwrap_or_default();
        if min_correctness.is_none() {
            wrong(MIN_CORRECTNESS, "is required with 'gate'");
        } else if !(least > 0.0 && least <= 1.0) {
            wrong(MIN_CORRECTNESS, "must be above 0 and at most 1");
        }
        if max_price_micro_usd == Some(0) {
            wrong(MAX_PRICE, "must be at least 1");
        }
        if problems.is_empty() {
            Ok(Self { min_correctness: least, max_price_micro_usd })
        } else {
            Err(Error::Invalid(problems))
        }
    }

    /// Refuses an evaluation of one configuration that does not come to this, or that somebody cancelled.
    ///
    /// # Errors
    /// [`Error::GateFailed`].
    pub fn check(&self, evaluation: &Evaluation, settled: &Settled) -> Result<()> {
        let missed = self.missed(match settled.summaries.first() {
            _ if evaluation.cancel_requested => Err("cancelled"),
            Some(one) if !settled.test_set_deleted => Ok(one.summary),
            _ => Err("test_set_deleted"),
        });
        let evaluation_id = evaluation.id;
        if missed.is_empty() { Ok(()) } else { Err(Error::GateFailed(GateFailure { evaluation_id, missed })) }
    }

    fn missed(&self, summary: Result<Summary, &'static str>) -> Vec<Missed> {
        let mut missed = Vec::new();
        let (limit, figure) =
            (self.min_correctness, summary.map(|summary| f64::from(summary.correct) / f64::from(summary.cases)));
        if !figure.is_ok_and(|figure| figure >= limit) {
            missed.push(Missed { threshold: MIN_CORRECTNESS, limit, figure });
        }
        if let Some(limit) = self.max_price_micro_usd.map(figures::in_micro_usd) {
            let price = summary.and_then(|summary| summary.price().map_err(|why| why.name()));
            let figure = price.map(|price| price.micro_usd);
            if !figure.is_ok_and(|figure| figure <= limit) {
                missed.push(Missed { threshold: MAX_PRICE, limit, figure });
            }
        }
        missed
    }
}

/// A threshold that was not met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Missed {
    /// Its name in requests.
    pub threshold: &'static str,
    /// What was asked for: a part of the cases, or micro-USD.
    pub limit: f64,
    /// What there is, or why that is not known: `unknown_price`, `nothing_correct`, `cancelled` or `test_set_deleted`.
    pub figure: Result<f64, &'static str>,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threshold, limit, figure } = self;
        let of = if *threshold == MAX_PRICE { "the price per correct answer, in micro-USD," } else { "correctness" };
        match figure {
            Ok(figure) => write!(f, "{of} is {figure}, and {threshold} is {limit}"),
            Err(why) => write!(f, "{of} is not known ({why}), and {threshold} is {limit}"),
        }
    }
}

/// Why a change was not made: its candidate does not come to what was asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct GateFailure {
    /// The evaluation, whose matrix says more.
    pub evaluation_id: EvaluationId,
    /// Each threshold that was not met: at least one.
    pub missed: Vec<Missed>,
}

impl fmt::Display for GateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed: Vec<String> = self.missed.iter().map(ToString::to_string).collect();
        write!(f, "the agent is not changed: {}; see evaluation {}", missed.join("; "), self.evaluation_id.prefixed())
    }
}

/// What a change is tried with.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// The test set.
    pub test_set_id: TestSetId,
    /// As in [`NewEvaluation`].
    pub max_concurrency: Option<u32>,
    /// As in [`NewEvaluation`].
    pub budget_micro_usd: Option<u64>,
}

/// Starts the evaluation in which the change is tried, or takes the one that was `begun` before, if it is of this set and of exactly this change of
/// the agent as it is. `None` when the change changes nothing.
///
/// # Errors
/// [`Error::NotFound`] for the test set or the evaluation; [`Error::Conflict`] when that is of another change, or the agent has been changed since;
/// [`Error::Invalid`] as [`plan`], with what is wrong with the set or the candidate said of `gate`; [`Error::UnknownModel`].
pub async fn try_change(
    app: &App,
    caller: &Caller,
    planned: &PlannedChange,
    trial: Trial,
    begun: Option<EvaluationId>,
) -> Result<Option<EvaluationId>> {
    caller.require(Scope::RunsWrite)?;
    let Some(candidate) = agent::candidate(app, caller.tenant(), planned)? else {
        // What is misspelt is told all the same.
        return test_set::some_cases(app, caller.tenant(), trial.test_set_id, 0, 1).await.map(|_| None);
    };
    if let Some(id) = begun {
        let evaluation = settle::found(app, caller.tenant(), id).await?.value;
        check_of(&evaluation, trial.test_set_id, &candidate)?;
        return Ok(Some(id));
    }
    let Trial { test_set_id, max_concurrency, budget_micro_usd } = trial;
    let of = planned.from().agent_id;
    let new = NewEvaluation {
        test_set_id,
        configurations: vec![NewConfiguration { agent: Tried::Candidate { of, candidate }, model: None }],
        origin: Origin::Native,
        max_concurrency,
        budget_micro_usd,
        metadata: Metadata::from([(GATE.to_owned(), of.prefixed())]),
    };
    let planned = plan(app, caller, new).await.map_err(|error| error.with_fields(of_gate))?;
    Ok(Some(start(app, caller, planned, Claim::none()).await?.id))
}

/// Refuses an evaluation that is not of this set and this candidate alone.
fn check_of(evaluation: &Evaluation, test_set_id: TestSetId, candidate: &Arc<AgentVersion>) -> Result<()> {
    if evaluation.test_set_id != test_set_id {
        return Err(Error::invalid("gate_evaluation", "is an evaluation of another test set than 'gate'"));
    }
    match evaluation.configurations.as_slice() {
        [one] if one.agent_id == candidate.agent_id => Ok(()),
        _ => {
            let message = "'gate_evaluation' is not of this change of the agent as it is now: the change is another \
                           one, or the agent has been changed since";
            Err(Error::Conflict(message.to_owned()))
        }
    }
}

/// A field of an evaluation as a gate calls it.
fn of_gate(field: &str) -> String {
    let field = match field {
        "configurations[0].model" => "model",
        "test_set_id" | "configurations" | "configurations[0]" => "gate",
        field => field,
    };
    field.to_owned()
}
