//! The wire formats of the network providers, by the crate `genai`, whose types stay in this file and `fault`.

use std::{collections::BTreeMap, fmt, sync::OnceLock, time::Duration};

use futures_util::future::BoxFuture;
use genai::{
    Client, ModelIden, ServiceTarget,
    adapter::AdapterKind,
    chat::{ChatMessage, ChatOptions, ChatRequest, ChatResponse, ReasoningEffort, StopReason},
    resolver::{AuthData, Endpoint},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    endpoint::{endpoint, is_chat_completions},
    fault::{self, Redaction},
};
use crate::{
    model::{
        Answer, FaultKind, Finish, ModelFault, Provider, Request, Tokens, ToolCall, Turn,
        settings::{Access, Settings, SettingsError, Vendor},
    },
    net,
};

/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("muster/", env!("CARGO_PKG_VERSION"));

/// One vendor's address and key.
struct Target {
    endpoint: SecretString,
    key: Option<SecretString>,
    redaction: Redaction,
}

/// All network providers behind one client. `Debug` names only the vendors.
pub struct Genai {
    targets: BTreeMap<Vendor, Target>,
    /// Made by the first call: a function that calls no model does not pay for reading the machine's certificates.
    client: OnceLock<Option<Client>>,
}

impl fmt::Debug for Genai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Genai").field("vendors", &self.targets.keys()).finish_non_exhaustive()
    }
}

impl Genai {
    /// The providers that those settings make usable.
    ///
    /// # Errors
    /// When a base URL is not an http(s) URL.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let mut targets = BTreeMap::new();
        for (&vendor, access) in &settings.access {
            if vendor != Vendor::Demo && vendor.usable(access) {
                let target = target(vendor, access, settings.aws_region.as_deref())
                    .ok_or(SettingsError::BaseUrl(vendor.base_url_variable().unwrap_or_default()))?;
                targets.insert(vendor, target);
            }
        }
        Ok(Self { targets, client: OnceLock::new() })
    }

    /// The vendors that can be called.
    pub fn vendors(&self) -> impl Iterator<Item = Vendor> {
        self.targets.keys().copied()
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, ModelFault> {
        let (vendor, model) = split(request.model.as_str())?;
        let target = self.targets.get(&vendor).ok_or_else(|| refused("this model is not configured"))?;
        let client = self
            .client
            .get_or_init(|| {
                let client =
                    net::trusting().ok()?.connect_timeout(CONNECT_TIMEOUT).user_agent(USER_AGENT).build().ok()?;
                Client::builder().with_reqwest(client).build().ok()
            })
            .as_ref()
            .ok_or_else(|| refused("the HTTP client could not be made"))?;
        let (conversation, options) = (conversation(request)?, options(vendor, request));
        let call = client.exec_chat(target.service(vendor, model), conversation, Some(&options));
        match tokio::time::timeout(Duration::from_millis(request.timeout_ms), call).await {
            Err(_elapsed) => Err(fault::timeout(request.timeout_ms)),
            Ok(Err(error)) => Err(fault::of(&error, &target.redaction)),
            Ok(Ok(response)) => answer(response),
        }
    }
}

impl Provider for Genai {
    fn call<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>> {
        Box::pin(self.exchange(request))
    }
}

fn target(vendor: Vendor, access: &Access, aws_region: Option<&str>) -> Option<Target> {
    let endpoint = endpoint(vendor, access.base_url.as_ref().map(ExposeSecret::expose_secret), aws_region)?;
    let redaction = Redaction::new(access.key.as_ref(), &endpoint);
    Some(Target { endpoint: endpoint.into(), key: access.key.clone(), redaction })
}

impl Target {
    fn service(&self, vendor: Vendor, model: &str) -> ServiceTarget {
        let kind = match vendor {
            // The chat completions format with the key left out.
            Vendor::OpenAi if self.key.is_none() => AdapterKind::Omlx,
            Vendor::OpenAi => AdapterKind::OpenAI,
            Vendor::Anthropic => AdapterKind::Anthropic,
            Vendor::Gemini => AdapterKind::Gemini,
            Vendor::Mistral => AdapterKind::Mistral,
            Vendor::Bedrock => AdapterKind::BedrockApi,
            Vendor::OpenRouter => AdapterKind::OpenRouter,
            Vendor::Ollama | Vendor::Demo => AdapterKind::Ollama,
        };
        ServiceTarget {
            endpoint: Endpoint::from_owned(self.endpoint.expose_secret()),
            auth: self.key.as_ref().map_or(AuthData::None, |key| AuthData::from_single(key.expose_secret())),
            model: ModelIden::new(kind, model),
        }
    }
}

/// The vendor and the vendor's name of the model.
fn split(name: &str) -> Result<(Vendor, &str), ModelFault> {
    name.split_once('/')
        .and_then(|(prefix, model)| Some((Vendor::from_prefix(prefix)?, model)))
        .ok_or_else(|| refused("the model's name does not say who serves it"))
}

fn refused(message: &str) -> ModelFault {
    ModelFault { kind: FaultKind::Refused, status: None, retry_after_ms: None, message: message.to_owned() }
}

fn conversation(request: &Request) -> Result<ChatRequest, ModelFault> {
    let messages = request
        .turns
        .iter()
        .map(|turn| match turn {
            Turn::User { text } => Ok(ChatMessage::user(text.as_str())),
            Turn::Assistant { text, .. } => Ok(ChatMessage::assistant(text.as_str())),
            Turn::Tool { .. } => Err(refused("tools cannot be called yet")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let conversation = ChatRequest::new(messages);
    Ok(if request.system.is_empty() { conversation } else { conversation.with_system(request.system.as_str()) })
}

fn options(vendor: Vendor, request: &Request) -> ChatOptions {
    let mut options = ChatOptions::default().with_max_tokens(request.max_tokens);
    if let Some(temperature) = request.temperature {
        options = options.with_temperature(temperature);
    }
    if is_chat_completions(vendor) {
        // The crate takes a name's end as an effort (`mistral-medium` would become `mistral`) unless one is given; a budget is one
        // that it does not send in this format.
        options = options.with_reasoning_effort(ReasoningEffort::Budget(0));
    }
    options
}

fn answer(response: ChatResponse) -> Result<Answer, ModelFault> {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    let usage = &response.usage;
    let cached = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
    let tokens = match (count(usage.prompt_tokens), count(usage.completion_tokens)) {
        (None, None) => None,
        (input, output) => Some(Tokens {
            input: input.unwrap_or(0),
            cached_input: count(cached).unwrap_or(0),
            output: output.unwrap_or(0),
        }),
    };
    let finish = response.stop_reason.as_ref().map_or(Finish::Other, finish);
    let said_why = response.stop_reason.is_some();
    let text = response.content.joined_texts().unwrap_or_default();
    let tool_calls: Vec<ToolCall> = response
        .content
        .into_tool_calls()
        .into_iter()
        .map(|call| ToolCall { id: call.call_id, name: call.fn_name, arguments: call.fn_arguments.to_string() })
        .collect();
    if text.is_empty() && tool_calls.is_empty() && !said_why && tokens.is_none() {
        return Err(fault::incomprehensible());
    }
    Ok(Answer { text, tool_calls, finish, tokens })
}

const fn finish(reason: &StopReason) -> Finish {
    match reason {
        StopReason::Completed(_) | StopReason::StopSequence(_) => Finish::Stop,
        StopReason::MaxTokens(_) => Finish::Length,
        StopReason::ToolCall(_) => Finish::ToolCalls,
        StopReason::ContentFilter(_) => Finish::Filtered,
        StopReason::Other(_) => Finish::Other,
    }
}
