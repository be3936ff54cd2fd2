//! Events that webhooks tell of: what they are called, and what is said of each. Thin: ids, states and costs; the rest is asked for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    batch::{Batch, Progress},
    clock::Timestamp,
    id::{EventId, RunId},
    run::{Chain, Run, Status},
    schedule::{Failed, Firing, Outcome},
};

/// How many characters of an error an event tells.
const ERROR_CHARS: usize = 1_000;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A run ended well.
    #[serde(rename = "run.done")]
    RunDone,
    /// A run ended badly.
    #[serde(rename = "run.error")]
    RunError,
    /// A run was cancelled.
    #[serde(rename = "run.interrupted")]
    RunInterrupted,
    /// A run waits for a person's say.
    #[serde(rename = "run.approval_required")]
    ApprovalRequired,
    /// All runs of a batch have ended.
    #[serde(rename = "batch.ended")]
    BatchEnded,
    /// A budget of a batch, key or organisation had no room for a call.
    #[serde(rename = "budget.reached")]
    BudgetReached,
    /// A schedule's time had come, and what it starts could not be started.
    #[serde(rename = "schedule.failed")]
    ScheduleFailed,
    /// Somebody asked whether events arrive.
    #[serde(rename = "webhook.test")]
    Test,
}

impl Kind {
    /// Those that an endpoint may ask for.
    pub const ALL: [Self; 7] = [
        Self::RunDone,
        Self::RunError,
        Self::RunInterrupted,
        Self::ApprovalRequired,
        Self::BatchEnded,
        Self::BudgetReached,
        Self::ScheduleFailed,
    ];

    /// Its name, as it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunDone => "run.done",
            Self::RunError => "run.error",
            Self::RunInterrupted => "run.interrupted",
            Self::ApprovalRequired => "run.approval_required",
            Self::BatchEnded => "batch.ended",
            Self::BudgetReached => "budget.reached",
            Self::ScheduleFailed => "schedule.failed",
            Self::Test => "webhook.test",
        }
    }

    /// The kind of this name that an endpoint may ask for.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The event of a run that has ended so.
    pub(crate) const fn of_end(status: Status) -> Option<Self> {
        match status {
            Status::Done => Some(Self::RunDone),
            Status::Error => Some(Self::RunError),
            Status::Interrupted => Some(Self::RunInterrupted),
            Status::Queued | Status::Running | Status::Waiting => None,
        }
    }
}

/// An event, as it is told: the same body for everybody, and for every try.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) kind: Kind,
    pub(crate) at: Timestamp,
    pub(crate) body: String,
    /// The chain that who goes on from it goes on with.
    pub(crate) chain: Option<Chain>,
}

impl Event {
    /// An event of this moment. What it is about, and how often that has happened before, makes its id.
    pub(crate) fn new(kind: Kind, about: &[&str], at: Timestamp, data: Map<String, Value>) -> Self {
        let id = EventId::of(at, kind.name(), about);
        let body = json!({ "type": kind.name(), "timestamp": at.rfc3339(), "data": data }).to_string();
        Self { id, kind, at, body, chain: None }
    }

    /// What is told of a run as it stands.
    pub(crate) fn of_run(kind: Kind, run: &Run) -> Self {
        let told = run.told.to_string();
        let event = Self::new(kind, &[&run.id.to_string(), &told], run.updated_at, about_run(run));
        Self { chain: Some(Chain::after_run(run)), ..event }
    }

    /// What is told of a firing that failed; nothing of any other.
    pub(crate) fn of_firing(firing: &Firing) -> Option<Self> {
        let Outcome::Failed(Failed { code, message }) = &firing.outcome else { return None };
        let (id, which) = (firing.schedule_id, firing.which);
        let data = json!({
            "schedule_id": id.prefixed(),
            "scheduled_at": which.scheduled_at.rfc3339(),
            "manual": which.manual,
            "code": code,
            "message": shortened(message),
        });
        let about = [id.to_string(), which.scheduled_at.millis().to_string(), which.manual.to_string()];
        Some(Self::new(Kind::ScheduleFailed, &about.each_ref().map(String::as_str), firing.decided_at, object(data)))
    }

    /// What is told of a batch that has ended.
    pub(crate) fn of_batch(batch: &Batch, progress: &Progress, at: Timestamp) -> Self {
        let mut data = batch.about(progress);
        data.extend(object(json!({
            "batch_id": batch.id.prefixed(),
            "wall_ms": batch.wall_ms(progress, at),
            "reduce_run_id": batch.reduction_run().map(RunId::prefixed),
        })));
        let event = Self::new(Kind::BatchEnded, &[&batch.id.to_string()], at, data);
        Self { chain: Some(Chain::after_batch(batch)), ..event }
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { return Map::new() };
    object
}

/// So much of an error as is told.
fn shortened(error: &str) -> String {
    error.chars().take(ERROR_CHARS).collect()
}

fn about_run(run: &Run) -> Map<String, Value> {
    object(json!({
        "run_id": run.id.prefixed(),
        "agent_id": run.agent_id.prefixed(),
        "agent_version": run.agent_version,
        "status": run.status.name(),
        "reason": run.reason.map(crate::run::Reason::name),
        "error": run.error.as_deref().map(shortened),
        "chat_id": run.chat_id.prefixed(),
        "batch_id": run.batch.as_ref().map(|batch| batch.id.prefixed()),
        "custom_id": run.batch.as_ref().and_then(|batch| batch.custom_id.as_deref()),
        "cost_micro_usd": run.usage.cost_micro_usd(),
        "metadata": run.metadata,
    }))
}
