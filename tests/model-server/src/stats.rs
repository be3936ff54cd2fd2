//! What the server counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

/// The counters, all since the start or the last reset.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) calls: AtomicU64,
    ok: AtomicU64,
    pub(crate) failed: AtomicU64,
    aborted: AtomicU64,
    pub(crate) tool_calls: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) input_tokens: AtomicU64,
    pub(crate) output_tokens: AtomicU64,
    pub(crate) request_bytes: AtomicU64,
    in_flight: AtomicI64,
    max_in_flight: AtomicI64,
    connections: AtomicI64,
    max_connections: AtomicI64,
    connections_accepted: AtomicU64,
    first_call_us: AtomicU64,
    last_answer_us: AtomicU64,
    late_sum_us: AtomicU64,
    late_max_us: AtomicU64,
}

/// The counters that tests look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Calls of a model that came in.
    pub calls: u64,
    /// Of these, answered in full.
    pub ok: u64,
    /// Of these, refused: a bad request or an injected failure.
    pub failed: u64,
    /// Of these, the client went away before the answer was complete.
    pub aborted: u64,
    /// Calls of tools that were asked for.
    pub tool_calls: u64,
    /// Answers that were streamed.
    pub streams: u64,
    /// Tokens of the requests that an answer was made for, whether it arrived or not: what a provider would bill.
    pub input_tokens: u64,
    /// Tokens of these answers.
    pub output_tokens: u64,
    /// Calls that are waiting now.
    pub in_flight: i64,
    /// The most calls that were waiting at a time.
    pub max_in_flight: i64,
    /// Connections that were made.
    pub connections_accepted: u64,
}

impl Stats {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            calls: self.calls.load(Relaxed),
            ok: self.ok.load(Relaxed),
            failed: self.failed.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            tool_calls: self.tool_calls.load(Relaxed),
            streams: self.streams.load(Relaxed),
            input_tokens: self.input_tokens.load(Relaxed),
            output_tokens: self.output_tokens.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            max_in_flight: self.max_in_flight.load(Relaxed),
            connections_accepted: self.connections_accepted.load(Relaxed),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let (ok, first, last) = (get(&self.ok), get(&self.first_call_us), get(&self.last_answer_us));
        json!({
            "calls": get(&self.calls), "ok": ok, "failed": get(&self.failed), "aborted": get(&self.aborted),
            "tool_calls": get(&self.tool_calls), "streams": get(&self.streams),
            "input_tokens": get(&self.input_tokens), "output_tokens": get(&self.output_tokens),
            "request_bytes": get(&self.request_bytes),
            "in_flight": self.in_flight.load(Relaxed), "max_in_flight": self.max_in_flight.load(Relaxed),
            "connections": self.connections.load(Relaxed), "max_connections": self.max_connections.load(Relaxed),
            "connections_accepted": get(&self.connections_accepted),
            // Unix time, in microseconds, of the first call's arrival and of the last answer.
            "first_call_us": first, "last_answer_us": last,
            "span_ms": last.saturating_sub(first) as f64 / 1000.0,
            // How much later than planned answers left.
            "late_mean_us": get(&self.late_sum_us).checked_div(ok).unwrap_or(0),
            "late_max_us": get(&self.late_max_us),
            "cpu_s": cpu_seconds(), "rss_kib": rss_kib(),
        })
    }

    /// Everything to zero, but for what is open right now.
    pub(crate) fn reset(&self) {
        let counters = [
            &self.calls,
            &self.ok,
            &self.failed,
            &self.aborted,
            &self.tool_calls,
            &self.streams,
            &self.input_tokens,
            &self.output_tokens,
            &self.request_bytes,
            &self.connections_accepted,
            &self.first_call_us,
            &self.last_answer_us,
            &self.late_sum_us,
            &self.late_max_us,
        ];
        counters.into_iter().for_each(|counter| counter.store(0, Relaxed));
        self.max_in_flight.store(self.in_flight.load(Relaxed), Relaxed);
        self.max_connections.store(self.connections.load(Relaxed), Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.connections_accepted.fetch_add(1, Relaxed);
        let open = self.connections.fetch_add(1, Relaxed) + 1;
        self.max_connections.fetch_max(open, Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }
}

/// One request in flight. Dropped without `done`, it counts as aborted.
pub(crate) struct Ticket {
    stats: Arc<Stats>,
    open: bool,
    ok: bool,
}

impl Ticket {
    pub(crate) fn take(stats: &Arc<Stats>) -> Ticket {
        stats.calls.fetch_add(1, Relaxed);
        let _ = stats.first_call_us.compare_exchange(0, now_us(), Relaxed, Relaxed);
        let in_flight = stats.in_flight.fetch_add(1, Relaxed) + 1;
        stats.max_in_flight.fetch_max(in_flight, Relaxed);
        Ticket { stats: stats.clone(), open: true, ok: false }
    }

    /// The answer leaves now; it was due then.
    pub(crate) fn answered(mut self, due: Instant) {
        let late = due.elapsed().as_micros() as u64;
        self.stats.late_sum_us.fetch_add(late, Relaxed);
        self.stats.late_max_us.fetch_max(late, Relaxed);
        self.ok = true;
        self.close();
    }

    pub(crate) fn failed(mut self) {
        self.stats.failed.fetch_add(1, Relaxed);
        self.close();
    }

    fn close(&mut self) {
        self.open = false;
        self.stats.in_flight.fetch_sub(1, Relaxed);
        if self.ok {
            self.stats.ok.fetch_add(1, Relaxed);
            self.stats.last_answer_us.fetch_max(now_us(), Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.stats.in_flight.fetch_sub(1, Relaxed);
            self.stats.aborted.fetch_add(1, Relaxed);
        }
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// User and system time of this process, from `/proc/self/stat` (100 ticks a second on Linux).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or("");
    let ticks = |index| after_name.split_whitespace().nth(index).and_then(|field| field.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

fn rss_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}
