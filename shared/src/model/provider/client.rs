//! The HTTP client of all model providers. Tools and webhooks have their own: theirs is guarded, this one trusts the operator.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept: below what load balancers in front of providers keep one (60 s and more).
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes the client. HTTP/1.1 only: over HTTP/2 a thousand calls of one host share a connection and queue behind the provider's
/// limit of streams (commonly 100), over HTTP/1.1 each call in flight has its own. The proxy variables of the environment hold.
pub(super) fn client() -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_keepalive(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// TLS by ring. Trusts what the machine trusts (so that a company's own authority works); Mozilla's list where a machine has none,
/// as a slim container.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
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
    fn the_client_can_be_made_without_a_default_crypto_provider() {
        super::client().unwrap();
    }
}
