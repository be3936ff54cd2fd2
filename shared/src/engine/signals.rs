//! Wakes whoever holds or watches a run in this process: a shortcut for what it would see in the row a little later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, watch};

use crate::id::RunId;

/// The runs that this process holds or watches, with what wakes their holders and watchers.
#[derive(Debug, Default)]
pub struct Signals {
    held: Mutex<HashMap<RunId, Arc<Notify>>>,
    watched: Mutex<HashMap<RunId, watch::Sender<()>>>,
}

impl Signals {
    /// Something about the run has changed that its holder must see, and whoever watches it.
    pub(crate) fn wake(&self, id: RunId) {
        self.tell(id);
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = held.get(&id) {
            holder.notify_one();
        }
    }

    pub(crate) fn hold(&self, id: RunId) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(id, notify.clone());
        notify
    }

    /// Forgets the holder, unless another one has taken its place.
    pub(crate) fn release(&self, id: RunId, holder: &Arc<Notify>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&id).is_some_and(|current| Arc::ptr_eq(current, holder)) {
            held.remove(&id);
        }
    }

    /// The run's row was written: whoever watches the run shall look.
    pub(crate) fn tell(&self, id: RunId) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watchers) = watched.get(&id) {
            watchers.send_replace(());
        }
    }

    /// Changes each time the run's row is written here from now on. To be given back.
    pub(crate) fn watch(&self, id: RunId) -> watch::Receiver<()> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.entry(id).or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Takes a watcher back; the last one leaves nothing behind.
    pub(crate) fn forget(&self, id: RunId, watcher: watch::Receiver<()>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        drop(watcher);
        if watched.get(&id).is_some_and(|watchers| watchers.receiver_count() == 0) {
            watched.remove(&id);
        }
    }
}
