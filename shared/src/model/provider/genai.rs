//! The network providers behind one HTTP client, by the crate `genai`, whose types stay in this folder.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::OnceLock, time::Duration};

use futures_util::future::BoxFuture;
use genai::Client;
use reqwest::ClientBuilder;
use secrecy::ExposeSecret;

use super::{
    fault::{self, refused},
    target::Target,
};
use crate::{
    model::{
        Answer, Embedded, ModelFault, Provider, Request,
        settings::{Access, Settings, SettingsError, Vendor},
    },
    net::{self, Guard},
};

/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const USER_AGENT: &str = concat!("muster/", env!("CARGO_PKG_VERSION"));

/// All network providers behind one client. `Debug` names only the vendors.
pub struct Genai {
    targets: BTreeMap<Vendor, Target>,
    /// Made by the first call: a function that calls no model does not pay for reading the machine's certificates.
    client: OnceLock<Option<Client>>,
    aws_region: Option<String>,
    /// How long a stream may bring nothing at all.
    idle: Duration,
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
                let target = Target::new(vendor, access, settings.aws_region.as_deref())
                    .ok_or(SettingsError::BaseUrl(vendor.base_url_variable().unwrap_or_default()))?;
                targets.insert(vendor, target);
            }
        }
        let aws_region = settings.aws_region.clone();
        Ok(Self { targets, client: OnceLock::new(), aws_region, idle: IDLE_TIMEOUT })
    }

    /// The vendors that can be called.
    pub fn vendors(&self) -> impl Iterator<Item = Vendor> {
        self.targets.keys().copied()
    }

    /// The vendor's format at an address and with a key that an organisation brings. An address of its own is reached through the guard
    /// alone.
    ///
    /// # Errors
    /// What it means for a call of it that it cannot be reached so.
    pub(in crate::model) async fn own(
        &self,
        guard: &Guard,
        vendor: Vendor,
        access: &Access,
    ) -> Result<Own<'_>, ModelFault> {
        if !vendor.usable(access) {
            return Err(refused("the provider has no api_key"));
        }
        let target = Target::new(vendor, access, self.aws_region.as_deref())
            .ok_or_else(|| refused("the custom_url of the provider cannot be called"))?;
        let client = match access.base_url {
            None => Cow::Borrowed(self.client()?),
            Some(_) => {
                let url = guard.check(target.endpoint.expose_secret());
                let url = url.map_err(|_| refused("the custom_url of the provider may not be called any more"))?;
                let client = guard.client(&url).await.map_err(|_| fault::unreachable())?;
                Cow::Owned(made(client).ok_or_else(no_client)?)
            }
        };
        Ok(Own { target, client, idle: self.idle })
    }

    fn client(&self) -> Result<&Client, ModelFault> {
        self.client.get_or_init(|| made(net::trusting().ok()?)).as_ref().ok_or_else(no_client)
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, ModelFault> {
        let (vendor, model) = split(request.model.as_str())?;
        let target = self.targets.get(&vendor).ok_or_else(|| refused("this model is not configured"))?;
        target.exchange(self.client()?, self.idle, model, request).await
    }

    /// The texts as vectors by the model of that name, which may take so many milliseconds.
    ///
    /// # Errors
    /// What the failure means.
    pub(in crate::model) async fn embed(
        &self,
        name: &str,
        texts: &[String],
        timeout_ms: u64,
    ) -> Result<Embedded, ModelFault> {
        let (vendor, model) = split(name)?;
        let target = self.targets.get(&vendor).ok_or_else(|| refused("this model is not configured"))?;
        target.embed(self.client()?, model, texts, timeout_ms).await
    }
}

fn made(client: ClientBuilder) -> Option<Client> {
    let client = client.connect_timeout(CONNECT_TIMEOUT).user_agent(USER_AGENT).build().ok()?;
    Client::builder().with_reqwest(client).build().ok()
}

fn no_client() -> ModelFault {
    refused("the HTTP client could not be made")
}

/// A provider of an organisation's own, ready to be called.
pub(in crate::model) struct Own<'a> {
    target: Target,
    client: Cow<'a, Client>,
    idle: Duration,
}

impl fmt::Debug for Own<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("vendor", &self.target.vendor).finish_non_exhaustive()
    }
}

impl Own<'_> {
    /// As [`Genai::embed`], by the model that it spells so.
    pub(in crate::model) async fn embed(
        &self,
        model: &str,
        texts: &[String],
        timeout_ms: u64,
    ) -> Result<Embedded, ModelFault> {
        self.target.embed(&self.client, model, texts, timeout_ms).await
    }
}

impl Provider for Own<'_> {
    fn call<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>> {
        #[cfg(feature = "simulation")]
        if let Some(outside) = crate::simulation::outside() {
            return Box::pin(async move { outside.model(request).await });
        }
        let (_, model) = request.model.as_str().split_once('/').unwrap_or_default();
        Box::pin(self.target.exchange(&self.client, self.idle, model, request))
    }
}

impl Provider for Genai {
    fn call<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>> {
        #[cfg(feature = "simulation")]
        if let Some(outside) = crate::simulation::outside() {
            return Box::pin(async move { outside.model(request).await });
        }
        Box::pin(self.exchange(request))
    }
}

/// The vendor and the vendor's name of the model.
fn split(name: &str) -> Result<(Vendor, &str), ModelFault> {
    name.split_once('/')
        .and_then(|(prefix, model)| Some((Vendor::from_prefix(prefix)?, model)))
        .ok_or_else(|| refused("the model's name does not say who serves it"))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::model::{Deltas, FaultKind, Turn, call_id::tests::request};

    const BEGINNING: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
        data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"one \"}}]}\n\n";

    /// A server that begins a stream, and then sends that now and again.
    async fn begins(comment: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            stream.write_all(BEGINNING.as_bytes()).await.unwrap();
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _ = stream.write_all(comment.as_bytes()).await;
            }
        });
        base_url
    }

    async fn fault_of(comment: &'static str) -> ModelFault {
        let base_url = begins(comment).await;
        let lookup = |name: &str| (name == "OPENAI_BASE_URL").then(|| base_url.clone());
        let mut genai = Genai::new(&Settings::from_lookup(lookup)).unwrap();
        genai.idle = Duration::from_millis(300);
        let mut request = request("openai/x", vec![Turn::user("hi")]);
        request.deltas = Some(Deltas::new(|_| {}));
        genai.call(&request).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_stream_that_brings_nothing_for_too_long_is_lost() {
        let (silent, alive) = tokio::join!(fault_of(""), fault_of(": still at it\n\n"));
        assert_eq!((silent.kind, silent.message.contains("stood still")), (FaultKind::Lost, true), "{silent}");
        assert_eq!((alive.kind, alive.message.contains("ended before")), (FaultKind::Lost, true), "{alive}");
    }
}
