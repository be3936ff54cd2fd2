//! Runs: started, waited for, looked at, listed, cancelled, limited.

use serde_json::{Value, json};
use shared::run::{self, Filter};

use crate::harness::{Client, Muster, on_every_backend, redacted, text};

on_every_backend!(
    a_run_is_accepted_and_says_where_to_look,
    a_run_that_is_waited_for_answers_its_end,
    a_wait_that_is_over_answers_where_to_look,
    what_makes_no_run_is_refused_with_its_field,
    inputs_are_given_as_json,
    a_run_overrides_its_agents_settings,
    runs_are_listed_newest_first_in_pages,
    runs_are_listed_by_what_they_are,
    a_cursor_is_bound_to_its_filter,
    a_queued_run_is_cancelled_at_once,
    a_running_run_is_cancelled_while_the_model_is_called,
    a_run_that_has_ended_stays,
    a_budget_stops_a_run_before_the_call,
    a_budget_without_a_price_is_refused,
    a_cost_without_a_price_is_null,
    a_run_of_another_organisation_is_not_found,
    a_run_keeps_the_version_that_it_was_started_with,
);

async fn a_run_is_accepted_and_says_where_to_look(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let started = muster.us.post(&format!("/v1/agents/{agent}/runs"), json!({"message": "say hello"})).await;
    let id = text(&started.body, "id");
    assert_eq!(started.header("location"), format!("/v1/runs/{id}"));
    assert_eq!(started.header("retry-after"), "1");
    let mut expected = json!({
        "id": "<id>", "agent_id": "<id>", "agent_version": 1, "model": "demo/scripted-l0", "mode": "auto",
        "status": "queued", "terminal": false, "reason": null, "error": null, "result": null, "output": null, "chat_id": "<id>",
        "parent_run_id": null, "depth": 0, "schedule_id": null, "trigger_id": null, "caused_by_run_id": null, "reduces": null, "batch_id": null, "batch_index": null, "custom_id": null, "metadata": {},
        "usage": {"model_calls": 0, "input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0},
        "cost_micro_usd": 0, "budget_micro_usd": null, "max_steps": 25, "deadline": "<time>", "created_at": "<time>",
        "started_at": null, "ended_at": null, "duration_ms": "<ms>", "evaluation": null,
    });
    assert_eq!(started.shape(202), expected);
    let path = format!("/v1/runs/{id}");
    assert_eq!(muster.us.get(&path).await.shape(200), expected);
    assert_eq!(muster.us.get(&format!("{path}/explain")).await.ok()["status"], "queued");
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    let usage = ended["usage"].clone();
    assert_eq!(usage["model_calls"], 1);
    assert!(usage["output_tokens"].as_u64() > Some(0) && ended["cost_micro_usd"].as_u64() > Some(0));
    for (field, value) in [
        ("status", json!("done")),
        ("terminal", json!(true)),
        ("usage", usage),
        ("cost_micro_usd", ended["cost_micro_usd"].clone()),
        ("started_at", json!("<time>")),
        ("ended_at", json!("<time>")),
        ("result", ended["result"].clone()),
    ] {
        expected[field] = value;
    }
    assert_eq!(redacted(&ended), expected);
    let messages = muster.us.get(&format!("{path}/messages")).await;
    let message = |role: &str, content: &Value, model: Value| json!({"id": "<id>", "run_id": "<id>", "role": role, "content": content, "model": model, "attachments": [], "tool_calls": [], "tool_call_id": null, "tool": null, "outcome": null, "created_at": "<time>"});
    let expected = json!({"data": [message("user", &json!("say hello"), Value::Null), message("assistant", &ended["result"], json!("demo/scripted-l0"))]});
    assert_eq!(messages.shape(200), expected);
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    let attempt = &explained["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["estimated"]), (&json!("answered"), &json!(false)));
    assert_eq!((&explained["steps"], &explained["in_flight"]), (&json!(2), &Value::Null));
}

async fn a_run_that_is_waited_for_answers_its_end(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("demo/scripted-l50").await;
    for wait in [5, 25] {
        let path = format!("/v1/agents/{agent}/runs?wait={wait}");
        let ended = muster.us.post(&path, json!({"message": "hello"})).await;
        assert_eq!(ended.header("location"), "");
        let ended = ended.ok();
        assert_eq!((&ended["status"], &ended["terminal"]), (&json!("done"), &json!(true)));
        assert!(text(&ended, "result").contains("hello"));
        assert_eq!(ended["usage"]["model_calls"], 1, "nothing is booked for a run that was handed on unbegun");
    }
}

async fn a_wait_that_is_over_answers_where_to_look(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("demo/scripted-l1500").await;
    let waiting = muster.us.post(&format!("/v1/agents/{agent}/runs?wait=1"), json!({"message": "hello"})).await;
    let path = waiting.header("location").to_owned();
    assert_eq!(waiting.header("retry-after"), "1");
    assert_eq!(waiting.status(202)["status"], "running");
    let ended = muster.until(&path, |run| run["terminal"] == true).await;
    assert_eq!((&ended["status"], &ended["usage"]["model_calls"]), (&json!("done"), &json!(1)));
}

async fn what_makes_no_run_is_refused_with_its_field(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/runs");
    for (body, param) in [
        (json!({}), json!("message")),
        (json!({"message": "a", "inputs": {}}), json!("message")),
        (json!({"message": ""}), json!("message")),
        (json!({"message": " \n"}), json!("message")),
        (json!({"message": 1}), json!("message")),
        (json!({"inputs": []}), json!("inputs")),
        (json!({"message": "a".repeat(4 * 1024 * 1024 + 1)}), json!("message")),
        (json!({"message": "a", "max_steps": 0}), json!("max_steps")),
        (json!({"message": "a", "max_steps": 201}), json!("max_steps")),
        (json!({"message": "a", "budget_micro_usd": 0}), json!("budget_micro_usd")),
        (json!({"message": "a", "model": "acme/x"}), json!("model")),
        (json!({"message": "a", "mode": "fast"}), json!("mode")),
        (json!({"message": "a", "deadline": "soon"}), json!("deadline")),
        (json!({"message": "a", "deadline": muster.in_ms(-1)}), json!("deadline")),
        (json!({"message": "a", "deadline": muster.in_ms(24 * 60 * 60 * 1000 + 60_000)}), json!("deadline")),
        (json!({"message": "a", "chat_id": "x"}), json!("chat_id")),
        (json!({"message": "a", "metadata": {"k": 1}}), json!("metadata.k")),
        (json!({"message": "a", "colour": 1}), json!("colour")),
        (json!("a"), Value::Null),
    ] {
        let answer = muster.us.post(&path, body.clone()).await;
        assert_eq!(answer.param(), param, "{}", body.to_string().get(..80).unwrap_or_default());
    }
    for wait in ["26", "-1", "x", ""] {
        let answer = muster.us.post(&format!("{path}?wait={wait}"), json!({"message": "a"})).await;
        assert_eq!(answer.param(), "wait", "{wait}");
    }
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]));
    assert_eq!(muster.queued(), 0);
}

async fn inputs_are_given_as_json(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let body = json!({"inputs": {"city": "Wien", "days": 2}});
    muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202);
    muster.drain().await;
    assert_eq!(muster.models.calls_with(r#"{"city":"Wien","days":2}"#), 1);
}

async fn a_run_overrides_its_agents_settings(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let body = json!({
        "message": "a", "model": "openai/fake", "max_steps": 3, "mode": "manual", "budget_micro_usd": 1_000_000,
        "deadline": muster.in_ms(60_000), "metadata": {"k": "v"},
    });
    let run = muster.us.post(&format!("/v1/agents/{agent}/runs"), body.clone()).await.status(202);
    for field in ["model", "max_steps", "mode", "budget_micro_usd", "deadline", "metadata"] {
        assert_eq!(run[field], body[field], "{field}");
    }
    muster.drain().await;
    let ended = muster.us.get(&format!("/v1/runs/{}", text(&run, "id"))).await.ok();
    let (input, output) = (ended["usage"]["input_tokens"].as_u64(), ended["usage"]["output_tokens"].as_u64());
    assert_eq!(ended["cost_micro_usd"].as_u64(), Some(input.unwrap() + 2 * output.unwrap()), "as MUSTER_PRICES says");
}

/// The ids of every page, and how many each had.
async fn pages(client: &Client, first: &str) -> (Vec<String>, Vec<usize>) {
    let (mut ids, mut sizes, mut path) = (Vec::new(), Vec::new(), first.to_owned());
    loop {
        let page = client.get(&path).await.ok();
        let data = page["data"].as_array().unwrap();
        sizes.push(data.len());
        ids.extend(data.iter().map(|run| text(run, "id")));
        if page["has_more"] == false {
            return (ids, sizes);
        }
        path = format!("{first}&after={}", text(&page, "next_cursor"));
    }
}

async fn runs_are_listed_newest_first_in_pages(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let mut made = Vec::new();
    for number in 0..7 {
        made.insert(0, muster.us.run(&agent, &format!("number {number}")).await);
        muster.pass(2);
    }
    assert_eq!(pages(&muster.us, "/v1/runs?limit=3").await, (made.clone(), vec![3, 3, 1]));
    assert_eq!(pages(&muster.us, "/v1/runs?limit=7").await, (made, vec![7]));
    assert_eq!(muster.them.get("/v1/runs").await.ok()["data"], json!([]));
}

async fn runs_are_listed_by_what_they_are(muster: Muster) {
    let (one, other) = (muster.us.agent("demo/scripted-l0").await, muster.us.agent("demo/scripted-l0").await);
    let done = muster.us.run(&one, "a").await;
    muster.pass(2);
    let tagged = json!({"message": "b", "metadata": {"k": "v"}});
    let tagged = text(&muster.us.post(&format!("/v1/agents/{other}/runs"), tagged).await.status(202), "id");
    muster.drain().await;
    muster.pass(2);
    let queued = muster.us.run(&other, "c").await;
    for (query, expected) in [
        (format!("agent_id={one}"), vec![&done]),
        (format!("agent_id={other}"), vec![&queued, &tagged]),
        ("status=done".to_owned(), vec![&tagged, &done]),
        ("status=queued".to_owned(), vec![&queued]),
        ("status=error".to_owned(), vec![]),
        ("metadata=%7B%22k%22%3A%22v%22%7D".to_owned(), vec![&tagged]),
        (format!("status=done&agent_id={other}"), vec![&tagged]),
        ("batch_id=batch_019a2b3c-4d5e-7f60-8123-456789abcdef".to_owned(), vec![]),
    ] {
        let (ids, _) = pages(&muster.us, &format!("/v1/runs?{query}")).await;
        assert_eq!(ids.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    for query in ["agent_id=1", "batch_id=x", "status=slow", "metadata=1", "limit=0", "after=1", "colour=red"] {
        let param = query.split('=').next().unwrap();
        assert_eq!(muster.us.get(&format!("/v1/runs?{query}")).await.param(), param);
    }
}

async fn a_cursor_is_bound_to_its_filter(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    for _ in 0..2 {
        muster.us.run(&agent, "a").await;
        muster.pass(2);
    }
    let cursor = text(&muster.us.get("/v1/runs?limit=1&status=queued").await.ok(), "next_cursor");
    muster.us.get(&format!("/v1/runs?limit=1&status=queued&after={cursor}")).await.ok();
    for other in ["/v1/runs?", "/v1/runs?status=done&", "/v1/agents?", "/v1/batches?", "/v1/keys?"] {
        assert_eq!(muster.us.get(&format!("{other}after={cursor}")).await.param(), "after", "{other}");
    }
}

async fn a_queued_run_is_cancelled_at_once(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "never").await);
    let cancelled = muster.us.send("POST", &format!("{path}/cancel"), "").await.ok();
    assert_eq!((&cancelled["status"], &cancelled["reason"]), (&json!("interrupted"), &json!("cancelled")));
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["status"], "interrupted");
    assert_eq!(muster.models.stats().calls, 0);
    assert_eq!(muster.us.get(&format!("{path}/explain")).await.ok()["explanation"], "was cancelled");
}

async fn a_running_run_is_cancelled_while_the_model_is_called(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("openai/fake-l8000").await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "long").await);
    muster.until(&path, |run| run["status"] == "running").await;
    let explained = muster.until(&format!("{path}/explain"), |run| run["in_flight"].is_object()).await;
    assert_eq!(explained["in_flight"]["attempt"], 1);
    let answer = muster.us.send("POST", &format!("{path}/cancel"), "").await;
    assert!([200, 202].contains(&answer.code), "{}", answer.text);
    let ended = muster.until(&path, |run| run["terminal"] == true).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("interrupted"), &Value::Null));
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    let attempt = &explained["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["estimated"]), (&json!("cancelled"), &json!(true)));
    assert_eq!(ended["usage"]["model_calls"], 1, "what was sent may be billed");
}

async fn a_run_that_has_ended_stays(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "a").await);
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    let mut answer = ended.clone();
    answer["already_sent"] = json!({"tool_calls": [], "model_calls": []});
    for _ in 0..2 {
        assert_eq!(muster.us.send("POST", &format!("{path}/cancel"), "").await.ok(), answer);
    }
    let blind = muster.us.new_key(json!({"scopes": ["runs:write"]})).await;
    for _ in 0..2 {
        assert_eq!(blind.send("POST", &format!("{path}/cancel"), "").await.ok()["result"], Value::Null);
    }
    assert_eq!(muster.us.get(&path).await.ok(), ended);
}

async fn a_budget_stops_a_run_before_the_call(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let muster = muster.at_work();
    for query in ["", "?wait=10"] {
        let body = json!({"message": "a", "budget_micro_usd": 5});
        let run = muster.us.post(&format!("/v1/agents/{agent}/runs{query}"), body).await;
        assert_eq!(run.code, if query.is_empty() { 202 } else { 200 }, "{}", run.text);
        let path = format!("/v1/runs/{}", text(&run.body, "id"));
        let ended = muster.until(&path, |run| run["terminal"] == true).await;
        let seen = json!([ended["status"], ended["reason"], ended["cost_micro_usd"], ended["usage"]["model_calls"]]);
        assert_eq!(seen, json!(["error", "budget_exceeded", 0, 0]));
        assert!(text(&ended, "error").contains("of 5 are spent"));
    }
    assert_eq!(muster.models.stats().calls, 0);
}

async fn a_budget_without_a_price_is_refused(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l1").await;
    let body = json!({"message": "a", "budget_micro_usd": 1_000_000});
    let refused = muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(400);
    assert_eq!(refused["error"]["param"], "budget_micro_usd");
    assert!(text(&refused["error"], "message").contains("MUSTER_PRICES"));
}

async fn a_cost_without_a_price_is_null(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l1").await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "a").await);
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!((&ended["status"], &ended["cost_micro_usd"]), (&json!("done"), &Value::Null));
    assert!(ended["usage"]["output_tokens"].as_u64() > Some(0));
}

async fn a_run_of_another_organisation_is_not_found(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let run = muster.us.run(&agent, "a").await;
    let them = muster.them.with("x-request-id", "same");
    for (method, rest) in
        [("GET", ""), ("GET", "/messages"), ("GET", "/explain"), ("GET", "/events"), ("POST", "/cancel")]
    {
        let foreign = them.send(method, &format!("/v1/runs/{run}{rest}"), "").await;
        let plain = run.replace("run_", "");
        for other in ["run_019a2b3c-4d5e-7f60-8123-456789abcdef", "run_1", "1", &plain, "%ff"] {
            let unknown = them.send(method, &format!("/v1/runs/{other}{rest}"), "").await;
            assert_eq!((foreign.code, unknown.code), (404, 404), "{method} {rest} {other}");
            assert!(foreign.text == unknown.text || other == "%ff", "{method} {rest} {other}: {}", unknown.text);
        }
    }
    let caller = muster.caller(&muster.us).await;
    let (runs, more) = run::list_pages(&muster.app, &caller, &Filter::default(), 0, 10).await.unwrap();
    assert!(runs.len() == 1 && !more && !runs[0].cancel_requested);
}

async fn a_run_keeps_the_version_that_it_was_started_with(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let run = muster.us.run(&agent, "a").await;
    let change = json!({"model": "demo/scripted-l0", "system_prompt": "new"});
    muster.us.patch(&format!("/v1/agents/{agent}"), change).await.ok();
    muster.drain().await;
    let ended = muster.us.get(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!((&ended["agent_version"], &ended["model"]), (&json!(1), &json!("openai/fake")));
    assert_eq!(muster.models.calls_with("a"), 1);
}
