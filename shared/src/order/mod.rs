//! Orders: what schedules and triggers start, each time anew and without a caller: a run, or a batch of items or of a file's rows. Knows
//! neither times nor events.

pub(crate) mod rows;

use serde::{Deserialize, Serialize};

pub use self::rows::COLUMN_MESSAGE;
use crate::{
    agent::{Metadata, Mode},
    app::App,
    aside::aside,
    batch::{self, INLINE_LIMIT, ITEMS_LIMIT, Item, NewBatch, NewReduction, Shared},
    error::{Error, Problem, Result},
    file,
    id::{AgentId, BatchId, FileId, RunId},
    idempotency::Claim,
    run::{self, Cause, NewRun, Prompt},
    store::row::Write,
    tenant::Caller,
};

/// The most bytes of what an order says of its prompts: it is in a row that is rewritten. A file may have more.
pub const ORDER_LIMIT_BYTES: usize = 256 * 1024;

/// What is started, each time anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Whose runs, and how they differ from what the agent says.
    #[serde(flatten)]
    pub terms: Terms,
    /// What the agent is told.
    pub work: Work,
}

/// Whose runs are started, on the agent's current version unless one is named, and how they differ from what the agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Whose version is run.
    pub agent_id: AgentId,
    /// Which one; `None` is the current one of that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Another model than the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether tools run by themselves; `None` is the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The most model calls of a run; `None` is the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// The most that a run, or all runs of a batch together, may cost, in micro-USD, each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_micro_usd: Option<u64>,
    /// What becomes of a batch's other runs when that is used up.
    #[serde(default)]
    pub on_budget: batch::OnBudget,
    /// How many runs of a batch may be in hand at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u32>,
    /// The run that is told a batch's results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduction: Option<NewReduction>,
    /// The caller's own pairs, for each run and batch.
    #[serde(default)]
    pub metadata: Metadata,
}

impl Terms {
    /// What the agent says, and nothing else.
    #[must_use]
    pub fn of(agent_id: AgentId) -> Self {
        Self {
            agent_id,
            version: None,
            model: None,
            mode: None,
            max_steps: None,
            budget_micro_usd: None,
            on_budget: batch::OnBudget::default(),
            max_concurrency: None,
            reduction: None,
            metadata: Metadata::new(),
        }
    }
}

/// What the agent is told each time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A run with this prompt.
    Run(Prompt),
    /// A batch of these: 1 to [`INLINE_LIMIT`].
    Items(Vec<OrderItem>),
    /// A batch of the rows of a text file of the organisation's, as it then is: 1 to [`ITEMS_LIMIT`] JSON lines, lines of a table with a
    /// head, or plain lines.
    Rows(FileId),
}

/// An item of an order's batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderItem {
    /// The caller's own id: 1 to 64 characters, no two the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_id: Option<String>,
    /// What the agent is told.
    pub prompt: Prompt,
}

impl From<OrderItem> for Item {
    fn from(item: OrderItem) -> Self {
        let OrderItem { custom_id, prompt } = item;
        Self { custom_id, prompt, mode: None, attachments: Vec::new() }
    }
}

/// What was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// A run.
    Run(RunId),
    /// A batch.
    Batch(BatchId),
}

/// An order that is checked and has its ids, not yet accepted: see [`start`].
#[derive(Debug)]
pub(crate) enum Planned {
    Run(Box<run::Planned>),
    Batch(Box<batch::Planned>),
}

impl Planned {
    /// How many runs that is.
    pub(crate) fn runs(&self) -> i64 {
        match self {
            Self::Run(_) => 1,
            Self::Batch(planned) => i64::from(planned.batch().items),
        }
    }

    /// What will have been started when it is accepted.
    pub(crate) const fn started(&self) -> Started {
        match self {
            Self::Run(planned) => Started::Run(planned.run().id),
            Self::Batch(planned) => Started::Batch(planned.batch().id),
        }
    }
}

/// Checks an order and gives what it starts its ids.
///
/// # Errors
/// As [`run::plan`] and [`batch::plan`]; [`Error::NotFound`] for the file, [`Error::Invalid`] for its rows.
pub(crate) async fn plan(app: &App, caller: &Caller, order: Order, cause: Cause) -> Result<Planned> {
    let Order { terms, work } = order;
    let Terms { agent_id, version, model, mode, max_steps, budget_micro_usd, metadata, .. } = terms;
    let origin = cause.origin();
    let items = match work {
        Work::Run(prompt) => {
            let new = NewRun {
                version,
                mode,
                model,
                max_steps,
                budget_micro_usd,
                metadata,
                ..NewRun::of(agent_id, prompt, origin)
            };
            let planned = run::plan(app, caller, new).await?.caused_by(cause);
            return Ok(Planned::Run(Box::new(planned)));
        }
        Work::Items(items) => items.into_iter().map(Item::from).collect(),
        Work::Rows(id) => {
            let (file, bytes) = file::bytes(app, caller.tenant(), id).await?;
            aside(move || rows::read(&file.media_type, &bytes)).await?.map_err(Error::Invalid)?
        }
    };
    let items = items.into_iter().map(|item: Item| Item { mode, ..item }).collect();
    let new = NewBatch {
        agent_id,
        version,
        model,
        items,
        limit: ITEMS_LIMIT,
        items_field: "items",
        origin,
        deadline_at: None,
        metadata,
        webhook_url: None,
        shared: Shared { budget_micro_usd, on_budget: terms.on_budget, max_concurrency: terms.max_concurrency },
        reduction: terms.reduction,
    };
    Ok(Planned::Batch(Box::new(batch::plan(app, caller, new).await?.caused_by(cause))))
}

/// Refuses an order that could not be started now. What it is told of a file is what that has now.
///
/// # Errors
/// As [`plan`].
pub(crate) async fn check(app: &App, caller: &Caller, order: &Order, cause: Cause) -> Result<()> {
    let said = serde_json::to_vec(&order.work).map_err(|error| Error::Internal(error.into()))?;
    let problem = |field: &str, message: String| Problem { field: field.to_owned(), message };
    let terms = &order.terms;
    let mut problems = Vec::new();
    if said.len() > ORDER_LIMIT_BYTES {
        let message = format!("must be at most {ORDER_LIMIT_BYTES} bytes; rows of a file (file_id) may be more");
        problems.push(problem(if matches!(order.work, Work::Items(_)) { "items" } else { "message" }, message));
    }
    match &order.work {
        Work::Run(_) => {
            let only = [
                ("max_concurrency", terms.max_concurrency.is_some()),
                ("on_budget", terms.on_budget != batch::OnBudget::default()),
                ("reduce", terms.reduction.is_some()),
            ];
            let given = only.into_iter().filter(|(_, given)| *given);
            problems.extend(given.map(|(field, _)| problem(field, "is a batch's, and this starts a run".to_owned())));
        }
        Work::Items(items) if items.len() > INLINE_LIMIT => {
            problems.push(problem(
                "items",
                format!("must have 1 to {INLINE_LIMIT} items; more as rows of a file (file_id)"),
            ));
        }
        Work::Items(_) | Work::Rows(_) if terms.max_steps.is_some() => {
            problems.push(problem("max_steps", "is a run's: the agent's own holds for a batch".to_owned()));
        }
        Work::Items(_) | Work::Rows(_) => {}
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    plan(app, caller, order.clone(), cause).await.map(|_| ())
}

/// Accepts what was planned, in one transaction with these writes, and asks for workers.
///
/// # Errors
/// [`Error::InProgress`] when one of the writes cannot be: nothing is started then.
pub(crate) async fn start(app: &App, planned: Planned, with: Vec<Write>) -> Result<Started> {
    match planned {
        Planned::Run(planned) => {
            run::start_with(app, *planned, Claim::none(), &with).await.map(|run| Started::Run(run.id))
        }
        Planned::Batch(planned) => batch::start_with(app, *planned, with).await.map(|batch| Started::Batch(batch.id)),
    }
}

/// Whether what was started has ended. What is gone has.
///
/// # Errors
/// As the store says.
pub(crate) async fn ended(app: &App, caller: &Caller, started: Started) -> Result<bool> {
    let tenant = caller.tenant();
    match started {
        Started::Run(id) => Ok(app.store().run(tenant, id).await?.is_none_or(|found| found.value.status.terminal())),
        Started::Batch(id) => match batch::settle(app, tenant, id).await {
            Ok((_, progress)) => Ok(progress.ended_at.is_some()),
            Err(Error::NotFound(_)) => Ok(true),
            Err(error) => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As it stands in rows of schedules.
    #[test]
    fn the_terms_of_an_order_are_written_beside_its_work() {
        let agent = "01a21fb9-c057-77df-a2f0-19202ca1068b";
        let written = json!({"agent_id": agent, "version": 2, "budget_micro_usd": 5_000_000_000_u64, "on_budget": "cancel_all",
            "metadata": {"a": "b"}, "work": {"run": {"message": "hello"}}});
        let order: Order = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((order.terms.version, order.terms.budget_micro_usd), (Some(2), Some(5_000_000_000)));
        assert_eq!(serde_json::to_value(&order).unwrap(), written);
    }
}
