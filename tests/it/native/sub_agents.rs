//! Tools that are agents: a call starts a run, the caller waits for it, and its result is the answer.

use model_server::Tools;
use serde_json::{Value, json};
use shared::{engine, id::RunId};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    what_a_sub_agent_says_is_the_answer_of_its_call,
    tools_of_both_kinds_in_one_answer_work_side_by_side,
    a_sub_agent_is_given_its_inputs,
    a_sub_agent_with_an_output_schema_answers_with_json,
    a_sub_agent_that_fails_is_told_to_the_model,
    a_sub_agent_that_waits_for_a_person_lets_its_parent_wait,
    a_manual_run_starts_manual_ones,
    a_lost_word_of_a_childs_end_is_made_up_for_by_the_reaper,
    lost_messages_for_children_are_sent_again,
    children_that_end_at_the_same_moment_are_each_counted_once,
    cancelling_ends_every_run_below,
    a_cancelled_batch_ends_the_children_of_its_runs,
    a_deadline_ends_the_children_too,
    parents_of_a_batch_find_a_place_again_when_their_children_have_ended,
    a_family_is_listed_by_its_parent,
    sub_agents_that_make_no_sense_are_refused_with_their_fields,
);

const LEASE_AND_MORE_MS: i64 = 95_000;

/// An agent with these tools; its id.
pub(crate) async fn agent(muster: &Muster, name: &str, model: &str, tools: Value) -> String {
    let body = json!({"name": name, "model": model, "tools": tools});
    text(&muster.us.post("/v1/agents", body).await.status(201), "id")
}

/// A tool that is that agent.
pub(crate) fn helper(agent: &str) -> Value {
    json!({"type": "agent", "name": "helper", "agent_id": agent})
}

/// An agent that may call another.
async fn boss(muster: &Muster, helped_by: &str) -> String {
    agent(muster, "boss", "openai/fake", json!([helper(helped_by)])).await
}

/// A message that makes the model call the helper with each of these messages, all at once.
fn calls(messages: &[&str]) -> String {
    let calls = messages.iter().map(|message| format!("call helper {}\n", json!({"message": message})));
    calls.collect::<String>() + "say all is done"
}

async fn messages(muster: &Muster, run: &str) -> Vec<Value> {
    muster.us.get(&format!("/v1/runs/{run}/messages")).await.ok()["data"].as_array().unwrap().clone()
}

/// What the model was told of the run's calls, and how each ended.
async fn told(muster: &Muster, run: &str) -> Vec<(String, String)> {
    let messages = messages(muster, run).await;
    let tools = messages.iter().filter(|message| message["role"] == "tool");
    tools.map(|message| (text(message, "outcome"), text(message, "content"))).collect()
}

async fn look(muster: &Muster, run: &str) -> Value {
    muster.us.get(&format!("/v1/runs/{run}")).await.ok()
}

pub(crate) async fn explain(muster: &Muster, run: &str) -> Value {
    muster.us.get(&format!("/v1/runs/{run}/explain")).await.ok()
}

async fn children(muster: &Muster, run: &str) -> Vec<Value> {
    let page = muster.us.get(&format!("/v1/runs?limit=100&parent_run_id={run}")).await.ok();
    page["data"].as_array().unwrap().clone()
}

/// Works on that run alone, as far as it goes.
async fn drive(muster: &Muster, run: &str) {
    let tenant = muster.caller(&muster.us).await.tenant();
    engine::drive(&muster.app, tenant, RunId::parse_prefixed(run).unwrap(), None).await.unwrap();
}

async fn what_a_sub_agent_says_is_the_answer_of_its_call(muster: Muster) {
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let run = muster.us.run(&boss(&muster, &helped_by).await, &calls(&["say 42"])).await;
    drive(&muster, &run).await;
    let waiting = look(&muster, &run).await;
    assert_eq!(json!([waiting["status"], waiting["reason"]]), json!(["waiting", "sub_agent"]));
    let explained = explain(&muster, &run).await;
    let child = text(&explained["children"][0], "run_id");
    assert_eq!(explained["waits_until"], waiting["deadline"]);
    assert!(text(&explained, "explanation").contains(&format!("{child} (clerk): accepted at")), "{explained}");
    let call = &explained["tool_calls"][0];
    assert_eq!(json!([call["state"], call["child_run_id"]]), json!(["sent", child]));
    drive(&muster, &run).await;
    assert_eq!(look(&muster, &run).await["status"], "waiting", "a message that comes too early changes nothing");
    muster.drain().await;

    let (ended, child) = (look(&muster, &run).await, look(&muster, &child).await);
    assert_eq!(json!([ended["status"], ended["result"], child["status"]]), json!(["done", "all is done", "done"]));
    assert_eq!(told(&muster, &run).await, [("answered".to_owned(), "42".to_owned())]);
    assert_eq!(json!([child["parent_run_id"], child["depth"], ended["depth"]]), json!([run, 1, 0]));
    assert_eq!(child["deadline"], ended["deadline"]);
    assert_eq!(json!([ended["usage"]["model_calls"], child["usage"]["model_calls"]]), json!([3, 1]));
    let explained = explain(&muster, &run).await;
    let own: u64 =
        explained["attempts"].as_array().unwrap().iter().map(|of| of["cost_micro_usd"].as_u64().unwrap()).sum();
    assert_eq!(ended["cost_micro_usd"], own + child["cost_micro_usd"].as_u64().unwrap());
    assert_eq!(
        json!([explained["children"][0]["status"], explained["children"][0]["cost_micro_usd"]]),
        json!(["done", child["cost_micro_usd"]])
    );
    assert_eq!(explained["hops"], 0);
}

async fn tools_of_both_kinds_in_one_answer_work_side_by_side(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let act = json!({"type": "http", "name": "act", "method": "POST", "url": server.url("/do/it?wait=100")});
    let boss = agent(&muster, "boss", "openai/fake", json!([act, helper(&helped_by)])).await;
    let message =
        "call act {}\ncall helper {\"message\": \"say 42\"}\ncall nobody {}\ncall helper {\"no\": 1}\nsay all";
    let run = muster.us.run(&boss, message).await;
    muster.drain().await;
    let ended = look(&muster, &run).await;
    assert_eq!(json!([ended["status"], ended["result"]]), json!(["done", "all"]));
    let told = told(&muster, &run).await;
    let outcomes: Vec<&str> = told.iter().map(|(outcome, _)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["answered", "answered", "refused", "refused"]);
    assert_eq!((told[1].1.as_str(), server.effects().len()), ("42", 1));
    assert_eq!(children(&muster, &run).await.len(), 1);
}

async fn a_sub_agent_is_given_its_inputs(muster: Muster) {
    let inputs =
        json!([{"name": "city", "description": "Where"}, {"name": "days", "type": "integer", "required": false}]);
    let body =
        json!({"name": "clerk", "model": "openai/fake", "system_prompt": "say {{city}} it is", "inputs": inputs});
    let helped_by = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let boss = boss(&muster, &helped_by).await;
    let tool = muster.us.get(&format!("/v1/agents/{boss}")).await.ok()["tools"][0].clone();
    assert_eq!(json!([tool["type"], tool["agent_id"], tool["policy"]]), json!(["agent", helped_by, "idempotent"]));
    let properties = json!({"city": {"type": "string", "description": "Where"}, "days": {"type": "integer"}});
    let expected =
        json!({"type": "object", "properties": properties, "required": ["city"], "additionalProperties": false});
    assert_eq!(tool["parameters"], expected);
    let run = muster.us.run(&boss, "call helper {\"city\": \"Ulm\"}\ncall helper {\"days\": 1}\nsay ok").await;
    muster.drain().await;
    let told_first = told(&muster, &run).await;
    assert_eq!(told_first[0], ("answered".to_owned(), "Ulm it is".to_owned()));
    assert_eq!(told_first[1].0, "refused");
    // What it takes changes, and the tool says what it took: the run is not started, and the model is told why.
    let other = json!({"inputs": [{"name": "country"}]});
    muster.us.patch(&format!("/v1/agents/{helped_by}"), other).await.ok();
    let run = muster.us.run(&boss, "call helper {\"city\": \"Ulm\"}\nsay ok").await;
    muster.drain().await;
    let told = told(&muster, &run).await;
    assert!(told[0].0 == "refused" && told[0].1.contains("country"), "{told:?}");
}

async fn a_sub_agent_with_an_output_schema_answers_with_json(muster: Muster) {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let body = json!({"name": "clerk", "model": "openai/fake", "output_schema": schema});
    let helped_by = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let run = muster.us.run(&boss(&muster, &helped_by).await, &calls(&["say {\"n\":   7}"])).await;
    muster.drain().await;
    assert_eq!(told(&muster, &run).await, [("answered".to_owned(), "{\"n\":7}".to_owned())]);
}

async fn a_sub_agent_that_fails_is_told_to_the_model(muster: Muster) {
    let helped_by = agent(&muster, "clerk", "openai/fake-e99-x400", json!([])).await;
    let boss = boss(&muster, &helped_by).await;
    let run = muster.us.run(&boss, &calls(&["say 42"])).await;
    muster.drain().await;
    assert_eq!(look(&muster, &run).await["status"], "done");
    let answers = told(&muster, &run).await;
    assert!(answers[0].0 == "failed" && answers[0].1.contains("model_error"), "{answers:?}");
    assert_eq!(muster.us.delete(&format!("/v1/agents/{helped_by}")).await.code, 204);
    let run = muster.us.run(&boss, &calls(&["say 42"])).await;
    muster.drain().await;
    let answers = told(&muster, &run).await;
    assert!(answers[0].0 == "refused" && answers[0].1.contains("not there"), "{answers:?}");
    assert_eq!(look(&muster, &run).await["status"], "done");
}

async fn approve(muster: &Muster, run: &str) {
    let path = format!("/v1/runs/{run}/approvals");
    let asked = muster.us.get(&path).await.ok()["data"][0].clone();
    muster.us.post(&path, json!({"approval_id": asked["id"], "decision": "approve"})).await.ok();
}

async fn a_sub_agent_that_waits_for_a_person_lets_its_parent_wait(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let act =
        json!({"type": "http", "name": "act", "method": "POST", "url": server.url("/do/it"), "approval": "always"});
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([act])).await;
    let run = muster.us.run(&boss(&muster, &helped_by).await, &calls(&["call act\nsay acted"])).await;
    muster.drain().await;
    let waiting = look(&muster, &run).await;
    assert_eq!(json!([waiting["status"], waiting["reason"]]), json!(["waiting", "sub_agent"]));
    let child = text(&children(&muster, &run).await[0], "id");
    let explained = explain(&muster, &run).await;
    let sentence = text(&explained, "explanation");
    assert!(sentence.contains(&child) && sentence.contains("for a person") && sentence.contains("act"), "{sentence}");
    for _ in 0..3 {
        muster.pass(LEASE_AND_MORE_MS);
        assert_eq!(muster.reap().await.asked, 0, "nothing is to be done, however long it takes");
    }
    approve(&muster, &child).await;
    muster.drain().await;
    assert_eq!(look(&muster, &run).await["status"], "done");
    assert_eq!(told(&muster, &run).await, [("answered".to_owned(), "acted".to_owned())]);
    assert_eq!(server.effects().len(), 1);
}

async fn a_manual_run_starts_manual_ones(muster: Muster) {
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let boss = boss(&muster, &helped_by).await;
    let body = json!({"message": calls(&["say 42"]), "mode": "manual"});
    let run = text(&muster.us.post(&format!("/v1/agents/{boss}/runs"), body).await.status(202), "id");
    muster.drain().await;
    assert_eq!(look(&muster, &run).await["reason"], "approval_required");
    assert!(children(&muster, &run).await.is_empty());
    approve(&muster, &run).await;
    muster.drain().await;
    assert_eq!(look(&muster, &run).await["status"], "done");
    assert_eq!(children(&muster, &run).await[0]["mode"], "manual");
}

async fn a_lost_word_of_a_childs_end_is_made_up_for_by_the_reaper(muster: Muster) {
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let run = muster.us.run(&boss(&muster, &helped_by).await, &calls(&["say 42"])).await;
    muster.lose_messages().await;
    drive(&muster, &run).await;
    assert_eq!(muster.lose_messages().await, 1, "the child wants a worker");
    let child = text(&children(&muster, &run).await[0], "id");
    drive(&muster, &child).await;
    assert_eq!(muster.lose_messages().await, 1, "its parent wants one");
    assert_eq!(look(&muster, &child).await["status"], "done");
    assert_eq!(muster.reap().await.asked, 0, "it may still be under way");
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 1);
    muster.drain().await;
    assert_eq!(look(&muster, &run).await["status"], "done");
    assert_eq!(muster.models.stats().calls, 3);
}

async fn lost_messages_for_children_are_sent_again(muster: Muster) {
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let messages: Vec<String> = (0..20).map(|n| format!("say {n}")).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let run = muster.us.run(&boss(&muster, &helped_by).await, &calls(&messages)).await;
    muster.lose_messages().await;
    drive(&muster, &run).await;
    assert!(muster.lose_messages().await > 0);
    assert_eq!(children(&muster, &run).await.len(), 20);
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!(muster.reap().await.asked, 20);
    muster.drain().await;
    let ended = look(&muster, &run).await;
    assert_eq!(json!([ended["status"], ended["usage"]["model_calls"]]), json!(["done", 22]));
    let told: Vec<String> = told(&muster, &run).await.into_iter().map(|(_, content)| content).collect();
    assert_eq!(told, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "each answer in the place of its call");
}

async fn children_that_end_at_the_same_moment_are_each_counted_once(muster: Muster) {
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let messages = ["say 1", "say 2", "say 3", "say 4", "say 5", "say 6"];
    let run = muster.us.run(&boss(&muster, &helped_by).await, &calls(&messages)).await;
    Box::pin(muster.drain_twice()).await;
    let ended = look(&muster, &run).await;
    let of_children: u64 =
        children(&muster, &run).await.iter().map(|child| child["cost_micro_usd"].as_u64().unwrap()).sum();
    let explained = explain(&muster, &run).await;
    let own: u64 =
        explained["attempts"].as_array().unwrap().iter().map(|of| of["cost_micro_usd"].as_u64().unwrap()).sum();
    assert_eq!(ended["status"], "done");
    assert_eq!(ended["cost_micro_usd"], own + of_children);
    assert_eq!((muster.models.stats().calls, &ended["usage"]["model_calls"]), (8, &json!(8)));
}

/// A family of three generations whose youngest wait for a person; the ids, the oldest first.
async fn family(muster: &Muster, server: &Tools) -> (String, String, String) {
    let act =
        json!({"type": "http", "name": "act", "method": "POST", "url": server.url("/do/it"), "approval": "always"});
    let clerk = agent(muster, "clerk", "openai/fake", json!([act])).await;
    let middle = boss(muster, &clerk).await;
    let boss = boss(muster, &middle).await;
    let message = calls(&[&calls(&["call act\nsay acted", "call act\nsay acted too"])]);
    (boss, middle, message)
}

async fn cancelling_ends_every_run_below(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let (boss, _, message) = family(&muster, &server).await;
    let run = muster.us.run(&boss, &message).await;
    muster.drain().await;
    let middle = text(&children(&muster, &run).await[0], "id");
    let youngest = children(&muster, &middle).await;
    assert_eq!((youngest.len(), &youngest[0]["depth"]), (2, &json!(2)));
    let answer = muster.us.post(&format!("/v1/runs/{run}/cancel"), json!({})).await.status(200);
    assert_eq!(answer["status"], "interrupted");
    let sent = &answer["already_sent"]["tool_calls"][0];
    assert_eq!(json!([sent["tool"], sent["step"], sent["child_run_id"]]), json!(["helper", 2, middle]));
    assert_eq!(sent["idempotency_key"], format!("{run}/2"));
    assert_eq!(look(&muster, &middle).await["status"], "interrupted");
    for child in youngest {
        assert_eq!(look(&muster, &text(&child, "id")).await["status"], "interrupted");
    }
    assert_eq!(look(&muster, &run).await["usage"]["model_calls"], 4, "what those below used counts");
    muster.drain().await;
    muster.pass(LEASE_AND_MORE_MS);
    assert_eq!((muster.reap().await, server.requests()), (engine::Reaped::default(), 0));
    assert_eq!(muster.us.post(&format!("/v1/runs/{run}/cancel"), json!({})).await.code, 200, "the same again");
}

async fn a_cancelled_batch_ends_the_children_of_its_runs(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let (boss, _, message) = family(&muster, &server).await;
    let items = json!({"items": [{"message": message}, {"message": message}]});
    let batch = text(&muster.us.post(&format!("/v1/agents/{boss}/batches"), items).await.status(202), "id");
    muster.drain().await;
    let ended = muster.us.post(&format!("/v1/batches/{batch}/cancel"), json!({})).await.status(200);
    assert_eq!(ended["counts"]["interrupted"], 2);
    let all = muster.us.get("/v1/runs?limit=100").await.ok();
    let all = all["data"].as_array().unwrap();
    assert_eq!(all.len(), 8);
    assert!(all.iter().all(|run| run["status"] == "interrupted"), "{all:?}");
    assert_eq!(ended["usage"]["model_calls"], 8);
}

async fn a_deadline_ends_the_children_too(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let (boss, _, message) = family(&muster, &server).await;
    let body = json!({"message": message, "deadline": muster.in_ms(600_000)});
    let run = text(&muster.us.post(&format!("/v1/agents/{boss}/runs"), body).await.status(202), "id");
    muster.drain().await;
    muster.pass(601_000);
    muster.reap().await;
    muster.drain().await;
    let all = muster.us.get("/v1/runs?limit=100").await.ok();
    let all = all["data"].as_array().unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|run| run["terminal"] == true), "{all:?}");
    let ended = look(&muster, &run).await;
    assert_eq!(json!([ended["status"], ended["reason"]]), json!(["error", "deadline"]));
    assert_eq!(server.requests(), 0);
}

async fn parents_of_a_batch_find_a_place_again_when_their_children_have_ended(muster: Muster) {
    let muster = muster.at_work();
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let boss = boss(&muster, &helped_by).await;
    let items: Vec<Value> = (0..8).map(|n| json!({"message": calls(&[&format!("say {n}")])})).collect();
    let body = json!({"items": items, "max_concurrency": 2});
    let batch = text(&muster.us.post(&format!("/v1/agents/{boss}/batches"), body).await.status(202), "id");
    let ended = muster.until(&format!("/v1/batches/{batch}"), |batch| batch["terminal"] == true).await;
    assert_eq!(json!([ended["counts"]["done"], ended["usage"]["model_calls"]]), json!([8, 24]));
}

async fn a_family_is_listed_by_its_parent(muster: Muster) {
    let helped_by = agent(&muster, "clerk", "openai/fake", json!([])).await;
    let boss = boss(&muster, &helped_by).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(muster.us.run(&boss, &calls(&["say 1", "say 2", "say 3"])).await);
        muster.drain().await;
    }
    let count =
        async |query: &str| muster.us.get(&format!("/v1/runs?{query}")).await.ok()["data"].as_array().unwrap().len();
    assert_eq!((count("limit=100").await, count("parent_run_id=none").await), (8, 2));
    for run in &runs {
        assert_eq!(count(&format!("parent_run_id={run}")).await, 3);
        assert_eq!(count(&format!("parent_run_id={run}&status=error")).await, 0);
        let first = muster.us.get(&format!("/v1/runs?limit=2&parent_run_id={run}")).await.ok();
        let after = text(&first, "next_cursor");
        assert_eq!(count(&format!("limit=2&parent_run_id={run}&after={after}")).await, 1);
    }
    assert_eq!(muster.us.get("/v1/runs?parent_run_id=x").await.param(), "parent_run_id");
    let chats = muster.us.get("/api/v1/resource/chat/list").await.ok();
    assert_eq!(chats["result"].as_array().map(Vec::len), Some(2), "{chats}");
    let theirs = muster.them.get(&format!("/v1/runs?parent_run_id={}", runs[0])).await.ok();
    assert_eq!(theirs["data"], json!([]));
}

async fn sub_agents_that_make_no_sense_are_refused_with_their_fields(muster: Muster) {
    let (ours, theirs) = (muster.us.agent("openai/fake").await, muster.them.agent("openai/fake").await);
    let unknown = ours.replace(&ours[10..14], "0000");
    let mut refusals = Vec::new();
    for (agent_id, others, field) in [
        (&theirs, json!({}), "tools[0].agent_id"),
        (&unknown, json!({}), "tools[0].agent_id"),
        (&ours, json!({"version": 7}), "tools[0].version"),
        (&ours, json!({"policy": "once"}), "tools[0].policy"),
        (&ours, json!({"parameters": {"type": "string"}}), "tools[0].parameters"),
    ] {
        let mut tool = helper(agent_id);
        others.as_object().unwrap().iter().for_each(|(name, value)| tool[name] = value.clone());
        let body = json!({"name": "boss", "model": "openai/fake", "tools": [tool]});
        let refused = muster.us.post("/v1/agents", body).await.status(400);
        assert_eq!(refused["error"]["param"], field, "{refused}");
        refusals.push(text(&refused["error"], "message"));
    }
    assert_eq!(refusals[0], refusals[1], "another organisation's is as good as none");
    for tool in [helper("clerk"), json!({"type": "agent", "name": "a", "agent_id": ours, "timeout_ms": 5})] {
        let body = json!({"name": "boss", "model": "openai/fake", "tools": [tool]});
        let refused = muster.us.post("/v1/agents", body).await.status(400);
        assert!(text(&refused["error"], "param").starts_with("tools[0]"), "{refused}");
    }
    let itself = json!({"tools": [{"type": "agent", "name": "me", "agent_id": ours, "version": 1}]});
    assert_eq!(muster.us.patch(&format!("/v1/agents/{ours}"), itself).await.ok()["version"], 2);
}
