//! How evaluations and the cells of their matrices look on the native surface.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{
    agent::Metadata,
    evaluation::{Cell, Finding, Interval, Phase, Standing},
};

use super::{batches::CountsView, views::UsageView};
use crate::evaluations::{self, Figures};

/// An evaluation: how far it is, and what came of each configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EvaluationView {
    pub(super) id: String,
    pub(super) test_set_id: String,
    /// `running`, `cancelling`, `judging` when its runs have ended and their verdicts are being found, or `done`.
    pub(super) status: &'static str,
    /// Whether it is done.
    pub(super) terminal: bool,
    /// How many cases it has: as many as the test set had at its start, from the first.
    pub(super) cases: usize,
    pub(super) configurations: Vec<ConfigurationView>,
    /// What all runs have cost together; `null` when a price is not known.
    pub(super) cost_micro_usd: Option<u64>,
    /// What models that judge answers have cost, which is not in `cost_micro_usd`; `null` when a price is not known.
    pub(super) judge_cost_micro_usd: Option<u64>,
    /// How many runs may be in hand at a time: each configuration has an even share, and at least one.
    pub(super) max_concurrency: Option<u32>,
    /// The most that all runs may cost together: each configuration has an even share.
    pub(super) budget_micro_usd: Option<u64>,
    pub(super) metadata: Metadata,
    pub(super) created_at: String,
    /// When its last run ended; `null` until all verdicts are known.
    pub(super) ended_at: Option<String>,
}

/// A configuration: an agent's version and a model; and what came of it. What is said of correctness is `null` until the evaluation is done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConfigurationView {
    /// The agent's; of one that no list has when it was started with a preamble on the CoAgent surface, or for a gate: `metadata.gate` is
    /// then the agent's.
    pub(super) agent_id: String,
    pub(super) agent_version: u32,
    pub(super) agent_name: String,
    pub(super) model: String,
    /// The batch of its runs: item `n` is case `n`.
    pub(super) batch_id: String,
    /// The batch of the judge's runs about its answers, when they have begun.
    pub(super) judge_batch_id: Option<String>,
    /// How its runs stand.
    pub(super) counts: CountsView,
    /// How many cases it passed: who has no answer has missed.
    pub(super) correct: Option<u32>,
    /// Calls of models, also failed, retried and killed ones.
    pub(super) attempts: u32,
    /// `correct` ÷ cases.
    pub(super) correctness: Option<f64>,
    /// Its 95 % interval: Wilson's score interval.
    pub(super) correctness_interval: Option<IntervalView>,
    pub(super) usage: UsageView,
    /// What all attempts have cost; `null` when a price is not known.
    pub(super) cost_micro_usd: Option<u64>,
    /// What models that judge its answers have cost, with every attempt; `null` when a price is not known.
    pub(super) judge_cost_micro_usd: Option<u64>,
    /// `cost_micro_usd` ÷ `correct`: what a correct answer costs.
    pub(super) price_per_correct_micro_usd: Option<f64>,
    /// Its 95 % interval: the cost of a case ÷ the bounds of correctness. Without an upper bound only when that of correctness is 0.
    pub(super) price_per_correct_interval: Option<IntervalView>,
    /// Why there is no price per correct answer: `not_ended`, `unknown_price`, `nothing_correct` or `test_set_deleted`.
    pub(super) no_price_reason: Option<&'static str>,
    /// Half of its runs took at most this.
    pub(super) p50_ms: Option<u64>,
    /// 95 of a hundred of its runs took at most this.
    pub(super) p95_ms: Option<u64>,
    /// Whether no other configuration is at least as often correct at no higher price per correct answer, and better in one of the two;
    /// `null` when a price is not known.
    pub(super) unbeaten: Option<bool>,
}

/// A 95 % interval.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(super) struct IntervalView {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl From<Interval> for IntervalView {
    fn from(interval: Interval) -> Self {
        let Interval { low, high } = interval;
        Self { low, high }
    }
}

impl EvaluationView {
    pub(super) fn new(standing: &Standing) -> Self {
        let (evaluation, phase) = (&standing.evaluation, standing.phase());
        Self {
            id: evaluation.id.prefixed(),
            test_set_id: evaluation.test_set_id.prefixed(),
            status: phase.name(),
            terminal: phase == Phase::Done,
            cases: evaluation.cases,
            configurations: Figures::of(standing).into_iter().map(ConfigurationView::from).collect(),
            cost_micro_usd: evaluations::cost_micro_usd(standing),
            judge_cost_micro_usd: evaluations::judge_cost_micro_usd(standing),
            max_concurrency: evaluation.max_concurrency,
            budget_micro_usd: evaluation.budget_micro_usd,
            metadata: evaluation.metadata.clone(),
            created_at: evaluation.created_at.rfc3339(),
            ended_at: evaluation.settled.as_ref().map(|settled| settled.ended_at.rfc3339()),
        }
    }
}

impl From<Figures<'_>> for ConfigurationView {
    fn from(figures: Figures<'_>) -> Self {
        let Figures { configuration, runs, price, .. } = figures;
        Self {
            agent_id: configuration.agent_id.prefixed(),
            agent_version: configuration.agent_version,
            agent_name: configuration.agent_name.clone(),
            model: configuration.model.to_string(),
            batch_id: configuration.batch_id.prefixed(),
            judge_batch_id: configuration.judges.as_ref().and_then(|judges| judges.batch_id).map(|id| id.prefixed()),
            counts: runs.counts.into(),
            correct: figures.correct,
            attempts: runs.usage.model_calls,
            correctness: figures.correctness,
            correctness_interval: figures.correctness_interval.map(Into::into),
            usage: UsageView::from(&runs.usage),
            cost_micro_usd: figures.cost_micro_usd,
            judge_cost_micro_usd: figures.judge_cost_micro_usd,
            price_per_correct_micro_usd: price.map(|price| price.micro_usd),
            price_per_correct_interval: price.map(|price| price.interval.into()),
            no_price_reason: figures.no_price_reason,
            p50_ms: figures.p50_ms,
            p95_ms: figures.p95_ms,
            unbeaten: figures.unbeaten,
        }
    }
}

/// A cell of the matrix: what came of one case with one configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CellView {
    /// Its place: case × the number of configurations + configuration.
    pub(super) index: usize,
    /// The case's number in the test set, from 0.
    pub(super) case: usize,
    pub(super) custom_id: Option<String>,
    /// The configuration's number, from 0.
    pub(super) configuration: usize,
    pub(super) run_id: String,
    /// `correct`, `wrong`, `no_answer` when the run has not ended well, or `pending` as long as that is not known.
    pub(super) verdict: &'static str,
    /// Of a wrong one: what came of each of the case's validations, in their order.
    pub(super) findings: Vec<FindingView>,
    /// Why there is no answer.
    pub(super) error: Option<String>,
    /// What the agent said at its end.
    pub(super) output: Option<String>,
    pub(super) usage: UsageView,
    /// What all attempts have cost; `null` when a price is not known.
    pub(super) cost_micro_usd: Option<u64>,
    /// What the judge's runs about this answer have cost; `null` when a price is not known.
    pub(super) judge_cost_micro_usd: Option<u64>,
    /// From the moment a worker took the run to its end, or to now.
    pub(super) run_ms: u64,
}

/// What came of one validation.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FindingView {
    pub(super) holds: bool,
    pub(super) why_not: Option<String>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        let Finding { holds, why_not } = finding;
        Self { holds: *holds, why_not: why_not.clone() }
    }
}

impl CellView {
    /// The cell at that place.
    pub(super) fn new(index: usize, cell: Cell) -> Self {
        let findings = cell.findings().iter().map(FindingView::from).collect();
        Self {
            index,
            case: cell.case,
            custom_id: cell.custom_id,
            configuration: cell.configuration,
            run_id: cell.run_id.prefixed(),
            verdict: cell.verdict.name(),
            findings,
            error: cell.error,
            output: cell.output,
            usage: UsageView::from(&cell.usage),
            cost_micro_usd: cell.usage.cost_micro_usd(),
            judge_cost_micro_usd: cell.judge.cost_micro_usd(),
            run_ms: cell.run_ms,
        }
    }
}

/// A page of the matrix.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CellsView {
    pub(super) data: Vec<CellView>,
    /// Whether more follow.
    pub(super) has_more: bool,
    /// The index of the last one here: goes into `after`.
    pub(super) next_after: Option<usize>,
}
