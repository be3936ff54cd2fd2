//! Wakes whoever holds a run in this process: a shortcut for what it would see in the row a little later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::id::RunId;

/// The runs that this process holds, with what wakes their holders.
#[derive(Debug, Default)]
pub struct Signals {
    held: Mutex<HashMap<RunId, Arc<Notify>>>,
}

impl Signals {
    /// Something about the run has changed that its holder must see.
    pub(crate) fn wake(&self, id: RunId) {
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
}
