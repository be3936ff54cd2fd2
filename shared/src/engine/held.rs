//! A run that this process holds: its row as it will be written next, and the writes that go with it.
//!
//! Decisions change the row in memory; [`Held::save`] writes it, with the slots that were filled since, in one transaction.
//! So what was learned and what is about to be done next cost one write together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::pieces::Pieces;
use crate::{
    app::App,
    clock::Timestamp,
    id::RunId,
    message::{Record, Slot},
    model::Deltas,
    run::{Acquired, Delta, PendingCall, Run},
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
    /// The slots that are filled without a gap, and those about to be.
    pub(super) journal: Vec<Slot>,
    /// The slots that are filled after a gap: answers of tools that came before others'.
    early: BTreeMap<u32, Slot>,
    /// The slots that the next write fills.
    filling: Vec<Filling>,
    /// What the model has said and the next write tells.
    deltas: Vec<Delta>,
    /// What the model has said since: empty in a run that is not streamed.
    pub(super) pieces: Pieces,
    /// What else goes with the next write: what accepts the run.
    others: Vec<Write>,
    /// How many slots were filled when the run was read or written last.
    filled: usize,
    /// Whether the intent of the first call was written with the run's creation.
    pub(super) intended: bool,
    /// Notified when others in this process changed the row.
    pub(super) wake: Arc<Notify>,
}

/// A slot that is about to be filled.
#[derive(Debug, Clone)]
struct Filling {
    number: u32,
    slot: Slot,
    /// The tool calls that it asks for.
    calls: Vec<PendingCall>,
}

impl Filling {
    /// Numbers what it tells of that run, and fills the slot there.
    fn fill(&mut self, run: &mut Run, now: Timestamp) {
        run.tell_filled(self.number, &mut self.slot, &mut self.calls);
        run.fill(self.number, self.calls.clone(), now);
    }
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
        let mut held = Self::of(run, None, vec![(0, input)], wake);
        held.others = writes;
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
    pub(super) async fn acquire(
        app: &App,
        found: Versioned<Run>,
        journal: Vec<(u32, Slot)>,
    ) -> store::Result<Option<Self>> {
        let Versioned { value: mut run, rev } = found;
        let config = app.config();
        let acquired = run.acquire(&app.owner(), app.now(), config.lease_ms, config.sole_epoch.as_deref());
        if acquired == Acquired::NotNow {
            return Ok(None);
        }
        let wake = app.signals().hold(run.id);
        let mut held = Self::of(run, Some(rev), journal, wake);
        if acquired == Acquired::Held {
            return Ok(Some(held));
        }
        held.let_go(app);
        match held.write(app).await {
            Ok(()) | Err(store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(run: Run, rev: Option<Rev>, journal: Vec<(u32, Slot)>, wake: Arc<Notify>) -> Self {
        let filled = run.filled();
        let mut held = Self {
            run,
            rev,
            taken: false,
            journal: Vec::new(),
            early: BTreeMap::new(),
            filling: Vec::new(),
            deltas: Vec::new(),
            pieces: Pieces::default(),
            others: Vec::new(),
            filled,
            intended: false,
            wake,
        };
        held.read(journal);
        held
    }

    /// Takes these slots for the journal.
    fn read(&mut self, journal: Vec<(u32, Slot)>) {
        self.journal.clear();
        self.early = journal.into_iter().collect();
        self.close_gaps();
    }

    fn close_gaps(&mut self) {
        while let Some(slot) = u32::try_from(self.journal.len()).ok().and_then(|next| self.early.remove(&next)) {
            self.journal.push(slot);
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

    /// Fills an open slot with the next write; `calls` are the tool calls that it asks for.
    pub(super) fn fill(&mut self, app: &App, number: u32, slot: Slot, calls: Vec<PendingCall>) {
        let mut filling = Filling { number, slot, calls };
        filling.fill(&mut self.run, app.now());
        self.early.insert(number, filling.slot.clone());
        self.close_gaps();
        self.filling.push(filling);
    }

    /// Who is given pieces of the model's answers: nobody, unless the run is streamed.
    pub(super) fn deltas(&self) -> Option<Deltas> {
        self.run.streams.then(|| self.pieces.deltas())
    }

    /// Tells with the next write what the model has said since the last one. To be asked for while the call is in flight.
    pub(super) fn tell_pieces(&mut self, now: Timestamp) {
        let Some(text) = self.pieces.take() else { return };
        let attempt = self.run.usage.model_calls.saturating_add(1);
        let (seq, slot) = (self.run.tell(), self.run.step);
        self.deltas.push(Delta { seq, at: now, slot, attempt, text });
    }

    /// Whether a slot is filled that is not written yet.
    pub(super) fn unwritten(&self) -> bool {
        !self.filling.is_empty()
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
            // As long as our taking is not written, a row with our fence is one that another has taken at the same time.
            let fence = if self.taken { found.value.fence } else { found.value.fence.saturating_add(1) };
            let ours = fence == self.run.fence;
            if ours && !found.value.status.terminal() && found.value.filled() == self.filled {
                self.run.adopt(&found.value, app.now().plus_ms(app.config().lease_ms));
                // A write whose outcome nobody knew was one.
                self.deltas.retain(|delta| delta.seq > found.value.told);
                self.rev = Some(found.rev);
                continue;
            }
            let fits = self.donated(&found.value, app);
            match fits.filter(|_| !ours && !found.value.status.terminal() && !self.filling.is_empty()) {
                Some((donated, filling)) => {
                    // What we told of the answer was told before, or is not any more: the answer has all of it.
                    self.deltas.clear();
                    (self.run, self.filling) = (donated, filling);
                    self.rev = Some(found.rev);
                    return match self.write(app).await {
                        Ok(()) | Err(store::Error::Conflict { .. }) => Ok(Saved::Gone),
                        Err(error) => Err(error),
                    };
                }
                None => return self.reload(app, found, ours).await,
            }
        }
    }

    /// That row of a later holder with our slots filled, if they are open: our answers were paid for. The rest stays theirs.
    fn donated(&self, found: &Run, app: &App) -> Option<(Run, Vec<Filling>)> {
        let (mut run, mut filled) = (found.clone(), self.filling.clone());
        let paid = filled.iter().any(|filling| matches!(filling.slot.record, Record::Answer { .. }));
        if let Some(paid) = self.run.attempts.last().filter(|_| paid) {
            run.note(paid.clone());
        }
        for filling in &mut filled {
            if !run.open(filling.number) {
                return None;
            }
            filling.fill(&mut run, app.now());
        }
        Some((run, filled))
    }

    /// Our changes do not hold any more: takes the run as it is now, and says whether it is still ours.
    async fn reload(&mut self, app: &App, found: Versioned<Run>, ours: bool) -> store::Result<Saved> {
        self.filling.clear();
        self.deltas.clear();
        let journal = app.store().journal(self.tenant(), &found.value).await?;
        self.run = found.value;
        self.filled = self.run.filled();
        self.rev = Some(found.rev);
        self.read(journal);
        Ok(if ours && !self.run.status.terminal() { Saved::Changed } else { Saved::Gone })
    }

    /// One transaction, tried again when the store is not available.
    async fn write(&mut self, app: &App) -> store::Result<()> {
        let mut writes = self.others.clone();
        for Filling { number, slot, .. } in &self.filling {
            writes.push(app.store().slot_write(self.tenant(), self.run.id, *number, slot)?);
        }
        for delta in &self.deltas {
            writes.push(app.store().delta_write(self.tenant(), self.run.id, delta)?);
        }
        let mut pause = PAUSE_MS;
        for _ in 1..TRIES {
            match app.store().save_run(&self.run, self.rev, writes.clone()).await {
                Err(store::Error::Unavailable(error)) => {
                    tracing::warn!(run = %self.run.id, error = %error, "a run's row was not written; trying again");
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    pause = pause.saturating_mul(2);
                }
                other => return self.written(app, other),
            }
        }
        let last = app.store().save_run(&self.run, self.rev, writes).await;
        self.written(app, last)
    }

    fn written(&mut self, app: &App, outcome: store::Result<Rev>) -> store::Result<()> {
        self.rev = Some(outcome?);
        self.taken = true;
        self.filling.clear();
        self.deltas.clear();
        self.others.clear();
        app.signals().tell(self.run.id);
        self.filled = self.run.filled();
        Ok(())
    }

    pub(super) fn let_go(&self, app: &App) {
        app.signals().release(self.run.id, &self.wake);
    }
}
