//! Rows of batches before they are accepted: nobody sees them, and those that never are go, in nobody's way.

use shared::{
    App,
    batch::{self, Item, NewBatch, Shared},
    id::{AgentId, BatchId, RunId},
    idempotency::{Claim, Seen},
    run::{Origin, Prompt},
    store::row::{Error, Key, Row, Table, When, Write},
};

use crate::{
    harness::{Muster, on_every_backend},
    reaper::{HOUR_MS, LEASE_AND_MORE_MS},
};

on_every_backend!(
    a_batch_that_lost_a_race_leaves_nothing_behind,
    a_batch_that_was_never_accepted_is_invisible_and_discarded,
    a_batch_that_was_accepted_late_goes_on_though_its_messages_were_lost,
);

fn items_for(agent: AgentId, count: usize) -> NewBatch {
    let item =
        |n| Item { custom_id: None, prompt: Prompt::Message(format!("item {n}")), mode: None, attachments: Vec::new() };
    NewBatch {
        agent_id: agent,
        version: None,
        model: None,
        items: (0..count).map(item).collect(),
        limit: count,
        items_field: "items",
        origin: Origin::Native,
        deadline_at: None,
        metadata: std::collections::BTreeMap::new(),
        webhook_url: None,
        shared: Shared::default(),
        reduction: None,
    }
}

/// The rows that a process which dies before it has its batch accepted leaves behind: copies of an accepted batch's.
struct Dying {
    batch: BatchId,
    runs: Vec<RunId>,
    staged: Vec<Row>,
    accepts: Row,
}

impl Dying {
    async fn new(muster: &Muster, agent: AgentId, items: usize) -> Self {
        let (app, caller) = (&muster.app, muster.caller(&muster.us).await);
        let planned = batch::plan(app, &caller, items_for(agent, items)).await.unwrap();
        let (batch, runs) = (planned.batch().id, planned.batch().run_ids());
        let model = batch::plan(app, &caller, items_for(agent, items)).await.unwrap();
        let model = batch::start(app, model, Claim::none()).await.unwrap();
        let renamed = model.run_ids().into_iter().map(|id| id.to_string()).zip(runs.iter().map(RunId::to_string));
        let mut staged = Vec::new();
        for (from, to) in renamed {
            for (table, sort) in [(Table::Runs, "META"), (Table::Messages, "J#00000000")] {
                let key = Key::new(table, format!("O#{}#R#{from}", muster.us.org), sort);
                let names = [(from.clone(), to.clone()), (model.id.to_string(), batch.to_string())];
                staged.push(copy(app, &key, &names).await);
            }
        }
        let key = Key::new(Table::Runs, format!("O#{}#B#{}", muster.us.org, model.id), "META");
        let accepts = copy(app, &key, &[(model.id.to_string(), batch.to_string())]).await;
        Self { batch, runs, staged, accepts }
    }
}

/// A copy of the row under other names.
async fn copy(app: &App, key: &Key, names: &[(String, String)]) -> Row {
    let mut row = app.store().backend().get(key).await.unwrap().unwrap();
    let rename = |text: &mut String| names.iter().for_each(|(from, to)| *text = text.replace(from, to));
    rename(&mut row.key.partition);
    rename(&mut row.body);
    for entry in row.due.iter_mut().chain(&mut row.listed) {
        rename(&mut entry.sort);
    }
    row
}

async fn a_batch_that_lost_a_race_leaves_nothing_behind(muster: Muster) {
    let agent = AgentId::parse_prefixed(&muster.us.agent("openai/fake").await).unwrap();
    let (app, caller) = (&muster.app, muster.caller(&muster.us).await);
    let claim = || async {
        match Claim::check(app, &caller, Some("twin"), "POST", &[]).await.unwrap() {
            Seen::New(claim) => {
                claim.with(|| shared::idempotency::Answer { status: 202, location: None, body: String::new() })
            }
            seen @ (Seen::Answered(_) | Seen::Run(_)) => panic!("{seen:?}"),
        }
    };
    let (first, second) = (claim().await, claim().await);
    let accepted = batch::plan(app, &caller, items_for(agent, 60)).await.unwrap();
    let staged = batch::plan(app, &caller, items_for(agent, 60)).await.unwrap();
    let runs: Vec<RunId> = staged.batch().run_ids();
    batch::start(app, accepted, first).await.unwrap();
    batch::start(app, staged, second).await.unwrap_err();
    assert_eq!(muster.us.get("/v1/runs?limit=100").await.ok()["data"].as_array().unwrap().len(), 60);
    assert_eq!(muster.us.get("/v1/batches").await.ok()["data"].as_array().unwrap().len(), 1);
    for run in runs {
        for (table, sort) in [(Table::Runs, "META"), (Table::Messages, "J#00000000")] {
            let key = Key::new(table, format!("O#{}#R#{run}", muster.us.org), sort);
            assert_eq!(app.store().backend().get(&key).await.unwrap(), None);
        }
    }
    muster.drain().await;
    assert_eq!(muster.models.stats().calls, 60);
}

async fn a_batch_that_was_never_accepted_is_invisible_and_discarded(muster: Muster) {
    let agent = AgentId::parse_prefixed(&muster.us.agent("openai/fake").await).unwrap();
    let dying = Dying::new(&muster, agent, 2).await;
    muster.app.store().backend().put_many(dying.staged).await.unwrap();
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"].as_array().unwrap().len(), 2);
    assert_eq!(muster.us.get("/v1/batches").await.ok()["data"].as_array().unwrap().len(), 1);
    for query in ["", "sortField=agentName", "scoreFilters=none"] {
        assert_eq!(muster.us.get(&format!("/api/agent-runs?{query}")).await.ok()["totalCount"], 2, "{query}");
    }
    assert_eq!(muster.us.get("/api/chats?limit=1&offset=0").await.ok()["totalCount"], 2);
    assert_eq!(muster.us.get(&format!("/v1/batches/{}", dying.batch.prefixed())).await.code, 404);
    for run in &dying.runs {
        let path = format!("/v1/runs/{}", run.prefixed());
        for path in [path.clone(), format!("{path}/messages"), format!("{path}/explain")] {
            assert_eq!(muster.us.get(&path).await.code, 404);
        }
        assert_eq!(muster.us.send("POST", &format!("{path}/cancel"), "").await.code, 404);
        let feedback = serde_json::json!({"label": "up"});
        assert_eq!(muster.us.post(&format!("/api/agent-runs/{run}/feedback"), feedback).await.code, 404);
        assert_eq!(muster.us.get(&format!("/api/chat/history?chatId={run}")).await.code, 404);
        assert_eq!(muster.us.get(&format!("/api/v1/resource/chat/{run}/status")).await.code, 404);
    }
    muster.drain().await;
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!((muster.reap().await.discarded, muster.queued()), (0, 0));
    muster.pass(HOUR_MS);
    assert_eq!(muster.reap().await.discarded, 2);
    assert_eq!(muster.reap().await.discarded, 0);
    assert_eq!((muster.models.calls_with("item 0"), muster.models.calls_with("item 1")), (1, 1));
    // Who slept meanwhile does not accept what is not there any more.
    let accepted = muster.app.store().backend().transact(vec![Write::Put(dying.accepts, When::Absent)]).await;
    assert!(matches!(accepted, Err(Error::Conflict { index: 0 })), "{accepted:?}");
    assert_eq!(muster.us.get(&format!("/v1/batches/{}", dying.batch.prefixed())).await.code, 404);
    assert_eq!(muster.us.get("/v1/batches").await.ok()["data"].as_array().unwrap().len(), 1);
}

/// As many in one shard as a tick looks at, each due before the run whose message was lost. On one backend: DynamoDB's emulator
/// takes a minute for the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_accepted_hides_nothing_that_is_due() {
    let muster = Muster::on_sqlite().await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    let mut dying = Dying::new(&muster, AgentId::parse_prefixed(&agent).unwrap(), 1_000).await;
    muster.drain().await;
    let run = muster.us.run(&agent, "hello").await;
    let id = RunId::parse_prefixed(&run).unwrap();
    let key = Key::new(Table::Runs, format!("O#{}#R#{id}", muster.us.org), "META");
    let shard = muster.app.store().backend().get(&key).await.unwrap().unwrap().due.unwrap().partition;
    for row in &mut dying.staged {
        if let Some(due) = &mut row.due {
            (due.partition, due.sort) = (shard.clone(), format!("0{}", &due.sort[1..]));
        }
    }
    muster.app.store().backend().put_many(dying.staged).await.unwrap();
    muster.lose_messages().await;
    muster.pass(LEASE_AND_MORE_MS);
    let asked = muster.reap().await.asked + muster.reap().await.asked;
    assert_eq!(asked, 1);
    muster.drain().await;
    assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["status"], "done");
}

async fn a_batch_that_was_accepted_late_goes_on_though_its_messages_were_lost(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let dying = Dying::new(&muster, AgentId::parse_prefixed(&agent).unwrap(), 60).await;
    muster.drain().await;
    let backend = muster.app.store().backend();
    backend.put_many(dying.staged).await.unwrap();
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 0, "they are put off");
    assert_eq!(muster.us.get("/api/agent-runs?pageSize=1").await.ok()["totalCount"], 60);
    backend.put_many(vec![dying.accepts]).await.unwrap();
    assert_eq!(muster.us.get("/api/agent-runs?pageSize=1").await.ok()["totalCount"], 120);
    let path = format!("/v1/batches/{}", dying.batch.prefixed());
    assert_eq!(muster.us.get(&path).await.ok()["counts"]["queued"], 60, "a look at it is not the reaper's");
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 60);
    assert_eq!(muster.reap().await.asked, 0, "not twice");
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["counts"]["done"], 60);
    assert_eq!(muster.models.stats().calls, 120);
}
