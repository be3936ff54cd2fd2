//! Agents: made, listed, looked at; whose a name is.

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::clock::Timestamp;
use uuid::Uuid;

use crate::harness::{Answer, Client, Muster, on_every_backend, text};

on_every_backend!(
    an_agent_is_made_and_found,
    agents_of_every_surface_are_listed_newest_first,
    a_bad_agent_is_refused_with_its_field,
    a_name_is_one_agents,
    of_many_that_want_a_name_at_once_one_gets_it,
    a_name_that_was_given_up_is_taken_once,
    twins_make_one_agent,
    what_the_preamble_says_reaches_the_model,
);

const AGENTS: &str = "/api/v1/agents";

fn named(name: &str) -> Value {
    json!({"name": name, "preamble": "You are short."})
}

async fn made(client: &Client, name: &str) -> Value {
    client.post(AGENTS, named(name)).await.status(201)
}

fn is_taken(answer: Answer) {
    let body = answer.status(409);
    assert_eq!(body["error"]["code"], "CONFLICT");
    assert!(text(&body["error"], "message").contains("named"), "{body}");
}

async fn listed(client: &Client) -> Vec<Value> {
    client.get(AGENTS).await.ok()["agents"].as_array().unwrap().clone()
}

/// The agent as the native surface shows it.
async fn native(client: &Client, agent: &Value) -> Value {
    client.get(&format!("/v1/agents/agent_{}", text(agent, "id"))).await.ok()
}

async fn an_agent_is_made_and_found(muster: Muster) {
    let body = json!({"name": "a", "preamble": "p {{x}}", "description": "d"});
    let made = muster.us.post(AGENTS, body).await.status(201);
    let id = text(&made, "id");
    assert!(id.parse::<Uuid>().is_ok(), "{id}");
    let expected = json!({
        "id": id, "name": "a", "description": "d", "preamble": "p {{x}}", "created_at": made["created_at"],
        "updated_at": made["created_at"],
    });
    assert_eq!(made, expected);
    let at = text(&made, "created_at");
    assert!(at.len() == 20 && Timestamp::parse_rfc3339(&at).is_some(), "{at}: ISO 8601 in whole seconds");
    for id in [id.clone(), format!("agent_{id}")] {
        assert_eq!(muster.us.get(&format!("{AGENTS}/{id}")).await.ok(), made);
    }
    assert_eq!(native(&muster.us, &made).await["model"], json!(muster.app.models().default_model().as_str()));
    for id in ["x".to_owned(), format!("run_{id}"), Uuid::now_v7().to_string()] {
        assert_eq!(muster.us.get(&format!("{AGENTS}/{id}")).await.status(404)["error"]["code"], "NOT_FOUND");
    }
    muster.them.get(&format!("{AGENTS}/{id}")).await.status(404);
    assert_eq!(listed(&muster.them).await, Vec::<Value>::new());
}

async fn agents_of_every_surface_are_listed_newest_first(muster: Muster) {
    let first = made(&muster.us, "a").await;
    let body = json!({"name": "b", "model": "demo/scripted", "system_prompt": "s", "description": "e"});
    let other = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let last = made(&muster.us, "c").await;
    let all = listed(&muster.us).await;
    assert_eq!((all.len(), &all[0], &all[2]), (3, &last, &first));
    assert_eq!(all[1]["id"], json!(other.replace("agent_", "")));
    assert_eq!((&all[1]["preamble"], &all[1]["description"]), (&json!("s"), &json!("e")));
    assert_eq!(muster.us.get("/api/agents").await.ok()[0]["id"], last["id"], "it is seen through every surface");
}

async fn a_bad_agent_is_refused_with_its_field(muster: Muster) {
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(" ")),
        ("name", json!("n".repeat(201))),
        ("name", Value::Null),
        ("preamble", json!(1)),
        ("preamble", json!("p".repeat(200_001))),
        ("description", json!("d".repeat(2_001))),
        ("model", json!("demo/scripted")),
    ] {
        let mut body = named("a");
        body[field] = value;
        let refused = muster.us.post(AGENTS, body).await.status(400);
        assert_eq!(
            (&refused["error"]["code"], &refused["error"]["details"]["field"]),
            (&json!("INVALID_REQUEST"), &json!(field))
        );
    }
    for field in ["name", "preamble"] {
        let mut body = named("a");
        body.as_object_mut().unwrap().remove(field);
        assert_eq!(muster.us.post(AGENTS, body).await.status(400)["error"]["details"]["field"], field);
    }
    assert_eq!(listed(&muster.us).await, Vec::<Value>::new(), "nothing was stored");
    made(&muster.us, "a").await;
}

async fn a_name_is_one_agents(muster: Muster) {
    let long = "\u{e9}".repeat(200);
    for name in ["a", &long] {
        let first = made(&muster.us, name).await;
        is_taken(muster.us.post(AGENTS, named(name)).await);
        made(&muster.us, &format!("{} b", name.chars().take(100).collect::<String>())).await;
        made(&muster.them, name).await;
        assert_eq!(muster.us.get(&format!("{AGENTS}/{}", text(&first, "id"))).await.ok(), first);
    }
    // Other surfaces let agents have the same name, before and after.
    let body = json!({"name": "a", "model": "demo/scripted"});
    muster.us.post("/v1/agents", body.clone()).await.status(201);
    muster.us.post("/v1/agents", json!({"name": "d", "model": "demo/scripted"})).await.status(201);
    made(&muster.us, "d").await;
    is_taken(muster.us.post(AGENTS, named("a")).await);
}

/// Who is not held back by the surface's own limits.
async fn unlimited(muster: &Muster) -> Client {
    muster.us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await
}

/// The answers to 20 requests at once for an agent of that name.
async fn at_once(client: &Client, name: &str) -> Vec<Answer> {
    let posts = (0..20).map(|_| {
        let (client, body) = (client.clone(), named(name));
        tokio::spawn(async move { client.post(AGENTS, body).await })
    });
    join_all(posts).await.into_iter().map(Result::unwrap).collect()
}

/// Exactly one is a 201, and all others say that the name is taken.
fn one_won(answers: Vec<Answer>) -> Value {
    let (mut won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.code == 201);
    assert_eq!(won.len(), 1);
    lost.into_iter().for_each(is_taken);
    won.remove(0).body
}

async fn of_many_that_want_a_name_at_once_one_gets_it(muster: Muster) {
    let us = unlimited(&muster).await;
    for name in ["a", "b", "c"] {
        let won = one_won(at_once(&us, name).await);
        let having: Vec<Value> = listed(&us).await.into_iter().filter(|agent| agent["name"] == name).collect();
        assert_eq!(having, [won]);
    }
}

async fn a_name_that_was_given_up_is_taken_once(muster: Muster) {
    let us = unlimited(&muster).await;
    let deleted = made(&us, "a").await;
    us.delete(&format!("/v1/agents/agent_{}", text(&deleted, "id"))).await.status(204);
    one_won(at_once(&us, "a").await);
    is_taken(us.post(AGENTS, named("a")).await);

    let renamed = made(&us, "b").await;
    let path = format!("/v1/agents/agent_{}", text(&renamed, "id"));
    us.patch(&path, json!({"name": "c"})).await.ok();
    // That name was never taken here.
    made(&us, "c").await;
    one_won(at_once(&us, "b").await);
    assert_eq!(us.get(&path).await.ok()["name"], "c", "the agent that had it stays as it is");
}

async fn twins_make_one_agent(muster: Muster) {
    let us = unlimited(&muster).await.with("idempotency-key", "once");
    let answers = at_once(&us, "a").await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.code == 201);
    assert!(!won.is_empty() && won.iter().all(|answer| answer.text == won[0].text));
    for answer in lost {
        let body = answer.status(409);
        assert!(text(&body["error"], "message").contains("in progress"), "{body}");
    }
    let again = us.post(AGENTS, named("a")).await;
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &won[0].text));
    assert_eq!(again.code, 201);
    us.post(AGENTS, named("b")).await.status(422);
    assert_eq!(listed(&muster.us).await.len(), 1);
}

async fn what_the_preamble_says_reaches_the_model(muster: Muster) {
    let agent = muster.us.post(AGENTS, json!({"name": "a", "preamble": "say from the preamble"})).await.status(201);
    let path = format!("/v1/agents/agent_{}", text(&agent, "id"));
    muster.us.patch(&path, json!({"model": "openai/fake"})).await.ok();
    let run = muster.us.run(&format!("agent_{}", text(&agent, "id")), "hello").await;
    muster.drain().await;
    assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["result"], "from the preamble");
}
