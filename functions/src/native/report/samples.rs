//! Evaluations to write reports of.

use shared::{
    agent::Metadata,
    batch::Counts,
    evaluation::{Cell, Finding, Verdict, wilson},
    id::RunId,
    run::{Status, Usage},
};

use super::super::{
    evaluation_views::{ConfigurationView, EvaluationView, IntervalView},
    views::UsageView,
};

/// An evaluation of ten cases that has ended, with configurations that are so many micro-USD dear and were correct so often.
pub(super) fn of(priced: &[(Option<f64>, u32)]) -> EvaluationView {
    let column = |(index, (price, correct)): (usize, &(Option<f64>, u32))| ConfigurationView {
        agent_id: format!("agent_{index}"),
        agent_version: 1,
        agent_name: "Clerk".to_owned(),
        model: format!("demo/model-{index}"),
        judge_batch_id: None,
        batch_id: "batch_1".to_owned(),
        counts: Counts { done: 9, error: 1, ..Counts::default() }.into(),
        correct: Some(*correct),
        attempts: 12,
        correctness: Some(f64::from(*correct) / 10.0),
        correctness_interval: wilson(*correct, 10).map(Into::into),
        usage: UsageView::from(&Usage::default()),
        cost_micro_usd: Some(1_000),
        judge_cost_micro_usd: Some(0),
        price_per_correct_micro_usd: *price,
        price_per_correct_interval: price.map(|price| IntervalView { low: price / 2.0, high: price * 3.0 }),
        no_price_reason: if price.is_none() { Some("unknown_price") } else { None },
        p50_ms: Some(1_500),
        p95_ms: Some(61_000),
        unbeaten: price.map(|_| index.is_multiple_of(2)),
    };
    EvaluationView {
        id: "eval_1".to_owned(),
        test_set_id: "testset_1".to_owned(),
        status: "done",
        terminal: true,
        cases: 10,
        configurations: priced.iter().enumerate().map(column).collect(),
        cost_micro_usd: Some(2_000),
        judge_cost_micro_usd: Some(0),
        max_concurrency: None,
        budget_micro_usd: None,
        metadata: Metadata::new(),
        created_at: "2026-11-26T10:00:00.000Z".to_owned(),
        ended_at: Some("2026-11-26T10:05:00.000Z".to_owned()),
    }
}

pub(super) fn report(configurations: u32) -> EvaluationView {
    let priced: Vec<_> = (0..configurations).map(|index| (Some(f64::from(index) * 100.0), index % 11)).collect();
    of(&priced)
}

/// A cell whose run cost 100 micro-USD and took 1.5 s.
pub(super) fn cell(case: usize, configuration: usize, verdict: Verdict) -> Cell {
    Cell {
        case,
        custom_id: Some(format!("case-{case}")),
        configuration,
        run_id: RunId::parse_prefixed(RUN).unwrap(),
        status: Status::Done,
        verdict,
        error: None,
        usage: Usage { model_calls: 1, priced_micro_usd: 100, ..Usage::default() },
        judge: Usage::default(),
        run_ms: 1_500,
        answer: Some(1),
        output: Some("Oslo".to_owned()),
    }
}

/// The run of every cell.
pub(super) const RUN: &str = "run_01890000-0000-7000-8000-000000000001";

pub(super) fn wrong(why: &[&str]) -> Verdict {
    Verdict::Wrong(why.iter().map(|why| Finding { holds: false, why_not: Some((*why).to_owned()) }).collect())
}
