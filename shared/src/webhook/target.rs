//! Who is told of an event. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::{TriggerId, WebhookId};

/// What stands for the event bus in keys.
const BUS: &str = "bus";

/// Who is told of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An endpoint, by HTTP.
    Webhook(WebhookId),
    /// A trigger of the source `run`: another agent goes on.
    Trigger(TriggerId),
    /// The deployment's event bus.
    Bus,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(id) => f.write_str(&id.prefixed()),
            Self::Trigger(id) => f.write_str(&id.prefixed()),
            Self::Bus => f.write_str(BUS),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == BUS {
            return Ok(Self::Bus);
        }
        let webhook = WebhookId::parse_prefixed(text).map(Self::Webhook);
        webhook
            .or_else(|_| TriggerId::parse_prefixed(text).map(Self::Trigger))
            .map_err(|_| format!("no target: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_target_is_read_as_it_was_written() {
        let at = Timestamp::from_millis(1_780_000_000_000);
        for target in [Target::Bus, Target::Webhook(WebhookId::new(at)), Target::Trigger(TriggerId::new(at))] {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert_eq!("run_x".parse::<Target>(), Err("no target: run_x".to_owned()));
    }
}
