//! One session with a server: the newer protocol is tried first, and the older one where the server does not know it. A session is
//! for one listing and at most one call; it ends when it is dropped, which tells the server so if it can.

use std::time::Duration;

use http::StatusCode;
use rmcp::{
    model::{
        CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation, JsonObject, MetaObject,
        PaginatedRequestParams, ProtocolVersion, RequestMetaObject, Tool,
    },
    service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService},
    transport::streamable_http_client::{StreamableHttpClientTransport, StreamableHttpClientTransportConfig},
};
use serde_json::Value;
use tokio::time::timeout_at;

use super::{
    content,
    known::{Called, Trouble},
    wire::{ANSWER_READ_LIMIT_BYTES, Wire},
};
use crate::tool::{Arguments, Outcome, answer::refused};

/// The most tools that a server may list, and the most pages that it may list them in.
pub(super) const LISTED_LIMIT: usize = 1_000;
const PAGES_LIMIT: usize = 16;
/// How much later than the wire's own deadline a session is given up, so that the wire can say what it knows.
const GRACE: Duration = Duration::from_millis(500);
/// What takes a call's idempotency key in `_meta`.
const KEY: &str = "idempotencyKey";

pub(super) struct Session {
    service: RunningService<RoleClient, ClientConfig>,
    wire: Wire,
}

impl Session {
    /// A session, once the server has said which protocol it speaks.
    pub(super) async fn open(wire: Wire) -> Result<Self, Trouble> {
        let older = ProtocolVersion::LATEST_WITH_INITIALIZE;
        let auto = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(older),
        };
        let service = match Box::pin(begin(&wire, auto)).await {
            // It knows how to be asked, and speaks the older one only.
            Err(Some(ClientInitializeError::NoCompatibleProtocolVersion { .. })) => {
                Box::pin(begin(&wire, ClientLifecycleMode::Initialize)).await
            }
            other => other,
        };
        match service {
            Ok(service) => Ok(Self { service, wire }),
            Err(Some(_)) => Err(wire.trouble()),
            Err(None) => Err(Trouble::Silent),
        }
    }

    /// The tools as the server lists them now.
    pub(super) async fn tools(&self) -> Result<Vec<Tool>, Trouble> {
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_LIMIT {
            let params = cursor.take().map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
            let listing = Box::pin(self.service.list_tools(params));
            let page = match timeout_at(self.wire.deadline() + GRACE, listing).await {
                Ok(Ok(page)) => page,
                Ok(Err(_)) => return Err(self.wire.trouble()),
                Err(_) => return Err(Trouble::Silent),
            };
            tools.extend(page.tools);
            cursor = page.next_cursor;
            if cursor.is_none() || tools.len() > LISTED_LIMIT {
                break;
            }
        }
        if cursor.is_some() || tools.len() > LISTED_LIMIT { Err(Trouble::TooMany(LISTED_LIMIT)) } else { Ok(tools) }
    }

    /// Calls the tool, once.
    pub(super) async fn call(&self, tool: &str, arguments: &Arguments, key: &str) -> Outcome {
        let mut params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.clone());
        let meta = JsonObject::from_iter([(KEY.to_owned(), Value::from(key))]);
        params.meta = Some(RequestMetaObject(MetaObject(meta)));
        // What came of it, the wire knows better than the protocol's own words for it.
        let _ = timeout_at(self.wire.deadline() + GRACE, Box::pin(self.service.call_tool_once(params))).await;
        match self.wire.called() {
            Called::Not => self.not_sent(),
            Called::Expired => {
                Outcome::NotSent { message: "the MCP server ended the session".to_owned(), passing: true }
            }
            Called::Refused(status, text) => refusal(status, &text),
            Called::Answered(message) => content::answer(&message),
            Called::Unclear => Outcome::Unclear { message: self.unclear() },
        }
    }

    fn not_sent(&self) -> Outcome {
        let trouble = self.wire.trouble();
        Outcome::NotSent { message: trouble.to_string(), passing: trouble.passing() }
    }

    fn unclear(&self) -> String {
        match self.wire.trouble() {
            Trouble::TooMuch => format!(
                "the call was sent, and its answer is larger than {ANSWER_READ_LIMIT_BYTES} bytes: it may have taken place or not"
            ),
            Trouble::Unreached | Trouble::Silent | Trouble::Status(_) | Trouble::Foreign | Trouble::TooMany(_) => {
                "the call was sent, and no complete answer came: it may have taken place or not".to_owned()
            }
        }
    }
}

/// Begins to speak with the server; no error where time ran out.
async fn begin(
    wire: &Wire,
    lifecycle: ClientLifecycleMode,
) -> Result<RunningService<RoleClient, ClientConfig>, Option<ClientInitializeError>> {
    // Where the messages go is the wire's matter.
    let config = StreamableHttpClientTransportConfig::with_uri("").reinit_on_expired_session(false);
    let transport = StreamableHttpClientTransport::with_client(wire.clone(), config);
    let ours = Implementation::new("muster", env!("CARGO_PKG_VERSION"));
    let ours = ClientConfig::new(ClientCapabilities::default(), ours);
    let ours = ours.with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
    match timeout_at(wire.deadline() + GRACE, ours.serve_with_lifecycle(transport, lifecycle)).await {
        Ok(begun) => begun.map_err(Some),
        Err(_) => Err(None),
    }
}

fn refusal(status: StatusCode, text: &str) -> Outcome {
    let content = if status.is_redirection() {
        format!("HTTP {}: a redirect, which was not followed", status.as_u16())
    } else {
        format!("HTTP {}\n{}", status.as_u16(), content::short(text))
    };
    refused(status, content)
}
