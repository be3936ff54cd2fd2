//! The deployment's event bus: what webhooks are told, as events of Amazon EventBridge, from which rules go on.

#[cfg(feature = "aws")]
mod eventbridge;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[cfg(feature = "aws")]
pub use self::eventbridge::EventBridge;
use super::{
    Delivery, Try,
    send::{Sent, Taken},
};
use crate::{app::App, error::Fault, run::Chain};

/// What events say of where they come from.
pub const SOURCE: &str = "muster";

/// The event bus, if there is one.
#[derive(Debug, Default)]
pub enum Bus {
    /// None: nobody is told that way.
    #[default]
    None,
    /// A bus of Amazon EventBridge.
    #[cfg(feature = "aws")]
    EventBridge(EventBridge),
}

impl Bus {
    pub(super) const fn is_there(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Puts the event on the bus.
    pub(super) async fn put(&self, app: &App, delivery: &Delivery) -> Sent {
        let at = app.now();
        let outcome: Result<(), Fault> = match self {
            Self::None => Err("there is no event bus".into()),
            #[cfg(feature = "aws")]
            Self::EventBridge(bus) => Box::pin(bus.put(delivery)).await,
        };
        if let Err(error) = &outcome {
            tracing::warn!(event = %delivery.event_id, error, "an event was not put on the bus; it will be tried again");
        }
        let error = outcome.err().map(|error| error.to_string());
        let taken = if error.is_none() { Taken::Yes } else { Taken::NotNow(None) };
        Sent { last: Try { at, status: None, error, took_ms: app.now().since_ms(at) }, taken }
    }
}

/// What is the `detail` of an event on the bus.
#[derive(Debug, Serialize, Deserialize)]
struct Detail {
    /// The same however often it is put, unlike what EventBridge calls it.
    event_id: String,
    organisation_id: String,
    timestamp: String,
    /// What a trigger that goes on from it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Chain>,
    #[serde(flatten)]
    data: Map<String, Value>,
}

/// An event of ours as it comes back.
pub(crate) struct OwnEvent {
    pub(crate) event_id: String,
    /// The organisation that it tells of.
    pub(crate) organisation_id: String,
    pub(crate) chain: Option<Chain>,
}

/// What this event of EventBridge says, if it is one of ours.
pub(crate) fn own_event(event: &Value) -> Option<OwnEvent> {
    let detail = event.get("detail").filter(|_| event.get("source").is_some_and(|source| source == SOURCE))?;
    let Detail { event_id, organisation_id, chain, .. } = Deserialize::deserialize(detail).ok()?;
    Some(OwnEvent { event_id, organisation_id, chain })
}

#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "only EventBridge has a bus"))]
fn detail(delivery: &Delivery) -> Result<String, Fault> {
    let Delivery { org, event_id, body, chain, .. } = delivery;
    let said: Said = serde_json::from_str(body)?;
    let detail = Detail {
        event_id: event_id.prefixed(),
        organisation_id: org.prefixed(),
        timestamp: said.timestamp,
        chain: *chain,
        data: said.data,
    };
    Ok(serde_json::to_string(&detail)?)
}

/// The body of an event.
#[derive(Debug, Deserialize)]
struct Said {
    timestamp: String,
    data: Map<String, Value>,
}
