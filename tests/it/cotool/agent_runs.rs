//! The list of runs: every filter and every order against the same done by hand over all of them.

use std::{cmp::Ordering, time::Instant};

use serde_json::{Value, json};
use shared::{
    App,
    store::row::{Index, Key, Query, Row, Table, When, Write},
};
use uuid::Uuid;

use super::{agent, fields, made, path};
use crate::harness::{Muster, asked, on_every_backend, text};

on_every_backend!(
    every_filter_finds_what_is_found_by_hand,
    every_order_is_that_of_sorting_by_hand,
    a_run_says_what_became_of_it,
    runs_of_every_surface_are_there_and_ours_are_on_every_surface,
    what_is_no_filter_is_refused_with_its_field,
    a_run_of_an_older_form_is_found_all_the_same,
    runs_are_the_organisations_own,
);

const HOUR_MS: i64 = 3_600_000;

pub(super) fn run_key(muster: &Muster, run: &str) -> Key {
    Key::new(Table::Runs, format!("O#{}#R#{run}", muster.us.org), "META")
}

/// Changes the row of a run, as somebody who writes it does.
async fn edit(muster: &Muster, run: &str, change: impl Fn(&mut Value)) {
    let backend = muster.app.store().backend();
    let row = backend.get(&run_key(muster, run)).await.unwrap().unwrap();
    let mut body: Value = serde_json::from_str(&row.body).unwrap();
    change(&mut body);
    let next = Row { rev: shared::store::row::Rev::fresh(), body: body.to_string(), ..row.clone() };
    backend.transact(vec![Write::Put(next, When::Rev(row.rev))]).await.unwrap();
}

/// All pages of this query, small ones; each must say how many there are in all.
async fn every(muster: &Muster, query: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for page in 0.. {
        let found = muster.us.get(&format!("/api/agent-runs?pageSize=7&page={page}&{query}")).await.ok();
        assert_eq!(found.as_object().unwrap().len(), 2);
        let runs = found["runs"].as_array().unwrap();
        all.extend(runs.clone());
        if runs.is_empty() {
            assert_eq!(found["totalCount"], json!(all.len()), "{query}");
            return all;
        }
        assert!(found["totalCount"].as_u64().unwrap() >= all.len() as u64);
    }
    unreachable!()
}

fn ids(runs: &[Value]) -> Vec<String> {
    runs.iter().map(|run| text(run, "id")).collect()
}

/// Runs of four agents, some hours apart, from several surfaces, in batches, going on with chats, with sub-agents, graded or not: all of
/// them, newest first. And the agents.
async fn world(muster: &Muster) -> (Vec<Value>, Vec<String>) {
    let mut agents = Vec::new();
    for (name, model) in [("Alpha", "openai/fake"), ("beta", "demo/scripted-l0"), ("The alphabet", "demo/scripted-l0")]
    {
        agents.push(text(&made(&muster.us, json!({"name": name, "modelAlias": model})).await, "id"));
    }
    let helper = json!([{"type": "agent", "name": "helper", "agent_id": format!("agent_{}", agents[1])}]);
    let boss = json!({"name": "boss", "model": "openai/fake", "tools": helper});
    let boss = text(&muster.us.post("/v1/agents", boss).await.status(201), "id");
    agents.push(boss.replace("agent_", ""));
    let mut first = String::new();
    for round in 0..3 {
        for agent in &agents[..3] {
            let started = muster.us.post(&format!("{}/run-async", path(agent)), json!({"inputs": {"n": round}})).await;
            started.ok();
            first = muster.us.run(&format!("agent_{agent}"), "hello").await;
            let prompts = json!([{"message": "one"}, {"message": "two"}]);
            muster.us.post(&format!("/api/v1/resource/agent/{agent}/chat/batch"), prompts).await.ok();
            muster.pass(1_000);
        }
        let call = |n: u32| format!("call helper {}\n", json!({"message": n.to_string()}));
        muster.us.run(&boss, &format!("{}{}say all is done", call(1), call(2))).await;
        muster.pass(HOUR_MS);
    }
    muster.drain().await;
    let more = json!({"message": "and now?", "chat_id": first});
    muster.us.post(&format!("/v1/agents/agent_{}/runs", agents[2]), more).await.status(202);
    for (n, run) in ids(&every(muster, "").await).iter().enumerate().filter(|(n, _)| n % 4 != 0) {
        let score = [json!(1.0), json!(0.5), Value::Null, json!(0.0), json!(0.5)][n % 5].clone();
        let results = json!([{"criterion": "c", "met": true, "explanation": "e"}]);
        let evaluation = json!({"score": score, "explanation": "graded", "results": results});
        edit(muster, run, |row| row["evaluation"] = evaluation.clone()).await;
    }
    (every(muster, "").await, agents)
}

/// Whether a filter lets a run pass.
type Fits = Box<dyn Fn(&Value) -> bool>;

/// Queries, and what each should find of the world.
fn filters(all: &[Value], agents: &[String]) -> Vec<(String, Fits)> {
    let middle = text(&all[20], "createdAt");
    let early = text(&all[35], "createdAt");
    let [one, other] = [&agents[0], &agents[3]];
    let is = |field: &'static str, value: &str| -> Fits {
        let value = value.to_owned();
        Box::new(move |run| run[field] == json!(value))
    };
    let score = |fits: fn(f64) -> bool| -> Fits { Box::new(move |run| run["evalScore"].as_f64().is_some_and(fits)) };
    let (since, until) = (middle.clone(), early.clone());
    let between = [middle.clone(), early.clone()];
    vec![
        (format!("agentIdFilter={one}"), is("agentId", one)),
        (format!("agentIdFilter={other}"), is("agentId", other)),
        (
            format!("agentIdFilter={one},{other}"),
            Box::new({
                let both = [one.clone(), other.clone()];
                move |run| both.contains(&text(run, "agentId"))
            }),
        ),
        (
            format!("agentIdFilter={one}&agentIdFilter={other}&triggerSourceFilter=native"),
            Box::new({
                let both = [one.clone(), other.clone()];
                move |run| both.contains(&text(run, "agentId")) && run["triggerSource"] == "native"
            }),
        ),
        (format!("agentIdFilter={}", Uuid::now_v7()), Box::new(|_| false)),
        ("agentNameFilter=ALPHA".to_owned(), Box::new(|run| text(run, "agentName").to_lowercase().contains("alpha"))),
        ("agentNameFilter=nobody".to_owned(), Box::new(|_| false)),
        ("toolFilter=helper".to_owned(), Box::new(|run| run["toolNames"] == json!(["helper"]))),
        ("toolFilter=other,helper".to_owned(), Box::new(|run| run["toolNames"] == json!(["helper"]))),
        ("toolFilter=help".to_owned(), Box::new(|_| false)),
        ("triggerSourceFilter=api".to_owned(), is("triggerSource", "api")),
        ("triggerSourceFilter=cotera".to_owned(), is("triggerSource", "cotera")),
        ("triggerSourceFilter=agent".to_owned(), is("triggerSource", "agent")),
        ("triggerSourceFilter=coagent".to_owned(), Box::new(|_| false)),
        (format!("dateFrom={middle}"), Box::new(move |run| text(run, "createdAt") >= since)),
        (format!("dateTo={early}"), Box::new(move |run| text(run, "createdAt") <= until)),
        (
            format!("dateFrom={early}&dateTo={middle}&agentNameFilter=b"),
            Box::new(move |run| {
                let (at, name) = (text(run, "createdAt"), text(run, "agentName"));
                at <= between[0] && at >= between[1] && name.contains('b')
            }),
        ),
        ("scoreFilters=none".to_owned(), Box::new(|run| run["evalScore"].is_null())),
        ("scoreFilters=0.5".to_owned(), score(|score| score == 0.5)),
        ("scoreFilters=0.1-1".to_owned(), score(|score| score >= 0.1)),
        (
            "scoreFilters=none&scoreFilters=0-0.2".to_owned(),
            Box::new(|run| run["evalScore"].as_f64().is_none_or(|score| score <= 0.2)),
        ),
    ]
}

async fn every_filter_finds_what_is_found_by_hand(muster: Muster) {
    let (all, agents) = world(&muster).await;
    // 3 rounds of 3 agents with 1 + 1 + 2 runs and of 1 boss with 2 helpers, and one that goes on with a chat.
    assert_eq!(all.len(), 3 * (3 * 4 + 3) + 1);
    let mut native = ids(muster.us.get("/v1/runs?limit=100").await.ok()["data"].as_array().unwrap());
    native.sort();
    let mut ours: Vec<String> = ids(&all).iter().map(|id| format!("run_{id}")).collect();
    ours.sort();
    assert_eq!(native, ours);

    for (query, fits) in filters(&all, &agents) {
        let expected: Vec<Value> = all.iter().filter(|run| fits(run)).cloned().collect();
        assert_eq!(every(&muster, &query).await, expected, "{query}");
        let by_score = ids(&every(&muster, &format!("{query}&sortField=evalScore")).await);
        assert_eq!(by_score.len(), expected.len(), "{query}");
    }
    for (query, least) in [("triggerSourceFilter=agent", 6), ("toolFilter=helper", 3), ("scoreFilters=0.5", 5)] {
        assert!(every(&muster, query).await.len() >= least, "{query} is no proof");
    }
}

async fn every_order_is_that_of_sorting_by_hand(muster: Muster) {
    let (all, _) = world(&muster).await;
    assert!(all.windows(2).all(|pair| text(&pair[0], "createdAt") >= text(&pair[1], "createdAt")), "newest first");
    for field in ["createdAt", "updatedAt", "agentName", "modelAlias", "evalScore"] {
        for direction in ["asc", "desc"] {
            let mut expected = all.clone();
            expected.sort_by(|one, other| {
                let by = match (&one[field], &other[field]) {
                    (Value::Null, Value::Null) => Ordering::Equal,
                    (Value::Null, _) => return Ordering::Greater,
                    (_, Value::Null) => return Ordering::Less,
                    (Value::String(one), Value::String(other)) => one.cmp(other),
                    (one, other) => one.as_f64().unwrap().total_cmp(&other.as_f64().unwrap()),
                };
                let by = by.then(text(one, "id").cmp(&text(other, "id")));
                if direction == "asc" { by } else { by.reverse() }
            });
            let found = every(&muster, &format!("sortField={field}&sortDirection={direction}")).await;
            assert_eq!(ids(&found), ids(&expected), "{field} {direction}");
        }
    }
    let far = muster.us.get(&format!("/api/agent-runs?page={}&pageSize=100", usize::MAX)).await.ok();
    assert_eq!(far, json!({"runs": [], "totalCount": all.len()}));
    let usual = muster.us.get("/api/agent-runs").await.ok();
    assert_eq!(usual["runs"].as_array().unwrap().len(), all.len().min(50));
}

async fn a_run_says_what_became_of_it(muster: Muster) {
    let id = agent(&muster.us).await;
    let started = muster.us.post(&format!("{}/run-async", path(&id)), json!({"inputs": {"city": "Oslo"}})).await.ok();
    let run = text(&started, "runId");
    let only = async || muster.us.get("/api/agent-runs").await.ok()["runs"][0].clone();
    let early = only().await;
    let mut expected = json!({
        "id": run, "agentId": id, "agentName": "a", "chatId": run, "runTitle": r#"{"city":"Oslo"}"#,
        "createdAt": early["createdAt"], "updatedAt": early["updatedAt"], "modelAlias": "demo/scripted-l0",
        "toolNames": [], "totalToolCount": 0, "hasError": false, "isStreaming": true, "status": "running",
        "triggerSource": "api", "triggerName": null, "evalScore": null, "evalExplanation": null,
        "acceptanceCriteriaResults": [],
    });
    assert_eq!(early, expected);
    muster.pass(5_000);
    muster.drain().await;
    let results = json!([{"criterion": "short", "met": true, "explanation": "it is"}]);
    edit(&muster, &run, |row| {
        row["evaluation"] = json!({"score": 1.0, "explanation": "1 of 1", "results": results.clone()});
    })
    .await;
    let late = only().await;
    assert!(text(&late, "updatedAt") > text(&late, "createdAt"));
    for (field, value) in [
        ("updatedAt", late["updatedAt"].clone()),
        ("isStreaming", json!(false)),
        ("status", json!("done")),
        ("evalScore", json!(1.0)),
        ("evalExplanation", json!("1 of 1")),
        ("acceptanceCriteriaResults", results),
    ] {
        expected[field] = value;
    }
    assert_eq!(late, expected);
    // One that ended badly, and calls of tools: also of one that there is not.
    let bad = text(&made(&muster.us, json!({"modelAlias": "openai/fake-q"})).await, "id");
    muster.us.post(&format!("{}/run-async", path(&bad)), json!({"inputs": {}})).await.ok();
    muster.drain().await;
    let bad = only().await;
    assert_eq!(json!([bad["status"], bad["hasError"], bad["isStreaming"]]), json!(["error", true, false]));
    let helper = json!([{"type": "agent", "name": "helper", "agent_id": format!("agent_{id}")}]);
    let boss = json!({"name": "boss", "model": "openai/fake", "tools": helper});
    let boss = text(&muster.us.post("/v1/agents", boss).await.status(201), "id");
    let call = |tool: &str| format!("call {tool} {}\n", json!({"message": "m"}));
    let asks = format!("{}{}{}say done", call("helper"), call("nothing"), call("helper"));
    let run = muster.us.run(&boss, &asks).await.replace("run_", "");
    muster.drain().await;
    let found = every(&muster, "toolFilter=helper").await;
    assert_eq!(ids(&found), [run]);
    assert_eq!(json!([found[0]["toolNames"], found[0]["totalToolCount"]]), json!([["helper", "nothing"], 3]));
}

async fn runs_of_every_surface_are_there_and_ours_are_on_every_surface(muster: Muster) {
    let id = agent(&muster.us).await;
    let ours = text(&muster.us.post(&format!("{}/run-async", path(&id)), json!({"inputs": {}})).await.ok(), "runId");
    muster.pass(10);
    let native = muster.us.run(&format!("agent_{id}"), "hello").await.replace("run_", "");
    muster.pass(10);
    let prompts = json!([{"message": "hello"}]);
    let batch = muster.us.post(&format!("/api/v1/resource/agent/{id}/chat/batch"), prompts).await.ok();
    let cotera = text(&batch["result"][0], "chatId");
    let sources = [(&cotera, "cotera"), (&native, "native"), (&ours, "api")];
    let expected: Vec<Value> = sources.iter().map(|(id, source)| json!([id, source])).collect();
    let runs = muster.us.get("/api/agent-runs").await.ok();
    let chats = muster.us.get("/api/chats?limit=10&offset=0").await.ok();
    let of_agent = muster.us.get(&format!("{}/chats", path(&id))).await.ok();
    for found in [&runs["runs"], &chats["chats"], &of_agent["chats"]] {
        let found = found.as_array().unwrap();
        let seen: Vec<Value> = found.iter().map(|one| json!([one["id"], one["triggerSource"]])).collect();
        assert_eq!(seen, expected);
    }
    let theirs = muster.us.get("/api/v1/resource/chat/list").await.ok();
    assert_eq!(ids(theirs["result"].as_array().unwrap()), [cotera.clone(), native.clone(), ours.clone()]);
    let listed = muster.us.get("/v1/runs").await.ok();
    assert_eq!(ids(listed["data"].as_array().unwrap()), [cotera, native, ours].map(|id| format!("run_{id}")));
}

async fn what_is_no_filter_is_refused_with_its_field(muster: Muster) {
    for (query, field) in [
        ("page=-1", "page"),
        ("page=x", "page"),
        ("pageSize=0", "pageSize"),
        ("pageSize=101", "pageSize"),
        ("sortField=colour", "sortField"),
        ("sortField=", "sortField"),
        ("sortDirection=up", "sortDirection"),
        ("agentIdFilter=x", "agentIdFilter"),
        ("agentIdFilter=", "agentIdFilter"),
        ("toolFilter=a,,b", "toolFilter"),
        ("dateFrom=yesterday", "dateFrom"),
        ("dateTo=2026-13-01", "dateTo"),
        ("dateFrom=2026-11-26&dateTo=2026-11-25", "dateTo"),
        ("triggerSourceFilter=film", "triggerSourceFilter"),
        ("scoreFilters=low", "scoreFilters"),
        ("scoreFilters=0.9-0.1", "scoreFilters"),
        ("scoreFilters=0-2", "scoreFilters"),
        ("page=0&page=1", "page"),
        ("agentNameFilter=a&agentNameFilter=b", "agentNameFilter"),
        ("colour=red", "colour"),
    ] {
        assert_eq!(fields(muster.us.get(&format!("/api/agent-runs?{query}")).await), [field], "{query}");
    }
    let lesser = muster.us.new_key(json!({"scopes": ["agents:write", "runs:write"]})).await;
    let refused = lesser.get("/api/agent-runs").await.status(403);
    assert_eq!(refused["missingPerms"], json!(["agent.read"]));
}

async fn a_run_of_an_older_form_is_found_all_the_same(muster: Muster) {
    let id = agent(&muster.us).await;
    let [old, new] =
        [muster.us.run(&format!("agent_{id}"), "a").await, muster.us.run(&format!("agent_{id}"), "b").await];
    let old = old.replace("run_", "");
    let backend = muster.app.store().backend();
    let row = backend.get(&run_key(&muster, &old)).await.unwrap().unwrap();
    let mut older = Row { rev: shared::store::row::Rev::fresh(), ..row.clone() };
    older.listed.as_mut().unwrap().sort = old.clone();
    backend.transact(vec![Write::Put(older, When::Rev(row.rev))]).await.unwrap();
    for query in ["", &format!("agentIdFilter={id}"), "triggerSourceFilter=native&sortField=updatedAt"] {
        let mut found = ids(&every(&muster, query).await);
        found.sort();
        assert_eq!(found, [old.clone(), new.replace("run_", "")], "{query}");
    }
}

async fn runs_are_the_organisations_own(muster: Muster) {
    let id = agent(&muster.us).await;
    muster.us.run(&format!("agent_{id}"), "a").await;
    for query in ["", "?sortField=agentName", &format!("?agentIdFilter={id}")] {
        let theirs = muster.them.get(&format!("/api/agent-runs{query}")).await.ok();
        assert_eq!(theirs, json!({"runs": [], "totalCount": 0}));
    }
}

/// So many runs like this one, made a second apart before it.
async fn many(app: &App, like: &Key, count: i64, body: impl Fn(i64, &str) -> String) {
    let backend = app.store().backend();
    let model = backend.get(like).await.unwrap().unwrap();
    let (old, made) = (model.key.partition.split('#').next_back().unwrap().to_owned(), app.now());
    let mut rows = Vec::new();
    for n in 0..count {
        let at = made.plus_ms(-1_000 * (n + 1));
        let id = shared::id::RunId::new(at).to_string();
        let mut row = Row { due: None, ..model.clone() };
        row.key.partition = row.key.partition.replace(&old, &id);
        row.body = body(n, &id);
        let listed = row.listed.as_mut().unwrap();
        let mut parts: Vec<String> = listed.sort.split('#').map(str::to_owned).collect();
        (parts[0], parts[4]) = (id, format!("{:013}", at.millis()));
        listed.sort = parts.join("#");
        rows.push(row);
    }
    backend.put_many(rows).await.unwrap();
}

/// On one backend: an emulator takes minutes to be given as many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_rows_than_may_be_read_are_refused_and_a_shorter_time_is_not() {
    let muster = Muster::on_sqlite().await;
    let id = agent(&muster.us).await;
    let run = muster.us.run(&format!("agent_{id}"), "a").await.replace("run_", "");
    let limit = i64::try_from(shared::run::ROWS_LIMIT).unwrap();
    // Nothing of them is read, or what is would be broken.
    many(&muster.app, &run_key(&muster, &run), limit, |_, _| "{}".to_owned()).await;
    let counted = muster.us.get("/api/agent-runs?pageSize=1").await.ok();
    assert_eq!((&counted["totalCount"], text(&counted["runs"][0], "id")), (&json!(limit + 1), run.clone()));
    for query in ["sortField=agentName", "toolFilter=x", "scoreFilters=none"] {
        assert_eq!(fields(muster.us.get(&format!("/api/agent-runs?{query}")).await), ["dateFrom"], "{query}");
        let since = muster.in_ms(-500).replace('+', "%2B");
        let found = muster.us.get(&format!("/api/agent-runs?{query}&dateFrom={since}")).await;
        // A day's ids are looked through for sub-agents' runs, and left out by when they were made.
        assert!(found.ok()["totalCount"].as_u64().unwrap() <= 1, "{query}");
    }
}

/// How long pages of many runs take; more with `MUSTER_TEST_LONG`, and printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_many_runs_are_as_long_as_asked_for() {
    let muster = Muster::on_sqlite().await;
    let (id, other) = (agent(&muster.us).await, Uuid::now_v7().to_string());
    let run = muster.us.run(&format!("agent_{id}"), "a").await.replace("run_", "");
    muster.drain().await;
    let count = if asked("MUSTER_TEST_LONG").is_some() { 9_999 } else { 499 };
    let body = muster.app.store().backend().get(&run_key(&muster, &run)).await.unwrap().unwrap().body;
    many(&muster.app, &run_key(&muster, &run), count, |n, id| {
        let mut row: Value = serde_json::from_str(&body.replace(&run, id)).unwrap();
        row["evaluation"] = json!({"score": (n % 11) as f64 / 10.0, "explanation": "graded", "results": []});
        row.to_string()
    })
    .await;
    for (query, total) in [
        ("", count + 1),
        (&*format!("agentIdFilter={id}"), count + 1),
        (&format!("agentIdFilter={other}"), 0),
        ("sortField=evalScore", count + 1),
        ("sortField=evalScore&page=7", count + 1),
    ] {
        let mut taken_ms = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let found = muster.us.get(&format!("/api/agent-runs?{query}")).await.ok();
            taken_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
            assert_eq!(found["totalCount"], json!(total), "{query}");
            assert_eq!(found["runs"].as_array().unwrap().len(), if total == 0 { 0 } else { 50 }, "{query}");
        }
        taken_ms.sort_by(f64::total_cmp);
        println!("{} runs, ?{query}: {:.1} ms (median of 5)", count + 1, taken_ms[2]);
    }
    let partition = format!("O#{}#RUNS", muster.us.org);
    let query = Query::newest_first(Table::Runs, Index::Listed, partition, None, 5_000);
    assert!(!muster.app.store().backend().query_keys(&query).await.unwrap().sorts.is_empty());
}
