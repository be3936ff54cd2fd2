//! Simulated processes: several in one, each of which can die or freeze at any moment while the others and the time go on.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// A simulated process: what is begun within it is done only while it lives and is not frozen.
#[derive(Debug, Clone)]
pub struct Process {
    number: u32,
    phase: Arc<Mutex<Phase>>,
}

#[derive(Debug)]
enum Phase {
    Runs,
    Frozen(Vec<Waker>),
    Dead,
}

thread_local! {
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

impl Process {
    /// A process that runs.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self { number, phase: Arc::new(Mutex::new(Phase::Runs)) }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The process that is at work now.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Ends it: nothing of it goes on, not even to the next line.
    pub fn kill(&self) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Dead;
    }

    /// Stops it until it is thawed.
    pub fn freeze(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*phase, Phase::Runs) {
            *phase = Phase::Frozen(Vec::new());
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Frozen(wakers) = &mut *phase {
            let wakers = std::mem::take(wakers);
            *phase = Phase::Runs;
            drop(phase);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether it is neither dead nor frozen.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(*self.phase.lock().unwrap_or_else(PoisonError::into_inner), Phase::Runs)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn dead(&self) -> bool {
        matches!(*self.phase.lock().unwrap_or_else(PoisonError::into_inner), Phase::Dead)
    }

    /// Work that is done within it.
    pub fn within<F: Future>(&self, work: F) -> Within<F> {
        Within { process: Some(self.clone()), work: Some(Box::pin(work)) }
    }

    /// Whether it may go on; if it is frozen, `waker` is woken when it thaws.
    fn may_go_on(&self, waker: &Waker) -> bool {
        match &mut *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Runs => true,
            Phase::Frozen(wakers) => {
                wakers.push(waker.clone());
                false
            }
            Phase::Dead => false,
        }
    }
}

/// Work within a process. When the process dies it ends without an end: what it holds is dropped.
#[derive(Debug)]
pub struct Within<F> {
    process: Option<Process>,
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { process, work } = &mut *self;
        if process.as_ref().is_some_and(|process| !process.may_go_on(context.waker())) {
            if process.as_ref().is_some_and(Process::dead) {
                *work = None;
            }
            return Poll::Pending;
        }
        let Some(running) = work.as_mut() else { return Poll::Pending };
        let before = CURRENT.replace(process.clone());
        let polled = running.as_mut().poll(context);
        CURRENT.set(before);
        polled
    }
}

/// The same work, as a part of the process that begins it.
pub(crate) fn scoped<F: Future>(work: F) -> Within<F> {
    Within { process: Process::current(), work: Some(Box::pin(work)) }
}

/// Waits as long as the process that is at work is frozen, and for ever when it has died since.
pub(crate) async fn held_up() {
    poll_fn(|context| {
        let goes_on = Process::current().is_none_or(|process| process.may_go_on(context.waker()));
        if goes_on { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
