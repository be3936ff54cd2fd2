//! Requests through the guard: each over a connection of its own, to an address that was judged after the one time it was looked
//! up. Nothing is kept between two requests, so no organisation speaks over another's connection, and none can have been closed
//! unseen: what did not connect was not sent.

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::select_ok;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use super::guard::{Guard, GuardedUrl};
use crate::error::Fault;

/// How long looking up, connecting and TLS may take together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an address may be silent before the next one is tried beside it.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// How many addresses of a name are tried.
const ADDRESSES_TRIED: usize = 4;
/// The most of headers that is read, in bytes.
const HEADER_LIMIT_BYTES: usize = 32 * 1024;
/// The most redirects that are followed.
const REDIRECT_LIMIT: usize = 3;

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct Sending {
    /// The method.
    pub method: Method,
    /// The headers, but for `Host` and those about the connection. Those from the caller are not sent to another origin.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether redirects are followed. Then the method is kept, and the body is not sent again.
    pub follow: bool,
    /// The most of the answer's body that is read, in bytes.
    pub body_limit_bytes: usize,
    /// How long everything may take.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as it was sent: nothing is decompressed.
    pub body: Vec<u8>,
    /// Whether there was more of it than was to be read.
    pub cut: bool,
}

/// What comes back piece by piece. The connection ends with it.
#[derive(Debug)]
pub struct Streamed {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Whether there is more of the body than was to be read.
    pub cut: bool,
    host: String,
    rest: Incoming,
    left_bytes: usize,
    deadline: Instant,
    _driver: JoinSet<hyper::Result<()>>,
}

impl Streamed {
    /// The next piece of the body, as it was sent; `None` at its end, and where it is cut.
    ///
    /// # Errors
    /// [`Failure::NoAnswer`] when the body ends too early, or does not come in time.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = timeout_at(self.deadline, self.rest.frame()).await.map_err(|late| self.broken(&late))? {
            let Ok(mut data) = frame.map_err(|error| self.broken(&error))?.into_data() else { continue };
            self.cut = data.len() > self.left_bytes;
            data.truncate(self.left_bytes);
            self.left_bytes = self.left_bytes.saturating_sub(data.len());
            return Ok(Some(data).filter(|data| !self.cut || !data.is_empty()));
        }
        Ok(None)
    }

    fn broken(&self, reason: &dyn std::error::Error) -> Failure {
        tracing::info!(host = self.host, %reason, "a user's URL did not answer to the end");
        Failure::NoAnswer
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent. The same for names that do not exist or lead where they may not, and for addresses where nobody answers.
    #[error("the address could not be reached")]
    NotSent,
    /// It was sent, and no answer came, or only a part of one.
    #[error("no complete answer came")]
    NoAnswer,
    /// The answer leads to another address, and that one may not be called, could not be reached, or leads on for too long.
    #[error("it redirects to an address that could not be reached")]
    Redirect,
}

impl Guard {
    /// Sends this, and reads what comes back.
    ///
    /// # Errors
    /// [`Failure`] when there is no whole answer.
    pub async fn send(&self, url: &GuardedUrl, sending: Sending) -> Result<Answer, Failure> {
        #[cfg(feature = "simulation")]
        if let Some(outside) = crate::simulation::outside() {
            return outside.http(url.as_str(), &sending).await;
        }
        let deadline = Instant::now() + sending.timeout;
        let mut answer = self.exchange(url, &sending, deadline).await?;
        let (mut at, mut sending) = (url.clone(), sending);
        for _ in 0..REDIRECT_LIMIT {
            let Some(next) = self.redirect(&at, &answer).filter(|_| sending.follow) else { return Ok(answer) };
            let next = next.ok_or(Failure::Redirect)?;
            if next.url.origin() != at.url.origin() {
                sending.headers.clear();
            }
            sending.body = Bytes::new();
            answer = self.exchange(&next, &sending, deadline).await.map_err(|failure| match failure {
                Failure::NotSent | Failure::Redirect => Failure::Redirect,
                Failure::NoAnswer => Failure::NoAnswer,
            })?;
            at = next;
        }
        if sending.follow && self.redirect(&at, &answer).is_some() { Err(Failure::Redirect) } else { Ok(answer) }
    }

    /// Where the answer leads, if it does; `Some(None)` is where nobody may go.
    fn redirect(&self, from: &GuardedUrl, answer: &Answer) -> Option<Option<GuardedUrl>> {
        if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = answer.headers.get(header::LOCATION)?;
        Some(location.to_str().ok().and_then(|to| self.check_redirect(from, to).ok()))
    }

    /// Sends this, and gives what comes back as it comes. Redirects are not followed.
    ///
    /// # Errors
    /// [`Failure`] when no answer begins.
    pub async fn stream(&self, url: &GuardedUrl, sending: &Sending) -> Result<Streamed, Failure> {
        self.open(url, sending, Instant::now() + sending.timeout).await
    }

    async fn exchange(&self, url: &GuardedUrl, sending: &Sending, deadline: Instant) -> Result<Answer, Failure> {
        let mut streamed = self.open(url, sending, deadline).await?;
        let mut body = Vec::new();
        while let Some(piece) = streamed.next().await? {
            body.extend_from_slice(&piece);
            if streamed.cut {
                break;
            }
        }
        let Streamed { status, headers, cut, .. } = streamed;
        Ok(Answer { status, headers, body, cut })
    }

    async fn open(&self, url: &GuardedUrl, sending: &Sending, deadline: Instant) -> Result<Streamed, Failure> {
        let connected_by = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let connected = timeout_at(connected_by, self.connect(url)).await;
        let request = request(&url.url, sending);
        let host = url.url.host_str().unwrap_or_default();
        let (stream, request) =
            connected.map_err(Fault::from).flatten().and_then(|stream| Ok((stream, request?))).map_err(|reason| {
                tracing::info!(host, %reason, "a user's URL was not reached");
                Failure::NotSent
            })?;
        let (answer, driver) =
            timeout_at(deadline, speak(stream, request)).await.map_err(Fault::from).flatten().map_err(|reason| {
                tracing::info!(host, %reason, "a user's URL did not answer");
                Failure::NoAnswer
            })?;
        let (parts, rest) = answer.into_parts();
        let (status, headers, left_bytes) = (parts.status, parts.headers, sending.body_limit_bytes);
        Ok(Streamed { status, headers, cut: false, host: host.to_owned(), rest, left_bytes, deadline, _driver: driver })
    }

    /// A connection to where this URL leads: nothing is sent before its other end is known to be permitted.
    async fn connect(&self, url: &GuardedUrl) -> Result<Box<dyn Stream>, Fault> {
        let addresses = self.addresses(url).await?;
        let tries = addresses.into_iter().take(ADDRESSES_TRIED).zip(0..).map(|(address, earlier)| {
            Box::pin(async move {
                sleep(NEXT_ADDRESS * earlier).await;
                TcpStream::connect(address).await
            })
        });
        let (stream, _) = select_ok(tries).await?;
        if !self.permits(stream.peer_addr()?.ip(), url.reach) {
            return Err("it connected elsewhere".into());
        }
        stream.set_nodelay(true)?;
        if url.url.scheme() == "http" {
            return Ok(Box::new(stream));
        }
        let stream = TlsConnector::from(self.tls.clone()).connect(server_name(&url.url)?, stream).await?;
        Ok(Box::new(stream))
    }

    /// All addresses that the URL leads to, at least one. One that is not permitted refuses them all.
    pub(super) async fn addresses(&self, url: &GuardedUrl) -> Result<Vec<SocketAddr>, Fault> {
        let port = url.url.port_or_known_default().ok_or("no port")?;
        let found = match url.url.host().ok_or("no host")? {
            Host::Domain(name) => self.lookup.addresses(self.of, name).await?,
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
        };
        match found.iter().find(|address| !self.permits(**address, url.reach)) {
            Some(address) => Err(format!("{address} is not permitted").into()),
            None if found.is_empty() => Err("no address".into()),
            None => Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect()),
        }
    }
}

/// What a connection is read from and written to: TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The name that the certificate must have.
fn server_name(url: &Url) -> Result<ServerName<'static>, Fault> {
    Ok(match url.host().ok_or("no host")? {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())?,
        Host::Ipv4(address) => ServerName::IpAddress(std::net::IpAddr::from(address).into()),
        Host::Ipv6(address) => ServerName::IpAddress(std::net::IpAddr::from(address).into()),
    })
}

fn request(url: &Url, sending: &Sending) -> Result<Request<Full<Bytes>>, Fault> {
    let mut request = Request::new(Full::new(sending.body.clone()));
    *request.method_mut() = sending.method.clone();
    *request.uri_mut() = Uri::try_from(&url[Position::BeforePath..Position::AfterQuery])?;
    *request.headers_mut() = sending.headers.clone();
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])?);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
        .entry(header::USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!("muster/", env!("CARGO_PKG_VERSION"))));
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    Ok(request)
}

/// One request over this connection, and the beginning of its answer; the rest comes for as long as the driver is kept.
async fn speak(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, JoinSet<hyper::Result<()>>), Fault> {
    let (mut sender, connection) =
        http1::Builder::new().max_header_size(HEADER_LIMIT_BYTES).handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok((sender.send_request(request).await?, driver))
}
