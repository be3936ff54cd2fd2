//! The processes: each an application of its own over the same store. They die, freeze and come again.

use std::{collections::BTreeSet, sync::Arc};

use secrecy::SecretString;
use shared::{
    App,
    clock::{Clock, Timestamp},
    config::{Config, SyncRuns},
    engine,
    file::{Files, Folder, Limits},
    limit::Limiter,
    model::settings::Settings,
    queue::{Chunk, Queue},
    simulation::Process,
    store::{Backend, Store},
};
use tokio::task::AbortHandle;

use crate::world::{BEGAN, State, World, sleep};

/// How long a model or a tool may take.
pub const CALL_MS: u64 = 120_000;
/// What an invocation keeps in hand beyond a call.
const MARGIN_MS: u64 = 15_000;
/// Less than any step takes, and more than it takes to begin one.
pub const STEP_MS: u64 = 100;
/// How long an invocation may take.
const INVOCATION_MS: i64 = 870_000;

/// A process.
#[derive(Debug)]
pub struct Member {
    /// Whether it works on messages.
    pub works: bool,
    /// Whether it answers callers.
    pub answers: bool,
    /// The process.
    pub process: Process,
    /// Its application.
    pub app: App,
    tasks: Vec<AbortHandle>,
}

/// The processes.
#[derive(Debug, Default)]
pub struct Cluster {
    members: Vec<Option<Member>>,
    started: u32,
    /// Messages that a process has received and is not done with.
    pub in_hand: Vec<(u32, Chunk)>,
    /// Since when no process runs, if none does.
    nobody_since_ms: Option<u64>,
    /// How long none ran before.
    nobody_ms: u64,
}

impl World {
    /// Starts every process.
    pub fn start_all(&self) {
        let (workers, apis) = (self.plan.workers, self.plan.apis);
        for place in 0..workers + apis {
            self.state().cluster.members.push(None);
            self.start(place as usize);
        }
    }

    /// Starts the process of that place.
    fn start(&self, place: usize) {
        let works = (place as u64) < self.plan.workers;
        let answers = !works || self.plan.sole;
        let number = {
            let mut state = self.state();
            state.cluster.started += 1;
            state.cluster.started
        };
        let process = Process::new(number);
        let app = self.app(number);
        self.note("starts", "", || format!("process {number}"));
        let member = Member { works, answers, process, app: app.clone(), tasks: Vec::new() };
        {
            let mut state = self.state();
            state.cluster.members[place] = Some(member);
            state.cluster.count_idle(self.now_ms());
        }
        if works {
            for _ in 0..self.plan.side_by_side {
                self.within(number, work(self.handle(), app.clone()));
            }
        }
        if self.plan.sole {
            self.within(number, recover(self.handle(), app));
        }
    }

    /// A new application, as a process makes one when it starts.
    fn app(&self, number: u32) -> App {
        let key = |name: &str| matches!(name, "OPENAI_API_KEY" | "ANTHROPIC_API_KEY").then(|| "k".to_owned());
        let config = Config {
            pepper: SecretString::from("a pepper of more than 16 bytes"),
            models: Settings::from_lookup(key),
            judge_model: None,
            embedding_model: None,
            lease_ms: self.plan.lease_ms,
            model_timeout_ms: CALL_MS,
            sync_runs: SyncRuns::InProcess { limit_ms: 870_000 },
            allow_cidrs: Vec::new(),
            completions_path: None,
            files: Limits::default(),
            sole_epoch: self.plan.sole.then(|| format!("epoch-{number:04}")),
        };
        let clock = Clock::Simulated { began: BEGAN, since: self.since };
        // No run of a simulation is shown a file.
        let files = Files::Folder(Folder::new("no-files".into()));
        let store = Store::new(Backend::Simulated(self.rows.clone()));
        App::new(config, clock, store, Queue::Simulated, files, Limiter::in_memory()).unwrap()
    }

    /// Begins that work in that process, if it is there.
    pub fn within(&self, number: u32, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut state = self.state();
        let Some(member) = state.cluster.member(number) else { return false };
        let task = tokio::spawn(member.process.within(work));
        member.tasks.retain(|task| !task.is_finished());
        member.tasks.push(task.abort_handle());
        true
    }

    /// A process that runs and does that, by chance.
    pub fn any(&self, does: impl Fn(&Member) -> bool) -> Option<(u32, App)> {
        let mut guard = self.state();
        let state = &mut *guard;
        let fit = state.cluster.members.iter().flatten().filter(|member| does(member) && member.process.runs());
        let fit: Vec<(u32, &App)> = fit.map(|member| (member.process.number(), &member.app)).collect();
        if fit.is_empty() {
            return None;
        }
        let (number, app) = state.chance.one_of(&fit);
        Some((number, app.clone()))
    }

    /// Ends the process, and starts another in its place a little later.
    pub fn kill_in(&self, state: &mut State, number: u32) {
        let Some(place) = state.cluster.place(number) else { return };
        let Some(member) = state.cluster.members[place].take() else { return };
        member.process.kill();
        state.cluster.count_idle(self.now_ms());
        member.tasks.iter().for_each(AbortHandle::abort);
        state.counts.kills += 1;
        let in_hand = state.cluster.in_hand(number);
        state.ledger.hit(number, &in_hand);
        self.note_in(state, "dies", "", || format!("process {number}"));
        if self.plan.sole {
            state.generation += 1;
            state.ready.clear();
        }
        let (lost, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.cluster.in_hand).into_iter().partition(|(by, _)| *by == number);
        state.cluster.in_hand = kept;
        for (_, chunk) in lost {
            if !self.plan.sole && state.chance.is(0.3) {
                let ms = state.chance.within(1_000, 120_000);
                self.deliver(chunk, ms, state.generation);
            }
        }
        let (world, ms) = (self.handle(), 1_000 + state.chance.about(8_000));
        self.beside(async move {
            sleep(ms).await;
            world.start(place);
        });
    }

    /// Stops the process for so long.
    pub fn freeze_in(&self, state: &mut State, number: u32, ms: u64) {
        let Some(member) = state.cluster.member(number) else { return };
        let process = member.process.clone();
        process.freeze();
        state.cluster.count_idle(self.now_ms());
        state.counts.freezes += 1;
        let in_hand = state.cluster.in_hand(number);
        state.ledger.hit(number, &in_hand);
        self.note_in(state, "freezes", "", || format!("process {number} for {ms} ms"));
        let world = self.handle();
        self.beside(async move {
            sleep(ms).await;
            world.note("thaws", "", || format!("process {number}"));
            process.thaw();
            world.state().cluster.count_idle(world.now_ms());
        });
    }

    /// Until when an invocation that begins now may go on.
    fn until(&self, app: &App) -> Option<Timestamp> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.chance.is(self.plan.rates.short_of_time) && (state.storm || self.plan.rates.short_of_time >= 1.0) {
            return Some(app.now().plus_ms((CALL_MS + MARGIN_MS + STEP_MS) as i64));
        }
        (!self.plan.sole).then(|| app.now().plus_ms(INVOCATION_MS))
    }
}

impl Cluster {
    /// Notes whether a process runs from now on: to be called whenever one begins to, or no longer does.
    fn count_idle(&mut self, now_ms: u64) {
        let runs = self.members.iter().flatten().any(|member| member.process.runs());
        match self.nobody_since_ms {
            Some(since) if runs => {
                self.nobody_ms += now_ms - since;
                self.nobody_since_ms = None;
            }
            None if !runs => self.nobody_since_ms = Some(now_ms),
            Some(_) | None => {}
        }
    }

    /// How long no process ran: meanwhile nobody ends anything.
    #[must_use]
    pub fn idle_ms(&self, now_ms: u64) -> u64 {
        self.nobody_ms + self.nobody_since_ms.map_or(0, |since| now_ms - since)
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.members.iter().position(|member| member.as_ref().is_some_and(|member| member.process.number() == number))
    }

    /// The runs that messages name which the process has in hand.
    fn in_hand(&self, number: u32) -> BTreeSet<String> {
        let of = self.in_hand.iter().filter(|(by, _)| *by == number);
        of.flat_map(|(_, chunk)| chunk.runs.iter().map(ToString::to_string)).collect()
    }

    fn member(&mut self, number: u32) -> Option<&mut Member> {
        self.members.iter_mut().flatten().find(|member| member.process.number() == number)
    }
}

/// Works on one message after the other.
async fn work(world: Arc<World>, app: App) {
    loop {
        let chunk = world.receive().await;
        let until = world.until(&app);
        let outcome = engine::work_on(&app, chunk.clone(), until).await;
        world.note("worked on", "", || format!("{:?}: {outcome:?}", chunk.runs));
        world.done_with(&chunk, outcome.is_err());
    }
}

/// Goes on with what an earlier process left, as a host does that is alone.
async fn recover(world: Arc<World>, app: App) {
    let left = loop {
        match engine::recover(&app).await {
            Ok(left) => break left,
            Err(_) => sleep(1_000).await,
        }
    };
    world.note("recovers", "", || format!("{left:?}"));
    for chunk in left.suspects {
        let _ = engine::work_on(&app, chunk, None).await;
    }
}

/// Lets a process reap, again and again.
pub async fn reap(world: Arc<World>) {
    let Some(every_ms) = world.plan.reaper_ms else { return };
    loop {
        sleep(every_ms).await;
        let twice = { world.state().chance.is(0.05) };
        for _ in 0..=usize::from(twice) {
            let Some((number, app)) = world.any(|_| true) else { continue };
            let witness = world.clone();
            world.within(number, async move {
                let outcome = engine::reap(&app).await;
                witness.note("reaped", "", || format!("{outcome:?}"));
            });
        }
    }
}
