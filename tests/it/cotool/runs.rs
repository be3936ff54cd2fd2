//! Running an agent, waiting for the end or not; where a run stands; what came of it; ending it.

use model_server::{Format, Tools};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{agent, fields, made, path};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_run_is_waited_for_and_answered_with_what_came_of_it,
    tool_calls_and_their_results_are_told,
    an_output_of_the_schema_is_told_as_json,
    a_run_that_ends_badly_says_why,
    a_run_goes_on_by_itself_and_is_found,
    a_chat_is_interrupted,
    a_bad_request_starts_nothing,
    a_run_comes_with_files,
    the_same_run_is_on_every_surface,
    what_is_not_ours_is_not_found,
    a_lesser_key_is_refused_with_what_it_lacks,
    a_request_that_is_sent_again_starts_nothing_new,
);

async fn run_async(muster: &Muster, agent: &str, inputs: Value) -> String {
    let started = muster.us.post(&format!("{}/run-async", path(agent)), json!({"inputs": inputs})).await.ok();
    assert_eq!(started.as_object().unwrap().len(), 1);
    text(&started, "runId")
}

fn run_path(agent: &str, run: &str) -> String {
    format!("{}/run-async/{run}", path(agent))
}

async fn a_run_is_waited_for_and_answered_with_what_came_of_it(muster: Muster) {
    let muster = muster.at_work();
    let id = text(&made(&muster.us, json!({"modelAlias": "openai/fake"})).await, "id");
    for inputs in [json!({"city": "Oslo", "n": 1}), json!({}), Value::Null] {
        let answer = muster.us.post(&format!("{}/run-sync", path(&id)), json!({"inputs": inputs})).await.ok();
        let said = text(&answer, "finalAssistantMessage");
        let sent = if inputs.is_null() { "{}".to_owned() } else { inputs.to_string() };
        let messages = json!([{"role": "user", "content": sent}, {"role": "assistant", "content": said}]);
        let expected = json!({
            "finalAssistantMessage": said, "allToolCallsMade": [], "allToolResultsReceived": [], "messages": messages,
        });
        assert_eq!(answer, expected);
        let asked = muster.models.last(Format::OpenAi).unwrap().body;
        assert_eq!(asked["messages"][1]["content"], json!(sent));
    }
}

async fn tool_calls_and_their_results_are_told(muster: Muster) {
    let muster = muster.at_work();
    let server = Tools::start().await.unwrap();
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let url = format!("http://{}/act", server.addr());
    let tool = json!({"type": "http", "name": "act", "method": "POST", "url": url, "parameters": parameters});
    let body = json!({"name": "actor", "model": "openai/fake-t1", "tools": [tool]});
    let id = text(&muster.us.post("/v1/agents", body).await.status(201), "id").replace("agent_", "");
    let answer = muster.us.post(&format!("{}/run-sync", path(&id)), json!({"inputs": {"a": 1}})).await.ok();
    let call = &answer["allToolCallsMade"][0];
    let expected =
        json!({"type": "tool-call", "toolCallId": call["toolCallId"], "toolName": "act", "args": call["args"]});
    assert_eq!((call, call["args"].is_object()), (&expected, true));
    let result = &answer["allToolResultsReceived"][0];
    let seen = json!([result["type"], result["toolCallId"], result["toolName"], result["isError"]]);
    assert_eq!(seen, json!(["tool-result", call["toolCallId"], "act", false]));
    assert!(!result["result"].is_null());
    let roles: Vec<&Value> = answer["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
}

async fn an_output_of_the_schema_is_told_as_json(muster: Muster) {
    let muster = muster.at_work();
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let body = json!({"modelAlias": "openai/fake", "systemPrompt": "say {\"n\": 7}", "structuredOutputSchema": schema});
    let id = text(&made(&muster.us, body).await, "id");
    let answer = muster.us.post(&format!("{}/run-sync", path(&id)), json!({"inputs": {}})).await.ok();
    assert_eq!(answer["structuredOutputResult"], json!({"n": 7}), "{answer}");
}

async fn a_run_that_ends_badly_says_why(muster: Muster) {
    let muster = muster.at_work();
    let id = text(&made(&muster.us, json!({"modelAlias": "openai/fake-q"})).await, "id");
    let refused = muster.us.post(&format!("{}/run-sync", path(&id)), json!({"inputs": {}})).await.status(500);
    assert_eq!(refused.as_object().unwrap().len(), 1);
    assert!(text(&refused, "error").contains("429"), "{refused}");
    let run = run_async(&muster, &id, json!({})).await;
    let status = muster.until(&format!("{}/status", run_path(&id, &run)), |status| status["status"] == "error").await;
    assert!(text(&status, "statusMessage").contains("429"));
    let older = muster.us.get(&run_path(&id, &run)).await.ok();
    assert_eq!((&older["isStreaming"], &older["error"]), (&json!(false), &status["statusMessage"]));
    muster.us.get(&format!("{}/result", run_path(&id, &run))).await.status(500);
}

async fn a_run_goes_on_by_itself_and_is_found(muster: Muster) {
    let id = agent(&muster.us).await;
    let run = run_async(&muster, &id, json!({"city": "Oslo"})).await;
    assert!(run.parse::<Uuid>().is_ok());
    let at = run_path(&id, &run);
    assert_eq!(muster.us.get(&format!("{at}/status")).await.ok(), json!({"status": "running"}));
    assert_eq!(muster.us.get(&at).await.ok(), json!({"isStreaming": true}));
    let early = muster.us.get(&format!("{at}/result")).await.status(409);
    assert!(text(&early, "error").contains("has not ended"));
    muster.drain().await;
    assert_eq!(muster.us.get(&format!("{at}/status")).await.ok(), json!({"status": "done"}));
    assert_eq!(muster.us.get(&at).await.ok(), json!({"isStreaming": false}));
    let result = muster.us.get(&format!("{at}/result")).await.ok();
    assert!(text(&result, "finalAssistantMessage").contains("Oslo"));
    assert_eq!(result["messages"][0], json!({"role": "user", "content": r#"{"city":"Oslo"}"#}));
}

async fn a_chat_is_interrupted(muster: Muster) {
    let id = agent(&muster.us).await;
    let interrupt = "/api/chat/interrupt";
    for with_agent in [true, false] {
        let run = run_async(&muster, &id, json!({})).await;
        let mut body = json!({"chatId": run});
        if with_agent {
            let other = agent(&muster.us).await;
            muster.us.post(interrupt, json!({"chatId": run, "agentId": other})).await.status(404);
            body["agentId"] = json!(id);
        }
        for _ in 0..2 {
            let done = muster.us.post(interrupt, body.clone()).await;
            assert_eq!((done.code, done.text.as_str()), (200, ""));
        }
        let status = muster.us.get(&format!("{}/status", run_path(&id, &run))).await.ok();
        assert_eq!(status["status"], "interrupted");
        muster.us.get(&format!("{}/result", run_path(&id, &run))).await.status(500);
    }
    assert_eq!(fields(muster.us.post(interrupt, json!({})).await), ["chatId"]);
    assert_eq!(fields(muster.us.post(interrupt, json!({"chatId": "x", "y": 1})).await), ["y"]);
}

async fn a_bad_request_starts_nothing(muster: Muster) {
    let inputs = json!([{"type": "text", "name": "my_city", "required": true}, {"type": "text", "name": "note"}]);
    let id = text(&made(&muster.us, json!({"inputs": inputs})).await, "id");
    let file = json!({"fileId": Uuid::now_v7(), "fileName": "a", "size": 1});
    let with = |field: &str, value: Value| {
        let mut file = file.clone();
        file[field] = value;
        json!({"inputs": {"my_city": "Oslo"}, "attachments": [file]})
    };
    for (body, at) in [
        (json!({}), "inputs"),
        (json!({"inputs": "a"}), "inputs"),
        (json!({"inputs": []}), "inputs"),
        (json!({"inputs": {}}), "inputs.my_city"),
        (json!({"inputs": null}), "inputs.my_city"),
        (json!({"inputs": {"my_city": 1}}), "inputs.my_city"),
        (json!({"inputs": {"my_city": "a", "other": 1}}), "inputs.other"),
        (json!({"inputs": {"my_city": "a"}, "message": "m"}), "message"),
        (with("fileId", json!("x")), "attachments[0].fileId"),
        (with("fileName", Value::Null), "attachments[0].fileName"),
        (with("size", json!(-1)), "attachments[0].size"),
        (with("fileType", json!("film")), "attachments[0].fileType"),
        (with("colour", json!("red")), "attachments[0].colour"),
        (with("mimeType", json!("text/plain")), "attachments[0].fileId"),
        (json!([]), ""),
    ] {
        for call in ["run-sync", "run-async"] {
            assert_eq!(
                fields(muster.us.post(&format!("{}/{call}", path(&id)), body.clone()).await),
                [at],
                "{call} {body}"
            );
        }
    }
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]));
}

async fn a_run_comes_with_files(muster: Muster) {
    let muster = muster.at_work();
    let id = text(&made(&muster.us, json!({"modelAlias": "openai/fake"})).await, "id");
    let body = json!({"name": "notes.txt", "media_type": "text/plain", "data": "aGVsbG8gZmlsZQ=="});
    let file = text(&muster.us.post("/v1/files", body).await.status(201), "id");
    for (file_id, older) in [(file.clone(), false), (file.replace("file_", ""), true)] {
        let mut attachment = json!({"fileId": file_id, "fileName": "notes.txt", "size": 10, "fileType": "document"});
        if older {
            attachment["mimeType"] = json!("text/plain");
            attachment["objectPath"] = json!("x/y");
        }
        let body = json!({"inputs": {}, "attachments": [attachment]});
        muster.us.post(&format!("{}/run-sync", path(&id)), body).await.ok();
        let asked = muster.models.last(Format::OpenAi).unwrap().body;
        assert!(asked["messages"][1].to_string().contains("hello file"), "{asked}");
    }
}

async fn the_same_run_is_on_every_surface(muster: Muster) {
    let id = agent(&muster.us).await;
    let run = run_async(&muster, &id, json!({"city": "Oslo"})).await;
    let cotera = muster.us.get("/api/v1/resource/chat/list").await.ok();
    assert_eq!(json!([cotera["result"][0]["id"], cotera["result"][0]["status"]]), json!([run, "queued"]));
    let native = muster.us.get("/v1/runs").await.ok();
    assert_eq!(native["data"][0]["id"], json!(format!("run_{run}")));
    muster.drain().await;
    let native = muster.us.get(&format!("/v1/runs/run_{run}")).await.ok();
    let result = muster.us.get(&format!("{}/result", run_path(&id, &run))).await.ok();
    assert_eq!(native["result"], result["finalAssistantMessage"]);
    // And the reverse.
    let chats =
        muster.us.post(&format!("/api/v1/resource/agent/{id}/chat/batch"), json!([{"message": "hello"}])).await.ok();
    let chat = text(&chats["result"][0], "chatId");
    muster.us.post("/api/chat/interrupt", json!({"chatId": chat})).await.status(200);
    let status = muster.us.get(&format!("{}/status", run_path(&id, &chat))).await.ok();
    assert_eq!(status["status"], "interrupted");
    let there = muster.us.run(&format!("agent_{id}"), "hello").await.replace("run_", "");
    assert_eq!(muster.us.get(&run_path(&id, &there)).await.ok(), json!({"isStreaming": true}));
}

async fn what_is_not_ours_is_not_found(muster: Muster) {
    let id = agent(&muster.us).await;
    let other = agent(&muster.us).await;
    let run = run_async(&muster, &id, json!({})).await;
    let unknown = "019a2b3c-4d5e-7f60-8123-456789abcdef";
    for rest in ["", "/status", "/result"] {
        let foreign = muster.them.get(&format!("{}{rest}", run_path(&id, &run))).await;
        for (agent, run) in [(id.as_str(), unknown), (&id, "x"), (unknown, &run), ("x", &run)] {
            let answer = muster.us.get(&format!("{}{rest}", run_path(agent, run))).await;
            assert_eq!((answer.code, &answer.text), (404, &foreign.text), "{agent} {run} {rest}");
        }
        muster.us.get(&format!("{}{rest}", run_path(&other, &run))).await.status(404);
        assert_eq!(foreign.body, json!({"error": "run not found"}));
    }
    for call in ["run-sync", "run-async"] {
        let foreign = muster.them.post(&format!("{}/{call}", path(&id)), json!({"inputs": {}})).await;
        assert_eq!(foreign.status(404), json!({"error": "agent not found"}));
    }
    for chat in [run.as_str(), unknown, "x"] {
        let foreign = muster.them.post("/api/chat/interrupt", json!({"chatId": chat})).await;
        assert_eq!(foreign.status(404), json!({"error": "chat not found"}));
    }
    assert_eq!(muster.us.get(&run_path(&id, &run)).await.ok(), json!({"isStreaming": true}));
}

async fn a_lesser_key_is_refused_with_what_it_lacks(muster: Muster) {
    let id = agent(&muster.us).await;
    let run = run_async(&muster, &id, json!({})).await;
    let lesser = muster.us.new_key(json!({"scopes": ["agents:write"]})).await;
    let body = json!({"inputs": {}});
    for (method, at, body, missing) in [
        ("POST", format!("{}/run-sync", path(&id)), &body, "agent.execute"),
        ("POST", format!("{}/run-async", path(&id)), &body, "agent.execute"),
        ("POST", "/api/chat/interrupt".to_owned(), &json!({"chatId": run}), "agent.execute"),
        ("GET", run_path(&id, &run), &Value::Null, "agent.read"),
        ("GET", format!("{}/status", run_path(&id, &run)), &Value::Null, "agent.read"),
        ("GET", format!("{}/result", run_path(&id, &run)), &Value::Null, "agent.read"),
    ] {
        let refused = lesser.send(method, &at, body.to_string()).await.status(403);
        assert_eq!(refused["missingPerms"], json!([missing]), "{method} {at}");
    }
    // Who may run an agent is told what came of that run.
    let muster = muster.at_work();
    let runner = muster.us.new_key(json!({"scopes": ["runs:write"]})).await;
    runner.post(&format!("{}/run-sync", path(&id)), body).await.ok();
}

async fn a_request_that_is_sent_again_starts_nothing_new(muster: Muster) {
    let id = agent(&muster.us).await;
    let once = muster.us.with("idempotency-key", "one");
    let at = format!("{}/run-async", path(&id));
    let first = once.post(&at, json!({"inputs": {}})).await.ok();
    let again = once.post(&at, json!({"inputs": {}})).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.ok(), first);
    once.post(&at, json!({"inputs": {"a": 1}})).await.status(422);
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"].as_array().unwrap().len(), 1);
}
