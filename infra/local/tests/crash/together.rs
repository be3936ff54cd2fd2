//! Agents that change together, while the process is killed: nobody ever sees a part of a batch, not even afterwards in their versions.
//! `MUSTER_TEST_LONG=1` has 8 writers of 1 to 200 agents, and 40 kills.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{by_form, client::Client, random::Random, served::Served};

/// A batch that was sent.
struct Sent {
    /// What it made the description of its agents.
    tag: String,
    groups: Vec<usize>,
    /// Whether it was answered that it is done; otherwise it may be or not.
    acknowledged: bool,
}

/// What writers and readers share.
struct Shared {
    client: Client,
    /// Agents that always change together, by group.
    groups: Vec<Vec<String>>,
    over: AtomicBool,
    /// Lists, and pairs of single agents one after the other.
    lists: AtomicUsize,
    agents: AtomicUsize,
}

async fn write(shared: Arc<Shared>, writer: usize) -> Vec<Sent> {
    let (mut sent, mut n) = (Vec::new(), writer);
    while !shared.over.load(Ordering::Relaxed) {
        // Of the bits of a number that counts on, each says whether a group is in the batch.
        n += 7;
        let chosen = (0..shared.groups.len()).filter(|group| (n >> group) & 1 == 1);
        let mut groups: Vec<usize> = chosen.collect();
        if groups.is_empty() {
            groups.push(n % shared.groups.len());
        }
        let tag = format!("{writer}-{n}");
        let ids = groups.iter().flat_map(|group| &shared.groups[*group]);
        let items: Vec<Value> = ids.map(|id| json!({"id": id, "description": tag})).collect();
        let body = json!({ "items": items }).to_string();
        let acknowledged = match shared.client.send("PUT", "/api/agents/batch", "", body).await {
            Ok((200, answer)) => {
                assert_eq!(answer["agents"].as_array().unwrap().len(), items.len(), "every one is there");
                true
            }
            Ok((503, _)) | Err(_) => {
                sleep(Duration::from_millis(20)).await;
                false
            }
            Ok((status, answer)) => panic!("{status}: {answer}"),
        };
        sent.push(Sent { tag, groups, acknowledged });
    }
    sent
}

/// Reads lists, and between them agents one after the other.
async fn read(shared: Arc<Shared>, mut n: usize) {
    while !shared.over.load(Ordering::Relaxed) {
        if let Some(listed) = shared.ask("/api/agents").await {
            shared.look_at(&listed);
        }
        for _ in 0..10 {
            n += 1;
            let group = &shared.groups[n % shared.groups.len()];
            shared.look_at_two(&group[n * 7 % group.len()], &group[n * 13 % group.len()]).await;
        }
    }
}

impl Shared {
    /// The answer, unless this must be asked later or the process is gone.
    async fn ask(&self, path: &str) -> Option<Value> {
        match self.client.send("GET", path, "", String::new()).await {
            Ok((200, answer)) => Some(answer),
            Ok((503, _)) | Err(_) => {
                sleep(Duration::from_millis(20)).await;
                None
            }
            Ok((status, answer)) => panic!("{path}: {status}: {answer}"),
        }
    }

    /// Agents of a group have been changed equally often: one that is read later is never behind.
    async fn look_at_two(&self, first: &str, second: &str) {
        let version = async |id: &str| self.ask(&format!("/v1/agents/agent_{id}")).await?["version"].as_u64();
        let Some(before) = version(first).await else { return };
        let Some(after) = version(second).await else { return };
        assert!(after >= before, "a part of a batch: {first} in version {before}, then {second} in version {after}");
        self.agents.fetch_add(1, Ordering::Relaxed);
    }

    /// Every group is in the list, and all of it is as one batch made it.
    fn look_at(&self, listed: &Value) {
        let listed = listed.as_array().unwrap().iter();
        let said: BTreeMap<&str, &str> =
            listed.map(|agent| (agent["id"].as_str().unwrap(), agent["description"].as_str().unwrap())).collect();
        for group in &self.groups {
            let first = said[group[0].as_str()];
            assert!(group.iter().all(|id| said[id.as_str()] == first), "a part of a batch: {said:?}");
        }
        self.lists.fetch_add(1, Ordering::Relaxed);
    }

    /// What each agent was ever described as.
    async fn history(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut all = BTreeMap::new();
        for id in self.groups.iter().flatten() {
            let versions = self.client.get(&format!("/api/agents/{id}/versions")).await.unwrap();
            let said =
                versions.as_array().unwrap().iter().map(|version| version["description"].as_str().unwrap().to_owned());
            all.insert(id.as_str(), said.collect());
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_change_together_or_not_at_all_whenever_the_process_is_killed() {
    let (sizes, writers, readers, kills) =
        by_form((&[1, 3, 8, 20][..], 4, 2, 6), (&[1, 2, 7, 20, 60, 110][..], 8, 8, 40));
    let mut random = Random::seeded();
    let mut served = Served::start().await;
    let mut groups = Vec::new();
    for size in sizes {
        let mut group = Vec::new();
        for _ in 0..*size {
            group.push(served.client.agent("demo/scripted-l0").await.replace("agent_", ""));
        }
        groups.push(group);
    }
    let (over, lists, agents) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let shared = Arc::new(Shared { client: served.client.clone(), groups, over, lists, agents });
    let writing: Vec<_> = (0..writers).map(|n| tokio::spawn(write(Arc::clone(&shared), n))).collect();
    let reading: Vec<_> = (0..readers).map(|n| tokio::spawn(read(Arc::clone(&shared), n))).collect();
    for _ in 0..kills {
        sleep(Duration::from_millis(random.between(200, 1_500))).await;
        served.kill();
        served.start_again(None).await;
    }
    sleep(Duration::from_millis(500)).await;
    shared.over.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for writer in writing {
        sent.extend(writer.await.unwrap());
    }
    for reader in reading {
        reader.await.unwrap();
    }
    // What a kill leaves open is nobody's, and keeps nobody waiting.
    served.kill();
    served.start_again(None).await;
    let ids = shared.groups.iter().flatten();
    let items: Vec<Value> = ids.map(|id| json!({"id": id, "description": "at last"})).collect();
    let begun = Instant::now();
    let (status, answer) =
        shared.client.send("PUT", "/api/agents/batch", "", json!({ "items": items }).to_string()).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited for who was dead: {:?}", begun.elapsed());
    let history = shared.history().await;
    let (mut done, mut nothing, mut unanswered) = (0, 0, 0);
    for Sent { tag, groups, acknowledged } in &sent {
        let agents: Vec<&String> = groups.iter().flat_map(|group| &shared.groups[*group]).collect();
        let changed = agents.iter().filter(|id| history[id.as_str()].contains(tag)).count();
        let whole = changed == agents.len();
        assert!(whole || changed == 0 && !acknowledged, "of {} agents {changed} were changed by {tag}", agents.len());
        done += usize::from(whole);
        nothing += usize::from(!whole);
        unanswered += usize::from(!acknowledged);
    }
    assert!(done > 0 && unanswered > 0, "{done} done, {unanswered} not answered");
    let [lists, pairs] = [&shared.lists, &shared.agents].map(|reads| reads.load(Ordering::Relaxed));
    assert!(lists > 0 && pairs > 0, "{lists} lists, {pairs} agents after one another");
    println!(
        "| agents | kills | batches | done | nothing of them | not answered | lists read | pairs of agents | fractured |"
    );
    let (count, agents) = (sent.len(), history.len());
    println!("| {agents} | {kills} | {count} | {done} | {nothing} | {unanswered} | {lists} | {pairs} | 0 |");
}
