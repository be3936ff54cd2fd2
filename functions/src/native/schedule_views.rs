//! Schedules and their firings, as the native surface shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    clock::Timestamp,
    id::{BatchId, FileId, RunId},
    order::{Order, OrderItem, Started, Work},
    run::Prompt,
    schedule::{Failed, Firing, Misfire, Outcome, Overlap, Schedule, Skipped, Status},
};

use super::terms::TermsView;

/// What becomes of a firing when what was started before has not ended.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OverlapView {
    /// It is skipped.
    #[default]
    Skip,
    /// It starts when those before it have ended; at most 100 wait.
    Queue,
    /// It starts beside it.
    Allow,
}

impl From<OverlapView> for Overlap {
    fn from(view: OverlapView) -> Self {
        match view {
            OverlapView::Skip => Self::Skip,
            OverlapView::Queue => Self::Queue,
            OverlapView::Allow => Self::Allow,
        }
    }
}

impl From<Overlap> for OverlapView {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Skip => Self::Skip,
            Overlap::Queue => Self::Queue,
            Overlap::Allow => Self::Allow,
        }
    }
}

/// What becomes of times that passed while nobody was there. All but the newest are skipped.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MisfireView {
    /// The newest is skipped, too, if it is more than 5 minutes late.
    Skip,
    /// The newest starts.
    #[default]
    RunOnce,
}

impl From<MisfireView> for Misfire {
    fn from(view: MisfireView) -> Self {
        match view {
            MisfireView::Skip => Self::Skip,
            MisfireView::RunOnce => Self::RunOnce,
        }
    }
}

impl From<Misfire> for MisfireView {
    fn from(misfire: Misfire) -> Self {
        match misfire {
            Misfire::Skip => Self::Skip,
            Misfire::RunOnce => Self::RunOnce,
        }
    }
}

/// An item of a schedule's batch: a `message` or `inputs`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduledItem {
    /// Your own id of it: 1 to 64 characters, no two the same.
    #[schemars(length(min = 1, max = 64))]
    pub(super) custom_id: Option<String>,
    /// What the agent is told.
    pub(super) message: Option<String>,
    /// Inputs by name.
    pub(super) inputs: Option<Map<String, Value>>,
}

impl From<OrderItem> for ScheduledItem {
    fn from(item: OrderItem) -> Self {
        let OrderItem { custom_id, prompt } = item;
        let (message, inputs) = told(prompt);
        Self { custom_id, message, inputs }
    }
}

fn told(prompt: Prompt) -> (Option<String>, Option<Map<String, Value>>) {
    match prompt {
        Prompt::Message(message) => (Some(message), None),
        Prompt::Inputs(inputs) => (None, Some(inputs)),
    }
}

/// A schedule.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScheduleView {
    id: String,
    name: String,
    /// The key in whose name it starts runs: the one that said last what is started or when. Its budgets hold.
    key_id: String,
    /// When, as it was said.
    schedule: String,
    timezone: String,
    /// `active`, `paused`, or `ended` when there are no times any more.
    status: &'static str,
    /// The next time; `null` unless it is active.
    next_at: Option<String>,
    /// The firing that was decided on last.
    last_firing: Option<FiringView>,
    /// How many firings wait for those before them.
    waiting: usize,
    overlap: OverlapView,
    misfire: MisfireView,
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    items: Option<Vec<ScheduledItem>>,
    file_id: Option<String>,
    #[serde(flatten)]
    terms: TermsView,
    created_at: String,
    updated_at: String,
}

impl From<Schedule> for ScheduleView {
    fn from(schedule: Schedule) -> Self {
        let (status, key_id, waiting) = (schedule.status(), schedule.key_id(), schedule.waiting());
        let Order { terms, work } = schedule.order;
        let (mut message, mut inputs, mut items, mut file_id) = (None, None, None, None);
        match work {
            Work::Run(prompt) => (message, inputs) = told(prompt),
            Work::Items(all) => items = Some(all.into_iter().map(ScheduledItem::from).collect()),
            Work::Rows(id) => file_id = Some(FileId::prefixed(id)),
        }
        Self {
            id: schedule.id.prefixed(),
            name: schedule.name,
            key_id: key_id.prefixed(),
            schedule: schedule.schedule,
            timezone: schedule.timezone,
            status: match status {
                Status::Active => "active",
                Status::Paused => "paused",
                Status::Ended => "ended",
            },
            next_at: schedule.next_at.map(Timestamp::rfc3339),
            last_firing: schedule.last.map(FiringView::from),
            waiting,
            overlap: schedule.overlap.into(),
            misfire: schedule.misfire.into(),
            message,
            inputs,
            items,
            file_id,
            terms: terms.into(),
            created_at: schedule.created_at.rfc3339(),
            updated_at: schedule.updated_at.rfc3339(),
        }
    }
}

/// One of a schedule's times, and what became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FiringView {
    /// The time that it is of; when it was asked for, if it is `manual`.
    scheduled_at: String,
    /// Whether it was asked for by `POST …/run`.
    manual: bool,
    /// When it became what it is.
    decided_at: String,
    /// `started`, `waiting` until those before it have ended, `skipped`, or `failed` when it could start nothing.
    outcome: &'static str,
    /// The run that it started.
    run_id: Option<String>,
    /// The batch that it started.
    batch_id: Option<String>,
    /// Why it was skipped: `overlap` (what was started before had not ended), `misfire` (it was missed) or `queue_full`.
    reason: Option<&'static str>,
    /// Why it failed.
    error: Option<FiringErrorView>,
}

/// Why a firing could start nothing.
#[derive(Debug, Serialize, JsonSchema)]
struct FiringErrorView {
    /// For a program, as in the body of an error.
    code: String,
    /// For a person.
    message: String,
}

impl FiringView {
    /// Where what it started is to be looked at.
    pub(super) fn location(&self) -> Option<String> {
        let run = self.run_id.as_ref().map(|id| format!("/v1/runs/{id}"));
        run.or_else(|| self.batch_id.as_ref().map(|id| format!("/v1/batches/{id}")))
    }
}

impl From<Firing> for FiringView {
    fn from(firing: Firing) -> Self {
        let Firing { schedule_id: _, which, decided_at, outcome } = firing;
        let (mut run_id, mut batch_id, mut reason, mut error) = (None, None, None, None);
        let outcome = match outcome {
            Outcome::Started(Started::Run(id)) => {
                run_id = Some(RunId::prefixed(id));
                "started"
            }
            Outcome::Started(Started::Batch(id)) => {
                batch_id = Some(BatchId::prefixed(id));
                "started"
            }
            Outcome::Waiting => "waiting",
            Outcome::Skipped(why) => {
                reason = Some(Skipped::name(why));
                "skipped"
            }
            Outcome::Failed(Failed { code, message }) => {
                error = Some(FiringErrorView { code, message });
                "failed"
            }
        };
        Self {
            scheduled_at: which.scheduled_at.rfc3339(),
            manual: which.manual,
            decided_at: decided_at.rfc3339(),
            outcome,
            run_id,
            batch_id,
            reason,
            error,
        }
    }
}

/// A schedule's next times.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NextView {
    data: Vec<NextTimeView>,
}

/// A time.
#[derive(Debug, Serialize, JsonSchema)]
struct NextTimeView {
    at: String,
    /// As the clocks of its time zone show it.
    local: String,
}

impl From<Vec<(Timestamp, String)>> for NextView {
    fn from(times: Vec<(Timestamp, String)>) -> Self {
        let time = |(at, local): (Timestamp, String)| NextTimeView { at: at.rfc3339(), local };
        Self { data: times.into_iter().map(time).collect() }
    }
}
