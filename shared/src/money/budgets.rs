//! The budgets that organisations set for themselves, and those of keys; and how much of each is committed.

use serde::{Deserialize, Serialize};

use super::{Budget, Ledger, Limit, spent};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::OrgId,
    random,
    remembered::Remembered,
    store,
    store::row::Rev,
    tenant::{Caller, Scope, Tenant},
};

/// How long a process goes by budgets that it has read, in milliseconds.
const REMEMBERED_MS: u64 = 5_000;
/// How often the row is read again when others write it at the same time.
const TRIES: u32 = 10;

/// An organisation's budgets, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Budgets {
    day: Option<Setting>,
    month: Option<Setting>,
}

/// A budget from when it was set on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    micro_usd: u64,
    /// Names its ledgers: drawn when a budget is set where there was none, as nobody kept a ledger meanwhile.
    id: String,
    /// The period in which that was.
    period: String,
    /// What had been spent in it by then.
    before_micro_usd: u64,
}

impl Budgets {
    fn limits(&self, now: Timestamp) -> Vec<Limit> {
        let limit = |budget: Budget, setting: &Option<Setting>| {
            let setting = setting.as_ref()?;
            let ledger = Ledger::new(budget, setting.id.clone(), now);
            let before_micro_usd = if ledger.period == setting.period { setting.before_micro_usd } else { 0 };
            Some(Limit { ledger, micro_usd: setting.micro_usd, before_micro_usd })
        };
        let both = [limit(Budget::OrganisationDay, &self.day), limit(Budget::OrganisationMonth, &self.month)];
        both.into_iter().flatten().collect()
    }
}

/// The budgets that this process has read lately.
pub(crate) type RememberedBudgets = Remembered<OrgId, Budgets>;

/// None yet.
pub(crate) fn none_remembered() -> RememberedBudgets {
    Remembered::for_ms(REMEMBERED_MS)
}

/// The budgets of the organisation that hold now, as they were at most 5 seconds ago.
pub(crate) async fn organisation_budgets(app: &App, tenant: Tenant) -> store::Result<Vec<Limit>> {
    let now = app.now();
    if let Some(budgets) = app.remembered_budgets().get(&tenant.org(), now) {
        return Ok(budgets.limits(now));
    }
    let budgets = app.store().budgets(tenant).await?.map(|found| found.value).unwrap_or_default();
    app.remembered_budgets().put(tenant.org(), now, budgets.clone());
    Ok(budgets.limits(now))
}

/// The budgets that apply to whatever the caller starts: those of its key and of its organisation.
pub(crate) async fn limits_of(app: &App, caller: &Caller) -> Result<Vec<Limit>> {
    let mut limits = caller.key_budget().map(|key| key.limits(app.now())).unwrap_or_default();
    limits.extend(organisation_budgets(app, caller.tenant()).await?);
    Ok(limits)
}

/// A budget, and how much of it is committed in the period that is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which.
    pub budget: Budget,
    /// The most that may be spent, in micro-USD.
    pub micro_usd: u64,
    /// What is spent, or reserved by calls under way, in micro-USD.
    pub committed_micro_usd: u64,
    /// The day or month in UTC, as in `2026-11-26` or `2026-11`.
    pub period: String,
}

async fn states(app: &App, tenant: Tenant, limits: Vec<Limit>) -> Result<Vec<State>> {
    let mut states = Vec::with_capacity(limits.len());
    for limit in limits {
        let committed = app.store().committed(tenant, &limit.ledger).await?;
        states.push(State {
            budget: limit.ledger.budget,
            micro_usd: limit.micro_usd,
            committed_micro_usd: committed.saturating_add(limit.before_micro_usd),
            period: limit.ledger.period,
        });
    }
    Ok(states)
}

/// The budgets that apply to whatever the caller starts: every key may know what may refuse its runs.
///
/// # Errors
/// As the store says.
pub async fn applying(app: &App, caller: &Caller) -> Result<Vec<State>> {
    let limits = caller.key_budget().map(|key| key.limits(app.now())).unwrap_or_default();
    let mut all = states(app, caller.tenant(), limits).await?;
    all.extend(of_organisation(app, caller).await?);
    Ok(all)
}

/// The budgets of the caller's organisation.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn get(app: &App, caller: &Caller) -> Result<Vec<State>> {
    caller.require(Scope::RunsRead)?;
    of_organisation(app, caller).await
}

async fn of_organisation(app: &App, caller: &Caller) -> Result<Vec<State>> {
    let found = app.store().budgets(caller.tenant()).await?.map(|found| found.value).unwrap_or_default();
    states(app, caller.tenant(), found.limits(app.now())).await
}

/// The budgets that an organisation shall have: `None` is no budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewBudgets {
    /// The most that its runs may cost on a day (UTC), in micro-USD: at least 1.
    pub day_micro_usd: Option<u64>,
    /// The same in a month (UTC).
    pub month_micro_usd: Option<u64>,
}

impl NewBudgets {
    /// Adds what is wrong with budgets of a day and a month.
    pub(crate) fn check(self, problems: &mut Vec<Problem>) {
        let fields = [("day_budget_micro_usd", self.day_micro_usd), ("month_budget_micro_usd", self.month_micro_usd)];
        for (field, _) in fields.into_iter().filter(|(_, micro_usd)| *micro_usd == Some(0)) {
            problems.push(Problem { field: field.to_owned(), message: "must be at least 1".to_owned() });
        }
    }
}

/// Sets both budgets of the caller's organisation. What was spent before in the day and month that are now counts. Every process goes
/// by them within 5 seconds; calls that are under way by then are not counted.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Forbidden`].
pub async fn set(app: &App, caller: &Caller, new: NewBudgets) -> Result<Vec<State>> {
    caller.require(Scope::KeysManage)?;
    let mut problems = Vec::new();
    new.check(&mut problems);
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let tenant = caller.tenant();
    for attempt in 1..=TRIES {
        let (old, seen) = match app.store().budgets(tenant).await? {
            Some(found) => (found.value, Some(found.rev)),
            None => (Budgets::default(), None),
        };
        let budgets = Budgets {
            day: setting(app, tenant, Budget::OrganisationDay, old.day, new.day_micro_usd).await?,
            month: setting(app, tenant, Budget::OrganisationMonth, old.month, new.month_micro_usd).await?,
        };
        match app.store().save_budgets(tenant, &budgets, seen).await {
            Ok(()) => {
                app.remembered_budgets().put(tenant.org(), app.now(), budgets.clone());
                return states(app, tenant, budgets.limits(app.now())).await;
            }
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the budgets are being written all the time".into()))
}

async fn setting(
    app: &App,
    tenant: Tenant,
    budget: Budget,
    old: Option<Setting>,
    micro_usd: Option<u64>,
) -> Result<Option<Setting>> {
    let Some(micro_usd) = micro_usd else { return Ok(None) };
    if let Some(old) = old {
        return Ok(Some(Setting { micro_usd, ..old }));
    }
    let now = app.now();
    let period = budget.period(now);
    let first = if budget == Budget::OrganisationMonth { format!("{period}-01") } else { period.clone() };
    let before_micro_usd = spent(app, tenant, &first, &now.day()).await?;
    Ok(Some(Setting { micro_usd, id: format!("{:016x}", Rev::fresh().0), period, before_micro_usd }))
}
