//! Events of Amazon EventBridge: rules of the same account invoke this function with the event and the trigger that it is for. Reached by no
//! HTTP call.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    App, Error, Result,
    id::TriggerId,
    trigger::{self, Received},
};

use crate::hooks;

/// What a rule's input transformer makes of an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivered {
    /// The trigger, as in `trig_…`: of the source `eventbridge` or `s3`.
    pub trigger_id: String,
    /// The event, all of it.
    pub event: Value,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The run that it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The batch that it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    /// Whether it had done so before.
    pub duplicate: bool,
    /// Why nothing was started, if nothing was: the trigger's events say more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// Starts what the event starts, once.
///
/// # Errors
/// [`Error::NotFound`] for the trigger; [`Error::Invalid`] for what is no event; otherwise when it should be delivered again.
pub async fn receive_event(app: &App, delivered: Delivered) -> Result<Answered> {
    let Delivered { trigger_id, event } = delivered;
    let id = TriggerId::parse_prefixed(&trigger_id).map_err(|_| Error::NotFound("trigger"))?;
    let skipped = |why: String| Answered { run_id: None, batch_id: None, duplicate: false, skipped: Some(why) };
    Ok(match trigger::received_from_bus(app, id, event).await? {
        Received::Started { started, duplicate, .. } => {
            let (run_id, batch_id) = hooks::ids(started);
            Answered { run_id, batch_id, duplicate, skipped: None }
        }
        Received::Filtered | Received::Ping | Received::Challenge(_) => skipped("filtered".to_owned()),
        Received::Failed(error) => skipped(error.to_string()),
    })
}
