//! Chains: the end of one agent's run starts another's, once, and not for ever.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{runs, told, trigger};
use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    an_agent_goes_on_with_what_another_has_said,
    ends_that_nobody_asked_for_start_nothing,
    each_item_of_a_batch_is_gone_on_with_once,
    rows_of_an_output_are_a_batch,
    a_chain_ends,
    a_message_that_comes_again_starts_nothing,
    what_goes_on_is_as_it_was_last_said,
    there_is_room_for_so_many,
    whose_ends_they_are_is_checked,
);

/// A trigger of `to` that goes on from the ends of `from`.
async fn chain(client: &Client, from: &str, to: &str, others: Value) -> String {
    let mut body = json!({"from": {"agent_id": from}});
    body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    trigger(client, to, "run", body).await.id
}

async fn events(client: &Client, trigger: &str) -> Vec<Value> {
    client.get(&format!("/v1/triggers/{trigger}/events")).await.ok()["data"].as_array().unwrap().clone()
}

/// An agent that answers with an object which has these rows.
async fn structured(client: &Client) -> String {
    let schema = json!({"type": "object", "required": ["rows"], "additionalProperties": false, "properties":
        {"rows": {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "string", "enum": ["a"]}}}});
    let body = json!({"name": "rows", "model": "demo/scripted-l0", "output_schema": schema});
    text(&client.post("/v1/agents", body).await.status(201), "id")
}

async fn an_agent_goes_on_with_what_another_has_said(muster: Muster) {
    let us = &muster.us;
    let [a, b, c] =
        [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let first = chain(
        us,
        &a,
        &b,
        json!({"message": "{{ body.metadata.who }} said {{ body.output }} when asked {{ body.message }}"}),
    )
    .await;
    let second = chain(us, &b, &c, json!({})).await;
    let body = json!({"message": "one two three", "metadata": {"who": "A"}});
    let run = text(&us.post(&format!("/v1/agents/{a}/runs"), body).await.status(202), "id");
    muster.drain().await;
    let said = us.get(&format!("/v1/runs/{run}")).await.ok()["result"].as_str().unwrap().to_owned();
    let [event] = &events(us, &first).await[..] else { panic!("one event") };
    assert_eq!((&event["event_id"], &event["outcome"]), (&json!(run), &json!("accepted")));
    let next = text(event, "run_id");
    assert_eq!(told(us, &next).await, format!("A said {said} when asked one two three"));
    let shown = us.get(&format!("/v1/runs/{next}")).await.ok();
    assert_eq!(
        (&shown["agent_id"], &shown["trigger_id"], &shown["caused_by_run_id"], &shown["status"]),
        (&json!(b), &json!(first), &json!(run), &json!("done"))
    );
    // Without a template an agent is told what the one before has said.
    let last = text(&events(us, &second).await[0], "run_id");
    assert_eq!(told(us, &last).await, shown["result"]);
    assert_eq!(runs(us).await.len(), 3);
    assert_eq!(us.get(&format!("/v1/runs/{run}")).await.ok()["caused_by_run_id"], Value::Null);
}

async fn ends_that_nobody_asked_for_start_nothing(muster: Muster) {
    let us = &muster.us;
    let [a, b] = [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let well = chain(us, &a, &b, json!({"message": "well"})).await;
    let ends = json!({"from": {"agent_id": a, "on": ["error", "interrupted"]}, "message": "{{ body.status }} {{ body.reason }}"});
    let badly = trigger(us, &b, "run", ends).await.id;
    let whole = trigger(us, &b, "run", json!({"from": {"agent_id": a, "on": ["error"]}})).await.id;
    let filtered = chain(us, &b, &b, json!({"message": "x", "filter": "body.metadata.again == 'yes'"})).await;
    let path = format!("/v1/agents/{a}/runs");
    let failed = text(&us.post(&path, json!({"message": "a", "budget_micro_usd": 1})).await.status(202), "id");
    let cancelled = us.run(&a, "cancelled").await;
    us.post(&format!("/v1/runs/{cancelled}/cancel"), json!({})).await.ok();
    let done = us.run(&a, "done").await;
    muster.drain().await;
    let ids = |events: &[Value]| events.iter().map(|event| text(event, "event_id")).collect::<BTreeSet<String>>();
    assert_eq!(ids(&events(us, &well).await), BTreeSet::from([done]));
    let seen = events(us, &badly).await;
    assert_eq!(ids(&seen), BTreeSet::from([failed, cancelled]));
    let mut said = BTreeSet::new();
    for event in &seen {
        said.insert(told(us, &text(event, "run_id")).await.as_str().unwrap().to_owned());
    }
    assert_eq!(said, BTreeSet::from(["error budget_exceeded".to_owned(), "interrupted cancelled".to_owned()]));
    // Where nothing was said, the agent is told the whole.
    let event: Value =
        serde_json::from_str(told(us, &text(&events(us, &whole).await[0], "run_id")).await.as_str().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["reason"]), (&json!("run.error"), &json!("budget_exceeded")));
    let seen = events(us, &filtered).await;
    assert!(seen.len() == 4 && seen.iter().all(|event| event["outcome"] == "filtered"), "{seen:?}");
}

async fn each_item_of_a_batch_is_gone_on_with_once(muster: Muster) {
    let us = &muster.us;
    let [a, b] = [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let id = chain(us, &a, &b, json!({"message": "{{ body.custom_id }} of {{ body.batch_id }}"})).await;
    let items: Vec<Value> = (0..30).map(|n| json!({"custom_id": format!("i{n}"), "message": "x"})).collect();
    let batch = text(&us.post(&format!("/v1/agents/{a}/batches"), json!({"items": items})).await.status(202), "id");
    muster.drain_twice().await;
    let next: Vec<Value> = runs(us).await.into_iter().filter(|run| run["trigger_id"] == id.as_str()).collect();
    assert_eq!(next.len(), 30);
    let mut said = Vec::new();
    for run in &next {
        said.push(told(us, &text(run, "id")).await.as_str().unwrap().to_owned());
    }
    said.sort();
    let mut expected: Vec<String> = (0..30).map(|n| format!("i{n} of {batch}")).collect();
    expected.sort();
    assert_eq!(said, expected);
}

async fn rows_of_an_output_are_a_batch(muster: Muster) {
    let us = &muster.us;
    let (a, b) = (structured(us).await, us.agent("demo/scripted-l0").await);
    let id = chain(us, &a, &b, json!({"rows": "body.output.rows", "message": "row {{ row }}"})).await;
    let run = us.run(&a, "give rows").await;
    muster.drain().await;
    let event = &events(us, &id).await[0];
    let batch = us.get(&format!("/v1/batches/{}", text(event, "batch_id"))).await.ok();
    assert_eq!((&batch["items"], &batch["caused_by_run_id"]), (&json!(3), &json!(run)));
    // An object that an agent has said is the next one's inputs.
    let body = json!({"name": "takes", "model": "demo/scripted-l0", "inputs": [{"name": "rows", "type": "array"}]});
    let takes = text(&us.post("/v1/agents", body).await.status(201), "id");
    let given = chain(us, &a, &takes, json!({})).await;
    us.run(&a, "give rows again").await;
    muster.drain().await;
    let next = text(&events(us, &given).await[0], "run_id");
    let input: Value = serde_json::from_str(told(us, &next).await.as_str().unwrap()).unwrap();
    assert_eq!(input, json!({"rows": ["a", "a", "a"]}));
}

async fn a_chain_ends(muster: Muster) {
    let us = &muster.us;
    let [a, b, alone] =
        [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let there = chain(us, &a, &b, json!({"message": "ping"})).await;
    let back = chain(us, &b, &a, json!({"message": "pong"})).await;
    let itself = chain(us, &alone, &alone, json!({"message": "again"})).await;
    us.run(&a, "begin").await;
    us.run(&alone, "begin").await;
    muster.drain().await;
    let all = runs(us).await;
    let of = |agent: &str| all.iter().filter(|run| run["agent_id"] == agent).count();
    assert_eq!((of(&a), of(&b), of(&alone)), (5, 4, 9), "8 starts behind the first run");
    for last in [&there, &itself] {
        let event = &events(us, last).await[0];
        assert_eq!(event["outcome"], "failed");
        let why = event["problems"][0]["message"].as_str().unwrap();
        assert_eq!(why, "the chain has 8 starts, one after the other: the most that there may be");
    }
    assert!(events(us, &back).await.iter().all(|event| event["outcome"] == "accepted"));
    // What comes of nothing else begins anew.
    us.run(&alone, "begin").await;
    muster.drain().await;
    assert_eq!(runs(us).await.iter().filter(|run| run["agent_id"] == alone.as_str()).count(), 18);
}

async fn a_message_that_comes_again_starts_nothing(muster: Muster) {
    let us = &muster.us;
    let [a, b] = [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    chain(us, &a, &b, json!({"message": "next"})).await;
    us.run(&a, "first").await;
    // The message is lost: the reaper sees to it.
    let chunk = muster.receive().await;
    shared::engine::work_on(&muster.app, chunk, None).await.unwrap();
    assert_eq!((runs(us).await.len(), muster.lose_messages().await), (1, 1));
    muster.pass(400_000);
    assert_eq!(muster.reap_by_another().await.deliveries, 1);
    let again = muster.receive().await;
    for _ in 0..2 {
        let work = || Box::pin(shared::engine::work_on(&muster.app, again.clone(), None));
        let (one, two, three) = tokio::join!(work(), work(), work());
        one.and(two).and(three).unwrap();
    }
    muster.drain().await;
    assert_eq!(runs(us).await.len(), 2);
    muster.pass(400_000);
    assert_eq!(muster.reap_by_another().await.deliveries, 0, "nothing is left");
}

async fn what_goes_on_is_as_it_was_last_said(muster: Muster) {
    let us = &muster.us;
    let [a, b, c] =
        [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let id = chain(us, &a, &b, json!({"message": "next"})).await;
    let path = format!("/v1/triggers/{id}");
    let shown = us.get(&path).await.ok();
    assert_eq!(shown["from"], json!({"agent_id": a, "on": ["done"]}));
    assert_eq!((&shown["source"], &shown["url_path"]), (&json!("run"), &Value::Null));
    let went_on = async |agent: &str| {
        let before = runs(us).await.len();
        us.run(agent, "begin").await;
        muster.drain().await;
        runs(us).await.len() - before - 1
    };
    assert_eq!((went_on(&a).await, went_on(&c).await), (1, 0));
    us.patch(&path, json!({"from": {"agent_id": c}})).await.ok();
    assert_eq!((went_on(&a).await, went_on(&c).await), (0, 1));
    us.patch(&path, json!({"enabled": false})).await.ok();
    assert_eq!(went_on(&c).await, 0);
    us.patch(&path, json!({"enabled": true})).await.ok();
    assert_eq!(went_on(&c).await, 1);
    // What was told and not yet gone on with when it is deleted is given up.
    us.run(&c, "begin").await;
    let chunk = muster.receive().await;
    shared::engine::work_on(&muster.app, chunk, None).await.unwrap();
    us.delete(&path).await.status(204);
    muster.drain().await;
    assert_eq!(went_on(&c).await, 0);
}

async fn there_is_room_for_so_many(muster: Muster) {
    let us = &muster.us;
    let [a, b] = [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let body = |from: &str| json!({"agent_id": b, "name": "next", "source": "run", "from": {"agent_id": from}, "message": "x"});
    let mut made = Vec::new();
    for _ in 0..10 {
        made.push(text(&us.post("/v1/triggers", body(&a)).await.status(201), "id"));
    }
    assert_eq!(us.post("/v1/triggers", body(&a)).await.code_of(409), "conflict");
    let off = format!("/v1/triggers/{}", made[0]);
    us.patch(&off, json!({"enabled": false})).await.ok();
    us.post("/v1/triggers", body(&a)).await.status(201);
    assert_eq!(us.patch(&off, json!({"enabled": true})).await.code_of(409), "conflict");
    us.run(&a, "begin").await;
    muster.drain().await;
    assert_eq!(runs(us).await.len(), 11, "all ten in the transaction of the end");
}

async fn whose_ends_they_are_is_checked(muster: Muster) {
    let (us, them) = (&muster.us, &muster.them);
    let [a, foreign] = [us.agent("demo/scripted-l0").await, them.agent("demo/scripted-l0").await];
    let post = async |others: Value| {
        let mut body = json!({"agent_id": a, "name": "next", "source": "run", "message": "x"});
        body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        us.post("/v1/triggers", body).await
    };
    assert_eq!(post(json!({})).await.param(), "from");
    assert_eq!(post(json!({"from": {"agent_id": a}, "source": "github"})).await.param(), "from");
    assert_eq!(post(json!({"from": {"agent_id": a, "on": []}})).await.param(), "from.on");
    assert_eq!(post(json!({"from": {"agent_id": a, "on": ["done", "done"]}})).await.param(), "from.on");
    assert_eq!(post(json!({"from": {"agent_id": a, "on": ["ended"]}})).await.param(), "from.on[0]");
    assert_eq!(post(json!({"from": {"agent_id": a}, "secret": "sixteen bytes or more"})).await.param(), "secret");
    let missing = format!("agent_{}", uuid::Uuid::now_v7());
    let refusals =
        [post(json!({"from": {"agent_id": foreign}})).await, post(json!({"from": {"agent_id": missing}})).await];
    assert!(refusals.iter().all(|refusal| refusal.code == 404), "{refusals:?}");
    // Nobody outside says that a run has ended.
    let id = chain(us, &a, &a, json!({"message": "x"})).await;
    us.patch(&format!("/v1/triggers/{id}"), json!({"from": {"agent_id": foreign}})).await.status(404);
    let event = json!({"type": "run.done", "data": {"run_id": "run_x"}}).to_string();
    us.nobody()
        .with("authorization", "Bearer whsec_")
        .send("POST", &format!("/v1/hooks/{id}"), event)
        .await
        .status(401);
    us.post(&format!("/v1/triggers/{id}/rotate_secret"), json!({})).await.status(409);
    assert_eq!(runs(us).await.len(), 0);
}
