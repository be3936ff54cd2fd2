//! Who is told what has happened: webhooks, triggers that go on from the end of a run, and the event bus. Events are written in the transaction
//! of what they tell of, one row for each of them (`notice`), and sent from these rows (`send`) until they have been taken.

pub mod bus;
mod delivery;
mod endpoints;
mod event;
mod notice;
mod post;
mod redeliver;
mod send;
mod sign;
mod target;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::post::post;
pub use self::{
    delivery::{Delivery, State, Try},
    endpoints::{Change, Made, New, create, delete, get, list, plan, rotate, update},
    event::Kind,
    redeliver::{REDELIVER_LIMIT, Which, deliveries, redeliver, test},
    send::{Outbox, deliver},
    target::Target,
};
pub(crate) use self::{
    event::{Event, object},
    notice::{Listeners, Notices, ask_to_send, check_own, hears_of_batches, of_batch, of_firing, of_run},
    send::{reap, recover},
};
use crate::{
    app::App,
    clock::Timestamp,
    error::Result,
    id::{OrgId, WebhookId},
    tenant::Tenant,
};

/// The most endpoints of an organisation: what tells of a run's end is written in its transaction.
pub const WEBHOOKS_LIMIT: usize = 10;
/// The longest description, in characters.
pub const DESCRIPTION_LIMIT: usize = 200;
/// How long an old secret signs beside the one that took its place, in milliseconds: 24 hours.
pub const OVERLAP_MS: i64 = 24 * 60 * 60 * 1000;
/// After how long without any success an endpoint is switched off, in milliseconds: 5 days.
pub const FAILING_MS: u64 = 5 * 24 * 60 * 60 * 1000;

/// Why an endpoint is told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disabled {
    /// Its owner switched it off.
    ByOwner,
    /// It answered 410: it is gone.
    Gone,
    /// It failed for [`FAILING_MS`].
    Failing,
}

impl Disabled {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ByOwner => "by_owner",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// An endpoint: where events go, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    pub(crate) org: OrgId,
    /// Where events go; `None` in the one whose secret signs what goes to the `webhook_url` of a run or batch.
    pub url: Option<String>,
    /// Which events.
    pub events: Vec<Kind>,
    /// What its owner says of it.
    pub description: String,
    /// Why it is told nothing, if it is not.
    pub disabled: Option<Disabled>,
    /// Since when every try has failed.
    pub failing_since: Option<Timestamp>,
    sealed: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old: Option<Old>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A secret whose place another took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Old {
    sealed: String,
    until: Timestamp,
}

impl Webhook {
    pub(crate) const fn tenant(&self) -> Tenant {
        Tenant::of(self.org)
    }

    /// Until when the secret before the last rotation signs too.
    #[must_use]
    pub fn old_secret_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.old.as_ref().map(|old| old.until).filter(|until| *until > now)
    }

    /// The secrets that sign now.
    fn secrets(&self, app: &App) -> Result<Vec<SecretString>> {
        let old = self.old.as_ref().filter(|old| old.until > app.now()).map(|old| &old.sealed);
        let open = |sealed: &String| app.sealer().open_webhook_secret(self.org, &self.id.to_string(), sealed);
        Ok(std::iter::once(&self.sealed).chain(old).map(open).collect::<std::result::Result<_, _>>()?)
    }
}
