//! Runs: one execution of one version of an agent. The type and its states are here; what callers do with it beside.

mod approve;
mod attempt;
mod booking;
mod call;
mod called;
mod cancel;
mod cause;
mod chats;
mod evaluation;
mod events;
mod explain;
mod family;
mod feedback;
mod history;
mod passed_over;
mod place;
mod prompt;
mod read;
mod search;
mod start;
mod status;
mod told;
mod transition;
mod watch;

use serde::{Deserialize, Serialize};

pub use approve::{Answer as ApprovalAnswer, Approval, approvals, decide};
pub use attempt::{Attempt, AttemptEnd, InFlight, Usage};
pub use call::{CallState, Decision, PendingCall};
pub use called::Called;
pub(crate) use cancel::{before_write, request_cancel, written};
pub use cancel::{below, cancel, cancel_chat};
pub use cause::{By, CHAIN_LIMIT, CHAIN_RUNS_LIMIT, Cause, Chain};
pub use chats::{agent_chats, chats};
pub(crate) use evaluation::Verdict;
pub use evaluation::{Criterion, Evaluation};
pub use events::{Event, Happened, OpenCall};
pub use explain::{attempts, children, explain};
pub(crate) use family::SharedBudget;
pub use family::{DEPTH_LIMIT, FAMILY_LIMIT, Parent};
pub use feedback::{COMMENT_CHARS, Feedback, Label, NewFeedback, feedback, give_feedback};
pub use history::{ChatEvent, ChatEventKind, history};
pub use passed_over::PassedOver;
pub(crate) use place::Place;
pub use place::Source;
pub use prompt::{MESSAGE_LIMIT_BYTES, Prompt};
pub use read::{Chat, Filter, PAGES_LIMIT, ParentIs, chat, get, list, list_pages, output, outputs, own};
pub(crate) use read::{Glance, outputs_of, visible};
pub(crate) use search::Summary;
pub use search::{Direction, Matches, Order, PLACES_LIMIT, ROWS_LIMIT, Scores, Search, Slice, SortBy, search};
pub use start::{CHAT_LIMIT, NewRun, Planned, begin, plan, plan_on, start};
pub(crate) use start::{Pinned, first_row, pin, pin_to, start_with};
pub use status::{Reason, Status};
pub(crate) use told::{CallEvent, Delta, Told};
pub(crate) use transition::Acquired;
pub use watch::{Seen, Watch, events};

use crate::{
    agent::{Metadata, Mode},
    clock::Timestamp,
    id::{AgentId, BatchId, KeyId, OrgId, RunId},
    model::ModelName,
    money::{Books, Budget, KeyBudget},
    tenant::Tenant,
    webhook::Notices,
};

/// The batch that a run belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InBatch {
    /// The batch.
    pub id: BatchId,
    /// The item's place in the request, from 0.
    pub index: u16,
    /// The caller's own id of the item.
    pub custom_id: Option<String>,
    /// The most that all runs of the batch may cost together, in micro-USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget_micro_usd: Option<u64>,
    /// How many runs of the batch may be in hand at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_concurrency: Option<u32>,
    /// Whether somebody waits for the end of the batch, so that the end of each run is looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) awaited: bool,
    /// Whether it is a cell of an evaluation: nobody is told of it, and nothing goes on from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) evaluates: bool,
}

/// Who holds a run, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process that holds it.
    pub owner: String,
    /// Until when nobody else may take it.
    pub until: Timestamp,
}

/// Where the run came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The native surface.
    Native,
    /// The Cotera surface.
    Cotera,
    /// The Cotool surface.
    Cotool,
    /// The CoAgent surface.
    CoAgent,
    /// No call: a schedule.
    Schedule,
    /// No call: a trigger.
    Trigger,
}

/// A run. Its row is rewritten as a whole, each time only if nobody else has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Whose it is.
    pub(crate) org: OrgId,
    /// The key that started it.
    pub key_id: KeyId,
    /// Where it was started.
    pub origin: Origin,
    /// What started it, if no call did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The agent.
    pub agent_id: AgentId,
    /// The version it is pinned to.
    pub agent_version: u32,
    /// The agent's name at the start, for lists.
    pub agent_name: String,
    /// The model that it calls first.
    pub model: ModelName,
    /// Whether its tools run by themselves.
    pub mode: Mode,
    /// Whether its agent's version has an output schema: what it says at its end is JSON.
    #[serde(default)]
    pub structured: bool,
    /// Whether pieces of its model's answers are told as they come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) streams: bool,
    /// The beginning of the message, for lists: at most 80 characters.
    pub title: String,
    /// The caller's own pairs.
    pub metadata: Metadata,
    /// Where its events are sent, besides where its organisation has them sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// The first run of the chat that it belongs to: itself, unless it goes on with one.
    pub chat_id: RunId,
    /// In the chat's first run: the runs that went on with it, in order.
    pub continued_by: Vec<RunId>,
    /// The batch that it belongs to.
    pub batch: Option<InBatch>,
    /// The run that started it as a sub-agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The slots of the tool calls for which it started a run: see [`Run::children`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) started_for: Vec<u32>,
    /// The batch whose results it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduces: Option<BatchId>,
    /// The run that it grades: one that does is in no list, and no caller sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grades: Option<RunId>,
    /// Whether it is of a judge of an evaluation: what it uses is told as judges'.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) judges: bool,
    /// Whether a run was started, with its end, that grades it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub graded: bool,
    /// What came of grading it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Whether its batch is known to be accepted: rows of a batch are written before the batch is.
    pub(crate) accepted: bool,

    /// Where it stands.
    pub status: Status,
    /// Why.
    pub reason: Option<Reason>,
    /// What went wrong, for a person.
    pub error: Option<String>,
    /// How many slots of its journal are filled: the next one's number.
    pub step: u32,
    /// The model call that a worker is making.
    pub in_flight: Option<InFlight>,
    /// The tool calls of the model's last answer, until all are filled.
    #[serde(default)]
    pub calls: Vec<PendingCall>,
    /// The tools that its models asked for; none in rows that are older than this.
    #[serde(default, skip_serializing_if = "Called::is_empty")]
    pub called: Called,
    /// How many events were told of it, without its end; 0 in rows that are older than events.
    #[serde(default)]
    pub(crate) told: u32,
    /// The models that are not called for the next slot; forgotten when it is filled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// Counts up at each time it is taken.
    pub fence: u64,
    /// How often it was taken from a dead worker since the last slot was filled.
    pub takeovers: u32,
    /// How often it was handed on.
    pub hops: u32,
    /// Somebody wants it to end.
    pub cancel_requested: bool,
    /// When it ends if it has not.
    pub deadline_at: Timestamp,
    /// When the reaper looks at it again.
    pub next_check_at: Timestamp,
    /// The most model calls.
    pub max_steps: u32,
    /// The most that it may cost, in micro-USD.
    pub budget_micro_usd: Option<u64>,
    /// The budgets of the key that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_budget: Option<KeyBudget>,
    /// The budgets that it shares with its relatives: its own, those of the runs above it, and that of their batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shared_budgets: Vec<SharedBudget>,
    /// The budget that had no room for its next model call, or the batch's if it had none for one below this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<Budget>,
    /// Whether it is counted among the runs of its batch that are in hand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) placed: bool,
    /// The revision of its holder's last write: by it a holder knows a write whose reply was lost, whoever wrote the row since.
    #[serde(default)]
    pub(crate) stamp: i64,
    /// What it has used.
    pub usage: Usage,
    /// The last attempts: at most [`ATTEMPTS_KEPT`], see [`attempts`] for all.
    pub attempts: Vec<Attempt>,
    /// What attempts used that are listed nowhere: they failed, and others came after them.
    #[serde(default)]
    pub left_out: Usage,

    /// When it was accepted.
    pub created_at: Timestamp,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When its row was written last.
    pub updated_at: Timestamp,

    /// What is written with the row when it is written next.
    #[serde(skip)]
    pub(crate) books: Books,
    /// Who is told of it then.
    #[serde(skip)]
    pub(crate) notices: Notices,
}

/// How many attempts a run's row keeps; the usage counts all, and the journal has those that were answered.
pub const ATTEMPTS_KEPT: usize = 20;
/// How long a run may take unless set otherwise, in milliseconds: 24 hours, which is also the most.
pub const DEADLINE_MS: i64 = 24 * 60 * 60 * 1000;
/// How often a run may be handed on from worker to worker.
pub const HOPS_LIMIT: u32 = 200;
/// How often a run may be taken from a dead worker before a slot is filled.
pub const TAKEOVERS_LIMIT: u32 = 3;
/// The same where one process holds every run: when it dies, all are taken over, whichever was why.
pub const SOLE_TAKEOVERS_LIMIT: u32 = 10;

impl Run {
    pub(crate) fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    /// What it has said at its end as a value: JSON, if its agent has an output schema.
    pub(crate) fn output(&self, said: String) -> serde_json::Value {
        let json = self.structured.then(|| serde_json::from_str(&said).ok()).flatten();
        json.unwrap_or(serde_json::Value::String(said))
    }

    /// How long it took, or has taken at this moment, in milliseconds, from its acceptance on.
    #[must_use]
    pub fn duration_ms(&self, now: Timestamp) -> u64 {
        self.ended_at.unwrap_or(now).since_ms(self.created_at)
    }

    /// How long workers had it, from the first taking to its end, in milliseconds; 0 before.
    #[must_use]
    pub fn run_ms(&self, now: Timestamp) -> u64 {
        self.glance().run_ms(now)
    }
}
