//! Starting runs: checked, pinned to a version of the agent, and accepted in one transaction.

use std::sync::Arc;

use super::{Called, Cause, Chat, DEADLINE_MS, InBatch, Origin, Prompt, Run, SharedBudget, Status, Usage, told};
use crate::{
    agent::{self, AgentVersion, Inputs, MAX_STEPS_LIMIT, Metadata, Mode},
    app::App,
    clock::Timestamp,
    engine::{self, Held},
    error::{Error, Problem, Result},
    file::{self, NewAttachment},
    id::{AgentId, KeyId, RunId},
    idempotency::Claim,
    message::{Record, Slot},
    model::ModelName,
    money::{self, Books, Budget, KeyBudget, Ledger},
    provider,
    store::{
        self, Versioned,
        row::{Row, Write},
    },
    tenant::{Caller, Scope, Tenant},
    tool::Kind,
    webhook::{self, Notices},
};

/// How many characters of the message a list shows.
const TITLE_CHARS: usize = 80;
/// How many runs may go on with one chat.
pub const CHAT_LIMIT: usize = 200;

/// What a run shall be.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Whose version is run.
    pub agent_id: AgentId,
    /// Which one; `None` is the current one.
    pub version: Option<u32>,
    /// What the agent is told.
    pub prompt: Prompt,
    /// Where the call came from.
    pub origin: Origin,
    /// Whether tools run by themselves; `None` is the agent's own.
    pub mode: Option<Mode>,
    /// Another model than the agent's.
    pub model: Option<String>,
    /// The most model calls, at most [`MAX_STEPS_LIMIT`]; `None` is the agent's own.
    pub max_steps: Option<u32>,
    /// The most that it may cost, in micro-USD; `None` is the agent's own.
    pub budget_micro_usd: Option<u64>,
    /// When it ends if it has not: at most 24 hours from now; `None` is 24 hours from now.
    pub deadline_at: Option<Timestamp>,
    /// The chat to go on with: the id of its first run.
    pub chat_id: Option<RunId>,
    /// The files that the message comes with.
    pub attachments: Vec<NewAttachment>,
    /// Where its events are sent, besides where the organisation has them sent.
    pub webhook_url: Option<String>,
    /// The caller's own pairs.
    pub metadata: Metadata,
}

impl NewRun {
    /// A run with nothing but its prompt: the rest is the agent's own.
    #[must_use]
    pub const fn of(agent_id: AgentId, prompt: Prompt, origin: Origin) -> Self {
        Self {
            agent_id,
            version: None,
            prompt,
            origin,
            mode: None,
            model: None,
            max_steps: None,
            budget_micro_usd: None,
            deadline_at: None,
            chat_id: None,
            attachments: Vec::new(),
            webhook_url: None,
            metadata: Metadata::new(),
        }
    }
}

/// What runs of one request have in common: the version of the agent and what the request changed about it.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    pub(crate) tenant: Tenant,
    pub(crate) key_id: KeyId,
    pub(crate) key_budget: Option<KeyBudget>,
    pub(crate) agent: Arc<AgentVersion>,
    pub(crate) model: ModelName,
    pub(crate) mode: Mode,
    pub(crate) max_steps: u32,
    pub(crate) budget_micro_usd: Option<u64>,
    pub(crate) deadline_at: Timestamp,
    pub(crate) metadata: Metadata,
    pub(crate) origin: Origin,
}

/// Checks what the request changes about the agent's version.
pub(crate) async fn pin(app: &App, caller: &Caller, new: &NewRun) -> Result<Pinned> {
    caller.require(Scope::RunsWrite)?;
    let agent = agent::wanted(app, caller.tenant(), new.agent_id, new.version).await?;
    pin_to(app, caller, agent, new).await
}

/// The same about this version, which may be of an agent that no list has.
pub(crate) async fn pin_to(app: &App, caller: &Caller, agent: Arc<AgentVersion>, new: &NewRun) -> Result<Pinned> {
    let now = app.now();
    let mut problems = Vec::new();
    if new.max_steps.is_some_and(|most| !(1..=MAX_STEPS_LIMIT).contains(&most)) {
        problems
            .push(Problem { field: "max_steps".to_owned(), message: format!("must be from 1 to {MAX_STEPS_LIMIT}") });
    }
    let latest = now.plus_ms(DEADLINE_MS);
    if new.deadline_at.is_some_and(|end| end <= now || end > latest) {
        let message = "must be in the future and at most 24 hours from now".to_owned();
        problems.push(Problem { field: "deadline".to_owned(), message });
    }
    agent::check_metadata(&new.metadata, &mut problems);
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    // The agent's own model was known when the version was made; whether it still is shows here, before anything starts.
    let tenant = caller.tenant();
    let named = new.model.as_deref().unwrap_or(agent.definition.model.as_str());
    let model = provider::resolve(app, tenant, "model", named).await?;
    let budget_micro_usd = new.budget_micro_usd.or(agent.definition.budget_micro_usd);
    agent::check_budget(app, tenant, Some(&model), &agent.definition.fallback_models, budget_micro_usd).await?;
    let limited = money::limits_of(app, caller).await?;
    agent::check_prices(app, tenant, &model, &agent.definition.fallback_models, &limited).await?;
    Ok(Pinned {
        tenant,
        key_id: caller.key_id(),
        key_budget: caller.key_budget(),
        model,
        mode: new.mode.unwrap_or(agent.definition.mode),
        max_steps: new.max_steps.unwrap_or(agent.definition.max_steps),
        budget_micro_usd,
        deadline_at: new.deadline_at.unwrap_or(latest),
        metadata: new.metadata.clone(),
        origin: new.origin,
        agent,
    })
}

/// A run's first row. A run of a batch is not accepted before the batch is.
pub(crate) fn first_row(app: &App, pinned: &Pinned, id: RunId, text: &str, batch: Option<InBatch>) -> Run {
    let now = app.now();
    let mut run = Run {
        id,
        org: pinned.tenant.org(),
        key_id: pinned.key_id,
        origin: pinned.origin,
        cause: None,
        agent_id: pinned.agent.agent_id,
        agent_version: pinned.agent.number,
        agent_name: pinned.agent.definition.name.clone(),
        model: pinned.model.clone(),
        mode: pinned.mode,
        structured: pinned.agent.definition.output_schema.is_some(),
        streams: false,
        title: text.chars().take(TITLE_CHARS).collect(),
        metadata: pinned.metadata.clone(),
        webhook_url: None,
        chat_id: id,
        continued_by: Vec::new(),
        accepted: batch.is_none(),
        batch,
        parent: None,
        started_for: Vec::new(),
        reduces: None,
        grades: None,
        judges: false,
        graded: false,
        evaluation: None,
        status: Status::Queued,
        reason: None,
        error: None,
        step: 1,
        in_flight: None,
        calls: Vec::new(),
        called: Called::default(),
        told: told::CREATED,
        passed_over: Vec::new(),
        lease: None,
        fence: 0,
        takeovers: 0,
        hops: 0,
        cancel_requested: false,
        deadline_at: pinned.deadline_at,
        next_check_at: now,
        max_steps: pinned.max_steps,
        budget_micro_usd: pinned.budget_micro_usd,
        key_budget: pinned.key_budget,
        shared_budgets: own_shared(pinned, id, now).into_iter().collect(),
        refused_by: None,
        placed: false,
        stamp: 0,
        usage: Usage::default(),
        attempts: Vec::new(),
        left_out: Usage::default(),
        created_at: now,
        started_at: None,
        ended_at: None,
        updated_at: now,
        books: Books::default(),
        notices: Notices::default(),
    };
    run.first_check(now, app.config().lease_ms);
    run
}

/// The budget that a run shares with those that it may start as sub-agents: its own.
fn own_shared(pinned: &Pinned, id: RunId, now: Timestamp) -> Option<SharedBudget> {
    let starts_others = pinned.agent.definition.tools.iter().any(|tool| matches!(tool.kind, Kind::Agent(_)));
    let micro_usd = pinned.budget_micro_usd.filter(|_| starts_others)?;
    Some(SharedBudget { ledger: Ledger::new(Budget::Family, id.to_string(), now), micro_usd })
}

/// A run that is checked and has its id, not yet accepted: see [`start`] and [`begin`].
#[derive(Debug)]
pub struct Planned {
    run: Run,
    input: Slot,
    /// The first run of the chat that it goes on with, as it was read.
    chat: Option<Versioned<Run>>,
}

impl Planned {
    /// The run as it will be when it is accepted.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// The same run, of which pieces of the model's answers are told as they come.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.run.streams = true;
        self
    }

    /// The same run, started by that.
    pub(crate) fn caused_by(mut self, cause: Cause) -> Self {
        self.run.cause = Some(cause);
        self
    }

    /// What must be written with the run's row.
    fn writes(&self, app: &App, claim: Claim) -> Result<Vec<Write>> {
        let mut writes = vec![app.store().slot_write(self.run.tenant(), self.run.id, 0, &self.input)?];
        if let Some(first) = &self.chat {
            let mut longer = first.value.clone();
            longer.continued_by.push(self.run.id);
            let row: Row = app.store().run_row(&longer)?;
            writes.push(Write::Put(row, store::row::When::Rev(first.rev)));
        }
        writes.extend(claim.write(app, Some(self.run.id))?);
        Ok(writes)
    }

    /// What a conflict at this write of the transaction means: the row itself and its input are new, so it is another's. Nothing, and it
    /// may be tried again, when it is the row of the chat's first run and nobody went on with the chat: its result was graded meanwhile.
    async fn conflict(&mut self, app: &App, index: usize) -> Result<()> {
        let Some(first) = self.chat.as_mut().filter(|_| index == 2) else { return Err(Claim::in_progress()) };
        let now = app.store().run(self.run.tenant(), first.value.id).await?.ok_or(Error::NotFound("chat"))?;
        if now.value.continued_by != first.value.continued_by {
            return Err(chat_busy());
        }
        *first = now;
        Ok(())
    }
}

fn chat_busy() -> Error {
    Error::Conflict("the chat's last run has not ended; wait for it or cancel it".to_owned())
}

/// Checks a run and gives it its id.
///
/// # Errors
/// [`Error::NotFound`] for the agent or the chat; [`Error::Invalid`]; [`Error::UnknownModel`]; [`Error::Conflict`] when the
/// chat's last run has not ended.
pub async fn plan(app: &App, caller: &Caller, new: NewRun) -> Result<Planned> {
    let pinned = pin(app, caller, &new).await?;
    plan_pinned(app, caller, pinned, new).await
}

/// The same on an agent that no list has: see [`agent::unnamed`]. It must be kept before the run is accepted.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::UnknownModel`]; [`Error::Forbidden`].
pub async fn plan_on(app: &App, caller: &Caller, agent: &Arc<AgentVersion>, new: NewRun) -> Result<Planned> {
    caller.require(Scope::RunsWrite)?;
    let pinned = pin_to(app, caller, Arc::clone(agent), &new).await?;
    plan_pinned(app, caller, pinned, new).await
}

async fn plan_pinned(app: &App, caller: &Caller, pinned: Pinned, new: NewRun) -> Result<Planned> {
    webhook::check_own(app, caller.tenant(), new.webhook_url.as_deref()).await?;
    let (chat, earlier) = match new.chat_id {
        Some(id) => {
            let (first, last) = chat_to_go_on_with(app, caller, &pinned, id).await?;
            (Some(first), inputs_of(app, &last).await?)
        }
        None => (None, None),
    };
    let (text, inputs) = new.prompt.checked(&pinned.agent.definition, "", earlier).map_err(Error::Invalid)?;
    // The last of what may be refused: files that are fetched for the run are kept.
    let found = file::find_all(app, caller.tenant(), new.attachments, "", &mut file::Search::new()).await?;
    let attachments = file::keep_all(app, found).await?;
    let mut run = first_row(app, &pinned, RunId::new(app.now()), &text, None);
    run.chat_id = new.chat_id.unwrap_or(run.id);
    run.webhook_url = new.webhook_url;
    let input = Record::Input { text, inputs, attachments }.at(app.now());
    Ok(Planned { run, input, chat })
}

/// The chat's first run as it was read, and its last one, if a run may go on with the chat now.
async fn chat_to_go_on_with(app: &App, caller: &Caller, pinned: &Pinned, id: RunId) -> Result<(Versioned<Run>, Run)> {
    let Chat { first, last, first_rev } = super::chat(app, caller, id).await?;
    if first.agent_id != pinned.agent.agent_id {
        return Err(Error::invalid("chat_id", "is a chat with another agent"));
    }
    if !last.status.terminal() {
        return Err(chat_busy());
    }
    if first.continued_by.len() >= CHAT_LIMIT {
        return Err(Error::Conflict(format!("the chat has {CHAT_LIMIT} runs already, which is the most")));
    }
    Ok((Versioned { value: first, rev: first_rev }, last))
}

/// The inputs that the run was given, if its agent declared them.
async fn inputs_of(app: &App, run: &Run) -> Result<Option<Inputs>> {
    let slots = app.store().slots(run.tenant(), &[(run.id, 0)]).await?;
    Ok(slots.into_iter().flatten().find_map(|slot| match slot.record {
        Record::Input { inputs, .. } => inputs,
        Record::Answer { .. } | Record::Repair { .. } | Record::Result { .. } => None,
    }))
}

/// Accepts the run and asks for a worker.
///
/// # Errors
/// [`Error::Conflict`] when a request with the same idempotency key, or for the same chat, was faster.
pub async fn start(app: &App, planned: Planned, claim: Claim) -> Result<Run> {
    Box::pin(start_with(app, planned, claim, &[])).await
}

/// The same, together with these writes.
///
/// # Errors
/// As [`start`]; [`Error::InProgress`] when one of them cannot be.
pub(crate) async fn start_with(app: &App, mut planned: Planned, claim: Claim, others: &[Write]) -> Result<Run> {
    engine::fault::point("K1");
    loop {
        let mut writes = planned.writes(app, claim.clone())?;
        writes.extend_from_slice(others);
        match app.store().save_new_run(&planned.run, writes).await {
            Err(store::Error::Conflict { index }) => planned.conflict(app, index).await?,
            Ok(()) => break,
            Err(error) => return Err(error.into()),
        }
    }
    engine::fault::point("K2");
    engine::ask_for_workers(app, planned.run.tenant(), &[planned.run.id]).await;
    Ok(planned.run)
}

/// Accepts the run and takes it for this process, in one transaction with the first intent: see [`engine::work`].
///
/// # Errors
/// As [`start`].
pub async fn begin(app: &App, mut planned: Planned, claim: Claim) -> Result<Held> {
    engine::fault::point("K1");
    loop {
        let writes = planned.writes(app, claim.clone())?;
        match Box::pin(Held::create(app, planned.run.clone(), planned.input.clone(), writes)).await {
            Err(store::Error::Conflict { index }) => planned.conflict(app, index).await?,
            other => return Ok(other?),
        }
    }
}
