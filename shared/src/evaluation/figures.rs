//! What the verdicts of a configuration come to: how often it was correct, what a correct answer costs, how sure that is, and how long it takes.
//!
//! - Correctness is correct ÷ cases. Its 95 % interval is Wilson's score interval (E. B. Wilson, "Probable Inference, the Law of Succession,
//!   and Statistical Inference", Journal of the American Statistical Association 22, 1927, pp. 209–212), which L. D. Brown, T. T. Cai and
//!   A. DasGupta recommend for few and many cases, and near 0 and 1 ("Interval Estimation for a Binomial Proportion", Statistical
//!   Science 16, 2001, pp. 101–133).
//! - The price per correct answer is the cost of all attempts ÷ correct. With the cost C of n cases it is (C ÷ n) ÷ p, which falls as p rises:
//!   so its interval is C ÷ n divided by the bounds of p, and covers whenever that one does, for costs as they were paid. How much costs would
//!   differ in another run of the same cases is not in it.
//! - p50 and p95 are nearest ranks: the least value that at least so many of a hundred do not exceed.

use serde::{Deserialize, Serialize};

use crate::run::Usage;

/// The 0.975 quantile of the standard normal distribution: for two-sided intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// What came of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was passed: errors are misses.
    pub correct: bool,
    /// What the run used with every attempt, also retried and killed ones.
    pub usage: Usage,
    /// How long workers had it, in milliseconds.
    pub run_ms: u64,
}

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Its lower bound.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
}

/// What a correct answer costs, in micro-USD: a fraction of one too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// The cost of all attempts ÷ correct.
    pub micro_usd: f64,
    /// Its 95 % interval, in micro-USD.
    pub interval: Interval,
}

/// Why there is no price per correct answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpriced {
    /// The price of an attempt is not known.
    UnknownPrice,
    /// No answer is correct.
    NothingCorrect,
}

impl Unpriced {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownPrice => "unknown_price",
            Self::NothingCorrect => "nothing_correct",
        }
    }
}

/// What the cases of a configuration come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many cases there are.
    pub cases: u32,
    /// How many were passed.
    pub correct: u32,
    /// What all runs used together.
    pub usage: Usage,
    /// Half of the runs took at most this, in milliseconds; `None` without a case.
    pub p50_ms: Option<u64>,
    /// 95 of a hundred took at most this.
    pub p95_ms: Option<u64>,
}

impl Summary {
    /// What these outcomes come to.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut summary = Self::default();
        let mut took: Vec<u64> = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            summary.cases = summary.cases.saturating_add(1);
            summary.correct = summary.correct.saturating_add(u32::from(outcome.correct));
            summary.usage.add(&outcome.usage);
            took.push(outcome.run_ms);
        }
        took.sort_unstable();
        Self { p50_ms: nearest_rank(&took, 50), p95_ms: nearest_rank(&took, 95), ..summary }
    }

    /// The 95 % interval of correctness, 0 to 1; `None` without a case.
    #[must_use]
    pub fn interval(&self) -> Option<Interval> {
        wilson(self.correct, self.cases)
    }

    /// What a correct answer costs.
    ///
    /// # Errors
    /// Why that is not known.
    pub fn price(&self) -> Result<Price, Unpriced> {
        let cost = self.usage.cost_micro_usd().ok_or(Unpriced::UnknownPrice)?;
        if self.correct == 0 {
            return Err(Unpriced::NothingCorrect);
        }
        let Interval { low, high } = self.interval().ok_or(Unpriced::NothingCorrect)?;
        let cost = in_micro_usd(cost);
        let each = cost / f64::from(self.cases);
        let interval = Interval { low: each / high, high: each / low };
        Ok(Price { micro_usd: cost / f64::from(self.correct), interval })
    }

    /// Whether this one is at least as often correct and at most as dear as the other, and better in one of the two. `None` when a price is
    /// not known: then nobody can say. Nothing correct is dearer than any price.
    fn beats(&self, other: &Self) -> Option<bool> {
        let (ours, theirs) = (self.usage.cost_micro_usd()?, other.usage.cost_micro_usd()?);
        // Fractions are compared by their products, which are exact: each is less than 2^96.
        let correct = |one: &Self, other: &Self| u64::from(one.correct).saturating_mul(u64::from(other.cases));
        let (more, less) = (correct(self, other), correct(other, self));
        let dear = |cost: u64, of: &Self, by: &Self| match of.correct {
            0 => None,
            _ => Some(u128::from(cost).saturating_mul(u128::from(by.correct))),
        };
        let (cheaper, no_dearer) = match (dear(ours, self, other), dear(theirs, other, self)) {
            (Some(ours), Some(theirs)) => (ours < theirs, ours <= theirs),
            (Some(_), None) => (true, true),
            (None, Some(_)) => (false, false),
            (None, None) => (false, true),
        };
        Some(more >= less && no_dearer && (more > less || cheaper))
    }
}

#[expect(clippy::cast_precision_loss, reason = "up to 2^53 micro-USD, 9 milliards of dollars, it is exact")]
pub(super) const fn in_micro_usd(cost: u64) -> f64 {
    cost as f64
}

/// Wilson's score interval of 95 % for so many of so many: see the file's head. `None` of none.
#[must_use]
pub fn wilson(correct: u32, cases: u32) -> Option<Interval> {
    if cases == 0 {
        return None;
    }
    let (n, p) = (f64::from(cases), f64::from(correct) / f64::from(cases));
    let shrunk = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / shrunk;
    let half = Z / shrunk * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // At the ends it is 0 and 1 but for rounding.
    let low = if correct == 0 { 0.0 } else { centre - half };
    let high = if correct == cases { 1.0 } else { centre + half };
    Some(Interval { low, high })
}

/// The nearest-rank percentile of sorted values: the value at rank ⌈percent ÷ 100 × their number⌉, from 1. `None` of none.
#[must_use]
pub fn nearest_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Which of these are beaten by no other on both price and correctness, each in its place; `None` for one whose price is not known.
#[must_use]
pub fn unbeaten(summaries: &[Summary]) -> Vec<Option<bool>> {
    let beaten = |one: &Summary| summaries.iter().any(|other| other.beats(one) == Some(true));
    summaries.iter().map(|one| one.usage.cost_micro_usd().map(|_| !beaten(one))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(correct: u32, cases: u32, cost: Option<u64>) -> Summary {
        let usage = Usage {
            priced_micro_usd: cost.unwrap_or(0),
            unpriced_calls: u32::from(cost.is_none()),
            ..Usage::default()
        };
        Summary { cases, correct, usage, p50_ms: None, p95_ms: None }
    }

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() <= 1e-4 * other.abs().max(1.0)
    }

    /// The figures are those of the formula with z = 1.96, to four places, as in textbooks.
    #[test]
    fn the_interval_is_wilsons() {
        for (correct, cases, low, high) in
            [(5, 10, 0.2366, 0.7634), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
        {
            let found = wilson(correct, cases).unwrap();
            assert!(near(found.low, low) && near(found.high, high), "{correct} of {cases}: {found:?}");
        }
        assert_eq!(wilson(0, 0), None);
        for cases in [1, 2, 7, 100, 10_000] {
            for correct in 0..=cases.min(100) {
                let Interval { low, high } = wilson(correct, cases).unwrap();
                let p = f64::from(correct) / f64::from(cases);
                assert!(0.0 <= low && low <= p && p <= high && high <= 1.0, "{correct} of {cases}");
            }
        }
    }

    #[test]
    fn a_correct_answer_costs_what_all_attempts_cost_by_those_that_are_correct() {
        let price = summary(5, 10, Some(1_000)).price().unwrap();
        assert_eq!(price.micro_usd, 200.0);
        assert!(
            near(price.interval.low, 100.0 / 0.763_406) && near(price.interval.high, 100.0 / 0.236_593),
            "{price:?}"
        );
        assert_eq!(summary(0, 10, Some(1_000)).price(), Err(Unpriced::NothingCorrect));
        assert_eq!(summary(5, 10, None).price(), Err(Unpriced::UnknownPrice));
        assert_eq!(summary(0, 0, Some(0)).price(), Err(Unpriced::NothingCorrect));
        assert_eq!(summary(1, 3, Some(0)).price().unwrap().micro_usd, 0.0);
    }

    #[test]
    fn errors_are_misses_and_every_attempt_counts() {
        let used = |calls: u32, cost: u64| Usage { model_calls: calls, priced_micro_usd: cost, ..Usage::default() };
        let of =
            |correct: bool, calls: u32, cost: u64, run_ms: u64| Outcome { correct, usage: used(calls, cost), run_ms };
        let found = Summary::of(&[of(true, 1, 10, 5), of(false, 3, 30, 1), of(true, 2, 20, 9), of(false, 0, 0, 0)]);
        let expected = Summary { cases: 4, correct: 2, usage: used(6, 60), p50_ms: Some(1), p95_ms: Some(9) };
        assert_eq!(found, expected);
        assert_eq!(found.price().unwrap().micro_usd, 30.0);
        assert_eq!(Summary::of(&[]), Summary::default());
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let to = |end: u64| (1..=end).collect::<Vec<u64>>();
        for (sorted, p50, p95) in [(to(1), 1, 1), (to(2), 1, 2), (to(20), 10, 19), (to(21), 11, 20), (to(100), 50, 95)]
        {
            let found = (nearest_rank(&sorted, 50), nearest_rank(&sorted, 95));
            assert_eq!(found, (Some(p50), Some(p95)), "{} values", sorted.len());
        }
        assert_eq!(nearest_rank(&[], 50), None);
    }

    #[test]
    fn who_is_beaten_on_both_is_not_on_the_front() {
        let good_and_dear = summary(9, 10, Some(9_000));
        let fair_and_cheap = summary(5, 10, Some(500));
        let fair_and_dear = summary(5, 10, Some(6_000));
        let wrong = summary(0, 10, Some(1));
        let unknown = summary(10, 10, None);
        let all = [good_and_dear, fair_and_cheap, fair_and_dear, wrong, unknown];
        assert_eq!(unbeaten(&all), [Some(true), Some(true), Some(false), Some(false), None]);
        assert_eq!(
            unbeaten(&[fair_and_cheap, fair_and_cheap]),
            [Some(true), Some(true)],
            "equals do not beat each other"
        );
        assert_eq!(unbeaten(&[wrong, summary(0, 10, Some(99))]), [Some(true), Some(true)]);
        // As often correct, and each correct answer at the same price: 50 of 100 for 5,000 and 5 of 10 for 500.
        assert_eq!(unbeaten(&[fair_and_cheap, summary(50, 100, Some(5_000))]), [Some(true), Some(true)]);
    }
}
