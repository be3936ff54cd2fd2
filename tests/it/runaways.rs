//! Agents that run away: each is stopped by a cap that says so, and what it spent is known.

use model_server::Tools;
use serde_json::{Value, json};
use shared::run::{DEPTH_LIMIT, FAMILY_LIMIT};

use crate::{
    harness::{Muster, on_every_backend, text},
    native::sub_agents::{agent, explain, helper},
};

on_every_backend!(
    an_agent_that_calls_itself_is_stopped_by_the_depth,
    an_agent_that_calls_the_same_tool_for_ever_is_stopped,
    an_agent_that_spawns_fifty_children_a_turn_is_stopped_by_the_size_of_its_family,
    a_family_spends_no_more_than_the_budget_of_its_head,
    a_child_whose_price_is_not_known_is_not_started_under_a_budget,
);

/// A budget under which three calls may be made at a time.
const BUDGET_MICRO_USD: u64 = 30_000;

/// An agent that may call itself; its id.
async fn itself(muster: &Muster, model: &str) -> String {
    let id = muster.us.agent(model).await;
    let tools = json!({"tools": [{"type": "agent", "name": "me", "agent_id": id}]});
    muster.us.patch(&format!("/v1/agents/{id}"), tools).await.ok();
    id
}

async fn run(muster: &Muster, agent: &str) -> Value {
    let id = muster.us.run(agent, "go on").await;
    Box::pin(muster.drain()).await;
    muster.us.get(&format!("/v1/runs/{id}")).await.ok()
}

/// Every run of the organisation.
async fn all(muster: &Muster) -> Vec<Value> {
    let (mut runs, mut path) = (Vec::new(), "/v1/runs?limit=100".to_owned());
    loop {
        let page = muster.us.get(&path).await.ok();
        runs.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/runs?limit=100&after={cursor}"),
            None => return runs,
        }
    }
}

/// How often the run's model was told that a call was not made, in these words.
async fn refusals(muster: &Muster, run: &Value, words: &str) -> usize {
    let messages = muster.us.get(&format!("/v1/runs/{}/messages", text(run, "id"))).await.ok();
    let told = messages["data"].as_array().unwrap().iter().filter(|message| message["outcome"] == "refused");
    told.filter(|message| text(message, "content").contains(words)).count()
}

/// What the model server would bill is what the run says that it and those below it cost. Prints that as a line of a table.
fn is_booked(muster: &Muster, head: &Value, stopped_by: &str) {
    let billed = muster.models.stats();
    let booked = head["cost_micro_usd"].as_u64().unwrap();
    assert_eq!(booked, billed.input_tokens + 2 * billed.output_tokens, "{head}");
    assert_eq!(head["usage"]["model_calls"], billed.calls);
    println!("| runaway stopped by | model calls | micro-USD booked, and billed |");
    println!("| {stopped_by} | {} | {booked} |", billed.calls);
}

async fn an_agent_that_calls_itself_is_stopped_by_the_depth(muster: Muster) {
    let head = run(&muster, &itself(&muster, "openai/fake-t1").await).await;
    assert_eq!(head["status"], "done");
    let runs = all(&muster).await;
    assert_eq!(runs.len(), 1 + DEPTH_LIMIT as usize);
    let deepest = runs.iter().find(|run| run["depth"] == DEPTH_LIMIT).unwrap();
    assert_eq!(refusals(&muster, deepest, "8 deep").await, 1);
    is_booked(&muster, &head, "the depth of its family");
}

async fn an_agent_that_calls_the_same_tool_for_ever_is_stopped(muster: Muster) {
    let tools = Tools::start().await.unwrap();
    let act = json!({"type": "http", "name": "act", "method": "POST", "url": tools.url("/do/it")});
    let body = json!({"name": "runaway", "model": "openai/fake-t999", "tools": [act]});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let head = run(&muster, &agent).await;
    assert_eq!(json!([head["status"], head["reason"]]), json!(["error", "max_steps"]));
    assert_eq!(tools.effects().len(), 3);
    assert_eq!(refusals(&muster, &head, "3 times in a row").await, 25 - 3);
    is_booked(&muster, &head, "the same call three times in a row, then its steps");
}

/// An agent with that other as its helper; its id.
async fn above(muster: &Muster, model: &str, helped_by: &str) -> String {
    agent(muster, "runaway", model, json!([helper(helped_by)])).await
}

async fn an_agent_that_spawns_fifty_children_a_turn_is_stopped_by_the_size_of_its_family(muster: Muster) {
    let clerk = muster.us.agent("openai/fake").await;
    let middle = above(&muster, "openai/fake-t1-p50", &clerk).await;
    let head = run(&muster, &above(&muster, "openai/fake-t1-p50", &middle).await).await;
    assert_eq!(head["status"], "done");
    let runs = all(&muster).await;
    assert_eq!(runs.len(), usize::try_from(FAMILY_LIMIT).unwrap());
    assert!(runs.iter().all(|run| run["status"] == "done"));
    let mut refused = 0;
    for run in runs.iter().filter(|run| run["depth"] == 1) {
        refused += refusals(&muster, run, "1000").await;
    }
    assert_eq!(refused, 50 + 50 * 50 - (runs.len() - 1), "each that was not started was refused");
    is_booked(&muster, &head, "the size of its family");
}

async fn a_family_spends_no_more_than_the_budget_of_its_head(muster: Muster) {
    // A call may cost some 8,300 micro-USD, so three of the twenty that want to call at the same time may.
    let clerk = muster.us.agent("openai/fake-l80").await;
    let middle = above(&muster, "openai/fake-t1-p20", &clerk).await;
    let id = above(&muster, "openai/fake-t1", &middle).await;
    let body = json!({"message": "go on", "budget_micro_usd": BUDGET_MICRO_USD});
    let head = text(&muster.us.post(&format!("/v1/agents/{id}/runs"), body).await.status(202), "id");
    Box::pin(muster.drain()).await;
    let head = muster.us.get(&format!("/v1/runs/{head}")).await.ok();
    assert_eq!(head["status"], "done", "{head}");
    is_booked(&muster, &head, "the budget of its head");
    assert!(head["cost_micro_usd"].as_u64() <= Some(BUDGET_MICRO_USD), "{head}");
    let runs = all(&muster).await;
    let refused: Vec<&Value> = runs.iter().filter(|run| run["reason"] == "budget_exceeded").collect();
    assert!((1..20).contains(&refused.len()), "{} of {}", refused.len(), runs.len());
    let explained = explain(&muster, &text(refused[0], "id")).await;
    assert_eq!((&explained["refused_by"], refused[0]["depth"].as_u64()), (&json!("family"), Some(2)));
    assert!(muster.models.stats().max_in_flight <= 3);
}

async fn a_child_whose_price_is_not_known_is_not_started_under_a_budget(muster: Muster) {
    let unpriced = muster.us.agent("openai/fake-l1").await;
    let id = above(&muster, "openai/fake-t1", &unpriced).await;
    let body = json!({"message": "go on", "budget_micro_usd": BUDGET_MICRO_USD});
    let head = text(&muster.us.post(&format!("/v1/agents/{id}/runs"), body).await.status(202), "id");
    muster.drain().await;
    let head = muster.us.get(&format!("/v1/runs/{head}")).await.ok();
    assert_eq!((&head["status"], refusals(&muster, &head, "price").await), (&json!("done"), 1));
    assert_eq!(all(&muster).await.len(), 1);
}
