//! How often runs call DynamoDB, which takes time and money for each call.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Database;
use crate::harness::Muster;

/// One call may read 100 rows.
#[tokio::test]
async fn a_run_of_a_batch_reads_nothing_of_the_others() {
    let muster = Muster::on_dynamo().await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    let database: &Database = muster.kept();
    let mut calls = [100_usize, 300].map(|items| (items, BTreeMap::new()));
    // Who listens and the like is remembered from the first on.
    for (items, calls) in [&mut (1, BTreeMap::new())].into_iter().chain(&mut calls) {
        let items: Vec<Value> = (0..*items).map(|n| json!({"message": format!("item {n}")})).collect();
        let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({"items": items})).await;
        let path = batch.header("location").to_owned();
        database.line.take_calls();
        muster.drain().await;
        *calls = database.line.take_calls();
        assert_eq!(muster.us.get(&path).await.ok()["counts"]["done"], items.len());
    }
    let [(few, of_few), (many, of_many)] = calls;
    println!("{few} runs: {of_few:?}; {many} runs: {of_many:?}");
    // Rows of runs are read together and in no other way; single rows, which are remembered for a while, are read again when that is over.
    let more = of_many["BatchGetItem"].saturating_sub(of_few["BatchGetItem"]);
    assert!(more * 10 < many - few, "{} runs more read {more} times more: {of_few:?}, {of_many:?}", many - few);
}
