//! The process dies or stands still at each named point of the run protocol, under each policy of the tool that the run calls: the table
//! of reliability.md 2.1.3. A process that stands still for longer than its lease is as one that died; and when it goes on, nothing of what
//! it does counts, but for a model call that it was about to make. `MUSTER_TEST_LONG=1` meets each fault five times.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use model_server::Tools;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    by_form,
    served::Served,
    tools::{POLICIES, agent, effects, outcomes},
};

/// A point of a run that calls its model, a tool once, and its model again.
#[derive(Clone, Copy)]
struct Point {
    /// Its name and which pass of it.
    pass: &'static str,
    /// What has just been done there.
    after: &'static str,
    /// How often the model was called before.
    called: u64,
    /// What becomes of the tool call when the process dies there.
    expected: Expected,
    /// How many model calls that costs.
    extra: u64,
}

/// How often the call takes effect, and how it ends, for each of the policies.
type Expected = [(u32, &'static str); 4];
const ONCE: Expected = [(1, "answered"); 4];
const UNSENT: Expected = [(1, "answered"), (1, "answered"), (1, "answered"), (0, "unknown")];
const SENT: Expected = [(2, "answered"), (1, "answered"), (1, "answered"), (1, "unknown")];

const fn point(pass: &'static str, after: &'static str, called: u64, expected: Expected, extra: u64) -> Point {
    Point { pass, after, called, expected, extra }
}

const POINTS: [Point; 15] = [
    point("K1:1", "run checked, not accepted", 0, ONCE, 0),
    point("K2:1", "accepted, nobody asked to work", 0, ONCE, 0),
    point("K3:1", "message received, run not taken", 0, ONCE, 0),
    point("K4:1", "model call decided", 0, ONCE, 0),
    point("K5:1", "its intent written, not sent", 0, ONCE, 0),
    point("K6:1", "its answer in memory", 1, ONCE, 1),
    point("K4:2", "tool call decided, answer still in memory", 1, ONCE, 1),
    point("K7:1", "answer and tool call's intent written", 1, UNSENT, 0),
    point("K5:2", "the same, about to be sent", 1, UNSENT, 0),
    point("K6:2", "tool's result in memory", 1, SENT, 0),
    point("K7:2", "result and next intent written", 1, ONCE, 0),
    // The model asks for two seconds' patience: the run is let go of.
    point("K8:1", "about to be let go of", 1, ONCE, 0),
    point("K9:1", "let go of, nobody asked to work", 1, ONCE, 0),
    point("K10:1", "end decided, last answer in memory", 2, ONCE, 1),
    point("K11:1", "end written", 2, ONCE, 0),
];

/// A lease that a process can outlast, and does not on a busy machine unless it stands still.
const SHORT_LEASE: (&str, &str) = ("MUSTER_LEASE_MS", "3000");
/// How long it stands still.
const FREEZE: Duration = Duration::from_secs(4);
/// How long it is watched after that.
const WATCHED: Duration = Duration::from_secs(2);
/// How many cells are under way at a time.
const SIDE_BY_SIDE: usize = 24;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    /// How often its tool call took effect.
    times: u32,
    /// How that ended.
    outcome: String,
    /// How many model calls it made beyond those it needs.
    extra: u64,
}

/// A process with a run that meets a fault.
struct Cell {
    served: Served,
    tools: Tools,
    agent: String,
    /// What the run calls its model when nothing is in the way.
    needed: u64,
}

impl Cell {
    /// Starts the run; the process has died or stands still at that point. A pass that belongs to something else, as when two workers take
    /// the run at once, is not the point that is meant: then it begins anew.
    async fn begin(point: Point, policy: &str, fault: &str) -> Self {
        loop {
            let mut cell = Self::started(point, policy, fault).await;
            if fault == "abort" {
                assert!(!cell.served.dies().await.success(), "{} was not passed", point.pass);
            } else {
                cell.served.stops().await;
            }
            if cell.served.model.stats().calls == point.called {
                return cell;
            }
        }
    }

    /// Starts the run, in a process that will meet the fault.
    async fn started(point: Point, policy: &str, fault: &str) -> Self {
        let mut served = Served::start().await;
        let tools = Tools::start().await.unwrap();
        let waits = point.pass.starts_with("K8") || point.pass.starts_with("K9");
        let (model, needed) = if waits { ("fake-l20-t1-e1-x429-a2", 4) } else { ("fake-l20-t1", 2) };
        let agent = agent(&served, &tools, policy, &format!("openai/{model}")).await;
        served.kill();
        let (name, pass) = point.pass.split_once(':').unwrap();
        served.start_with(&[("MUSTER_FAULT", &format!("{name}:{fault}:{pass}")), SHORT_LEASE]).await;
        let cell = Self { served, tools, agent, needed };
        let (client, (path, body)) = (cell.served.client.clone(), cell.request());
        tokio::spawn(async move { client.send("POST", &path, "the key", body).await });
        cell
    }

    fn request(&self) -> (String, String) {
        (format!("/v1/agents/{}/runs", self.agent), json!({"message": "Do it."}).to_string())
    }

    /// What came of the run, once it has ended: whoever asked for it asks again, with the same idempotency key.
    async fn seen(&self) -> Seen {
        let (path, body) = self.request();
        self.served.client.insist(&path, "the key", &body).await;
        let runs = self.served.all_ended(1).await;
        assert_eq!((runs.len(), &runs[0]["status"]), (1, &json!("done")), "{runs:?}");
        let outcome = outcomes(&self.served, &runs[0]).await.into_values().next().unwrap();
        let extra = self.served.model.stats().calls - self.needed;
        Seen { times: effects(&self.tools).into_values().sum(), outcome, extra }
    }

    /// All that a caller can read of the run.
    async fn read(&self) -> Vec<Value> {
        let client = &self.served.client;
        let runs = client.runs().await.unwrap();
        let path = format!("/v1/runs/{}", runs[0]["id"].as_str().unwrap());
        let mut read = runs;
        for path in [format!("{path}/messages"), format!("{path}/events"), format!("{path}/explain")] {
            read.push(client.get(&path).await.unwrap());
        }
        read
    }
}

async fn dies(point: Point, policy: &'static str) -> Seen {
    let mut cell = Cell::begin(point, policy, "abort").await;
    cell.served.start_again(None).await;
    cell.seen().await
}

/// Another process takes over, and the run ends, before this one goes on.
async fn is_replaced(point: Point, policy: &'static str) -> Seen {
    let cell = loop {
        let mut cell = Cell::begin(point, policy, "stop").await;
        sleep(FREEZE).await;
        if cell.served.starts_beside().await {
            break cell;
        }
    };
    let (seen, before) = (cell.seen().await, cell.read().await);
    cell.served.signal("-CONT");
    sleep(WATCHED).await;
    assert_eq!(cell.read().await, before, "{} {policy}: what the process did when it went on", point.pass);
    let after = cell.seen().await;
    assert_eq!((after.times, &after.outcome), (seen.times, &seen.outcome), "{} {policy}: what it sent", point.pass);
    after
}

/// Nobody takes over: the process finds its own lease run out, as on a laptop that slept.
async fn sleeps(point: Point, policy: &'static str) -> Seen {
    let cell = Cell::begin(point, policy, "stop").await;
    sleep(FREEZE).await;
    cell.served.signal("-CONT");
    let seen = cell.seen().await;
    sleep(WATCHED).await;
    assert_eq!(cell.seen().await, seen, "{} {policy}", point.pass);
    seen
}

/// What came of a cell, each time.
struct Row {
    point: Point,
    policy: &'static str,
    /// What is expected when the process died there.
    expected: (u32, &'static str),
    seen: BTreeSet<Seen>,
}

/// Every point under every policy, as often as is asked for, side by side. In the short form, points at which no tool call is open meet one
/// policy each.
async fn table<F>(cell: fn(Point, &'static str) -> F) -> Vec<Row>
where
    F: Future<Output = Seen> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut cells = Vec::new();
    for (n, point) in POINTS.into_iter().enumerate() {
        for (policy, expected) in POLICIES.into_iter().zip(point.expected) {
            let open = point.expected != ONCE || point.pass.ends_with(":2");
            let times = by_form(usize::from(open || POLICIES[n % POLICIES.len()] == policy), 5);
            let begin = |_| {
                let places = Arc::clone(&places);
                tokio::spawn(async move {
                    let _place = places.acquire().await.unwrap();
                    cell(point, policy).await
                })
            };
            cells.push((point, policy, expected, (0..times).map(begin).collect::<Vec<_>>()));
        }
    }
    let mut table = Vec::new();
    for (point, policy, expected, cells) in cells {
        let mut seen = BTreeSet::new();
        for cell in cells {
            seen.insert(cell.await.unwrap_or_else(|error| panic!("{} {policy}: {error}", point.pass)));
        }
        table.push(Row { point, policy, expected, seen });
    }
    table
}

/// A line for each point: for each policy, how often the tool call took effect, how it ended, and how many model calls more were made.
fn print(fault: &str, table: &[Row]) {
    println!("| point | it has just happened | fault | {} |", POLICIES.join(" | "));
    for rows in table.chunks(POLICIES.len()) {
        let cell = |row: &Row| {
            let one = |seen: &Seen| format!("{} {} +{}", seen.times, seen.outcome, seen.extra);
            row.seen.iter().map(one).collect::<Vec<_>>().join(" or ")
        };
        let cells: Vec<String> = rows.iter().map(cell).collect();
        println!("| {} | {} | {fault} | {} |", rows[0].point.pass, rows[0].point.after, cells.join(" | "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_died_over_ends_as_the_table_says() {
    let table = table(dies).await;
    print("dies", &table);
    for Row { point, policy, expected, seen } in &table {
        let (times, outcome) = *expected;
        let expected = Seen { times, outcome: outcome.to_owned(), extra: point.extra };
        assert!(seen.iter().all(|seen| *seen == expected), "{} {policy}: {seen:?}, not {expected:?}", point.pass);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_is_as_one_that_died() {
    let table = table(is_replaced).await;
    print("stands still, is replaced", &table);
    for Row { point, policy, expected, seen } in &table {
        for seen in seen {
            assert_eq!((seen.times, seen.outcome.as_str()), *expected, "{} {policy}", point.pass);
            assert!(seen.extra <= 1, "{} {policy}: {seen:?}", point.pass);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_own_process_slept_over_ends_as_its_policy_says() {
    let table = table(sleeps).await;
    print("sleeps", &table);
    for Row { point, policy, seen, .. } in &table {
        for Seen { times, outcome, extra } in seen {
            assert!(*extra <= 1, "{} {policy}: {seen:?}", point.pass);
            match (*policy, outcome.as_str()) {
                ("read", "answered") => assert!((1..=2).contains(times), "{} {policy}: {times} times", point.pass),
                ("once", "unknown") => assert!(*times <= 1, "{} {policy}: {times} times", point.pass),
                (_, "answered") => assert_eq!(*times, 1, "{} {policy}", point.pass),
                other => panic!("{} {policy}: {other:?}", point.pass),
            }
        }
    }
}
