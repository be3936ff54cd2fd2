//! What one simulation does: how many processes, what weather, which runs. All of it follows from the seed.

use shared::simulation::Guard;

use crate::chance::Chance;

/// A tool of the simulated agent, by its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// Changes nothing.
    Read,
    /// Knows a call by its key.
    Idempotent,
    /// Tells whether a call took place.
    Verify,
    /// Happens once; what is unknown is told to the model.
    Once,
    /// Happens once; what is unknown is for a person.
    OnceHalt,
    /// Happens once, and a person is asked before.
    Asked,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Read, Self::Idempotent, Self::Verify, Self::Once, Self::OnceHalt, Self::Asked];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Verify => "verify",
            Self::Once => "once",
            Self::OnceHalt => "once_halt",
            Self::Asked => "asked",
        }
    }

    /// The tool of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

/// A run that somebody wants.
#[derive(Debug, Clone)]
pub struct Run {
    /// What its model asks for, turn by turn; then it answers.
    pub turns: Vec<Vec<Tool>>,
    /// How long it may take, in milliseconds.
    pub deadline_ms: i64,
    /// When it is cancelled, if it is, after it was asked for.
    pub cancelled_after_ms: Option<u64>,
    /// Whether nobody ever says anything about its approvals.
    pub unanswered: bool,
    /// Its model calls end the process that makes them.
    pub poison: bool,
}

/// What a caller asks for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A run; the process that takes the call works on it itself if `here`.
    Run {
        /// Which.
        run: Run,
        /// See above.
        here: bool,
    },
    /// A batch, asked for by several callers at the same time with the same key if `twins` is over 1.
    Batch {
        /// Its runs.
        runs: Vec<Run>,
        /// See above.
        twins: u32,
    },
}

impl Wish {
    /// How many runs that are.
    #[must_use]
    pub const fn runs(&self) -> usize {
        match self {
            Self::Run { .. } => 1,
            Self::Batch { runs, .. } => runs.len(),
        }
    }
}

/// How often something goes wrong, from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// A store operation is turned away.
    pub throttled: f64,
    /// A store operation is refused because of others, although nothing is otherwise than it was read.
    pub conflict: f64,
    /// A store operation is done and its answer lost for good.
    pub reply_lost: f64,
    /// A store operation takes so long that others come between.
    pub slow: f64,
    /// A page is short or empty.
    pub short_page: f64,
    /// The indexes lag.
    pub lag: f64,
    /// Sending a message fails.
    pub send_fails: f64,
    /// The same, but never twice in a row for the same run.
    pub send_fails_once: f64,
    /// A message is lost.
    pub message_lost: f64,
    /// A message comes twice.
    pub twice: f64,
    /// A message comes five times.
    pub five_times: f64,
    /// The process dies at a store operation, before it is done, or after.
    pub dies_at_operation: f64,
    /// The process freezes there.
    pub freezes_at_operation: f64,
    /// The process sleeps for over an hour before it accepts a batch.
    pub sleeps_before_acceptance: f64,
    /// A model call fails in one of its ways.
    pub model_fails: f64,
    /// A model call takes minutes.
    pub model_slow: f64,
    /// A request of a tool fails in one of its ways.
    pub tool_fails: f64,
    /// An invocation has time for one step.
    pub short_of_time: f64,
}

/// One simulation.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its seed.
    pub seed: u64,
    /// One process that knows that it is alone, instead of several.
    pub sole: bool,
    /// How many worker processes.
    pub workers: u64,
    /// How many processes that answer callers.
    pub apis: u64,
    /// How many messages a process works on side by side.
    pub side_by_side: u64,
    /// How long a lease is.
    pub lease_ms: i64,
    /// How often the reaper looks; `None` is never.
    pub reaper_ms: Option<u64>,
    /// How long things go wrong; then the weather is calm.
    pub storm_ms: u64,
    /// The mean time between two deaths of processes.
    pub dies_every_ms: Option<u64>,
    /// The mean time between two processes that freeze.
    pub freezes_every_ms: Option<u64>,
    /// The longest that a message takes.
    pub message_ms: u64,
    /// The longest that a model takes, when it is not slow.
    pub model_ms: u64,
    /// Over how long the wishes come.
    pub wishes_ms: u64,
    /// What goes wrong.
    pub rates: Rates,
    /// What callers ask for.
    pub wishes: Vec<Wish>,
    /// The guards that are switched off.
    pub off: Vec<Guard>,
    /// Whether it goes on until staged runs that were never accepted are taken away.
    pub waits_for_discards: bool,
    /// Whether what the runs say is graded.
    pub grades: bool,
}

/// How many runs a seed's callers ask for.
const RUNS: usize = 20;

impl Plan {
    /// Everything at once, as that seed has it.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed_0f01_d00d_cafe);
        let sole = chance.is(0.15);
        // A part of the seeds is calmer, so that what takes long is reached too.
        let harsh = [0.2, 1.0, 2.0][chance.within(0, 2) as usize];
        let rates = Rates {
            throttled: 0.02 * harsh,
            conflict: 0.0,
            reply_lost: 0.015 * harsh,
            slow: 0.03 * harsh,
            short_page: 0.05,
            lag: 0.3,
            send_fails: 0.1 * harsh,
            send_fails_once: 0.0,
            message_lost: 0.1 * harsh,
            twice: 0.2,
            five_times: 0.05,
            dies_at_operation: 0.004 * harsh,
            freezes_at_operation: 0.002 * harsh,
            sleeps_before_acceptance: 0.01,
            model_fails: 0.05 * harsh,
            model_slow: 0.03,
            tool_fails: 0.15 * harsh,
            short_of_time: 0.15,
        };
        let mut plan = Self {
            seed,
            sole,
            workers: if sole { 1 } else { chance.within(2, 4) },
            apis: if sole { 0 } else { chance.within(1, 2) },
            side_by_side: if sole { 20 } else { chance.within(1, 3) },
            lease_ms: chance.one_of(&[20_000, 60_000]),
            reaper_ms: Some(chance.one_of(&[20_000, 60_000])),
            storm_ms: chance.within(2, 8) * 60_000,
            dies_every_ms: Some(chance.within(30_000, 200_000)),
            freezes_every_ms: Some(chance.within(60_000, 400_000)),
            message_ms: chance.within(50, 5_000),
            model_ms: chance.within(300, 6_000),
            wishes_ms: 60_000,
            rates,
            wishes: Vec::new(),
            off: Vec::new(),
            waits_for_discards: chance.is(0.25),
            grades: seed % 5 == 2,
        };
        let mut left = RUNS;
        while left > 0 {
            let wish = wish(&mut chance, left);
            left -= wish.runs();
            plan.wishes.push(wish);
        }
        plan
    }

    /// How many runs are asked for.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.wishes.iter().map(Wish::runs).sum()
    }
}

/// A run, or a batch of at most so many.
fn wish(chance: &mut Chance, most: usize) -> Wish {
    if !chance.is(0.25) {
        let here = chance.is(0.3);
        return Wish::Run { run: run(chance), here };
    }
    let size = (chance.within(2, 6) as usize).min(most);
    let twins = 1 + u32::from(chance.is(0.3));
    Wish::Batch { runs: (0..size).map(|_| run(chance)).collect(), twins }
}

/// A run of 1 to 6 steps.
fn run(chance: &mut Chance) -> Run {
    let mut left = chance.within(0, 5);
    let mut turns = Vec::new();
    while left > 0 {
        let calls = chance.within(1, left.min(3));
        turns.push((0..calls).map(|_| chance.one_of(&Tool::ALL)).collect());
        left = left.saturating_sub(calls + 1);
    }
    let unanswered = chance.is(0.05);
    let deadline_ms = if unanswered || chance.is(0.1) { chance.within(4, 15) as i64 * 60_000 } else { 24 * 3_600_000 };
    Run {
        turns,
        deadline_ms,
        cancelled_after_ms: chance.is(0.08).then(|| chance.about(20_000)),
        unanswered,
        poison: false,
    }
}
