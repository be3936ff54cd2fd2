//! A few threads that read, each with its own connection, so that a read does not hold up the async runtime; and a few
//! connections for reads that are over before a thread would have woken up.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{schema, stopped};
use crate::store::row::{Error, Result};

/// At most so many threads, and as many connections besides; SQLite's readers share one lock for memory, so more are no
/// faster.
const THREADS_LIMIT: usize = 4;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The threads.
pub(super) struct Readers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Readers {
    /// Starts the threads.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let count = thread::available_parallelism().map_or(1, usize::from).clamp(2, THREADS_LIMIT);
        let mut readers = Self { queue: Arc::default(), threads: Vec::with_capacity(count), idle: Mutex::default() };
        for _ in 0..count {
            let connection = schema::open_reader(path)?;
            let queue = Arc::clone(&readers.queue);
            let named = thread::Builder::new().name("store-read".to_owned());
            let started = named.spawn(move || queue.work(&connection));
            readers.threads.push(started.map_err(|error| Error::Unavailable(error.into()))?);
            let direct = schema::open_reader(path)?;
            direct.busy_timeout(Duration::ZERO)?;
            lock(&readers.idle).push(direct);
        }
        Ok(readers)
    }

    /// Does the read on the caller's thread, without waiting for anybody: a read of one row takes some 5 µs, and a thread
    /// some 60 µs to wake up and answer. `None` when there is no connection or it fails: then the threads may try.
    pub(super) fn read_at_once<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let connection = lock(&self.idle).pop()?;
        let found = read(&connection);
        lock(&self.idle).push(connection);
        found.ok()
    }

    /// Does the read on one of the threads. A read whose caller has gone is not begun.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.queue.push(Box::new(move |connection| {
            if !answer.is_closed() {
                let _ = answer.send(read(connection));
            }
        }));
        Ok(answered.await.map_err(|_| stopped())??)
    }
}

impl Queue {
    fn push(&self, job: Job) {
        lock(&self.waiting).jobs.push_back(job);
        self.filled.notify_one();
    }

    fn work(&self, connection: &Connection) {
        while let Some(job) = self.next() {
            job(connection);
        }
    }

    /// The next job; `None` when the queue is closed and empty.
    fn next(&self) -> Option<Job> {
        let mut waiting = lock(&self.waiting);
        loop {
            match waiting.jobs.pop_front() {
                None if !waiting.closed => {
                    waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
                next => return next,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Readers {
    fn drop(&mut self) {
        lock(&self.queue.waiting).closed = true;
        self.queue.filled.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
