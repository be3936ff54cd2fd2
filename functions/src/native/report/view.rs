//! What is written of an evaluation.

use shared::evaluation::{Interval, Verdict};

/// An evaluation.
#[derive(Debug, Clone)]
pub(in super::super) struct Report {
    pub(in super::super) id: String,
    pub(in super::super) test_set_id: String,
    pub(in super::super) status: &'static str,
    pub(in super::super) terminal: bool,
    pub(in super::super) cases: usize,
    pub(in super::super) configurations: Vec<Column>,
    pub(in super::super) cost_micro_usd: Option<u64>,
    pub(in super::super) judge_cost_micro_usd: Option<u64>,
    pub(in super::super) created_at: String,
    pub(in super::super) ended_at: Option<String>,
}

/// A configuration, and what came of it.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Column {
    pub(in super::super) agent_id: String,
    pub(in super::super) agent_version: u32,
    pub(in super::super) agent_name: String,
    pub(in super::super) model: String,
    pub(in super::super) ended: usize,
    pub(in super::super) correct: Option<u32>,
    pub(in super::super) attempts: u32,
    pub(in super::super) correctness: Option<f64>,
    pub(in super::super) correctness_interval: Option<Interval>,
    pub(in super::super) cost_micro_usd: Option<u64>,
    pub(in super::super) judge_cost_micro_usd: Option<u64>,
    pub(in super::super) price_per_correct_micro_usd: Option<f64>,
    pub(in super::super) price_per_correct_interval: Option<Interval>,
    pub(in super::super) no_price_reason: Option<&'static str>,
    pub(in super::super) p50_ms: Option<u64>,
    pub(in super::super) p95_ms: Option<u64>,
    pub(in super::super) unbeaten: Option<bool>,
}

impl Column {
    /// The configuration in one line: agent, version and model.
    pub(super) fn name(&self) -> String {
        format!("{} v{} / {}", self.agent_name, self.agent_version, self.model)
    }
}

/// What came of a case with a configuration.
#[derive(Debug, Clone)]
pub(in super::super) struct Cell {
    pub(in super::super) case: usize,
    pub(in super::super) custom_id: Option<String>,
    pub(in super::super) configuration: usize,
    pub(in super::super) run_id: String,
    pub(in super::super) verdict: Verdict,
    pub(in super::super) cost_micro_usd: Option<u64>,
    pub(in super::super) judge_cost_micro_usd: Option<u64>,
    pub(in super::super) run_ms: u64,
    pub(in super::super) output: Option<String>,
}

impl Cell {
    /// Why the case was not passed, for a person; nothing when it was, or when that is not known yet.
    pub(super) fn why(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Pending | Verdict::Correct => None,
            Verdict::NoAnswer => Some("the run did not end well".to_owned()),
            Verdict::Wrong(findings) => {
                let numbered = (1_u32..).zip(findings).filter(|(_, finding)| !finding.holds);
                let told = numbered.map(|(number, finding)| {
                    format!("validation {number}: {}", finding.why_not.as_deref().unwrap_or("does not hold"))
                });
                Some(told.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod samples {
    use shared::evaluation::{Finding, wilson};

    use super::*;

    /// An evaluation of ten cases that has ended, with configurations that are `price` micro-USD dear and were correct so often.
    pub(in super::super) fn of(priced: &[(Option<f64>, u32)]) -> Report {
        let column = |(index, (price, correct)): (usize, &(Option<f64>, u32))| Column {
            agent_id: format!("agent_{index}"),
            agent_version: 1,
            agent_name: "Clerk".to_owned(),
            model: format!("demo/model-{index}"),
            ended: 10,
            correct: Some(*correct),
            attempts: 12,
            correctness: Some(f64::from(*correct) / 10.0),
            correctness_interval: wilson(*correct, 10),
            cost_micro_usd: Some(1_000),
            judge_cost_micro_usd: Some(0),
            price_per_correct_micro_usd: *price,
            price_per_correct_interval: price.map(|price| Interval { low: price / 2.0, high: price * 3.0 }),
            no_price_reason: if price.is_none() { Some("unknown_price") } else { None },
            p50_ms: Some(1_500),
            p95_ms: Some(61_000),
            unbeaten: price.map(|_| index.is_multiple_of(2)),
        };
        Report {
            id: "eval_1".to_owned(),
            test_set_id: "testset_1".to_owned(),
            status: "done",
            terminal: true,
            cases: 10,
            configurations: priced.iter().enumerate().map(column).collect(),
            cost_micro_usd: Some(2_000),
            judge_cost_micro_usd: Some(0),
            created_at: "2026-11-26T10:00:00.000Z".to_owned(),
            ended_at: Some("2026-11-26T10:05:00.000Z".to_owned()),
        }
    }

    pub(in super::super) fn report(configurations: u32) -> Report {
        let priced: Vec<_> = (0..configurations).map(|index| (Some(f64::from(index) * 100.0), index % 11)).collect();
        of(&priced)
    }

    pub(in super::super) fn cell(case: usize, configuration: usize, verdict: Verdict) -> Cell {
        Cell {
            case,
            custom_id: Some(format!("case-{case}")),
            configuration,
            run_id: format!("run_{case}_{configuration}"),
            verdict,
            cost_micro_usd: Some(100),
            judge_cost_micro_usd: Some(0),
            run_ms: 1_500,
            output: Some("Oslo".to_owned()),
        }
    }

    pub(in super::super) fn wrong(why: &[&str]) -> Verdict {
        Verdict::Wrong(why.iter().map(|why| Finding { holds: false, why_not: Some((*why).to_owned()) }).collect())
    }
}
