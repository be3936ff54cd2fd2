//! What there is to use, and how much of it was: models, budgets, usage, limits.

use crate::native::{
    budgets::{self, BudgetsView, PutBudgets},
    models::{self, LimitsView, ModelsView},
    usage::{self, UsageEntryView, UsageQuery},
    views::PageView,
};

crate::route::routes! { Native;
    /// List the models that this deployment can call, with prices
    list_models = GET "/v1/models" => models::list_models {
        answer: 200 ModelsView,
        access: [write api_keys, write runs, use models],
    }
    /// Set the budgets of the organisation: what is not given is taken away
    put_budgets = PUT "/v1/budgets" => budgets::put_budgets {
        body: PutBudgets,
        answer: 200 BudgetsView,
        access: [write api_keys, write runs],
    }
    /// Get the budgets of the organisation, and how much of them is committed
    get_budgets = GET "/v1/budgets" => budgets::get_budgets {
        answer: 200 BudgetsView,
        access: [write api_keys, write runs],
    }
    /// Add up what was used, by day, agent, key or model
    list_usage = GET "/v1/usage" => usage::list_usage {
        query: UsageQuery,
        answer: 200 PageView<UsageEntryView>,
        access: [write api_keys, write runs],
    }
    /// Say which limits hold
    get_limits = GET "/v1/limits" => models::get_limits {
        answer: 200 LimitsView,
        access: [write api_keys, write runs],
    }
}
