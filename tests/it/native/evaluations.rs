//! Evaluations: started, followed, read in pages, cancelled, listed; and what cannot be run is refused.

use serde_json::{Value, json};

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    an_evaluation_is_started_run_and_told,
    a_small_evaluation_is_waited_for,
    cells_come_case_by_case_in_pages_and_as_lines,
    cells_are_there_as_runs_land,
    a_version_and_another_model_are_what_is_run,
    calls_that_models_asked_for_are_looked_at,
    what_cannot_be_run_is_refused_with_its_field,
    shares_are_even,
    a_cancelled_evaluation_ends_with_what_there_is,
    evaluations_are_listed_newest_first,
    an_evaluation_that_nobody_looks_at_is_settled_by_the_reaper,
    an_evaluation_of_another_organisation_is_not_found,
);

/// A set of so many cases that the model server passes, but for every fifth.
pub(crate) async fn set_of(client: &Client, count: usize) -> String {
    let case = |n: usize| {
        let expected = if n % 5 == 4 { "else".to_owned() } else { format!("answer {n}") };
        json!({
            "custom_id": format!("case {n}"), "message": format!("say answer {n}"),
            "validations": [{"content_match": {"pattern": "^answer"}}, {"exact": {"expected": expected}}],
        })
    };
    let cases: Vec<Value> = (0..count).map(case).collect();
    let set = text(&client.post("/v1/test_sets", json!({"name": "set", "items": []})).await.status(201), "id");
    for some in cases.chunks(1_000) {
        client.post(&format!("/v1/test_sets/{set}/items"), json!({"items": some})).await.ok();
    }
    set
}

/// Starts an evaluation with these configurations, and answers its path.
pub(super) async fn started(client: &Client, set: &str, configurations: Value) -> String {
    let body = json!({"configurations": configurations});
    let made = client.post(&format!("/v1/test_sets/{set}/evaluations"), body).await.status(202);
    format!("/v1/evaluations/{}", text(&made, "id"))
}

/// Every cell, read in pages of so many.
pub(super) async fn cells(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}/results?limit={limit}{after}")).await.ok();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            assert_eq!(page["next_after"], Value::Null);
            return all;
        }
        after = format!("&after={}", page["next_after"]);
    }
}

pub(super) fn verdicts(cells: &[Value]) -> Vec<String> {
    cells.iter().map(|cell| text(cell, "verdict")).collect()
}

fn counts(queued: u32, done: u32) -> Value {
    json!({"queued": queued, "running": 0, "waiting": 0, "done": done, "error": 0, "interrupted": 0})
}

async fn an_evaluation_is_started_run_and_told(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 10).await;
    let body = json!({"configurations": [{"agent_id": agent}], "metadata": {"k": "v"}});
    let answer = muster.us.post(&format!("/v1/test_sets/{set}/evaluations"), body).await;
    let path = answer.header("location").to_owned();
    assert_eq!(path, format!("/v1/evaluations/{}", text(&answer.body, "id")));
    assert_eq!(answer.header("retry-after"), "1");
    let usage = json!({"model_calls": 0, "input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0});
    let mut expected = json!({
        "id": "<id>", "test_set_id": "<id>", "status": "running", "terminal": false, "cases": 10,
        "configurations": [{
            "agent_id": "<id>", "agent_version": 1, "agent_name": "tester", "model": "openai/fake", "batch_id": "<id>",
            "judge_batch_id": null,
            "counts": counts(10, 0), "correct": null, "attempts": 0, "correctness": null, "correctness_interval": null,
            "usage": usage, "cost_micro_usd": 0, "judge_cost_micro_usd": 0, "price_per_correct_micro_usd": null,
            "price_per_correct_interval": null, "no_price_reason": "not_ended", "p50_ms": null, "p95_ms": null,
            "unbeaten": null,
        }],
        "cost_micro_usd": 0, "judge_cost_micro_usd": 0, "max_concurrency": null, "budget_micro_usd": null,
        "metadata": {"k": "v"}, "created_at": "<time>", "ended_at": null,
    });
    assert_eq!(answer.shape(202), expected);
    assert_eq!(muster.us.get(&path).await.shape(200), expected);
    assert_eq!(muster.queued(), 1, "50 runs a message");
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    let told = &ended["configurations"][0];
    let cost = told["cost_micro_usd"].as_u64().unwrap();
    assert!(cost > 0 && ended["cost_micro_usd"] == cost, "{ended}");
    assert_eq!(json!([told["correct"], told["correctness"], told["attempts"]]), json!([8, 0.8, 10]));
    assert_eq!(told["price_per_correct_micro_usd"], cost as f64 / 8.0);
    let configuration = &mut expected["configurations"][0];
    for field in ["correct", "correctness", "correctness_interval", "attempts", "usage", "cost_micro_usd"] {
        configuration[field] = told[field].clone();
    }
    for field in ["price_per_correct_micro_usd", "price_per_correct_interval"] {
        configuration[field] = told[field].clone();
    }
    for (field, value) in [("no_price_reason", Value::Null), ("p50_ms", "<ms>".into()), ("p95_ms", "<ms>".into())] {
        configuration[field] = value;
    }
    configuration["unbeaten"] = json!(true);
    configuration["counts"] = counts(0, 10);
    for (field, value) in [("status", json!("done")), ("terminal", json!(true)), ("ended_at", json!("<time>"))] {
        expected[field] = value;
    }
    expected["cost_micro_usd"] = json!(cost);
    assert_eq!(crate::harness::redacted(&ended), expected);
    muster.pass(1_000);
    assert_eq!(muster.us.get(&path).await.ok(), ended, "what has ended stays as it is");
    let batch = muster.us.get(&format!("/v1/batches/{}", text(told, "batch_id"))).await.ok();
    let seen = json!([batch["evaluation_id"], batch["metadata"], batch["items"], batch["status"]]);
    assert_eq!(seen, json!([ended["id"], {"k": "v"}, 10, "done"]));
}

async fn a_small_evaluation_is_waited_for(muster: Muster) {
    let muster = muster.at_work();
    let set = set_of(&muster.us, 3).await;
    let path = format!("/v1/test_sets/{set}/evaluations?wait=20");
    let agent = muster.us.agent("openai/fake").await;
    let ended = muster.us.post(&path, json!({"configurations": [{"agent_id": agent}]})).await.ok();
    assert_eq!(json!([ended["status"], ended["configurations"][0]["correct"]]), json!(["done", 3]));
    let slow = muster.us.agent("openai/fake-l9000").await;
    let path = format!("/v1/test_sets/{set}/evaluations?wait=1");
    let begun = muster.us.post(&path, json!({"configurations": [{"agent_id": slow}]})).await;
    assert!(begun.header("location").starts_with("/v1/evaluations/eval_"));
    assert_eq!(begun.status(202)["terminal"], false);
}

async fn cells_come_case_by_case_in_pages_and_as_lines(muster: Muster) {
    let (one, other) = (muster.us.agent("openai/fake").await, muster.us.agent("demo/scripted-l0").await);
    let set = set_of(&muster.us, 105).await;
    let path = started(&muster.us, &set, json!([{"agent_id": one}, {"agent_id": other}])).await;
    muster.drain().await;
    let before = cells(&muster.us, &path, 100).await;
    assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
    let all = cells(&muster.us, &path, 100).await;
    assert_eq!(all, before, "what is written is what was seen before");
    assert_eq!(all.len(), 210);
    for (index, cell) in all.iter().enumerate() {
        let (case, configuration) = (index / 2, index % 2);
        let place = json!([cell["index"], cell["case"], cell["configuration"], cell["custom_id"], cell["error"]]);
        assert_eq!(place, json!([index, case, configuration, format!("case {case}"), null]));
        let right = configuration == 0 && case % 5 != 4;
        assert_eq!(cell["verdict"], if right { "correct" } else { "wrong" }, "{cell}");
        let output = text(cell, "output");
        if configuration == 0 {
            assert_eq!(output, format!("answer {case}"));
        }
        let exact = json!({"holds": false, "why_not": "the answer is another text"});
        let findings = match (right, configuration) {
            (true, _) => json!([]),
            (false, 0) => json!([{"holds": true, "why_not": null}, exact]),
            (false, _) => json!([{"holds": false, "why_not": "the pattern does not match"}, exact]),
        };
        assert_eq!(cell["findings"], findings);
    }
    let run = muster.us.get(&format!("/v1/runs/{}", text(&all[100], "run_id"))).await.ok();
    let same = ["usage", "cost_micro_usd", "custom_id"];
    assert!(same.iter().all(|field| run[*field] == all[100][*field]) && run["result"] == all[100]["output"]);
    for limit in [1, 7, 99] {
        let page = muster.us.get(&format!("{path}/results?limit={limit}&after=96")).await.ok();
        assert_eq!(page["data"], json!(all[97..97 + limit]), "{limit}");
    }
    let lines = muster.us.get(&format!("{path}/results?format=ndjson")).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, all);
    let accepts = muster.us.with("accept", "application/x-ndjson").get(&format!("{path}/results")).await;
    assert_eq!(accepts.header("content-type"), "application/x-ndjson");
    for query in ["limit=0", "limit=101", "limit=x", "after=-1", "format=xml", "colour=red"] {
        let param = query.split('=').next().unwrap();
        assert_eq!(muster.us.get(&format!("{path}/results?{query}")).await.param(), param, "{query}");
    }
    for after in ["209", "70000", "18446744073709551615"] {
        let beyond = muster.us.get(&format!("{path}/results?after={after}")).await.ok();
        assert_eq!(beyond, json!({"data": [], "has_more": false, "next_after": null}));
    }
}

async fn cells_are_there_as_runs_land(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 3).await;
    let path = started(&muster.us, &set, json!([{"agent_id": agent}])).await;
    let seen = cells(&muster.us, &path, 100).await;
    assert_eq!(verdicts(&seen), ["pending"; 3]);
    let run = text(&seen[1], "run_id");
    muster.us.send("POST", &format!("/v1/runs/{run}/cancel"), "").await.ok();
    assert_eq!(verdicts(&cells(&muster.us, &path, 100).await), ["pending", "no_answer", "pending"]);
    muster.drain().await;
    let seen = cells(&muster.us, &path, 100).await;
    assert_eq!(verdicts(&seen), ["correct", "no_answer", "correct"]);
    assert_eq!((&seen[1]["output"], &seen[1]["error"]), (&Value::Null, &json!("cancelled")));
    assert_eq!(muster.us.get(&path).await.ok()["configurations"][0]["correct"], 2);
}

async fn a_version_and_another_model_are_what_is_run(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    muster.us.patch(&format!("/v1/agents/{agent}"), json!({"name": "newer", "model": "openai/fake"})).await.ok();
    let set = set_of(&muster.us, 1).await;
    let configurations = json!([
        {"agent_id": agent}, {"agent_id": agent, "version": 1}, {"agent_id": agent, "version": 1, "model": "openai/fake"},
    ]);
    let path = started(&muster.us, &set, configurations).await;
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    let told = ended["configurations"].as_array().unwrap().iter();
    let fields = ["agent_version", "agent_name", "model", "correct"];
    let told: Vec<Value> = told.map(|one| fields.iter().map(|field| one[*field].clone()).collect()).collect();
    let expected =
        json!([[2, "newer", "openai/fake", 1], [1, "tester", "demo/scripted-l0", 0], [1, "tester", "openai/fake", 1],]);
    assert_eq!(json!(told), expected);
}

async fn calls_that_models_asked_for_are_looked_at(muster: Muster) {
    let tool = json!({
        "type": "http", "name": "add", "description": "Adds", "policy": "read", "method": "GET",
        "url": "http://127.0.0.1:9/", "parameters": {"type": "object"},
    });
    let body = json!({"name": "a", "model": "demo/scripted-l0", "tools": [tool]});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let with = |message: &str, arguments: Value| json!({"message": message, "validations": [{"tool_call": {"tool_name": "add", "arguments": arguments}}]});
    let two = "call add {\"a\": 1}\ncall add {\"a\": 2, \"b\": 3}";
    let cases = [
        with(two, json!({"a": 2})),
        with(two, json!({"b": 3})),
        with(two, json!({"a": 1, "b": 3})),
        with("call nobody {\"a\": 1}", json!({})),
        with("nothing", json!({})),
        json!({"message": "hello", "validations": [{"content_match": {"pattern": "hello"}}]}),
    ];
    let set = json!({"name": "set", "items": cases});
    let set = text(&muster.us.post("/v1/test_sets", set).await.status(201), "id");
    let path = started(&muster.us, &set, json!([{"agent_id": agent}])).await;
    muster.drain().await;
    let seen = cells(&muster.us, &path, 100).await;
    assert_eq!(verdicts(&seen), ["correct", "correct", "wrong", "wrong", "wrong", "correct"]);
    let why_not = |index: usize| text(&seen[index]["findings"][0], "why_not");
    assert_eq!(why_not(2), "no call of the tool had these arguments");
    assert_eq!(why_not(4), "no call of the tool was asked for");
}

async fn what_cannot_be_run_is_refused_with_its_field(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 3).await;
    let path = format!("/v1/test_sets/{set}/evaluations");
    let fine = json!({"agent_id": agent});
    let unpriced = json!({"agent_id": agent, "model": "openai/fake-l1"});
    let many: Vec<Value> =
        (0..21).map(|n| json!({"agent_id": agent, "model": format!("demo/scripted-l{n}")})).collect();
    for (body, param) in [
        (json!({}), "configurations"),
        (json!({"configurations": []}), "configurations"),
        (json!({"configurations": many}), "configurations"),
        (json!({"configurations": [fine, {}]}), "configurations[1].agent_id"),
        (json!({"configurations": [fine, {"agent_id": agent, "colour": 1}]}), "configurations[1].colour"),
        (json!({"configurations": [fine, {"agent_id": agent, "version": "1"}]}), "configurations[1].version"),
        (json!({"configurations": [fine, {"agent_id": agent, "model": "nobody/x"}]}), "configurations[1].model"),
        (json!({"configurations": [fine, unpriced, {"agent_id": agent, "version": 1}]}), "configurations[2]"),
        (json!({"configurations": [fine], "max_concurrency": 0}), "max_concurrency"),
        (json!({"configurations": [fine], "max_concurrency": 10_001}), "max_concurrency"),
        (json!({"configurations": [fine], "budget_micro_usd": 0}), "budget_micro_usd"),
        (json!({"configurations": [fine, unpriced], "budget_micro_usd": 5}), "budget_micro_usd"),
        (json!({"configurations": [fine], "metadata": {"": "x"}}), "metadata"),
        (json!({"configurations": [fine], "colour": 1}), "colour"),
    ] {
        assert_eq!(muster.us.post(&path, body.clone()).await.param(), param, "{body}");
    }
    let declares = json!({"name": "a", "model": "openai/fake", "inputs": [{"name": "city", "description": "", "required": true, "type": "string"}]});
    let declares = text(&muster.us.post("/v1/agents", declares).await.status(201), "id");
    let refused = muster.us.post(&path, json!({"configurations": [fine, {"agent_id": declares}]})).await.status(400);
    let problems = refused["error"]["details"]["problems"].as_array().unwrap();
    assert_eq!((problems.len(), &problems[2]["field"]), (3, &json!("configurations[1]")));
    assert!(text(&problems[2], "message").starts_with("cannot be told case 2: inputs: "), "{refused}");
    for (agent, version) in [(agent.as_str(), 0), (agent.as_str(), 2), ("agent_x", 1), ("x", 1)] {
        let body = json!({"configurations": [{"agent_id": agent, "version": version}]});
        assert_eq!(muster.us.post(&path, body).await.code_of(404), "not_found", "{agent} {version}");
    }
    let theirs = muster.them.agent("openai/fake").await;
    muster.us.post(&path, json!({"configurations": [{"agent_id": theirs}]})).await.status(404);
    let empty = text(&muster.us.post("/v1/test_sets", json!({"name": "empty"})).await.status(201), "id");
    let body = json!({"configurations": [fine]});
    let of = |set: &str| format!("/v1/test_sets/{set}/evaluations");
    assert_eq!(muster.us.post(&of(&empty), body.clone()).await.param(), "test_set_id");
    muster.us.post(&of("ts_019a2b3c-4d5e-7f60-8123-456789abcdef"), body.clone()).await.status(404);
    muster.them.post(&path, body).await.status(404);
    for list in ["/v1/runs", "/v1/batches", "/v1/evaluations"] {
        assert_eq!(muster.us.get(list).await.ok()["data"], json!([]), "{list}");
    }
    assert_eq!(muster.queued(), 0);
}

async fn shares_are_even(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let set = set_of(&muster.us, 2).await;
    let models = ["demo/scripted-l0", "demo/scripted-l1", "demo/scripted-l2"];
    let configurations: Vec<Value> = models.iter().map(|model| json!({"agent_id": agent, "model": model})).collect();
    for (most, shared, budget, budgets) in [(7, [3, 2, 2], 1_000, [334, 333, 333]), (1, [1, 1, 1], 2, [1, 1, 1])] {
        let body = json!({"configurations": configurations, "max_concurrency": most, "budget_micro_usd": budget});
        let made = muster.us.post(&format!("/v1/test_sets/{set}/evaluations"), body).await.status(202);
        assert_eq!(json!([made["max_concurrency"], made["budget_micro_usd"]]), json!([most, budget]));
        for (index, configuration) in made["configurations"].as_array().unwrap().iter().enumerate() {
            let batch = muster.us.get(&format!("/v1/batches/{}", text(configuration, "batch_id"))).await.ok();
            let seen = json!([batch["max_concurrency"], batch["budget_micro_usd"]]);
            assert_eq!(seen, json!([shared[index], budgets[index]]));
        }
    }
    // A run that finds no room in its configuration's share has no answer.
    muster.drain().await;
    let list = muster.us.get("/v1/evaluations").await.ok();
    let poor = format!("/v1/evaluations/{}", text(&list["data"][0], "id"));
    let poor = muster.until(&poor, |poor| poor["terminal"] == true).await;
    assert_eq!(poor["configurations"][0]["no_price_reason"], "nothing_correct");
    let cell = &cells(&muster.us, &format!("/v1/evaluations/{}", text(&poor, "id")), 1).await[0];
    assert_eq!(cell["verdict"], "no_answer");
    assert!(text(cell, "error").starts_with("budget_exceeded: "), "{cell}");
}

async fn a_cancelled_evaluation_ends_with_what_there_is(muster: Muster) {
    let (quick, slow) = (muster.us.agent("openai/fake").await, muster.us.agent("openai/fake-l9000").await);
    let set = set_of(&muster.us, 3).await;
    let path = started(&muster.us, &set, json!([{"agent_id": quick}, {"agent_id": slow}])).await;
    let muster = muster.at_work();
    muster.until(&path, |one| one["configurations"][0]["counts"]["done"] == 3).await;
    let asked = muster.us.send("POST", &format!("{path}/cancel"), "").await;
    assert!([200, 202].contains(&asked.code) && asked.body["status"] != "running", "{}", asked.text);
    let ended = muster.until(&path, |one| one["terminal"] == true).await;
    let of = |field: &str| json!([ended["configurations"][0][field], ended["configurations"][1][field]]);
    assert_eq!((of("correct"), of("no_price_reason")), (json!([3, 0]), json!([null, "unknown_price"])));
    assert_eq!(ended["configurations"][1]["counts"]["interrupted"], 3);
    let expected = ["correct", "no_answer", "correct", "no_answer", "correct", "no_answer"];
    assert_eq!(verdicts(&cells(&muster.us, &path, 100).await), expected);
    assert_eq!(muster.us.send("POST", &format!("{path}/cancel"), "").await.ok(), ended, "it has ended");
    let untouched = started(&muster.us, &set, json!([{"agent_id": slow}])).await;
    muster.us.send("POST", &format!("{untouched}/cancel"), "").await;
    muster.until(&untouched, |one| one["status"] == "done").await;
}

async fn evaluations_are_listed_newest_first(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 2).await;
    let mut made = Vec::new();
    for n in 0..3 {
        let body = json!({"configurations": [{"agent_id": agent}], "metadata": {"n": n.to_string()}});
        let one = muster.us.post(&format!("/v1/test_sets/{set}/evaluations"), body).await.status(202);
        made.insert(0, text(&one, "id"));
        muster.pass(2);
    }
    muster.drain().await;
    muster.us.get(&format!("/v1/evaluations/{}", made[0])).await.ok();
    let page = muster.us.get("/v1/evaluations?limit=2").await.ok();
    let rest = muster.us.get(&format!("/v1/evaluations?limit=2&after={}", text(&page, "next_cursor"))).await.ok();
    let all: Vec<&Value> = page["data"].as_array().unwrap().iter().chain(rest["data"].as_array().unwrap()).collect();
    assert_eq!(all.iter().map(|one| text(one, "id")).collect::<Vec<_>>(), made);
    let seen = all.iter().map(|one| json!([one["status"], one["configurations"][0]["counts"]["done"]]));
    assert_eq!(seen.collect::<Vec<_>>(), [json!(["done", 2]), json!(["judging", 2]), json!(["judging", 2])]);
    let fits = muster.us.get("/v1/evaluations?metadata=%7B%22n%22%3A%221%22%7D").await.ok();
    assert_eq!((&fits["data"][0]["id"], fits["data"].as_array().unwrap().len()), (&json!(made[1]), 1));
}

async fn an_evaluation_that_nobody_looks_at_is_settled_by_the_reaper(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 40).await;
    let path = started(&muster.us, &set, json!([{"agent_id": agent}])).await;
    muster.pass(crate::reaper::LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.evaluations, 1, "and its runs have not ended");
    assert_eq!(muster.reap().await.evaluations, 0, "its time comes again, and not at once");
    muster.drain().await;
    muster.pass(crate::reaper::LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.evaluations, 1);
    assert_eq!(muster.us.get("/v1/evaluations").await.ok()["data"][0]["status"], "done", "a list settles nothing");
    muster.pass(crate::reaper::HOUR_MS);
    assert_eq!(muster.reap().await.evaluations, 0, "it is not due any more");
    assert_eq!(muster.us.get(&path).await.ok()["configurations"][0]["correct"], 32);
}

async fn an_evaluation_of_another_organisation_is_not_found(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 1).await;
    let path = started(&muster.us, &set, json!([{"agent_id": agent}])).await;
    let them = muster.them.with("x-request-id", "same");
    for (method, rest) in [("GET", ""), ("GET", "/results"), ("GET", "/results?format=ndjson"), ("POST", "/cancel")] {
        let foreign = them.send(method, &format!("{path}{rest}"), "").await;
        for other in ["eval_019a2b3c-4d5e-7f60-8123-456789abcdef", "eval_x", "x"] {
            let unknown = them.send(method, &format!("/v1/evaluations/{other}{rest}"), "").await;
            assert_eq!((foreign.code, &foreign.text), (404, &unknown.text), "{method} {rest} {other}");
        }
    }
    assert_eq!(muster.them.get("/v1/evaluations").await.ok()["data"], json!([]));
    let writer = muster.us.new_key(json!({"scopes": ["runs:write"]})).await;
    writer.get(&path).await.status(403);
    let body = json!({"configurations": [{"agent_id": agent}]});
    writer.post(&format!("/v1/test_sets/{set}/evaluations"), body).await.status(202);
}
