//! The guard under attack: twelve families of URLs through every field that takes one, beside a canary that nobody may reach.

mod cases;

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    Guard,
    lookup::stub::Stub,
    stand_in::{Asked, Server, reply},
};
use crate::{
    file,
    secret::Redaction,
    tool::{
        Http, Method, Outcome,
        http::{Call, Found, call, lookup},
        mcp,
    },
};

/// The server that the operator allows; the canary is at 127.0.0.1.
const ALLOWED: &str = "127.0.0.2";

const METHODS: [Method; 6] = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];

/// A guard without allowed ranges, and one that allows a server near the canary.
fn guards(names: &Arc<Stub>) -> [Guard; 2] {
    let allowed = [format!("{ALLOWED}/32").parse().unwrap()];
    [&[][..], &allowed].map(|ranges| Guard::new(ranges).unwrap().with_names(Arc::clone(names)))
}

fn http(method: Method, url: &str) -> Http {
    Http { method, url: url.to_owned(), headers: BTreeMap::new(), lookup_url: Some(url.to_owned()) }
}

/// What goes with a call of which only the URL is of interest.
#[derive(Default)]
struct Plain {
    arguments: Map<String, Value>,
    headers: BTreeMap<String, SecretString>,
    secrets: Redaction,
}

impl Plain {
    fn call<'a>(&'a self, http: &'a Http) -> Call<'a> {
        let Self { arguments, headers, secrets } = self;
        Call { http, arguments, headers, secrets, idempotency_key: "key", timeout: Duration::from_secs(10) }
    }
}

async fn tool(guard: &Guard, method: Method, url: &str) -> Outcome {
    call(guard, &Plain::default().call(&http(method, url))).await
}

async fn tool_lookup(guard: &Guard, url: &str) -> Found {
    lookup(guard, &Plain::default().call(&http(Method::Post, url))).await
}

/// What is behind the URL of an attachment, if it can be had.
async fn attachment(guard: &Guard, url: &str) -> Result<super::Answer, String> {
    let guarded = guard.check(url).map_err(|refusal| refusal.to_string())?;
    file::fetch(guard, &guarded, 1 << 20, Duration::from_secs(10)).await
}

/// What the address of a webhook answers, if it is reached.
async fn webhook(guard: &Guard, url: &str) -> Result<StatusCode, String> {
    crate::webhook::post(guard, url, HeaderMap::new(), Bytes::new()).await.map(|(status, _)| status)
}

/// A server that sends whoever asks for `/<status>/<URL>` to that URL with that status.
async fn redirector() -> Server {
    Server::start(ALLOWED, |asked: &Asked| {
        let mut parts = asked.target.splitn(3, '/').skip(1);
        match (parts.next(), parts.next()) {
            (Some(status), Some(to)) if status.starts_with('3') => {
                let to = percent_decode_str(to).decode_utf8_lossy().replace(['\r', '\n', '\0'], "");
                reply(&format!("{status} Elsewhere"), &format!("location: {to}\r\n"), "")
            }
            _ => reply("404 Not Found", "", ""),
        }
    })
    .await
}

fn to(redirector: &Server, status: u16, url: &str) -> String {
    format!("http://{}/{status}/{}", redirector.addr, utf8_percent_encode(url, NON_ALPHANUMERIC))
}

/// Names that lead to the canary, all of them.
fn names() -> Arc<Stub> {
    let names = Stub::default();
    for name in cases::LOCAL_NAMES.iter().chain(&cases::METADATA_NAMES) {
        names.answer(&name.to_lowercase(), &["127.0.0.1"]);
    }
    names.answer("api.example.test", &["127.0.0.1"]);
    Arc::new(names)
}

/// Holds that nothing is sent to this URL, whatever takes it; gives how often it was tried.
async fn through_every_field(names: &Arc<Stub>, redirector: &Server, url: &str) -> usize {
    let guards = guards(names);
    for guard in &guards {
        let outcome = tool(guard, Method::Post, url).await;
        assert!(matches!(outcome, Outcome::NotSent { .. }), "{url}: {outcome:?}");
        assert_eq!(tool_lookup(guard, url).await, Found::Unknown, "{url}");
        assert!(mcp::listed(guard, url).await.is_err(), "{url}");
        assert!(attachment(guard, url).await.is_err(), "{url}");
        assert!(webhook(guard, url).await.is_err(), "{url}");
    }
    let [_, guard] = &guards;
    let outcome = tool(guard, Method::Get, &to(redirector, 302, url)).await;
    assert!(matches!(outcome, Outcome::Answered { failed: true, .. }), "redirect to {url}: {outcome:?}");
    let away = mcp::listed(guard, &to(redirector, 307, url)).await;
    assert_eq!(away, Err("the MCP server answered HTTP 307 Temporary Redirect".to_owned()), "redirect to {url}");
    assert!(attachment(guard, &to(redirector, 302, url)).await.is_err(), "redirect to {url}");
    // A redirect is what it answered: nobody follows it.
    let moved = webhook(guard, &to(redirector, 308, url)).await;
    assert_eq!(moved, Ok(StatusCode::PERMANENT_REDIRECT), "redirect to {url}");
    5 * guards.len() + 4
}

#[tokio::test]
async fn no_url_in_any_field_leads_to_the_canary() {
    let (canary, redirector, names) = (Server::plain("127.0.0.1").await, redirector().await, names());
    let mut total = 0;
    for family in cases::families(canary.addr.port()) {
        let mut tried = 0;
        for url in &family.urls {
            tried += through_every_field(&names, &redirector, url).await;
            assert_eq!(canary.asked().len(), 0, "{url}");
        }
        println!("{:24} {:4} URLs {tried:5} cases", family.name, family.urls.len());
        total += tried;
    }
    println!("{:24}           {total:5} cases, {} connections", "together", canary.connections().await);
    assert!(total >= 400);
    assert_eq!(canary.connections().await, 0);
    assert!(redirector.connections().await > 100);
}

#[tokio::test]
async fn no_redirect_leads_to_the_canary() {
    let (canary, redirector) = (Server::plain("127.0.0.1").await, redirector().await);
    let port = canary.addr.port();
    let names = names();
    let [_, guard] = guards(&names);
    for status in 300..=308 {
        for target in [
            format!("http://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("//127.0.0.1:{port}/"),
            format!("http://api.example.test:{port}/"),
            to(&redirector, status, &format!("http://localhost:{port}/")),
        ] {
            let url = to(&redirector, status, &target);
            let outcomes = METHODS.map(|method| tool(&guard, method, &url));
            let outcomes = futures_util::future::join_all(outcomes).await;
            let failed = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Answered { failed: true, .. }));
            assert!(failed, "{url}: {outcomes:?}");
            assert!(attachment(&guard, &url).await.is_err(), "{url}");
        }
    }
    assert_eq!(canary.connections().await, 0);
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_what_is_connected_to_is_what_was_judged() {
    let (canary, server) = (Server::plain("127.0.0.1").await, Server::plain(ALLOWED).await);
    for first in [ALLOWED, "127.0.0.1", "93.184.215.14"] {
        let names = Arc::new(Stub::default());
        names.answer("rebinding.test", &[first]);
        names.answer("rebinding.test", &["127.0.0.1"]);
        let [_, guard] = guards(&names);
        let port = if first == ALLOWED { server.addr.port() } else { canary.addr.port() };
        let outcome = tool(&guard, Method::Post, &format!("http://rebinding.test:{port}/")).await;
        assert_eq!(
            matches!(outcome, Outcome::Answered { failed: false, .. }),
            first == ALLOWED,
            "{first}: {outcome:?}"
        );
        assert_eq!(names.asked(), 1, "{first}");
        assert!(attachment(&guard, &format!("http://rebinding.test:{port}/")).await.is_err(), "{first}");
        for _ in 0..10 {
            let outcome = tool(&guard, Method::Get, &format!("http://rebinding.test:{port}/")).await;
            assert!(matches!(outcome, Outcome::NotSent { .. }), "{outcome:?}");
        }
    }
    assert_eq!((canary.connections().await, server.connections().await), (0, 1));
}

#[tokio::test]
async fn one_address_that_is_not_permitted_refuses_them_all() {
    let (canary, server) = (Server::plain("127.0.0.1").await, Server::plain(ALLOWED).await);
    let redirector = redirector().await;
    for inward in ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fd00:ec2::254", "0.0.0.0"] {
        for order in [[ALLOWED, inward], [inward, ALLOWED]] {
            let names = Arc::new(Stub::default());
            names.answer("several.test", &order);
            through_every_field(&names, &redirector, &format!("https://several.test:{}/", server.addr.port())).await;
            through_every_field(&names, &redirector, &format!("http://several.test:{}/", server.addr.port())).await;
            through_every_field(&names, &redirector, &format!("https://several.test:{}/", canary.addr.port())).await;
        }
    }
    assert_eq!((canary.connections().await, server.connections().await), (0, 0));
}

/// Run by the next test in an environment with proxies.
#[tokio::test]
async fn what_the_operator_allows_is_reached() {
    let server = Server::plain(ALLOWED).await;
    let names = Arc::new(Stub::default());
    names.answer("tools.internal", &[ALLOWED]);
    let [_, guard] = guards(&names);
    for host in [ALLOWED, "tools.internal"] {
        let outcome = tool(&guard, Method::Get, &format!("http://{host}:{}/", server.addr.port())).await;
        let reached = Outcome::Answered { content: "reached".to_owned(), failed: false, passing: false };
        assert_eq!(outcome, reached, "{host}");
    }
    assert_eq!(server.connections().await, 2);
}

#[tokio::test]
async fn the_proxies_of_the_environment_are_not_asked() {
    let canary = Server::plain("127.0.0.1").await;
    let proxy = format!("http://{}", canary.addr);
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "net::attacks::what_the_operator_allows_is_reached"]);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        test.env(name, &proxy).env(name.to_uppercase(), &proxy);
    }
    let output = tokio::task::spawn_blocking(move || test.output()).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    assert_eq!(canary.connections().await, 0);
}

/// Without it, a canary that nothing could reach would prove nothing.
#[tokio::test]
async fn the_canary_is_reached_when_it_is_allowed() {
    let canary = Server::plain("127.0.0.1").await;
    let names = names();
    let guard = Guard::new(&["127.0.0.0/8".parse().unwrap()]).unwrap().with_names(names);
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "api.example.test"] {
        let url = format!("http://{host}:{}/", canary.addr.port());
        assert!(matches!(tool(&guard, Method::Get, &url).await, Outcome::Answered { failed: false, .. }), "{url}");
        assert!(attachment(&guard, &url).await.is_ok(), "{url}");
    }
    assert_eq!(canary.connections().await, 10);
}

#[tokio::test]
async fn what_is_refused_reads_like_what_is_not_there() {
    let names = Arc::new(Stub::default());
    let closed = Server::plain(ALLOWED).await.addr.port();
    names.answer("inside.test", &["10.0.0.1"]);
    names.answer("closed.test", &[ALLOWED]);
    let [_, guard] = guards(&names);
    let inside = tool(&guard, Method::Post, &format!("https://inside.test:{closed}/")).await;
    let closed_port = tool(&guard, Method::Post, &format!("https://closed.test:{closed}/")).await;
    let unknown = tool(&guard, Method::Post, "https://unknown.test/").await;
    let message = "the address could not be reached".to_owned();
    assert_eq!(inside, Outcome::NotSent { message, passing: true });
    assert_eq!((&inside, &inside), (&closed_port, &unknown));
}
