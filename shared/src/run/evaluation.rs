//! What came of grading a run against its agent's acceptance criteria.

use serde::{Deserialize, Serialize};

/// How a run's result was graded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The part of the criteria that are met, 0.0 to 1.0; `None` when one could not be judged.
    pub score: Option<f64>,
    /// The whole of it in one sentence.
    pub explanation: String,
    /// The verdict on each criterion, in the agent's order.
    pub results: Vec<Criterion>,
}

/// The verdict on one criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criterion {
    /// What the result must meet, as the agent's version says it.
    pub criterion: String,
    /// Whether it does; not met, as far as anybody knows, when it could not be judged.
    pub met: bool,
    /// Why, at most 2,000 characters: the judge's words, or why it could not be judged.
    pub explanation: String,
}
