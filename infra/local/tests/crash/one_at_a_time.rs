//! Runs one after the other, one in hand at any time, while the process is killed: each kill costs one model call at most. And how long it
//! takes from a kill until the next process has gone on with the run.

use std::time::{Duration, Instant};

use model_server::Tools;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    by_form,
    random::Random,
    served::Served,
    tools::{POLICIES, agent},
};

/// A lease that nobody waits for here: a process that is alone knows that those before it are dead.
const LEASE_MS: u64 = 10_000;
/// How often the embedded host's reaper looks.
const REAPER_MS: u64 = 1_000;
/// What a run calls its model when nothing is in the way.
const NEEDED: u64 = 4;

/// What became of the runs of a policy.
#[derive(Default)]
struct Seen {
    runs: usize,
    kills: u64,
    extra: u64,
    /// From a kill until a model or tool was called again, with the start of the next process in it.
    recoveries: Vec<Duration>,
}

/// How often models and tools were called.
fn asked(served: &Served, tools: &Tools) -> u64 {
    served.model.stats().calls + u64::from(tools.requests())
}

/// Kills the process in the middle of the run and starts another; how long it took until the run was gone on with, unless the process had
/// just ended it.
async fn kill(served: &mut Served, tools: &Tools, path: &str) -> Option<Duration> {
    served.kill();
    let (killed, before) = (Instant::now(), asked(served, tools));
    served.start_with(&[("MUSTER_LEASE_MS", &LEASE_MS.to_string())]).await;
    while asked(served, tools) == before {
        if served.client.get(path).await.unwrap()["terminal"] == true {
            return None;
        }
        sleep(Duration::from_millis(2)).await;
    }
    Some(killed.elapsed())
}

async fn runs(policy: &'static str, count: usize, mut random: Random) -> Seen {
    let mut served = Served::start().await;
    let tools = Tools::start().await.unwrap();
    let agent = agent(&served, &tools, policy, "openai/fake-l100-j200-t3").await;
    let mut seen = Seen::default();
    for n in 0..count {
        let message = format!("Do {n}.");
        let body = json!({ "message": message }).to_string();
        let (status, run) = served.client.send("POST", &format!("/v1/agents/{agent}/runs"), "", body).await.unwrap();
        assert_eq!(status, 202, "{run}");
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        let mut kills = 0;
        for _ in 0..random.between(1, 3) {
            sleep(Duration::from_millis(random.between(20, 700))).await;
            if served.client.get(&path).await.unwrap()["terminal"] == true {
                break;
            }
            kills += 1;
            seen.recoveries.extend(kill(&mut served, &tools, &path).await);
        }
        let ended: Vec<Value> = served.all_ended(n + 1).await;
        assert!(ended.len() == n + 1 && ended.iter().all(|run| run["status"] == "done"), "{ended:?}");
        let extra = served.model.calls_with(&message) - NEEDED;
        assert!(extra <= kills, "{policy}: {extra} more model calls after {kills} kills");
        (seen.runs, seen.kills, seen.extra) = (n + 1, seen.kills + kills, seen.extra + extra);
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_one_model_call_at_most() {
    let each = by_form(4, 25);
    let mut random = Random::seeded();
    let hosts = POLICIES.map(|policy| tokio::spawn(runs(policy, each, random.another())));
    let mut all = Seen::default();
    for host in hosts {
        let seen = host.await.unwrap();
        (all.runs, all.kills, all.extra) = (all.runs + seen.runs, all.kills + seen.kills, all.extra + seen.extra);
        all.recoveries.extend(seen.recoveries);
    }
    all.recoveries.sort_unstable();
    let (middle, longest) = (all.recoveries[all.recoveries.len() / 2], all.recoveries[all.recoveries.len() - 1]);
    let bound = Duration::from_millis(LEASE_MS + 2 * REAPER_MS);
    println!("| runs | kills | more model calls | gone on with after, p50 | longest | lease + 2 reaper periods |");
    println!("| {} | {} | {} | {middle:?} | {longest:?} | {bound:?} |", all.runs, all.kills, all.extra);
    assert!(all.extra > 0, "a kill in the middle of a call costs one");
}
