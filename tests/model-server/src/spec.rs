//! How one request is to be answered, read from the model's name.

use std::time::Duration;

/// How one request is to be answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) latency_ms: u64,
    pub(crate) jitter_ms: u64,
    pub(crate) first_ms: Option<u64>,
    pub(crate) chunks: usize,
    pub(crate) words: usize,
    pub(crate) cached: u64,
    pub(crate) tool_rounds: usize,
    pub(crate) parallel: usize,
    pub(crate) fail_first: u64,
    pub(crate) fail_status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) quota: bool,
    pub(crate) cut_first: u64,
    pub(crate) garbage_first: u64,
    pub(crate) stream_fault: Option<(StreamFault, u64)>,
    pub(crate) truncate_first: u64,
    pub(crate) says_stop: bool,
    pub(crate) judges: bool,
    pub(crate) dense: bool,
}

/// What goes wrong half-way through a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StreamFault {
    /// The connection is cut.
    Cut,
    /// It ends as if it were complete.
    End,
    /// Nothing comes any more.
    Stall,
    /// An event that nobody can read.
    Garbage,
    /// The provider says that it gives up.
    Error,
}

impl Spec {
    pub(crate) fn parse(model: &str, latency_ms: u64) -> Spec {
        let mut spec = Spec {
            latency_ms,
            jitter_ms: 0,
            first_ms: None,
            chunks: 8,
            words: 12,
            cached: 0,
            tool_rounds: 0,
            parallel: 1,
            fail_first: 0,
            fail_status: 500,
            retry_after_s: None,
            quota: false,
            cut_first: 0,
            garbage_first: 0,
            stream_fault: None,
            truncate_first: 0,
            says_stop: false,
            judges: false,
            dense: false,
        };
        let name = model.rsplit(['/', ':']).next().unwrap_or(model);
        let mut parts = name.split('-');
        if parts.next() == Some("fake") {
            parts.for_each(|part| spec.apply(part));
        }
        if spec.quota {
            spec.fail_status = 429;
            if spec.fail_first == 0 {
                spec.fail_first = u64::MAX;
            }
        }
        spec
    }

    fn apply(&mut self, part: &str) {
        if part == "q" {
            self.quota = true;
            return;
        }
        if part == "n" {
            self.says_stop = true;
            return;
        }
        if part == "u" {
            self.dense = true;
            return;
        }
        if part == "y" {
            self.judges = true;
            return;
        }
        let Some((key, Ok(n))) = part.split_at_checked(1).map(|(key, value)| (key, value.parse::<u64>())) else {
            return;
        };
        let size = usize::try_from(n).unwrap_or(usize::MAX);
        match key {
            "l" => self.latency_ms = n,
            "j" => self.jitter_ms = n,
            "f" => self.first_ms = Some(n),
            "c" => self.chunks = size.max(1),
            "o" => self.words = size.max(1),
            "h" => self.cached = n,
            "t" => self.tool_rounds = size,
            "p" => self.parallel = size.max(1),
            "e" => self.fail_first = n,
            "x" => self.fail_status = u16::try_from(n).unwrap_or(500),
            "a" => self.retry_after_s = Some(n),
            "r" => self.cut_first = n,
            "g" => self.garbage_first = n,
            "k" => self.truncate_first = n,
            "s" => self.stream_fault = Some((StreamFault::Cut, n)),
            "z" => self.stream_fault = Some((StreamFault::End, n)),
            "i" => self.stream_fault = Some((StreamFault::Stall, n)),
            "m" => self.stream_fault = Some((StreamFault::Garbage, n)),
            "v" => self.stream_fault = Some((StreamFault::Error, n)),
            _ => {}
        }
    }

    /// How long an answer to a request with that hash takes.
    pub(crate) fn takes(&self, hash: u64) -> Duration {
        let jitter_ms = if self.jitter_ms > 0 { hash % (self.jitter_ms + 1) } else { 0 };
        Duration::from_millis(self.latency_ms + jitter_ms)
    }

    /// Whether attempts have to be counted to answer.
    pub(crate) fn counts_attempts(&self) -> bool {
        let first = [self.fail_first, self.cut_first, self.garbage_first, self.truncate_first];
        first.into_iter().any(|first| first > 0) || self.stream_fault.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_name_chooses_the_behaviour() {
        let spec = Spec::parse("openai/fake-l1000-t2-p3-e1-x429-a2", 200);
        assert_eq!((spec.latency_ms, spec.tool_rounds, spec.parallel), (1000, 2, 3));
        assert_eq!((spec.fail_first, spec.fail_status, spec.retry_after_s), (1, 429, Some(2)));
        assert_eq!(Spec::parse("gpt-4o-mini", 200).latency_ms, 200);
        assert_eq!(Spec::parse("fake-bogus-l5x-é1", 200), Spec::parse("fake", 200));
        assert_eq!(Spec::parse("fake-q", 0).fail_first, u64::MAX);
        assert_eq!(Spec::parse("fake-q-e1", 0).fail_first, 1);
    }
}
