//! Where a run stands, and why: the words that callers and lists use.

use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted; no worker has begun, or one has put it back.
    Queued,
    /// A worker holds it.
    Running,
    /// It waits for a time or an event, and costs nothing meanwhile.
    Waiting,
    /// It ended well.
    Done,
    /// It ended badly: see the reason.
    Error,
    /// It was cancelled.
    Interrupted,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [Self::Queued, Self::Running, Self::Waiting, Self::Done, Self::Error, Self::Interrupted];

    /// Whether the run has ended.
    #[must_use]
    pub const fn terminal(self) -> bool {
        matches!(self, Self::Done | Self::Error | Self::Interrupted)
    }

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Error => "error",
            Self::Interrupted => "interrupted",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// Why a run ended as it did, or waits: for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The next model call could have cost more than what is left of a budget.
    BudgetExceeded,
    /// A budget applies, and what the next model call may cost is not known.
    UnknownPrice,
    /// As many model calls as the agent allows.
    MaxSteps,
    /// Its deadline passed.
    Deadline,
    /// The provider says that the account's quota or money is used up.
    ProviderQuota,
    /// The provider asks to wait.
    ProviderRateLimit,
    /// Most calls of the model failed a moment ago, so it is left alone for a while.
    CircuitOpen,
    /// The model could not be called, after retries.
    ModelError,
    /// The model's answer was cut off by the most tokens that it may write.
    MaxTokens,
    /// The provider's filter stopped the answer.
    ContentFiltered,
    /// The model's answer is not what the agent's output schema asks for, and was not when it was asked again.
    OutputInvalid,
    /// The model asked for a tool, and the agent has none.
    UnknownTool,
    /// The model asked for more tool calls than a run may make.
    MaxToolCalls,
    /// A person is asked about a tool call.
    ApprovalRequired,
    /// Nobody said anything about a tool call before the deadline.
    ApprovalExpired,
    /// A tool call may or may not have taken place, and a person is asked.
    OutcomeUnknown,
    /// A tool is not what it was when the agent was saved, and a person is asked whether to call it nevertheless.
    ToolChanged,
    /// It goes on when runs that it started as sub-agents have ended.
    SubAgent,
    /// Worker after worker died while it held the run.
    WorkerCrashLoop,
    /// The run was handed on more often than a run may be.
    HopLimit,
    /// Somebody cancelled it.
    Cancelled,
}

impl Reason {
    /// Why a person is asked about a tool call: its tool has changed, or nobody knows whether it took place, or neither.
    pub(crate) const fn of_question(unclear: bool, changed: bool) -> Self {
        match (changed, unclear) {
            (true, _) => Self::ToolChanged,
            (false, true) => Self::OutcomeUnknown,
            (false, false) => Self::ApprovalRequired,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BudgetExceeded => "budget_exceeded",
            Self::UnknownPrice => "unknown_price",
            Self::MaxSteps => "max_steps",
            Self::Deadline => "deadline",
            Self::ProviderQuota => "provider_quota",
            Self::ProviderRateLimit => "provider_rate_limit",
            Self::CircuitOpen => "circuit_open",
            Self::ModelError => "model_error",
            Self::MaxTokens => "max_tokens",
            Self::ContentFiltered => "content_filtered",
            Self::OutputInvalid => "output_invalid",
            Self::UnknownTool => "unknown_tool",
            Self::MaxToolCalls => "max_tool_calls",
            Self::ApprovalRequired => "approval_required",
            Self::ApprovalExpired => "approval_expired",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::ToolChanged => "tool_changed",
            Self::SubAgent => "sub_agent",
            Self::WorkerCrashLoop => "worker_crash_loop",
            Self::HopLimit => "hop_limit",
            Self::Cancelled => "cancelled",
        }
    }
}
