//! Ids: UUIDs of version 7 (RFC 9562), one type for each kind of thing, so that one is never taken for another.
//!
//! Stored and shown as plain UUIDs; the native surface puts a prefix before them (`run_…`).

use std::{fmt, str::FromStr};

use ring::digest;
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::{clock::Timestamp, seal, simulation};

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// What the native surface puts before the UUID, with an underscore between them.
            pub const PREFIX: &'static str = $prefix;

            /// A new id of this moment.
            #[must_use]
            pub fn new(now: Timestamp) -> Self {
                Self(at(now))
            }

            /// The id's UUID.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }

            /// The id as the native surface writes it.
            #[must_use]
            pub fn prefixed(self) -> String {
                format!("{}_{}", $prefix, self.0.as_hyphenated())
            }

            /// Reads an id as the native surface writes it; the prefix must be there.
            ///
            /// # Errors
            /// [`InvalidId`] when the prefix is missing or another one, or the rest is no UUID.
            pub fn parse_prefixed(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(InvalidId)?.parse()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.prefixed())
            }
        }
    )*};
}

ids! {
    /// An organisation: the owner of everything else.
    OrgId = "org";
    /// An API key.
    KeyId = "key";
    /// An agent.
    AgentId = "agent";
    /// A run: one execution of one version of an agent.
    RunId = "run";
    /// A batch: runs that were started together.
    BatchId = "batch";
    /// A message of a run.
    MessageId = "msg";
    /// A file.
    FileId = "file";
    /// A draft of a system prompt.
    PromptId = "prompt";
    /// A test set: cases that agents are tried with.
    TestSetId = "ts";
    /// An evaluation: a test set's cases, tried with several configurations.
    EvaluationId = "eval";
    /// A schedule: what is started at times.
    ScheduleId = "sched";
    /// A trigger: what is started by events.
    TriggerId = "trig";
    /// An endpoint that events are sent to.
    WebhookId = "wh";
    /// An event of a run, batch, budget or schedule, as webhooks tell of it.
    EventId = "evt";
    /// A question to a person about a tool call of a run.
    ApprovalId = "appr";
}

impl AgentId {
    /// The id of the agent that these parts say everything of: derived, so that there is one for each. 122 bits of SHA-256.
    #[must_use]
    pub(crate) fn of_content(parts: &[&[u8]]) -> Self {
        let hash = seal::fingerprint(parts);
        let bits = hash.get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok()).unwrap_or_default();
        // Version 8: of our own making.
        Self(Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid())
    }
}

impl RunId {
    /// The id of item `index` of a batch: derived, so that a retry after a crash makes the same one, and in the order
    /// of the request among the runs of the batch's millisecond.
    ///
    /// A UUIDv7 with the batch's time, the index in the bits that follow it, and 58 bits of SHA-256 over both.
    #[must_use]
    pub fn of_batch(batch: BatchId, index: u16) -> Self {
        Self(derived(batch.0, index))
    }

    /// The id of the run that a run starts for its tool call of that slot: derived, so that there is one for each call. It has the
    /// starting run's time, and so stands beside it in lists.
    #[must_use]
    pub fn of_parent(parent: RunId, slot: u32) -> Self {
        Self(derived(parent.0, u16::try_from(slot).unwrap_or(u16::MAX)))
    }

    /// The id of the run that grades that one: derived, so that there is one for each. It is that of the input's slot, for which no run is
    /// started otherwise.
    #[must_use]
    pub(crate) fn of_grading(graded: Self) -> Self {
        Self::of_parent(graded, 0)
    }

    /// The id of the run that is told the results of a batch: derived, so that there is one. No item has that place.
    #[must_use]
    pub(crate) fn of_reduction(batch: BatchId) -> Self {
        Self(derived(batch.0, u16::MAX))
    }

    /// The last id that a run of the same millisecond can have.
    #[must_use]
    pub(crate) fn last_of_moment(self) -> Self {
        let mut bytes = [0xff; 16];
        for (to, from) in bytes.iter_mut().zip(self.0.as_bytes().iter().take(6)) {
            *to = *from;
        }
        Self(Uuid::from_bytes(bytes))
    }

    /// Whether the run has the same millisecond in its id.
    #[must_use]
    pub(crate) fn same_moment(self, other: Self) -> bool {
        self.0.as_bytes().iter().zip(other.0.as_bytes()).take(6).all(|(one, other)| one == other)
    }
}

impl WebhookId {
    /// The id of the organisation's endpoint for the addresses that runs and batches name: there is one.
    #[must_use]
    pub fn of_runs(org: OrgId) -> Self {
        Self(derived(org.0, 0))
    }
}

impl EventId {
    /// The id of the event of that kind about this: derived, so that whoever tells of it says the same. It begins with the event's time.
    #[must_use]
    pub(crate) fn of(at: Timestamp, kind: &str, about: &[&str]) -> Self {
        let parts: Vec<&[u8]> = std::iter::once(kind).chain(about.iter().copied()).map(str::as_bytes).collect();
        let hash = seal::fingerprint(&parts);
        let bits = hash.get(..20).and_then(|digits| u128::from_str_radix(digits, 16).ok()).unwrap_or_default();
        let [.., a, b, c, d, e, f, g, h, i, j] = bits.to_be_bytes();
        Self(Builder::from_unix_timestamp_millis(at.millis_unsigned(), &[a, b, c, d, e, f, g, h, i, j]).into_uuid())
    }

    /// A text that sorts before every id of an event of that moment or later, and after all earlier ones.
    #[must_use]
    pub(crate) fn first_of(at: Timestamp) -> String {
        let millis = at.millis_unsigned().min(0xffff_ffff_ffff);
        format!("{:08x}-{:04x}", millis >> 16, millis & 0xffff)
    }
}

impl MessageId {
    /// The id of the message at `position` of a run: derived, so that every look at the run shows the same one.
    #[must_use]
    pub fn of_run(run: RunId, position: u16) -> Self {
        Self(derived(run.0, position))
    }
}

impl ApprovalId {
    /// The id of the question about the call of a run that fills that slot: derived, as a message's.
    #[must_use]
    pub fn of_run(run: RunId, slot: u16) -> Self {
        Self(derived(run.0, slot))
    }
}

/// A name that no other process has.
pub(crate) fn process(now: Timestamp) -> String {
    at(now).to_string()
}

fn at(now: Timestamp) -> Uuid {
    let mut random = [0; 10];
    if !simulation::draw(&mut random) {
        random.copy_from_slice(&Uuid::now_v7().as_bytes()[6..]);
    }
    Builder::from_unix_timestamp_millis(now.millis_unsigned(), &random).into_uuid()
}

fn derived(parent: Uuid, index: u16) -> Uuid {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(parent.as_bytes());
    context.update(&index.to_be_bytes());
    let hash = context.finish();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(parent.as_bytes().iter().take(6).chain(hash.as_ref())) {
        *to = *from;
    }
    let [high, low] = index.to_be_bytes();
    // 12 bits of `rand_a` and the first 4 free bits of `rand_b`, below the version and the variant.
    bytes[6] = 0x70 | (high >> 4);
    bytes[7] = (high << 4) | (low >> 4);
    bytes[8] = 0x80 | ((low & 0x0f) << 2) | (bytes[8] & 0x03);
    Uuid::from_bytes(bytes)
}

/// Only the form that we write is an id: hyphenated and in lower case.
fn parse(text: &str) -> Result<Uuid, InvalidId> {
    let canonical = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if !canonical {
        return Err(InvalidId);
    }
    Uuid::try_parse(text).map_err(|_| InvalidId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_of_a_batch_have_ids_in_the_order_of_the_request() {
        let batch = BatchId::new(Timestamp::from_millis(1_780_000_000_123));
        let ids: Vec<RunId> = (0..=u16::MAX).map(|index| RunId::of_batch(batch, index)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        for id in &ids {
            assert_eq!(id.uuid().get_version_num(), 7);
            assert_eq!(id.uuid().as_bytes()[..6], batch.uuid().as_bytes()[..6]);
        }
        assert_eq!(RunId::of_batch(batch, 7), ids[7]);
    }

    #[test]
    fn only_the_form_that_we_write_is_an_id() {
        let id = AgentId::new(Timestamp::from_millis(1_780_000_000_123));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(AgentId::parse_prefixed(&id.prefixed()), Ok(id));
        let upper = id.to_string().to_uppercase();
        let simple = id.uuid().simple().to_string();
        let braced = format!("{{{id}}}");
        for text in ["", "1", &upper, &simple, &braced, &id.prefixed()] {
            assert_eq!(text.parse::<AgentId>(), Err(InvalidId), "{text}");
        }
        for text in [id.to_string(), format!("run_{id}"), format!("agent{id}"), format!("agent_{upper}")] {
            assert_eq!(AgentId::parse_prefixed(&text), Err(InvalidId), "{text}");
        }
    }
}
