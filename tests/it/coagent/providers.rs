//! Model providers that organisations bring: made, looked at, changed, deleted, and used on every surface, by their own organisation alone.

use futures_util::future::join_all;
use model_server::Format;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    a_provider_is_made_looked_at_changed_and_deleted,
    what_makes_no_provider_is_refused_with_its_field,
    an_id_is_made_of_the_name,
    the_same_request_again_makes_no_other,
    there_are_at_most_a_hundred,
    the_deployments_can_only_be_looked_at,
    addresses_are_those_that_the_guard_lets_through,
    its_models_run_on_every_surface,
    only_models_that_it_has_can_be_called,
    a_key_is_changed_kept_and_taken_away,
    a_key_stays_with_the_address_that_it_was_given_for,
    runs_go_by_what_is_there_at_each_call,
    a_budget_needs_a_price_that_is_known,
    another_organisation_has_its_own,
    no_redirect_is_followed,
);

const PROVIDERS: &str = "/api/v1/providers";

/// An OpenAI server at the model server's address, of that id.
fn server(muster: &Muster, id: &str) -> Value {
    json!({"id": id, "name": "ours", "type": "openai", "custom_url": format!("http://{}", muster.models.addr())})
}

async fn unlimited(muster: &Muster) -> Client {
    muster.us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await
}

async fn made(client: &Client, body: Value) -> String {
    text(&client.post(PROVIDERS, body).await.status(201), "id")
}

fn at(id: &str) -> String {
    format!("{PROVIDERS}/{id}")
}

/// The ids of the organisation's own.
async fn own(client: &Client) -> Vec<String> {
    let all = client.get(PROVIDERS).await.ok()["providers"].as_array().unwrap().clone();
    all.iter().filter(|provider| provider["source"] == "organisation").map(|provider| text(provider, "id")).collect()
}

/// The run of that agent when it has ended.
async fn ran(muster: &Muster, client: &Client, agent: &str) -> Value {
    let run = client.run(agent, "say hi").await;
    Box::pin(muster.drain()).await;
    client.get(&format!("/v1/runs/{run}")).await.ok()
}

/// The key that the last call came with.
fn sent_key(muster: &Muster) -> Option<String> {
    let last = muster.models.last(Format::OpenAi).unwrap();
    last.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
}

fn field(refused: &Value) -> String {
    assert_eq!(refused["error"]["code"], "INVALID_REQUEST", "{refused}");
    text(&refused["error"]["details"], "field")
}

async fn a_provider_is_made_looked_at_changed_and_deleted(muster: Muster) {
    let us = &muster.us;
    assert_eq!(own(us).await, [""; 0]);
    let body = json!({"id": "Acct.1", "name": "Our account", "type": "anthropic", "api_key": "sk-canary"});
    let answer = us.post(PROVIDERS, body).await.status(201);
    assert_eq!(answer, json!({"id": "Acct.1", "name": "Our account", "message": "the provider is made"}));
    let seen = us.get(&at("Acct.1")).await;
    let expected = json!({
        "id": "Acct.1", "name": "Our account", "type": "anthropic", "source": "organisation", "has_api_key": true,
        "available_models": [], "custom_url": null, "created_at": "<time>", "updated_at": "<time>",
    });
    assert!(!seen.text.contains("canary"));
    assert_eq!(seen.shape(200), expected);
    let models = us.get(&format!("{}/models", at("Acct.1"))).await.ok();
    assert_eq!(models["provider_id"], "Acct.1");
    assert!(models["models"].as_array().unwrap().contains(&json!("claude-haiku-4-5")), "{models}");

    muster.pass(2_000);
    let before = us.get(&at("Acct.1")).await.ok();
    let url = format!("http://{}/v1", muster.models.addr());
    let change = json!({
        "id": "Acct.1", "name": "Our server", "type": "openai", "api_key": "k2", "custom_url": url,
        "available_models": ["fake", "b"],
    });
    let answer = us.put(&at("Acct.1"), change).await.ok();
    assert_eq!(answer, json!({"id": "Acct.1", "name": "Our server", "message": "the provider is changed"}));
    let after = us.get(&at("Acct.1")).await.ok();
    assert_eq!(
        (&after["type"], &after["custom_url"], &after["created_at"]),
        (&json!("openai"), &json!(url), &before["created_at"])
    );
    assert!(text(&after, "updated_at") > text(&before, "updated_at"));
    assert_eq!(us.get(&format!("{}/models", at("Acct.1"))).await.ok()["models"], json!(["fake", "b"]));
    assert_eq!(own(us).await, ["Acct.1"]);

    assert_eq!(us.delete(&at("Acct.1")).await.text, "");
    for answer in
        [us.delete(&at("Acct.1")).await, us.get(&at("Acct.1")).await, us.get(&format!("{}/models", at("Acct.1"))).await]
    {
        assert_eq!(answer.status(404)["error"]["message"], "provider not found");
    }
    assert_eq!(us.put(&at("Acct.1"), json!({"name": "x", "type": "openai"})).await.code, 404);
    assert_eq!(own(us).await, [""; 0]);
}

async fn what_makes_no_provider_is_refused_with_its_field(muster: Muster) {
    let us = &unlimited(&muster).await;
    let long = "x".repeat(65);
    for (name, value, at) in [
        ("name", json!(""), "name"),
        ("name", json!("n".repeat(201)), "name"),
        ("type", json!("acme"), "type"),
        ("type", json!(1), "type"),
        ("id", json!(""), "id"),
        ("id", json!("a/b"), "id"),
        ("id", json!("-a"), "id"),
        ("id", json!("a b"), "id"),
        ("id", json!(long), "id"),
        ("id", json!("openai"), "id"),
        ("id", json!("Demo"), "id"),
        ("api_key", json!(1), "api_key"),
        ("api_key", json!("a b"), "api_key"),
        ("api_key", json!("a\nb"), "api_key"),
        ("api_key", json!("k".repeat(8_193)), "api_key"),
        ("available_models", json!("a"), "available_models"),
        ("available_models", json!(["a", ""]), "available_models[1]"),
        ("available_models", json!(["a", "b", "a"]), "available_models[2]"),
        ("available_models", json!(["a::b"]), "available_models[0]"),
        ("available_models", json!((0..201).map(|n| n.to_string()).collect::<Vec<_>>()), "available_models"),
        ("custom_url", json!("x"), "custom_url"),
        ("colour", json!("red"), ""),
    ] {
        let mut body = json!({"name": "n", "type": "openai"});
        body[name] = value;
        let refused = us.post(PROVIDERS, body.clone()).await.status(400);
        assert_eq!(field(&refused), at, "{body}");
    }
    for (kind, url) in [
        ("ollama", Value::Null),
        ("azure", Value::Null),
        ("azure", json!("https://ours.openai.azure.com")),
        ("azure", json!("https://ours.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21")),
    ] {
        let body = json!({"name": "n", "type": kind, "custom_url": url});
        assert_eq!(field(&us.post(PROVIDERS, body).await.status(400)), "custom_url", "{kind}");
    }
    assert_eq!(own(us).await, [""; 0]);
    for (kind, url) in [
        ("azure", json!("https://ours.openai.azure.com/openai/v1/")),
        ("ollama", json!("https://ollama.example.com")),
        ("gemini", Value::Null),
        ("mistral", Value::Null),
        ("bedrock", Value::Null),
        ("openrouter", Value::Null),
    ] {
        made(us, json!({"name": "n", "type": kind, "custom_url": url})).await;
    }
    let refused = us.put(&at("n"), json!({"id": "m", "name": "n", "type": "azure"})).await.status(400);
    assert_eq!(field(&refused), "id");
}

async fn an_id_is_made_of_the_name(muster: Muster) {
    let us = &muster.us;
    for (name, id) in
        [("Our vLLM!", "our-vllm"), ("our vllm", "our-vllm-2"), ("OpenAI", "openai-2"), ("モデル", "provider")]
    {
        assert_eq!(made(us, json!({"name": name, "type": "openai"})).await, id);
    }
    let taken = us.post(PROVIDERS, json!({"name": "x", "type": "openai", "id": "our-vllm"})).await.status(409);
    assert_eq!(taken["error"]["code"], "CONFLICT");
    // Those that are made at the same moment are different ones, too.
    let all = join_all((0..5).map(|_| made(us, json!({"name": "same", "type": "openai"})))).await;
    let mut ids = all.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "{all:?}");
}

async fn the_same_request_again_makes_no_other(muster: Muster) {
    let us = muster.us.with("idempotency-key", "once");
    let body = json!({"name": "ours", "type": "openai", "api_key": "k"});
    let first = us.post(PROVIDERS, body.clone()).await;
    let again = us.post(PROVIDERS, body).await;
    assert_eq!((again.header("idempotency-replayed"), again.code, &again.text), ("true", 201, &first.text));
    us.post(PROVIDERS, json!({"name": "other", "type": "openai"})).await.status(422);
    assert_eq!(own(&us).await, ["ours"]);
}

async fn there_are_at_most_a_hundred(muster: Muster) {
    let us = unlimited(&muster).await;
    for number in 0..95 {
        made(&us, json!({"name": "x", "type": "openai", "id": format!("p{number:02}")})).await;
    }
    let more = (0..12).map(|_| us.post(PROVIDERS, json!({"name": "more", "type": "openai"})));
    let codes: Vec<u16> = join_all(more).await.into_iter().map(|answer| answer.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 5, "{codes:?}");
    assert!(codes.iter().all(|code| [201, 409].contains(code)), "{codes:?}");
    assert_eq!(own(&us).await.len(), 100);
    us.delete(&at("p00")).await.status(204);
    made(&us, json!({"name": "x", "type": "openai"})).await;
}

async fn the_deployments_can_only_be_looked_at(muster: Muster) {
    let us = &muster.us;
    let listed = us.get(PROVIDERS).await.ok()["providers"].clone();
    let ids: Vec<String> = listed.as_array().unwrap().iter().map(|provider| text(provider, "id")).collect();
    assert_eq!(ids, ["openai", "demo"]);
    let expected = json!({
        "id": "openai", "name": "openai", "type": "openai", "source": "deployment", "has_api_key": null,
        "available_models": [], "custom_url": null, "created_at": null, "updated_at": null,
    });
    assert_eq!(listed[0], expected, "and where it is is the operator's own affair");
    assert_eq!(us.get(&at("openai")).await.ok(), expected);
    assert_eq!(us.get(&format!("{}/models", at("demo"))).await.ok()["models"], json!(["scripted"]));
    assert_eq!(us.get(&at("mistral")).await.code, 404, "it is not set up");
    let change = us.put(&at("openai"), json!({"name": "x", "type": "openai"})).await.status(409);
    assert_eq!(us.delete(&at("openai")).await.status(409), change);
}

async fn addresses_are_those_that_the_guard_lets_through(muster: Muster) {
    // 127.0.0.1 alone is allowed here.
    for url in [
        "http://127.0.0.2/v1",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/v1",
        "https://[fd00:ec2::254]/v1",
        "https://10.0.0.1/v1",
        "https://0x7f000002/v1",
        "http://1.1.1.1/v1",
        "https://user:word@example.com/v1",
        "ftp://example.com/v1",
        "https://exam\\ple.com/v1",
        "//example.com/v1",
    ] {
        let body = json!({"id": "p", "name": "n", "type": "openai", "custom_url": url});
        assert_eq!(field(&muster.us.post(PROVIDERS, body).await.status(400)), "custom_url", "{url}");
    }
    assert_eq!(own(&muster.us).await, [""; 0]);
    // A name says nothing before it is looked up; this one leads to what is allowed.
    let port = muster.models.addr().port();
    for (id, url, status) in [
        ("here", format!("http://localhost:{port}/v1"), "done"),
        ("closed", "http://127.0.0.1:1/v1".to_owned(), "error"),
    ] {
        made(&muster.us, json!({"id": id, "name": "n", "type": "openai", "custom_url": url})).await;
        let agent = muster.us.agent(&format!("{id}/fake")).await;
        let run = ran(&muster, &muster.us, &agent).await;
        assert_eq!(run["status"], status, "{run}");
        if status == "error" {
            assert_eq!(run["error"], "the provider cannot be reached", "{run}");
        }
    }
}

async fn its_models_run_on_every_surface(muster: Muster) {
    made(&muster.us, server(&muster, "ours")).await;
    let us = &muster.us;
    let agent = us.agent("ours/fake").await;
    let run = ran(&muster, us, &agent).await;
    assert_eq!((&run["status"], &run["result"], &run["model"]), (&json!("done"), &json!("hi"), &json!("ours/fake")));
    assert_eq!((&run["cost_micro_usd"], run["usage"]["output_tokens"].as_u64()), (&Value::Null, Some(12)));
    assert_eq!(muster.models.last(Format::OpenAi).unwrap().body["model"], "fake");
    // As the model of a run, and as one to fall back to.
    let other = us.agent("demo/scripted-l0").await;
    let body = json!({"message": "say hi", "model": "ours/fake-o3"});
    let run = text(&us.post(&format!("/v1/agents/{other}/runs"), body).await.status(202), "id");
    Box::pin(muster.drain()).await;
    assert_eq!(us.get(&format!("/v1/runs/{run}")).await.ok()["model"], "ours/fake-o3");
    let falls = json!({"name": "f", "model": "openai/fake-q", "fallback_models": ["ours/fake"]});
    let falls = text(&us.post("/v1/agents", falls).await.status(201), "id");
    let run = ran(&muster, us, &falls).await;
    assert_eq!((&run["status"], &run["result"]), (&json!("done"), &json!("hi")));
    let twice = json!({"name": "f", "model": "ours/fake", "fallback_models": ["ours/fake"]});
    assert_eq!(us.post("/v1/agents", twice).await.param(), "fallback_models[0]");
    // With tools in words, and in pieces.
    let json_mode = json!({"name": "j", "model": "ours/fake", "tool_mode": "json"});
    let json_mode = text(&us.post("/v1/agents", json_mode).await.status(201), "id");
    let stream = us.post(&format!("/v1/agents/{json_mode}/runs/stream"), json!({"message": "say hi"})).await;
    assert!(stream.text.contains("event: run.done"), "{}", stream.text);

    let muster = muster.at_work();
    let us = &muster.us;
    let model = json!({"provider_id": "ours", "model_name": "fake"});
    let answer = us.post("/api/v1/completions", json!({"prompt": "say hi", "model_ref": model})).await.ok();
    assert_eq!(answer["response"], "hi");
    let made = us.post("/api/v1/agents", json!({"name": "a", "preamble": "p", "model_ref": model})).await.status(201);
    assert_eq!(us.get(&format!("/v1/agents/agent_{}", text(&made, "id"))).await.ok()["model"], "ours/fake");
    let half = json!({"name": "b", "preamble": "p", "model_ref": {"provider_id": "a/b", "model_name": ""}});
    assert_eq!(field(&us.post("/api/v1/agents", half).await.status(400)), "model_ref.provider_id");
    let cotool = json!({"name": "c", "description": "d", "systemPrompt": "p", "modelAlias": "ours/fake"});
    us.post("/api/agents", cotool).await.status(200);
}

async fn only_models_that_it_has_can_be_called(muster: Muster) {
    let us = &muster.us;
    let mut body = server(&muster, "ours");
    body["available_models"] = json!(["fake", "fake-o3"]);
    made(us, body).await;
    us.agent("ours/fake-o3").await;
    for (provider, name) in [("ours", "fake-o4"), ("ours", "a b"), ("ours", "a::b")] {
        let asked = json!({"prompt": "a", "model_ref": {"provider_id": provider, "model_name": name}});
        let error = us.post("/api/v1/completions", asked).await.status(404)["error"].clone();
        let details = json!({
            "provider_id": provider, "model_name": name, "available_models": ["ours/fake", "ours/fake-o3"],
        });
        assert_eq!((&error["code"], &error["details"]), (&json!("MODEL_NOT_FOUND"), &details));
    }
    let refused =
        us.post("/v1/agents", json!({"name": "x", "model": "ours/fake-o4"})).await.status(400)["error"].clone();
    assert_eq!((&refused["param"], &refused["code"]), (&json!("model"), &json!("unknown_model")));
    for model in ["nobody/fake", "OURS/fake", "ours", "ours/", "/fake"] {
        assert_eq!(us.post("/v1/agents", json!({"name": "x", "model": model})).await.code, 400, "{model}");
    }
    assert_eq!(muster.models.stats().calls, 0);
}

async fn a_key_is_changed_kept_and_taken_away(muster: Muster) {
    let us = &muster.us;
    let mut body = server(&muster, "ours");
    body["api_key"] = json!("k1");
    made(us, body.clone()).await;
    let agent = us.agent("ours/fake").await;
    ran(&muster, us, &agent).await;
    assert_eq!(sent_key(&muster).as_deref(), Some("Bearer k1"));
    for (key, sent, has) in [
        (Some(json!("k2")), Some("Bearer k2"), true),
        (None, Some("Bearer k2"), true),
        (Some(Value::Null), None, false),
        (Some(json!("k3")), Some("Bearer k3"), true),
        (Some(json!("")), None, false),
    ] {
        let mut change = body.clone();
        match key {
            Some(key) => change["api_key"] = key,
            None => drop(change.as_object_mut().unwrap().remove("api_key")),
        }
        us.put(&at("ours"), change).await.ok();
        assert_eq!(us.get(&at("ours")).await.ok()["has_api_key"], has);
        assert_eq!(ran(&muster, us, &agent).await["status"], "done");
        assert_eq!(sent_key(&muster).as_deref(), sent);
    }
    // A vendor's own address is not called without a key, and never with the deployment's.
    made(us, json!({"id": "account", "name": "n", "type": "openai"})).await;
    let account = us.agent("account/gpt-5-mini").await;
    let run = ran(&muster, us, &account).await;
    assert_eq!(run["error"], "the provider has no api_key", "{run}");
}

async fn a_key_stays_with_the_address_that_it_was_given_for(muster: Muster) {
    let us = &muster.us;
    let mut body = server(&muster, "ours");
    body["api_key"] = json!("k1");
    made(us, body).await;
    for change in [
        json!({"name": "n", "type": "openai", "custom_url": "https://elsewhere.example.com/v1"}),
        json!({"name": "n", "type": "openai"}),
        json!({"name": "n", "type": "mistral", "custom_url": format!("http://{}", muster.models.addr())}),
    ] {
        assert_eq!(field(&us.put(&at("ours"), change.clone()).await.status(400)), "api_key", "{change}");
        let mut anew = change.clone();
        anew["api_key"] = Value::Null;
        us.put(&at("ours"), anew).await.ok();
        us.put(&at("ours"), change).await.ok();
        let mut back = server(&muster, "ours");
        back["api_key"] = json!("k1");
        us.put(&at("ours"), back).await.ok();
    }
}

async fn runs_go_by_what_is_there_at_each_call(muster: Muster) {
    let us = &muster.us;
    made(us, server(&muster, "ours")).await;
    let agent = us.agent("ours/fake").await;
    let falls = json!({"name": "f", "model": "ours/fake", "fallback_models": ["demo/scripted-l0"]});
    let falls = text(&us.post("/v1/agents", falls).await.status(201), "id");
    let (waiting, falling) = (us.run(&agent, "say hi").await, us.run(&falls, "say hi").await);
    let mut fewer = server(&muster, "ours");
    fewer["available_models"] = json!(["other"]);
    us.put(&at("ours"), fewer).await.ok();
    Box::pin(muster.drain()).await;
    let run = us.get(&format!("/v1/runs/{waiting}")).await.ok();
    assert_eq!((&run["status"], &run["reason"]), (&json!("error"), &json!("model_error")));
    assert_eq!(run["error"], "the provider 'ours' does not have the model 'fake' any more");
    assert_eq!(us.get(&format!("/v1/runs/{falling}")).await.ok()["status"], "done");
    assert_eq!(us.post(&format!("/v1/agents/{agent}/runs"), json!({"message": "a"})).await.param(), "model");

    us.put(&at("ours"), server(&muster, "ours")).await.ok();
    let waiting = us.run(&agent, "say hi").await;
    us.delete(&at("ours")).await.status(204);
    Box::pin(muster.drain()).await;
    let run = us.get(&format!("/v1/runs/{waiting}")).await.ok();
    assert_eq!(run["error"], "the provider 'ours' is not there any more", "{run}");
    assert_eq!(run["cost_micro_usd"], 0, "nothing was sent");
    assert_eq!(muster.models.stats().calls, 0);
    // Another process goes by it a few seconds later.
    made(us, server(&muster, "ours")).await;
    let elsewhere = muster.another_process();
    elsewhere.agent("ours/fake").await;
    us.delete(&at("ours")).await.status(204);
    muster.pass(3_001);
    assert_eq!(elsewhere.post("/v1/agents", json!({"name": "x", "model": "ours/fake"})).await.param(), "model");
}

async fn a_budget_needs_a_price_that_is_known(muster: Muster) {
    let us = &muster.us;
    made(us, server(&muster, "ours")).await;
    made(us, json!({"id": "account", "name": "n", "type": "openai", "api_key": "k"})).await;
    let body = |model: &str| json!({"name": "x", "model": model, "budget_micro_usd": 1_000_000});
    // The model server's `fake` has a price as the deployment's, which says nothing of somebody else's server.
    assert_eq!(us.post("/v1/agents", body("ours/fake")).await.param(), "budget_micro_usd");
    us.post("/v1/agents", body("account/gpt-5-mini")).await.status(201);
    assert_eq!(us.post("/v1/agents", body("account/nobody-knows")).await.param(), "budget_micro_usd");
    let agent = us.agent("ours/fake").await;
    let waiting = us.run(&agent, "say hi").await;
    us.put("/v1/budgets", json!({"day_budget_micro_usd": 1_000_000})).await.ok();
    Box::pin(muster.drain()).await;
    let run = us.get(&format!("/v1/runs/{waiting}")).await.ok();
    assert_eq!((&run["status"], &run["reason"]), (&json!("error"), &json!("unknown_price")), "{run}");
    assert_eq!(us.post(&format!("/v1/agents/{agent}/runs"), json!({"message": "a"})).await.param(), "model");
    assert_eq!(muster.models.stats().calls, 0);
}

async fn another_organisation_has_its_own(muster: Muster) {
    let (us, them) = (&muster.us, &muster.them);
    let mut body = server(&muster, "ours");
    body["api_key"] = json!("ours");
    made(us, body.clone()).await;
    assert_eq!(own(them).await, [""; 0]);
    let refused = them.post("/v1/agents", json!({"name": "x", "model": "ours/fake"})).await;
    let unknown = them.post("/v1/agents", json!({"name": "x", "model": "other/fake"})).await;
    assert_eq!(refused.code, 400);
    assert_eq!(
        refused.text.replace("ours", "other").split("request_id").next(),
        unknown.text.split("request_id").next()
    );
    let asked = json!({"prompt": "a", "model_ref": {"provider_id": "ours", "model_name": "fake"}});
    them.post("/api/v1/completions", asked).await.status(404);
    for path in [at("ours"), format!("{}/models", at("ours"))] {
        assert_eq!(them.get(&path).await.code, 404);
    }
    them.put(&at("ours"), body.clone()).await.status(404);
    them.delete(&at("ours")).await.status(404);
    // The same id is another provider there.
    body["api_key"] = json!("theirs");
    made(them, body).await;
    for (client, key) in [(us, "Bearer ours"), (them, "Bearer theirs"), (us, "Bearer ours")] {
        let agent = client.agent("ours/fake").await;
        assert_eq!(ran(&muster, client, &agent).await["status"], "done");
        assert_eq!(sent_key(&muster).as_deref(), Some(key));
    }
}

async fn no_redirect_is_followed(muster: Muster) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, there) = (listener.local_addr().unwrap(), muster.models.addr());
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 65_536]).await;
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{there}/v1/chat/completions\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    made(&muster.us, json!({"id": "ours", "name": "n", "type": "openai", "custom_url": format!("http://{here}")}))
        .await;
    let agent = muster.us.agent("ours/fake").await;
    let run = ran(&muster, &muster.us, &agent).await;
    assert_eq!((&run["status"], &run["error"]), (&json!("error"), &json!("HTTP 307")));
    assert_eq!(muster.models.stats().calls, 0);
    serving.abort();
}
