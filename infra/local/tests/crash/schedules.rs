//! Schedules whose process is killed while their times come: at named points between any two writes of a firing, and at random. Each time has
//! one outcome, and what it started runs to its end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::clock::Clock;
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

const PATIENCE: Duration = Duration::from_secs(60);
/// Before the first time: the process is armed by then.
const LEAD_MS: i64 = 3_000;

/// That many milliseconds from now, in whole seconds, as a schedule says it.
fn at(from_now_ms: i64) -> String {
    format!("at({})", Clock::System.now().plus_ms(from_now_ms).rfc3339_seconds().trim_end_matches('Z'))
}

async fn schedule(client: &Client, body: Value) -> String {
    let (status, made) = client.send("POST", "/v1/schedules", "", body.to_string()).await.unwrap();
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// Schedules of a single time, a second apart, each of a run with a prompt of its own; and one of a batch, with the first of them.
async fn schedules(client: &Client, count: usize) -> Vec<String> {
    let agent = client.agent("openai/fake-l20").await;
    let mut ids = Vec::new();
    for n in 0..count {
        let time = at(LEAD_MS + i64::try_from(n).unwrap() * 1_000);
        let body = json!({"agent_id": agent, "name": "x", "schedule": time, "message": format!("run {n}.")});
        ids.push(schedule(client, body).await);
    }
    let items: Vec<Value> = (0..3).map(|n| json!({"message": format!("item {n}.")})).collect();
    ids.push(schedule(client, json!({"agent_id": agent, "name": "x", "schedule": at(LEAD_MS), "items": items})).await);
    ids
}

/// The schedule's firings, once nothing of it is to come.
async fn over(client: &Client, id: &str) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "{id} does not fire");
        let path = format!("/v1/schedules/{id}");
        if let Ok(seen) = client.get(&path).await
            && json!([seen["status"], seen["waiting"]]) == json!(["ended", 0])
            && let Ok(firings) = client.get(&format!("{path}/firings")).await
        {
            return firings["data"].as_array().unwrap().clone();
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Each has fired once, and what they started has ended well, and there is nothing else.
async fn check(served: &Served, ids: &[String], what: &str) {
    let mut started = BTreeSet::new();
    for id in ids {
        let firings = over(&served.client, id).await;
        assert_eq!(firings.len(), 1, "{what}: {firings:?}");
        assert_eq!(firings[0]["outcome"], "started", "{what}: {firings:?}");
        started.extend(["run_id", "batch_id"].iter().filter_map(|of| firings[0][of].as_str().map(str::to_owned)));
    }
    assert_eq!(started.len(), ids.len());
    let expected = ids.len() - 1 + 3;
    let runs = served.all_ended(expected).await;
    assert_eq!(runs.len(), expected, "{what}: {runs:?}");
    for run in &runs {
        let of = run["batch_id"].as_str().or(run["id"].as_str()).unwrap();
        assert!(run["status"] == "done" && started.contains(of), "{what}: {run}");
    }
}

/// Dies between any two writes of firings, of what they start, and of that.
#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn no_firing_is_lost_or_doubled_at_whatever_point_the_process_dies() {
    let cells = ["S1", "S2", "K1", "K2", "K3", "K7", "K10"].into_iter().flat_map(|point| [(point, 1), (point, 3)]);
    let cell = async |point: &str, pass: u32| {
        let mut served = Served::start().await;
        let ids = schedules(&served.client, 4).await;
        served.kill();
        let fault = format!("{point}:abort:{pass}");
        served.start_again(Some(&fault)).await;
        assert!(!served.dies().await.success(), "{fault} was not passed");
        served.start_again(None).await;
        check(&served, &ids, &fault).await;
        println!("| {fault} | {} firings, each once |", ids.len());
    };
    futures_util::future::join_all(cells.map(|(point, pass)| cell(point, pass))).await;
}

/// Dies when it has decided that a firing waits, and when it has decided that it need not wait any more.
#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_not_lost_either() {
    let cell = async |fault: &str| {
        let mut served = Served::start().await;
        let client = served.client.clone();
        let agent = client.agent("openai/fake-l4000").await;
        let body =
            json!({"agent_id": agent, "name": "x", "schedule": at(LEAD_MS), "message": "wait.", "overlap": "queue"});
        let id = schedule(&client, body).await;
        let (status, first) = client.send("POST", &format!("/v1/schedules/{id}/run"), "", String::new()).await.unwrap();
        assert_eq!((status, &first["outcome"]), (202, &json!("started")));
        served.kill();
        served.start_again(Some(fault)).await;
        assert!(!served.dies().await.success(), "{fault} was not passed");
        served.start_again(None).await;
        let firings = over(&client, &id).await;
        let seen: Vec<Value> = firings.iter().map(|firing| json!([firing["manual"], firing["outcome"]])).collect();
        assert_eq!(seen, [json!([false, "started"]), json!([true, "started"])], "{fault}");
        assert_eq!(served.all_ended(2).await.len(), 2, "{fault}");
    };
    tokio::join!(cell("S3:abort:1"), cell("S1:abort:1"), cell("S2:abort:1"));
}

/// Dies at random, again and again, while a time comes each second.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_lose_and_double_no_firing() {
    let (count, kills) = by_form((10, 12), (60, 90));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let ids = schedules(&served.client, count).await;
    sleep(Duration::from_millis(u64::try_from(LEAD_MS).unwrap() - 1_000)).await;
    for _ in 0..kills {
        sleep(Duration::from_millis(random.between(200, 1_100))).await;
        served.kill();
        served.start_again(None).await;
    }
    check(&served, &ids, "at random").await;
    println!("{kills} kills, {} firings, each once", ids.len());
}
