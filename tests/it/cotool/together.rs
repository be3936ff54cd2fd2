//! Changing many agents together, here and on the native surface.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{agent, fields, path};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    many_agents_change_together,
    one_bad_item_and_no_agent_changes,
    an_item_is_refused_of_nobodys_agent_only_if_it_is_bad_of_any,
    agents_that_are_not_there_are_left_out_or_refused,
    a_batch_has_1_to_200_items_each_for_another_agent,
    what_changes_nothing_makes_no_version,
    batches_and_changes_at_the_same_time_are_all_made,
    a_writer_that_dies_leaves_nothing_to_be_seen_and_nobody_waiting,
    the_native_surface_offers_the_same,
);

async fn agents(muster: &Muster, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(agent(&muster.us).await);
    }
    ids
}

fn items(ids: &[String], change: &Value) -> Value {
    let item = |id: &String| {
        let mut item = change.clone();
        item["id"] = json!(id);
        item
    };
    json!({"items": ids.iter().map(item).collect::<Vec<_>>()})
}

async fn descriptions(muster: &Muster) -> Vec<Value> {
    let listed = muster.us.get("/api/agents").await.ok();
    listed.as_array().unwrap().iter().map(|agent| agent["description"].clone()).collect()
}

async fn many_agents_change_together(muster: Muster) {
    let ids = agents(&muster, 200).await;
    let changed =
        muster.us.put("/api/agents/batch", items(&ids, &json!({"description": "all", "tags": ["t"]}))).await.ok();
    let seen: Vec<Value> = changed["agents"].as_array().unwrap().iter().map(|agent| agent["id"].clone()).collect();
    assert_eq!(json!(seen), json!(ids), "in the order of the request");
    assert_eq!(descriptions(&muster).await, vec![json!("all"); 200]);
    for id in [&ids[0], &ids[199]] {
        let versions = muster.us.get(&format!("{}/versions", path(id))).await.ok();
        assert_eq!(json!([versions[0]["version"], versions[0]["definition"]["tags"]]), json!([2, ["t"]]));
        assert_eq!(versions.as_array().unwrap().len(), 2);
    }
    // Each item may change something else.
    let two = json!({"items": [{"id": ids[1], "name": "one"}, {"id": ids[0], "description": "two"}]});
    let changed = muster.us.put("/api/agents/batch", two).await.ok();
    assert_eq!(json!([changed["agents"][0]["name"], changed["agents"][1]["description"]]), json!(["one", "two"]));
    assert_eq!(muster.us.get(&path(&ids[1])).await.ok(), changed["agents"][0]);
}

async fn one_bad_item_and_no_agent_changes(muster: Muster) {
    let ids = agents(&muster, 3).await;
    let before = muster.us.get("/api/agents").await.ok();
    for (bad, at) in [
        (json!({"name": ""}), "items[1].name"),
        (json!({"name": 1}), "items[1].name"),
        (json!({"modelAlias": "acme/x"}), "items[1].modelAlias"),
        (json!({"structuredOutputSchema": 1}), "items[1].structuredOutputSchema"),
        (json!({"toolNames": ["x"]}), "items[1].toolNames[0]"),
        (json!({"colour": 1}), "items[1].colour"),
    ] {
        let mut body = items(&ids, &json!({"description": "changed"}));
        body["items"][1].as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert_eq!(fields(muster.us.put("/api/agents/batch", body).await), [at]);
    }
    // Also where its agent is not there; what tools such a one has nobody knows.
    let nobody = "019a2b3c-4d5e-7f60-8123-456789abcdef";
    for (bad, at) in [
        (json!({"name": ""}), "items[1].name"),
        (json!({"modelAlias": "acme/x"}), "items[1].modelAlias"),
        (json!({"structuredOutputSchema": 1, "toolNames": ["x"]}), "items[1].structuredOutputSchema"),
    ] {
        let mut body = json!({"items": [{"id": ids[0], "description": "changed"}, {"id": nobody}]});
        body["items"][1].as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert_eq!(fields(muster.us.put("/api/agents/batch", body).await), [at]);
    }
    let mut body = items(&ids, &json!({"description": "changed"}));
    body["items"][0]["name"] = json!("");
    body["items"][2]["tags"] = json!([""]);
    assert_eq!(fields(muster.us.put("/api/agents/batch", body).await), ["items[0].name", "items[2].tags[0]"]);
    assert_eq!(muster.us.get("/api/agents").await.ok(), before);
}

async fn an_item_is_refused_of_nobodys_agent_only_if_it_is_bad_of_any(muster: Muster) {
    let ours = format!("agent_{}", agent(&muster.us).await);
    let put = async |change: Value| {
        let mut nobody = json!({"id": "agent_00000000-0000-7000-8000-000000000000"});
        nobody.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        muster.us.patch("/v1/agents", json!({"items": [{"id": ours, "description": change.to_string()}, nobody]})).await
    };
    let default = muster.app.models().default_model().to_string();
    for good in [
        json!({"fallback_models": [default]}),
        json!({"budget_micro_usd": 5}),
        json!({"model": "openai/fake-l1"}),
        json!({"model": "openai/fake", "fallback_models": [default], "budget_micro_usd": 5}),
    ] {
        let changed = put(good.clone()).await.ok();
        assert_eq!(changed["data"].as_array().unwrap().len(), 1, "{good}");
        assert_eq!(changed["data"][0]["description"], good.to_string());
    }
    let before = muster.us.get(&format!("/v1/agents/{ours}")).await.ok();
    for (bad, at) in [
        (json!({"fallback_models": ["acme/x"]}), "fallback_models[0]"),
        (json!({"fallback_models": [default, default]}), "fallback_models[1]"),
        (json!({"model": default, "fallback_models": [default]}), "fallback_models[0]"),
        (json!({"budget_micro_usd": 0}), "budget_micro_usd"),
        // No price of it is known.
        (json!({"model": "openai/fake-l1", "budget_micro_usd": 5}), "budget_micro_usd"),
        (json!({"fallback_models": ["openai/fake-l1"], "budget_micro_usd": 5}), "budget_micro_usd"),
        (json!({"max_steps": 0}), "max_steps"),
    ] {
        assert_eq!(put(bad.clone()).await.param(), format!("items[1].{at}"), "{bad}");
    }
    assert_eq!(muster.us.get(&format!("/v1/agents/{ours}")).await.ok(), before);
}

async fn agents_that_are_not_there_are_left_out_or_refused(muster: Muster) {
    let (ours, theirs) = (agent(&muster.us).await, agent(&muster.them).await);
    let deleted = agent(&muster.us).await;
    muster.us.delete(&format!("/v1/agents/agent_{deleted}")).await.status(204);
    let unknown = "019a2b3c-4d5e-7f60-8123-456789abcdef".to_owned();
    let ids = [unknown, theirs.clone(), ours.clone(), deleted, "x".to_owned()];
    let strict = muster.us.put("/api/agents/batch?strict=true", items(&ids, &json!({"name": "n"}))).await;
    assert_eq!(strict.status(404), json!({"error": "agent not found"}));
    assert_eq!(muster.us.get(&path(&ours)).await.ok()["name"], "a");
    let changed = muster.us.put("/api/agents/batch", items(&ids, &json!({"name": "n"}))).await.ok();
    let seen: Vec<String> = changed["agents"].as_array().unwrap().iter().map(|agent| text(agent, "id")).collect();
    assert_eq!(seen, std::slice::from_ref(&ours));
    assert_eq!(muster.them.get(&path(&theirs)).await.ok()["name"], "a");
    let strict = muster.us.put("/api/agents/batch?strict=true", items(&[ours], &json!({"name": "m"}))).await.ok();
    assert_eq!(strict["agents"][0]["name"], "m");
    let nothing = muster.us.put("/api/agents/batch", items(&["x".to_owned()], &json!({"name": "m"}))).await.ok();
    assert_eq!(nothing, json!({"agents": []}));
}

async fn a_batch_has_1_to_200_items_each_for_another_agent(muster: Muster) {
    let id = agent(&muster.us).await;
    let many: Vec<String> = (0..201).map(|_| uuid::Uuid::now_v7().to_string()).collect();
    for (body, at) in [
        (json!({}), "items"),
        (json!({"items": {}}), "items"),
        (json!({"items": []}), "items"),
        (items(&many, &json!({})), "items"),
        (json!({"items": [1]}), "items[0]"),
        (json!({"items": [{"name": "n"}]}), "items[0].id"),
        (json!({"items": [{"id": 1}]}), "items[0].id"),
        (json!({"items": [{"id": id}, {"id": id, "name": "n"}]}), "items[1].id"),
        (json!({"items": [{"id": id}], "x": 1}), "x"),
        (json!([]), ""),
    ] {
        assert_eq!(fields(muster.us.put("/api/agents/batch", body).await), [at]);
    }
    assert_eq!(fields(muster.us.put("/api/agents/batch?strict=x", json!({"items": [{"id": id}]})).await), ["strict"]);
    assert_eq!(muster.us.get(&path(&id)).await.ok()["name"], "a");
}

async fn what_changes_nothing_makes_no_version(muster: Muster) {
    let ids = agents(&muster, 2).await;
    let body = json!({"items": [{"id": ids[0], "name": "a"}, {"id": ids[1], "name": "b"}]});
    muster.us.put("/api/agents/batch", body.clone()).await.ok();
    muster.us.put("/api/agents/batch", body).await.ok();
    let mut counts = Vec::new();
    for id in &ids {
        counts.push(muster.us.get(&format!("{}/versions", path(id))).await.ok().as_array().unwrap().len());
    }
    assert_eq!(counts, [1, 2]);
}

async fn batches_and_changes_at_the_same_time_are_all_made(muster: Muster) {
    let ids = agents(&muster, 20).await;
    let batches = (0..6).map(|n| {
        let change = json!({"cliNames": [format!("cli{n}")]});
        let (ids, us) = (ids.clone(), muster.us.clone());
        async move { us.put("/api/agents/batch", items(&ids, &change)).await.ok() }
    });
    let alone = ids.iter().map(|id| {
        let (us, path) = (muster.us.clone(), path(id));
        async move { us.put(&path, json!({"name": "alone"})).await.ok() }
    });
    let alone = futures_util::future::join_all(alone);
    futures_util::future::join(futures_util::future::join_all(batches), alone).await;
    let listed = muster.us.get("/api/agents").await.ok();
    let clis: std::collections::BTreeSet<String> =
        listed.as_array().unwrap().iter().map(|agent| agent["cliNames"].to_string()).collect();
    assert_eq!(clis.len(), 1, "{clis:?}");
    for id in &ids {
        let versions = muster.us.get(&format!("{}/versions", path(id))).await.ok();
        assert_eq!(json!([versions[0]["version"], versions[0]["definition"]["name"]]), json!([8, "alone"]), "{id}");
    }
}

async fn a_writer_that_dies_leaves_nothing_to_be_seen_and_nobody_waiting(muster: Muster) {
    let ids = agents(&muster, 40).await;
    let before = muster.us.get("/api/agents").await.ok();
    let mut died = 0;
    for ms in 0..60 {
        let body = items(&ids, &json!({"description": format!("killed after {ms}")}));
        let us = muster.us.clone();
        let writer = async move { us.put("/api/agents/batch", body).await };
        died += usize::from(timeout(Duration::from_millis(ms), writer).await.is_err());
        // What it had handed to the store before it died may yet be written between two looks.
        loop {
            let seen = descriptions(&muster).await;
            assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
            let mut newest = Vec::new();
            for id in [&ids[0], &ids[39]] {
                let versions = muster.us.get(&format!("{}/versions", path(id))).await.ok();
                newest.push(versions[0]["definition"]["description"].clone());
            }
            if descriptions(&muster).await == seen {
                assert_eq!(newest, [seen[0].clone(), seen[0].clone()]);
                break;
            }
        }
        // Who comes later waits five seconds for one that may still be at work, and not longer.
        muster.pass(5_001);
    }
    assert!(died > 0);
    muster.us.put(&path(&ids[0]), json!({"description": "alone"})).await.ok();
    muster.us.put("/api/agents/batch", items(&ids, &json!({"description": "at last"}))).await.ok();
    assert_eq!(descriptions(&muster).await, vec![json!("at last"); 40]);
    assert_ne!(muster.us.get("/api/agents").await.ok(), before);
}

async fn the_native_surface_offers_the_same(muster: Muster) {
    let ids: Vec<String> = agents(&muster, 3).await.iter().map(|id| format!("agent_{id}")).collect();
    let changed = muster.us.patch("/v1/agents", items(&ids, &json!({"max_steps": 3}))).await.ok();
    let seen: Vec<Value> =
        changed["data"].as_array().unwrap().iter().map(|one| json!([one["id"], one["max_steps"]])).collect();
    assert_eq!(json!(seen), json!([[ids[0], 3], [ids[1], 3], [ids[2], 3]]));
    let mut bad = items(&ids, &json!({"max_steps": 4}));
    bad["items"][2]["max_steps"] = json!(0);
    assert_eq!(muster.us.patch("/v1/agents", bad).await.param(), "items[2].max_steps");
    let plain = ids[0].replace("agent_", "");
    let left_out =
        muster.us.patch("/v1/agents", items(std::slice::from_ref(&plain), &json!({"max_steps": 5}))).await.ok();
    assert_eq!(left_out, json!({"data": []}));
    muster.us.patch("/v1/agents?strict=true", items(&[plain], &json!({"max_steps": 5}))).await.status(404);
    let agent = muster.us.get(&format!("/v1/agents/{}", ids[0])).await.ok();
    assert_eq!(json!([agent["version"], agent["max_steps"]]), json!([2, 3]));
}
