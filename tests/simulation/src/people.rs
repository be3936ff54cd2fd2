//! People: callers who want runs and ask again when no answer comes, who cancel, who look; and those who are asked about tool calls.

use std::{sync::Arc, time::Duration};

use shared::{
    App, Caller, Error,
    batch::{self, Item, NewBatch},
    engine,
    id::{AgentId, BatchId, RunId},
    idempotency::{Answer, Claim, Seen},
    page::PageRequest,
    run::{self, ApprovalAnswer, Filter, NewRun, Origin, Prompt, Reason},
};
use tokio::sync::oneshot;

use crate::{
    ledger,
    plan::{Run, Tool, Wish},
    world::{State, World, sleep},
};

/// How often a caller asks.
const TRIES: u32 = 12;
/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who calls, and which agent.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub caller: Caller,
    /// Which.
    pub agent: AgentId,
}

/// Wants that, until it is there or the patience ends.
pub async fn wants(world: Arc<World>, known: Known, number: usize, wish: Wish) {
    let (begins_ms, callers) = {
        let mut state = world.state();
        let callers = if let Wish::Batch { twins, .. } = &wish { *twins } else { 1 };
        (state.chance.within(0, world.plan.wishes_ms), callers)
    };
    sleep(begins_ms).await;
    cancels_later(&world, &known, number, &wish);
    let asks = (0..callers).map(|twin| asks(world.clone(), known.clone(), number, twin, wish.clone()));
    futures_util::future::join_all(asks).await;
    world.state().callers -= 1;
}

async fn asks(world: Arc<World>, known: Known, number: usize, twin: u32, wish: Wish) {
    for attempt in 0..TRIES {
        if let Some((process, app)) = world.any(|member| member.answers) {
            let (told, answer) = oneshot::channel();
            let (known, wish) = (known.clone(), wish.clone());
            let attempt = format!("{number}.{twin}{attempt:02}");
            let within = world.clone();
            world.within(process, Box::pin(take(within, app, known, wish, number, attempt, told)));
            if let Ok(Ok(Ok(()))) = tokio::time::timeout(PATIENCE, answer).await {
                return;
            }
        }
        let ms = { world.state().chance.about(2_000) };
        sleep(ms).await;
    }
}

/// What the process does that takes the call.
async fn take(
    world: Arc<World>,
    app: App,
    known: Known,
    wish: Wish,
    number: usize,
    attempt: String,
    told: oneshot::Sender<Result<(), Error>>,
) {
    let key = format!("key-{number}");
    let outcome = match wish {
        Wish::Run { run, here } => {
            let began = Box::pin(begin(&world, &app, &known, &run, &key, &attempt, here)).await;
            match began {
                Ok(held) => {
                    let _ = told.send(Ok(()));
                    if let Some(held) = held {
                        let _ = Box::pin(engine::work(&app, held, None)).await;
                    }
                    return;
                }
                Err(error) => Err(error),
            }
        }
        Wish::Batch { runs, .. } => start_batch(&world, &app, &known, &runs, &key, &attempt).await,
    };
    world.note("answered", &attempt, || format!("{outcome:?}"));
    world.heard(&outcome);
    let _ = told.send(outcome);
}

/// The prompt of a run, under a label that no other attempt has.
fn prompt(world: &World, label: String, run: &Run) -> Prompt {
    let text = format!("{label} do it");
    world.state().ledger.wanted.insert(label, run.clone());
    Prompt::Message(text)
}

async fn begin(
    world: &World,
    app: &App,
    known: &Known,
    run: &Run,
    key: &str,
    attempt: &str,
    here: bool,
) -> Result<Option<engine::Held>, Error> {
    let caller = &known.caller;
    let claim = match Claim::check(app, caller, Some(key), "POST /v1/runs", &[key.as_bytes()]).await? {
        Seen::New(claim) => claim,
        Seen::Run(_) | Seen::Answered(_) => return Ok(None),
    };
    let prompt = prompt(world, attempt.to_owned(), run);
    let deadline_at = Some(app.now().plus_ms(run.deadline_ms));
    let new = NewRun { deadline_at, ..NewRun::of(known.agent, prompt, Origin::Native) };
    let planned = run::plan(app, caller, new).await?;
    if here {
        return run::begin(app, planned, claim).await.map(Some);
    }
    run::start(app, planned, claim).await.map(|_| None)
}

async fn start_batch(
    world: &World,
    app: &App,
    known: &Known,
    runs: &[Run],
    key: &str,
    attempt: &str,
) -> Result<(), Error> {
    let caller = &known.caller;
    let claim = match Claim::check(app, caller, Some(key), "POST /v1/batches", &[key.as_bytes()]).await? {
        Seen::New(claim) => claim,
        Seen::Run(_) | Seen::Answered(_) => return Ok(()),
    };
    let item = |(index, run): (usize, &Run)| Item {
        custom_id: None,
        prompt: prompt(world, format!("{attempt}.{index}"), run),
        mode: None,
        attachments: Vec::new(),
    };
    let new = NewBatch {
        agent_id: known.agent,
        version: None,
        model: None,
        items: runs.iter().enumerate().map(item).collect(),
        limit: batch::INLINE_LIMIT,
        items_field: "items",
        origin: Origin::Native,
        deadline_at: Some(app.now().plus_ms(runs.iter().map(|run| run.deadline_ms).min().unwrap_or(60_000))),
        metadata: Default::default(),
        webhook_url: None,
        shared: Default::default(),
        reduction: None,
    };
    let planned = batch::plan(app, caller, new).await?;
    let claim = claim.with(|| Answer { status: 202, location: None, body: String::new() });
    batch::start(app, planned, claim).await.map(|_| ())
}

/// Cancels what shall be cancelled, in its time.
fn cancels_later(world: &World, known: &Known, number: usize, wish: &Wish) {
    let runs = match wish {
        Wish::Run { run, .. } => std::slice::from_ref(run),
        Wish::Batch { runs, .. } => runs,
    };
    let Some(after_ms) = runs.iter().find_map(|run| run.cancelled_after_ms) else { return };
    let whole = matches!(wish, Wish::Batch { .. });
    world.beside(cancels(world.handle(), known.caller.clone(), number, after_ms, whole));
}

async fn cancels(world: Arc<World>, caller: Caller, number: usize, after_ms: u64, whole: bool) {
    sleep(after_ms).await;
    for _ in 0..TRIES {
        let wanted = accepted(&world, number).zip(world.any(|member| member.answers));
        if let Some(((id, batch), (process, app))) = wanted {
            let (told, answer) = oneshot::channel();
            let (caller, batch) = (caller.clone(), batch.filter(|_| whole));
            let witness = world.clone();
            world.within(process, async move {
                let outcome = match batch {
                    Some(batch) => batch::cancel(&app, &caller, batch).await.map(|_| ()),
                    None => run::cancel(&app, &caller, id).await.map(|_| ()),
                };
                witness.heard(&outcome);
                let _ = told.send(outcome);
            });
            if let Ok(Ok(Ok(()))) = tokio::time::timeout(PATIENCE, answer).await {
                return;
            }
        }
        sleep(4_000).await;
    }
}

/// A run that was accepted of that wish, and its batch.
fn accepted(world: &World, number: usize) -> Option<(RunId, Option<BatchId>)> {
    let state = world.state();
    let prefix = format!("{number}.");
    let grades = |known: &ledger::Known| known.row.as_ref().is_none_or(|run| run.grades.is_some());
    let fits =
        |known: &ledger::Known| known.label.starts_with(&prefix) && !grades(known) && state.ledger.accepted(known);
    let (id, known) = state.ledger.runs.iter().find(|(_, known)| fits(known))?;
    Some((id.parse().ok()?, known.batch.as_ref().and_then(|batch| batch.parse().ok())))
}

/// A person is asked about a run's calls, and says something a little later, unless nobody ever does.
pub fn asked(world: &World, state: &mut State, id: String) {
    let label = state.ledger.runs.get(&id).map(|known| known.label.clone()).unwrap_or_default();
    if state.ledger.wanted.get(&label).is_some_and(|run| run.unanswered) {
        return;
    }
    let ms = 100 + state.chance.about(15_000);
    let world = world.handle();
    let witness = world.clone();
    witness.beside(async move {
        sleep(ms).await;
        loop {
            world.state().asking.remove(&id);
            if says(&world, &id).await {
                return;
            }
            sleep(3_000).await;
        }
    });
}

/// Says something of every call of the run that waits for it. Whether nothing is left to say.
async fn says(world: &Arc<World>, id: &str) -> bool {
    let (Ok(id), Some((process, app))) = (id.parse::<RunId>(), world.any(|member| member.answers)) else {
        return false;
    };
    let (told, answer) = oneshot::channel();
    let witness = world.clone();
    world.within(process, async move {
        let outcome = decide(&witness, &app, id).await;
        witness.heard(&outcome);
        let _ = told.send(outcome.is_ok());
    });
    tokio::time::timeout(PATIENCE, answer).await.is_ok_and(|answer| answer == Ok(true))
}

async fn decide(world: &World, app: &App, id: RunId) -> Result<(), Error> {
    let Some(caller) = world.state().known.as_ref().map(|known| known.caller.clone()) else { return Ok(()) };
    for approval in run::approvals(app, &caller, id).await? {
        let found = run::get(app, &caller, id).await?;
        let Some(index) = (0..found.calls.len()).find(|index| found.approval_id(*index) == approval.id) else {
            continue;
        };
        let key = format!("{}/{}", id.prefixed(), found.call_slot(index));
        let approved = {
            let mut guard = world.state();
            let state = &mut *guard;
            let approved = state.chance.is(0.7);
            let tool = Tool::named(&approval.call.name).unwrap_or(Tool::Once);
            let (_, effect) = state.ledger.effects.entry(key.clone()).or_insert_with(|| (tool, Default::default()));
            effect.approved += u32::from(approved);
            effect.again += u32::from(approved && approval.reason == Reason::OutcomeUnknown);
            world.note_in(state, "decides", &key, || format!("approved {approved}, {:?}", approval.reason));
            approved
        };
        let answer = ApprovalAnswer { approval_id: approval.id, approved, message: None };
        match run::decide(app, &caller, id, &answer).await {
            Err(Error::Conflict(_) | Error::NotFound(_)) | Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Looks at the list of runs now and then: nothing may be there that was not accepted.
pub async fn looks(world: Arc<World>, known: Known) {
    loop {
        let ms = { 5_000 + world.state().chance.about(60_000) };
        sleep(ms).await;
        let Some((process, app)) = world.any(|member| member.answers) else { continue };
        let (witness, caller) = (world.clone(), known.caller.clone());
        world.within(process, async move {
            let Ok(page) = PageRequest::new(Some(100), None) else { return };
            let page = run::list(&app, &caller, &Filter::default(), &page).await;
            witness.heard(&page);
            let Ok(page) = page else { return };
            listed(&witness, page.entries.into_iter().map(|run| run.id));
        });
    }
}

/// These runs were in a list.
fn listed(world: &World, runs: impl Iterator<Item = RunId>) {
    let ledger = &mut world.state().ledger;
    for id in runs.map(|id| id.to_string()) {
        let accepted = ledger.runs.get(&id).is_some_and(|known| ledger.accepted(known));
        let grades = ledger.runs.get(&id).and_then(|known| known.row.as_ref()?.grades);
        if grades.is_some() {
            ledger.wrong(format!("run {id} grades another, and is in the list"));
        }
        if !accepted {
            ledger.wrong(format!("run {id} is in the list, and its batch is not accepted"));
        }
    }
}
