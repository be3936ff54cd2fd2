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
use crate::error::Fault;

/// The longest URL, in bytes.
pub const URL_LIMIT_BYTES: usize = 8_192;

/// Names, and all below them, that mean this machine or this network wherever they are looked up. What has no dot means no less.
const INWARD_NAMES: [&str; 4] = ["localhost", "local", "internal", "localdomain"];

/// Judges the URLs that users name, and calls them. Cheap to clone; one in a process.
#[derive(Debug, Clone)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    pub(super) lookup: Lookup,
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
        Ok(Self { allowed: allowed.into(), lookup: Lookup::system(), tls: Arc::new(super::tls()?) })
    }

    /// The same, with a test's answers for names.
    #[cfg(test)]
    pub(crate) fn with_names(self, stub: Arc<super::lookup::stub::Stub>) -> Self {
        Self { lookup: Lookup::Stub(stub), ..self }
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
