//! Budgets, and the ledgers that say how much of each is committed: pure.

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, id::KeyId};

/// How long the ledger of a day and of a month is kept after its beginning, in milliseconds: no call goes on for so long.
const DAY_KEPT_MS: i64 = 8 * 24 * 60 * 60 * 1000;
const MONTH_KEPT_MS: i64 = 62 * 24 * 60 * 60 * 1000;

/// What a budget is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// A run. Its ledger is the run's own row.
    Run,
    /// A run and those below it that it started as sub-agents.
    Family,
    /// All runs of a batch.
    Batch,
    /// A key's runs on a day (UTC).
    KeyDay,
    /// A key's runs in a month (UTC).
    KeyMonth,
    /// An organisation's runs on a day (UTC).
    OrganisationDay,
    /// An organisation's runs in a month (UTC).
    OrganisationMonth,
}

impl Budget {
    /// The words for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Family => "family",
            Self::Batch => "batch",
            Self::KeyDay => "key day",
            Self::KeyMonth => "key month",
            Self::OrganisationDay => "organisation day",
            Self::OrganisationMonth => "organisation month",
        }
    }

    /// Whose it is, in one word: the period tells a day from a month.
    pub(crate) const fn scope(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Family => "family",
            Self::Batch => "batch",
            Self::KeyDay | Self::KeyMonth => "key",
            Self::OrganisationDay | Self::OrganisationMonth => "organisation",
        }
    }

    /// The period that holds this moment: a day as in `2026-11-26`, a month as in `2026-11`, or nothing for what has none.
    pub(crate) fn period(self, at: Timestamp) -> String {
        match self {
            Self::Run | Self::Family | Self::Batch => String::new(),
            Self::KeyDay | Self::OrganisationDay => at.day(),
            Self::KeyMonth | Self::OrganisationMonth => at.month(),
        }
    }
}

/// What is committed under one budget in one period: spent, or reserved by calls under way, in micro-USD.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) budget: Budget,
    /// Whose budget: a batch, a key, or the setting of an organisation's budget.
    pub(crate) of: String,
    /// Of which day or month; empty for what has no periods.
    pub(crate) period: String,
}

impl Ledger {
    pub(crate) fn new(budget: Budget, of: impl Into<String>, at: Timestamp) -> Self {
        Self { budget, of: of.into(), period: budget.period(at) }
    }

    /// Until when it is kept, when it is written now.
    pub(crate) fn kept_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.budget {
            Budget::Run | Budget::Family | Budget::Batch => None,
            Budget::KeyDay | Budget::OrganisationDay => Some(now.plus_ms(DAY_KEPT_MS)),
            Budget::KeyMonth | Budget::OrganisationMonth => Some(now.plus_ms(MONTH_KEPT_MS)),
        }
    }
}

/// A budget that applies to a run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) ledger: Ledger,
    pub(crate) micro_usd: u64,
    /// What was spent in the period before the budget was set: not in the ledger.
    pub(crate) before_micro_usd: u64,
}

impl Limit {
    pub(crate) const fn new(ledger: Ledger, micro_usd: u64) -> Self {
        Self { ledger, micro_usd, before_micro_usd: 0 }
    }

    /// The most that the ledger may be at.
    pub(crate) fn most(&self) -> i64 {
        i64::try_from(self.micro_usd.saturating_sub(self.before_micro_usd)).unwrap_or(i64::MAX)
    }

    /// Why a call that may cost `next` is refused, when the ledger is at `committed`.
    pub(crate) fn refusal(&self, next: u64, committed: u64) -> String {
        let committed = committed.saturating_add(self.before_micro_usd);
        let (budget, all) = (self.ledger.budget.name(), self.micro_usd);
        format!(
            "the next model call may cost {next} micro-USD, and {committed} of the {all} of the {budget} budget are spent or reserved"
        )
    }
}

/// A key's budgets, as a run that was started with it bears them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyBudget {
    /// Under which key's name they are kept: a rotated key goes on with those of the key whose place it took.
    pub(crate) of: KeyId,
    pub(crate) day_micro_usd: Option<u64>,
    pub(crate) month_micro_usd: Option<u64>,
}

impl KeyBudget {
    pub(crate) fn limits(&self, now: Timestamp) -> Vec<Limit> {
        let of = self.of.to_string();
        let limit = |budget, micro_usd: Option<u64>| Some(Limit::new(Ledger::new(budget, of.clone(), now), micro_usd?));
        [limit(Budget::KeyDay, self.day_micro_usd), limit(Budget::KeyMonth, self.month_micro_usd)]
            .into_iter()
            .flatten()
            .collect()
    }
}
