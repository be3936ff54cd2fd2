//! Budgets of an organisation on the native surface, and how much of a budget is committed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    App, Result,
    money::{self, Budget, NewBudgets, State},
};

use crate::{Request, Response, auth, response};

/// The budgets that the organisation shall have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutBudgets {
    /// The most that all runs may cost on a day (UTC), in micro-USD; `null` or nothing is no budget.
    #[schemars(range(min = 1))]
    day_budget_micro_usd: Option<u64>,
    /// The same in a month (UTC).
    #[schemars(range(min = 1))]
    month_budget_micro_usd: Option<u64>,
}

/// A budget, and how much of it is committed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BudgetStateView {
    /// `key day`, `key month`, `organisation day` or `organisation month`.
    budget: &'static str,
    limit_micro_usd: u64,
    /// What is spent in the period, or reserved by calls under way.
    committed_micro_usd: u64,
    /// The day or month in UTC, as in `2026-11-26` or `2026-11`.
    period: String,
}

impl From<State> for BudgetStateView {
    fn from(state: State) -> Self {
        let State { budget, micro_usd, committed_micro_usd, period } = state;
        Self { budget: budget.name(), limit_micro_usd: micro_usd, committed_micro_usd, period }
    }
}

/// The budgets of the organisation.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BudgetsView {
    day_budget_micro_usd: Option<u64>,
    month_budget_micro_usd: Option<u64>,
    /// What is spent this day, or reserved by calls under way; `null` without a budget.
    day_committed_micro_usd: Option<u64>,
    /// The same for this month.
    month_committed_micro_usd: Option<u64>,
}

impl BudgetsView {
    fn of(states: &[State]) -> Self {
        let state = |budget| states.iter().find(|state| state.budget == budget);
        let (day, month) = (state(Budget::OrganisationDay), state(Budget::OrganisationMonth));
        Self {
            day_budget_micro_usd: day.map(|state| state.micro_usd),
            month_budget_micro_usd: month.map(|state| state.micro_usd),
            day_committed_micro_usd: day.map(|state| state.committed_micro_usd),
            month_committed_micro_usd: month.map(|state| state.committed_micro_usd),
        }
    }
}

pub(super) async fn put_budgets(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let PutBudgets { day_budget_micro_usd, month_budget_micro_usd } = request.json()?;
    let new = NewBudgets { day_micro_usd: day_budget_micro_usd, month_micro_usd: month_budget_micro_usd };
    Ok(response::ok(&BudgetsView::of(&money::set(app, &caller, new).await?)))
}

pub(super) async fn get_budgets(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    Ok(response::ok(&BudgetsView::of(&money::get(app, &caller).await?)))
}
