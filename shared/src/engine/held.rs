//! A run that this process holds: its row as it will be written next, and the writes that go with it.
//!
//! Decisions change the row in memory; [`Held::save`] writes it, with the slots that were filled since, in one transaction.
//! So what was learned and what is about to be done next cost one write together.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::{
    app::App,
    id::RunId,
    message::Slot,
    run::{Acquired, Run},
    store::{
        self, Versioned,
        row::{Rev, Write},
    },
    tenant::Tenant,
};

/// How often a write is tried again when the store is not available, and how long the first pause is, in milliseconds.
const TRIES: u32 = 6;
const PAUSE_MS: u64 = 100;

/// A run that this process holds.
#[derive(Debug)]
pub struct Held {
    pub(super) run: Run,
    /// The revision that was read or written last; `None` as long as the row is not there.
    rev: Option<Rev>,
    /// Whether the row says that the run is ours: taking a run is written with what is done first.
    taken: bool,
    /// The slots that are filled, and those about to be.
    pub(super) journal: Vec<Slot>,
    /// What goes with the next write: new slots, and what accepts the run.
    pending: Vec<Write>,
    /// Whether the intent of the first call was written with the run's creation.
    pub(super) intended: bool,
    /// Notified when others in this process changed the row.
    pub(super) wake: Arc<Notify>,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    /// It is written.
    Yes,
    /// The row was changed meanwhile, but the run is still ours: it was read again, decide anew.
    Changed,
    /// The run is not ours any more, or has ended: let go of it.
    Gone,
}

impl Held {
    /// A new run that is accepted by its first write, and held from then on. Its first intent is in that write too.
    ///
    /// # Errors
    /// A conflict's index is that of `writes`, from 1 on.
    pub(crate) async fn create(app: &App, mut run: Run, input: Slot, writes: Vec<Write>) -> store::Result<Self> {
        let config = app.config();
        run.acquire(&app.owner(), app.now(), config.lease_ms, config.sole_epoch.as_deref());
        let wake = app.signals().hold(run.id);
        let mut held =
            Self { run, rev: None, taken: false, journal: vec![input], pending: writes, intended: false, wake };
        held.intended = super::call::intend_first(app, &mut held).await;
        match held.write(app).await {
            Ok(()) => Ok(held),
            Err(error) => {
                held.let_go(app);
                Err(error)
            }
        }
    }

    /// Takes a run whose row was read. `None` when there is nothing to do; a run that ends by being taken is written.
    pub(super) async fn acquire(app: &App, found: Versioned<Run>, journal: Vec<Slot>) -> store::Result<Option<Self>> {
        let Versioned { value: mut run, rev } = found;
        let config = app.config();
        let acquired = run.acquire(&app.owner(), app.now(), config.lease_ms, config.sole_epoch.as_deref());
        if acquired == Acquired::NotNow {
            return Ok(None);
        }
        let wake = app.signals().hold(run.id);
        let mut held = Self { run, rev: Some(rev), taken: false, journal, pending: Vec::new(), intended: false, wake };
        if acquired == Acquired::Held {
            return Ok(Some(held));
        }
        held.let_go(app);
        match held.write(app).await {
            Ok(()) | Err(store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The run's id.
    #[must_use]
    pub const fn id(&self) -> RunId {
        self.run.id
    }

    /// The run as it stands.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    pub(super) fn tenant(&self) -> Tenant {
        self.run.tenant()
    }

    /// Fills the next slot with the next write.
    pub(super) fn fill(&mut self, app: &App, slot: Slot) -> store::Result<()> {
        self.pending.push(app.store().slot_write(self.tenant(), self.run.id, self.run.step, &slot)?);
        self.journal.push(slot);
        self.run.filled(app.now());
        Ok(())
    }

    /// Writes the row and what goes with it. When others wrote the row meanwhile, what they said is taken over.
    pub(super) async fn save(&mut self, app: &App) -> store::Result<Saved> {
        loop {
            match self.write(app).await {
                Ok(()) => return Ok(Saved::Yes),
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            let Some(found) = app.store().run(self.tenant(), self.run.id).await? else { return Ok(Saved::Gone) };
            let slot_open = found.value.step.saturating_add(u32::from(!self.pending.is_empty())) == self.run.step;
            // As long as our taking is not written, a row with our fence is one that another has taken at the same time.
            let fence = if self.taken { found.value.fence } else { found.value.fence.saturating_add(1) };
            let ours = fence == self.run.fence;
            if found.value.status.terminal() || !slot_open {
                return self.reload(app, found, ours).await;
            }
            if ours {
                self.run.cancel_requested = found.value.cancel_requested;
                self.rev = Some(found.rev);
            } else if self.pending.is_empty() {
                return Ok(Saved::Gone);
            } else {
                self.donate(found);
                match self.write(app).await {
                    Ok(()) | Err(store::Error::Conflict { .. }) => return Ok(Saved::Gone),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// A later holder has the run, but the slot is open and our answer was paid for: fills the slot and leaves the row theirs.
    fn donate(&mut self, found: Versioned<Run>) {
        let paid = self.run.attempts.last().cloned();
        let step = self.run.step;
        self.run = Run { step, takeovers: 0, ..found.value };
        self.rev = Some(found.rev);
        if let Some(paid) = paid {
            self.run.note(paid);
        }
    }

    /// Our changes do not hold any more: takes the run as it is now, and says whether it is still ours.
    async fn reload(&mut self, app: &App, found: Versioned<Run>, ours: bool) -> store::Result<Saved> {
        self.pending.clear();
        self.journal = app.store().journal(self.tenant(), self.run.id, found.value.step).await?;
        self.run = found.value;
        self.rev = Some(found.rev);
        Ok(if ours && !self.run.status.terminal() { Saved::Changed } else { Saved::Gone })
    }

    /// One transaction, tried again when the store is not available.
    async fn write(&mut self, app: &App) -> store::Result<()> {
        let mut pause = PAUSE_MS;
        for _ in 1..TRIES {
            match app.store().save_run(&self.run, self.rev, self.pending.clone()).await {
                Err(store::Error::Unavailable(error)) => {
                    tracing::warn!(run = %self.run.id, error = %error, "a run's row was not written; trying again");
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    pause = pause.saturating_mul(2);
                }
                other => return self.written(other),
            }
        }
        let last = app.store().save_run(&self.run, self.rev, self.pending.clone()).await;
        self.written(last)
    }

    fn written(&mut self, outcome: store::Result<Rev>) -> store::Result<()> {
        self.rev = Some(outcome?);
        self.taken = true;
        self.pending.clear();
        Ok(())
    }

    pub(super) fn let_go(&self, app: &App) {
        app.signals().release(self.run.id, &self.wake);
    }
}
