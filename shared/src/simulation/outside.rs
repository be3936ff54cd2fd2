//! What a simulation decides: the weather of each store operation, and what comes of messages, model calls and requests.

use std::{
    cell::{Cell, RefCell},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;

use super::{Guard, process::held_up};
use crate::{
    model::{Answer, ModelFault, Request},
    net,
    queue::Chunk,
    store::row::{Key, Query, Row, Write},
};

/// Everything outside of the core.
pub trait Outside: Send + Sync + fmt::Debug {
    /// What a store operation meets with. It is asked once for each, before anything else is done.
    fn weather(&self, operation: &Operation<'_>) -> Weather;

    /// These writes were applied at this moment, over these rows, each in its place.
    fn committed(&self, writes: &[Write], before: &[Option<Arc<Row>>]);

    /// A condition of that write did not hold, and nothing was applied.
    fn refused(&self, write: &Write);

    /// Whether the messages were taken.
    fn send(&self, chunks: Vec<Chunk>, delay_s: u32) -> bool;

    /// Calls a model.
    fn model<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>>;

    /// Sends a request of a tool.
    fn http<'a>(&'a self, url: &'a str, sending: &'a net::Sending) -> BoxFuture<'a, Result<net::Answer, net::Failure>>;
}

/// A store operation.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// Reads rows.
    Get(&'a [Key]),
    /// A page of rows.
    Query(&'a Query),
    /// A transaction, or a part of rows that are put together.
    Write(&'a [Write]),
}

/// What a store operation meets with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// How long it takes until it is done, in milliseconds.
    pub before_ms: u64,
    /// It is turned away: nothing is done.
    pub throttled: bool,
    /// Another transaction has just touched one of its rows: nothing is done. Of a transaction with conditions, the one that is said not to
    /// hold is chosen by this number.
    pub conflict: Option<u64>,
    /// How long its answer takes, in milliseconds.
    pub after_ms: u64,
    /// The answer is lost, and the backend cannot find out what came of it.
    pub reply_lost: bool,
    /// A page has at most so many rows.
    pub page_rows: Option<usize>,
    /// After how many milliseconds what is written shows in the indexes.
    pub lag_ms: u64,
}

impl Weather {
    pub(crate) async fn before(self) {
        pause(self.before_ms).await;
    }

    pub(crate) async fn after(self) {
        pause(self.after_ms).await;
    }
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    held_up().await;
}

thread_local! {
    static OUTSIDE: RefCell<Option<Arc<dyn Outside>>> = const { RefCell::new(None) };
    static CHANCE: Cell<u64> = const { Cell::new(0) };
    static OFF: RefCell<Vec<Guard>> = const { RefCell::new(Vec::new()) };
}

/// A simulation on this thread, until it is dropped.
#[derive(Debug)]
pub struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        OUTSIDE.set(None);
        OFF.set(Vec::new());
    }
}

/// Begins a simulation on this thread, with its outside, its chance, and the guards that are switched off.
#[must_use]
pub fn enter(outside: Arc<dyn Outside>, seed: u64, off: &[Guard]) -> Entered {
    OUTSIDE.set(Some(outside));
    CHANCE.set(seed);
    OFF.set(off.to_vec());
    Entered(())
}

pub(crate) fn outside() -> Option<Arc<dyn Outside>> {
    OUTSIDE.with_borrow(Clone::clone)
}

/// What that operation meets with; nothing where there is no simulation.
pub(crate) fn weather(operation: &Operation<'_>) -> Weather {
    outside().map_or_else(Weather::default, |outside| outside.weather(operation))
}

/// Whether a simulation has switched that guard off.
pub(crate) fn off(guard: Guard) -> bool {
    OFF.with_borrow(|off| off.contains(&guard))
}

/// Takes the bytes from the simulation's chance, if there is a simulation.
pub(crate) fn draw(bytes: &mut [u8]) -> bool {
    if OUTSIDE.with_borrow(Option::is_none) {
        return false;
    }
    for part in bytes.chunks_mut(8) {
        let state = CHANCE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        CHANCE.set(state);
        // SplitMix64.
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        for (to, from) in part.iter_mut().zip((mixed ^ (mixed >> 31)).to_le_bytes()) {
            *to = from;
        }
    }
    true
}
