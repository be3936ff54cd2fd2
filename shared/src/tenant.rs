//! Whose data: the proof that the store asks for, and who is calling.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{KeyId, OrgId},
    limit::KeyLimits,
    money::KeyBudget,
};

/// The proof that work is done for an organisation. Every query of the store takes one, and only this crate can make one:
/// from a valid key, or from a row or message that was written under that organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant(OrgId);

impl Tenant {
    pub(crate) const fn of(org: OrgId) -> Self {
        Self(org)
    }

    /// The organisation.
    #[must_use]
    pub const fn org(self) -> OrgId {
        self.0
    }
}

/// What a key may do. A key without scopes may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Look at agents.
    #[serde(rename = "agents:read")]
    AgentsRead,
    /// Make, change and delete agents.
    #[serde(rename = "agents:write")]
    AgentsWrite,
    /// Look at runs and batches.
    #[serde(rename = "runs:read")]
    RunsRead,
    /// Start, cancel and retry runs and batches.
    #[serde(rename = "runs:write")]
    RunsWrite,
    /// Make, list, rotate and revoke keys.
    #[serde(rename = "keys:manage")]
    KeysManage,
    /// Put, list and delete secrets; nobody reads their values.
    #[serde(rename = "secrets:write")]
    SecretsWrite,
}

impl Scope {
    /// Every scope, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::AgentsRead, Self::AgentsWrite, Self::RunsRead, Self::RunsWrite, Self::KeysManage, Self::SecretsWrite];

    /// The scope's name, as it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::RunsRead => "runs:read",
            Self::RunsWrite => "runs:write",
            Self::KeysManage => "keys:manage",
            Self::SecretsWrite => "secrets:write",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| format!("unknown scope '{text}'; known: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Who is calling: made by [`crate::api_key::authenticate`] alone.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) tenant: Tenant,
    pub(crate) key_id: KeyId,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) limits: KeyLimits,
    /// Under which key's name its budgets are kept.
    pub(crate) budget_of: KeyId,
}

impl Caller {
    /// The caller's organisation.
    #[must_use]
    pub const fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// The key that was used.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What the key may do; empty means everything.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The limits that were set when the key was made.
    #[must_use]
    pub const fn limits(&self) -> KeyLimits {
        self.limits
    }

    /// The key's budgets, if it has any.
    pub(crate) fn key_budget(&self) -> Option<KeyBudget> {
        let KeyLimits { day_budget_micro_usd, month_budget_micro_usd, .. } = self.limits;
        let budget = KeyBudget {
            of: self.budget_of,
            day_micro_usd: day_budget_micro_usd,
            month_micro_usd: month_budget_micro_usd,
        };
        (day_budget_micro_usd.is_some() || month_budget_micro_usd.is_some()).then_some(budget)
    }

    /// What is kept of the caller with what shall be started later.
    pub(crate) fn mandate(&self) -> Mandate {
        Mandate { key_id: self.key_id, key_budget: self.key_budget() }
    }

    /// Whether the key may do this.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.is_empty() || self.scopes.contains(&scope)
    }

    /// Refuses a key that may not do this.
    ///
    /// # Errors
    /// [`crate::Error::Forbidden`] with the scope that is missing.
    pub fn require(&self, scope: Scope) -> crate::Result<()> {
        if self.may(scope) {
            return Ok(());
        }
        Err(crate::Error::Forbidden { message: format!("the key lacks the scope {scope}"), missing: vec![scope] })
    }
}

/// In whose name something is started again and again without a request: of the organisation, with the key that asked for it and the
/// budgets that this had. It holds also when the key is no more: who wants that to end pauses or deletes what starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mandate {
    key_id: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_budget: Option<KeyBudget>,
}

impl Mandate {
    /// The key that asked for it.
    pub(crate) const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Who starts it: may start runs, and nothing else.
    pub(crate) fn caller(&self, tenant: Tenant) -> Caller {
        let KeyBudget { of, day_micro_usd, month_micro_usd } =
            self.key_budget.unwrap_or(KeyBudget { of: self.key_id, day_micro_usd: None, month_micro_usd: None });
        let limits = KeyLimits {
            day_budget_micro_usd: day_micro_usd,
            month_budget_micro_usd: month_micro_usd,
            ..KeyLimits::default()
        };
        Caller { tenant, key_id: self.key_id, scopes: vec![Scope::RunsWrite], limits, budget_of: of }
    }
}
