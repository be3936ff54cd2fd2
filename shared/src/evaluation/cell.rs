//! A cell of the matrix: what came of one case with one configuration.

use serde::{Deserialize, Serialize};

use super::{Finding, Outcome, Verdict};
use crate::{
    id::RunId,
    run::{Status, Usage},
};

/// What came of a case with a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The case's number, from 0.
    pub case: usize,
    /// The caller's own id of the case.
    pub custom_id: Option<String>,
    /// The configuration's number, from 0.
    pub configuration: usize,
    /// The run.
    pub run_id: RunId,
    /// Where the run stands.
    pub status: Status,
    /// Whether the case is passed.
    pub verdict: Verdict,
    /// Why there is no answer, for a person.
    pub error: Option<String>,
    /// What the run used, with every attempt.
    pub usage: Usage,
    /// What the judges of its answer used.
    pub judge: Usage,
    /// How long workers had it, in milliseconds.
    pub run_ms: u64,
    /// The slot of the run's journal that says what the agent said at its end.
    pub answer: Option<u32>,
    /// What it said, where that was read.
    pub output: Option<String>,
}

impl Cell {
    /// What came of each of the case's validations; nothing as long as that is not known, and when all hold.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match &self.verdict {
            Verdict::Wrong(findings) => findings,
            Verdict::Pending | Verdict::Correct | Verdict::NoAnswer => &[],
        }
    }
}

/// What is written down of a cell: the rest follows from where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom_id: Option<String>,
    pub(crate) status: Status,
    pub(crate) verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) usage: Usage,
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(crate) judge: Usage,
    pub(crate) run_ms: u64,
    /// The slot of the run's journal that says what the agent said at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<u32>,
}

fn is_nothing(usage: &Usage) -> bool {
    *usage == Usage::default()
}

impl Judged {
    /// The cell of that case, configuration and run.
    pub(crate) fn cell(self, case: usize, configuration: usize, run_id: RunId) -> Cell {
        let Self { custom_id, status, verdict, error, usage, judge, run_ms, answer } = self;
        Cell {
            case,
            custom_id,
            configuration,
            run_id,
            status,
            verdict,
            error,
            usage,
            judge,
            run_ms,
            answer,
            output: None,
        }
    }

    /// What counts of it.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { correct: self.verdict == Verdict::Correct, usage: self.usage, run_ms: self.run_ms }
    }
}
