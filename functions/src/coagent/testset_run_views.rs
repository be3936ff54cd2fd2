//! How runs of test sets and the cells of their matrices look on CoAgent's surface.

use schemars::JsonSchema;
use serde::Serialize;
use shared::evaluation::{Cell, Finding, Interval, Source, Standing};

use super::usd;
use crate::{
    evaluations::{self, Figures},
    model_ref::ModelRef,
};

/// A run of a test set: how far it is, and its matrix, as they are at this moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TestsetRunView {
    run_id: String,
    testset_id: String,
    /// `running`, `cancelling`, `judging` when its runs have ended and their verdicts are being found, or `done`.
    status: &'static str,
    /// How many cases it has: as many as the test set had at its start, from the first.
    case_count: usize,
    configurations: Vec<ConfigurationView>,
    /// What came of each case with each configuration: case by case, and of a case one for each configuration. `null` when the test set was
    /// deleted before that was written down.
    cells: Option<Vec<CellView>>,
    /// What all answers have cost together, with every attempt; `null` when a price is not known.
    cost_usd: Option<f64>,
    /// What models that judge answers have cost, which is not in `cost_usd`; `null` when a price is not known.
    judge_cost_usd: Option<f64>,
    /// As it was asked for.
    max_concurrency: Option<u32>,
    /// As it was asked for.
    budget_usd: Option<f64>,
    created_at: String,
    /// When its last run ended; `null` until all verdicts are known.
    ended_at: Option<String>,
}

/// A configuration, and what came of it. What is said of correctness is `null` until the status is `done`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConfigurationView {
    /// The agent that it was given; `null` when it is a preamble and a model.
    agent_id: Option<String>,
    /// The agent's version; `null` when it is none of them: with a preamble of the request, as a change that a gate tries, or without an agent.
    agent_version: Option<u32>,
    /// What it is told, when it is no version of the agent; `null` otherwise.
    preamble: Option<String>,
    model_ref: ModelRef,
    /// How many of its cases have ended, well or not.
    ended: u32,
    /// How many cases it passed: who has no answer has missed.
    correct: Option<u32>,
    /// Calls of models, also failed, retried and killed ones.
    attempts: u32,
    /// `correct` ÷ cases.
    correctness: Option<f64>,
    /// Its 95 % interval: Wilson's score interval.
    correctness_interval: Option<IntervalView>,
    /// What all attempts have cost; `null` when a price is not known.
    cost_usd: Option<f64>,
    /// What models that judge its answers have cost, with every attempt; `null` when a price is not known.
    judge_cost_usd: Option<f64>,
    /// `cost_usd` ÷ `correct`: what a correct answer costs.
    price_per_correct_usd: Option<f64>,
    /// Its 95 % interval: the cost of a case ÷ the bounds of correctness.
    price_per_correct_interval: Option<IntervalView>,
    /// Why there is no price per correct answer: `not_ended`, `unknown_price`, `nothing_correct` or `test_set_deleted`.
    no_price_reason: Option<&'static str>,
    /// Half of its cases took at most this.
    p50_ms: Option<u64>,
    /// 95 of a hundred of its cases took at most this.
    p95_ms: Option<u64>,
    /// Whether no other configuration is at least as often correct at no higher price per correct answer, and better in one of the two;
    /// `null` when a price is not known.
    unbeaten: Option<bool>,
}

/// A 95 % interval.
#[derive(Debug, Serialize, JsonSchema)]
struct IntervalView {
    low: f64,
    high: f64,
}

/// What came of one case with one configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CellView {
    /// The case's number in the test set, from 0.
    case: usize,
    /// The case's `id`.
    case_id: Option<String>,
    /// The configuration's number, from 0.
    configuration: usize,
    /// The agent's run: `GET /api/v1/logs/{run_id}` tells of it.
    run_id: String,
    /// `correct`, `wrong`, `no_answer` when the agent's run has not ended well, or `pending` as long as that is not known.
    verdict: &'static str,
    /// Of a wrong one: what came of each of the case's validations, in their order.
    findings: Vec<FindingView>,
    /// Why there is no answer.
    error: Option<String>,
    /// What the agent said at its end.
    output: Option<String>,
    /// What all attempts have cost; `null` when a price is not known.
    cost_usd: Option<f64>,
    /// What models that judge this answer have cost; `null` when a price is not known.
    judge_cost_usd: Option<f64>,
    /// From the moment a worker took the agent's run to its end, or to now.
    run_ms: u64,
}

/// What came of one validation.
#[derive(Debug, Serialize, JsonSchema)]
struct FindingView {
    holds: bool,
    why_not: Option<String>,
}

impl TestsetRunView {
    pub(super) fn new(
        standing: &Standing,
        configurations: Vec<ConfigurationView>,
        cells: Option<Vec<CellView>>,
    ) -> Self {
        let evaluation = &standing.evaluation;
        Self {
            run_id: evaluation.id.to_string(),
            testset_id: evaluation.test_set_id.to_string(),
            status: standing.phase().name(),
            case_count: evaluation.cases,
            configurations,
            cells,
            cost_usd: evaluations::cost_micro_usd(standing).map(usd::of_whole),
            judge_cost_usd: evaluations::judge_cost_micro_usd(standing).map(usd::of_whole),
            max_concurrency: evaluation.max_concurrency,
            budget_usd: evaluation.budget_micro_usd.map(usd::of_whole),
            created_at: evaluation.created_at.rfc3339_seconds(),
            ended_at: evaluation.settled.as_ref().map(|settled| settled.ended_at.rfc3339_seconds()),
        }
    }
}

impl ConfigurationView {
    pub(super) fn new(figures: Figures<'_>, preamble: Option<String>) -> Self {
        let Figures { configuration, runs, price, .. } = figures;
        let (agent_id, agent_version) = match configuration.source {
            Source::Listed => (Some(configuration.agent_id), Some(configuration.agent_version)),
            Source::Copy(of) => (Some(of), None),
            Source::Unnamed => (None, None),
        };
        let in_usd = |Interval { low, high }| IntervalView { low: usd::of(low), high: usd::of(high) };
        Self {
            agent_id: agent_id.map(|id| id.to_string()),
            agent_version,
            preamble,
            model_ref: ModelRef::of(configuration.model.as_str()),
            ended: runs.counts.ended(),
            correct: figures.correct,
            attempts: runs.usage.model_calls,
            correctness: figures.correctness,
            correctness_interval: figures.correctness_interval.map(|Interval { low, high }| IntervalView { low, high }),
            cost_usd: figures.cost_micro_usd.map(usd::of_whole),
            judge_cost_usd: figures.judge_cost_micro_usd.map(usd::of_whole),
            price_per_correct_usd: price.map(|price| usd::of(price.micro_usd)),
            price_per_correct_interval: price.map(|price| in_usd(price.interval)),
            no_price_reason: figures.no_price_reason,
            p50_ms: figures.p50_ms,
            p95_ms: figures.p95_ms,
            unbeaten: figures.unbeaten,
        }
    }
}

impl From<Cell> for CellView {
    fn from(cell: Cell) -> Self {
        let finding = |Finding { holds, why_not }: &Finding| FindingView { holds: *holds, why_not: why_not.clone() };
        let findings = cell.findings().iter().map(finding).collect();
        Self {
            case: cell.case,
            case_id: cell.custom_id,
            configuration: cell.configuration,
            run_id: cell.run_id.to_string(),
            verdict: cell.verdict.name(),
            findings,
            error: cell.error,
            output: cell.output,
            cost_usd: cell.usage.cost_micro_usd().map(usd::of_whole),
            judge_cost_usd: cell.judge.cost_micro_usd().map(usd::of_whole),
            run_ms: cell.run_ms,
        }
    }
}
