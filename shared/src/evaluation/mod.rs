//! Evaluations: what came of a test set's cases, whether each was passed, and what a correct answer costs. Pure: it knows no store and no clock.

mod figures;
mod verdict;

pub use figures::{Interval, Outcome, Price, Summary, Unpriced, nearest_rank, unbeaten, wilson};
pub use verdict::{Asked, Finding, Opinion, Said, Verdict, verdict};
