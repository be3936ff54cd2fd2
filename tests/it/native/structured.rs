//! Answers of a shape that the agent asks for, and inputs that it declares.

use model_server::{Format, Tools};
use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    an_answer_has_the_shape_that_is_asked_for,
    a_bad_answer_is_asked_for_once_more,
    a_second_bad_answer_ends_the_run,
    a_model_may_call_tools_again_before_it_answers_better,
    an_answer_that_is_cut_off_is_a_bad_one,
    a_chat_goes_on_after_a_repair,
    a_repair_is_one_of_the_runs_steps_and_costs,
    a_schema_is_pinned_changed_and_taken_away,
    schemas_and_inputs_that_make_no_sense_are_refused,
    declared_inputs_fill_the_system_prompt,
    inputs_that_are_not_as_declared_are_refused,
    a_message_needs_an_agent_without_required_inputs,
    a_chat_keeps_its_inputs,
    a_batch_with_inputs_is_retried_with_them,
);

fn schema() -> Value {
    json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false})
}

async fn agent(muster: &Muster, model: &str, others: Value) -> String {
    let mut body = json!({"name": "tester", "model": model});
    for (name, value) in others.as_object().unwrap() {
        body[name] = value.clone();
    }
    text(&muster.us.post("/v1/agents", body).await.status(201), "id")
}

/// A run of the agent, worked on until nothing is left to do.
async fn ended(muster: &Muster, agent: &str, body: Value) -> Value {
    let run = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202), "id");
    muster.drain().await;
    muster.us.get(&format!("/v1/runs/{run}")).await.ok()
}

/// Role and content of each message of the run.
async fn messages(muster: &Muster, run: &Value) -> Vec<(String, String)> {
    let found = muster.us.get(&format!("/v1/runs/{}/messages", text(run, "id"))).await.ok();
    found["data"].as_array().unwrap().iter().map(|message| (text(message, "role"), text(message, "content"))).collect()
}

/// Role and content of each message that the model was sent last.
fn sent(muster: &Muster) -> Vec<(String, String)> {
    let body = muster.models.last(Format::OpenAi).unwrap().body;
    let turns = body["messages"].as_array().unwrap().iter();
    turns.map(|turn| (text(turn, "role"), text(turn, "content"))).collect()
}

async fn an_answer_has_the_shape_that_is_asked_for(muster: Muster) {
    let list = json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2});
    for (schema, expected) in [(schema(), json!({"n": 0})), (list, json!([true, true]))] {
        let agent = agent(&muster, "demo/scripted-l0", json!({"output_schema": schema})).await;
        let run = ended(&muster, &agent, json!({"message": "go"})).await;
        assert_eq!((&run["status"], &run["output"]), (&json!("done"), &expected), "{run}");
        assert_eq!(run["result"], expected.to_string());
        let path = format!("/v1/agents/{agent}/batches");
        let batch = muster.us.post(&path, json!({"items": [{"message": "a"}, {"message": "b"}]})).await.status(202);
        muster.drain().await;
        let path = format!("/v1/batches/{}/results", text(&batch, "id"));
        let results = muster.us.get(&path).await.ok();
        for result in results["data"].as_array().unwrap() {
            assert_eq!(result["output"], expected);
        }
        let lines = muster.us.get(&format!("{path}?format=ndjson")).await.text;
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["output"]), (2, &expected));
    }
    let plain = muster.us.agent("openai/fake").await;
    let run = ended(&muster, &plain, json!({"message": "say {\"n\": 1}"})).await;
    assert_eq!((&run["result"], &run["output"]), (&json!(r#"{"n": 1}"#), &Value::Null), "no schema was asked for");
}

async fn a_bad_answer_is_asked_for_once_more(muster: Muster) {
    let others = json!({"output_schema": schema(), "system_prompt": "say ```json {\"n\": 7} ```"});
    let agent = agent(&muster, "openai/fake", others).await;
    let run = ended(&muster, &agent, json!({"message": "say {\"n\": \"seven\"}"})).await;
    assert_eq!((&run["status"], &run["reason"], &run["output"]), (&json!("done"), &Value::Null, &json!({"n": 7})));
    assert_eq!(run["usage"]["model_calls"], 2);
    let said = messages(&muster, &run).await;
    let roles: Vec<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "system", "assistant"]);
    assert!(said[2].1.contains(r#"/n: "seven" is not of type "integer""#), "{said:?}");
    let sent = sent(&muster);
    let roles: Vec<&str> = sent.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert_eq!((&sent[2].1, &sent[3].1), (&said[1].1, &said[2].1));
    let body = muster.models.last(Format::OpenAi).unwrap().body;
    assert_eq!(body["response_format"]["json_schema"]["schema"], schema());
}

async fn a_second_bad_answer_ends_the_run(muster: Muster) {
    let agent = agent(&muster, "openai/fake", json!({"output_schema": schema()})).await;
    let run = ended(&muster, &agent, json!({"message": "say {\"n\": 1, \"m\": 2}"})).await;
    assert_eq!((&run["status"], &run["reason"]), (&json!("error"), &json!("output_invalid")), "{run}");
    assert!(text(&run, "error").contains("not valid JSON"), "{run}");
    assert_eq!((&run["result"], &run["output"]), (&Value::Null, &Value::Null));
    assert_eq!(run["usage"]["model_calls"], 2);
    assert!(messages(&muster, &run).await[2].1.contains("'m' was unexpected"));
}

async fn a_model_may_call_tools_again_before_it_answers_better(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let tool = json!({"type": "http", "name": "act", "method": "POST", "url": server.url("/do/it")});
    let others = json!({"output_schema": schema(), "system_prompt": "say {\"n\": 7}", "tools": [tool]});
    let agent = agent(&muster, "openai/fake-t1", others).await;
    let run = ended(&muster, &agent, json!({"message": "say no"})).await;
    assert_eq!(
        (&run["status"], &run["output"], server.effects().len()),
        (&json!("done"), &json!({"n": 7}), 2),
        "{run}"
    );
    let said = messages(&muster, &run).await;
    let roles: Vec<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "system", "assistant", "tool", "assistant"]);
}

async fn an_answer_that_is_cut_off_is_a_bad_one(muster: Muster) {
    let others = json!({"output_schema": {}, "max_tokens": 3, "system_prompt": "say 7"});
    let agent = agent(&muster, "openai/fake", others).await;
    let run = ended(&muster, &agent, json!({"message": "go"})).await;
    assert_eq!(run["reason"], "output_invalid", "{run}");
    assert!(text(&run, "error").contains("cut off"), "{run}");
}

async fn a_chat_goes_on_after_a_repair(muster: Muster) {
    let others = json!({"output_schema": schema(), "system_prompt": "say {\"n\": 7}"});
    let agent = agent(&muster, "openai/fake", others).await;
    let first = ended(&muster, &agent, json!({"message": "say no"})).await;
    let next = ended(&muster, &agent, json!({"message": "say {\"n\": 8}", "chat_id": first["id"]})).await;
    assert_eq!((&next["output"], &next["usage"]["model_calls"]), (&json!({"n": 8}), &json!(1)));
    let roles: Vec<String> = sent(&muster).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant", "user"]);
    let again = ended(&muster, &agent, json!({"message": "say no", "chat_id": first["id"]})).await;
    assert_eq!(
        (&again["output"], &again["usage"]["model_calls"]),
        (&json!({"n": 7}), &json!(2)),
        "a repair for each run"
    );
}

async fn a_repair_is_one_of_the_runs_steps_and_costs(muster: Muster) {
    let others = json!({"output_schema": schema(), "system_prompt": "say {\"n\": 7}", "max_steps": 1});
    let agent = agent(&muster, "openai/fake", others).await;
    let run = ended(&muster, &agent, json!({"message": "say no"})).await;
    assert_eq!((&run["reason"], &run["usage"]["model_calls"]), (&json!("output_invalid"), &json!(1)), "{run}");
    let once = run["cost_micro_usd"].as_u64().unwrap();
    let run = ended(&muster, &agent, json!({"message": "say no", "max_steps": 2})).await;
    assert_eq!(run["status"], "done");
    assert!(run["cost_micro_usd"].as_u64().unwrap() > 2 * once, "{run}");
}

async fn a_schema_is_pinned_changed_and_taken_away(muster: Muster) {
    let agent = agent(&muster, "demo/scripted-l0", json!({"output_schema": schema()})).await;
    let path = format!("/v1/agents/{agent}");
    let run = muster.us.run(&agent, "go").await;
    let inputs = json!([{"name": "a", "required": false}]);
    let changed = muster.us.patch(&path, json!({"output_schema": {"type": "boolean"}, "inputs": inputs})).await.ok();
    assert_eq!(changed["output_schema"], json!({"type": "boolean"}));
    assert_eq!(changed["inputs"], json!([{"name": "a", "description": "", "required": false, "type": "string"}]));
    muster.drain().await;
    assert_eq!(muster.us.get(&format!("/v1/runs/{run}")).await.ok()["output"], json!({"n": 0}));
    assert_eq!(ended(&muster, &agent, json!({"message": "go"})).await["output"], true);
    assert_eq!(muster.us.patch(&path, json!({"name": "b"})).await.ok()["output_schema"], json!({"type": "boolean"}));
    let taken = muster.us.patch(&path, json!({"output_schema": null, "inputs": []})).await.ok();
    assert_eq!((&taken["output_schema"], &taken["inputs"]), (&Value::Null, &json!([])));
    let run = ended(&muster, &agent, json!({"message": "go"})).await;
    assert!(run["output"].is_null() && text(&run, "result").contains("scripted"));
    let first = muster.us.get(&format!("{path}/versions")).await.ok()["data"][3].clone();
    assert_eq!((&first["version"], &first["output_schema"]), (&json!(1), &schema()));
}

async fn schemas_and_inputs_that_make_no_sense_are_refused(muster: Muster) {
    let deep = (0..40).fold(json!({}), |inner, _| json!({"items": inner}));
    let many: Vec<Value> = (0..51).map(|n| json!({"name": format!("i{n}")})).collect();
    for (field, value, param) in [
        ("output_schema", json!("text"), "output_schema"),
        ("output_schema", json!({"type": "nothing"}), "output_schema"),
        ("output_schema", json!({"$ref": "https://a.example/schema"}), "output_schema"),
        ("output_schema", deep, "output_schema"),
        ("inputs", json!([{"name": ""}]), "inputs[0].name"),
        ("inputs", json!([{"name": "a"}, {"name": "a-b"}]), "inputs[1].name"),
        ("inputs", json!([{"name": "a"}, {"name": "a"}]), "inputs[1].name"),
        ("inputs", json!([{"name": "a".repeat(65)}]), "inputs[0].name"),
        ("inputs", json!([{"name": "a", "type": "date"}]), "inputs[0].type"),
        ("inputs", json!([{"name": "a", "description": "d".repeat(2_001)}]), "inputs[0].description"),
        ("inputs", json!([{"name": "a", "default": 1}]), "inputs[0].default"),
        ("inputs", json!([{}]), "inputs[0].name"),
        ("inputs", json!(many), "inputs"),
    ] {
        let mut body = json!({"name": "a", "model": "demo/scripted-l0"});
        body[field] = value.clone();
        assert_eq!(muster.us.post("/v1/agents", body).await.param(), param, "{value}");
    }
}

/// An agent that declares a required text, a required number and a list that may be left out.
async fn declared(muster: &Muster) -> String {
    let inputs = json!([
        {"name": "city", "description": "where"}, {"name": "days", "type": "integer"},
        {"name": "tags", "type": "array", "required": false},
    ]);
    let system = "In {{city}}, {{days}} days, {{tags}}, {{ city }} {{other}} {{{city}}}";
    agent(muster, "openai/fake", json!({"inputs": inputs, "system_prompt": system})).await
}

async fn declared_inputs_fill_the_system_prompt(muster: Muster) {
    let agent = declared(&muster).await;
    for (inputs, system) in [
        (json!({"city": "{{days}}", "days": 2}), "In {{days}}, 2 days, , {{ city }} {{other}} {{{days}}}"),
        (
            json!({"city": "Oslo", "days": 2, "tags": ["a", 1]}),
            r#"In Oslo, 2 days, ["a",1], {{ city }} {{other}} {Oslo}"#,
        ),
    ] {
        let run = ended(&muster, &agent, json!({"inputs": inputs})).await;
        assert_eq!(run["status"], "done", "{run}");
        assert_eq!(sent(&muster), [("system".to_owned(), system.to_owned()), ("user".to_owned(), inputs.to_string())]);
        assert_eq!(messages(&muster, &run).await[0], ("user".to_owned(), inputs.to_string()));
    }
    let large = "x".repeat(3 * 1024 * 1024);
    let large = json!({"inputs": {"city": large, "days": 1}});
    assert_eq!(muster.us.post(&format!("/v1/agents/{agent}/runs"), large).await.param(), "inputs");
}

async fn inputs_that_are_not_as_declared_are_refused(muster: Muster) {
    let agent = declared(&muster).await;
    for (inputs, param) in [
        (json!({"city": "Oslo"}), "days"),
        (json!({"city": 1, "days": 1}), "city"),
        (json!({"city": "Oslo", "days": 1.5}), "days"),
        (json!({"city": "Oslo", "days": 1, "tags": null}), "tags"),
        (json!({"city": "Oslo", "days": 1, "Tags": []}), "Tags"),
    ] {
        let refused = muster.us.post(&format!("/v1/agents/{agent}/runs"), json!({"inputs": inputs})).await;
        assert_eq!(refused.param(), format!("inputs.{param}"), "{inputs}");
        let items = json!({"items": [{"inputs": {"city": "Oslo", "days": 1}}, {"inputs": inputs}]});
        let refused = muster.us.post(&format!("/v1/agents/{agent}/batches"), items).await;
        assert_eq!(refused.param(), format!("items[1].inputs.{param}"), "{inputs}");
    }
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]));
}

async fn a_message_needs_an_agent_without_required_inputs(muster: Muster) {
    let strict = declared(&muster).await;
    let message = json!({"message": "go"});
    assert_eq!(muster.us.post(&format!("/v1/agents/{strict}/runs"), message.clone()).await.param(), "inputs");
    let items = json!({"items": [message]});
    let refused = muster.us.post(&format!("/v1/agents/{strict}/batches"), items).await;
    assert_eq!(refused.param(), "items[0].inputs");
    let uuid = strict.strip_prefix("agent_").unwrap();
    let cotera = muster.us.post(&format!("/api/v1/resource/agent/{uuid}/chat"), json!({"message": "go"})).await;
    assert!(cotera.code == 400 && cotera.text.contains("inputs"), "{cotera:?}");
    let inputs = json!([{"name": "city", "required": false}]);
    let lax = agent(&muster, "openai/fake", json!({"inputs": inputs, "system_prompt": "[{{city}}]"})).await;
    ended(&muster, &lax, message).await;
    assert_eq!(
        sent(&muster),
        [("system", "[]"), ("user", "go")].map(|(role, said)| (role.to_owned(), said.to_owned()))
    );
}

async fn a_chat_keeps_its_inputs(muster: Muster) {
    let agent = declared(&muster).await;
    let first = ended(&muster, &agent, json!({"inputs": {"city": "Oslo", "days": 2}})).await;
    for message in ["and then?", "and after that?"] {
        let next = ended(&muster, &agent, json!({"message": message, "chat_id": first["id"]})).await;
        assert_eq!(next["status"], "done");
        assert!(sent(&muster)[0].1.starts_with("In Oslo, 2 days"));
        assert_eq!(sent(&muster).last().unwrap().1, message);
    }
    let inputs = json!({"city": "Rome", "days": 1});
    ended(&muster, &agent, json!({"inputs": inputs, "chat_id": first["id"]})).await;
    assert!(sent(&muster)[0].1.starts_with("In Rome, 1 days"));
}

async fn a_batch_with_inputs_is_retried_with_them(muster: Muster) {
    let inputs = json!([{"name": "n", "type": "integer"}]);
    let others = json!({"inputs": inputs, "output_schema": schema(), "system_prompt": "say {\"n\": {{n}}}"});
    let agent = agent(&muster, "openai/fake-e9-x400", others).await;
    let path = format!("/v1/agents/{agent}/batches");
    let batch = muster.us.post(&path, json!({"items": [{"inputs": {"n": 5}}, {"inputs": {"n": 6}}]})).await.status(202);
    muster.drain().await;
    muster.us.patch(&format!("/v1/agents/{agent}"), json!({"model": "openai/fake"})).await.ok();
    let path = format!("/v1/batches/{}/retry", text(&batch, "id"));
    let retried = muster.us.send("POST", &path, "").await.status(202);
    muster.drain().await;
    let results = muster.us.get(&format!("/v1/batches/{}/results", text(&retried, "id"))).await.ok();
    let outputs: Vec<&Value> = results["data"].as_array().unwrap().iter().map(|result| &result["output"]).collect();
    assert_eq!(outputs, [&json!({"n": 5}), &json!({"n": 6})]);
}
