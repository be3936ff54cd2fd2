use proptest::prelude::*;

use super::*;
use crate::{
    message::ToolEnd,
    model::{Finish, ModelName, Tokens},
    run::{PendingCall, transition::tests::queued},
};

/// What a store has of a run.
struct World {
    run: Run,
    journal: BTreeMap<u32, Slot>,
    deltas: Vec<Delta>,
    /// A fold that looked after each step, and all that it told.
    watcher: Fold,
    told: Vec<Event>,
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + millis)
}

fn answer(text: &str, names: &[&str]) -> Record {
    let tool_calls = names.iter().enumerate().map(|(index, name)| ToolCall {
        id: format!("call_{index}"),
        name: (*name).to_owned(),
        arguments: "{}".to_owned(),
    });
    let finish = Finish::Stop;
    Record::Answer {
        text: text.to_owned(),
        tool_calls: tool_calls.collect(),
        finish,
        model: ModelName("m".to_owned()),
        tokens: None,
    }
}

fn result(end: ToolEnd, attempts: u32) -> Record {
    let (call_id, tool, content) = ("call_0".to_owned(), "act".to_owned(), "42".to_owned());
    Record::Result { call_id, tool, content, end, attempts, decision: None }
}

impl World {
    fn new() -> Self {
        let run = Run { streams: true, ..queued() };
        let input = Record::Input { text: "do it".to_owned(), inputs: None, attachments: Vec::new() }.at(at(0));
        let watcher = Fold::after(0);
        Self { run, journal: BTreeMap::from([(0, input)]), deltas: Vec::new(), watcher, told: Vec::new() }
    }

    fn fill(&mut self, number: u32, record: Record, mut calls: Vec<PendingCall>) {
        let mut slot = record.at(at(1));
        self.run.tell_filled(number, &mut slot, &mut calls);
        self.run.fill(number, calls, at(1));
        self.journal.insert(number, slot);
    }

    fn delta(&mut self) {
        let seq = self.run.tell();
        let delta = Delta { seq, at: at(1), slot: self.run.step, attempt: 1, text: format!("piece {seq}") };
        self.deltas.push(delta);
    }

    /// One step of a run that goes on; `which` chooses among what may happen, and `more` how.
    fn step(&mut self, which: u8, more: u8) {
        if self.run.started_at.is_none() {
            self.run.acquire("w", at(0), 60_000, None);
            return;
        }
        let chosen = usize::from(more).checked_rem(self.run.calls.len());
        let Some(index) = chosen else {
            return match which % 4 {
                0 | 1 => self.delta(),
                2 => self.fill(self.run.step, Record::Repair { text: "again".to_owned() }, Vec::new()),
                _ => {
                    self.run.note_usage();
                    let states = [CallState::Ready, CallState::AwaitsApproval, CallState::Ready];
                    let count = usize::from(more % 4);
                    let calls = states.into_iter().take(count).map(|state| PendingCall::new("act", state)).collect();
                    self.fill(self.run.step, answer("said", &["act"; 3][..count]), calls);
                }
            };
        };
        let slot = self.run.call_slot(index);
        let call = &mut self.run.calls[index];
        match call.state {
            CallState::Filled => {}
            CallState::AwaitsApproval => call.state = CallState::Ready,
            CallState::Ready if which.is_multiple_of(4) => {
                self.fill(slot, result(ToolEnd::Denied, 0), Vec::new());
            }
            CallState::Ready => {
                (call.state, call.attempts, call.unclear) = (CallState::Sent, call.attempts + 1, false);
                self.run.tell_sent(index, at(2));
            }
            CallState::Sent if which % 4 == 1 => {
                (call.state, call.unclear) = (CallState::AwaitsApproval, true);
                self.run.tell_asked(index, at(3));
            }
            CallState::Sent if which % 4 == 2 => call.state = CallState::Ready,
            CallState::Sent => {
                let attempts = call.attempts;
                self.fill(slot, result(ToolEnd::Answered, attempts), Vec::new());
            }
        }
    }

    fn end(&mut self, which: u8) {
        match which % 3 {
            0 => self.run.finish(None, at(9)),
            1 => self.run.fail(Reason::ModelError, "no".to_owned(), at(9)),
            _ => self.run.interrupt(at(9)),
        }
    }

    fn read(&self, fold: &mut Fold) -> Vec<Event> {
        let unseen = fold.unseen(&self.run);
        fold.slots(&self.run, unseen.into_iter().map(|number| (number, self.journal[&number].clone())));
        fold.row(&self.run);
        if fold.lacks(self.run.told_so_far()) {
            fold.deltas(&self.run, self.deltas.clone());
        }
        fold.take(u32::MAX)
    }

    /// What everybody who looks now is told fits what was told before.
    fn look(&mut self) {
        let whole = self.read(&mut Fold::after(0));
        let numbers: Vec<u32> = whole.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=self.run.events()).collect::<Vec<u32>>());
        assert_eq!(whole.get(..self.told.len()), Some(self.told.as_slice()));
        let mut watcher = std::mem::take(&mut self.watcher);
        let news = self.read(&mut watcher);
        self.watcher = watcher;
        self.told.extend(news);
        assert_eq!(self.told, whole);
        for after in 0..=whole.len() {
            let rest = self.read(&mut Fold::after(u32::try_from(after).unwrap()));
            assert_eq!(rest, whole[after..], "after {after}");
        }
        let ends = whole.iter().filter(|event| matches!(event.happened, Happened::Ended { .. })).count();
        assert_eq!(ends, usize::from(self.run.status.terminal()));
    }
}

impl Run {
    fn note_usage(&mut self) {
        self.usage.add(&Usage { model_calls: 1, tokens: Tokens { input: 3, ..Tokens::default() }, ..Usage::default() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_later_fold_begins_with_what_an_earlier_one_told(steps in prop::collection::vec((any::<u8>(), any::<u8>()), 0..24), end in any::<u8>()) {
        let mut world = World::new();
        world.look();
        for (which, more) in steps {
            world.step(which, more);
            world.look();
        }
        world.end(end);
        world.look();
    }
}

#[test]
fn a_run_is_told_from_its_creation_to_its_end() {
    let mut world = World::new();
    world.run.acquire("w", at(0), 60_000, None);
    world.delta();
    let calls = vec![PendingCall::new("act", CallState::Ready), PendingCall::new("act", CallState::AwaitsApproval)];
    world.fill(1, answer("let me see", &["act", "act"]), calls);
    world.run.calls[0].attempts = 1;
    world.run.tell_sent(0, at(2));
    world.fill(3, result(ToolEnd::Denied, 0), Vec::new());
    world.fill(2, result(ToolEnd::Answered, 1), Vec::new());
    world.fill(4, answer("done", &[]), Vec::new());
    world.run.finish(None, at(9));
    let events = world.read(&mut Fold::after(0));
    let names: Vec<&str> = events
        .iter()
        .map(|event| match &event.happened {
            Happened::Created => "created",
            Happened::Started => "started",
            Happened::Delta { .. } => "delta",
            Happened::Said(_) => "said",
            Happened::Used(_) => "used",
            Happened::Sent { .. } => "sent",
            Happened::Asked(_) => "asked",
            Happened::Returned { .. } => "returned",
            Happened::Ended { result, open: _ } => {
                assert_eq!(result.as_deref(), Some("done"));
                "ended"
            }
        })
        .collect();
    let expected = "created started delta said used asked sent returned returned said used ended";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn a_run_that_is_older_than_numbers_is_told_slot_by_slot_and_goes_on_with_them() {
    let mut world = World::new();
    world.run.acquire("w", at(0), 60_000, None);
    world.fill(1, answer("let me see", &["act"]), vec![PendingCall::new("act", CallState::Ready)]);
    world.fill(2, result(ToolEnd::Answered, 1), Vec::new());
    let old = |world: &mut World| {
        world.run.told = 0;
        world.journal.values_mut().for_each(|slot| slot.told = None);
        world.read(&mut Fold::after(0))
    };
    let before = old(&mut world);
    let numbers: Vec<u32> = before.iter().map(|event| event.seq).collect();
    assert_eq!((numbers, world.run.events()), (vec![1, 2, 3, 4], 4));
    assert!(matches!(before[3].happened, Happened::Returned { .. }));
    world.fill(3, answer("done", &[]), Vec::new());
    world.run.finish(None, at(9));
    let after = world.read(&mut Fold::after(0));
    assert_eq!((after[..4].to_vec(), after.len()), (before, 7));
    let ended = old(&mut world);
    assert_eq!(ended.len(), 6, "without what was used");
    let written = serde_json::to_value(&world.run).unwrap();
    let mut row = written.as_object().unwrap().clone();
    row.remove("told");
    row.remove("streams");
    assert_eq!(serde_json::from_value::<Run>(row.into()).unwrap().events(), 6);
}
