//! Evaluations that several look at, start or end at once, and what becomes of them when something else goes or a process dies half-way.

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    evaluation::{self, NewConfiguration, NewEvaluation, Tried},
    id::{AgentId, BatchId, RunId, TestSetId},
    idempotency::{Answer, Claim, Seen},
    run::Origin,
    store::row::{Index, Key, Query, Row, Table, When, Write},
};

use super::evaluations::{cells, set_of, started, verdicts};
use crate::{
    harness::{Muster, on_every_backend, text},
    reaper::{HOUR_MS, LEASE_AND_MORE_MS},
};

on_every_backend!(
    settlers_at_once_find_the_same,
    a_settler_that_died_is_followed_by_another,
    twins_start_one_evaluation_and_leave_nothing_behind,
    an_evaluation_that_was_never_accepted_is_discarded,
    an_evaluation_whose_messages_were_lost_goes_on,
    a_cancel_and_a_look_at_once_end_it,
    a_set_that_grows_changes_nothing,
    a_finished_matrix_outlives_its_set,
    a_set_that_goes_before_the_end_leaves_costs_and_no_verdicts,
    a_deleted_agent_is_run_to_the_end,
);

async fn two_configurations(muster: &Muster, cases: usize) -> (String, String) {
    let (one, other) = (muster.us.agent("openai/fake").await, muster.us.agent("demo/scripted-l0").await);
    let set = set_of(&muster.us, cases).await;
    let path = started(&muster.us, &set, json!([{"agent_id": one}, {"agent_id": other}])).await;
    (path, set)
}

/// The rows of the evaluation: its own, and those of verdicts.
async fn rows(muster: &Muster, path: &str) -> Vec<Row> {
    let partition = format!("O#{}#E#{}", muster.us.org, path.replace("/v1/evaluations/eval_", ""));
    let query = Query {
        table: Table::Runs,
        index: Index::Primary,
        partition,
        after: None,
        before: None,
        descending: false,
        limit: 1_000,
    };
    muster.app.store().backend().query(&query).await.unwrap().rows
}

async fn settlers_at_once_find_the_same(muster: Muster) {
    let (path, _) = two_configurations(&muster, 110).await;
    muster.drain().await;
    let other = muster.another_process();
    let looks = (0..8).map(|n| if n % 2 == 0 { muster.us.get(&path) } else { other.get(&path) });
    let mut seen: Vec<Value> = join_all(looks).await.into_iter().map(|answer| answer.ok()).collect();
    seen.retain(|one| one["terminal"] == true);
    seen.push(muster.us.get(&path).await.ok());
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]) && seen[0]["status"] == "done", "{seen:?}");
    assert_eq!(
        json!([seen[0]["configurations"][0]["correct"], seen[0]["configurations"][1]["correct"]]),
        json!([88, 0])
    );
    assert_eq!(rows(&muster, &path).await.len(), 1 + 2 * 2);
}

async fn a_settler_that_died_is_followed_by_another(muster: Muster) {
    let (path, _) = two_configurations(&muster, 110).await;
    muster.drain().await;
    let backend = muster.app.store().backend();
    let before = rows(&muster, &path).await;
    assert_eq!(before.len(), 1);
    let ended = muster.us.get(&path).await.ok();
    let all = cells(&muster.us, &path, 100).await;
    let after = rows(&muster, &path).await;
    // Dead after any number of the writes, whichever came first.
    for written in [0, 1, 3, 4] {
        let lost = after.iter().filter(|row| row.key.sort != "META").skip(written);
        let mut writes: Vec<Write> = lost.map(|row| Write::Delete(row.key.clone(), When::Any)).collect();
        writes.push(Write::Put(before[0].clone(), When::Any));
        backend.transact(writes).await.unwrap();
        assert_eq!(muster.us.get("/v1/evaluations").await.ok()["data"][0]["status"], "judging");
        assert_eq!(cells(&muster.us, &path, 100).await, all, "after {written}");
        if written % 2 == 0 {
            muster.pass(LEASE_AND_MORE_MS);
            assert_eq!(muster.reap().await.evaluations, 1);
        }
        assert_eq!(muster.us.get(&path).await.ok(), ended, "after {written}");
        assert_eq!(cells(&muster.us, &path, 100).await, all, "after {written}");
    }
}

async fn twins_start_one_evaluation_and_leave_nothing_behind(muster: Muster) {
    let agent = AgentId::parse_prefixed(&muster.us.agent("openai/fake").await).unwrap();
    let set = TestSetId::parse_prefixed(&set_of(&muster.us, 60).await).unwrap();
    let (app, caller) = (&muster.app, muster.caller(&muster.us).await);
    let claim = || async {
        match Claim::check(app, &caller, Some("twin"), "POST", &[]).await.unwrap() {
            Seen::New(claim) => claim.with(|| Answer { status: 202, location: None, body: String::new() }),
            seen @ (Seen::Answered(_) | Seen::Run(_)) => panic!("{seen:?}"),
        }
    };
    let tried = |model: Option<&str>| NewConfiguration {
        agent: Tried::Listed { id: agent, version: None },
        model: model.map(str::to_owned),
    };
    let new = || NewEvaluation {
        test_set_id: set,
        configurations: vec![tried(None), tried(Some("demo/scripted-l0"))],
        origin: Origin::Native,
        max_concurrency: None,
        budget_micro_usd: None,
        metadata: std::collections::BTreeMap::new(),
    };
    let (first, second) = (claim().await, claim().await);
    let won = evaluation::plan(app, &caller, new()).await.unwrap();
    let lost = evaluation::plan(app, &caller, new()).await.unwrap();
    let batches: Vec<BatchId> = lost.evaluation().configurations.iter().map(|one| one.batch_id).collect();
    evaluation::start(app, &caller, won, first).await.unwrap();
    evaluation::start(app, &caller, lost, second).await.unwrap_err();
    for (list, count) in [("/v1/evaluations", 1), ("/v1/batches", 2)] {
        assert_eq!(muster.us.get(list).await.ok()["data"].as_array().unwrap().len(), count, "{list}");
    }
    for run in batches.iter().flat_map(|batch| (0..60).map(|index| RunId::of_batch(*batch, index))) {
        for (table, sort) in [(Table::Runs, "META"), (Table::Messages, "J#00000000")] {
            let key = Key::new(table, format!("O#{}#R#{run}", muster.us.org), sort);
            assert_eq!(app.store().backend().get(&key).await.unwrap(), None);
        }
    }
    muster.drain().await;
    assert_eq!(muster.models.stats().calls, 60);
}

/// The evaluation as a process leaves it behind that dies before it is accepted: without its row and those of its batches.
async fn unaccepted(muster: &Muster, path: &str) {
    let view = muster.us.get(path).await.ok();
    let own = rows(muster, path).await.remove(0).key;
    let batch = |one: &Value| text(one, "batch_id").replace("batch_", "");
    let batches = view["configurations"].as_array().unwrap().iter().map(batch);
    let batches = batches.map(|id| Key::new(Table::Runs, format!("O#{}#B#{id}", muster.us.org), "META"));
    let writes = batches.chain([own]).map(|key| Write::Delete(key, When::Any)).collect();
    muster.app.store().backend().transact(writes).await.unwrap();
    muster.lose_messages().await;
}

async fn an_evaluation_that_was_never_accepted_is_discarded(muster: Muster) {
    let (path, _) = two_configurations(&muster, 5).await;
    let run = text(&cells(&muster.us, &path, 1).await[0], "run_id");
    unaccepted(&muster, &path).await;
    for gone in [path.clone(), format!("{path}/results"), format!("/v1/runs/{run}")] {
        muster.us.get(&gone).await.status(404);
    }
    for list in ["/v1/runs", "/v1/batches", "/v1/evaluations"] {
        assert_eq!(muster.us.get(list).await.ok()["data"], json!([]), "{list}");
    }
    muster.pass(LEASE_AND_MORE_MS);
    let reaped = muster.reap().await;
    assert_eq!((reaped.asked, reaped.discarded), (0, 0), "they are put off");
    muster.pass(HOUR_MS);
    assert_eq!(muster.reap().await.discarded, 10);
    muster.drain().await;
    assert_eq!(muster.models.stats().calls, 0);
}

async fn an_evaluation_whose_messages_were_lost_goes_on(muster: Muster) {
    let (path, _) = two_configurations(&muster, 5).await;
    muster.lose_messages().await;
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 10);
    muster.drain().await;
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
    assert_eq!(muster.us.get("/v1/evaluations").await.ok()["data"][0]["configurations"][0]["correct"], 4, "{path}");
}

async fn a_cancel_and_a_look_at_once_end_it(muster: Muster) {
    let (path, _) = two_configurations(&muster, 30).await;
    let other = muster.another_process();
    let cancel = format!("{path}/cancel");
    let cancels = [muster.us.send("POST", &cancel, ""), other.send("POST", &cancel, "")];
    let looks = [muster.us.get(&path), other.get(&path)];
    let (cancels, looks) = tokio::join!(join_all(cancels), join_all(looks));
    assert!(cancels.iter().all(|answer| [200, 202].contains(&answer.code)), "{cancels:?}");
    assert!(looks.iter().all(|answer| answer.code == 200), "{looks:?}");
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(json!([ended["status"], ended["configurations"][0]["counts"]["interrupted"]]), json!(["done", 30]));
    assert_eq!(muster.models.stats().calls, 0);
    assert_eq!(verdicts(&cells(&muster.us, &path, 100).await), ["no_answer"; 60]);
}

async fn a_set_that_grows_changes_nothing(muster: Muster) {
    let (path, set) = two_configurations(&muster, 3).await;
    let more = json!({"items": [{"message": "say a", "validations": [{"exact": {"expected": "a"}}]}]});
    muster.us.post(&format!("/v1/test_sets/{set}/items"), more).await.ok();
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(json!([ended["cases"], ended["configurations"][0]["correct"]]), json!([3, 3]));
    assert_eq!(cells(&muster.us, &path, 100).await.len(), 6);
    let again = started(&muster.us, &set, json!([{"agent_id": ended["configurations"][0]["agent_id"]}])).await;
    assert_eq!(muster.us.get(&again).await.ok()["cases"], 4);
}

async fn a_finished_matrix_outlives_its_set(muster: Muster) {
    let (path, set) = two_configurations(&muster, 12).await;
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    let all = cells(&muster.us, &path, 100).await;
    muster.us.delete(&format!("/v1/test_sets/{set}")).await.status(204);
    assert_eq!(muster.us.get(&path).await.ok(), ended);
    assert_eq!(cells(&muster.us, &path, 7).await, all);
}

async fn a_set_that_goes_before_the_end_leaves_costs_and_no_verdicts(muster: Muster) {
    let (path, set) = two_configurations(&muster, 12).await;
    muster.us.delete(&format!("/v1/test_sets/{set}")).await.status(204);
    assert_eq!(muster.us.get(&path).await.ok()["status"], "running");
    assert_eq!(muster.us.get(&format!("{path}/results")).await.code_of(409), "conflict");
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(ended["status"], "done");
    for configuration in ended["configurations"].as_array().unwrap() {
        assert!(configuration["cost_micro_usd"].as_u64() > Some(0) && configuration["p50_ms"].is_u64());
        for field in ["correct", "correctness", "correctness_interval", "price_per_correct_micro_usd", "unbeaten"] {
            assert_eq!(configuration[field], Value::Null, "{field}");
        }
        assert_eq!(configuration["no_price_reason"], "test_set_deleted");
    }
    for query in ["", "?format=ndjson"] {
        assert_eq!(muster.us.get(&format!("{path}/results{query}")).await.code_of(409), "conflict");
    }
}

async fn a_deleted_agent_is_run_to_the_end(muster: Muster) {
    let (path, _) = two_configurations(&muster, 3).await;
    let agent = text(&muster.us.get(&path).await.ok()["configurations"][0], "agent_id");
    muster.us.delete(&format!("/v1/agents/{agent}")).await.status(204);
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(json!([ended["status"], ended["configurations"][0]["correct"]]), json!(["done", 3]));
}
