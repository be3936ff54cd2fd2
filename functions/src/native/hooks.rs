//! Where events come: no key, but a proof of their sender's.

use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use shared::{
    App, Error, Result,
    trigger::{self, Received},
};

use super::error;
use crate::{Request, Response, hooks, response};

/// What became of an event.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct HookView {
    /// The run that it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    /// The batch that it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    /// The event's id: the sender's, or one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// It had started that when it came before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    /// Why nothing was started: `filtered` or `ping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
    /// What the sender wants to have back.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
}

pub(super) async fn receive_hook(app: &App, request: Request) -> Result<Response> {
    // What is no id is refused as one that nobody has.
    let (id, came) = (request.id("trigger_id").ok(), hooks::came(&request));
    match trigger::receive(app, id, &came, |_| true).await {
        Ok(received) => Ok(answer(&request, received)),
        Err(Error::Unauthorized) => Ok(unproven(&request)),
        Err(error) => Err(error),
    }
}

fn answer(request: &Request, received: Received) -> Response {
    match received {
        Received::Started { started, event_id, duplicate } => {
            let (run_id, batch_id) = hooks::ids(started);
            let view = HookView { run_id, batch_id, event_id: Some(event_id), duplicate, ..HookView::default() };
            if duplicate { response::ok(&view) } else { response::accepted(&view) }
        }
        Received::Filtered => response::ok(&HookView { skipped: Some("filtered"), ..HookView::default() }),
        Received::Ping => response::ok(&HookView { skipped: Some("ping"), ..HookView::default() }),
        Received::Challenge(challenge) => response::ok(&HookView { challenge: Some(challenge), ..HookView::default() }),
        Received::Failed(error) => {
            tracing::info!("an event could not be made into what the agent is told");
            let body = error::body(&error, &request.envelope().request_id);
            response::with_json(StatusCode::UNPROCESSABLE_ENTITY, &body)
        }
    }
}

/// The same for each reason.
fn unproven(request: &Request) -> Response {
    tracing::info!("refused: an event without a proof");
    let body = error::unproven(&request.envelope().request_id);
    let mut response = response::with_json(StatusCode::UNAUTHORIZED, &body);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
