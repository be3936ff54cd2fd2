//! One vendor's format at one address, with one key: what is sent there, and what it means that came back.

use std::time::Duration;

use genai::{
    Client, Headers, ModelIden, ServiceTarget,
    adapter::AdapterKind,
    embed::EmbedRequest,
    resolver::{AuthData, Endpoint},
};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{
    answer,
    endpoint::endpoint,
    fault::{self, Redaction, refused},
    stream, wire,
};
use crate::model::{
    Answer, Embedded, ModelFault, Request,
    settings::{Access, Vendor},
};

/// Whose format is spoken, where, and with which key.
pub(super) struct Target {
    pub(super) vendor: Vendor,
    /// The address below which the vendor's paths are.
    pub(super) endpoint: SecretString,
    key: Option<SecretString>,
    redaction: Redaction,
}

impl Target {
    /// The vendor's format with that access; `None` when its base URL is not an http(s) URL.
    pub(super) fn new(vendor: Vendor, access: &Access, aws_region: Option<&str>) -> Option<Self> {
        let endpoint = endpoint(vendor, access.base_url.as_ref().map(ExposeSecret::expose_secret), aws_region)?;
        let redaction = Redaction::new(access.key.as_ref(), &endpoint);
        Some(Self { vendor, endpoint: endpoint.into(), key: access.key.clone(), redaction })
    }

    /// One request and its answer; `idle` is how long a stream may bring nothing at all.
    ///
    /// # Errors
    /// What the failure means.
    pub(super) async fn exchange(
        &self,
        client: &Client,
        idle: Duration,
        model: &str,
        request: &Request,
    ) -> Result<Answer, ModelFault> {
        let vendor = self.vendor;
        let (conversation, options) =
            (wire::conversation(vendor, model, request)?, wire::options(vendor, model, request));
        let service = self.service(model);
        let call = async {
            if request.deltas.is_some() {
                let options = stream::options(options, idle);
                let streamed = client.exec_chat_stream(service, conversation, Some(&options)).await;
                let streamed = streamed.map_err(|error| fault::of(&error, &self.redaction))?;
                return stream::answer(vendor, request, streamed.stream, &self.redaction).await;
            }
            let fault =
                |error| answer::rescued(vendor, request, &error).ok_or_else(|| fault::of(&error, &self.redaction));
            let response = client.exec_chat(service, conversation, Some(&options)).await;
            response.map_or_else(fault, |response| answer::whole(vendor, request, response))
        };
        let limit = Duration::from_millis(request.timeout_ms);
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_elapsed| Err(fault::timeout(request.timeout_ms)))
    }

    /// The texts as vectors, which may take so many milliseconds.
    ///
    /// # Errors
    /// What the failure means.
    pub(super) async fn embed(
        &self,
        client: &Client,
        model: &str,
        texts: &[String],
        timeout_ms: u64,
    ) -> Result<Embedded, ModelFault> {
        if !self.vendor.has_embeddings() {
            return Err(refused("this provider has no embeddings"));
        }
        let call = client.exec_embed(self.embedding_service(model), EmbedRequest::new_batch(texts.to_vec()), None);
        let answered = tokio::time::timeout(Duration::from_millis(timeout_ms), call).await;
        let answered = answered.map_err(|_elapsed| fault::timeout(timeout_ms))?;
        answer::embedded(answered.map_err(|error| fault::of(&error, &self.redaction))?, texts.len())
    }

    /// As for chats, but that the crate leaves no key out here.
    fn embedding_service(&self, model: &str) -> ServiceTarget {
        let mut service = self.service(model);
        let url = Url::parse(self.endpoint.expose_secret())
            .ok()
            .filter(|_| self.vendor == Vendor::OpenAi && self.key.is_none());
        if let Some(mut url) = url {
            url.set_path(&format!("{}embeddings", url.path()));
            service.auth = AuthData::RequestOverride { url: url.into(), headers: Headers::default() };
        }
        service
    }

    fn service(&self, model: &str) -> ServiceTarget {
        let kind = match self.vendor {
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
