//! Money: which budgets hold, what is reserved and spent under each, and what was used. Knows no surface, no keys of rows.
//!
//! Before a model is called, what the call may cost at most is reserved in the ledger of each budget that applies; when it is
//! booked, the difference to what it did cost is given back to the same ledgers, those of the day and month in which it began. Both go
//! into the same transaction as the run's row, whoever writes it, so a ledger is always what the rows say: see [`Books`]. A ledger
//! that would pass its budget refuses the transaction, so no budget is ever overspent, as long as no call uses more than the most that it
//! may use. A budget that nobody set has no ledger.

mod books;
mod budgets;
mod ledger;
mod usage;

pub(crate) use books::Books;
pub(crate) use budgets::{Budgets, RememberedBudgets, limits_of, none_remembered, organisation_budgets};
pub use budgets::{NewBudgets, State, applying, get, set};
pub use ledger::Budget;
pub(crate) use ledger::{KeyBudget, Ledger, Limit};
pub use usage::{Dimension, Entry as UsageEntry, Filter as UsageFilter, KEPT_DAYS, Purpose, list as usage};
pub(crate) use usage::{Place as UsagePlace, Used, spent};
