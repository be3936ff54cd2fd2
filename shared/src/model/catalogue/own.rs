//! Models of providers that organisations bring: called as the deployment's are, each organisation's by itself.

use super::{Models, ask};
use crate::{
    id::OrgId,
    model::{
        Answer, Embedded, ModelFault, ModelName, Request,
        settings::{Access, Vendor},
    },
    net::Guard,
};

/// A model of a provider of an organisation's own: whose it is, and how it is reached. `Debug` shows no key.
#[derive(Debug)]
pub(crate) struct Own<'a> {
    /// Whose.
    pub(crate) org: OrgId,
    /// The provider's id.
    pub(crate) id: &'a str,
    /// Whose format it speaks.
    pub(crate) vendor: Vendor,
    /// With which key, and where unless where the vendor is.
    pub(crate) access: Access,
    /// The model, as it spells it.
    pub(crate) model: &'a str,
}

impl Models {
    /// As [`Models::call`], of a model of an organisation's own provider.
    ///
    /// # Errors
    /// What the failure means for the run.
    pub(crate) async fn call_own(&self, guard: &Guard, own: &Own<'_>, request: &Request) -> Result<Answer, ModelFault> {
        let called = async {
            let provider = self.network.own(guard, own.vendor, &own.access).await?;
            let model = ModelName(format!("{}/{}", own.id, self.spelt(own)));
            ask(&provider, &Request { model, ..request.clone() }).await
        };
        self.accounted(own, called).await
    }

    /// As [`Models::embed`], by a model of an organisation's own provider.
    ///
    /// # Errors
    /// What the failure means.
    pub(crate) async fn embed_own(
        &self,
        guard: &Guard,
        own: &Own<'_>,
        texts: &[String],
        timeout_ms: u64,
    ) -> Result<Embedded, ModelFault> {
        if texts.is_empty() {
            return Ok(Embedded { vectors: Vec::new(), tokens: None });
        }
        let called = async {
            let provider = self.network.own(guard, own.vendor, &own.access).await?;
            provider.embed(&self.spelt(own), texts, timeout_ms).await
        };
        self.accounted(own, called).await
    }

    /// What comes of a call, which counts for its organisation alone.
    async fn accounted<T>(
        &self,
        own: &Own<'_>,
        call: impl Future<Output = Result<T, ModelFault>>,
    ) -> Result<T, ModelFault> {
        let Own { org, id, model, .. } = own;
        let answer = self.with_breaker(&of_org(*org, &format!("{id}/{model}")), call).await;
        if answer.is_ok() {
            self.own_buckets.of(&of_org(*org, id)).refund();
        }
        answer
    }

    /// The model as its provider spells it. At the vendor's own address it is called what its price is known by.
    fn spelt(&self, own: &Own<'_>) -> String {
        let Own { vendor, access, model, .. } = own;
        let canonical = access.base_url.is_none().then(|| format!("{}/{model}", vendor.prefix()));
        let spelt = canonical.as_deref().and_then(|name| self.canonical(name).split_once('/'));
        spelt.map_or(*model, |(_, spelt)| spelt).to_owned()
    }
}

/// What breakers and allowances of an organisation's own provider are kept by: no vendor's name begins with an id.
pub(super) fn of_org(org: OrgId, name: &str) -> String {
    format!("{org}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        model::{FaultKind, call_id, catalogue::tests::models, retry::Next},
    };

    #[tokio::test]
    async fn a_provider_of_an_organisation_has_its_own_breaker_and_allowance() {
        let models = models(&[]);
        let guard = Guard::new(&["127.0.0.1/32".parse().unwrap()]).unwrap();
        let now = Timestamp::from_millis(1_780_000_000_000);
        let (org, other) = (OrgId::new(now), OrgId::new(now));
        let call = async |org: OrgId, id: &str, model: &str| {
            // Nobody listens there.
            let access = Access { key: None, base_url: Some("http://127.0.0.1:1".into()) };
            let own = Own { org, id, vendor: Vendor::OpenAi, access, model };
            let request = call_id::tests::request(&format!("{id}/{model}"), Vec::new());
            models.call_own(&guard, &own, &request).await.unwrap_err().kind
        };
        for _ in 0..20 {
            assert_eq!(call(org, "ours", "a").await, FaultKind::Busy);
        }
        assert_eq!(call(org, "ours", "a").await, FaultKind::CircuitOpen);
        assert_eq!(call(org, "ours", "b").await, FaultKind::Busy, "another model");
        assert_eq!(call(org, "theirs", "a").await, FaultKind::Busy, "another provider");
        assert_eq!(call(other, "ours", "a").await, FaultKind::Busy, "another organisation");
        let name = ModelName("ours/a".to_owned());
        assert!(models.held_back_ms(org, &name).is_some() && models.held_back_ms(other, &name).is_none());

        let lost = ModelFault::new(FaultKind::Lost, String::new());
        let next = |org| models.next(org, &name, 1, &lost, 0.0, u64::MAX);
        assert_eq!((0..51).filter(|_| next(org) == Next::After(0)).count(), 50, "then its allowance is used up");
        assert_eq!(next(other), Next::After(0));
    }
}
