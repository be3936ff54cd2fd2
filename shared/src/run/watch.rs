//! Reading a run's events, and waiting for those to come. What was read before is not read again.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Event, Run, events::Fold};
use crate::{
    app::App,
    error::{Error, Result},
    id::RunId,
    message::Slot,
    store::row::Rev,
    tenant::{Caller, Tenant},
};

/// Pauses between two looks at a row that another process writes: from the first on, each longer by half up to the last.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_millis(500);
/// The most events that are read together.
const TOGETHER: u32 = 500;

/// The run as it is, and its events after number `after`, at most `limit`.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn events(app: &App, caller: &Caller, id: RunId, after: u32, limit: u32) -> Result<(Run, Vec<Event>)> {
    let run = super::get(app, caller, id).await?;
    let events = read(app, &run, &mut Fold::after(after), limit).await?;
    Ok((run, events))
}

/// The next events, at most `most`, as far as this row says: all that it says is written, with it or before.
async fn read(app: &App, run: &Run, fold: &mut Fold, most: u32) -> Result<Vec<Event>> {
    let tenant = run.tenant();
    let unseen = fold.unseen(run);
    let wanted: Vec<(RunId, u32)> = unseen.iter().map(|number| (run.id, *number)).collect();
    let slots: Option<Vec<Slot>> = app.store().slots(tenant, &wanted).await?.into_iter().collect();
    let slots = slots.ok_or_else(|| Error::Internal("a slot of a journal is missing".into()))?;
    fold.slots(run, unseen.into_iter().zip(slots));
    fold.row(run);
    let upto = run.told_so_far().min(fold.told().saturating_add(most));
    if run.streams && fold.lacks(upto) {
        let deltas = app.store().deltas(tenant, run.id, fold.told(), upto).await?;
        fold.deltas(run, deltas);
    }
    Ok(fold.take(most))
}

/// What a watcher saw.
#[derive(Debug)]
pub enum Seen {
    /// The next events, at least one, and the run as it was when it was looked at.
    News(Box<Run>, Vec<Event>),
    /// Nothing new for as long as it was to wait.
    Nothing,
    /// The last event was told before.
    Ended,
}

/// A watcher of a run. To drop it changes nothing for the run.
#[derive(Debug)]
pub struct Watch {
    app: App,
    tenant: Tenant,
    id: RunId,
    fold: Fold,
    /// Woken when this process writes the row; given back at the end.
    written: Option<watch::Receiver<()>>,
    pause: Duration,
    /// The row, when all that it says was told.
    told: Option<Rev>,
    ended: bool,
}

impl Watch {
    /// Watches a run that its caller was given, from the event after number `after` on.
    #[must_use]
    pub fn new(app: &App, run: &Run, after: u32) -> Self {
        Self {
            app: app.clone(),
            tenant: run.tenant(),
            id: run.id,
            fold: Fold::after(after),
            written: Some(app.signals().watch(run.id)),
            pause: FIRST_LOOK,
            told: None,
            ended: false,
        }
    }

    /// Waits for the next events, for `patience` at most.
    ///
    /// # Errors
    /// As the store says; it may be asked again.
    pub async fn next(&mut self, patience: Duration) -> Result<Seen> {
        let until = Instant::now() + patience;
        while !self.ended {
            if let Some((run, events)) = self.look().await? {
                self.pause = FIRST_LOOK;
                return Ok(Seen::News(Box::new(run), events));
            }
            if self.ended {
                break;
            }
            let now = Instant::now();
            if now >= until {
                return Ok(Seen::Nothing);
            }
            self.wait(until.min(now + self.pause)).await;
            self.pause = self.pause.mul_f32(1.5).min(LAST_LOOK);
        }
        Ok(Seen::Ended)
    }

    /// The next events, if the row says that there are some.
    async fn look(&mut self) -> Result<Option<(Run, Vec<Event>)>> {
        let found = self.app.store().run(self.tenant, self.id).await?.ok_or(Error::NotFound("run"))?;
        if self.told == Some(found.rev) {
            return Ok(None);
        }
        let run = found.value;
        let events = read(&self.app, &run, &mut self.fold, TOGETHER).await?;
        if self.fold.told() >= run.events() {
            self.told = Some(found.rev);
        }
        self.ended = run.status.terminal() && (events.is_empty() || self.told == Some(found.rev));
        Ok((!events.is_empty()).then_some((run, events)))
    }

    async fn wait(&mut self, until: Instant) {
        match &mut self.written {
            Some(written) => {
                tokio::select! {
                    _ = written.changed() => {}
                    () = sleep_until(until) => {}
                }
            }
            None => sleep_until(until).await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(written) = self.written.take() {
            self.app.signals().forget(self.id, written);
        }
    }
}
