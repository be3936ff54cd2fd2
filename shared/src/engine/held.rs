//! A run that this process holds: its row as it will be written next, and the writes that go with it.
//!
//! Decisions change the row in memory; [`Held::save`] writes it, with the slots that were filled since, in one transaction.
//! So what was learned and what is about to be done next cost one write together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{fault, filling::Filling, grading, pieces::Pieces};
use crate::{
    app::App,
    clock::Timestamp,
    error::Result,
    id::RunId,
    message::{Record, Slot},
    model::Deltas,
    run::{self, Acquired, Delta, PendingCall, Run, Status, Usage},
    store::{
        self, Versioned,
        row::{Rev, Write},
    },
    tenant::Tenant,
    webhook,
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
    /// The row's stamp when it was read or written last.
    seen: i64,
    /// The revision of the last write that was tried.
    tried: Option<Rev>,
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
    /// What else goes with the next write: what accepts the run, or starts others.
    others: Vec<Write>,
    /// How many slots were filled when the run was read or written last.
    filled: usize,
    /// Whether the intent of the first call was written with the run's creation.
    pub(super) intended: bool,
    /// Whether another run of its batch may have the place that this one had.
    pub(super) left_place: bool,
    /// Whether it was let go of because there was none for it.
    pub(super) found_no_place: bool,
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
    /// A budget has no room for the model call that was to be made: the run ends with that, and is not written yet.
    Refused,
    /// The run is not ours any more, has ended, or finds no place among those of its batch that are in hand: let go of it.
    Gone,
}

impl Held {
    /// A new run that is accepted by its first write, and held from then on. Its first intent is in that write too.
    ///
    /// # Errors
    /// A conflict's index is that of `writes`, from 1 on.
    pub(crate) async fn create(app: &App, mut run: Run, input: Slot, writes: Vec<Write>) -> store::Result<Self> {
        let config = app.config();
        let acquired = run.acquire(&app.owner(), app.now(), config.lease_ms, config.sole_epoch.as_deref());
        let wake = app.signals().hold(run.id);
        let mut held = Self::of(run, None, vec![(0, input)], wake);
        held.others = writes;
        // Its deadline may have passed since it was planned: then it is accepted, and has ended.
        held.intended = acquired == Acquired::Held && super::call::intend_first(app, &mut held).await;
        held.run.notices = webhook::of_run(app, &held.run).await?;
        let written = match held.write(app).await {
            Err(store::Error::Conflict { index }) => Box::pin(held.create_refused(app, index)).await,
            written => written,
        };
        if written.is_err() {
            held.let_go(app);
        }
        webhook::ask_to_send(app, held.tenant(), &held.run.notices).await;
        written.map(|()| held)
    }

    /// A run that was not created because of this write: one for which a budget has no room is accepted, and has ended.
    async fn create_refused(&mut self, app: &App, index: usize) -> store::Result<()> {
        match self.refused(app, index).await? {
            Some(Saved::Refused) => {
                self.run.notices = webhook::of_run(app, &self.run).await?;
                self.write(app).await
            }
            _ => Err(store::Error::Conflict { index }),
        }
    }

    /// Takes a run whose row was read. `None` when there is nothing to do; a run that ends by being taken is written.
    pub(super) async fn acquire(app: &App, found: Versioned<Run>, journal: Vec<(u32, Slot)>) -> Result<Option<Self>> {
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
        run::before_write(app, &mut held.run).await?;
        held.others = grading::outcome(app, &held.run, &held.journal).await?;
        match held.write(app).await {
            Ok(()) => run::written(app, &held.run).await,
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(None)
    }

    fn of(run: Run, rev: Option<Rev>, journal: Vec<(u32, Slot)>, wake: Arc<Notify>) -> Self {
        let filled = run.filled();
        let mut held = Self {
            seen: run.stamp,
            run,
            rev,
            tried: None,
            taken: false,
            journal: Vec::new(),
            early: BTreeMap::new(),
            filling: Vec::new(),
            deltas: Vec::new(),
            pieces: Pieces::default(),
            others: Vec::new(),
            filled,
            intended: false,
            left_place: false,
            found_no_place: false,
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
        self.fill_with(app, Filling { number, slot, calls, usage: Usage::default() });
    }

    /// Fills the slot of a tool call with the next write; `usage` is what others used for it.
    pub(super) fn fill_result(&mut self, app: &App, number: u32, slot: Slot, usage: Usage) {
        self.fill_with(app, Filling { number, slot, calls: Vec::new(), usage });
    }

    fn fill_with(&mut self, app: &App, mut filling: Filling) {
        filling.fill(&mut self.run, app.now());
        self.early.insert(filling.number, filling.slot.clone());
        self.close_gaps();
        self.filling.push(filling);
    }

    /// Does these writes with the next one.
    pub(super) fn with(&mut self, writes: Vec<Write>) {
        self.others.extend(writes);
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
    /// What it was to start with others' rows is forgotten when they are not as they were seen.
    pub(super) async fn save(&mut self, app: &App) -> Result<Saved> {
        run::before_write(app, &mut self.run).await?;
        self.others.extend(grading::outcome(app, &self.run, &self.journal).await?);
        loop {
            let index = match self.write(app).await {
                Ok(()) => {
                    run::written(app, &self.run).await;
                    return Ok(Saved::Yes);
                }
                Err(store::Error::Conflict { index }) => index,
                Err(error) => return Err(error.into()),
            };
            if let Some(saved) = Box::pin(self.refused(app, index)).await? {
                return Ok(saved);
            }
            let Some(found) = app.store().run(self.tenant(), self.run.id).await? else { return Ok(Saved::Gone) };
            // As long as our taking is not written, a row with our fence is one that another has taken at the same time.
            let fence = if self.taken { found.value.fence } else { found.value.fence.saturating_add(1) };
            let ours = fence == self.run.fence;
            let ended = found.value.status.terminal();
            if Some(Rev(found.value.stamp)) == self.tried && ended == self.run.status.terminal() {
                // The write was applied and its reply lost; somebody else has written since.
                self.run.adopt(&found.value, app.now().plus_ms(app.config().lease_ms));
                self.written(app, found.rev);
                run::written(app, &self.run).await;
                return Ok(Saved::Yes);
            }
            let others_changed = (1..=self.others.len()).contains(&index);
            let mut unchanged = found.value.stamp == self.seen && found.value.filled() == self.filled;
            if others_changed {
                // Somebody went on with the chat of the run that this one grades: what came of it goes into the row as it is now.
                self.others = grading::outcome(app, &self.run, &self.journal).await?;
                unchanged &= !self.others.is_empty();
            }
            if ours && !ended && unchanged {
                self.run.adopt(&found.value, app.now().plus_ms(app.config().lease_ms));
                // A write whose outcome nobody knew was one.
                self.deltas.retain(|delta| delta.seq > found.value.told);
                self.rev = Some(found.rev);
                continue;
            }
            let fits = self.donated(&found.value, app);
            match fits.filter(|_| !ours && !ended && !self.filling.is_empty()) {
                Some((donated, filling)) => {
                    // What we told of the answer was told before, or is not any more: the answer has all of it.
                    self.deltas.clear();
                    (self.run, self.filling) = (donated, filling);
                    self.rev = Some(found.rev);
                    self.others.clear();
                    return match self.write(app).await {
                        Ok(()) | Err(store::Error::Conflict { .. }) => Ok(Saved::Gone),
                        Err(error) => Err(error.into()),
                    };
                }
                // Whoever held it before has written since: what we decided about its taking does not hold.
                None => return Ok(self.reload(app, found, ours && self.taken).await?),
            }
        }
    }

    /// What a conflict at that write means when it is not the row or what goes with it, but a budget or the number of runs of a batch
    /// that are in hand: see [`store::Store::run_writes`].
    async fn refused(&mut self, app: &App, index: usize) -> store::Result<Option<Saved>> {
        let with_row = [self.others.len(), self.filling.len(), self.deltas.len()];
        let before = with_row.into_iter().fold(1_usize, usize::saturating_add);
        let Some(mut booking) = index.checked_sub(before) else { return Ok(None) };
        if self.run.place_step().is_some() {
            let Some(ledger) = booking.checked_sub(1) else {
                self.found_no_place = true;
                return Ok(Some(Saved::Gone));
            };
            booking = ledger;
        }
        let Some(limit) = self.run.books.limit(booking).cloned() else { return Ok(None) };
        let committed = app.store().committed(self.tenant(), &limit.ledger).await?;
        self.run.refuse(&limit, committed, app.now());
        Ok(Some(Saved::Refused))
    }

    /// That row of a later holder with our slots filled, if they are open: our answers were paid for. The rest stays theirs.
    fn donated(&self, found: &Run, app: &App) -> Option<(Run, Vec<Filling>)> {
        let (mut run, mut filled) = (found.clone(), self.filling.clone());
        let paid = filled.iter().any(|filling| matches!(filling.slot.record, Record::Answer { .. }));
        if let Some(paid) = self.run.attempts.last().filter(|_| paid) {
            run.correct(paid.clone());
        }
        for filling in &mut filled {
            if !run.open(filling.number) {
                return None;
            }
            filling.fill(&mut run, app.now());
        }
        if run.status == Status::Waiting && !run.awaits_approval() {
            // What it waited for is here, and nobody else knows.
            run.ask_for_worker(app.now());
        }
        Some((run, filled))
    }

    /// Our changes do not hold any more: takes the run as it is now, and says whether it is still ours.
    async fn reload(&mut self, app: &App, found: Versioned<Run>, ours: bool) -> store::Result<Saved> {
        self.filling.clear();
        self.others.clear();
        self.deltas.clear();
        let journal = app.store().journal(self.tenant(), &found.value).await?;
        self.run = found.value;
        self.filled = self.run.filled();
        self.rev = Some(found.rev);
        self.seen = self.run.stamp;
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
        let rev = Rev::fresh();
        self.run.stamp = rev.0;
        self.tried = Some(rev);
        let writes = app.store().run_writes(&self.run, rev, self.rev, writes)?;
        let mut pause = PAUSE_MS;
        for _ in 1..TRIES {
            match app.store().save_run_writes(writes.clone()).await {
                Err(store::Error::Unavailable(error)) => {
                    tracing::warn!(run = %self.run.id, error = %error, "a run's row was not written; trying again");
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    pause = pause.saturating_mul(2);
                }
                outcome => return outcome.map(|()| self.written(app, rev)),
            }
        }
        app.store().save_run_writes(writes).await.map(|()| self.written(app, rev))
    }

    /// All that was to be written is; the row has this revision.
    fn written(&mut self, app: &App, rev: Rev) {
        if self.unwritten() {
            fault::point("K7");
        }
        self.rev = Some(rev);
        self.seen = self.run.stamp;
        self.left_place |= self.run.place_step().is_some_and(|step| step < 0);
        self.run.written();
        self.taken = true;
        self.filling.clear();
        self.deltas.clear();
        self.others.clear();
        app.signals().tell(self.run.id);
        self.filled = self.run.filled();
    }

    pub(super) fn let_go(&self, app: &App) {
        app.signals().release(self.run.id, &self.wake);
    }
}
