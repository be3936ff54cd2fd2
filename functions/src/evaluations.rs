//! What is known of an evaluation's configurations, as every surface that has evaluations tells it. Knows no surface.

use shared::{
    batch::Progress,
    evaluation::{self, Configuration, Interval, Price, Settled, Standing, Summary, Unpriced},
    run::Usage,
};

/// What is known of a configuration. What is said of correctness is `None` until the evaluation is done, and when its test set was deleted
/// before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures<'a> {
    pub(crate) configuration: &'a Configuration,
    /// How its runs stand, and what they used.
    pub(crate) runs: &'a Progress,
    /// How many cases it passed.
    pub(crate) correct: Option<u32>,
    /// `correct` ÷ cases.
    pub(crate) correctness: Option<f64>,
    /// Its 95 % interval.
    pub(crate) correctness_interval: Option<Interval>,
    /// What all attempts have cost; `None` when a price is not known.
    pub(crate) cost_micro_usd: Option<u64>,
    /// What its judges have cost, with every attempt; `None` when a price is not known.
    pub(crate) judge_cost_micro_usd: Option<u64>,
    /// What a correct answer costs.
    pub(crate) price: Option<Price>,
    /// Why there is no price.
    pub(crate) no_price_reason: Option<&'static str>,
    pub(crate) p50_ms: Option<u64>,
    pub(crate) p95_ms: Option<u64>,
    /// Whether no other configuration beats it; `None` when a price is not known.
    pub(crate) unbeaten: Option<bool>,
}

impl<'a> Figures<'a> {
    /// Those of each configuration.
    pub(crate) fn of(standing: &'a Standing) -> Vec<Self> {
        let Standing { evaluation, progress, judges } = standing;
        let ends = End::of(evaluation.settled.as_ref(), evaluation.configurations.len());
        let each = evaluation.configurations.iter().zip(progress).zip(judges.iter().zip(ends));
        each.map(|((configuration, runs), (judges, end))| Self::new(configuration, runs, judges.as_ref(), end))
            .collect()
    }

    fn new(configuration: &'a Configuration, runs: &'a Progress, judges: Option<&Progress>, end: End) -> Self {
        let End { summary, why_not, unbeaten } = end;
        let judged = summary.filter(|_| why_not.is_none());
        let price = judged.map(|summary| summary.price());
        Self {
            configuration,
            runs,
            correct: judged.map(|summary| summary.correct),
            correctness: judged.map(|summary| f64::from(summary.correct) / f64::from(summary.cases)),
            correctness_interval: judged.and_then(|summary| summary.interval()),
            cost_micro_usd: runs.usage.cost_micro_usd(),
            judge_cost_micro_usd: together(judges.into_iter()),
            price: price.and_then(Result::ok),
            no_price_reason: why_not.or_else(|| price.and_then(Result::err).map(Unpriced::name)),
            p50_ms: summary.and_then(|summary| summary.p50_ms),
            p95_ms: summary.and_then(|summary| summary.p95_ms),
            unbeaten,
        }
    }
}

/// What is known of a configuration at the end.
#[derive(Debug, Clone, Copy)]
struct End {
    summary: Option<Summary>,
    /// Why nothing is said of correctness.
    why_not: Option<&'static str>,
    unbeaten: Option<bool>,
}

impl End {
    /// Those of so many configurations.
    fn of(settled: Option<&Settled>, number: usize) -> Vec<Self> {
        let Some(Settled { test_set_deleted, summaries, .. }) = settled else {
            return vec![Self { summary: None, why_not: Some("not_ended"), unbeaten: None }; number];
        };
        let why_not = test_set_deleted.then_some("test_set_deleted");
        let summaries: Vec<Summary> = summaries.iter().map(|one| one.summary).collect();
        let unbeaten = evaluation::unbeaten(&summaries);
        let end = |(summary, unbeaten): (Summary, Option<bool>)| Self {
            summary: Some(summary),
            why_not,
            unbeaten: unbeaten.filter(|_| why_not.is_none()),
        };
        summaries.into_iter().zip(unbeaten).map(end).collect()
    }
}

/// What all runs have cost together, in micro-USD; `None` when a price is not known.
pub(crate) fn cost_micro_usd(standing: &Standing) -> Option<u64> {
    together(standing.progress.iter())
}

/// What all judges have cost together, in micro-USD; `None` when a price is not known.
pub(crate) fn judge_cost_micro_usd(standing: &Standing) -> Option<u64> {
    together(standing.judges.iter().flatten())
}

fn together<'a>(of: impl Iterator<Item = &'a Progress>) -> Option<u64> {
    let mut all = Usage::default();
    of.for_each(|progress| all.add(&progress.usage));
    all.cost_micro_usd()
}
