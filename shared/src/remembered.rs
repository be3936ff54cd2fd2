//! What a process has read lately and goes by for a short while, so that not every operation reads it again.

use std::{
    hash::Hash,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use crate::clock::Timestamp;

/// Of how many keys the values are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Values that were read at most so many milliseconds ago.
#[derive(Debug)]
pub(crate) struct Remembered<K: Hash + Eq, V> {
    for_ms: u64,
    read: Mutex<LruCache<K, (Timestamp, V)>>,
}

impl<K: Hash + Eq, V: Clone> Remembered<K, V> {
    /// Nothing yet; what comes is kept for so many milliseconds.
    pub(crate) fn for_ms(for_ms: u64) -> Self {
        Self { for_ms, read: Mutex::new(LruCache::new(KEPT)) }
    }

    pub(crate) fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = read.get(key)?;
        (*read_at <= now && now.since_ms(*read_at) < self.for_ms).then(|| value.clone())
    }

    pub(crate) fn put(&self, key: K, now: Timestamp, value: V) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).put(key, (now, value));
    }

    /// To be said after every write of it.
    pub(crate) fn forget(&self, key: &K) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).pop(key);
    }
}
