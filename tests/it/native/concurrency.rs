//! How many runs of a batch are in hand at a time: never more than it says, whoever dies, and never fewer for long.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{
    engine,
    queue::Chunk,
    store::row::{Key, Table},
};

use crate::{
    harness::{Client, Muster, on_every_backend, text},
    reaper::LEASE_AND_MORE_MS,
};

on_every_backend!(
    so_many_runs_are_in_hand_and_the_batch_ends,
    lines_say_how_many_in_the_query,
    lost_hints_are_made_up_for_by_the_reaper,
    a_host_that_starts_asks_for_as_many_as_there_are_places,
    a_dead_workers_place_is_its_runs_until_that_has_ended,
    a_run_that_waits_leaves_its_place_to_another,
    runs_that_waited_when_the_host_died_are_asked_for_when_it_starts,
    a_retry_goes_on_with_the_same_number,
    places_outlive_their_holders,
);

fn items(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({"message": format!("item {n}")})).collect()
}

async fn batch(client: &Client, model: &str, count: usize, most: u32) -> String {
    let agent = client.agent(model).await;
    let body = json!({"items": items(count), "max_concurrency": most});
    let made = client.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    assert_eq!(made["max_concurrency"], most);
    format!("/v1/batches/{}", text(&made, "id"))
}

/// How many places of the batch are taken.
async fn taken(muster: &Muster, path: &str) -> i64 {
    let batch = path.replace("/v1/batches/batch_", "");
    let key = Key::new(Table::Runs, format!("O#{}#B#{batch}", muster.us.org), "PLACES");
    let row = muster.app.store().backend().get(&key).await.unwrap();
    row.map_or(0, |row| serde_json::from_str::<Value>(&row.body).unwrap()["taken"].as_i64().unwrap())
}

async fn so_many_runs_are_in_hand_and_the_batch_ends(muster: Muster) {
    let muster = muster.at_work();
    let path = batch(&muster.us, "openai/fake-l20", 60, 7).await;
    let ended = muster.until(&path, |batch| batch["terminal"] == true).await;
    assert_eq!(ended["counts"]["done"], 60);
    let stats = muster.models.stats();
    assert_eq!((stats.calls, taken(&muster, &path).await), (60, 0));
    assert!((2..=7).contains(&stats.max_in_flight), "{stats:?}");
}

async fn lines_say_how_many_in_the_query(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let lines: Vec<String> = items(20).iter().map(Value::to_string).collect();
    let path = format!("/v1/agents/{agent}/batches?max_concurrency=3&budget_micro_usd=1000000&on_budget=cancel_all");
    let client = muster.us.with("content-type", "application/x-ndjson");
    let made = client.send("POST", &path, lines.join("\n")).await.status(202);
    let said = json!([made["max_concurrency"], made["budget_micro_usd"], made["on_budget"]]);
    assert_eq!(said, json!([3, 1_000_000, "cancel_all"]));
    muster.drain().await;
    let ended = muster.us.get(&format!("/v1/batches/{}", text(&made, "id"))).await.ok();
    assert_eq!(ended["counts"]["done"], 20);
    assert!(muster.models.stats().max_in_flight <= 3);
}

async fn lost_hints_are_made_up_for_by_the_reaper(muster: Muster) {
    let path = batch(&muster.us, "openai/fake", 12, 3).await;
    assert_eq!(muster.lose_messages().await, 1);
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
    assert_eq!(muster.receive().await.runs.len(), 3, "as many as there are places");
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!((&ended["counts"]["done"], taken(&muster, &path).await), (&json!(12), 0));
    assert!(muster.models.stats().max_in_flight <= 3);
}

async fn a_host_that_starts_asks_for_as_many_as_there_are_places(muster: Muster) {
    let path = batch(&muster.us, "openai/fake", 9, 2).await;
    muster.lose_messages().await;
    let waits = text(&muster.us.get("/v1/runs?limit=1").await.ok()["data"][0], "id");
    let explained = text(&muster.us.get(&format!("/v1/runs/{waits}/explain")).await.ok(), "explanation");
    assert!(explained.contains("at most 2 runs of its batch"), "{explained}");
    assert_eq!(engine::recover(&muster.app).await.unwrap().asked, 0);
    assert_eq!(muster.queued(), 1, "one message with the first two");
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["counts"]["done"], 9);
}

async fn a_dead_workers_place_is_its_runs_until_that_has_ended(muster: Muster) {
    let path = batch(&muster.us, "openai/fake-l500", 4, 2).await;
    let chunk = muster.receive().await;
    assert_eq!(chunk.runs.len(), 2);
    let dying = tokio::time::timeout(Duration::from_millis(250), engine::work_on(&muster.app, chunk, None));
    assert!(dying.await.is_err(), "they die in the middle of their calls");
    assert_eq!(taken(&muster, &path).await, 2);
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(json!([ended["counts"]["done"], ended["usage"]["model_calls"]]), json!([4, 6]));
    assert_eq!((taken(&muster, &path).await, muster.models.stats().max_in_flight), (0, 2));
}

/// Works until so many runs of the batch wait for their provider. Who lets go of a place asks for the next run, which is a hint: what a store
/// under load loses of it the reaper makes up for.
async fn until_waiting(muster: &Muster, path: &str, count: u32) -> Value {
    for _ in 0..4 {
        muster.drain().await;
        let stands = muster.us.get(path).await.ok();
        if stands["counts"]["waiting"] == count {
            return stands;
        }
        muster.pass(LEASE_AND_MORE_MS);
        muster.reap().await;
    }
    muster.us.get(path).await.ok()
}

async fn a_run_that_waits_leaves_its_place_to_another(muster: Muster) {
    let path = batch(&muster.us, "openai/fake-e1-x429-a3600", 5, 1).await;
    let waiting = until_waiting(&muster, &path, 5).await;
    assert_eq!((&waiting["counts"]["waiting"], taken(&muster, &path).await), (&json!(5), 0), "{waiting}");
    muster.pass(3_600_000 + 1_000);
    for _ in 0..4 {
        muster.reap().await;
        muster.drain().await;
        muster.pass(LEASE_AND_MORE_MS);
    }
    let ended = muster.us.get(&path).await.ok();
    assert_eq!((&ended["counts"]["done"], taken(&muster, &path).await), (&json!(5), 0), "{ended}");
    assert_eq!(muster.models.stats().max_in_flight, 1);
}

async fn runs_that_waited_when_the_host_died_are_asked_for_when_it_starts(muster: Muster) {
    let path = batch(&muster.us, "openai/fake-e1-x429-a3600", 3, 2).await;
    assert_eq!(until_waiting(&muster, &path, 3).await["counts"]["waiting"], 3);
    muster.lose_messages().await;
    muster.pass(3_601_000);
    assert_eq!(engine::recover(&muster.app).await.unwrap().asked, 3);
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["counts"]["done"], 3);
    assert_eq!(muster.models.stats().max_in_flight.max(2), 2);
}

async fn a_retry_goes_on_with_the_same_number(muster: Muster) {
    let path = batch(&muster.us, "openai/fake-e9-x400", 3, 2).await;
    muster.drain().await;
    let again = muster.us.send("POST", &format!("{path}/retry"), "").await.status(202);
    assert_eq!(json!([again["max_concurrency"], again["items"]]), json!([2, 3]));
}

/// 20 places, 50 holders that are killed in the middle of a call: never more than 20 calls at a time, all places in use again
/// afterwards, and the batch ends.
async fn places_outlive_their_holders(muster: Muster) {
    const LEASE: Duration = Duration::from_secs(4);
    let muster = muster.with_lease(LEASE.as_millis().try_into().unwrap());
    let us = muster.us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await;
    let path = batch(&us, "openai/fake-l1000", 140, 20).await;
    let killed = Arc::new(Mutex::new(HashSet::new()));
    let begun = Instant::now();
    let mut most_after = 0;
    let mut workers = tokio::task::JoinSet::new();
    while us.get(&path).await.ok()["terminal"] == false {
        assert!(begun.elapsed() < Duration::from_secs(180), "the batch does not end");
        while muster.queued() > 0 {
            let chunk = muster.receive().await;
            for run in &chunk.runs {
                let one = Chunk::new(chunk.tenant(), vec![*run]);
                let dies = {
                    let mut killed = killed.lock().unwrap();
                    killed.len() < 50 && killed.insert(*run)
                };
                workers.spawn(one_holder(muster.app.clone(), us.clone(), one, dies.then_some(LEASE)));
            }
        }
        if killed.lock().unwrap().len() == 50 {
            most_after = most_after.max(muster.models.stats().in_flight);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(ended["counts"]["done"], 140, "{ended}");
    let killed = killed.lock().unwrap().len();
    assert_eq!((killed, taken(&muster, &path).await), (50, 0));
    assert_eq!(ended["usage"]["model_calls"], 190, "a killed call is made once more");
    let stats = muster.models.stats();
    println!(
        "| places | runs done | holders killed | most calls at a time | most after the kills | places taken at the end |"
    );
    println!("| 20 | 140 | {killed} | {} | {most_after} | 0 |", stats.max_in_flight);
    assert!(stats.max_in_flight <= 20 && most_after > 10, "{most_after} after the kills: {stats:?}");
}

/// Works on a run. One that dies is killed in the middle of its call, and the message comes again when its lease has run out.
async fn one_holder(app: shared::App, client: Client, chunk: Chunk, dies: Option<Duration>) {
    if let Some(lease) = dies {
        let explain = format!("/v1/runs/{}/explain", chunk.runs[0].prefixed());
        let called = async {
            while client.get(&explain).await.ok()["in_flight"].is_null() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        tokio::select! {
            _ = engine::work_on(&app, chunk.clone(), None) => panic!("the call takes longer than its worker lives"),
            () = called => {}
        }
        tokio::time::sleep(lease + Duration::from_millis(500)).await;
    }
    engine::work_on(&app, chunk, None).await.unwrap();
}
