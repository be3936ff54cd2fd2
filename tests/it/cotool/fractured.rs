//! Nobody ever sees a part of a batch: writers, readers and kills at random. `MUSTER_TEST_LONG=1` has 8 writers make 100 batches each of 1
//! to 200 agents, 40 of them killed, and at least 100,000 reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::made;
use crate::harness::{Answer, Client, Muster, asked, on_every_backend, text};

on_every_backend!(nobody_sees_a_part_of_a_batch);

/// How much of it.
struct Plan {
    /// Agents that change together, by group; in batches of one or more groups.
    groups: &'static [usize],
    batches: usize,
    kills: usize,
    reads: usize,
}

const WRITERS: usize = 8;
const READERS: usize = 8;
const SHORT: Plan = Plan { groups: &[1, 2, 5, 12, 20], batches: 5, kills: 10, reads: 500 };
const LONG: Plan = Plan { groups: &[1, 2, 7, 20, 60, 110], batches: 100, kills: 40, reads: 100_000 };

/// Numbers that look random; the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[derive(Default)]
struct Seen {
    reads: AtomicUsize,
    killed: AtomicUsize,
    /// How often it was answered that this must be asked later.
    later: Arc<AtomicUsize>,
    written: AtomicBool,
}

async fn nobody_sees_a_part_of_a_batch(muster: Muster) {
    let plan = if asked("MUSTER_TEST_LONG").is_some() { LONG } else { SHORT };
    let seed: u64 =
        asked("MUSTER_TEST_SEED").map_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1, |seed| seed.parse().unwrap());
    println!("MUSTER_TEST_SEED={seed}");
    let us = muster.us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await;
    let mut groups: Vec<Vec<String>> = Vec::new();
    for size in plan.groups {
        let mut group = Vec::new();
        for _ in 0..*size {
            group.push(text(&made(&us, json!({"tags": [groups.len().to_string()]})).await, "id"));
        }
        groups.push(group);
    }
    let (seen, begun) = (Seen::default(), Instant::now());
    let writers = (0..WRITERS).map(|n| write(&muster, &us, &plan, &groups, &seen, Chance(seed ^ (n as u64 + 1))));
    let readers = (0..READERS).map(|n| read(&us, &plan, &groups, &seen, Chance(!seed ^ (n as u64 + 1))));
    let writing = async {
        let took = futures_util::future::join_all(writers).await;
        seen.written.store(true, Ordering::Relaxed);
        took
    };
    let (took, ()) =
        futures_util::future::join(writing, async { drop(futures_util::future::join_all(readers).await) }).await;
    muster.pass(5_001);
    let all: Vec<Value> = groups.concat().iter().map(|id| json!({"id": id, "description": "at last"})).collect();
    let last = us.put("/api/agents/batch", json!({"items": all})).await.ok();
    assert_eq!(last["agents"].as_array().unwrap().len(), groups.concat().len(), "none is lost, and none is stuck");
    let mut took: Vec<Duration> = took.concat();
    took.sort_unstable();
    let (reads, killed) = (seen.reads.load(Ordering::Relaxed), seen.killed.load(Ordering::Relaxed));
    let later = seen.later.load(Ordering::Relaxed);
    assert!(reads >= plan.reads && killed > 0, "{reads} reads, {killed} kills");
    println!(
        "{} batches, {killed} killed, {reads} reads, 0 fractured, {later} answers to ask later, in {:.1} s; a batch took {} ms at the median, {} ms at p95",
        took.len() + killed,
        begun.elapsed().as_secs_f64(),
        took[took.len() / 2].as_millis(),
        took[took.len() * 95 / 100].as_millis(),
    );
}

/// Asks again as long as the answer is that this must be asked later, as clients do.
async fn insist(later: &AtomicUsize, ask: impl AsyncFn() -> Answer) -> Answer {
    loop {
        let answer = ask().await;
        if answer.code != 503 {
            return answer;
        }
        later.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes batches, some of which are killed; how long the others took.
async fn write(
    muster: &Muster,
    us: &Client,
    plan: &Plan,
    groups: &[Vec<String>],
    seen: &Seen,
    mut chance: Chance,
) -> Vec<Duration> {
    let mut took = Vec::new();
    for n in 0..plan.batches {
        let mut chosen: Vec<&Vec<String>> = groups.iter().filter(|_| chance.below(3) == 0).collect();
        if chosen.is_empty() {
            chosen.push(&groups[chance.below(groups.len())]);
        }
        let tag = format!("{}-{n}", chance.0);
        let items: Vec<Value> = chosen.into_iter().flatten().map(|id| json!({"id": id, "description": tag})).collect();
        let (count, us) = (items.len(), us.clone());
        let begun = Instant::now();
        let put = async move || us.put("/api/agents/batch", json!({"items": items})).await;
        let later = Arc::clone(&seen.later);
        let writer = tokio::spawn(async move { insist(&later, put).await });
        let killed_after = (chance.below(WRITERS * plan.batches) < plan.kills * 2).then(|| chance.below(60) as u64);
        if let Some(ms) = killed_after {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            writer.abort();
        }
        match writer.await {
            Ok(answer) => {
                assert_eq!(answer.ok()["agents"].as_array().unwrap().len(), count);
                took.push(begun.elapsed());
            }
            Err(_) => {
                seen.killed.fetch_add(1, Ordering::Relaxed);
                muster.pass(5_001);
            }
        }
    }
    took
}

/// Reads lists and single agents until there is nothing more to be seen.
async fn read(us: &Client, plan: &Plan, groups: &[Vec<String>], seen: &Seen, mut chance: Chance) {
    let count: usize = groups.iter().map(Vec::len).sum();
    while !seen.written.load(Ordering::Relaxed) || seen.reads.load(Ordering::Relaxed) < plan.reads {
        if chance.below(10) == 0 {
            let listed = insist(&seen.later, async || us.get("/api/agents").await).await.ok();
            let listed = listed.as_array().unwrap();
            assert_eq!(listed.len(), count, "none is missing");
            for group in 0..groups.len() {
                let tag = json!([group.to_string()]);
                let mut said = listed.iter().filter(|agent| agent["tags"] == tag).map(|agent| &agent["description"]);
                let first = said.next().unwrap();
                assert!(said.all(|other| other == first), "a part of a batch in a list");
            }
        } else {
            // A group's agents have been changed equally often: one that is read later is never behind.
            let group = &groups[1 + chance.below(groups.len() - 1)];
            let mut before = 0;
            for _ in 0..2 {
                let path = format!("/v1/agents/agent_{}", group[chance.below(group.len())]);
                let agent = insist(&seen.later, async || us.get(&path).await).await.ok();
                let version = agent["version"].as_u64().unwrap();
                assert!(version >= before, "a part of a batch, one after the other");
                before = version;
            }
        }
        seen.reads.fetch_add(1, Ordering::Relaxed);
    }
}
