//! What the reaper repairs: lost messages, dead workers, passed deadlines.

use serde_json::{Value, json};
use shared::{
    App, Caller,
    config::LEASE_MS,
    engine::Held,
    id::AgentId,
    idempotency::Claim,
    run::{self, NewRun, Origin, Prompt},
    store::row::{Key, Rev, Row, Table, When, Write},
};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_lost_message_is_sent_again,
    a_dead_workers_run_is_taken_over_when_its_lease_has_run_out,
    a_dead_workers_run_is_gone_on_with_within_its_lease_and_two_periods_of_the_reaper,
    a_run_that_kills_its_workers_is_given_up,
    a_passed_deadline_ends_a_run_that_nobody_took,
    a_passed_deadline_ends_a_run_that_waits,
    a_batch_whose_messages_were_lost_goes_on,
    a_cancel_that_was_begun_is_gone_on_with,
    a_row_that_cannot_be_read_stops_nothing_else,
    what_runs_is_left_alone,
    two_workers_that_take_a_run_at_once_call_its_model_once,
);

pub(crate) const HOUR_MS: i64 = 60 * 60 * 1000;
pub(crate) const LEASE_AND_MORE_MS: i64 = 95_000;

async fn look(muster: &Muster, run: &str) -> Value {
    muster.us.get(&format!("/v1/runs/{run}")).await.ok()
}

async fn explain(muster: &Muster, run: &str) -> Value {
    muster.us.get(&format!("/v1/runs/{run}/explain")).await.ok()
}

/// A run that a worker has begun: the worker dies when what is answered is dropped.
async fn begun(app: &App, caller: &Caller, agent: &str) -> (Held, String) {
    let agent = AgentId::parse_prefixed(agent).unwrap();
    let planned = run::plan(app, caller, NewRun::of(agent, Prompt::Message("hello".into()), Origin::Native)).await;
    let held = run::begin(app, planned.unwrap(), Claim::none()).await.unwrap();
    let id = held.id().prefixed();
    (held, id)
}

async fn two_workers_that_take_a_run_at_once_call_its_model_once(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l200").await;
    let prompts: Vec<String> = (0..10).map(|n| format!("hello {n}")).collect();
    let mut runs = Vec::new();
    for prompt in &prompts {
        runs.push(muster.us.run(&agent, prompt).await);
    }
    Box::pin(muster.drain_twice()).await;
    for (run, prompt) in runs.iter().zip(&prompts) {
        assert_eq!(look(&muster, run).await["status"], "done");
        assert_eq!(muster.models.calls_with(prompt), 1, "{prompt}");
    }
}

async fn a_lost_message_is_sent_again(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let run = muster.us.run(&agent, "hello").await;
    assert_eq!(muster.lose_messages().await, 1);
    assert_eq!(muster.reap().await.asked, 0, "it may still be under way");
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 1);
    assert_eq!(muster.reap().await.asked, 0, "not twice");
    muster.drain().await;
    assert_eq!(look(&muster, &run).await["status"], "done");
    muster.pass(24 * HOUR_MS);
    assert_eq!(muster.reap().await, shared::engine::Reaped::default());
    assert_eq!(muster.models.calls_with("hello"), 1);
}

async fn a_dead_workers_run_is_taken_over_when_its_lease_has_run_out(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let caller = muster.caller(&muster.us).await;
    let (held, run) = begun(&muster.app, &caller, &agent).await;
    drop(held);
    assert_eq!(look(&muster, &run).await["status"], "running");
    assert_eq!(explain(&muster, &run).await["in_flight"]["model"], "openai/fake");
    muster.pass(30_000);
    assert_eq!(muster.reap().await.asked, 0, "its lease holds");
    muster.pass(LEASE_AND_MORE_MS - 30_000);
    assert_eq!(muster.reap().await.asked, 1);
    muster.drain().await;
    let ended = look(&muster, &run).await;
    assert_eq!(json!([ended["status"], ended["usage"]["model_calls"]]), json!(["done", 2]));
    let explained = explain(&muster, &run).await;
    let lost = &explained["attempts"][0];
    assert_eq!(json!([lost["outcome"], lost["estimated"]]), json!(["lost", true]));
    assert!(lost["cost_micro_usd"].as_u64() > Some(8_192), "what a dead worker may have spent counts");
    assert_eq!(muster.models.calls_with("hello"), 1);
}

/// Whenever the worker dies and whenever the reaper looks: it looks once a minute, as on Lambda.
async fn a_dead_workers_run_is_gone_on_with_within_its_lease_and_two_periods_of_the_reaper(muster: Muster) {
    const PERIOD_MS: i64 = 60_000;
    let agent = muster.us.agent("openai/fake").await;
    let caller = muster.caller(&muster.us).await;
    let mut longest_ms = 0;
    for first_look_ms in [1_000, 15_000, 30_000, 45_000, 59_000] {
        let (held, run) = begun(&muster.app, &caller, &agent).await;
        drop(held);
        let mut passed_ms = first_look_ms;
        muster.pass(first_look_ms);
        while muster.reap().await.asked == 0 {
            passed_ms += PERIOD_MS;
            muster.pass(PERIOD_MS);
        }
        muster.drain().await;
        assert_eq!(look(&muster, &run).await["status"], "done");
        longest_ms = longest_ms.max(passed_ms);
    }
    println!("gone on with after {longest_ms} ms at most; lease + 2 periods are {} ms", LEASE_MS + 2 * PERIOD_MS);
    assert!(longest_ms <= LEASE_MS + 2 * PERIOD_MS, "{longest_ms} ms");
}

async fn a_run_that_kills_its_workers_is_given_up(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l9000").await;
    let caller = muster.caller(&muster.us).await;
    let (held, run) = begun(&muster.app, &caller, &agent).await;
    drop(held);
    let alone = muster.app.config().sole_epoch.is_some();
    let limit = if alone { run::SOLE_TAKEOVERS_LIMIT } else { run::TAKEOVERS_LIMIT };
    for taken in 1..=limit {
        muster.pass(LEASE_AND_MORE_MS);
        assert_eq!(muster.reap().await.asked, 1);
        let dying = tokio::time::timeout(std::time::Duration::from_millis(500), muster.drain());
        assert!(dying.await.is_err(), "worker {taken} dies in the middle of its call");
        assert_eq!(look(&muster, &run).await["status"], "running");
        assert_eq!(explain(&muster, &run).await["takeovers"], taken);
    }
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
    muster.drain().await;
    let ended = look(&muster, &run).await;
    assert_eq!(json!([ended["status"], ended["reason"]]), json!(["error", "worker_crash_loop"]));
    assert_eq!(ended["usage"]["model_calls"], limit + 1);
}

async fn a_passed_deadline_ends_a_run_that_nobody_took(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let body = json!({"message": "hello", "deadline": muster.in_ms(10_000)});
    let run = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202), "id");
    muster.lose_messages().await;
    muster.pass(10_001);
    assert_eq!(muster.reap().await.ended, 1);
    let ended = look(&muster, &run).await;
    assert_eq!(json!([ended["status"], ended["reason"]]), json!(["error", "deadline"]));
    assert_eq!((muster.models.stats().calls, muster.queued()), (0, 0));
}

async fn a_passed_deadline_ends_a_run_that_waits(muster: Muster) {
    let agent = muster.us.agent("openai/fake-e1-x429-a3600").await;
    let body = json!({"message": "hello", "deadline": muster.in_ms(60_000)});
    let run = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202), "id");
    muster.drain().await;
    let waiting = look(&muster, &run).await;
    assert_eq!(waiting["status"], "waiting");
    assert_eq!(explain(&muster, &run).await["waits_until"], waiting["deadline"]);
    muster.pass(60_001);
    assert_eq!(muster.reap().await.ended, 1);
    let ended = look(&muster, &run).await;
    assert_eq!(json!([ended["status"], ended["reason"]]), json!(["error", "deadline"]));
}

async fn a_batch_whose_messages_were_lost_goes_on(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let items: Vec<Value> = (0..120).map(|n| json!({"message": n.to_string()})).collect();
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({"items": items})).await.status(202);
    assert_eq!(muster.lose_messages().await, 3);
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 120);
    muster.drain().await;
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.batches, 1, "its end is written down though nobody looks");
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.batches, 0);
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(ended["counts"]["done"], 120);
    assert!(ended["wall_ms"].as_i64() < Some(2 * LEASE_AND_MORE_MS), "{ended}");
}

async fn a_cancel_that_was_begun_is_gone_on_with(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l9000").await;
    let caller = muster.caller(&muster.us).await;
    let (held, run) = begun(&muster.app, &caller, &agent).await;
    let asked = muster.us.send("POST", &format!("/v1/runs/{run}/cancel"), "").await;
    assert_eq!(asked.status(202)["status"], "running");
    assert_eq!(explain(&muster, &run).await["cancel_requested"], true);
    drop(held);
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.ended, 1);
    assert_eq!(look(&muster, &run).await["status"], "interrupted");
    assert_eq!(muster.models.stats().calls, 0);
}

/// Makes the run's row one that cannot be read; it stays due.
async fn spoil(muster: &Muster, run: &str) {
    let id = run.replace("run_", "");
    let key = Key::new(Table::Runs, format!("O#{}#R#{id}", muster.us.org), "META");
    let row = muster.app.store().backend().get(&key).await.unwrap().unwrap();
    let spoilt = Row { rev: Rev::fresh(), body: "{}".to_owned(), ..row };
    muster.app.store().backend().transact(vec![Write::Put(spoilt, When::Any)]).await.unwrap();
}

async fn a_row_that_cannot_be_read_stops_nothing_else(muster: Muster) {
    let (ours, theirs) = (muster.us.agent("demo/scripted-l0").await, muster.them.agent("demo/scripted-l0").await);
    let spoilt = muster.us.run(&ours, "hello").await;
    let items = json!({"items": [{"message": "a"}, {"message": "b"}]});
    let batch = muster.us.post(&format!("/v1/agents/{ours}/batches"), items).await.status(202);
    let of_batch = muster.us.get(&format!("/v1/runs?batch_id={}", text(&batch, "id"))).await.ok();
    let (its, good) = (text(&of_batch["data"][0], "id"), text(&of_batch["data"][1], "id"));
    for run in [&spoilt, &its] {
        spoil(&muster, run).await;
    }
    let beside = muster.us.run(&ours, "hello").await;
    let other = muster.them.run(&theirs, "hello").await;
    muster.lose_messages().await;
    assert_eq!(shared::engine::recover(&muster.app).await.unwrap().asked, 3);
    muster.lose_messages().await;
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 3);
    muster.drain().await;
    for run in [&beside, &good] {
        assert_eq!(look(&muster, run).await["status"], "done");
    }
    assert_eq!(muster.them.get(&format!("/v1/runs/{other}")).await.ok()["status"], "done");
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
}

async fn what_runs_is_left_alone(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("openai/fake-l1500").await;
    let run = muster.us.run(&agent, "hello").await;
    muster.until(&format!("/v1/runs/{run}"), |run| run["status"] == "running").await;
    muster.pass(50_000);
    assert_eq!(muster.reap().await.asked, 0, "its lease holds");
    let ended = muster.until(&format!("/v1/runs/{run}"), |run| run["terminal"] == true).await;
    assert_eq!(json!([ended["status"], ended["usage"]["model_calls"]]), json!(["done", 1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_beside_others_renews_its_lease() {
    let muster = Muster::on_dynamo().await.at_work();
    let agent = muster.us.agent("openai/fake-l6000").await;
    let run = muster.us.run(&agent, "hello").await;
    muster.until(&format!("/v1/runs/{run}"), |run| run["status"] == "running").await;
    muster.pass(40_000);
    tokio::time::sleep(std::time::Duration::from_millis(3_000)).await;
    muster.pass(40_000);
    assert_eq!(muster.reap().await.asked, 0);
    let ended = muster.until(&format!("/v1/runs/{run}"), |run| run["terminal"] == true).await;
    assert_eq!(json!([ended["status"], ended["usage"]["model_calls"]]), json!(["done", 1]));
}
