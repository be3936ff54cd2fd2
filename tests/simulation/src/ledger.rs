//! What was committed, and what the outside saw of it; and what of that must not be. Knows no process, no queue and no chance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::IgnoredAny};
use shared::{
    batch::Batch,
    run::{CallState, Reason, Run, Status},
    store::row::{Row, Table, Write},
};

use crate::{
    plan::{self, Tool},
    world::BEGAN,
};

/// What is known of a run.
#[derive(Debug, Default)]
pub struct Known {
    /// What the plan says of it.
    pub label: String,
    /// The row as it was committed last; `None` when it was taken away.
    pub row: Option<Run>,
    /// The batch that it belongs to.
    pub batch: Option<String>,
    /// The slots that are committed, with what they say.
    slots: BTreeMap<u32, u64>,
    /// How many of them are a model's answers.
    answers: u32,
    /// The process that holds it.
    pub holder: Option<u32>,
    /// The process that began to write it last.
    pub writer: Option<u32>,
    /// How often a process that held it died or froze.
    pub hits: u32,
    /// How often a store operation about it failed.
    pub outages: u32,
    /// How often a model was asked for it, and how often the model worked on an answer.
    pub asked: u32,
    /// See above.
    pub answered: u32,
    /// What the models' answers used.
    pub billed: u64,
    /// The most take-overs that its row has shown.
    pub takeovers: u32,
    /// When its last message could not be sent.
    pub send_failed_ms: Option<u64>,
    fence: u64,
    /// When its row was committed first.
    first_ms: u64,
}

/// What a tool has seen of one call.
#[derive(Debug, Default)]
pub struct Effect {
    /// How often the request came.
    pub arrived: u32,
    /// How often something was done.
    pub applied: u32,
    /// How often a person said that it is to be sent, or sent again.
    pub approved: u32,
    /// How often a person said so of a call that may have taken place.
    pub again: u32,
}

/// Everything that was committed or seen outside.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The runs by their id.
    pub runs: BTreeMap<String, Known>,
    /// The runs by their label.
    pub labels: BTreeMap<String, String>,
    /// The wanted runs by their label.
    pub wanted: BTreeMap<String, plan::Run>,
    /// The batches that are accepted, as they were committed last.
    pub batches: BTreeMap<String, Batch>,
    /// When they were accepted.
    accepted_ms: BTreeMap<String, u64>,
    /// The tool calls by their idempotency key, with their tool.
    pub effects: BTreeMap<String, (Tool, Effect)>,
    /// What must not be.
    pub violations: Vec<String>,
    /// How long after a message that was not sent the run was taken, in milliseconds.
    pub recoveries_ms: Vec<u64>,
}

/// A slot, as far as it matters here.
#[derive(Deserialize)]
struct Slot {
    answer: Option<IgnoredAny>,
}

/// The id of the run that this partition belongs to.
#[must_use]
pub fn run_of(partition: &str) -> Option<&str> {
    partition.split_once("#R#").map(|(_, id)| id)
}

/// FNV-1a.
#[must_use]
pub fn hash(of: &str) -> u64 {
    of.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Ledger {
    /// Notes what must not be.
    pub fn wrong(&mut self, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(what);
        }
    }

    /// The run of that label.
    pub fn labelled(&mut self, label: &str) -> Option<&mut Known> {
        self.runs.get_mut(self.labels.get(label)?)
    }

    /// Whether callers may see the run.
    #[must_use]
    pub fn accepted(&self, known: &Known) -> bool {
        known.batch.as_ref().is_none_or(|batch| self.batches.contains_key(batch))
    }

    /// These writes were committed by that process. The ids of the runs about which a person is asked now.
    pub fn committed(&mut self, writes: &[Write], process: Option<u32>, now_ms: u64) -> Vec<String> {
        let mut touched = Vec::new();
        for write in writes {
            let key = write.key();
            let run = run_of(&key.partition).map(str::to_owned);
            match (write, key.table, run) {
                (Write::Put(row, _), Table::Messages, Some(id)) if key.sort.starts_with("J#") => self.slot(id, row),
                (Write::Delete(..), Table::Messages, Some(id)) if key.sort.starts_with("J#") => {
                    self.slot_gone(&id, &key.sort);
                }
                (Write::Put(row, _), Table::Runs, Some(id)) => {
                    self.run(&id, row, process, now_ms);
                    touched.push(id);
                }
                (Write::Delete(..), Table::Runs, Some(id)) => self.run_gone(&id),
                (Write::Put(row, _), Table::Runs, None) if key.partition.contains("#B#") => {
                    self.batch(row, now_ms);
                }
                (Write::Put(..) | Write::Delete(..) | Write::Check(..) | Write::Add(_), ..) => {}
            }
        }
        touched.retain(|id| self.whole(id));
        touched
    }

    fn slot(&mut self, id: String, row: &Row) {
        let number: u32 = row.key.sort.trim_start_matches("J#").parse().unwrap_or(u32::MAX);
        let said = hash(&row.body);
        let known = self.runs.entry(id.clone()).or_default();
        let answer = serde_json::from_str::<Slot>(&row.body).is_ok_and(|slot| slot.answer.is_some());
        match known.slots.insert(number, said) {
            None => known.answers += u32::from(answer),
            Some(before) if before == said => {}
            Some(_) => self.wrong(format!("slot {number} of run {id} was written twice, with different content")),
        }
    }

    fn slot_gone(&mut self, id: &str, sort: &str) {
        let Some(known) = self.runs.get_mut(id) else { return };
        if known.slots.remove(&0).is_some() && sort != "J#00000000" {
            self.wrong(format!("slot {sort} of run {id} was taken away"));
        }
    }

    fn run_gone(&mut self, id: &str) {
        let Some(known) = self.runs.get_mut(id) else { return };
        known.row = None;
        let batch = known.batch.clone();
        if batch.is_none_or(|batch| self.batches.contains_key(&batch)) {
            self.wrong(format!("run {id} was accepted and taken away"));
        }
    }

    fn run(&mut self, id: &str, row: &Row, process: Option<u32>, now_ms: u64) {
        let Ok(run) = serde_json::from_str::<Run>(&row.body) else {
            return self.wrong(format!("the row of run {id} cannot be read"));
        };
        let label = match run.grades.and_then(|graded| self.runs.get(&graded.to_string())) {
            Some(graded) => judges(&graded.label),
            None => run.title.split(' ').next().unwrap_or_default().to_owned(),
        };
        let known = self.runs.entry(id.to_owned()).or_default();
        if known.row.is_none() {
            known.first_ms = now_ms;
        }
        known.batch = run.batch.as_ref().map(|batch| batch.id.to_string());
        known.label = label;
        self.labels.insert(known.label.clone(), id.to_owned());
        known.holder = run.lease.as_ref().and(process);
        known.takeovers = known.takeovers.max(run.takeovers);
        if run.fence > known.fence {
            known.fence = run.fence;
            let failed = known.send_failed_ms.take();
            self.recoveries_ms.extend(failed.map(|at| now_ms.saturating_sub(at)));
        }
        let ended = known.row.as_ref().filter(|before| before.status.terminal());
        let changed = ended.is_some_and(|before| !same_end(before, &run));
        let said = ended.map(|before| (before.status, before.reason));
        known.row = Some(run);
        if let (true, Some(said), Some(now)) = (changed, said, &self.runs[id].row) {
            let now = (now.status, now.reason);
            self.wrong(format!("run {id} had ended as {said:?} and was written again as {now:?}"));
        }
    }

    fn batch(&mut self, row: &Row, now_ms: u64) {
        let id = row.key.partition.split_once("#B#").map_or("", |(_, id)| id).to_owned();
        let Ok(batch) = serde_json::from_str::<Batch>(&row.body) else { return };
        self.accepted_ms.entry(id.clone()).or_insert(now_ms);
        let settled = self.batches.get(&id).is_some_and(|before| before.settled.is_some() && *before != batch);
        self.batches.insert(id.clone(), batch);
        if settled {
            self.wrong(format!("batch {id} was settled and written again"));
        }
    }

    /// Whether the journal holds what the row counts, and nothing else; and whether a person is asked about a call.
    fn whole(&mut self, id: &str) -> bool {
        let Some(known) = self.runs.get(id) else { return false };
        let Some(run) = &known.row else { return false };
        let filled = run.calls.iter().enumerate().filter(|(_, call)| call.state == CallState::Filled);
        let counted: BTreeSet<u32> = (0..run.step).chain(filled.map(|(index, _)| run.call_slot(index))).collect();
        // Rows of a batch are staged one after the other.
        let staging = !self.accepted(known);
        let asks = run.awaits_approval() && !run.status.terminal();
        if !staging && !counted.iter().eq(known.slots.keys()) {
            let filled: Vec<u32> = known.slots.keys().copied().collect();
            self.wrong(format!("run {id} counts the slots {counted:?}, and filled are {filled:?}"));
        }
        asks
    }

    /// A process died or froze that held runs, or was about to take them.
    pub fn hit(&mut self, process: u32, in_hand: &BTreeSet<String>) {
        for (id, known) in &mut self.runs {
            let held = [known.holder, known.writer].contains(&Some(process));
            known.hits += u32::from(held || in_hand.contains(id));
        }
    }

    /// The runs and batches that are accepted and have not come to their end.
    #[must_use]
    pub fn open(&self) -> usize {
        let open =
            |known: &&Known| known.row.as_ref().is_some_and(|run| !run.status.terminal()) && self.accepted(known);
        let unsettled = self.batches.values().filter(|batch| batch.settled.is_none()).count();
        self.runs.values().filter(open).count() + unsettled
    }

    /// The runs whose batch was never accepted and whose rows are still there.
    #[must_use]
    pub fn staged(&self) -> usize {
        self.runs.values().filter(|known| known.row.is_some() && !self.accepted(known)).count()
    }

    /// What must not be when all is over. `slack_ms` is how long after its deadline a run may end.
    pub fn check_end(&mut self, slack_ms: i64) {
        let mut wrong = Vec::new();
        let mut asked_for: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (id, known) in &self.runs {
            let Some(run) = &known.row else { continue };
            if self.accepted(known) {
                wrong.extend(self.ended_badly(id, known, run, slack_ms));
                asked_for.entry(known.wish()).or_default().insert(known.batch.as_deref().unwrap_or(id));
            } else if known.asked > 0 || run.status.terminal() {
                wrong.push(format!("run {id} was worked on, and its batch never accepted"));
            }
        }
        for (wish, got) in asked_for.iter().filter(|(_, got)| got.len() > 1) {
            wrong.push(format!("wish {wish} was asked for with one key and accepted {} times", got.len()));
        }
        for (id, batch) in &self.batches {
            wrong.extend(self.settled_badly(id, batch));
        }
        for (key, (tool, effect)) in &self.effects {
            wrong.extend(too_often(*tool, effect).map(|what| format!("call {key} of tool {}: {what}", tool.name())));
        }
        wrong.into_iter().for_each(|what| self.wrong(what));
    }

    fn ended_badly(&self, id: &str, known: &Known, run: &Run, slack_ms: i64) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(format!("run {id} ({}): {what}", known.label));
            }
        };
        check(run.graded == run.evaluation.is_some(), "it was to be graded, and is not".to_owned());
        // A process may sleep between setting the deadline and accepting the run.
        let accepted_ms = known.batch.as_ref().map_or(Some(&known.first_ms), |batch| self.accepted_ms.get(batch));
        let accepted = BEGAN.plus_ms(accepted_ms.map_or(0, |ms| *ms as i64));
        let due = run.deadline_at.max(accepted);
        let late_ms = run.ended_at.map_or(i64::MAX, |ended| ended.millis() - due.millis());
        check(run.status.terminal(), format!("lost: it is {} and nothing moves it", run.status.name()));
        check(late_ms <= slack_ms || !run.status.terminal(), format!("it ended {late_ms} ms after its deadline"));
        let stopped = run.cancel_requested || matches!(run.reason, Some(Reason::Deadline | Reason::ApprovalExpired));
        let allowed = known.hits + known.outages + u32::from(stopped);
        let extra = known.extra();
        check(extra <= allowed, format!("{extra} answers of models were not used, and it was hit {allowed} times"));
        let (booked, asked) = (run.usage.model_calls, known.asked);
        check(booked >= asked, format!("{booked} model calls are booked, and {asked} were made"));
        check(
            booked <= asked + allowed,
            format!("{booked} model calls are booked, {asked} were made, hit {allowed} times"),
        );
        let tokens = run.usage.tokens.input + run.usage.tokens.output;
        check(tokens >= known.billed, format!("{tokens} tokens are booked, and {} were billed", known.billed));
        wrong
    }

    fn settled_badly(&self, id: &str, batch: &Batch) -> Option<String> {
        let Some(settled) = batch.settled else { return Some(format!("batch {id} was never settled")) };
        let runs = batch.run_ids().into_iter().filter_map(|run| self.runs.get(&run.to_string())?.row.as_ref());
        let (mut counts, mut calls) = ([0; 3], 0);
        for run in runs {
            calls += run.usage.model_calls;
            match run.status {
                Status::Done => counts[0] += 1,
                Status::Error => counts[1] += 1,
                Status::Interrupted => counts[2] += 1,
                Status::Queued | Status::Running | Status::Waiting => {}
            }
        }
        let written = [settled.counts.done, settled.counts.error, settled.counts.interrupted];
        let all = counts.iter().sum::<u32>() == u32::from(batch.items);
        let same = counts == written && calls == settled.usage.model_calls;
        (!all || !same)
            .then(|| format!("batch {id} of {} was settled as {written:?}, its runs are {counts:?}", batch.items))
    }
}

impl Known {
    /// What it was asked for: a wish's number, or what it grades.
    fn wish(&self) -> &str {
        let end = self.label.find('.').filter(|_| !self.label.contains('!'));
        end.and_then(|end| self.label.get(..end)).unwrap_or(&self.label)
    }

    /// How many answers of models are in no slot.
    #[must_use]
    pub fn extra(&self) -> u32 {
        self.answered.saturating_sub(self.answers)
    }

    /// How many answers of models are in slots.
    #[must_use]
    pub const fn answers(&self) -> u32 {
        self.answers
    }
}

/// The label of the run that grades the one of that label.
#[must_use]
pub fn judges(label: &str) -> String {
    format!("{label}!judge")
}

/// Whether the later row tells of the same end. Others may go on with the chat, and it may be graded once.
fn same_end(before: &Run, after: &Run) -> bool {
    let mut before = before.clone();
    before.continued_by.clone_from(&after.continued_by);
    if before.evaluation.is_none() {
        before.evaluation.clone_from(&after.evaluation);
    }
    before == *after
}

fn too_often(tool: Tool, effect: &Effect) -> Option<String> {
    let Effect { arrived, applied, approved, again } = *effect;
    let most = match tool {
        Tool::Read => return None,
        Tool::Idempotent | Tool::Verify => 1,
        Tool::Once => 1,
        Tool::OnceHalt => 1 + again,
        Tool::Asked => approved.min(1),
    };
    (applied > most).then(|| format!("{applied} effects of {arrived} requests, at most {most} may be"))
}
