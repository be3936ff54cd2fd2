//! Nobody ever sees a part of a batch: writers, readers and kills at random. `MUSTER_TEST_LONG=1` has 8 writers make 100 batches each of 1
//! to 200 agents, kills 40 of them, and reads at least 100,000 times; `MUSTER_TEST_MIDDLE=1` does a tenth of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{made, path};
use crate::harness::{Answer, Client, Muster, asked, on_every_backend, text};

on_every_backend!(nobody_sees_a_part_of_a_batch);

/// The same where calls of the database are throttled, and replies lost: see `dynamo/faults.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_a_part_of_a_batch_of_a_database_that_fails() {
    let muster = Muster::on_faulty_dynamo(11).await;
    fractured(&muster, &Plan { groups: &[1, 2, 5, 12], batches: 4, kills: 2, reads: 100 }).await;
}

/// How much of it.
struct Plan {
    /// Agents that change together, by group; in batches of one or more groups.
    groups: &'static [usize],
    /// Of each writer, at least.
    batches: usize,
    /// How many of them are killed, at least.
    kills: usize,
    reads: usize,
}

const WRITERS: usize = 8;
const READERS: usize = 8;
const SHORT: Plan = Plan { groups: &[1, 2, 5, 12, 20], batches: 5, kills: 5, reads: 500 };
const MIDDLE: Plan = Plan { groups: &[1, 2, 7, 20, 60, 110], batches: 10, kills: 10, reads: 10_000 };
const LONG: Plan = Plan { groups: &[1, 2, 7, 20, 60, 110], batches: 100, kills: 40, reads: 100_000 };

/// Numbers that look random; the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// A batch that was sent.
struct Sent {
    /// What it makes the description of its agents.
    tag: String,
    groups: Vec<usize>,
    /// How long it took; nothing of one that was killed before it was answered.
    took: Option<Duration>,
}

#[derive(Default)]
struct Seen {
    /// Lists, single agents one after the other, and versions one after the other.
    reads: [AtomicUsize; 3],
    killed: AtomicUsize,
    /// How often it was answered that this must be asked later.
    later: Arc<AtomicUsize>,
    /// What somebody read of an agent.
    descriptions: Mutex<BTreeSet<String>>,
    written: AtomicBool,
}

impl Seen {
    fn read(&self) -> usize {
        self.reads.iter().map(|kind| kind.load(Ordering::Relaxed)).sum()
    }

    fn described(&self, agent: &Value) {
        self.descriptions.lock().unwrap().insert(text(agent, "description"));
    }
}

async fn nobody_sees_a_part_of_a_batch(muster: Muster) {
    let plan = match (asked("MUSTER_TEST_LONG"), asked("MUSTER_TEST_MIDDLE")) {
        (Some(_), _) => LONG,
        (None, Some(_)) => MIDDLE,
        (None, None) => SHORT,
    };
    fractured(&muster, &plan).await;
}

async fn fractured(muster: &Muster, plan: &Plan) {
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
    let writers = (0..WRITERS).map(|n| write(muster, &us, plan, &groups, &seen, Chance(seed ^ (n as u64 + 1))));
    let readers = (0..READERS).map(|n| read(&us, plan, &groups, &seen, Chance(!seed ^ (n as u64 + 1))));
    let writing = async {
        let sent = futures_util::future::join_all(writers).await;
        seen.written.store(true, Ordering::Relaxed);
        sent.into_iter().flatten().collect::<Vec<Sent>>()
    };
    let reading = async { drop(futures_util::future::join_all(readers).await) };
    let (sent, ()) = futures_util::future::join(writing, reading).await;
    // Whoever is asked for an agent now stops what a kill has left open.
    muster.pass(5_001);
    let all: Vec<Value> = groups.concat().iter().map(|id| json!({"id": id, "description": "at last"})).collect();
    let last = insist(&seen.later, async || us.put("/api/agents/batch", json!({"items": all})).await).await.ok();
    assert_eq!(last["agents"].as_array().unwrap().len(), groups.concat().len(), "none is lost, and none is stuck");
    let committed = whole(&us, &groups, &seen, &sent).await;
    let mut took: Vec<Duration> = sent.iter().filter_map(|sent| sent.took).collect();
    took.sort_unstable();
    let [lists, agents, versions] = seen.reads.each_ref().map(|kind| kind.load(Ordering::Relaxed));
    let (killed, later) = (seen.killed.load(Ordering::Relaxed), seen.later.load(Ordering::Relaxed));
    println!(
        "{} batches, {killed} killed, {committed} made; {lists} lists, {agents} agents and {versions} versions read, 0 fractured; {later} answers to ask later; {:.1} s; a batch took {} ms at the median, {} ms at p95",
        sent.len(),
        begun.elapsed().as_secs_f64(),
        took[took.len() / 2].as_millis(),
        took[took.len() * 95 / 100].as_millis(),
    );
    assert!(killed >= plan.kills && seen.read() >= plan.reads, "{killed} kills, {} reads", seen.read());
    assert!(lists > 0 && agents > 0 && versions > 0, "{lists} lists, {agents} agents, {versions} versions");
}

/// Every batch is in the versions of all its agents or of none; those that were answered are, and so are those that anybody saw. How many are.
async fn whole(us: &Client, groups: &[Vec<String>], seen: &Seen, sent: &[Sent]) -> usize {
    let mut history: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for id in groups.iter().flatten() {
        let versions = insist(&seen.later, async || us.get(&format!("{}/versions", path(id))).await).await.ok();
        let said = versions.as_array().unwrap().iter().map(|version| text(version, "description"));
        history.insert(id, said.collect());
    }
    let mut committed = BTreeSet::from(["d", "at last"]);
    for Sent { tag, groups: of, took } in sent {
        let agents: Vec<&String> = of.iter().flat_map(|group| &groups[*group]).collect();
        let changed = agents.iter().filter(|id| history[*id].contains(tag)).count();
        assert!(changed == 0 || changed == agents.len(), "{tag} changed {changed} of {} agents", agents.len());
        assert!(changed > 0 || took.is_none(), "{tag} was answered, and is in no version");
        committed.extend((changed > 0).then_some(tag.as_str()));
    }
    let known = |said: &String| committed.contains(said.as_str());
    assert!(history.values().flatten().all(known), "an agent has a version of no batch");
    assert!(seen.descriptions.lock().unwrap().iter().all(known), "somebody saw what was never made");
    committed.len() - 2
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

/// Makes batches, some of which are killed, until there are enough of both.
async fn write(
    muster: &Muster,
    us: &Client,
    plan: &Plan,
    groups: &[Vec<String>],
    seen: &Seen,
    mut chance: Chance,
) -> Vec<Sent> {
    let (writer, mut all, mut usual) = (chance.0, Vec::new(), 60);
    while all.len() < plan.batches || seen.killed.load(Ordering::Relaxed) < plan.kills {
        let mut chosen: Vec<usize> = (0..groups.len()).filter(|_| chance.below(3) == 0).collect();
        if chosen.is_empty() {
            chosen.push(chance.below(groups.len()));
        }
        let tag = format!("{writer}-{}", all.len());
        let ids = chosen.iter().flat_map(|group| &groups[*group]);
        let items: Vec<Value> = ids.map(|id| json!({"id": id, "description": tag})).collect();
        let (count, us, later) = (items.len(), us.clone(), Arc::clone(&seen.later));
        let begun = Instant::now();
        let put = async move || us.put("/api/agents/batch", json!({"items": items})).await;
        let putting = tokio::spawn(async move { insist(&later, put).await });
        let late = all.len() >= plan.batches;
        if late || chance.below(WRITERS * plan.batches) < plan.kills * 2 {
            tokio::time::sleep(Duration::from_millis(chance.below(usual) as u64)).await;
            putting.abort();
        }
        let took = match putting.await {
            Ok(answer) => {
                assert_eq!(answer.ok()["agents"].as_array().unwrap().len(), count);
                // A kill comes before that.
                usual = usize::try_from(begun.elapsed().as_millis()).unwrap().clamp(2, 60);
                Some(begun.elapsed())
            }
            Err(_) => {
                seen.killed.fetch_add(1, Ordering::Relaxed);
                muster.pass(5_001);
                None
            }
        };
        all.push(Sent { tag, groups: chosen, took });
    }
    all
}

/// Reads lists, single agents and versions until there is nothing more to be seen.
async fn read(us: &Client, plan: &Plan, groups: &[Vec<String>], seen: &Seen, mut chance: Chance) {
    let count: usize = groups.iter().map(Vec::len).sum();
    let [lists, agents, versions] = &seen.reads;
    let ask = async |path: String| insist(&seen.later, async || us.get(&path).await).await.ok();
    while !seen.written.load(Ordering::Relaxed) || seen.read() < plan.reads {
        // A group's agents have been changed equally often: one that is read later is never behind.
        let group = &groups[1 + chance.below(groups.len() - 1)];
        let two = [0; 2].map(|_| &group[chance.below(group.len())]);
        let kind = match chance.below(20) {
            0..=1 => {
                let listed = ask("/api/agents".to_owned()).await;
                look_at(listed.as_array().unwrap(), count, groups.len(), seen);
                lists
            }
            2 => {
                let mut before = 0;
                for id in two {
                    let now = ask(format!("{}/versions", path(id))).await[0]["version"].as_u64().unwrap();
                    assert!(now >= before, "a part of a batch in versions, one after the other");
                    before = now;
                }
                versions
            }
            _ => {
                let mut before = 0;
                for id in two {
                    let agent = ask(format!("/v1/agents/agent_{id}")).await;
                    seen.described(&agent);
                    let now = agent["version"].as_u64().unwrap();
                    assert!(now >= before, "a part of a batch, one after the other");
                    before = now;
                }
                agents
            }
        };
        kind.fetch_add(1, Ordering::Relaxed);
    }
}

/// All agents are in the list, and those of each group are as one batch made them.
fn look_at(listed: &[Value], count: usize, groups: usize, seen: &Seen) {
    assert_eq!(listed.len(), count, "none is missing");
    for group in 0..groups {
        let tag = json!([group.to_string()]);
        let mut of_group = listed.iter().filter(|agent| agent["tags"] == tag);
        let first = of_group.next().unwrap();
        assert!(of_group.all(|other| other["description"] == first["description"]), "a part of a batch in a list");
        seen.described(first);
    }
}
