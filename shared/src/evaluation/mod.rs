//! Evaluations: a test set's cases, run with several configurations, each of an agent's version and a model; what came of each case, whether
//! it was passed, and what a correct answer costs.
//!
//! The runs of a configuration are a batch, as durable as any other; all batches of an evaluation are accepted in one transaction with its own
//! row. When they have ended, the verdicts are found and written once, and then what they come to: so a matrix that is finished stays as
//! it is, whatever becomes of the test set. What may be asked of a verdict ([`verdict`]) and what verdicts come to ([`Summary`]) knows no
//! store and no clock.

mod cell;
mod figures;
mod gate;
mod hold;
mod judge;
mod judges;
mod questions;
mod read;
mod settle;
mod similarity;
mod start;
mod tried;
mod verdict;
mod verdicts;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::{
    cell::Cell,
    figures::{Interval, Outcome, Price, Summary, Unpriced, nearest_rank, unbeaten, wilson},
    gate::{GATE, GateFailure, Missed, Thresholds, Trial, try_change},
    read::{bare_cells, cancel, cells, column, get, list, own, own_prompt, tell},
    start::{CELLS_LIMIT, CONFIGURATIONS_LIMIT, MAX_CONCURRENCY_LIMIT, NewEvaluation, Planned, plan, start},
    tried::{NewConfiguration, Source, Tried},
    verdict::{Asked, Finding, Opinion, Said, Verdict, verdict},
};
pub(crate) use self::{cell::Judged, settle::look_at, similarity::compare};
use crate::{
    agent::{AgentVersion, Metadata},
    batch::{Counts, Progress},
    clock::Timestamp,
    id::{AgentId, BatchId, EvaluationId, KeyId, OrgId, RunId, TestSetId},
    model::ModelName,
    run::{Lease, Origin, Usage},
    store::evaluations::Place,
    tenant::Tenant,
};

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Its id.
    pub id: EvaluationId,
    pub(crate) org: OrgId,
    /// The key that started it.
    pub key_id: KeyId,
    /// Where it was started.
    pub origin: Origin,
    /// Whose cases are run.
    pub test_set_id: TestSetId,
    /// How many of them, from the first: as many as the set had when this was started.
    pub cases: usize,
    /// What they are run with: 1 to [`CONFIGURATIONS_LIMIT`], no two the same.
    pub configurations: Vec<Configuration>,
    /// How many runs may be in hand at a time, as it was asked for.
    pub max_concurrency: Option<u32>,
    /// The most that all runs may cost together, in micro-USD, as it was asked for.
    pub budget_micro_usd: Option<u64>,
    /// The caller's own pairs.
    pub metadata: Metadata,
    /// Somebody wants it to end.
    pub cancel_requested: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    pub(crate) next_check_at: Timestamp,
    /// Who works on it in a way that must not be done by two at a time: see [`hold`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<Lease>,
    /// What came of it, when all verdicts are written.
    pub settled: Option<Settled>,
}

/// What cases are run with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// The agent.
    pub agent_id: AgentId,
    /// Its version.
    pub agent_version: u32,
    /// What that version calls it.
    pub agent_name: String,
    /// Where it comes from.
    #[serde(default)]
    pub source: Source,
    /// The model that is called.
    pub model: ModelName,
    /// The batch of its runs: run `n` is of case `n`.
    pub batch_id: BatchId,
    /// Who judges its answers where a validation names no model; `None` when no case asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judge: Option<Judge>,
    /// The same of who compares its answers with sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comparer: Option<Judge>,
    /// The judge's runs about its answers, when they have begun: after its runs have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judges: Option<Judges>,
}

/// Who judges or compares, as it was when the evaluation was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Judge {
    /// An agent that no list has.
    agent_id: AgentId,
    model: ModelName,
}

impl Judge {
    fn of(agent: &AgentVersion) -> Self {
        Self { agent_id: agent.agent_id, model: agent.definition.model.clone() }
    }
}

/// The runs about the answers of a configuration: one for each validation that a model decides of an answer that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judges {
    /// Their batch; `None` when there is no answer to judge.
    pub batch_id: Option<BatchId>,
    /// How many of them come before those of each row of verdicts.
    before: Vec<u16>,
}

/// What came of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// When the last of its runs ended.
    pub ended_at: Timestamp,
    /// The test set was deleted before the verdicts were written: there are none, and what is said of correctness means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test_set_deleted: bool,
    /// What came of each configuration.
    pub summaries: Vec<ConfigurationSummary>,
}

/// What came of a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationSummary {
    /// How its runs ended.
    pub counts: Counts,
    /// What its cases come to.
    pub summary: Summary,
    /// What its judges used.
    pub judge: Usage,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its runs are under way.
    Running,
    /// They have ended; whether their cases are passed is being found out.
    Judging,
    /// Somebody wants it to end, and a run has not yet.
    Cancelling,
    /// All is known.
    Done,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Judging => "judging",
            Self::Cancelling => "cancelling",
            Self::Done => "done",
        }
    }
}

/// An evaluation as it stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The evaluation.
    pub evaluation: Evaluation,
    /// How far the runs of each configuration are.
    pub progress: Vec<Progress>,
    /// How far the judges of each configuration are; `None` when it has none.
    pub judges: Vec<Option<Progress>>,
}

impl Standing {
    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.evaluation.settled {
            Some(_) => Phase::Done,
            None if !self.ended() && self.evaluation.cancel_requested => Phase::Cancelling,
            None if self.progress.iter().all(|runs| runs.ended_at.is_some()) => Phase::Judging,
            None => Phase::Running,
        }
    }

    /// Whether all runs and judges have ended.
    fn ended(&self) -> bool {
        self.progress.iter().chain(self.judges.iter().flatten()).all(|one| one.ended_at.is_some())
    }
}

/// How often an evaluation's row is read again when others write it at the same time.
const TRIES: usize = 10;

impl Evaluation {
    pub(crate) fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    /// Whether a model decides a validation of one of its cases.
    fn judged(&self) -> bool {
        self.configurations.iter().any(|of| of.judge.is_some() || of.comparer.is_some())
    }

    /// How many cells its matrix has: cases × configurations.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cases.saturating_mul(self.configurations.len())
    }

    /// The runs of a configuration, of so many cases from that one on.
    fn run_ids(&self, configuration: usize, first: usize, number: usize) -> Vec<RunId> {
        let batch = self.configurations.get(configuration).map(|configuration| configuration.batch_id);
        let cases = first..first.saturating_add(number).min(self.cases);
        let run = |case: usize| Some(RunId::of_batch(batch?, u16::try_from(case).ok()?));
        cases.filter_map(run).collect()
    }

    /// Where its verdicts are, or will be.
    fn places(&self) -> BTreeSet<Place> {
        let of = |first: usize| (0..self.configurations.len()).map(move |configuration| Place { first, configuration });
        (0..self.cases).step_by(verdicts::TOGETHER).flat_map(of).collect()
    }
}
