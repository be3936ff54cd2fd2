//! The network guard: which of the URLs that users name may be called. A user's URL leads to public addresses by https, and
//! beyond that only where the operator's `MUSTER_ALLOW_CIDRS` says.
//!
//! Knows no environment, no proxy and no redirect that it did not check. What it refuses and what it cannot reach look the same
//! from outside, but for what the URL itself shows: nobody can look around in a network through it.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use rustls::ClientConfig;
use url::{Host, Url};

use super::{lookup::Lookup, table};
use crate::{error::Fault, id::OrgId};

/// The longest URL, in bytes.
pub const URL_LIMIT_BYTES: usize = 8_192;

/// Names, and all below them, that mean this machine or this network wherever they are looked up. What has no dot means no less.
const INWARD_NAMES: [&str; 4] = ["localhost", "local", "internal", "localdomain"];

/// Judges the URLs that users name, and calls them. Cheap to clone; one in a process.
#[derive(Debug, Clone)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    pub(super) lookup: Lookup,
    /// Whose names it looks up.
    pub(super) of: Option<OrgId>,
    pub(super) tls: Arc<ClientConfig>,
}

/// A URL that may be called, as far as it shows; the addresses behind a name are judged when it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedUrl {
    pub(super) url: Url,
    pub(super) reach: Reach,
}

/// Where a URL may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To public addresses, and those that the operator allows.
    Outward,
    /// Only to those that the operator allows: plain http, unusual ports, names that point inward.
    Allowed,
}

/// What is wrong with a URL. `Display` is for whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read, or readers differ on what it means.
    #[error("must be a URL such as https://api.example.com/path")]
    Malformed,
    /// It is longer than [`URL_LIMIT_BYTES`].
    #[error("must be at most {URL_LIMIT_BYTES} bytes long")]
    TooLong,
    /// Neither https, nor http to where the operator allows it.
    #[error("must begin with https:// (http:// only to addresses that the operator of this deployment allows)")]
    Scheme,
    /// There is a user name or a password in it.
    #[error("must not contain a user name or a password; headers can")]
    Credentials,
    /// Its port is neither 80, 443 nor above 1024.
    #[error("must have port 443, 80 or one above 1024")]
    Port,
    /// Its host means this machine, this network, or an address that is not public.
    #[error("must lead to a public address")]
    Host,
}

impl GuardedUrl {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

impl Guard {
    /// A guard that lets URLs lead to public addresses and into these ranges.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(allowed: &[IpNet]) -> Result<Self, Fault> {
        Ok(Self { allowed: allowed.into(), lookup: Lookup::system(), of: None, tls: Arc::new(super::tls()?) })
    }

    /// The same, for URLs that this organisation names: it has a share of what all have together.
    #[must_use]
    pub fn of(&self, org: OrgId) -> Self {
        Self { of: Some(org), ..self.clone() }
    }

    /// The same, with a test's answers for names.
    #[cfg(test)]
    pub(crate) fn with_names(self, stub: Arc<super::lookup::stub::Stub>) -> Self {
        Self { lookup: self.lookup.clone().stubbed(stub), ..self }
    }

    /// The same, trusting a test's certificates alone.
    #[cfg(test)]
    pub(super) fn with_roots(self, roots: rustls::RootCertStore) -> Self {
        Self { tls: Arc::new(super::tls_that_trusts(Arc::new(roots)).unwrap()), ..self }
    }

    /// The URL, if nothing that it shows is refused.
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong with it.
    pub fn check(&self, text: &str) -> Result<GuardedUrl, Refusal> {
        if text.len() > URL_LIMIT_BYTES {
            return Err(Refusal::TooLong);
        }
        let url = parse(text)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        match self.inward(&url)? {
            None => Ok(GuardedUrl { url, reach: Reach::Outward }),
            Some(refusal) => self.among_allowed(url, refusal),
        }
    }

    /// The URL that an answer from this one leads to, if nothing that it shows is refused.
    pub(super) fn check_redirect(&self, from: &GuardedUrl, to: &str) -> Result<GuardedUrl, Refusal> {
        let before_path = to.split(['/', '?', '#']).next().unwrap_or_default();
        if to.contains(is_odd) {
            Err(Refusal::Malformed)
        } else if to.starts_with("//") {
            self.check(&format!("{}:{to}", from.url.scheme()))
        } else if before_path.contains(':') {
            self.check(to)
        } else {
            self.check(from.url.join(to).map_err(|_| Refusal::Malformed)?.as_str())
        }
    }

    /// Why it may lead into the operator's ranges only, if it may.
    fn inward(&self, url: &Url) -> Result<Option<Refusal>, Refusal> {
        let port = url.port_or_known_default().filter(|port| *port > 0).ok_or(Refusal::Port)?;
        let refusal = match url.host().ok_or(Refusal::Malformed)? {
            _ if url.scheme() != "https" => Some(Refusal::Scheme),
            _ if !matches!(port, 80 | 443 | 1025..) => Some(Refusal::Port),
            Host::Domain(name) if points_inward(name) => Some(Refusal::Host),
            Host::Domain(_) => None,
            Host::Ipv4(address) => (!self.permits(address.into(), Reach::Outward)).then_some(Refusal::Host),
            Host::Ipv6(address) => (!self.permits(address.into(), Reach::Outward)).then_some(Refusal::Host),
        };
        Ok(refusal)
    }

    fn among_allowed(&self, url: Url, refusal: Refusal) -> Result<GuardedUrl, Refusal> {
        let may = match url.host() {
            Some(Host::Domain(_)) => !self.allowed.is_empty(),
            Some(Host::Ipv4(address)) => self.permits(address.into(), Reach::Allowed),
            Some(Host::Ipv6(address)) => self.permits(address.into(), Reach::Allowed),
            None => false,
        };
        if may { Ok(GuardedUrl { url, reach: Reach::Allowed }) } else { Err(refusal) }
    }

    /// Whether a URL of this reach may lead to this address.
    pub(super) fn permits(&self, address: IpAddr, reach: Reach) -> bool {
        let allowed = self.allowed.iter().any(|range| range.contains(&address));
        allowed || (reach == Reach::Outward && table::is_public(address))
    }
}

/// Reads a URL, and refuses what parsers are known to differ on: backslashes, blanks, control characters, missing slashes, hosts
/// that are not plain ASCII. The last also because the parser, without Unicode's tables, asserts what such hosts can break.
fn parse(text: &str) -> Result<Url, Refusal> {
    let (scheme, rest) = text.split_once("://").ok_or(Refusal::Malformed)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if text.contains(is_odd) || authority.is_empty() || !authority.is_ascii() || authority.contains('%') {
        return Err(Refusal::Malformed);
    }
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(Refusal::Scheme);
    }
    let mut url = Url::parse(text).map_err(|_| Refusal::Malformed)?;
    url.set_fragment(None);
    Ok(url)
}

fn is_odd(character: char) -> bool {
    character == '\\' || character.is_whitespace() || character.is_control()
}

fn points_inward(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or(name);
    !name.contains('.') || INWARD_NAMES.iter().any(|inward| last.eq_ignore_ascii_case(inward))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One without allowed ranges, and one with.
    fn guards() -> [Guard; 2] {
        let allowed = ["127.0.0.2/32".parse().unwrap()];
        [&[][..], &allowed].map(|ranges| Guard::new(ranges).unwrap())
    }

    #[test]
    fn public_urls_pass() {
        let hosts = [
            "example.com",
            "api.example.com.",
            "xn--bcher-kva.example",
            "1.1.1.1",
            "8.8.8.8",
            "134744072",
            "0x08080808",
            "localhost.example.com",
            "internal.example.com",
            "169.254.169.254.example.com",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "223.255.255.255",
            "[2606:4700:4700::1111]",
            "[2a00:1450:4001:81b::200e]",
            "[2001:200::1]",
        ];
        let rests = [
            "/",
            ":443/v1/orders?id=7&x=%2F",
            ":8443/a/../b",
            "?redirect=http://127.0.0.1/",
            ":80/",
            "/@user",
            ":65535/#top",
        ];
        let urls = hosts.iter().flat_map(|host| rests.iter().map(move |rest| format!("https://{host}{rest}")));
        let urls: Vec<String> = urls.collect();
        let [closed, open] = guards();
        for url in &urls {
            assert!(closed.check(url).is_ok() && open.check(url).is_ok(), "{url}: {:?}", open.check(url));
        }
        let passed = urls.len();
        println!("{passed} public URLs pass");
        assert!(passed >= 50);
    }

    #[test]
    fn ports_are_those_of_https_or_high_ones_unless_the_operator_allows_the_address() {
        let [closed, open] = guards();
        for port in [1, 22, 25, 81, 442, 444, 1023, 1024] {
            assert!(closed.check(&format!("https://example.com:{port}/")).is_err(), "{port}");
            assert!(open.check(&format!("https://1.1.1.1:{port}/")).is_err(), "{port}");
            assert!(open.check(&format!("http://127.0.0.2:{port}/")).is_ok(), "{port}");
        }
        assert!(open.check("https://127.0.0.2:0/").is_err());
        assert!(open.check("http://1.1.1.1/").is_err());
        assert!(open.check("http://127.0.0.3/").is_err());
        assert!(open.check(&format!("https://example.com/{}", "x".repeat(8_192))).is_err());
    }

    proptest! {
        #[test]
        fn what_passes_is_what_the_table_says(bits: u32, wide: u128, port: u16) {
            let [closed, _] = guards();
            for address in [IpAddr::V4(bits.into()), IpAddr::V6(wide.into()), IpAddr::V6((wide >> 3 | 1 << 125).into())] {
                let url = format!("https://{}/", std::net::SocketAddr::new(address, port));
                let may = table::is_public(address) && matches!(port, 80 | 443 | 1025..);
                prop_assert_eq!(closed.check(&url).is_ok(), may, "{}", url);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String, host in "(xn--)?[a-zA-Z0-9.%:@\\[\\]-]{0,30}", tail: String) {
            for guard in guards() {
                let from = guard.check("https://example.test/a/b").unwrap();
                for text in [&text, &host, &format!("https://{text}/{tail}"), &format!("https://{host}/{tail}"), &format!("//{text}")] {
                    let _ = guard.check(text);
                    let _ = guard.check_redirect(&from, text);
                }
            }
        }
    }
}
