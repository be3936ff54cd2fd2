//! Calls to servers that answer in every way, and what is known of each call afterwards.

use std::sync::Arc;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Instant, sleep},
};

use super::*;
use crate::net::stand_in::{Server, reply};

const HERE: &str = "127.0.0.2";
const THERE: &str = "127.0.0.3";

fn guard() -> Guard {
    Guard::new(&["127.0.0.2/31".parse().unwrap()]).unwrap()
}

/// A call with a path argument, a secret and a lookup, of a tool at this URL.
struct Tool {
    http: Http,
    arguments: Map<String, Value>,
    headers: BTreeMap<String, SecretString>,
    secrets: Redaction,
    timeout: Duration,
}

impl Tool {
    fn at(method: Method, url: &str) -> Self {
        Self {
            http: Http { method, url: url.to_owned(), headers: BTreeMap::new(), lookup_url: None },
            arguments: json!({"id": "a/b", "n": 7, "tags": ["x", "y z"]}).as_object().unwrap().clone(),
            headers: BTreeMap::from([("X-Api-Key".to_owned(), SecretString::from("the secret"))]),
            secrets: Redaction::default(),
            timeout: Duration::from_secs(5),
        }
    }

    fn as_call(&self) -> Call<'_> {
        let (http, arguments, headers, secrets) = (&self.http, &self.arguments, &self.headers, &self.secrets);
        Call { http, arguments, headers, secrets, idempotency_key: "key-1", timeout: self.timeout }
    }

    async fn call(&self) -> Outcome {
        call(&guard(), &self.as_call()).await
    }
}

fn said(content: &str) -> Outcome {
    Outcome::Answered { content: content.to_owned(), failed: false, passing: false }
}

fn unclear(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unclear { .. })
}

#[tokio::test]
async fn arguments_go_into_the_path_then_the_query_or_the_body() {
    let server = Server::start(HERE, |asked| reply("200 OK", "content-type: application/json\r\n", &asked.body)).await;
    let url = format!("http://{}/v1/{{id}}?fixed=1", server.addr);
    for method in [Method::Post, Method::Put, Method::Patch] {
        assert_eq!(Tool::at(method, &url).call().await, said(r#"{"n":7,"tags":["x","y z"]}"#));
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.target, "/v1/a%2Fb?fixed=1");
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!(asked.header("idempotency-key"), Some("key-1"));
        assert_eq!(asked.header("x-api-key"), Some("the secret"));
        assert_eq!(asked.header("host"), Some(server.addr.to_string().as_str()));
        assert_eq!(asked.header("accept-encoding"), Some("identity"));
    }
    for method in [Method::Get, Method::Head, Method::Delete] {
        assert_eq!(Tool::at(method, &url).call().await, said("HTTP 200, without content"));
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.target, "/v1/a%2Fb?fixed=1&n=7&tags=x&tags=y%20z");
        assert_eq!(asked.header("idempotency-key").is_some(), method == Method::Delete);
        assert_eq!((asked.header("content-type"), asked.body.as_str()), (None, ""));
    }
    let methods: Vec<String> = server.asked().into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["POST", "PUT", "PATCH", "GET", "HEAD", "DELETE"]);
}

#[tokio::test]
async fn a_tool_may_name_the_key_and_the_content_type_itself() {
    let server = Server::plain(HERE).await;
    let mut tool = Tool::at(Method::Post, &format!("http://{}/{{id}}", server.addr));
    tool.headers.insert("Idempotency-Key".to_owned(), "mine".into());
    tool.headers.insert("Content-Type".to_owned(), "application/vnd.api+json".into());
    assert_eq!(tool.call().await, said("reached"));
    let asked = server.asked().pop().unwrap();
    assert_eq!(asked.header("idempotency-key"), Some("mine"));
    assert_eq!(asked.header("content-type"), Some("application/vnd.api+json"));
}

#[tokio::test]
async fn a_status_from_400_is_a_failure_some_pass_and_some_are_a_gateways() {
    for (status, passing) in [
        (400, Some(false)),
        (401, Some(false)),
        (404, Some(false)),
        (408, None),
        (409, Some(false)),
        (429, Some(true)),
        (500, Some(true)),
        (501, Some(true)),
        (503, None),
    ] {
        let server = Server::start(HERE, move |_| reply(&format!("{status} No"), "", "why")).await;
        let outcome = Tool::at(Method::Post, &format!("http://{}/", server.addr)).call().await;
        let content = format!("HTTP {status}\nwhy");
        let expected = match passing {
            Some(passing) => Outcome::Answered { content, failed: true, passing },
            None => Outcome::Gateway { content },
        };
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn redirects_are_followed_where_nothing_changes_and_secrets_stay_at_home() {
    let there = Server::plain(THERE).await;
    let to = format!("http://{}/final", there.addr);
    let here = Server::start(HERE, move |asked| match asked.target.split('?').next() {
        Some("/away") => reply("307 Away", &format!("location: {to}\r\n"), ""),
        Some("/within") => reply("302 Within", "location: away?x=1\r\n", ""),
        Some("/loop") => reply("301 Loop", "location: /loop\r\n", ""),
        Some("/nowhere") => reply("302 Nowhere", "", ""),
        _ => reply("304 Not Modified", "", ""),
    })
    .await;
    let at = |method, path: &str| Tool::at(method, &format!("http://{}{path}", here.addr));
    assert_eq!(at(Method::Get, "/within").call().await, said("reached"));
    let keys: Vec<bool> = here.asked().iter().map(|asked| asked.header("x-api-key").is_some()).collect();
    assert_eq!(keys, [true, true]);
    let asked = there.asked().pop().unwrap();
    assert_eq!((asked.target.as_str(), asked.header("x-api-key")), ("/final", None));

    let too_long = at(Method::Get, "/loop").call().await;
    assert!(matches!(&too_long, Outcome::Answered { failed: true, passing: false, .. }), "{too_long:?}");
    assert_eq!(here.asked().len(), 2 + 4);
    for (method, path) in
        [(Method::Post, "/away"), (Method::Delete, "/within"), (Method::Get, "/nowhere"), (Method::Get, "/same")]
    {
        let outcome = at(method, path).call().await;
        let Outcome::Answered { content, failed: true, passing: false } = outcome else {
            panic!("{path}: {outcome:?}")
        };
        assert!(content.ends_with(": a redirect, which was not followed") && !content.contains("127."), "{content}");
    }
    assert_eq!(there.asked().len(), 1);
}

#[tokio::test]
async fn what_did_not_connect_was_not_sent() {
    let server = Server::plain(HERE).await;
    let closed = TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap();
    let mut not_tls = Tool::at(Method::Post, &format!("https://{}/", server.addr));
    not_tls.timeout = Duration::from_millis(200);
    let not_tls = not_tls.call().await;
    let nobody = Tool::at(Method::Post, &format!("http://{closed}/")).call().await;
    let message = "the address could not be reached".to_owned();
    assert_eq!((&not_tls, &nobody), (&nobody, &Outcome::NotSent { message, passing: true }));

    let refused = Tool::at(Method::Post, "http://127.0.0.9/").call().await;
    assert!(matches!(refused, Outcome::NotSent { passing: false, .. }), "{refused:?}");
    let mut unfit = Tool::at(Method::Post, &format!("http://{}/{{id}}", server.addr));
    unfit.arguments.insert("id".to_owned(), "..".into());
    assert!(matches!(unfit.call().await, Outcome::NotSent { passing: false, .. }));
    unfit.arguments.insert("id".to_owned(), "x".into());
    unfit.headers.insert("X-Bad".to_owned(), "two\r\nlines".into());
    let Outcome::NotSent { message, passing: false } = unfit.call().await else { panic!() };
    assert_eq!(message, "the tool's header 'X-Bad' has a value that cannot be sent");
    assert!(server.asked().is_empty());
}

/// A server whose TLS handshake never ends took nothing of the request.
#[tokio::test]
async fn a_timeout_before_the_request_went_out_is_not_unclear() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let mut tool = Tool::at(Method::Post, &format!("https://{}/", listener.local_addr().unwrap()));
    tool.timeout = Duration::from_millis(200);
    let outcome = tool.call().await;
    assert!(matches!(outcome, Outcome::NotSent { passing: true, .. }), "{outcome:?}");
}

#[tokio::test]
async fn what_was_sent_and_not_wholly_answered_is_unclear() {
    let header = "x".repeat(40_000);
    let answers = [
        Vec::new(),
        b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        format!("HTTP/1.1 200 OK\r\nx: {header}\r\ncontent-length: 0\r\n\r\n").into_bytes(),
    ];
    for answer in answers {
        let bytes = answer.clone();
        let server = Server::start(HERE, move |_| bytes.clone()).await;
        let outcome = Tool::at(Method::Post, &format!("http://{}/", server.addr)).call().await;
        assert!(unclear(&outcome), "{:?}: {outcome:?}", String::from_utf8_lossy(&answer));
        assert_eq!(server.connections().await, 1);
    }
}

/// Reads the request, says this, and then nothing more, or the same for ever.
async fn tireless(says: &'static [u8], again: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await;
        let _ = stream.write_all(says).await;
        while !again.is_empty() && stream.write_all(again).await.is_ok() {}
        sleep(Duration::from_secs(5)).await;
    });
    addr
}

#[tokio::test]
async fn a_tool_that_is_silent_or_talks_for_ever_ends_in_time() {
    for says in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhalf"] {
        let mut tool = Tool::at(Method::Post, &format!("http://{}/", tireless(says, b"").await));
        tool.timeout = Duration::from_millis(200);
        let began = Instant::now();
        assert!(unclear(&tool.call().await));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    let endless = tireless(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n", &[b'x'; 4_096]).await;
    let outcome = Tool::at(Method::Get, &format!("http://{endless}/")).call().await;
    let Outcome::Answered { content, failed: false, .. } = outcome else { panic!("{outcome:?}") };
    assert!(content.len() == ANSWER_LIMIT_BYTES && content.ends_with("the answer is too long.]"));
}

#[tokio::test]
async fn a_lookup_says_whether_a_call_took_place() {
    let server = Server::start(HERE, |asked| match asked.target.as_str() {
        "/calls/key-1?of=a%2Fb" => reply("200 OK", "", "order 7"),
        "/410" => reply("410 Gone", "", ""),
        "/500" => reply("500 Broken", "", ""),
        "/302" => reply("302 Elsewhere", "location: http://127.0.0.9/\r\n", ""),
        _ => reply("404 Not Found", "", ""),
    })
    .await;
    let mut tool = Tool::at(Method::Post, &format!("http://{}/", server.addr));
    let took_place = Found::TookPlace { content: "order 7".to_owned() };
    for (path, expected) in [
        ("/calls/{idempotency_key}?of={id}", took_place),
        ("/404", Found::DidNot),
        ("/410", Found::DidNot),
        ("/500", Found::Unknown),
        ("/302", Found::Unknown),
    ] {
        tool.http.lookup_url = Some(format!("http://{}{path}", server.addr));
        assert_eq!(lookup(&guard(), &tool.as_call()).await, expected, "{path}");
        let asked = server.asked().pop().unwrap();
        assert_eq!((asked.method.as_str(), asked.header("x-api-key")), ("GET", Some("the secret")));
    }
    tool.http.lookup_url = Some("http://127.0.0.9/".to_owned());
    assert_eq!(lookup(&guard(), &tool.as_call()).await, Found::Unknown);
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() {
    let server = Server::start(HERE, |asked| reply("200 OK", "", &asked.body)).await;
    let guard = Arc::new(guard());
    let calls = (0..200).map(|n| {
        let (guard, url) = (Arc::clone(&guard), format!("http://{}/", server.addr));
        tokio::spawn(async move {
            let mut tool = Tool::at(Method::Post, &url);
            tool.arguments = json!({ "n": n }).as_object().unwrap().clone();
            (n, call(&guard, &tool.as_call()).await)
        })
    });
    for answered in futures_util::future::join_all(calls).await {
        let (n, outcome) = answered.unwrap();
        assert_eq!(outcome, said(&format!("{{\"n\":{n}}}")));
    }
}
