//! Ten thousand requests that no honest client sends, to every call of every surface: none is a 5xx, nothing panics, and memory comes
//! back. They are made from the OpenAPI document, with wrong values in it at random, and from bytes. `MUSTER_TEST_SEED` repeats a run
//! of them, and `MUSTER_TEST_LONG=1` sends all.

mod requests;
mod values;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use self::requests::{Calls, Sent, Things};
use crate::{by_form, random::Random, served::Served};

/// How many requests are under way at a time.
const AT_ONCE: usize = 8;
/// So many are sent before there are new things to ask about: by then some may have been deleted.
const ROUND: usize = 100;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long all but one in a hundred answers may take, in the long form.
const P99_LIMIT: Duration = Duration::from_millis(100);
/// The most that memory may grow, in bytes: bodies of 11 MB are read side by side, and an allocator is late to give back their memory.
const GROWTH_LIMIT: u64 = 64 << 20;

/// What came of a request.
struct Outcome {
    sent: Sent,
    /// The status and the whole answer; nothing when the connection was closed instead.
    answer: Option<(u16, String)>,
    took: Duration,
}

async fn exchange(address: SocketAddr, sent: Sent) -> Outcome {
    let begun = Instant::now();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = connection.split();
    let mut answer = Vec::new();
    let write = async {
        // Who is refused before all is written cannot write the rest.
        let _ = to.write_all(&sent.bytes).await;
        if sent.broken {
            let _ = to.shutdown().await;
        }
    };
    let read = async { drop(from.read_to_end(&mut answer).await) };
    let ended = timeout(PATIENCE, async { tokio::join!(write, read) }).await;
    let text = String::from_utf8_lossy(&answer);
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text).to_owned();
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let answer = status.filter(|_| ended.is_ok()).map(|status| (status, text));
    Outcome { sent, answer, took: begun.elapsed() }
}

impl Outcome {
    /// What is wrong with it, if anything is.
    fn fault(&self) -> Option<String> {
        let fault = match &self.answer {
            // What is no request at all may be answered by hanging up.
            None if self.sent.broken => return None,
            None => "no answer".to_owned(),
            // That a run ended badly is what Cotool's calls answer with 500.
            Some((500, text)) if text.contains("ended badly") => return None,
            Some((status, text)) if *status >= 500 => format!("{status}: {text}"),
            Some(_) => return None,
        };
        let bytes = self.sent.bytes.get(..500).unwrap_or(&self.sent.bytes);
        Some(format!("{fault}\n  after {}", String::from_utf8_lossy(bytes).escape_debug()))
    }
}

/// New things to ask about.
async fn things(served: &Served) -> Things {
    // Budgets that were set by chance would let no run go on.
    served.client.send("PUT", "/v1/budgets", "", "{}".to_owned()).await.unwrap();
    let made = async |path: &str, body: Value| {
        let (status, made) = served.client.send("POST", path, "", body.to_string()).await.unwrap();
        assert!(status < 300, "{path}: {status} {made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let agent = served.client.agent("demo/scripted-l0").await;
    let run = made(&format!("/v1/agents/{agent}/runs"), json!({"message": "hello"})).await;
    let items = json!({"items": [{"message": "hello"}]});
    let batch = made(&format!("/v1/agents/{agent}/batches"), items).await;
    let file = made("/v1/files", json!({"name": "a", "media_type": "text/plain", "data": "aGVsbG8="})).await;
    let key = made("/v1/keys", json!({})).await;
    let case = json!({"message": "hello", "validations": [{"exact": {"expected": "x"}}]});
    let test_set = made("/v1/test_sets", json!({"name": "a", "items": [case]})).await;
    let evaluation = json!({"configurations": [{"agent_id": agent}]});
    let evaluation = made(&format!("/v1/test_sets/{test_set}/evaluations"), evaluation).await;
    // It may be there already.
    let provider = json!({"name": "Acme", "type": "mistral", "id": requests::PROVIDER, "api_key": "none"}).to_string();
    served.client.send("POST", "/api/v1/providers", "", provider).await.unwrap();
    let schedule = json!({"agent_id": agent, "name": "s", "schedule": "rate(1 day)", "message": "hello"});
    let schedule = made("/v1/schedules", schedule).await;
    let trigger = json!({"agent_id": agent, "name": "t", "source": "token", "message": "{{ body }}"});
    let trigger = made("/v1/triggers", trigger).await;
    // There may be only so many of them.
    for webhook in served.client.get("/v1/webhooks").await.unwrap()["data"].as_array().unwrap() {
        let path = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
        served.client.send("DELETE", &path, "", String::new()).await.unwrap();
    }
    let webhook = json!({"url": "https://hooks.example.com/", "events": ["schedule.failed"]});
    let webhook = made("/v1/webhooks", webhook).await;
    Things { agent, run, batch, file, key, test_set, evaluation, schedule, trigger, webhook }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_and_do_no_harm() {
    let count = by_form(1_500, 10_000);
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let calls = Arc::new(Calls::of(served.client.get("/openapi.json").await.unwrap(), served.client.key()));
    let (mut took, mut faults, mut by_status, mut before) = (Vec::new(), Vec::new(), [0_usize; 6], 0);
    for round in 0..count / ROUND {
        let things = things(&served).await;
        let round_of: Vec<Sent> = (0..ROUND).map(|_| calls.request(&mut random, &things)).collect();
        let address = served.address();
        let exchanges = stream::iter(round_of).map(|sent| exchange(address, sent)).buffer_unordered(AT_ONCE);
        for outcome in exchanges.collect::<Vec<_>>().await {
            // What a provider made of it is no fault of ours: some requests are whole, and name providers that others have just made.
            faults.extend(outcome.fault().filter(|fault| !fault.contains("UPSTREAM_ERROR")));
            by_status[outcome.answer.map_or(0, |(status, _)| usize::from(status / 100).min(5))] += 1;
            took.push(outcome.took);
        }
        // What a process has when it has done some of everything is what it needs.
        if round == 4 {
            before = served.memory_bytes();
        }
    }
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let growth = served.memory_bytes().saturating_sub(before);
    println!("| requests | 2xx | 4xx | closed | p50 | p99 | memory grew by |");
    let [closed, _, well, _, refused, _] = by_status;
    println!("| {} | {well} | {refused} | {closed} | {p50:.1?} | {p99:.1?} | {} KB |", took.len(), growth >> 10);
    assert!(faults.is_empty(), "{} faults, among them {}", faults.len(), faults[..faults.len().min(5)].join("\n"));
    let log = served.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(growth < GROWTH_LIMIT, "memory grew by {growth} bytes");
    assert!(by_form(true, p99 < P99_LIMIT), "p99 is {p99:?}");
    // And it goes on with its work.
    served.ready().await;
    let path = format!("/v1/agents/{}/runs?wait=20", things(&served).await.agent);
    let (status, run) = served.client.send("POST", &path, "", json!({"message": "hello"}).to_string()).await.unwrap();
    assert_eq!((status, &run["status"]), (200, &json!("done")), "{run}");
}
