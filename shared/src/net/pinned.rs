//! Clients that reach one user's URL and nothing else, for crates that speak HTTP through a client of their own.

use std::{future::ready, net::SocketAddr};

use reqwest::{
    ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tokio::time::timeout;

use super::{Failure, Guard, GuardedUrl, send::CONNECT_TIMEOUT};
use crate::error::Fault;

/// Whatever name is asked for, these are its addresses.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(ready(Ok(addresses)))
    }
}

impl Guard {
    /// A client, but for its timeouts, for this URL and what is below it. The addresses of its host are looked up and judged now, and it
    /// knows no others: it looks no name up, follows no redirect, asks no proxy, and keeps no connection for a next request.
    ///
    /// # Errors
    /// [`Failure::NotSent`] when one of the addresses may not be reached, or there is none.
    pub(crate) async fn client(&self, url: &GuardedUrl) -> Result<ClientBuilder, Failure> {
        let found = timeout(CONNECT_TIMEOUT, self.addresses(url)).await.map_err(Fault::from).flatten();
        let addresses = found.map_err(|reason| {
            let host = url.url.host_str().unwrap_or_default();
            tracing::info!(host, %reason, "a user's URL was not reached");
            Failure::NotSent
        })?;
        let client = super::client((*self.tls).clone());
        Ok(client.no_proxy().dns_resolver(Pinned(addresses)).pool_max_idle_per_host(0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::net::lookup::stub::Stub;

    /// A guard that lets URLs lead to 127.0.0.1 besides public addresses, with a name server of the test's.
    fn guard() -> (Guard, Arc<Stub>) {
        let names = Arc::new(Stub::default());
        (Guard::new(&["127.0.0.1/32".parse().unwrap()]).unwrap().with_names(Arc::clone(&names)), names)
    }

    #[tokio::test]
    async fn a_name_that_leads_inward_has_no_client() {
        let (guard, names) = guard();
        names.answer("inward.example.com", &["10.0.0.1"]);
        names.answer("both.example.com", &["1.1.1.1", "169.254.169.254"]);
        names.answer("none.example.com", &[]);
        for name in ["inward.example.com", "both.example.com", "none.example.com", "unknown.example.com"] {
            let url = guard.check(&format!("https://{name}/v1/")).unwrap();
            assert_eq!(guard.client(&url).await.unwrap_err(), Failure::NotSent, "{name}");
        }
    }

    /// Answers each connection that what is asked for is elsewhere.
    async fn sends_elsewhere(listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn a_client_goes_where_was_judged_and_looks_nothing_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(sends_elsewhere(listener));
        let (guard, names) = guard();
        names.answer("api.example.com", &["127.0.0.1"]);
        names.answer("api.example.com", &["10.0.0.1"]);
        let url = guard.check(&format!("http://api.example.com:{port}/")).unwrap();
        let client = guard.client(&url).await.unwrap().build().unwrap();
        for host in ["api.example.com", "API.example.com.", "other.example.com"] {
            let answer = client.get(format!("http://{host}:{port}/")).send().await.unwrap();
            assert_eq!(answer.status(), 302, "a redirect is not followed");
        }
        assert_eq!(names.asked(), 1);
        let again = guard.client(&url).await;
        assert_eq!(again.unwrap_err(), Failure::NotSent, "what the name leads to now is judged anew");
        serving.abort();
    }
}
