//! Agents with more than one model: who answers when one cannot, what is waited for, and tools for models that know none.

use model_server::{Format, Tools};
use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_dead_model_is_followed_by_the_next,
    when_all_are_dead_the_last_fault_ends_the_run,
    a_refusal_of_the_request_itself_does_not_switch,
    a_model_that_asks_to_wait_is_followed_by_the_next,
    a_model_that_asked_to_wait_is_waited_for_when_the_others_are_dead,
    each_step_begins_with_the_first_model,
    a_model_whose_circuit_is_open_is_not_called,
    every_models_cost_is_within_the_budget,
    fallback_models_are_checked,
    tools_in_json_are_called,
);

async fn agent(muster: &Muster, body: Value) -> String {
    let mut whole = json!({"name": "a"});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    text(&muster.us.post("/v1/agents", whole).await.status(201), "id")
}

/// A run of an agent with these models, worked on until nothing is left to do: its path, itself, and each attempt's model and
/// outcome.
async fn ran(muster: &Muster, models: &[&str]) -> (String, Value, Vec<(String, String)>) {
    let agent = agent(muster, json!({"model": models[0], "fallback_models": models[1..]})).await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "hello").await);
    muster.drain().await;
    (path.clone(), muster.us.get(&path).await.ok(), attempts(muster, &path).await)
}

async fn attempts(muster: &Muster, path: &str) -> Vec<(String, String)> {
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    let attempts = explained["attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| (text(attempt, "model"), text(attempt, "outcome"))).collect()
}

fn of(attempts: &[(&str, &str)]) -> Vec<(String, String)> {
    attempts.iter().map(|(model, outcome)| ((*model).to_owned(), (*outcome).to_owned())).collect()
}

async fn a_dead_model_is_followed_by_the_next(muster: Muster) {
    for (dead, outcome, count) in [
        ("openai/fake-e9-x503", "busy", 4),
        ("openai/fake-q", "quota", 1),
        ("openai/fake-e9-x401", "refused", 1),
        ("openai/fake-e9-x404", "refused", 1),
    ] {
        let (path, run, attempts) = ran(&muster, &[dead, "openai/fake"]).await;
        assert_eq!(json!([run["status"], run["reason"]]), json!(["done", null]), "{dead}");
        let mut expected = vec![(dead, outcome); count];
        expected.push(("openai/fake", "answered"));
        assert_eq!(attempts, of(&expected));
        let messages = muster.us.get(&format!("{path}/messages")).await.ok();
        let models = json!([messages["data"][0]["model"], messages["data"][1]["model"]]);
        assert_eq!(models, json!([null, "openai/fake"]));
        let (input, output) = (run["usage"]["input_tokens"].as_u64(), run["usage"]["output_tokens"].as_u64());
        assert_eq!(run["cost_micro_usd"].as_u64(), Some(input.unwrap() + 2 * output.unwrap()), "at its own price");
    }
}

async fn when_all_are_dead_the_last_fault_ends_the_run(muster: Muster) {
    let (denied, unknown, poor) = ("openai/fake-e9-x401", "openai/fake-e9-x404", "openai/fake-q");
    let (_, run, attempts) = ran(&muster, &[denied, unknown, poor]).await;
    assert_eq!(json!([run["status"], run["reason"]]), json!(["error", "provider_quota"]));
    assert_eq!(attempts, of(&[(denied, "refused"), (unknown, "refused"), (poor, "quota")]));
    let (_, run, attempts) = ran(&muster, &[poor, denied]).await;
    assert_eq!(json!([run["status"], run["reason"]]), json!(["error", "model_error"]));
    assert!(text(&run, "error").contains("401"));
    assert_eq!(attempts, of(&[(poor, "quota"), (denied, "refused")]));
}

async fn a_refusal_of_the_request_itself_does_not_switch(muster: Muster) {
    for status in [400, 413, 422] {
        let refusing = format!("openai/fake-e9-x{status}");
        let (_, run, attempts) = ran(&muster, &[&refusing, "openai/fake"]).await;
        assert_eq!(json!([run["status"], run["reason"]]), json!(["error", "model_error"]));
        assert_eq!(attempts, of(&[(&refusing, "refused")]));
    }
}

async fn a_model_that_asks_to_wait_is_followed_by_the_next(muster: Muster) {
    let limited = "openai/fake-e1-x429-a90";
    let (_, run, attempts) = ran(&muster, &[limited, "openai/fake"]).await;
    assert_eq!(run["status"], "done");
    assert_eq!(attempts, of(&[(limited, "rate_limited"), ("openai/fake", "answered")]));
}

async fn a_model_that_asked_to_wait_is_waited_for_when_the_others_are_dead(muster: Muster) {
    for (limited, dead) in
        [("openai/fake-e1-x429-a90", "openai/fake-e9-x401"), ("openai/fake-e1-x429-a89", "openai/fake-e9-x400")]
    {
        let (path, run, seen) = ran(&muster, &[limited, dead, "openai/fake-q"]).await;
        assert_eq!(json!([run["status"], run["reason"]]), json!(["waiting", "provider_rate_limit"]));
        let mut expected = vec![(limited, "rate_limited"), (dead, "refused")];
        if dead.ends_with("401") {
            expected.push(("openai/fake-q", "quota"));
        }
        assert_eq!(seen, of(&expected));
        let explained = muster.us.get(&format!("{path}/explain")).await.ok();
        assert!(text(&explained, "explanation").ends_with(&format!("{limited} is not called before then")));
        assert!(text(&explained, "waits_until") > muster.in_ms(85_000));
        muster.pass(91_000);
        muster.reap().await;
        muster.drain().await;
        assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
        expected.push((limited, "answered"));
        assert_eq!(attempts(&muster, &path).await, of(&expected), "{dead}: who is given up stays so");
    }
}

async fn each_step_begins_with_the_first_model(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let (first, second) = ("openai/fake-t1-e1-x401", "openai/fake-t1");
    let models = json!({"model": first, "fallback_models": [second], "tools": [tool(&server)]});
    let agent = agent(&muster, models).await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "do it").await);
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
    let step = [(first, "refused"), (second, "answered")];
    assert_eq!(attempts(&muster, &path).await, of(&[step, step].concat()));
    assert_eq!(server.effects().len(), 1);
}

async fn a_model_whose_circuit_is_open_is_not_called(muster: Muster) {
    let broken = "openai/fake-e99-x503";
    let lone = muster.us.agent(broken).await;
    let items: Vec<Value> = (0..24).map(|number| json!({"message": format!("hello {number}")})).collect();
    muster.us.post(&format!("/v1/agents/{lone}/batches"), json!({"items": items})).await.status(202);
    muster.drain().await;
    let calls = muster.models.stats().calls;

    let (_, run, seen) = ran(&muster, &[broken, "openai/fake"]).await;
    assert_eq!((&run["status"], seen), (&json!("done"), of(&[("openai/fake", "answered")])));
    assert_eq!(muster.models.stats().calls, calls + 1);

    let (path, run, seen) = ran(&muster, &[broken, "openai/fake-q"]).await;
    assert_eq!(json!([run["status"], run["reason"]]), json!(["waiting", "circuit_open"]));
    assert_eq!(seen, of(&[("openai/fake-q", "quota")]));
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    let until = text(&explained, "waits_until");
    let expected = format!(
        "waits until {until} because of circuit_open: most calls of {broken} failed a moment ago, so it is not called before then"
    );
    assert_eq!(text(&explained, "explanation"), expected);
    assert!(until > muster.in_ms(0) && until < muster.in_ms(20_000), "{until}");
}

async fn every_models_cost_is_within_the_budget(muster: Muster) {
    let (priced, unpriced) = ("openai/fake", "openai/fake-l1");
    let body = json!({"name": "a", "model": priced, "fallback_models": [unpriced], "budget_micro_usd": 1_000_000});
    assert_eq!(muster.us.post("/v1/agents", body).await.param(), "budget_micro_usd");
    let free = agent(&muster, json!({"model": priced, "fallback_models": [unpriced]})).await;
    let run = json!({"message": "hello", "budget_micro_usd": 1_000_000});
    assert_eq!(muster.us.post(&format!("/v1/agents/{free}/runs"), run).await.param(), "budget_micro_usd");

    // The first fails for nothing; the other may cost more than is left.
    let body = json!({
        "model": "openai/fake-q", "fallback_models": [priced], "budget_micro_usd": 5_000, "max_tokens": 4_000,
    });
    let poor = agent(&muster, body).await;
    let path = format!("/v1/runs/{}", muster.us.run(&poor, "hello").await);
    muster.drain().await;
    let run = muster.us.get(&path).await.ok();
    assert_eq!(json!([run["status"], run["reason"]]), json!(["error", "budget_exceeded"]), "{run}");
    assert!(attempts(&muster, &path).await.iter().all(|(model, _)| model == "openai/fake-q"));
}

async fn fallback_models_are_checked(muster: Muster) {
    for (field, fallbacks) in [
        ("fallback_models[1]", json!(["openai/fake", "acme/x"])),
        ("fallback_models[0]", json!(["scripted"])),
        ("fallback_models[0]", json!(["demo/scripted"])),
        ("fallback_models[2]", json!(["openai/a", "openai/b", "openai/a"])),
        ("fallback_models", json!(["openai/a", "openai/b", "openai/c", "openai/d", "openai/e", "openai/f"])),
        ("fallback_models", json!("openai/a")),
    ] {
        let body = json!({"name": "a", "model": "demo/scripted", "fallback_models": fallbacks});
        assert_eq!(muster.us.post("/v1/agents", body).await.param(), field, "{fallbacks}");
    }
    let body = json!({"name": "a", "model": "demo/scripted", "tool_mode": "xml"});
    assert_eq!(muster.us.post("/v1/agents", body).await.param(), "tool_mode");

    let five = json!(["openai/a", "openai/b", "openai/c", "openai/d", "openai/e"]);
    let path = format!(
        "/v1/agents/{}",
        agent(&muster, json!({"model": "openai/fake", "fallback_models": five, "tool_mode": "json"})).await
    );
    let made = muster.us.get(&path).await.ok();
    assert_eq!(json!([made["fallback_models"], made["tool_mode"]]), json!([five, "json"]));
    assert_eq!(muster.us.patch(&path, json!({"model": "openai/c"})).await.param(), "fallback_models[2]");
    let changed = muster.us.patch(&path, json!({"fallback_models": [], "tool_mode": "native"})).await.ok();
    assert_eq!(json!([changed["version"], changed["fallback_models"], changed["tool_mode"]]), json!([2, [], "native"]));
}

async fn tools_in_json_are_called(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let body = json!({
        "model": "openai/fake-e9-x404", "fallback_models": ["openai/fake"], "tools": [tool(&server)], "tool_mode": "json",
        "budget_micro_usd": 100_000, "max_tokens": 1_000,
    });
    // The model without a price may not be in it.
    let refused = muster.us.post("/v1/agents", with_name(&body)).await.param();
    assert_eq!(refused, "budget_micro_usd");
    let mut body = body;
    body["model"] = json!("openai/fake-e1");
    let agent = agent(&muster, body).await;
    let asks = r#"say {"tool_calls": [{"name": "act", "arguments": {"city": "Oslo"}}]}"#;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, asks).await);
    muster.drain().await;
    let run = muster.us.get(&path).await.ok();
    assert_eq!(run["status"], "done", "{run}");
    let [effect] = &server.effects()[..] else { panic!("{:?}", server.effects()) };
    assert_eq!(serde_json::from_str::<Value>(&effect.body).unwrap()["city"], "Oslo");
    let messages = muster.us.get(&format!("{path}/messages")).await.ok();
    assert_eq!(messages["data"][1]["tool_calls"][0]["name"], "act");
    assert_eq!(messages["data"][2]["outcome"], "answered");
    let sent = muster.models.last(Format::OpenAi).unwrap().body;
    assert!(sent.get("tools").is_none() && sent.to_string().contains("Their results come with the next message"));
}

fn with_name(body: &Value) -> Value {
    let mut body = body.clone();
    body["name"] = json!("a");
    body
}

fn tool(server: &Tools) -> Value {
    json!({
        "type": "http", "name": "act", "method": "POST", "url": server.url("/do/it"),
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    })
}
