//! Sub-agents: runs that a run starts for its tool calls, and whose results are the calls' answers. A child's row is written in the
//! transaction in which its parent's says that it was started, so there is one for each call, and none that its parent does not know.

use std::sync::Arc;

use super::{
    Held, ask_for_workers, ask_later, fault,
    held::Saved,
    tool_step::{self, Step},
};
use crate::{
    agent::{self, AgentVersion, Definition, Metadata, Mode},
    app::App,
    error::{Error, Result},
    id::RunId,
    message::{Record, Slot, ToolEnd},
    model::ToolCall,
    money::{self, Budget},
    provider, random,
    run::{self, CallState, DEPTH_LIMIT, FAMILY_LIMIT, Pinned, Prompt, Run, Status, Usage},
    store::{self, Versioned},
    tool::{self, Arguments, SubAgent},
};

/// How many runs are started, or results written, in one transaction: with a text of the greatest length in each it stays below what a
/// store takes.
const TOGETHER: usize = 8;
/// How often starting is tried again when relatives start runs at the same time.
const TRIES: u32 = 40;

/// Starts runs for the calls of sub-agents that may go on. What they change of the row is written when some were started.
pub(super) async fn start(app: &App, held: &mut Held, definition: &Definition, asked: &[ToolCall]) -> Result<Saved> {
    let begins = held.run.step;
    let mut attempt: u32 = 0;
    while held.run.step == begins && !held.run.must_end(app.now()) {
        let ready = ready(held, definition);
        if ready.is_empty() {
            break;
        }
        if held.unwritten() {
            // What was learned is not lost to a relative that starts runs at the same moment.
            let saved = held.save(app).await?;
            if saved != Saved::Yes {
                return Ok(saved);
            }
            continue;
        }
        let started = start_some(app, held, asked, ready).await?;
        if started.is_empty() {
            continue;
        }
        fault::point("K4");
        match held.save(app).await? {
            Saved::Yes => {}
            Saved::Changed if attempt < TRIES => {
                attempt = attempt.saturating_add(1);
                random::pause(attempt).await;
                continue;
            }
            saved @ (Saved::Changed | Saved::Refused | Saved::Gone) => return Ok(saved),
        }
        fault::point("K5");
        if !held.run.must_end(app.now()) {
            ask_for_workers(app, held.tenant(), &started).await;
        }
    }
    Ok(Saved::Yes)
}

/// The calls for which runs may be started now.
fn ready(held: &Held, definition: &Definition) -> Vec<(usize, SubAgent, Arguments)> {
    let step = |(index, call)| match tool_step::next(definition, &held.journal, call, index) {
        Some(Step::Start(agent, arguments)) => Some((index, agent, arguments)),
        _ => None,
    };
    held.run.calls.iter().enumerate().filter_map(step).take(TOGETHER).collect()
}

/// Puts what starts these runs into the next write; the calls that must not be made are answered.
async fn start_some(
    app: &App,
    held: &mut Held,
    asked: &[ToolCall],
    ready: Vec<(usize, SubAgent, Arguments)>,
) -> Result<Vec<RunId>> {
    let (tenant, root) = (held.tenant(), held.run.root());
    // The root is one of the family; whether there is room still is found out again by the write.
    let mut left = FAMILY_LIMIT.saturating_sub(1).saturating_sub(app.store().descendants(tenant, root).await?);
    let mut started = Vec::new();
    let mut writes = Vec::new();
    for (index, agent, arguments) in ready {
        let child = if left > 0 {
            child(app, &held.run, index, agent, arguments).await?
        } else {
            Err(format!("a run and those below it may be {FAMILY_LIMIT}, and are"))
        };
        match child {
            Ok((child, input)) => {
                left = left.saturating_sub(1);
                writes.extend(app.store().new_run_writes(&child, &input)?);
                started.push(child.id);
                mark(app, held, index);
            }
            Err(message) => {
                let message = format!("the sub-agent was not started: {message}");
                held.answer(app, asked, index, ToolEnd::Refused, message, Usage::default());
            }
        }
    }
    if !started.is_empty() {
        let more = i64::try_from(started.len()).unwrap_or(i64::MAX);
        writes.push(app.store().descend(tenant, root, more, FAMILY_LIMIT.saturating_sub(1)));
        held.with(writes);
    }
    Ok(started)
}

fn mark(app: &App, held: &mut Held, index: usize) {
    let (fence, slot, now) = (held.run.fence, held.run.call_slot(index), app.now());
    if let Some(call) = held.run.calls.get_mut(index) {
        call.state = CallState::Sent;
        call.attempts = call.attempts.saturating_add(1);
        (call.sent_at, call.fence) = (Some(now), fence);
        held.run.started_for.push(slot);
        held.run.tell_sent(index, now);
    }
}

/// The run for that call, or why there must be none, for the model.
async fn child(
    app: &App,
    parent: &Run,
    index: usize,
    agent: SubAgent,
    arguments: Arguments,
) -> Result<Result<(Run, Slot), String>> {
    if parent.depth() >= DEPTH_LIMIT {
        return Ok(Err(format!("sub-agents may be nested {DEPTH_LIMIT} deep")));
    }
    let version = match version(app, parent, agent).await {
        Err(Error::NotFound(_)) => return Ok(Err("that agent is not there any more".to_owned())),
        other => other?,
    };
    let definition = &version.definition;
    let model = match provider::resolve(app, parent.tenant(), "model", definition.model.as_str()).await {
        Ok(model) => model,
        Err(error) if error.retryable() => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let (text, inputs) = match prompt(definition, arguments).checked(definition, "", None) {
        Ok(checked) => checked,
        Err(problems) => return Ok(Err(Error::Invalid(problems).to_string())),
    };
    let slot = parent.call_slot(index);
    let pinned = Pinned {
        tenant: parent.tenant(),
        key_id: parent.key_id,
        key_budget: parent.key_budget,
        model,
        mode: if parent.mode == Mode::Manual { Mode::Manual } else { definition.mode },
        max_steps: definition.max_steps,
        budget_micro_usd: definition.budget_micro_usd,
        deadline_at: parent.deadline_at,
        metadata: Metadata::new(),
        origin: parent.origin,
        agent: version.clone(),
    };
    let child = run::first_row(app, &pinned, RunId::of_parent(parent.id, slot), &text, None);
    let now = app.now();
    let mut shared_budgets = parent.budgets_of_children(now);
    shared_budgets.extend(child.shared_budgets.iter().cloned());
    // Of what it tells others goes on, and that has to end.
    let cause = parent.cause.filter(|cause| cause.chain.is_some());
    let child = Run { parent: Some(parent.parent_of(slot)), cause, shared_budgets, ..child };
    let limits = child.limits(now, money::organisation_budgets(app, parent.tenant()).await?);
    match agent::check_prices(app, parent.tenant(), &child.model, &definition.fallback_models, &limits).await {
        Ok(()) => {}
        Err(error) if error.retryable() => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    }
    Ok(Ok((child, Record::Input { text, inputs, attachments: Vec::new() }.at(app.now()))))
}

async fn version(app: &App, parent: &Run, agent: SubAgent) -> Result<Arc<AgentVersion>> {
    let current = agent::current(app, parent.tenant(), agent.agent_id).await?;
    match agent.version {
        Some(number) if number != current.number => agent::version(app, parent.tenant(), agent.agent_id, number).await,
        _ => Ok(current),
    }
}

/// What the agent is told: inputs if it declares some, a message if that is all there is, and otherwise the arguments as JSON.
fn prompt(definition: &Definition, arguments: Arguments) -> Prompt {
    match arguments.get("message").and_then(serde_json::Value::as_str) {
        Some(message) if arguments.len() == 1 && definition.inputs.is_empty() => Prompt::Message(message.to_owned()),
        _ => Prompt::Inputs(arguments),
    }
}

/// Fills the slots of the children with what came of them, when all have ended: nothing can go on before. What they used counts as
/// their parent's.
pub(super) async fn take_results(app: &App, held: &mut Held, asked: &[ToolCall]) -> Result<Saved> {
    let open = held.run.open_children();
    let ids: Vec<RunId> = open.iter().map(|(_, child)| *child).collect();
    let found = app.store().runs(held.tenant(), &ids).await?;
    let children: Vec<Run> = found.into_iter().flatten().map(|found| found.value).collect();
    if children.len() != open.len() {
        return Err(Error::Internal("a run that was started for a tool call is missing".into()));
    }
    if !children.iter().all(|child| child.status.terminal()) {
        return Ok(Saved::Yes);
    }
    let said = run::outputs_of(app, held.tenant(), &children).await?;
    let results = open.into_iter().zip(children.iter().zip(said));
    for (n, ((index, _), (child, said))) in results.enumerate() {
        if n > 0 && n % TOGETHER == 0 {
            let saved = held.save(app).await?;
            if saved != Saved::Yes {
                return Ok(saved);
            }
        }
        // The batch looks at its own runs, and a child is none of them.
        held.run.refused_by = held.run.refused_by.or(child.refused_by.filter(|by| *by == Budget::Batch));
        let (end, content) = answer(child, said);
        held.answer(app, asked, index, end, content, child.usage);
    }
    Ok(Saved::Yes)
}

/// What the parent's model is given of a child that has ended.
fn answer(child: &Run, said: Option<String>) -> (ToolEnd, String) {
    match child.status {
        Status::Done => {
            let output = child.parsed(said.as_deref()).map(|output| output.to_string());
            let said = output.or(said).filter(|said| !said.is_empty());
            (ToolEnd::Answered, tool::within_limit(said.unwrap_or_else(|| "it said nothing".to_owned()), false))
        }
        Status::Interrupted => (ToolEnd::Failed, "the sub-agent was cancelled".to_owned()),
        Status::Queued | Status::Running | Status::Waiting | Status::Error => {
            let reason = child.reason.map_or("an error", run::Reason::name);
            let error = child.error.as_deref().unwrap_or_default();
            (ToolEnd::Failed, tool::within_limit(format!("the sub-agent ended with {reason}: {error}"), false))
        }
    }
}

/// Whether all open children of that run have ended: before, it need not be taken.
pub(crate) async fn all_ended(app: &App, run: &Run) -> store::Result<bool> {
    let ids: Vec<RunId> = run.open_children().into_iter().map(|(_, child)| child).collect();
    let children = app.store().glances(run.tenant(), &ids).await?;
    Ok(children.iter().all(|child| child.status.terminal()))
}

/// Whether a worker can do something with that run: not if it waits for children of which some have not ended.
pub(super) async fn wants_worker(app: &App, run: &Run) -> store::Result<bool> {
    Ok(!run.waits_for_children() || run.must_end(app.now()) || all_ended(app, run).await?)
}

/// A run whose time has come, or whose children have ended, finds no place among those of its batch that are in hand: from now on it waits for
/// one, as those that were never taken do. If others write the row, they look after it.
pub(super) async fn wait_for_place(app: &App, run: &Run) -> Result<()> {
    let Some(found) = app.store().run(run.tenant(), run.id).await? else { return Ok(()) };
    let Versioned { value: mut run, rev } = found;
    if run.status != Status::Waiting || run.awaits_approval() {
        return Ok(());
    }
    run.ask_for_worker(app.now().plus_ms(app.config().lease_ms));
    match app.store().save_run(&run, Some(rev), Vec::new()).await {
        // One that became free before this was written asked for nobody.
        Ok(()) => ask_later(app, run.tenant(), &[run.id], 1).await,
        Err(store::Error::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
