//! Agents that are changed together, where one call of the database or another goes wrong.

use serde_json::{Value, json};
use shared::store::row::{Key, Table, When, Write};

use super::Database;
use crate::harness::{Client, Muster, text};

/// Two transactions of versions.
const MANY: usize = 150;

/// So many new agents, in the order of their ids.
async fn agents(client: &Client, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(text(
            &client.post("/v1/agents", json!({"name": "a", "model": "demo/scripted-l0"})).await.status(201),
            "id",
        ));
    }
    ids.sort_unstable();
    ids
}

fn described(ids: &[String], description: &str) -> Value {
    json!({"items": ids.iter().map(|id| json!({"id": id, "description": description})).collect::<Vec<_>>()})
}

fn version(muster: &Muster, id: &str, number: u32) -> Key {
    let (org, agent) = (muster.us.org, id.replace("agent_", ""));
    Key::new(Table::Agents, format!("O#{org}#A#{agent}"), format!("V#{number:010}"))
}

async fn body(muster: &Muster, key: &Key) -> Option<Value> {
    let row = muster.kept::<Database>().elsewhere().get(key).await.unwrap();
    row.map(|row| serde_json::from_str(&row.body).unwrap())
}

/// The change set that has put the agent's second version, as it is now.
async fn change_set(muster: &Muster, id: &str) -> Option<Value> {
    let put = body(muster, &version(muster, id, 2)).await?;
    let key = Key::new(Table::Agents, format!("O#{}#C#{}", muster.us.org, text(&put, "change_set")), "-");
    body(muster, &key).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_fails_in_the_middle_is_stopped_before_it_is_answered() {
    let muster = Muster::on_dynamo().await;
    let (ids, line) = (agents(&muster.us, MANY).await, &muster.kept::<Database>().line);
    for (passing, what) in [(1, "versions"), (2, "pointers")] {
        line.refuse(Some(("TransactWriteItems", passing)));
        muster.us.patch("/v1/agents", described(&ids, what)).await.status(503);
        let left = change_set(&muster, &ids[0]).await.unwrap();
        assert_eq!(left["state"], "stopped", "{what}: {left}");
    }
    line.refuse(None);
    muster.us.patch(&format!("/v1/agents/{}", ids[0]), json!({"description": "alone"})).await.ok();
    let changed = muster.us.patch("/v1/agents", described(&ids, "all")).await.ok();
    let numbers: Vec<&Value> = changed["data"].as_array().unwrap().iter().map(|agent| &agent["version"]).collect();
    assert_eq!((numbers[0], numbers[1], numbers.len()), (&json!(3), &json!(2), MANY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_takes_long_says_that_it_is_still_at_work() {
    let muster = Muster::on_dynamo().await;
    let (ids, line) = (agents(&muster.us, MANY).await, &muster.kept::<Database>().line);
    let gate = line.hold("TransactWriteItems");
    let (us, all) = (muster.us.clone(), described(&ids, "slowly"));
    let writing = tokio::spawn(async move { us.patch("/v1/agents", all).await });
    gate.add_permits(1);
    let begun = loop {
        match change_set(&muster, &ids[0]).await {
            Some(set) => break set,
            None => tokio::task::yield_now().await,
        }
    };
    muster.pass(3_000);
    gate.add_permits(1);
    while change_set(&muster, &ids[0]).await.unwrap()["until"] == begun["until"] {
        tokio::task::yield_now().await;
    }
    gate.add_permits(100);
    assert_eq!(writing.await.unwrap().ok()["data"].as_array().unwrap().len(), MANY);
    assert_eq!(change_set(&muster, &ids[0]).await.unwrap()["state"], "committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_tools_that_an_agent_lacks_are_looked_up_at_the_others() {
    let muster = Muster::on_dynamo().await;
    let tool = |name: &str| json!({"type": "http", "name": name, "method": "GET", "url": "https://api.example.com/x"});
    let body = json!({"name": "a", "model": "demo/scripted-l0", "tools": [tool("one"), tool("two")]});
    let full = text(&muster.us.post("/v1/agents", body).await.status(201), "id").replace("agent_", "");
    let empty = agents(&muster.us, 1).await[0].replace("agent_", "");
    let line = &muster.kept::<Database>().line;
    // Every agent is read in batches; one by itself is not.
    let reads_all = async |path: &str, change: Value| {
        line.take_calls();
        muster.us.put(path, change).await.ok();
        line.take_calls().contains_key("BatchGetItem")
    };
    let (of_full, of_empty) = (format!("/api/agents/{full}"), format!("/api/agents/{empty}"));
    assert!(!reads_all(&of_full, json!({"toolNames": ["two", "one"]})).await);
    let items = json!({"items": [{"id": full, "toolNames": ["two"]}, {"id": empty, "toolNames": []}]});
    assert!(!reads_all("/api/agents/batch", items).await);
    let nobody = json!({"items": [{"id": "019a2b3c-4d5e-7f60-8123-456789abcdef", "toolNames": ["x"]}]});
    assert!(!reads_all("/api/agents/batch", nobody).await);
    assert!(reads_all(&of_empty, json!({"toolNames": ["two"]})).await);
    assert_eq!(muster.us.get(&of_empty).await.ok()["toolNames"], json!(["two"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_version_is_missing_is_not_left_out_without_a_word() {
    let muster = Muster::on_dynamo().await;
    let ids = agents(&muster.us, 2).await;
    let gone = vec![Write::Delete(version(&muster, &ids[0], 1), When::Any)];
    muster.kept::<Database>().elsewhere().transact(gone).await.unwrap();
    for list in ["/api/agents", "/v1/agents", "/api/v1/agents"] {
        muster.us.get(list).await.status(500);
    }
}
