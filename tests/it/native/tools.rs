//! Tools: called, approved, cut off, and never twice where that must not be.

use std::time::{Duration, Instant};

use model_server::{Effect, Tools};
use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_tool_is_called_and_its_answer_reaches_the_model,
    tools_of_one_answer_are_called_side_by_side,
    a_tool_that_is_cut_off_is_called_again_only_as_its_policy_says,
    a_tool_that_fails_for_a_while_is_called_again_if_that_is_harmless,
    what_a_gateway_answers_is_unclear_where_a_call_must_not_be_made_twice,
    a_person_is_asked_before_a_call_and_may_say_no,
    approving_sends_the_call_once,
    a_wait_ends_when_a_person_is_asked,
    a_run_that_nobody_answers_expires,
    an_unknown_outcome_can_wait_for_a_person,
    cancelling_a_run_lists_what_was_sent,
    cancelling_a_batch_lists_what_its_runs_had_sent,
    every_attempt_is_listed_however_many_there_were,
    a_secret_is_sent_and_seen_nowhere_else,
    a_loop_of_the_same_call_is_stopped,
    tools_that_make_no_sense_are_refused_with_their_fields,
);

const SCHEMA: &str = r#"{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}"#;

/// A POST tool at that URL, with these fields too.
fn tool(url: &str, others: Value) -> Value {
    let parameters: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut tool = json!({"type": "http", "name": "act", "method": "POST", "url": url, "parameters": parameters});
    for (name, value) in others.as_object().unwrap() {
        tool[name] = value.clone();
    }
    tool
}

/// An agent whose model makes a round of tool calls before it answers.
async fn agent(muster: &Muster, model: &str, tools: Vec<Value>) -> String {
    let body = json!({"name": "actor", "model": model, "tools": tools});
    text(&muster.us.post("/v1/agents", body).await.status(201), "id")
}

/// A run of such an agent, worked on until nothing is left to do.
async fn run(muster: &Muster, agent: &str) -> String {
    let id = muster.us.run(agent, "do it").await;
    muster.drain().await;
    format!("/v1/runs/{id}")
}

async fn messages(muster: &Muster, run: &str) -> Vec<Value> {
    muster.us.get(&format!("{run}/messages")).await.ok()["data"].as_array().unwrap().clone()
}

/// How the run's only tool call ended.
async fn outcome(muster: &Muster, run: &str) -> String {
    let messages = messages(muster, run).await;
    text(messages.iter().find(|message| message["role"] == "tool").unwrap(), "outcome")
}

async fn a_tool_is_called_and_its_answer_reaches_the_model(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let agent = agent(&muster, "openai/fake-t1", vec![tool(&server.url("/do/it"), json!({}))]).await;
    let path = run(&muster, &agent).await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!((&ended["status"], &ended["usage"]["model_calls"]), (&json!("done"), &json!(2)), "{ended}");
    let [Effect { method, key, body, .. }] = &server.effects()[..] else { panic!("{:?}", server.effects()) };
    assert_eq!((method.as_str(), key.as_deref()), ("POST", Some(format!("{}/2", text(&ended, "id")).as_str())));
    assert!(serde_json::from_str::<Value>(body).unwrap()["city"].is_string());
    let messages = messages(&muster, &path).await;
    let roles: Vec<&str> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    let (asked, answered) = (&messages[1]["tool_calls"][0], &messages[2]);
    assert_eq!((&asked["name"], &asked["id"]), (&json!("act"), &answered["tool_call_id"]));
    assert_eq!((&answered["content"], &answered["outcome"]), (&json!(r#"{"done":1}"#), &json!("answered")));
    let sent = muster.models.last(model_server::Format::OpenAi).unwrap().body;
    assert_eq!((&sent["tools"][0]["function"]["name"], &sent["messages"][2]["role"]), (&json!("act"), &json!("tool")));
}

async fn tools_of_one_answer_are_called_side_by_side(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let agent = agent(&muster, "openai/fake-t2-p3", vec![tool(&server.url("/do/it?wait=100"), json!({}))]).await;
    let ended = muster.us.get(&run(&muster, &agent).await).await.ok();
    assert_eq!((&ended["status"], &ended["usage"]["model_calls"]), (&json!("done"), &json!(3)), "{ended}");
    let mut keys: Vec<_> = server.effects().into_iter().map(|effect| effect.key.unwrap()).collect();
    keys.sort_unstable();
    let id = text(&ended, "id");
    assert_eq!(keys, [2, 3, 4, 6, 7, 8].map(|slot| format!("{id}/{slot}")));
}

async fn a_tool_that_is_cut_off_is_called_again_only_as_its_policy_says(muster: Muster) {
    for (policy, path, lookup, effects, requests, expected) in [
        ("read", "/do/it?cut=1", false, 2, 2, "answered"),
        ("idempotent", "/idempotent/it?cut=1", false, 1, 2, "answered"),
        ("once", "/do/it?cut=1", false, 1, 1, "unknown"),
        ("verify", "/do/it?cut=1", true, 1, 2, "answered"),
        ("verify", "/do/it?lose=1", true, 1, 3, "answered"),
    ] {
        let server = Tools::start().await.unwrap();
        let mut others = json!({"policy": policy});
        if lookup {
            others["lookup_url"] = json!(server.url("/did/{idempotency_key}"));
        }
        let agent = agent(&muster, "openai/fake-t1", vec![tool(&server.url(path), others)]).await;
        let run = run(&muster, &agent).await;
        assert_eq!(muster.us.get(&run).await.ok()["status"], "done");
        let found = (server.effects().len(), server.requests(), outcome(&muster, &run).await);
        assert_eq!(found, (effects, requests, expected.to_owned()), "{policy} {path}");
    }
}

async fn a_tool_that_fails_for_a_while_is_called_again_if_that_is_harmless(muster: Muster) {
    for (policy, effects, requests, expected) in
        [("idempotent", 1, 3, "answered"), ("read", 1, 3, "answered"), ("once", 0, 1, "unknown")]
    {
        let server = Tools::start().await.unwrap();
        let url = server.url("/idempotent/it?fail=2");
        let agent = agent(&muster, "openai/fake-t1", vec![tool(&url, json!({"policy": policy}))]).await;
        let run = run(&muster, &agent).await;
        let found = (server.effects().len(), server.requests(), outcome(&muster, &run).await);
        assert_eq!(found, (effects, requests, expected.to_owned()), "{policy}");
    }
}

async fn what_a_gateway_answers_is_unclear_where_a_call_must_not_be_made_twice(muster: Muster) {
    const ASKED: &str = "/did/{idempotency_key}";
    const NOBODY: &str = "http://127.0.0.1:1/{idempotency_key}";
    for status in [408, 502, 503, 504, 500, 429, 400] {
        let gateway = !matches!(status, 500 | 429 | 400);
        let told = if gateway { "unknown" } else { "failed" };
        let found = if gateway { "answered" } else { "failed" };
        let tries = if status == 400 { 1 } else { 3 };
        let looked = if gateway { 2 } else { 1 };
        for (policy, path, lookup, requests, expected) in [
            ("read", "/idempotent", "", tries, "failed"),
            ("idempotent", "/idempotent", "", tries, "failed"),
            ("once", "/do", "", 1, told),
            ("verify", "/do", ASKED, looked, found),
            ("verify", "/do", NOBODY, 1, told),
        ] {
            for on_unknown in ["tell", "halt"] {
                let server = Tools::start().await.unwrap();
                let mut others = json!({"policy": policy, "on_unknown": on_unknown});
                match lookup {
                    "" => {}
                    ASKED => others["lookup_url"] = server.url(ASKED).into(),
                    elsewhere => others["lookup_url"] = elsewhere.into(),
                }
                let tool = tool(&server.url(&format!("{path}/it?status={status}")), others);
                let agent = agent(&muster, "openai/fake-t1", vec![tool]).await;
                let run = run(&muster, &agent).await;
                let seen = muster.us.get(&run).await.ok();
                let case = format!("{policy} {on_unknown} {lookup} {status}");
                assert_eq!((server.effects().len(), server.requests()), (1, requests), "{case}");
                if (expected, on_unknown) == ("unknown", "halt") {
                    let waits = (&json!("waiting"), &json!("outcome_unknown"));
                    assert_eq!((&seen["status"], &seen["reason"]), waits, "{case}");
                } else {
                    assert_eq!(
                        (text(&seen, "status"), outcome(&muster, &run).await),
                        ("done".into(), expected.into()),
                        "{case}"
                    );
                }
            }
        }
    }
    // It was not passed on: the tool says so, and is called again.
    let server = Tools::start().await.unwrap();
    let others = json!({"policy": "verify", "lookup_url": server.url(ASKED)});
    let agent = agent(&muster, "openai/fake-t1", vec![tool(&server.url("/do/it?fail=1"), others)]).await;
    let run = run(&muster, &agent).await;
    assert_eq!((server.effects().len(), outcome(&muster, &run).await.as_str()), (1, "answered"));
}

async fn a_person_is_asked_before_a_call_and_may_say_no(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let agent =
        agent(&muster, "openai/fake-t1", vec![tool(&server.url("/do/it"), json!({"approval": "always"}))]).await;
    let path = run(&muster, &agent).await;
    let waiting = muster.us.get(&path).await.ok();
    assert_eq!((&waiting["status"], &waiting["reason"]), (&json!("waiting"), &json!("approval_required")));
    let approvals = muster.us.get(&format!("{path}/approvals")).await.ok();
    let asked = &approvals["data"][0];
    assert_eq!((&asked["tool"], &asked["expires_at"]), (&json!("act"), &waiting["deadline"]));
    assert!(text(asked, "arguments").contains("city"));
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    assert!(text(&explained, "explanation").contains("for a person"), "{explained}");
    assert_eq!(explained["tool_calls"][0]["state"], "awaits_approval");
    let decide = format!("{path}/approvals");
    let deny = json!({"approval_id": asked["id"], "decision": "deny", "message": "not in winter"});
    assert_eq!(muster.them.post(&decide, deny.clone()).await.code, 404);
    for (body, code) in [
        (json!({"approval_id": "appr_x", "decision": "deny"}), 400),
        (json!({"approval_id": asked["id"], "decision": "maybe"}), 400),
        (json!({"approval_id": waiting["id"].as_str().unwrap().replace("run_", "appr_"), "decision": "deny"}), 404),
    ] {
        assert_eq!(muster.us.post(&decide, body.clone()).await.code, code, "{body}");
    }
    assert_eq!(muster.us.post(&decide, deny.clone()).await.ok()["status"], "queued");
    assert_eq!(muster.us.post(&decide, deny.clone()).await.code, 200, "the same again changes nothing");
    let approve = json!({"approval_id": asked["id"], "decision": "approve"});
    assert_eq!(muster.us.post(&decide, approve.clone()).await.code, 409, "something else was said before");
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
    assert_eq!((server.requests(), outcome(&muster, &path).await.as_str()), (0, "denied"));
    assert!(text(&messages(&muster, &path).await[2], "content").contains("not in winter"));
    assert_eq!(
        muster.us.post(&decide, deny).await.code,
        200,
        "the same again changes nothing, also when the run has ended"
    );
    assert_eq!(muster.us.post(&decide, approve).await.code, 409);
    let never = json!({"approval_id": format!("appr_{}", muster.us.org), "decision": "deny"});
    assert_eq!(muster.us.post(&decide, never).await.code, 404);
}

async fn approving_sends_the_call_once(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let agent = agent(&muster, "openai/fake-t1-p2", vec![tool(&server.url("/do/it"), json!({}))]).await;
    let body = json!({"message": "do it", "mode": "manual"});
    let begun = muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202);
    muster.drain().await;
    let path = format!("/v1/runs/{}", text(&begun, "id"));
    for left in [1, 0] {
        let asked = muster.us.get(&format!("{path}/approvals")).await.ok()["data"].as_array().unwrap().clone();
        assert_eq!(asked.len(), left + 1);
        let approve = json!({"approval_id": asked[0]["id"], "decision": "approve"});
        let decide = format!("{path}/approvals");
        let both = (muster.us.post(&decide, approve.clone()), muster.us.post(&decide, approve));
        let (one, other) = tokio::join!(both.0, both.1);
        assert_eq!((one.code, other.code), (200, 200));
        muster.drain_twice().await;
        assert_eq!(server.effects().len(), 2 - left);
    }
    assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
}

async fn a_wait_ends_when_a_person_is_asked(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster, "openai/fake-t1", vec![tool("https://example.com/", json!({}))]).await;
    let begun = Instant::now();
    let body = json!({"message": "do it", "mode": "manual"});
    let waiting = muster.us.post(&format!("/v1/agents/{agent}/runs?wait=25"), body).await.status(202);
    assert_eq!(waiting["status"], "waiting");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

async fn a_run_that_nobody_answers_expires(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let agent =
        agent(&muster, "openai/fake-t1", vec![tool(&server.url("/do/it"), json!({"approval": "always"}))]).await;
    let body = json!({"message": "do it", "deadline": muster.in_ms(600_000)});
    let id = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202), "id");
    muster.drain().await;
    muster.reap().await;
    let path = format!("/v1/runs/{id}");
    assert_eq!(muster.us.get(&path).await.ok()["status"], "waiting");
    let asked = muster.us.get(&format!("{path}/approvals")).await.ok()["data"][0].clone();
    muster.pass(601_000);
    // Nobody has looked at the run since, and what a person says now comes too late all the same.
    for decision in ["approve", "deny"] {
        let body = json!({"approval_id": asked["id"], "decision": decision});
        let late = muster.us.post(&format!("{path}/approvals"), body).await.status(409);
        assert!(text(&late["error"], "message").contains("expired"), "{late}");
    }
    assert_eq!(muster.us.get(&format!("{path}/approvals")).await.ok()["data"], json!([]));
    muster.reap().await;
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("error"), &json!("approval_expired")));
    assert_eq!(server.requests(), 0);
    let (open, last) = left_open(&muster, &path).await;
    assert_eq!((&last["type"], &last["reason"]), (&json!("run.error"), &json!("approval_expired")));
    assert_eq!((&open["state"], &open["attempts"]), (&json!("awaits_approval"), &json!(0)));
}

async fn an_unknown_outcome_can_wait_for_a_person(muster: Muster) {
    for (decision, effects, expected) in [("approve", 2, "answered"), ("deny", 1, "unknown")] {
        let server = Tools::start().await.unwrap();
        let tool = tool(&server.url("/do/it?cut=1"), json!({"on_unknown": "halt"}));
        let agent = agent(&muster, "openai/fake-t1", vec![tool]).await;
        let path = run(&muster, &agent).await;
        assert_eq!(muster.us.get(&path).await.ok()["reason"], "outcome_unknown");
        let asked = muster.us.get(&format!("{path}/approvals")).await.ok()["data"][0].clone();
        assert_eq!(asked["reason"], "outcome_unknown");
        let body =
            json!({"approval_id": asked["id"], "decision": decision, "message": "I looked: it is booked as 4711"});
        muster.us.post(&format!("{path}/approvals"), body).await.ok();
        muster.drain().await;
        assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
        let told = text(&messages(&muster, &path).await[2], "content");
        assert!(decision == "approve" || told.contains("booked as 4711"), "{told}");
        assert_eq!((server.effects().len(), outcome(&muster, &path).await.as_str()), (effects, expected));
    }
}

/// The only tool call that the run's last event names as one that had not ended, and that event.
async fn left_open(muster: &Muster, path: &str) -> (Value, Value) {
    let events = muster.us.get(&format!("{path}/events?limit=500")).await.ok()["data"].clone();
    let last = events.as_array().unwrap().last().unwrap().clone();
    let [open] = last["open_tool_calls"].as_array().unwrap().as_slice() else { panic!("{last}") };
    (open.clone(), last)
}

async fn cancelling_a_run_lists_what_was_sent(muster: Muster) {
    let muster = muster.at_work();
    let server = Tools::start().await.unwrap();
    let agent = agent(&muster, "openai/fake-t1", vec![tool(&server.url("/do/it?rest=20000"), json!({}))]).await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "do it").await);
    muster.until(&format!("{path}/explain"), |seen| seen["tool_calls"][0]["state"] == "sent").await;
    muster.us.post(&format!("{path}/cancel"), json!({})).await;
    let ended = muster.until(&path, |seen| seen["terminal"] == true).await;
    assert_eq!(ended["status"], "interrupted");
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    let call = &explained["tool_calls"][0];
    assert_eq!((&call["tool"], &call["state"], &call["attempts"]), (&json!("act"), &json!("sent"), &json!(1)));
    // Its events tell the same: that it was sent, and with the run's end that no more is known.
    let (open, last) = left_open(&muster, &path).await;
    assert_eq!(
        (&last["type"], &open["state"], &open["attempts"]),
        (&json!("run.interrupted"), &json!("sent"), &json!(1))
    );
    let events = muster.us.get(&format!("{path}/events?limit=500")).await.ok()["data"].clone();
    let started = events.as_array().unwrap().iter().find(|event| event["type"] == "tool_call.started").unwrap();
    assert_eq!(started["tool_call"], open["tool_call"]);
}

async fn cancelling_a_batch_lists_what_its_runs_had_sent(muster: Muster) {
    let muster = muster.at_work();
    let server = Tools::start().await.unwrap();
    let tool = tool(&server.url("/do/it?rest=30000"), json!({"timeout_ms": 60_000}));
    let agent = agent(&muster, "openai/fake-t1-p64", vec![tool]).await;
    let items = [json!({"message": "one"}), json!({"message": "two"})];
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({ "items": items })).await.status(202);
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let results = muster.us.get(&format!("{path}/results")).await.ok();
    let runs: Vec<String> = results["data"].as_array().unwrap().iter().map(|run| text(run, "run_id")).collect();
    for run in &runs {
        let sent =
            |seen: &Value| seen["tool_calls"].as_array().unwrap().iter().filter(|call| call["state"] == "sent").count();
        muster.until(&format!("/v1/runs/{run}/explain"), |seen| sent(seen) == 64).await;
    }
    // Saying it again lists the same, for who did not hear the first answer.
    for _ in 0..2 {
        let cancelled = muster.us.post(&format!("{path}/cancel"), json!({})).await;
        assert!(matches!(cancelled.code, 200 | 202), "{}", cancelled.text);
        let sent = &cancelled.body["already_sent"];
        assert_eq!((&sent["tool_calls_total"], &sent["model_calls_total"]), (&json!(128), &json!(0)));
        let listed = sent["tool_calls"].as_array().unwrap();
        assert_eq!(listed.len(), 100);
        let of = |run: &String| listed.iter().filter(|call| call["run_id"] == run.as_str()).count();
        assert_eq!((of(&runs[0]), of(&runs[1])), (64, 36));
        assert!(listed.iter().all(|call| call["state"] == "sent" && call["idempotency_key"].is_string()));
    }
    muster.until(&path, |seen| seen["terminal"] == true).await;
    let other = muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({ "items": items })).await.status(202);
    muster.them.post(&format!("/v1/batches/{}/cancel", text(&other, "id")), json!({})).await.status(404);
}

async fn every_attempt_is_listed_however_many_there_were(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let body = json!({"name": "actor", "model": "demo/scripted-l0", "max_steps": 40,
        "tools": [tool(&server.url("/do/it"), json!({}))]});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let rounds: Vec<String> = (0..30).map(|round| format!("call act {{\"city\": \"{round}\"}}")).collect();
    let path = format!("/v1/runs/{}", muster.us.run(&agent, &rounds.join("\nthen\n")).await);
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!((&ended["status"], &ended["usage"]["model_calls"]), (&json!("done"), &json!(31)));
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    let attempts = explained["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 31);
    let sum = |field: &str| attempts.iter().map(|attempt| attempt[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!(ended["cost_micro_usd"], sum("cost_micro_usd"));
    assert_eq!(ended["usage"]["input_tokens"], sum("input_tokens"));
    assert!(attempts.iter().all(|attempt| attempt["outcome"] == "answered"));
    assert!(attempts.is_sorted_by(|one, next| one["step"].as_u64() < next["step"].as_u64()), "{attempts:?}");
    assert_eq!(
        (&explained["attempts_left_out"]["model_calls"], &explained["attempts_left_out"]["cost_micro_usd"]),
        (&json!(0), &json!(0))
    );
}

async fn a_secret_is_sent_and_seen_nowhere_else(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let put = muster.us.send("PUT", "/v1/secrets/KEY", r#"{"value":"canary-of-a-tool"}"#).await;
    assert_eq!(put.code, 200, "{}", put.text);
    let headers = json!({"headers": {"Authorization": "Bearer {{secret:KEY}}"}});
    let agent = agent(&muster, "openai/fake-t1", vec![tool(&server.url("/echo"), headers)]).await;
    let path = run(&muster, &agent).await;
    assert_eq!(server.effects()[0].authorization.as_deref(), Some("Bearer canary-of-a-tool"));
    let messages = messages(&muster, &path).await;
    assert!(text(&messages[2], "content").contains("Bearer [secret]"), "{messages:?}");
    for path in [path.clone(), format!("{path}/explain"), format!("{path}/messages"), format!("/v1/agents/{agent}")] {
        assert!(!muster.us.get(&path).await.text.contains("canary-of-a-tool"), "{path}");
    }
    let told = muster.models.last(model_server::Format::OpenAi).unwrap().body.to_string();
    assert!(!told.contains("canary-of-a-tool"));
    muster.us.delete("/v1/secrets/KEY").await;
    let path = run(&muster, &agent).await;
    assert_eq!((outcome(&muster, &path).await.as_str(), server.requests()), ("failed", 1));
}

async fn a_loop_of_the_same_call_is_stopped(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let agent = agent(&muster, "openai/fake-t6", vec![tool(&server.url("/do/it"), json!({}))]).await;
    let path = run(&muster, &agent).await;
    assert_eq!(muster.us.get(&path).await.ok()["usage"]["model_calls"], 7);
    assert_eq!(server.effects().len(), 3);
}

async fn tools_that_make_no_sense_are_refused_with_their_fields(muster: Muster) {
    for (tool, field) in [
        (tool("https://example.com/", json!({"name": "no spaces"})), "tools[0].name"),
        (tool("https://example.com/", json!({"parameters": {"type": 7}})), "tools[0].parameters"),
        (tool("https://example.com/", json!({"timeout_ms": 0})), "tools[0].timeout_ms"),
        (tool("https://example.com/", json!({"timeout_ms": "long"})), "tools[0].timeout_ms"),
        (tool("https://example.com/", json!({"policy": "zz"})), "tools[0].policy"),
        (tool("https://example.com/", json!({"method": "TRACE"})), "tools[0].method"),
        (tool("https://example.com/", json!({"headers": {"x": 1}})), "tools[0].headers.x"),
        (tool("https://example.com/", json!({"colour": "red"})), "tools[0].colour"),
        (tool("https://example.com/", json!({"type": 5})), "tools[0].type"),
        (tool("https://169.254.169.254/", json!({})), "tools[0].url"),
        (tool("https://example.com/{town}", json!({})), "tools[0].url"),
        (tool("https://example.com/", json!({"policy": "verify"})), "tools[0].lookup_url"),
        (tool("https://example.com/", json!({"headers": {"host": "x"}})), "tools[0].headers.host"),
        (tool("https://example.com/", json!({"headers": {"x": "{{secret:no good}}"}})), "tools[0].headers.x"),
    ] {
        let body = json!({"name": "actor", "model": "demo/scripted", "tools": [tool]});
        let refused = muster.us.post("/v1/agents", body).await.status(400);
        assert_eq!(refused["error"]["param"], field, "{refused}");
    }
    // Neither host of these tests is on Lambda.
    let lambda = json!({"type": "lambda", "name": "act", "function": "act"});
    let body = json!({"name": "actor", "model": "demo/scripted", "tools": [lambda]});
    let refused = muster.us.post("/v1/agents", body).await.status(400);
    assert_eq!(refused["error"]["param"], "tools[0].type", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("lambda is not available"), "{refused}");
    let twice = json!([tool("https://example.com/", json!({})), tool("https://example.com/", json!({}))]);
    let body = json!({"name": "actor", "model": "demo/scripted", "tools": twice});
    assert_eq!(muster.us.post("/v1/agents", body).await.status(400)["error"]["param"], "tools[1].name");
}
