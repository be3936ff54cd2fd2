//! Pieces of the answer that a model is giving, until they are written down: those that come meanwhile are joined. Knows no run.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::model::Deltas;

/// How long after a piece was taken the next one may be: each is a write.
const PACE: Duration = Duration::from_millis(20);

/// Where a model's answer is collected. Clones share what is collected.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces(Arc<Collected>);

#[derive(Debug, Default)]
struct Collected {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    /// When something was taken last.
    taken: Option<Instant>,
}

impl Pieces {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What gives a model's pieces to this.
    pub(super) fn deltas(&self) -> Deltas {
        let pieces = self.clone();
        Deltas::new(move |piece| {
            pieces.state().text.push_str(piece);
            pieces.0.arrived.notify_one();
        })
    }

    /// Forgets what an attempt has given that is over.
    pub(super) fn clear(&self) {
        self.state().text.clear();
    }

    /// Takes what has come, if anything has.
    pub(super) fn take(&self) -> Option<String> {
        let mut state = self.state();
        if state.text.is_empty() {
            return None;
        }
        state.taken = Some(Instant::now());
        Some(std::mem::take(&mut state.text))
    }

    /// Returns when there is something to take and it is time: at once for the first piece.
    pub(super) async fn due(&self) {
        loop {
            let (empty, taken) = {
                let state = self.state();
                (state.text.is_empty(), state.taken)
            };
            if empty {
                self.0.arrived.notified().await;
                continue;
            }
            match taken.map(|taken| taken + PACE) {
                Some(due) if due > Instant::now() => sleep_until(due).await,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_piece_is_due_at_once_and_those_behind_it_are_joined() {
        let pieces = Pieces::default();
        let deltas = pieces.deltas();
        assert_eq!(pieces.take(), None);
        let begun = Instant::now();
        deltas.give("a");
        pieces.due().await;
        assert_eq!((pieces.take().as_deref(), begun.elapsed()), (Some("a"), Duration::ZERO));
        deltas.give("b");
        deltas.give("c");
        pieces.due().await;
        assert_eq!((pieces.take().as_deref(), begun.elapsed()), (Some("bc"), PACE));
        deltas.give("of an attempt that fails");
        pieces.clear();
        assert_eq!(pieces.take(), None);
    }
}
