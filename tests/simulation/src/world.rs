//! The outside of the core: the store's weather, messages, models, tools and people, all from one seed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use shared::{
    Error,
    clock::Timestamp,
    model::{Answer, ModelFault, Request},
    net,
    queue::Chunk,
    simulation::{Operation, Outside, Process, Weather},
    store::{
        row::{Key, Row, Table, When, Write},
        simulated::Simulated,
    },
};
use tokio::{sync::Notify, time::Instant};

use crate::{
    chance::Chance,
    cluster::Cluster,
    ledger::{Ledger, hash, run_of},
    model, people,
    plan::Plan,
    tools,
};

/// The moment at which every simulation begins.
pub const BEGAN: Timestamp = Timestamp::from_millis(1_795_372_200_000);

/// Longer than a batch may take to be accepted, in milliseconds.
const LONG_FREEZE_MS: u64 = 70 * 60_000;

/// How often things went wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Processes that died.
    pub kills: u64,
    /// Processes that froze.
    pub freezes: u64,
    /// Store operations that failed, or whose answer was lost.
    pub store_faults: u64,
    /// Messages that came more than once.
    pub duplicates: u64,
    /// Messages that were lost.
    pub lost_messages: u64,
    /// Store operations.
    pub operations: u64,
    /// Of these, writes.
    pub writes: u64,
    /// Writes whose condition did not hold.
    pub conflicts: u64,
    /// Operations that were refused although their conditions held.
    pub made_conflicts: u64,
    /// Callers that were told to try again.
    pub heard_503: u64,
    /// Model calls.
    pub model_calls: u64,
    /// Requests of tools.
    pub tool_requests: u64,
}

/// What changes.
#[derive(Debug)]
pub struct State {
    /// What comes next.
    pub chance: Chance,
    /// What was committed and seen.
    pub ledger: Ledger,
    /// The processes.
    pub cluster: Cluster,
    /// Messages that can be received, in order.
    pub ready: Vec<Chunk>,
    /// Counts up when the only process dies, and its queue with it.
    pub generation: u32,
    /// Whether things go wrong.
    pub storm: bool,
    /// How often they did.
    pub counts: Counts,
    /// Numbers that no other answer of a model has.
    pub nonce: u64,
    /// The runs about which a person is being asked.
    pub asking: BTreeMap<String, ()>,
    /// Who calls, and which agent.
    pub known: Option<people::Known>,
    /// Callers that have not got what they want.
    pub callers: usize,
    /// Everything that happened, in one number.
    pub trace: u64,
    /// The same to be read, if somebody wants to.
    pub lines: Option<Vec<String>>,
    /// The process that dies as soon as what it is writing is written.
    dies_after: Option<u32>,
}

/// The outside.
#[derive(Debug)]
pub struct World {
    /// What is simulated.
    pub plan: Plan,
    /// The rows.
    pub rows: Simulated,
    /// When it began.
    pub since: Instant,
    /// Woken when a message can be received.
    pub messages: Notify,
    state: Mutex<State>,
    me: Weak<World>,
}

impl World {
    /// The world of that plan; nothing is in it yet.
    #[must_use]
    pub fn new(plan: Plan, traced: bool) -> Arc<Self> {
        let state = State {
            chance: Chance::new(plan.seed),
            ledger: Ledger::default(),
            cluster: Cluster::default(),
            ready: Vec::new(),
            generation: 0,
            storm: false,
            counts: Counts::default(),
            nonce: 0,
            asking: BTreeMap::new(),
            known: None,
            callers: 0,
            trace: 0,
            lines: traced.then(Vec::new),
            dies_after: None,
        };
        Arc::new_cyclic(|me| Self {
            plan,
            rows: Simulated::default(),
            since: Instant::now(),
            messages: Notify::new(),
            state: Mutex::new(state),
            me: me.clone(),
        })
    }

    /// What changes. Nothing may be waited for while it is held.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// This world, to be kept by what it begins.
    #[must_use]
    pub fn handle(&self) -> Arc<Self> {
        self.me.upgrade().unwrap()
    }

    /// Milliseconds since it began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }

    /// Notes what happened.
    pub fn note(&self, what: &str, about: &str, detail: impl FnOnce() -> String) {
        self.note_in(&mut self.state(), what, about, detail);
    }

    /// The same, when the state is held already.
    pub fn note_in(&self, state: &mut State, what: &str, about: &str, detail: impl FnOnce() -> String) {
        let (now, process) = (self.now_ms(), Process::current().map_or(0, |process| process.number()));
        for part in [now, u64::from(process), hash(what), hash(about)] {
            state.trace = (state.trace.rotate_left(5) ^ part).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        if let Some(lines) = &mut state.lines {
            lines.push(format!("{now:>9} ms  process {process:<3} {what:<12} {about} {}", detail()));
        }
    }

    /// Runs that work beside everything else, in no process.
    pub fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(work);
    }

    /// How long a process freezes: up to four leases, and now and then for longer than a batch may take to be accepted.
    pub fn frozen_ms(&self, state: &mut State) -> u64 {
        if state.chance.is(0.05) { LONG_FREEZE_MS } else { state.chance.within(500, 4 * self.plan.lease_ms as u64) }
    }

    /// Notes what a caller was told: an error of ours that is not about trying again must not be.
    pub fn heard<T>(&self, outcome: &Result<T, Error>) {
        let mut state = self.state();
        match outcome {
            Err(Error::Unavailable(_)) => state.counts.heard_503 += 1,
            Err(Error::Internal(fault)) => state.ledger.wrong(format!("a caller heard an internal error: {fault}")),
            Ok(_) | Err(_) => {}
        }
    }

    /// Something may befall the process at this operation: it dies before it or after it, or freezes.
    fn befalls(&self, state: &mut State, process: Option<&Process>) {
        let rates = &self.plan.rates;
        let Some(process) = process.filter(|process| process.runs()) else { return };
        if state.chance.is(rates.dies_at_operation) {
            if state.chance.is(0.5) {
                self.kill_in(state, process.number());
            } else {
                state.dies_after = Some(process.number());
            }
        } else if state.chance.is(rates.freezes_at_operation) {
            let ms = self.frozen_ms(state);
            self.freeze_in(state, process.number(), ms);
        }
    }
}

/// What an operation is about, for the notes.
fn about(operation: &Operation<'_>) -> (&'static str, String) {
    match operation {
        Operation::Get(keys) => {
            ("get", keys.first().map_or_else(String::new, |key| format!("{} +{}", named(key), keys.len())))
        }
        Operation::Query(query) => ("query", query.partition.clone()),
        Operation::Write(writes) => {
            ("write", writes.iter().take(4).map(|write| named(write.key())).collect::<Vec<_>>().join(" "))
        }
    }
}

/// A row's name. The digest of an API key is no part of what replays: keys are drawn from the machine's randomness.
fn named(key: &Key) -> String {
    let partition = if key.table == Table::ApiKeys { "a key" } else { key.partition.as_str() };
    format!("{partition}/{}", key.sort)
}

/// The runs that an operation is about.
fn runs(operation: &Operation<'_>) -> Vec<String> {
    let of = |partition: &str| run_of(partition).map(str::to_owned);
    match operation {
        Operation::Get(keys) => keys.iter().filter_map(|key| of(&key.partition)).collect(),
        Operation::Query(_) => Vec::new(),
        Operation::Write(writes) => writes.iter().filter_map(|write| of(&write.key().partition)).collect(),
    }
}

/// Whether that writes a new batch, and so accepts its runs.
fn accepts(operation: &Operation<'_>) -> bool {
    let Operation::Write(writes) = operation else { return false };
    let new = |write: &Write| matches!(write, Write::Put(row, When::Absent) if row.key.partition.contains("#B#"));
    writes.iter().any(new)
}

impl Outside for World {
    fn weather(&self, operation: &Operation<'_>) -> Weather {
        let mut guard = self.state();
        let state = &mut *guard;
        let rates = &self.plan.rates;
        let process = Process::current();
        state.counts.operations += 1;
        state.counts.writes += u64::from(matches!(operation, Operation::Write(_)));
        let mut weather =
            Weather { before_ms: state.chance.within(1, 3), after_ms: state.chance.within(0, 2), ..Weather::default() };
        if let (Operation::Write(_), Some(process)) = (operation, &process) {
            for id in runs(operation) {
                state.ledger.runs.entry(id).or_default().writer = Some(process.number());
            }
        }
        if state.storm {
            weather.throttled = state.chance.is(rates.throttled);
            weather.reply_lost = !weather.throttled && state.chance.is(rates.reply_lost);
            if !weather.throttled && !weather.reply_lost && state.chance.is(rates.conflict) {
                weather.conflict = Some(state.chance.number());
                state.counts.made_conflicts += 1;
            }
            if state.chance.is(rates.slow) {
                weather.before_ms += state.chance.about(400);
                weather.after_ms += state.chance.about(400);
            }
            if state.chance.is(rates.short_page) {
                weather.page_rows = Some(state.chance.within(0, 3) as usize);
            }
            if state.chance.is(rates.lag) {
                weather.lag_ms = state.chance.about(1_500);
            }
            if weather.throttled || weather.reply_lost || weather.conflict.is_some() {
                state.counts.store_faults += u64::from(weather.conflict.is_none());
                let about = runs(operation);
                about.into_iter().for_each(|id| state.ledger.runs.entry(id).or_default().outages += 1);
            }
            if accepts(operation) && state.chance.is(rates.sleeps_before_acceptance) {
                let number = process.as_ref().map_or(0, Process::number);
                self.freeze_in(state, number, LONG_FREEZE_MS);
            }
            self.befalls(state, process.as_ref());
        }
        let (what, of) = about(operation);
        self.note_in(state, what, &of, || format!("{weather:?}"));
        weather
    }

    fn committed(&self, writes: &[Write], _before: &[Option<Arc<Row>>]) {
        let mut guard = self.state();
        let state = &mut *guard;
        let process = Process::current().map(|process| process.number());
        let before = state.ledger.violations.len();
        let asks = state.ledger.committed(writes, process, self.now_ms());
        if state.ledger.violations.len() > before {
            let what = state.ledger.violations[before].clone();
            self.note_in(state, "VIOLATION", &what, String::new);
        }
        self.note_in(state, "committed", "", || about(&Operation::Write(writes)).1);
        for id in asks {
            if state.asking.insert(id.clone(), ()).is_none() {
                people::asked(self, state, id);
            }
        }
        if process.is_some() && state.dies_after == process {
            state.dies_after = None;
            self.kill_in(state, process.unwrap_or_default());
        }
    }

    fn refused(&self, write: &Write) {
        let mut state = self.state();
        state.counts.conflicts += 1;
        self.note_in(&mut state, "conflict", &write.key().partition, String::new);
    }

    fn send(&self, chunks: Vec<Chunk>, delay_s: u32) -> bool {
        self.send_messages(chunks, delay_s)
    }

    fn model<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>> {
        Box::pin(model::call(self, request))
    }

    fn http<'a>(&'a self, url: &'a str, sending: &'a net::Sending) -> BoxFuture<'a, Result<net::Answer, net::Failure>> {
        Box::pin(tools::request(self, url, sending))
    }
}

/// Waits so long.
pub async fn sleep(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
