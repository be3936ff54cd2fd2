//! Over TLS, over the second address of a name, and by the system's own look-up.

use std::sync::Arc;

use rustls::{RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::lookup::stub::Stub;

/// A server with a certificate for these names: where it is, and who trusts it.
async fn tls_server(names: &[&str]) -> (SocketAddr, RootCertStore) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind(("127.0.0.2", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut [0; 4_096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (addr, roots)
}

fn get() -> Sending {
    Sending {
        method: Method::GET,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        follow: true,
        body_limit_bytes: 1_024,
        timeout: Duration::from_secs(5),
    }
}

#[tokio::test]
async fn the_certificate_must_be_trusted_and_have_the_name_of_the_url() {
    let (addr, roots) = tls_server(&["tools.test", "127.0.0.2"]).await;
    let names = Arc::new(Stub::default());
    for name in ["tools.test", "tools.test.", "other.test"] {
        names.answer(name, &["127.0.0.2"]);
    }
    let guard = Guard::new(&["127.0.0.2/32".parse().unwrap()]).unwrap().with_names(names);
    let (knowing, wary) = (guard.clone().with_roots(roots), guard);
    for host in ["tools.test", "tools.test.", "127.0.0.2"] {
        let url = knowing.check(&format!("https://{host}:{}/", addr.port())).unwrap();
        assert_eq!(knowing.send(&url, get()).await.unwrap().body, b"secret", "{host}");
        assert_eq!(wary.send(&url, get()).await.unwrap_err(), Failure::NotSent, "{host}");
    }
    let other = knowing.check(&format!("https://other.test:{}/", addr.port())).unwrap();
    assert_eq!(knowing.send(&other, get()).await.unwrap_err(), Failure::NotSent);
}

#[tokio::test]
async fn an_address_that_does_not_answer_does_not_hide_one_that_does() {
    let server = crate::net::stand_in::Server::plain("127.0.0.2").await;
    let names = Arc::new(Stub::default());
    names.answer("two.test", &["127.0.0.3", "127.0.0.2"]);
    let guard = Guard::new(&["127.0.0.2/31".parse().unwrap()]).unwrap().with_names(names);
    let url = guard.check(&format!("http://two.test:{}/", server.addr.port())).unwrap();
    assert_eq!(guard.send(&url, get()).await.unwrap().body, b"reached");
}

#[tokio::test]
async fn the_system_knows_names_too() {
    let server = crate::net::stand_in::Server::plain("127.0.0.1").await;
    let allowed = ["127.0.0.0/8", "::1/128"].map(|range| range.parse().unwrap());
    let url = format!("http://localhost:{}/", server.addr.port());
    let open = Guard::new(&allowed).unwrap();
    assert_eq!(open.send(&open.check(&url).unwrap(), get()).await.unwrap().body, b"reached");
    let near = Guard::new(&["127.0.0.2/32".parse().unwrap()]).unwrap();
    assert_eq!(near.send(&near.check(&url).unwrap(), get()).await.unwrap_err(), Failure::NotSent);
    assert_eq!(server.connections().await, 1);
}
