//! Adversity by `MUSTER_ADVERSITY`: words parted by commas, as in `twice,throttled=10,unanswered=10`. Percentages are of the store's calls, or of
//! messages.
//!
//! - `twice`: every message is delivered twice, a fifth of them five times, in an order of chance;
//! - `lost=20`: so many of a hundred messages are not delivered at all;
//! - `throttled=10`: the store turns calls away; `unanswered=10`: it does what it is asked for, and does not say so;
//! - `conflicts=5`: before a row is written, somebody else has rewritten it as it was;
//! - `yields`: a worker hands a run on after every step;
//! - `poison=hemlock`: the process aborts when a model is told that word.

use std::{sync::OnceLock, time::Duration};

use crate::{
    model::{Request, Turn},
    queue::Chunk,
    random,
    store::{
        Backend,
        row::{Error, Result, Rev, Row, When, Write},
    },
};

/// What is made hard.
#[derive(Debug, Default)]
struct Adversity {
    twice: bool,
    lost: u8,
    throttled: u8,
    unanswered: u8,
    conflicts: u8,
    yields: bool,
    poison: Option<String>,
}

impl Adversity {
    fn read(text: &str) -> Self {
        let mut read = Self::default();
        for word in text.split(',') {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let percent = value.parse().unwrap_or(0);
            match name {
                "twice" => read.twice = true,
                "lost" => read.lost = percent,
                "throttled" => read.throttled = percent,
                "unanswered" => read.unanswered = percent,
                "conflicts" => read.conflicts = percent,
                "yields" => read.yields = true,
                "poison" => read.poison = Some(value.to_owned()),
                _ => {}
            }
        }
        read
    }
}

fn adversity() -> &'static Adversity {
    static READ: OnceLock<Adversity> = OnceLock::new();
    READ.get_or_init(|| Adversity::read(&crate::config::variable("MUSTER_ADVERSITY").unwrap_or_default()))
}

fn happens(percent: u8) -> bool {
    percent > 0 && random::below(100) < percent
}

/// Whether the store turns this call away.
pub(crate) fn before() -> Result<()> {
    if happens(adversity().throttled) { Err(Error::Unavailable("throttled".into())) } else { Ok(()) }
}

/// What the store says of a call that it has done.
pub(crate) fn after<T>(outcome: Result<T>) -> Result<T> {
    if happens(adversity().unanswered) { Err(Error::Unavailable("no reply came".into())) } else { outcome }
}

/// Somebody else rewrites one of the rows that are about to be written, as it was.
pub(crate) async fn meddle(backend: &Backend, writes: &[Write]) {
    if !happens(adversity().conflicts) {
        return;
    }
    let seen = writes.iter().find_map(|write| match write {
        Write::Put(row, When::Rev(rev)) => Some((&row.key, *rev)),
        Write::Put(..) | Write::Delete(..) | Write::Check(..) | Write::Add(_) => None,
    });
    let Some((key, seen)) = seen else { return };
    if let Ok(Some(row)) = backend.get(key).await
        && row.rev == seen
    {
        let again = Row { rev: Rev::fresh(), ..row };
        let _ = backend.transact_plainly(vec![Write::Put(again, When::Rev(seen))]).await;
    }
}

/// The messages that are delivered at once, and those that are later, each with how long after it was sent.
pub(crate) fn delivered(chunks: Vec<Chunk>) -> (Vec<Chunk>, Vec<(Chunk, Duration)>) {
    let Adversity { twice, lost, .. } = adversity();
    let (mut at_once, mut later) = (Vec::new(), Vec::new());
    for chunk in chunks {
        let times = match (happens(*lost), *twice) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) if happens(20) => 5,
            (false, true) => 2,
        };
        for _ in 0..times {
            match random::below(200) {
                0..100 => at_once.push(chunk.clone()),
                wait_ms => later.push((chunk.clone(), Duration::from_millis(wait_ms.into()))),
            }
        }
    }
    (at_once, later)
}

/// Whether a worker hands a run on after it has made this many steps.
pub(crate) fn yields_after(steps: u32) -> bool {
    adversity().yields && steps > 0
}

/// A model is about to be told that: the process may not survive it.
pub(crate) fn told(request: &Request) {
    if let Some(poison) = &adversity().poison
        && request.turns.iter().map(Turn::text).any(|text| text.contains(poison.as_str()))
    {
        std::process::abort();
    }
}
