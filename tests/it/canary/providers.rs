//! Providers that repeat the key and the address that they were called with, whatever they are asked.

use futures_util::future::join_all;
use serde_json::json;
use shared::model::settings::{Settings, Vendor};

use super::{
    forms,
    tools::{run_of, told},
};
use crate::{
    harness::{Answer, Muster},
    mcp::raw::{Raw, Reply},
};

/// A provider of each kind that is called over the network.
pub(super) async fn start() -> Vec<(Vendor, Raw)> {
    let vendors = Vendor::ALL.into_iter().filter(|vendor| *vendor != Vendor::Demo);
    join_all(
        vendors.map(|vendor| async move { (vendor, Raw::start(|_, nth, asked| repeated(nth, &asked["sent"])).await) }),
    )
    .await
}

/// Fails in a way that passes, makes no sense, and refuses.
fn repeated(nth: usize, sent: &serde_json::Value) -> Option<Reply> {
    let error = json!({"error": {"message": sent, "code": sent}, "message": sent}).to_string();
    Some(match nth {
        1 => Reply::Status(500, error),
        2 => Reply::Status(200, error),
        _ => Reply::Status(401, error),
    })
}

/// Keys, and addresses with a password or a query where they may have one, all of them with the canary.
pub(super) fn settings(providers: &[(Vendor, Raw)], canary: &str) -> Settings {
    Settings::from_lookup(|name| {
        let (vendor, _) = providers.iter().find(|(vendor, _)| {
            vendor.base_url_variable() == Some(name) || vendor.key_variables().first() == Some(&name)
        })?;
        let raw = providers.iter().find(|(other, _)| other == vendor).map(|(_, raw)| raw.url().replace("/mcp", ""))?;
        Some(match vendor {
            _ if vendor.base_url_variable() != Some(name) => format!("{canary}-{}", vendor.prefix()),
            Vendor::Ollama => raw.replace("http://", &format!("http://user:{canary}-word@")),
            Vendor::OpenAi => format!("{raw}/v1?code={canary}-query"),
            Vendor::Anthropic
            | Vendor::Gemini
            | Vendor::Mistral
            | Vendor::Bedrock
            | Vendor::OpenRouter
            | Vendor::Demo => raw,
        })
    })
}

/// A run of each provider, and all that is told of it.
pub(super) async fn asked(muster: &Muster, providers: &[(Vendor, Raw)], canary: &str) -> Vec<Answer> {
    let runs = providers.iter().map(|(vendor, raw)| async move {
        let agent = muster.us.agent(&format!("{}/a-model", vendor.prefix())).await;
        let path = format!("/v1/agents/{agent}/runs/stream");
        let stream = muster.us.post(&path, json!({"message": "hello"})).await;
        assert!(stream.text.contains("model_error") && raw.asked("POST").len() >= 2, "{vendor:?}: {}", stream.text);
        let sent = raw.asked("POST")[0]["sent"].to_string();
        assert!(forms(canary).iter().any(|form| sent.contains(form)), "{vendor:?} was sent no key");
        let read = told(muster, &run_of(&stream)).await;
        [vec![stream], read].concat()
    });
    let answers = join_all(runs).await.concat();
    [answers, vec![muster.us.get("/v1/models").await, muster.us.get("/v1/runs?limit=100").await]].concat()
}

/// A run with a provider that the organisation brings, with the canary as its key.
pub(super) async fn own(muster: &Muster, canary: &str) -> Vec<Answer> {
    let raw = Raw::start(|_, nth, asked| repeated(nth, &asked["sent"])).await;
    let url = raw.url().replace("/mcp", "");
    let body =
        json!({"id": "raw", "name": "n", "type": "openai", "api_key": format!("{canary}-own"), "custom_url": url});
    muster.us.post("/api/v1/providers", body).await.status(201);
    let agent = muster.us.agent("raw/a-model").await;
    let stream = muster.us.post(&format!("/v1/agents/{agent}/runs/stream"), json!({"message": "hello"})).await;
    assert!(stream.text.contains("model_error") && raw.asked("POST").len() >= 2, "{}", stream.text);
    assert!(raw.asked("POST")[0]["sent"].to_string().contains(canary), "it was sent no key");
    let read = told(muster, &run_of(&stream)).await;
    [vec![stream], read].concat()
}
