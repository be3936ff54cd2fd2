//! A delivery: one event for one of those who are told of it, and what came of each try. Pure.

use serde::{Deserialize, Serialize};

use super::{
    Target,
    event::{Event, Kind},
};
use crate::{
    clock::Timestamp,
    id::{EventId, OrgId},
    run::Chain,
};

/// When a delivery is tried again after its first try, in milliseconds after the try before: the schedule of Standard Webhooks' example
/// (immediately, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h), three days and a bit.
const PAUSES_MS: [i64; 9] =
    [5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000, 86_400_000];
/// By how much of a pause it may be longer or shorter, so that those that failed together do not come together again.
const JITTER: f64 = 0.1;
/// The longest that an endpoint may ask to be left alone, in milliseconds: a day.
const RETRY_AFTER_LIMIT_MS: u64 = 86_400_000;
/// How many tries a delivery keeps: the last ones.
const TRIES_KEPT: usize = 10;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is to be sent, or sent again.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It is not sent any more.
    Failed,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When it was sent.
    pub at: Timestamp,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why there was none, for a person.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// One event for one of those who are told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub(crate) org: OrgId,
    /// Who is told.
    pub to: Target,
    /// The event: what the header `webhook-id` says, on every try.
    pub event_id: EventId,
    /// What has happened.
    pub kind: Kind,
    /// Where it goes, if that was said of a run or batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What is sent.
    pub body: String,
    /// The chain that who goes on from it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<Chain>,
    /// Where it stands.
    pub state: State,
    /// Why it is not sent any more, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The last tries.
    pub tries: Vec<Try>,
    /// How often it was tried.
    pub tried: u32,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// Until when a process has it in hand.
    pub(crate) held_until: Timestamp,
    /// When it happened.
    pub created_at: Timestamp,
}

impl Delivery {
    pub(super) fn new(org: OrgId, to: Target, url: Option<String>, event: &Event) -> Self {
        let Event { id, kind, at, body, chain } = event.clone();
        Self {
            org,
            to,
            event_id: id,
            kind,
            url,
            body,
            chain: chain.filter(|_| to == Target::Bus),
            state: State::Pending,
            problem: None,
            tries: Vec::new(),
            tried: 0,
            next_at: at,
            held_until: Timestamp::default(),
            created_at: at,
        }
    }

    /// When somebody has to look at it, if it is not sent before; `None` when nobody has.
    pub(crate) fn due_at(&self) -> Option<Timestamp> {
        (self.state == State::Pending).then(|| self.next_at.max(self.held_until))
    }

    /// Whether it may be sent now.
    pub(super) fn may_be_sent(&self, now: Timestamp) -> bool {
        self.state == State::Pending && self.next_at <= now && self.held_until <= now
    }

    /// The endpoint took it.
    pub(super) fn delivered(&mut self, last: Try) {
        self.note(last);
        self.state = State::Delivered;
        self.problem = None;
    }

    /// It is not sent any more.
    pub(super) fn give_up(&mut self, problem: &str) {
        self.state = State::Failed;
        self.problem = Some(problem.to_owned());
    }

    /// The try failed: it is tried again after a while, or not any more. `unit` is from 0 to 1, at random; `retry_after_ms` is what the
    /// endpoint asked for.
    pub(super) fn failed(&mut self, last: Try, retry_after_ms: Option<u64>, unit: f64, now: Timestamp) {
        self.note(last);
        let pause = usize::try_from(self.tried).ok().and_then(|tried| PAUSES_MS.get(tried.checked_sub(1)?));
        let Some(pause) = pause else { return self.give_up("it was tried for three days") };
        let asked = retry_after_ms.unwrap_or(0).min(RETRY_AFTER_LIMIT_MS);
        let jittered = spread(*pause, unit);
        self.next_at = now.plus_ms(jittered.max(i64::try_from(asked).unwrap_or(i64::MAX)));
    }

    /// It is sent again, from the first pause on.
    pub(super) fn again(&mut self, now: Timestamp) {
        self.state = State::Pending;
        self.problem = None;
        self.tried = 0;
        self.next_at = now;
    }

    fn note(&mut self, last: Try) {
        self.held_until = Timestamp::default();
        self.tried = self.tried.saturating_add(1);
        if self.tries.len() >= TRIES_KEPT {
            self.tries.remove(0);
        }
        self.tries.push(last);
    }
}

/// The pause, longer or shorter by up to [`JITTER`].
fn spread(pause_ms: i64, unit: f64) -> i64 {
    let percent = (unit.clamp(0.0, 1.0) * 2.0 - 1.0) * JITTER;
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a pause of at most a day")]
    let more = (pause_ms as f64 * percent) as i64;
    pause_ms.saturating_add(more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WebhookId;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_780_000_000_000 + millis)
    }

    fn delivery() -> Delivery {
        let event = Event::new(Kind::Test, &["x"], at(0), serde_json::Map::new());
        Delivery::new(OrgId::new(at(0)), Target::Webhook(WebhookId::new(at(0))), None, &event)
    }

    fn tried(now: Timestamp) -> Try {
        Try { at: now, status: Some(500), error: None, took_ms: 1 }
    }

    #[test]
    fn a_delivery_is_tried_for_three_days_and_then_no_more() {
        let (mut delivery, mut now, mut tries) = (delivery(), at(0), 0);
        while delivery.state == State::Pending {
            assert!(delivery.may_be_sent(now) && !delivery.may_be_sent(now.plus_ms(-1)));
            delivery.failed(tried(now), None, 0.5, now);
            tries += 1;
            now = delivery.next_at;
        }
        assert_eq!((tries, delivery.tried, delivery.tries.len()), (10, 10, TRIES_KEPT));
        let days = (now.millis() - at(0).millis()) / 86_400_000;
        assert_eq!(days, 3);
        assert_eq!(delivery.due_at(), None);
        delivery.again(now);
        assert!(delivery.may_be_sent(now));
    }

    #[test]
    fn pauses_are_spread_and_an_endpoint_may_ask_for_longer_ones() {
        let next = |retry_after, unit| {
            let mut delivery = delivery();
            delivery.failed(tried(at(0)), retry_after, unit, at(0));
            delivery.next_at.millis() - at(0).millis()
        };
        assert_eq!((next(None, 0.0), next(None, 0.5), next(None, 1.0)), (4_500, 5_000, 5_500));
        assert_eq!((next(Some(60_000), 0.5), next(Some(1), 0.5)), (60_000, 5_000));
        assert_eq!(next(Some(u64::MAX), 0.5), 86_400_000);
    }

    #[test]
    fn what_a_process_has_in_hand_is_looked_at_when_it_should_be_done() {
        let mut delivery = delivery();
        delivery.held_until = at(30_000);
        assert!(!delivery.may_be_sent(at(29_999)) && delivery.may_be_sent(at(30_000)));
        assert_eq!(delivery.due_at(), Some(at(30_000)));
        delivery.delivered(tried(at(1)));
        assert_eq!((delivery.due_at(), delivery.state), (None, State::Delivered));
    }
}
