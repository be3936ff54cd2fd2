//! The model providers' wire formats and faults: the real client against the model server in this process.

mod embeddings;
mod schemas;
mod streams;
mod tools;

use std::time::{Duration, Instant};

use model_server::{Format, Options, Recorded, Server};
use serde_json::{Value, json};
use shared::model::{
    Answer, FaultKind, Finish, ModelFault, Request, Role, Tokens, ToolMode, Turn,
    catalogue::Models,
    settings::{Settings, Vendor},
};

/// Each network vendor with its format, the path of a call of `fake`, and the header that carries the key.
const VENDORS: [(Vendor, Format, &str, &str); 7] = [
    (Vendor::OpenAi, Format::OpenAi, "/v1/chat/completions", "authorization"),
    (Vendor::Mistral, Format::OpenAi, "/v1/chat/completions", "authorization"),
    (Vendor::OpenRouter, Format::OpenAi, "/v1/chat/completions", "authorization"),
    (Vendor::Anthropic, Format::Anthropic, "/v1/messages", "x-api-key"),
    (Vendor::Gemini, Format::Gemini, "/v1beta/models/fake:generateContent", "x-goog-api-key"),
    (Vendor::Bedrock, Format::Bedrock, "/model/fake/converse", "authorization"),
    (Vendor::Ollama, Format::Ollama, "/api/chat", ""),
];

const SYSTEM: &str = "You are terse.";
const TURNS: [(Role, &str); 3] =
    [(Role::User, "What is 2 + 2?"), (Role::Assistant, "4"), (Role::User, "Und \"mal\" 3? 🙂")];

async fn server() -> Server {
    Server::start(Options::default()).await.unwrap()
}

/// Every vendor with a key and this base URL.
fn models_at(base_url: &str) -> Models {
    let lookup = |name: &str| {
        if name.ends_with("_BASE_URL") {
            Some(base_url.to_owned())
        } else if name == "MUSTER_PRICES" || name.starts_with("AWS_REGION") {
            None
        } else {
            Some("canary-key".to_owned())
        }
    };
    Models::new(&Settings::from_lookup(lookup)).unwrap()
}

fn models(server: &Server) -> Models {
    models_at(&format!("http://{}", server.addr()))
}

fn turn(role: Role, text: &str) -> Turn {
    match role {
        Role::Assistant => Turn::Assistant { text: text.to_owned(), tool_calls: Vec::new() },
        Role::User | Role::System | Role::Tool => Turn::user(text),
    }
}

fn request(models: &Models, model: &str) -> Request {
    Request {
        model: models.resolve(model).unwrap(),
        system: SYSTEM.to_owned(),
        turns: TURNS.into_iter().map(|(role, text)| turn(role, text)).collect(),
        tools: Vec::new(),
        tool_mode: ToolMode::Native,
        output_schema: None,
        deltas: None,
        max_tokens: 64,
        temperature: Some(0.5),
        timeout_ms: 5_000,
    }
}

async fn call(models: &Models, model: &str) -> Result<Answer, ModelFault> {
    models.call(&request(models, model)).await
}

async fn fault(models: &Models, model: &str) -> ModelFault {
    call(models, model).await.unwrap_err()
}

/// Who said what, the system prompt first, as that format's body has it.
fn conversation(format: Format, body: &Value) -> Vec<(String, String)> {
    let text = |content: &Value| {
        let text = content.as_str().or_else(|| content[0]["text"].as_str());
        text.unwrap_or_default().to_owned()
    };
    let (system, messages, content) = match format {
        Format::OpenAi | Format::Ollama => (None, &body["messages"], "content"),
        Format::Anthropic => (Some(text(&body["system"])), &body["messages"], "content"),
        Format::Bedrock => (Some(text(&body["system"])), &body["messages"], "content"),
        Format::Gemini => (Some(text(&body["systemInstruction"]["parts"])), &body["contents"], "parts"),
    };
    let said = messages.as_array().unwrap().iter().map(|message| {
        let role = message["role"].as_str().unwrap().replace("model", "assistant");
        (role, text(&message[content]))
    });
    system.into_iter().map(|text| ("system".to_owned(), text)).chain(said).collect()
}

fn settings_of(format: Format, body: &Value) -> (Value, Value) {
    let (max_tokens, temperature) = match format {
        Format::OpenAi | Format::Anthropic => ("/max_tokens", "/temperature"),
        Format::Gemini => ("/generationConfig/maxOutputTokens", "/generationConfig/temperature"),
        Format::Ollama => ("/options/num_predict", "/options/temperature"),
        Format::Bedrock => ("/inferenceConfig/maxTokens", "/inferenceConfig/temperature"),
    };
    let at = |pointer| body.pointer(pointer).cloned().unwrap_or_default();
    (at(max_tokens), at(temperature))
}

#[tokio::test]
async fn every_provider_is_sent_the_conversation_in_its_format() {
    let server = server().await;
    let models = models(&server);
    for (vendor, format, path, key_header) in VENDORS {
        server.reset();
        call(&models, &format!("{}/fake", vendor.prefix())).await.unwrap();
        let Recorded { path: sent_to, headers, body } = server.last(format).expect("a request in its format");
        assert_eq!(sent_to, path, "{vendor:?}");
        let said = conversation(format, &body);
        let said: Vec<(&str, &str)> = said.iter().map(|(role, text)| (role.as_str(), text.as_str())).collect();
        let expected = [("system", SYSTEM), ("user", TURNS[0].1), ("assistant", TURNS[1].1), ("user", TURNS[2].1)];
        assert_eq!(said, expected, "{vendor:?}");
        assert_eq!(settings_of(format, &body), (json!(64), json!(0.5)), "{vendor:?}: {body}");
        if !key_header.is_empty() {
            let sent = headers[key_header].to_str().unwrap();
            assert!(sent == "canary-key" || sent == "Bearer canary-key", "{vendor:?}");
        }
        assert_eq!(server.stats().calls, 1, "{vendor:?}");
        assert_eq!(server.calls_with(TURNS[2].1), 1, "{vendor:?}");
    }
}

#[tokio::test]
async fn every_providers_answer_is_read_with_its_tokens_and_its_end() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        let whole = call(&models, &format!("{}/fake-o5-h7", vendor.prefix())).await.unwrap();
        assert_eq!(whole.text.split(' ').count(), 5, "{vendor:?}");
        assert!(whole.text.starts_with("fake-"), "{vendor:?}");
        assert_eq!(whole.finish, Finish::Stop, "{vendor:?}");
        let Tokens { input, cached_input, output } = whole.tokens.unwrap();
        assert!(input > 20 && output == 5, "{vendor:?}: {input} {output}");
        // Ollama tells nothing about its cache.
        assert_eq!(cached_input, if vendor == Vendor::Ollama { 0 } else { 7 }, "{vendor:?}");
        let cut = call(&models, &format!("{}/fake-o100", vendor.prefix())).await.unwrap();
        assert_eq!((cut.finish, cut.text.split(' ').count()), (Finish::Length, 64), "{vendor:?}");
    }
}

#[tokio::test]
async fn a_models_name_arrives_as_it_was_written() {
    let server = server().await;
    let models = models(&server);
    for (name, sent) in [
        ("openai/fake-high", "fake-high"),
        ("openai/org/fake-max", "org/fake-max"),
        ("mistral/mistral-medium", "mistral-medium"),
        ("mistral-large-3", "mistral-large-2512"),
        ("openrouter/openai/gpt-5-mini", "openai/gpt-5-mini"),
    ] {
        call(&models, name).await.unwrap();
        let body = server.last(Format::OpenAi).unwrap().body;
        assert_eq!(body["model"], sent);
        assert_eq!(body.get("reasoning_effort"), None, "{name}");
    }
}

#[tokio::test]
async fn a_base_url_works_with_and_without_version_and_slash() {
    let server = server().await;
    for tail in ["", "/", "/v1", "/v1/"] {
        let models = models_at(&format!("http://{}{tail}", server.addr()));
        for vendor in [Vendor::OpenAi, Vendor::Anthropic, Vendor::Ollama, Vendor::Bedrock] {
            call(&models, &format!("{}/fake", vendor.prefix())).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_openai_format_server_needs_no_key_and_is_sent_none() {
    let server = server().await;
    let lookup = |name: &str| (name == "OPENAI_BASE_URL").then(|| format!("http://{}", server.addr()));
    let models = Models::new(&Settings::from_lookup(lookup)).unwrap();
    call(&models, "openai/fake").await.unwrap();
    assert!(server.last(Format::OpenAi).unwrap().headers.get("authorization").is_none());
}

#[tokio::test]
async fn a_fault_is_what_its_status_says_with_every_provider() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        for (parts, kind, status) in [
            ("e9-x500", FaultKind::Busy, 500),
            ("e9-x529", FaultKind::Busy, 529),
            ("e9-x408", FaultKind::Busy, 408),
            ("e9-x429", FaultKind::RateLimited, 429),
            ("e9-x429-a2", FaultKind::RateLimited, 429),
            ("e9-x400", FaultKind::Refused, 400),
            ("e9-x401", FaultKind::Refused, 401),
            ("e9-x302", FaultKind::Refused, 302),
        ] {
            server.reset();
            let fault = fault(&models, &format!("{}/fake-{parts}", vendor.prefix())).await;
            assert_eq!((fault.kind, fault.status), (kind, Some(status)), "{vendor:?} {parts}");
            assert_eq!(fault.retry_after_ms, parts.contains("a2").then_some(2_000), "{vendor:?} {parts}");
            assert_eq!(fault.message, format!("HTTP {status}: injected failure"), "{vendor:?}");
            assert_eq!(server.stats().calls, 1, "a call is one request: {vendor:?} {parts}");
        }
    }
}

#[tokio::test]
async fn a_used_up_quota_is_told_from_a_passing_limit() {
    let server = server().await;
    let models = models(&server);
    for vendor in ["openai", "mistral", "anthropic", "openrouter"] {
        assert_eq!(fault(&models, &format!("{vendor}/fake-q")).await.kind, FaultKind::Quota, "{vendor}");
        assert_eq!(fault(&models, &format!("{vendor}/fake-q-a1")).await.kind, FaultKind::RateLimited, "{vendor}");
    }
}

#[tokio::test]
async fn a_cut_connection_is_a_lost_call_and_the_next_attempt_succeeds() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        server.reset();
        let name = format!("{}/fake-r1", vendor.prefix());
        let fault = fault(&models, &name).await;
        assert_eq!((fault.kind, fault.status), (FaultKind::Lost, None), "{vendor:?}");
        call(&models, &name).await.unwrap();
        assert_eq!(server.stats().calls, 2, "{vendor:?}");
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_told_so() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        server.reset();
        let fault = fault(&models, &format!("{}/fake-g1", vendor.prefix())).await;
        assert_eq!(fault.kind, FaultKind::Incomprehensible, "{vendor:?}: {fault:?}");
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_lost_at_its_timeout() {
    let server = server().await;
    let models = models(&server);
    let mut slow = request(&models, "openai/fake-l5000");
    slow.timeout_ms = 200;
    let started = Instant::now();
    let fault = models.call(&slow).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Lost);
    assert!((200..1_500).contains(&started.elapsed().as_millis()));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_busy() {
    let server = server().await;
    let models = models(&server);
    drop(server);
    // The port is closed once the accepting task is gone.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for (vendor, ..) in VENDORS {
        let fault = fault(&models, &format!("{}/fake", vendor.prefix())).await;
        assert_eq!(fault.kind, FaultKind::Busy, "{vendor:?}: {fault:?}");
    }
}

#[tokio::test]
async fn neither_key_nor_address_is_in_a_fault_or_in_debug() {
    let server = server().await;
    let host = server.addr().to_string();
    let models = models_at(&format!("http://canary-user:canary-word@{host}"));
    for parts in ["e9-x401", "e9-x500", "r9", "g9"] {
        for (vendor, ..) in VENDORS {
            let fault = fault(&models, &format!("{}/fake-{parts}", vendor.prefix())).await;
            let shown = format!("{fault} {fault:?} {models:?}");
            assert!(!shown.contains("canary") && !shown.contains(&host), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_thousand_calls_of_one_host_wait_at_the_same_time() {
    let server = server().await;
    let models = models(&server);
    let request = Request { timeout_ms: 60_000, ..request(&models, "openai/fake-l5000") };
    let answers = futures_util::future::join_all((0..1_000).map(|_| models.call(&request))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.stats().max_in_flight, 1_000);
}
