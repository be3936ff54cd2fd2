//! Budgets of batches, keys and organisations: nothing is spent beyond them, whatever happens side by side and whoever dies.

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    engine::Held,
    id::AgentId,
    idempotency::Claim,
    run::{self, NewRun, Origin, Prompt},
};

use crate::{
    harness::{Client, Muster, on_every_backend, text},
    native::sub_agents::helper,
    reaper::{HOUR_MS, LEASE_AND_MORE_MS},
};

on_every_backend!(
    a_batch_spends_no_more_than_its_budget,
    a_batch_is_cancelled_when_its_budget_is_used_up_if_it_wants_that,
    a_batch_hears_of_a_sub_agent_that_its_budget_refused,
    a_keys_budget_goes_on_with_the_key_that_takes_its_place,
    an_organisations_budget_counts_what_was_spent_before_it_was_set,
    a_budget_is_taken_away_and_set_anew,
    budgets_are_the_organisations_own,
    what_is_no_budget_is_refused_with_its_field,
    a_budget_needs_a_price,
    a_run_that_waits_for_its_answer_over_midnight_is_settled_in_its_own_day,
    nothing_is_overspent_by_runs_side_by_side_whoever_dies,
    nothing_is_overspent_when_a_provider_bills_a_token_a_byte,
);

/// What a call of [`agent`]'s may cost at most: 2 for each of 50 tokens of the answer, and something for the prompt.
const CALL_AT_MOST: u64 = 300;

/// An agent that answers with at most 50 tokens.
async fn agent(client: &Client, model: &str) -> String {
    let body = json!({"name": "tester", "model": model, "max_tokens": 50});
    text(&client.post("/v1/agents", body).await.status(201), "id")
}

fn number(body: &Value, field: &str) -> u64 {
    body[field].as_u64().unwrap_or_else(|| panic!("no number in {field}: {body}"))
}

fn items(count: usize) -> Value {
    (0..count).map(|n| json!({"message": format!("item {n}")})).collect()
}

/// How much of that budget is committed.
async fn committed(client: &Client, budget: &str) -> u64 {
    let limits = client.get("/v1/limits").await.ok();
    let budgets = limits["budgets"].as_array().unwrap();
    let found = budgets.iter().find(|state| state["budget"] == budget);
    number(found.unwrap_or_else(|| panic!("no {budget} in {limits}")), "committed_micro_usd")
}

/// Every run of the organisation.
async fn runs(client: &Client) -> Vec<Value> {
    let (mut runs, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/runs?limit=100{after}")).await.ok();
        runs.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => after = format!("&after={cursor}"),
            None => return runs,
        }
    }
}

fn cost(runs: &[Value]) -> u64 {
    runs.iter().map(|run| number(run, "cost_micro_usd")).sum()
}

async fn sync(client: &Client, agent: &str, message: &str) -> Value {
    let path = format!("/v1/agents/{agent}/runs?wait=25");
    client.post(&path, json!({"message": message})).await.ok()
}

/// A run that a worker has begun, and died: what it reserved stays until its lease has run out.
async fn begun(muster: &Muster, client: &Client, agent: &str) -> Held {
    let agent = AgentId::parse_prefixed(agent).unwrap();
    let caller = muster.caller(client).await;
    let new = NewRun::of(agent, Prompt::Message("hello".into()), Origin::Native);
    let planned = run::plan(&muster.app, &caller, new).await.unwrap();
    run::begin(&muster.app, planned, Claim::none()).await.unwrap()
}

async fn a_batch_spends_no_more_than_its_budget(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster.us, "openai/fake-l20").await;
    let budget = 2_000;
    let body = json!({"items": items(120), "budget_micro_usd": budget});
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    assert_eq!(json!([batch["budget_micro_usd"], batch["on_budget"]]), json!([budget, "stop_new"]));
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let ended = muster.until(&path, |batch| batch["terminal"] == true).await;
    let (cost, done, refused) =
        (number(&ended, "cost_micro_usd"), number(&ended["counts"], "done"), number(&ended["counts"], "error"));
    assert!(cost <= budget && done > 0 && done + refused == 120, "{ended}");
    assert!(cost + CALL_AT_MOST > budget || done < 120, "{ended}");
    let runs = runs(&muster.us).await;
    let failed = runs.iter().find(|run| run["status"] == "error").unwrap();
    assert_eq!(failed["reason"], "budget_exceeded");
    let error = text(failed, "error");
    assert!(error.contains(" of the 2000 of the batch budget are spent or reserved"), "{error}");
    let explained = muster.us.get(&format!("/v1/runs/{}/explain", text(failed, "id"))).await.ok();
    assert_eq!(explained["refused_by"], "batch");
    assert!(text(&explained, "explanation").contains("batch budget"));
    assert_eq!(muster.models.stats().calls, done, "who is refused calls nothing");
}

async fn a_batch_is_cancelled_when_its_budget_is_used_up_if_it_wants_that(muster: Muster) {
    let agent = agent(&muster.us, "openai/fake").await;
    let body = json!({
        "items": items(30), "budget_micro_usd": 400, "on_budget": "cancel_all", "max_concurrency": 1,
    });
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    muster.drain().await;
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let ended = muster.us.get(&path).await.ok();
    let counts = &ended["counts"];
    let (done, refused, cancelled) = (number(counts, "done"), number(counts, "error"), number(counts, "interrupted"));
    assert_eq!((ended["terminal"].clone(), refused, done + refused + cancelled), (json!(true), 1, 30), "{ended}");
    assert!(done >= 1 && number(&ended, "cost_micro_usd") <= 400, "{ended}");
}

async fn a_batch_hears_of_a_sub_agent_that_its_budget_refused(muster: Muster) {
    // Nobody's budget has room for what this one may write.
    let wordy = json!({"name": "wordy", "model": "openai/fake", "max_tokens": 8_000});
    let wordy = text(&muster.us.post("/v1/agents", wordy).await.status(201), "id");
    let boss = json!({"name": "boss", "model": "openai/fake", "max_tokens": 50, "tools": [helper(&wordy)]});
    let boss = text(&muster.us.post("/v1/agents", boss).await.status(201), "id");
    let ask = json!({"message": "call helper {\"message\": \"say much\"}\nsay it was too dear"});
    let body = json!({
        "items": vec![ask; 12], "budget_micro_usd": 8_000, "on_budget": "cancel_all", "max_concurrency": 1,
    });
    let batch = muster.us.post(&format!("/v1/agents/{boss}/batches"), body).await.status(202);
    muster.drain().await;
    let ended = muster.us.get(&format!("/v1/batches/{}", text(&batch, "id"))).await.ok();
    let (done, cancelled) = (number(&ended["counts"], "done"), number(&ended["counts"], "interrupted"));
    assert!(done >= 1 && cancelled >= 1 && done + cancelled == 12, "{ended}");
}

async fn a_keys_budget_goes_on_with_the_key_that_takes_its_place(muster: Muster) {
    let muster = muster.at_work();
    let body = json!({"day_budget_micro_usd": 500, "month_budget_micro_usd": 10_000});
    let made = muster.us.post("/v1/keys", body).await.status(201);
    assert_eq!(json!([made["day_budget_micro_usd"], made["month_budget_micro_usd"]]), json!([500, 10_000]));
    let first = muster.us.with_key(&text(&made, "key"));
    let agent = agent(&muster.us, "openai/fake").await;
    let spent = number(&sync(&first, &agent, "hello").await, "cost_micro_usd");
    assert!(spent > 0);
    let rotate = format!("/v1/keys/{}/rotate", text(&made, "id"));
    let second = muster.us.post(&rotate, json!({"overlap_ms": 60_000})).await.status(201);
    assert_eq!(second["day_budget_micro_usd"], 500);
    let third = format!("/v1/keys/{}/rotate", text(&second, "id"));
    let third = muster.us.post(&third, json!({"overlap_ms": 60_000})).await.status(201);
    let keys = [&first, &muster.us.with_key(&text(&second, "key")), &muster.us.with_key(&text(&third, "key"))];
    for key in keys {
        assert_eq!((committed(key, "key day").await, committed(key, "key month").await), (spent, spent));
    }
    let mut sum = spent;
    let refused = loop {
        let run = sync(keys[2], &agent, "hello").await;
        if run["status"] == "error" {
            break run;
        }
        sum += number(&run, "cost_micro_usd");
        assert_eq!(committed(&first, "key day").await, sum);
    };
    assert_eq!(refused["reason"], "budget_exceeded");
    assert!(text(&refused, "error").contains("the key day budget") && sum <= 500);
    assert_eq!(committed(&first, "key day").await, sum, "what is refused is not reserved");
    assert_eq!(sync(&muster.us, &agent, "hello").await["status"], "done", "another key has its own");
    muster.pass(24 * HOUR_MS);
    assert_eq!(sync(keys[2], &agent, "hello").await["status"], "done", "a new day");
    assert!(committed(keys[2], "key month").await > sum);
}

async fn an_organisations_budget_counts_what_was_spent_before_it_was_set(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster.us, "openai/fake").await;
    let before = number(&sync(&muster.us, &agent, "hello").await, "cost_micro_usd");
    let set = muster.us.put("/v1/budgets", json!({"day_budget_micro_usd": 500})).await.ok();
    let expected = json!({
        "day_budget_micro_usd": 500, "month_budget_micro_usd": null,
        "day_committed_micro_usd": before, "month_committed_micro_usd": null,
    });
    assert_eq!(set, expected);
    assert_eq!(muster.us.get("/v1/budgets").await.ok(), expected);
    let mut sum = before;
    let refused = loop {
        let run = sync(&muster.us, &agent, "hello").await;
        if run["status"] == "error" {
            break run;
        }
        sum += number(&run, "cost_micro_usd");
    };
    assert!(sum <= 500 && text(&refused, "error").contains("the organisation day budget"), "{refused}");
    assert_eq!(committed(&muster.us, "organisation day").await, sum);
    let raised = muster.us.put("/v1/budgets", json!({"day_budget_micro_usd": 5_000})).await.ok();
    assert_eq!(raised["day_committed_micro_usd"], sum, "it goes on with what it has");
    assert_eq!(sync(&muster.us, &agent, "hello").await["status"], "done");
}

async fn a_budget_is_taken_away_and_set_anew(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster.us, "openai/fake").await;
    muster.us.put("/v1/budgets", json!({"month_budget_micro_usd": 1})).await.ok();
    assert_eq!(sync(&muster.us, &agent, "hello").await["reason"], "budget_exceeded");
    let none = muster.us.put("/v1/budgets", json!({"month_budget_micro_usd": null})).await.ok();
    assert_eq!(none["month_budget_micro_usd"], Value::Null);
    let spent = number(&sync(&muster.us, &agent, "hello").await, "cost_micro_usd");
    let anew = muster.us.put("/v1/budgets", json!({"month_budget_micro_usd": 100_000})).await.ok();
    assert_eq!(anew["month_committed_micro_usd"], spent, "what was spent without a budget counts");
}

async fn budgets_are_the_organisations_own(muster: Muster) {
    let muster = muster.at_work();
    muster.us.put("/v1/budgets", json!({"day_budget_micro_usd": 1})).await.ok();
    assert_eq!(muster.them.get("/v1/budgets").await.ok()["day_budget_micro_usd"], Value::Null);
    let theirs = agent(&muster.them, "openai/fake").await;
    assert_eq!(sync(&muster.them, &theirs, "hello").await["status"], "done");
    let reader = muster.us.new_key(json!({"scopes": ["runs:read", "runs:write"]})).await;
    assert_eq!(reader.get("/v1/budgets").await.ok()["day_budget_micro_usd"], 1);
    reader.put("/v1/budgets", json!({})).await.status(403);
    let writer = muster.us.new_key(json!({"scopes": ["keys:manage"]})).await;
    writer.get("/v1/budgets").await.status(403);
    writer.put("/v1/budgets", json!({})).await.ok();
    assert_eq!(muster.us.get("/v1/budgets").await.ok()["day_budget_micro_usd"], Value::Null);
}

async fn what_is_no_budget_is_refused_with_its_field(muster: Muster) {
    for (body, param) in [
        (json!({"day_budget_micro_usd": 0}), "day_budget_micro_usd"),
        (json!({"month_budget_micro_usd": -1}), "month_budget_micro_usd"),
        (json!({"month_budget_micro_usd": "much"}), "month_budget_micro_usd"),
        (json!({"year_budget_micro_usd": 1}), "year_budget_micro_usd"),
    ] {
        assert_eq!(muster.us.put("/v1/budgets", body.clone()).await.param(), param, "{body}");
    }
    let path = format!("/v1/agents/{}/batches", muster.us.agent("openai/fake").await);
    for (body, param) in [
        (json!({"items": items(1), "budget_micro_usd": 0}), "budget_micro_usd"),
        (json!({"items": items(1), "on_budget": "explode"}), "on_budget"),
        (json!({"items": items(1), "max_concurrency": 0}), "max_concurrency"),
        (json!({"items": items(1), "max_concurrency": 10_001}), "max_concurrency"),
    ] {
        assert_eq!(muster.us.post(&path, body.clone()).await.param(), param, "{body}");
    }
    let unsaid = format!("{path}?max_concurrency=3");
    assert_eq!(muster.us.post(&unsaid, json!({"items": items(1)})).await.param(), "max_concurrency");
    assert_eq!((runs(&muster.us).await.len(), muster.queued()), (0, 0));
}

async fn a_budget_needs_a_price(muster: Muster) {
    let unpriced = muster.us.agent("openai/fake-l1").await;
    let (run, batch) = (format!("/v1/agents/{unpriced}/runs"), format!("/v1/agents/{unpriced}/batches"));
    let body = json!({"items": items(1), "budget_micro_usd": 5});
    assert_eq!(muster.us.post(&batch, body).await.param(), "budget_micro_usd");
    let limited = muster.us.new_key(json!({"month_budget_micro_usd": 5_000})).await;
    let refused = limited.post(&run, json!({"message": "hello"})).await;
    assert!(refused.text.contains("'openai/fake-l1'") && refused.text.contains("key month budget"), "{}", refused.text);
    assert_eq!(refused.param(), "model");
    let accepted = muster.us.run(&unpriced, "hello").await;
    muster.us.put("/v1/budgets", json!({"day_budget_micro_usd": 5_000})).await.ok();
    assert_eq!(muster.us.post(&batch, json!({"items": items(1)})).await.param(), "model");
    muster.drain().await;
    let ended = muster.us.get(&format!("/v1/runs/{accepted}")).await.ok();
    assert_eq!(json!([ended["status"], ended["reason"]]), json!(["error", "unknown_price"]));
    let expected = "the price of 'openai/fake-l1' is not known, so the organisation day budget cannot be kept";
    assert_eq!(ended["error"], expected);
    assert_eq!(muster.models.stats().calls, 0);
}

async fn a_run_that_waits_for_its_answer_over_midnight_is_settled_in_its_own_day(muster: Muster) {
    let agent = agent(&muster.us, "openai/fake").await;
    muster.us.put("/v1/budgets", json!({"day_budget_micro_usd": 1_000})).await.ok();
    let client = muster.us.clone();
    drop(Box::pin(begun(&muster, &client, &agent)).await);
    let reserved = committed(&client, "organisation day").await;
    assert!(reserved > 0 && reserved <= CALL_AT_MOST);
    let day_ms = 24 * HOUR_MS;
    muster.pass(day_ms - muster.app.now().millis().rem_euclid(day_ms) + 1);
    assert_eq!(committed(&client, "organisation day").await, 0, "a new day");
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
    muster.drain().await;
    let run = runs(&client).await.remove(0);
    assert_eq!(json!([run["status"], run["usage"]["model_calls"]]), json!(["done", 2]));
    let today = committed(&client, "organisation day").await;
    assert_eq!(number(&run, "cost_micro_usd"), reserved + today, "the lost call is in its day, the other in this");
    assert!(today > 0 && today < reserved);
}

/// Signs that tokenizers know nothing of, a system prompt, tools and a schema: the provider bills as much as one can.
async fn nothing_is_overspent_when_a_provider_bills_a_token_a_byte(muster: Muster) {
    let tool = json!({"type": "http", "name": "find", "description": "Finds 𓆉.", "method": "GET", "url": "https://example.com/{of}",
        "policy": "read", "parameters": {"type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]}});
    let schema = json!({"type": "object", "properties": {"said": {"type": "string"}}});
    let body = json!({"name": "dense", "model": "openai/fake-u", "max_tokens": 50, "system_prompt": "𓂀𓃠".repeat(40),
        "tools": [tool], "output_schema": schema});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let budget = 6_000;
    muster.us.put("/v1/budgets", json!({"month_budget_micro_usd": budget})).await.ok();
    let items: Value = (0..60).map(|n| json!({"message": format!("{} {n}", "𓆈".repeat(n))})).collect();
    let path = format!("/v1/agents/{agent}/batches");
    muster.us.post(&path, json!({ "items": items })).await.status(202);
    muster.drain().await;
    let (all, calls) = (runs(&muster.us).await, muster.models.stats().calls);
    assert!(all.iter().all(|run| run["terminal"] == true) && calls > 5, "{calls} {all:?}");
    let spent = cost(&all);
    assert!(spent <= budget && spent * 2 > budget, "{spent}");
    assert_eq!(committed(&muster.us, "organisation month").await, spent);
}

async fn nothing_is_overspent_by_runs_side_by_side_whoever_dies(muster: Muster) {
    let muster = muster.at_work();
    let budget = 12_000;
    muster.us.put("/v1/budgets", json!({"month_budget_micro_usd": budget})).await.ok();
    let key = |month: Option<u64>| json!({"month_budget_micro_usd": month, "requests_per_minute": 0, "in_flight": 0});
    let (us, limited) = (muster.us.new_key(key(None)).await, muster.us.new_key(key(Some(1_500))).await);
    let mut agents = Vec::new();
    for model in ["openai/fake-l20", "openai/fake-l20-r1", "openai/fake-e1", "openai/fake-l500"] {
        agents.push(agent(&us, model).await);
    }
    for n in 0..6 {
        drop(Box::pin(begun(&muster, if n % 2 == 0 { &limited } else { &us }, &agents[0])).await);
    }
    let batch = json!({"items": items(40), "budget_micro_usd": 3_000, "max_concurrency": 7});
    let batch = us.post(&format!("/v1/agents/{}/batches", agents[0]), batch).await.status(202);
    let alone = (0..90).map(|n| {
        let (client, agent) = (if n % 3 == 0 { &limited } else { &us }, &agents[n % agents.len()]);
        async move {
            let path = format!("/v1/agents/{agent}/runs");
            let run = client.post(&path, json!({"message": format!("{agent} {n}")})).await.status(202);
            if n % 10 == 0 {
                let code = client.send("POST", &format!("/v1/runs/{}/cancel", text(&run, "id")), "").await.code;
                assert!(code == 200 || code == 202);
            }
        }
    });
    join_all(alone).await;
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    loop {
        let (all, keys) = (committed(&us, "organisation month").await, committed(&limited, "key month").await);
        assert!(all <= budget && keys <= 1_500, "{all} {keys}");
        let runs = runs(&us).await;
        let open = runs.iter().filter(|run| run["terminal"] == false).count();
        if open == 0 {
            break;
        }
        if muster.queued() == 0 && runs.iter().all(|run| run["status"] != "queued") {
            // Only those whose workers died, and calls that take a while.
            muster.pass(LEASE_AND_MORE_MS / 10);
        }
        muster.reap().await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let all = runs(&us).await;
    assert_eq!(committed(&us, "organisation month").await, cost(&all));
    let batch = us.get(&path).await.ok();
    assert!(number(&batch, "cost_micro_usd") <= 3_000, "{batch}");
    let usage = us.get("/v1/usage?group_by=model").await.ok();
    let used: u64 = usage["data"].as_array().unwrap().iter().map(|entry| number(entry, "cost_micro_usd")).sum();
    assert_eq!(used, cost(&all));
    let refused = all.iter().filter(|run| run["reason"] == "budget_exceeded").count();
    assert!(refused > 0, "the budgets were meant to be used up");
}

/// A tenth of the store's calls is refused, another applied without a reply, and some are in conflict; of each batch some workers die.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledgers_are_what_the_runs_say_also_when_the_store_fails() {
    let muster = Muster::on_faulty_dynamo(11).await;
    muster.us.put("/v1/budgets", json!({"month_budget_micro_usd": 1_000_000})).await.ok();
    let agent = agent(&muster.us, "openai/fake-e1").await;
    let body = json!({"items": items(25), "budget_micro_usd": 3_000, "max_concurrency": 6});
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    for n in 0.. {
        let all = muster.us.get(&path).await.ok();
        if all["terminal"] == true {
            break;
        }
        assert!(n < 200, "{all}");
        let work = async {
            while muster.queued() > 0 {
                // What fails is tried again when its lease has run out.
                let _ = shared::engine::work_on(&muster.app, muster.receive().await, None).await;
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(if n < 2 { 150 } else { 20_000 }), work).await;
        muster.pass(LEASE_AND_MORE_MS);
        let _ = shared::engine::reap(&muster.app).await;
    }
    let all = runs(&muster.us).await;
    assert!(cost(&all) <= 3_000 && all.iter().any(|run| run["status"] == "done"));
    assert_eq!(committed(&muster.us, "organisation month").await, cost(&all));
    let used = muster.us.get("/v1/usage").await.ok();
    // A day each: it may be past midnight by now.
    let days = used["data"].as_array().unwrap().iter().map(|day| number(day, "cost_micro_usd"));
    assert_eq!(days.sum::<u64>(), cost(&all));
}
