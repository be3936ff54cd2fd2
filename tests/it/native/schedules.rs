//! Schedules: made, read, changed, deleted and fired by hand; what they start, in whose name, and what is refused. Their times are in
//! `schedule_times.rs`.

use serde_json::{Value, json};
use shared::{
    Tenant,
    clock::Timestamp,
    engine,
    id::ScheduleId,
    queue::Chunk,
    store::row::{Add, Key, Rev, Row, Table, When, Write},
};

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    a_schedule_is_made_read_changed_and_deleted,
    a_schedule_fires_when_somebody_says_so,
    the_same_request_again_fires_once,
    a_batch_of_items_or_of_a_files_rows,
    what_cannot_be_started_is_told_and_the_schedule_goes_on,
    who_says_what_is_started_starts_it,
    bad_fields_are_named,
    an_organisation_has_so_many_schedules,
);

pub(super) const SCHEDULES: &str = "/v1/schedules";

pub(super) async fn made(muster: &Muster, agent: &str, more: Value) -> String {
    let mut body = json!({"agent_id": agent, "name": "tester", "message": "hello", "schedule": "rate(1 minute)"});
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    if ["items", "file_id", "inputs"].iter().any(|field| more.get(field).is_some()) {
        body.as_object_mut().unwrap().remove("message");
    }
    text(&muster.us.post(SCHEDULES, body).await.status(201), "id")
}

pub(super) async fn tenant(muster: &Muster) -> Tenant {
    muster.caller(&muster.us).await.tenant()
}

/// What says that the schedule's time has come.
pub(super) fn message(tenant: Tenant, schedule: &str) -> Chunk {
    Chunk::of_schedule(tenant, ScheduleId::parse_prefixed(schedule).unwrap())
}

/// Says so, three times at once.
pub(super) async fn deliver(muster: &Muster, schedule: &str) {
    let chunk = message(tenant(muster).await, schedule);
    let one = || engine::work_on(&muster.app, chunk.clone(), None);
    let (first, second, third) = tokio::join!(Box::pin(one()), Box::pin(one()), Box::pin(one()));
    first.and(second).and(third).unwrap();
}

pub(super) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

pub(super) async fn all(client: &Client, path: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}?limit=100{after}")).await.ok();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            return all;
        }
        after = format!("&after={}", text(&page, "next_cursor"));
    }
}

/// Its firings, oldest first.
pub(super) async fn firings(muster: &Muster, schedule: &str) -> Vec<Value> {
    let mut all = all(&muster.us, &format!("{SCHEDULES}/{schedule}/firings")).await;
    all.reverse();
    all
}

/// What became of them, oldest first.
pub(super) async fn outcomes(muster: &Muster, schedule: &str) -> Vec<String> {
    let outcome = |firing: &Value| match firing["reason"].as_str() {
        Some(reason) => format!("{} {reason}", text(firing, "outcome")),
        None => text(firing, "outcome"),
    };
    firings(muster, schedule).await.iter().map(outcome).collect()
}

pub(super) async fn get(muster: &Muster, schedule: &str) -> Value {
    muster.us.get(&format!("{SCHEDULES}/{schedule}")).await.ok()
}

pub(super) async fn patch(muster: &Muster, schedule: &str, body: Value) -> Value {
    muster.us.patch(&format!("{SCHEDULES}/{schedule}"), body).await.ok()
}

pub(super) async fn runs(muster: &Muster) -> Vec<Value> {
    all(&muster.us, "/v1/runs").await
}

/// The newest firing but so many.
pub(super) async fn firings_last(muster: &Muster, schedule: &str, but: usize) -> Value {
    let firings = firings(muster, schedule).await;
    firings[firings.len() - 1 - but].clone()
}

async fn a_schedule_is_made_read_changed_and_deleted(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let body = json!({
        "agent_id": agent, "name": "report", "schedule": "cron(0 9 ? * MON-FRI *)", "timezone": "europe/berlin",
        "inputs": {"city": "Oslo"}, "max_steps": 3, "mode": "manual", "overlap": "queue", "metadata": {"team": "a"},
    });
    let answer = muster.us.post(SCHEDULES, body).await;
    let id = text(&answer.body, "id");
    let mut expected = json!({
        "id": "<id>", "name": "report", "agent_id": "<id>", "key_id": "<id>", "schedule": "cron(0 9 ? * MON-FRI *)",
        "timezone": "Europe/Berlin", "status": "active", "next_at": "<time>", "last_firing": null, "waiting": 0,
        "overlap": "queue", "misfire": "run_once", "message": null, "inputs": {"city": "Oslo"}, "items": null, "file_id": null,
        "version": null, "model": null, "mode": "manual", "max_steps": 3, "budget_micro_usd": null, "on_budget": "stop_new",
        "max_concurrency": null, "reduce": null, "metadata": {"team": "a"}, "created_at": "<time>", "updated_at": "<time>",
    });
    assert_eq!(answer.clone().shape(201), expected);
    let path = format!("{SCHEDULES}/{id}");
    assert_eq!(muster.us.get(&path).await.body, answer.body);
    assert_eq!(muster.us.get(SCHEDULES).await.ok()["data"], json!([answer.body]));
    let next = muster.us.get(&format!("{path}/next")).await.ok();
    let next = next["data"].as_array().unwrap();
    assert_eq!(next.len(), 10);
    assert_eq!(next[0]["at"], answer.body["next_at"]);
    assert!(next.iter().all(|time| text(time, "local").contains("T09:00:00+0")), "{next:?}");
    assert_eq!(muster.us.get(&format!("{path}/next?count=100")).await.ok()["data"].as_array().unwrap().len(), 100);
    for count in ["0", "101"] {
        assert_eq!(muster.us.get(&format!("{path}/next?count={count}")).await.status(400)["error"]["param"], "count");
    }

    let changed =
        json!({"message": "hi", "max_steps": null, "mode": null, "schedule": "rate(2 hours)", "metadata": {}});
    let changed = muster.us.patch(&path, changed).await;
    for (field, value) in [("inputs", json!(null)), ("message", json!("hi")), ("max_steps", json!(null))] {
        expected[field] = value;
    }
    for (field, value) in [("mode", json!(null)), ("schedule", json!("rate(2 hours)")), ("metadata", json!({}))] {
        expected[field] = value;
    }
    assert_eq!(changed.clone().shape(200), expected);
    let next_at = at(&text(&changed.body, "next_at"));
    assert_eq!(next_at.since_ms(at(&text(&changed.body, "updated_at"))), 2 * 60 * 60 * 1_000);
    // Nothing that is as it was is a change.
    assert_eq!(muster.us.patch(&path, json!({"message": "hi"})).await.body, changed.body);

    assert_eq!(muster.us.delete(&path).await.code, 204);
    for path in [path.clone(), format!("{path}/next"), format!("{path}/firings")] {
        assert_eq!(muster.us.get(&path).await.code, 404);
    }
    assert_eq!(muster.us.delete(&path).await.code, 404);
    assert_eq!(muster.us.patch(&path, json!({"name": "x"})).await.code, 404);
    assert_eq!(muster.us.post(&format!("{path}/run"), json!({})).await.code, 404);
    assert_eq!(muster.us.get(SCHEDULES).await.ok()["data"], json!([]));
    muster.pass(3 * 60 * 60 * 1_000);
    deliver(&muster, &id).await;
    assert_eq!(muster.reap().await, engine::Reaped::default());
    assert!(runs(&muster).await.is_empty());
}

async fn a_schedule_fires_when_somebody_says_so(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let schedule = made(&muster, &agent, json!({"schedule": "@yearly", "paused": true})).await;
    let path = format!("{SCHEDULES}/{schedule}/run");
    let fired = muster.us.post(&path, json!({})).await;
    let expected = json!({
        "scheduled_at": "<time>", "manual": true, "decided_at": "<time>", "outcome": "started", "run_id": "<id>", "batch_id": null,
        "reason": null, "error": null,
    });
    assert_eq!(fired.clone().shape(202), expected);
    let run = format!("/v1/runs/{}", text(&fired.body, "run_id"));
    assert_eq!(fired.header("location"), run);
    assert_eq!(muster.us.get(&run).await.ok()["schedule_id"], json!(schedule));
    let again = muster.us.post(&path, json!({})).await.status(202);
    assert_eq!(json!([again["outcome"], again["reason"]]), json!(["skipped", "overlap"]));
    muster.drain().await;
    let both = futures_util::future::join_all((0..5).map(|_| muster.us.post(&path, json!({})))).await;
    let started =
        both.iter().filter(|answer| (answer.code, &answer.body["outcome"]) == (202, &json!("started"))).count();
    assert_eq!(started, 1);
    assert_eq!(outcomes(&muster, &schedule).await.len(), 7);
    assert_eq!(runs(&muster).await.len(), 2);
    assert_eq!(get(&muster, &schedule).await["status"], "paused");
}

async fn the_same_request_again_fires_once(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let us = muster.us.with("idempotency-key", "once");
    let body = json!({"agent_id": agent, "name": "x", "schedule": "@daily", "message": "hi", "overlap": "allow"});
    let first = us.post(SCHEDULES, body.clone()).await;
    assert_eq!(us.post(SCHEDULES, body).await.body, first.body);
    assert_eq!(muster.us.get(SCHEDULES).await.ok()["data"].as_array().unwrap().len(), 1);
    let path = format!("{SCHEDULES}/{}/run", text(&first.body, "id"));
    let answers = futures_util::future::join_all((0..6).map(|_| us.post(&path, json!({})))).await;
    let fired = us.post(&path, json!({})).await.status(202);
    for answer in answers {
        assert!(answer.code == 409 || answer.body == fired, "{} {}", answer.code, answer.text);
    }
    assert_eq!(runs(&muster).await.len(), 1);
}

async fn a_batch_of_items_or_of_a_files_rows(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let items = json!([{"custom_id": "a", "message": "one"}, {"inputs": {"n": 2}}]);
    let inline = made(&muster, &agent, json!({"items": items, "max_concurrency": 1, "overlap": "queue"})).await;
    let shown = get(&muster, &inline).await;
    assert_eq!(shown["items"][0], json!({"custom_id": "a", "message": "one", "inputs": null}));
    let file = json!({"name": "cities.csv", "media_type": "text/csv", "data": "Y2l0eQpPc2xvCkJlcmdlbgpUcm9tc8O4Cg=="});
    let file = text(&muster.us.post("/v1/files", file).await.status(201), "id");
    let rows = made(&muster, &agent, json!({"file_id": file, "metadata": {"of": "rows"}})).await;
    muster.pass(60_000);
    deliver(&muster, &inline).await;
    deliver(&muster, &rows).await;
    muster.pass(60_000);
    deliver(&muster, &inline).await;
    assert_eq!(outcomes(&muster, &inline).await, ["started", "waiting"]);
    muster.drain().await;
    for (schedule, items) in [(&inline, 2), (&rows, 3)] {
        let batch = text(&firings(&muster, schedule).await[0], "batch_id");
        let batch = muster.us.get(&format!("/v1/batches/{batch}")).await.ok();
        assert_eq!(json!([batch["schedule_id"], batch["counts"]["done"]]), json!([schedule, items]), "{batch}");
    }
    // The batch was looked at, so its end is written down, and the next may start.
    muster.drain().await;
    assert_eq!(outcomes(&muster, &inline).await, ["started", "started"]);
    let batches = all(&muster.us, "/v1/batches").await;
    assert_eq!(batches.len(), 3, "no delivery left another");
    assert_eq!(runs(&muster).await.len(), 2 + 3 + 2);
    let of_rows = batches.iter().find(|batch| batch["schedule_id"] == json!(rows)).unwrap();
    assert_eq!(of_rows["metadata"], json!({"of": "rows"}));
    let results = muster.us.get(&format!("/v1/batches/{}/results", text(of_rows, "id"))).await;
    assert!(results.text.contains("Troms"), "{}", results.text);
    // A file that is gone is a firing that failed.
    assert_eq!(muster.us.delete(&format!("/v1/files/{file}")).await.code, 204);
    deliver(&muster, &rows).await;
    let failed = firings_last(&muster, &rows, 0).await;
    assert_eq!(json!([failed["outcome"], failed["error"]["code"]]), json!(["failed", "not_found"]), "{failed}");
}

async fn what_cannot_be_started_is_told_and_the_schedule_goes_on(muster: Muster) {
    let (agent, other) = (muster.us.agent("demo/scripted-l0").await, muster.us.agent("demo/scripted-l0").await);
    let schedule = made(&muster, &agent, json!({"overlap": "queue"})).await;
    assert_eq!(muster.us.delete(&format!("/v1/agents/{agent}")).await.code, 204);
    for _ in 0..2 {
        muster.pass(60_000);
        deliver(&muster, &schedule).await;
    }
    assert_eq!(outcomes(&muster, &schedule).await, ["failed", "failed"]);
    let seen = get(&muster, &schedule).await;
    assert_eq!(seen["last_firing"]["error"], json!({"code": "not_found", "message": "agent not found"}));
    assert_eq!(seen["status"], "active");
    // It can be paused as it is, but not be told something else to start that it cannot.
    patch(&muster, &schedule, json!({"paused": true})).await;
    let refused = muster.us.patch(&format!("{SCHEDULES}/{schedule}"), json!({"message": "other"})).await;
    assert_eq!(refused.code, 404);
    patch(&muster, &schedule, json!({"paused": false, "agent_id": other})).await;
    muster.pass(60_000);
    deliver(&muster, &schedule).await;
    assert_eq!(outcomes(&muster, &schedule).await.last().unwrap(), "started");
}

async fn who_says_what_is_started_starts_it(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let poor = muster.us.new_key(json!({"day_budget_micro_usd": 1})).await;
    let schedule = made(&muster, &agent, json!({"overlap": "allow"})).await;
    let path = format!("{SCHEDULES}/{schedule}");
    let first = text(&get(&muster, &schedule).await, "key_id");
    // Neither pausing nor another name is said of what is started.
    for body in [json!({"paused": true}), json!({"paused": false, "name": "x"})] {
        assert_eq!(poor.patch(&path, body).await.ok()["key_id"], json!(first));
    }
    // Who fires it pays for it.
    let run = text(&poor.post(&format!("{path}/run"), json!({})).await.status(202), "run_id");
    muster.drain().await;
    assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["reason"], "budget_exceeded");
    let run = text(&muster.us.post(&format!("{path}/run"), json!({})).await.status(202), "run_id");
    muster.drain().await;
    assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["status"], "done");
    assert_ne!(poor.patch(&path, json!({"message": "more"})).await.ok()["key_id"], json!(first));
    muster.pass(60_000);
    deliver(&muster, &schedule).await;
    muster.drain().await;
    let run = text(&firings_last(&muster, &schedule, 0).await, "run_id");
    assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["reason"], "budget_exceeded");
}

async fn bad_fields_are_named(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l1").await;
    let good = json!({"agent_id": agent, "name": "x", "schedule": "@daily", "message": "hi"});
    let kept = made(&muster, &agent, json!({})).await;
    let before = get(&muster, &kept).await;
    let long = "x".repeat(300_000);
    for (change, status, param) in [
        (json!({"name": ""}), 400, "name"),
        (json!({"name": "x".repeat(201)}), 400, "name"),
        (json!({"schedule": "cron(0 9 * * *)"}), 400, "schedule"),
        (json!({"schedule": "rate(30 seconds)"}), 400, "schedule"),
        (json!({"schedule": "0 0 30 2 *"}), 400, "schedule"),
        (json!({"schedule": "at(2020-01-01T00:00:00)"}), 400, "schedule"),
        (json!({"timezone": "Mars/Base"}), 400, "timezone"),
        (json!({"message": null, "inputs": null, "items": []}), 400, "items"),
        (json!({"message": null, "items": [{"message": "a"}, {"custom_id": "b"}]}), 400, "items[1]"),
        (json!({"message": null, "items": [{"message": "a", "colour": 1}]}), 400, "items[0].colour"),
        (json!({"inputs": {"a": 1}}), 400, "inputs"),
        (json!({"message": long}), 400, "message"),
        (json!({"max_steps": 0}), 400, "max_steps"),
        (json!({"max_concurrency": 3}), 400, "max_concurrency"),
        (json!({"on_budget": "cancel_all"}), 400, "on_budget"),
        (json!({"message": null, "items": [{"message": "a"}], "max_steps": 3}), 400, "max_steps"),
        (json!({"model": "nobody/nothing"}), 400, "model"),
        (json!({"budget_micro_usd": 5}), 400, "budget_micro_usd"),
        (json!({"overlap": "wait"}), 400, "overlap"),
        (json!({"misfire": "twice"}), 400, "misfire"),
        (json!({"metadata": {"k".repeat(65): "v"}}), 400, "metadata"),
        (json!({"colour": "red"}), 400, "colour"),
        (json!({"version": 7}), 404, ""),
        (json!({"agent_id": "agent_x"}), 404, ""),
    ] {
        let mut body = good.clone();
        for (field, value) in change.as_object().unwrap() {
            body[field] = value.clone();
        }
        let answer = muster.us.post(SCHEDULES, body).await.status(status);
        let named = answer["error"]["param"].as_str().unwrap_or_default();
        assert!(named == param || !param.is_empty() && named.starts_with(param), "{param}: {answer}");
        let changed = muster.us.patch(&format!("{SCHEDULES}/{kept}"), change.clone()).await;
        // A message stays where nothing takes its place.
        let fits = change.get("inputs").is_some_and(Value::is_object);
        assert!(changed.code == status || fits, "{change} {}", changed.text);
        if fits {
            patch(&muster, &kept, json!({"message": "hello"})).await;
        }
    }
    let missing = muster.us.post(SCHEDULES, json!({"agent_id": agent, "name": "x", "schedule": "@daily"})).await;
    assert_eq!(missing.status(400)["error"]["param"], "message");
    let mut after = get(&muster, &kept).await;
    after["updated_at"] = before["updated_at"].clone();
    assert_eq!(after, before);
    assert_eq!(all(&muster.us, SCHEDULES).await.len(), 1);
}

async fn an_organisation_has_so_many_schedules(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let first = made(&muster, &agent, json!({})).await;
    // As if there were 998 others.
    let partition = format!("O#{}#KEPT", muster.us.org);
    let row = |sort: &str| Key::new(Table::Runs, partition.clone(), sort);
    let proof =
        Row { key: row("X"), rev: Rev::fresh(), body: "{}".into(), listed: None, due: None, expires_at_s: None };
    let more = Add { key: row("SCHEDULES"), amounts: vec![("kept", 998)], at_most: None, expires_at_s: None };
    let writes = vec![Write::Put(proof, When::Absent), Write::Add(more)];
    muster.app.store().backend().transact(writes).await.unwrap();
    made(&muster, &agent, json!({})).await;
    let body = json!({"agent_id": agent, "name": "x", "schedule": "@daily", "message": "hi"});
    let refused = muster.us.post(SCHEDULES, body.clone()).await.status(409);
    assert!(text(&refused["error"], "message").contains("at most 1000 schedules"), "{refused}");
    assert_eq!(muster.us.delete(&format!("{SCHEDULES}/{first}")).await.code, 204);
    muster.us.post(SCHEDULES, body).await.status(201);
}
