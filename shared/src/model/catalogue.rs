//! The models that this deployment can call: what is `known` of them, and the call itself. Decides nothing about retries: see `retry` and
//! `breaker`.

mod known;
mod own;

use std::collections::BTreeMap;

use tokio::time::Instant;

pub use self::known::{ModelInfo, UnknownModel};
pub(crate) use self::{known::is_model, own::Own};
use self::{known::vendor, own::of_org};
use super::{
    Answer, Embedded, ModelFault, ModelName, Provider, Request, ToolMode,
    breaker::{self, Breakers},
    embedding, json_tools,
    price::PriceList,
    provider::Genai,
    retry::{Bucket, Buckets, Next, RetryPolicy},
    scripted::Scripted,
    settings::{Access, Settings, SettingsError, Vendor},
};
use crate::id::OrgId;

/// The models of this deployment.
#[derive(Debug)]
pub struct Models {
    network: Genai,
    scripted: Scripted,
    prices: PriceList,
    /// The vendors whose listed models can be called: those with a key.
    keyed: Vec<Vendor>,
    buckets: BTreeMap<Vendor, Bucket>,
    /// Those of organisations' own providers.
    own_buckets: Buckets,
    policy: RetryPolicy,
    breakers: Breakers,
    /// What the breakers' time is counted from.
    since: Instant,
}

impl Models {
    /// The models that those settings make callable.
    ///
    /// # Errors
    /// When a base URL or the operator's prices cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let with_key = |(vendor, access): (&Vendor, &Access)| access.key.is_some().then_some(*vendor);
        Ok(Self {
            network: Genai::new(settings)?,
            scripted: Scripted,
            prices: PriceList::new(settings.price_override_json.as_deref())?,
            keyed: settings.access.iter().filter_map(with_key).collect(),
            buckets: Vendor::ALL.into_iter().map(|vendor| (vendor, Bucket::default())).collect(),
            own_buckets: Buckets::default(),
            policy: RetryPolicy::default(),
            breakers: Breakers::default(),
            since: Instant::now(),
        })
    }

    /// Calls the model once, unless most calls of it failed a moment ago. What to do when it fails, `next` says.
    ///
    /// # Errors
    /// What the failure means for the run.
    pub async fn call(&self, request: &Request) -> Result<Answer, ModelFault> {
        let canonical = self.canonical(request.model.as_str());
        let Some(vendor) = vendor(canonical) else {
            return self.network.call(request).await;
        };
        let renamed = (canonical != request.model.as_str())
            .then(|| Request { model: ModelName(canonical.to_owned()), ..request.clone() });
        let request = renamed.as_ref().unwrap_or(request);
        if vendor == Vendor::Demo {
            return self.scripted.call(request).await;
        }
        let answer = self.with_breaker(canonical, ask(&self.network, request)).await;
        if let (Ok(_), Some(bucket)) = (&answer, self.buckets.get(&vendor)) {
            bucket.refund();
        }
        answer
    }

    /// The texts as vectors, asked for once, by the model of that name, which may take so many milliseconds. For no text nothing is asked.
    ///
    /// # Errors
    /// What the failure means, as of [`Models::call`]. Not every provider has embeddings.
    pub async fn embed(&self, name: &ModelName, texts: &[String], timeout_ms: u64) -> Result<Embedded, ModelFault> {
        let canonical = self.canonical(name.as_str());
        match vendor(canonical) {
            _ if texts.is_empty() => Ok(Embedded { vectors: Vec::new(), tokens: None }),
            Some(Vendor::Demo) => Ok(embedding::scripted(texts)),
            vendor => {
                let answer = self.with_breaker(canonical, self.network.embed(canonical, texts, timeout_ms)).await;
                if let (Ok(_), Some(bucket)) = (&answer, vendor.and_then(|vendor| self.buckets.get(&vendor))) {
                    bucket.refund();
                }
                answer
            }
        }
    }

    /// What comes of a call, unless the breaker of that name holds it back.
    async fn with_breaker<T>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, ModelFault>>,
    ) -> Result<T, ModelFault> {
        let breaker = self.breakers.of(name);
        let pass = breaker.admit(self.now_ms()).map_err(ModelFault::circuit_open)?;
        let outcome = call.await;
        breaker.record(pass, self.now_ms(), outcome.as_ref().is_err_and(|fault| breaker::counts(fault.kind)));
        outcome
    }

    /// How long an organisation's calls of that model are held back, in milliseconds, because most of them failed a moment ago; `None` when they are
    /// not. `call` does so by itself; to ask first saves what is written before a call.
    #[must_use]
    pub fn held_back_ms(&self, org: OrgId, model: &ModelName) -> Option<u64> {
        let canonical = self.canonical(model.as_str());
        let breaker = match vendor(canonical) {
            Some(Vendor::Demo) => return None,
            Some(_) => self.breakers.of(canonical),
            None => self.breakers.of(&of_org(org, canonical)),
        };
        breaker.closed_for_ms(self.now_ms())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What to do after an organisation's call number `attempt` (the first is 1) of that model failed. `random` is uniform in 0..1; `remaining_ms` is
    /// how long this invocation may still run.
    #[must_use]
    pub fn next(
        &self,
        org: OrgId,
        model: &ModelName,
        attempt: u32,
        fault: &ModelFault,
        random: f64,
        remaining_ms: u64,
    ) -> Next {
        let next = |bucket: &Bucket| self.policy.next(bucket, attempt, fault, random, remaining_ms);
        let canonical = self.canonical(model.as_str());
        match (vendor(canonical), canonical.split_once('/')) {
            (Some(vendor), _) => self.buckets.get(&vendor).map_or(Next::GiveUp, next),
            (None, Some((id, _))) => next(&self.own_buckets.of(&of_org(org, id))),
            (None, None) => Next::GiveUp,
        }
    }
}

async fn ask(provider: &dyn Provider, request: &Request) -> Result<Answer, ModelFault> {
    if request.tool_mode == ToolMode::Json && !request.tools.is_empty() {
        json_tools::call(provider, request).await
    } else {
        provider.call(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn models(variables: &[(&str, &str)]) -> Models {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Models::new(&Settings::from_lookup(lookup)).unwrap()
    }

    #[test]
    fn a_bad_base_url_is_told_by_its_variable_only() {
        for url in ["canary://x", "http://cañary/v1"] {
            let lookup = |name: &str| (name == "OPENAI_BASE_URL").then(|| url.to_owned());
            let error = Models::new(&Settings::from_lookup(lookup)).unwrap_err();
            let expected = "OPENAI_BASE_URL is not an http or https URL with an ASCII host (an international name as punycode, xn--…)";
            assert_eq!(error.to_string(), expected, "{url}");
        }
    }
}
