//! The mutation run: each guard switched off alone must be noticed.

use shared::simulation::Guard;

use crate::{plan::Plan, seed::simulate};

/// What is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// What is about to be done is not written down.
    Intent,
    /// A slot is written whatever is there, and so is the run's row.
    WriteOnce,
    /// A slot is written whatever is there; the run's row as ever.
    SlotAlone,
    /// The run's row is written whatever is there; a slot as ever.
    RowAlone,
    /// The reaper never looks.
    Reaper,
    /// A slot and the row that counts it are two transactions.
    OneTransaction,
    /// Runs of batches that are not accepted are worked on.
    Staged,
}

impl Mutation {
    /// All of them, with their names.
    pub const ALL: [(&str, Self); 5] = [
        ("no intent before a call", Self::Intent),
        ("slots and rows written unconditionally", Self::WriteOnce),
        ("no reaper", Self::Reaper),
        ("a slot and its row in two transactions", Self::OneTransaction),
        ("no guard of staged batches", Self::Staged),
    ];

    /// One of two guards that stand for each other, switched off alone: what is left may be enough.
    pub const HALVES: [(&str, Self); 2] = [
        ("slots alone written unconditionally", Self::SlotAlone),
        ("rows alone written unconditionally", Self::RowAlone),
    ];

    /// The plan without that guard.
    #[must_use]
    pub fn of(self, mut plan: Plan) -> Plan {
        plan.off = match self {
            Self::Intent => vec![Guard::Intent],
            Self::WriteOnce => vec![Guard::Slot, Guard::Revision],
            Self::SlotAlone => vec![Guard::Slot],
            Self::RowAlone => vec![Guard::Revision],
            Self::OneTransaction => vec![Guard::OneTransaction],
            Self::Staged => vec![Guard::Staged],
            Self::Reaper => Vec::new(),
        };
        if self == Self::Reaper {
            plan.reaper_ms = None;
        }
        plan
    }

    /// How many seeds from that one on it took until something was wrong, at most so many; and what was.
    #[must_use]
    pub fn caught(self, from: u64, most: u64) -> Option<(u64, String)> {
        (0..most).find_map(|tried| {
            let outcome = simulate(self.of(Plan::of_seed(from + tried)), false);
            outcome.violations.into_iter().next().map(|what| (tried + 1, what))
        })
    }
}
