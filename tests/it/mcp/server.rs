//! A real MCP server, made with rmcp: what it has may be changed while it runs, and what it was asked is kept.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams,
        ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle, time::sleep};

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// The protocol of 2026, which has no sessions.
    New,
    /// That of 2025, with sessions; answers are streams of events. `server/discover` is refused as unknown.
    Old,
    /// That of 2025, without sessions; answers are JSON.
    OldJson,
    /// That of 2025; but asked by `server/discover`, it says so.
    OldThatSaysSo,
}

pub(super) const ALL: [Speaks; 4] = [Speaks::New, Speaks::Old, Speaks::OldJson, Speaks::OldThatSaysSo];

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Called {
    pub(super) tool: String,
    pub(super) arguments: Value,
    pub(super) key: Option<String>,
}

#[derive(Debug)]
struct State {
    tools: Vec<Tool>,
    calls: Vec<Called>,
    answer: CallToolResult,
    /// The JSON-RPC method of each request, or its HTTP method where it has none; and its headers.
    asked: Vec<(String, HeaderMap)>,
}

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

/// A tool that takes a city.
pub(super) fn tool(name: &str, description: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!({"name": name, "description": description, "inputSchema": parameters})
}

fn read(tools: &[Value]) -> Vec<Tool> {
    tools.iter().map(|tool| serde_json::from_value(tool.clone()).unwrap()).collect()
}

impl Server {
    /// A server with these tools, which answers calls with `done`.
    pub(super) async fn start(speaks: Speaks, tools: &[Value]) -> Self {
        let answer = CallToolResult::success(vec![ContentBlock::text("done")]);
        let state = State { tools: read(tools), calls: Vec::new(), answer, asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts([addr.to_string()])
            .with_legacy_session_mode(speaks != Speaks::OldJson)
            .with_json_response(speaks == Speaks::OldJson);
        let handler = Handler { speaks, state: Arc::clone(&state) };
        let sessions = Arc::new(LocalSessionManager::default());
        let service = StreamableHttpService::new(move || Ok(handler.clone()), sessions, config);
        let kept = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (service, kept) = (TowerToHyperService::new(service.clone()), Arc::clone(&kept));
                let service = service_fn(move |request| serve(request, speaks, Arc::clone(&kept), service.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { addr, state, accepting: accepting.abort_handle() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on it has these tools.
    pub(super) fn has(&self, tools: &[Value]) {
        self.state().tools = read(tools);
    }

    /// From now on it answers calls with this.
    pub(super) fn answers(&self, result: Value) {
        self.state().answer = serde_json::from_value(result).unwrap();
    }

    pub(super) fn calls(&self) -> Vec<Called> {
        self.state().calls.clone()
    }

    /// The methods that it was asked for since it was looked at last.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked).into_iter().map(|(method, _)| method).collect()
    }

    /// The values of that header in what it was asked.
    pub(super) fn header(&self, name: &str) -> Vec<Option<String>> {
        let text = |headers: &HeaderMap| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        self.state().asked.iter().map(|(_, headers)| text(headers)).collect()
    }

    /// Waits until it was asked for that method.
    pub(super) async fn was_asked(&self, method: &str) {
        for _ in 0..1_000 {
            if self.state().asked.iter().any(|(asked, _)| asked == method) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it was never asked for {method}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Body = http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>;
type Service = TowerToHyperService<StreamableHttpService<Handler, LocalSessionManager>>;

async fn serve(
    request: Request<Incoming>,
    speaks: Speaks,
    state: Arc<Mutex<State>>,
    service: Service,
) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = message["method"].as_str().unwrap_or(parts.method.as_str()).to_owned();
    state.lock().unwrap().asked.push((method.clone(), parts.headers.clone()));
    if method == "server/discover" && matches!(speaks, Speaks::Old | Speaks::OldJson) {
        let refused = Response::builder().status(400).body(Full::from("Bad Request: no session").boxed());
        return refused.map_err(std::io::Error::other);
    }
    let request = Request::from_parts(parts, Full::<bytes::Bytes>::from(body));
    let answer = hyper::service::Service::call(&service, request).await;
    answer.map_err(|never| match never {})
}

#[derive(Debug, Clone)]
struct Handler {
    speaks: Speaks,
    state: Arc<Mutex<State>>,
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.speaks {
            Speaks::New => Cow::Owned(vec![ProtocolVersion::V_2026_07_28]),
            Speaks::Old | Speaks::OldJson | Speaks::OldThatSaysSo => Cow::Owned(vec![ProtocolVersion::V_2025_11_25]),
        }
    }

    /// A tool a page.
    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.state.lock().unwrap().tools.clone();
        let cursor = request.and_then(|request| request.cursor);
        let page = cursor.map_or(0, |cursor| cursor.parse::<usize>().unwrap());
        let mut listed = ListToolsResult::with_all_items(tools.get(page).cloned().into_iter().collect());
        listed.next_cursor = (page + 1 < tools.len()).then(|| (page + 1).to_string());
        Ok(listed)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let key = context.meta.0.0.get("idempotencyKey").and_then(Value::as_str).map(str::to_owned);
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let mut state = self.state.lock().unwrap();
        state.calls.push(Called { tool: request.name.into_owned(), arguments, key });
        Ok(CallToolResponse::Complete(state.answer.clone()))
    }
}
