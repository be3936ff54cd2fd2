//! How this process speaks HTTP. [`trusting`] makes clients for addresses that the operator chose: model providers and AWS. They
//! trust what they are told, so nothing that a user of the API names goes through them: that goes through a [`Guard`], whose own clients
//! reach one URL each.

#[cfg(test)]
mod attacks;
mod guard;
mod lookup;
mod pinned;
mod send;
#[cfg(test)]
pub(crate) mod stand_in;
mod table;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

pub use self::{
    guard::{Guard, GuardedUrl, Refusal, URL_LIMIT_BYTES},
    send::{Answer, Failure, Sending, Streamed},
};
use crate::error::Fault;

/// How long an unused connection is kept: below what load balancers in front of providers keep one (60 s and more).
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client, but for its timeouts. HTTP/1.1 only: over HTTP/2 a thousand calls of one host share a connection and queue behind the
/// provider's limit of streams (commonly 100), over HTTP/1.1 each call in flight has its own; and AWS speaks nothing else. What is
/// answered is not decompressed, and nothing is tried twice. The proxy variables of the environment hold unless
/// they are switched off.
pub(crate) fn trusting() -> Result<reqwest::ClientBuilder, Fault> {
    Ok(client(tls()?))
}

fn client(tls: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_gzip()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_keepalive(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
}

/// TLS by ring. Trusts what the machine trusts (so that a company's own authority works); Mozilla's list where a machine has none,
/// as a slim container. The list is read once in a process.
fn tls() -> Result<ClientConfig, Fault> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    });
    tls_that_trusts(roots.clone())
}

fn tls_that_trusts(roots: Arc<RootCertStore>) -> Result<ClientConfig, Fault> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_client_can_be_made_without_a_default_crypto_provider() {
        super::trusting().unwrap().build().unwrap();
    }
}
