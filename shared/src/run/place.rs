//! What is fixed when a run is made: by it lists tell runs apart, and count them, without reading their rows.

use super::{Origin, Run};
use crate::{
    clock::Timestamp,
    id::{AgentId, BatchId, RunId},
};

/// Who or what started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A call on the native surface.
    Native,
    /// A call on the Cotera surface.
    Cotera,
    /// A call on the Cotool surface.
    Cotool,
    /// A call on the CoAgent surface.
    CoAgent,
    /// Another run, as a sub-agent.
    SubAgent,
    /// A schedule.
    Schedule,
    /// A trigger.
    Trigger,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 7] =
        [Self::Native, Self::Cotera, Self::Cotool, Self::CoAgent, Self::SubAgent, Self::Schedule, Self::Trigger];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Cotera => "cotera",
            Self::Cotool => "cotool",
            Self::CoAgent => "coagent",
            Self::SubAgent => "agent",
            Self::Schedule => "schedule",
            Self::Trigger => "trigger",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// What is fixed when a run is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: RunId,
    pub(crate) agent_id: AgentId,
    pub(crate) source: Source,
    /// Whether it is the first run of a chat that a caller began: no sub-agent's.
    pub(crate) begins_chat: bool,
    /// Not always the time in its id: that of a sub-agent's run is its parent's.
    pub(crate) created_at: Timestamp,
    pub(crate) batch: Option<BatchId>,
}

impl Run {
    /// Who or what started it.
    #[must_use]
    pub const fn source(&self) -> Source {
        match self.origin {
            _ if self.parent.is_some() => Source::SubAgent,
            Origin::Native => Source::Native,
            Origin::Cotera => Source::Cotera,
            Origin::Cotool => Source::Cotool,
            Origin::CoAgent => Source::CoAgent,
            Origin::Schedule => Source::Schedule,
            Origin::Trigger => Source::Trigger,
        }
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            id: self.id,
            agent_id: self.agent_id,
            source: self.source(),
            begins_chat: self.chat_id == self.id && self.parent.is_none(),
            created_at: self.created_at,
            batch: self.batch.as_ref().map(|batch| batch.id),
        }
    }
}
