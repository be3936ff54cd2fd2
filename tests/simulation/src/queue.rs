//! The queue: messages are lost, late, out of order, and come up to five times.

use shared::{id::RunId, queue::Chunk, simulation::Process};

use crate::world::{State, World, sleep};

impl World {
    /// Takes messages, or does not.
    pub(crate) fn send_messages(&self, chunks: Vec<Chunk>, delay_s: u32) -> bool {
        let mut guard = self.state();
        let taken: Vec<bool> = chunks.into_iter().map(|chunk| self.send_message(&mut guard, &chunk, delay_s)).collect();
        taken.into_iter().all(|taken| taken)
    }

    fn send_message(&self, state: &mut State, chunk: &Chunk, delay_s: u32) -> bool {
        if self.send_fails(state, chunk) {
            let now_ms = self.now_ms();
            for run in &chunk.runs {
                state.ledger.runs.entry(run.to_string()).or_default().send_failed_ms.get_or_insert(now_ms);
            }
            self.note_in(state, "send fails", "", || format!("{:?}", chunk.runs));
            return false;
        }
        let copies = self.copies(state);
        state.counts.lost_messages += u64::from(copies == 0);
        state.counts.duplicates += copies.saturating_sub(1);
        self.note_in(state, "send", "", || format!("{copies} times, in {delay_s} s: {:?}", chunk.runs));
        for _ in 0..copies {
            let ms = u64::from(delay_s) * 1_000 + state.chance.within(1, self.plan.message_ms);
            self.deliver(chunk.clone(), ms, state.generation);
        }
        true
    }

    fn send_fails(&self, state: &mut State, chunk: &Chunk) -> bool {
        let rates = &self.plan.rates;
        let failed =
            |run: &RunId| state.ledger.runs.get(&run.to_string()).is_some_and(|known| known.send_failed_ms.is_some());
        let again = chunk.runs.iter().any(failed);
        state.storm && (state.chance.is(rates.send_fails) || !again && state.chance.is(rates.send_fails_once))
    }

    /// How often a message comes.
    fn copies(&self, state: &mut State) -> u64 {
        let rates = &self.plan.rates;
        if !state.storm {
            1
        } else if state.chance.is(rates.message_lost) {
            0
        } else if state.chance.is(rates.five_times) {
            5
        } else {
            1 + u64::from(state.chance.is(rates.twice))
        }
    }

    /// The message can be received after that time.
    pub(crate) fn deliver(&self, chunk: Chunk, ms: u64, generation: u32) {
        let world = self.handle();
        self.beside(async move {
            sleep(ms).await;
            let mut state = world.state();
            if state.generation == generation {
                state.ready.push(chunk);
                drop(state);
                world.messages.notify_waiters();
            }
        });
    }

    /// The next message; the process that receives it has it in hand.
    pub(crate) async fn receive(&self) -> Chunk {
        loop {
            let waiting = self.messages.notified();
            if let Some(chunk) = self.next_message(&mut self.state()) {
                return chunk;
            }
            waiting.await;
        }
    }

    fn next_message(&self, state: &mut State) -> Option<Chunk> {
        let last = state.ready.len().checked_sub(1)? as u64;
        let index = if state.storm { state.chance.within(0, last) as usize } else { 0 };
        let chunk = state.ready.remove(index);
        let process = Process::current().map_or(0, |process| process.number());
        state.cluster.in_hand.push((process, chunk.clone()));
        self.note_in(state, "receive", "", || format!("{:?}", chunk.runs));
        Some(chunk)
    }

    /// The process is done with that message; it comes again if it was not worked on.
    pub(crate) fn done_with(&self, chunk: &Chunk, failed: bool) {
        let mut guard = self.state();
        let state = &mut *guard;
        let process = Process::current().map_or(0, |process| process.number());
        let held = state.cluster.in_hand.iter().position(|(by, held)| *by == process && held == chunk);
        if let Some(index) = held {
            state.cluster.in_hand.remove(index);
        }
        if failed && !self.plan.sole && state.chance.is(0.7) {
            let ms = state.chance.about(30_000);
            self.deliver(chunk.clone(), ms, state.generation);
        }
    }
}
