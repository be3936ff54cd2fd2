//! Tools of MCP servers: real ones of both protocols, and ones that do what no server should.

mod faults;
mod pins;
pub(crate) mod raw;
mod saving;
mod server;

use serde_json::{Value, json};

use self::server::{ALL, Called, Server, Speaks, tool};
use crate::harness::{Answer, Muster, on_every_backend, text};

on_every_backend!(
    a_tool_of_a_server_is_called_over_each_protocol,
    the_model_sees_what_was_pinned_and_nothing_else,
    arguments_that_do_not_satisfy_the_schema_are_not_sent,
    what_a_tool_answers_reaches_the_model_as_text,
    secrets_reach_the_server_and_nobody_else,
    a_server_belongs_to_its_organisation,
);

/// An entry of an agent's tools for that server, with these fields too.
fn entry(url: &str, others: Value) -> Value {
    let mut entry = json!({"type": "mcp", "name": "shop", "url": url});
    for (name, value) in others.as_object().unwrap() {
        entry[name] = value.clone();
    }
    entry
}

/// Saves an agent with these tools, which calls what its message says.
async fn save(muster: &Muster, tools: Vec<Value>) -> Answer {
    muster.us.post("/v1/agents", json!({"name": "actor", "model": "demo/scripted-l0", "tools": tools})).await
}

async fn agent(muster: &Muster, tools: Vec<Value>) -> String {
    text(&save(muster, tools).await.status(201), "id")
}

/// A run that calls `shop__<tool>` for a city, worked on until nothing is left to do.
async fn run(muster: &Muster, agent: &str, tool: &str) -> String {
    let id = muster.us.run(agent, &format!("call shop__{tool} {{\"city\": \"Oslo\"}}")).await;
    Box::pin(muster.drain()).await;
    format!("/v1/runs/{id}")
}

/// The first answer of a tool in that run: how it ended, and what the model was given.
async fn answered(muster: &Muster, run: &str) -> (String, String) {
    let messages = muster.us.get(&format!("{run}/messages")).await.ok();
    let messages = messages["data"].as_array().unwrap();
    let answer = messages.iter().find(|message| message["role"] == "tool").unwrap_or_else(|| panic!("{messages:?}"));
    (text(answer, "outcome"), text(answer, "content"))
}

fn done(outcome: &str, content: &str) -> (String, String) {
    (outcome.to_owned(), content.to_owned())
}

async fn a_tool_of_a_server_is_called_over_each_protocol(muster: Muster) {
    for speaks in ALL {
        let server = Server::start(speaks, &[tool("look", "Looks"), tool("make", "Makes")]).await;
        let agent = agent(&muster, vec![entry(&server.url(), json!({}))]).await;
        let asked = server.asked();
        let path = run(&muster, &agent, "make").await;
        let ended = muster.us.get(&path).await.ok();
        assert_eq!((&ended["status"], &ended["reason"]), (&json!("done"), &Value::Null), "{speaks:?} {ended}");
        assert_eq!(answered(&muster, &path).await, done("answered", "done"), "{speaks:?}");
        let key = Some(format!("{}/2", text(&ended, "id")));
        assert_eq!(server.calls(), [Called { tool: "make".to_owned(), arguments: json!({"city": "Oslo"}), key }]);
        let (opens, closes): (&[&str], &[&str]) = match speaks {
            Speaks::New => (&["server/discover"], &[]),
            Speaks::OldJson => (&["server/discover", "initialize", "notifications/initialized"], &[]),
            Speaks::Old | Speaks::OldThatSaysSo => {
                (&["server/discover", "initialize", "notifications/initialized"], &["DELETE"])
            }
        };
        let pages = ["tools/list", "tools/list"];
        assert_eq!(
            asked.iter().take(opens.len() + 2).collect::<Vec<_>>(),
            [opens, &pages].concat().iter().collect::<Vec<_>>()
        );
        if !closes.is_empty() {
            server.was_asked("DELETE").await;
        }
        let asked: Vec<String> = server.asked().into_iter().skip_while(|method| method == "DELETE").collect();
        assert_eq!(asked, [opens, &pages, &["tools/call"], closes].concat(), "{speaks:?}");
    }
}

async fn the_model_sees_what_was_pinned_and_nothing_else(muster: Muster) {
    let server =
        Server::start(Speaks::New, &[tool("look", "Looks"), tool("make.one", "Makes one"), tool("zap", "")]).await;
    let tools = vec![entry(&server.url(), json!({"tools": ["zap", "make.one"], "approval": "always"}))];
    let body = json!({"name": "actor", "model": "openai/fake-t1", "tools": tools});
    let saved = muster.us.post("/v1/agents", body).await.status(201);
    let pinned = saved["tools"][0]["pinned"].as_array().unwrap();
    let names: Vec<&str> = pinned.iter().map(|pin| pin["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[1].starts_with("shop__make_one_")), ("shop__zap", true), "{names:?}");
    assert!(pinned.iter().all(|pin| text(pin, "sha256").len() == 64 && pin["policy"] == "once"), "{pinned:?}");
    muster.us.run(&text(&saved, "id"), "do it").await;
    muster.drain().await;
    let sent = muster.models.last(model_server::Format::OpenAi).unwrap().body;
    let offered: Vec<&Value> = sent["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]).collect();
    let offer = |index: usize| (&offered[index]["name"], &offered[index]["description"], &offered[index]["parameters"]);
    let schema = &tool("", "")["inputSchema"];
    assert_eq!(offered.len(), 2);
    assert_eq!(offer(0), (&json!("shop__zap"), &json!(""), schema));
    assert_eq!(offer(1), (&json!(names[1]), &json!("Makes one"), schema));
}

async fn arguments_that_do_not_satisfy_the_schema_are_not_sent(muster: Muster) {
    let server = Server::start(Speaks::New, &[tool("make", "Makes")]).await;
    let agent = agent(&muster, vec![entry(&server.url(), json!({}))]).await;
    server.asked();
    let id = muster.us.run(&agent, "call shop__make {\"city\": 7}").await;
    muster.drain().await;
    assert_eq!(answered(&muster, &format!("/v1/runs/{id}")).await.0, "refused");
    assert_eq!(server.asked(), Vec::<String>::new());
}

async fn what_a_tool_answers_reaches_the_model_as_text(muster: Muster) {
    let server = Server::start(Speaks::Old, &[tool("make", "Makes")]).await;
    let agent = agent(&muster, vec![entry(&server.url(), json!({}))]).await;
    let image = json!({"type": "image", "mimeType": "image/png", "data": "AAAA"});
    for (result, expected) in [
        (
            json!({"content": [{"type": "text", "text": "one"}, image], "structuredContent": {"a": 1}}),
            done("answered", "one\n[image/png, 3 bytes]\n{\"a\":1}"),
        ),
        (json!({"content": [{"type": "text", "text": "no stock"}], "isError": true}), done("failed", "no stock")),
    ] {
        server.answers(result);
        let path = run(&muster, &agent, "make").await;
        assert_eq!(answered(&muster, &path).await, expected);
    }
    assert_eq!(server.calls().len(), 2);
}

async fn secrets_reach_the_server_and_nobody_else(muster: Muster) {
    let canary = "canary-of-a-server";
    let echo = |method: &str, _: usize, message: &Value| {
        let said = message["authorization"].as_str().unwrap_or("nothing");
        match method {
            "tools/list" => {
                let mut tool = tool("act", &format!("Send {said}"));
                tool["inputSchema"]["title"] = json!(said);
                Some(raw::Reply::Result(json!({"tools": [tool]})))
            }
            "tools/call" => {
                let content = json!([{"type": "text", "text": said}]);
                Some(raw::Reply::Result(json!({"content": content, "structuredContent": {said: said}})))
            }
            _ => None,
        }
    };
    let server = raw::Raw::start(echo).await;
    let put = muster.us.send("PUT", "/v1/secrets/KEY", json!({ "value": canary }).to_string()).await;
    assert_eq!(put.code, 200, "{}", put.text);
    let headers = json!({"headers": {"Authorization": "Bearer {{secret:KEY}}"}});
    let saved = save(&muster, vec![entry(&server.url(), headers)]).await;
    assert!(!saved.text.contains(canary), "{}", saved.text);
    let agent = text(&saved.status(201), "id");
    let path = run(&muster, &agent, "act").await;
    let expected = "Bearer [secret]\n{\"Bearer [secret]\":\"Bearer [secret]\"}";
    assert_eq!(answered(&muster, &path).await, done("answered", expected));
    let sent = server.asked("tools/call");
    assert_eq!(sent[0]["authorization"], format!("Bearer {canary}"));
    for path in [format!("{path}/messages"), format!("{path}/explain"), format!("/v1/agents/{agent}")] {
        assert!(!muster.us.get(&path).await.text.contains(canary), "{path}");
    }
    // Without its secret it is not called, and cannot be saved.
    muster.us.delete("/v1/secrets/KEY").await;
    let path = run(&muster, &agent, "act").await;
    let missing = "there is no secret named 'KEY'";
    assert_eq!(answered(&muster, &path).await, done("failed", missing));
    assert_eq!(server.asked("tools/call").len(), 1);
    let headers = json!({"headers": {"Authorization": "Bearer {{secret:KEY}}"}});
    let refused = save(&muster, vec![entry(&server.url(), headers)]).await.status(400);
    assert!(refused["error"]["message"].as_str().unwrap().contains(missing), "{refused}");
}

async fn a_server_belongs_to_its_organisation(muster: Muster) {
    let server = Server::start(Speaks::New, &[tool("make", "Makes")]).await;
    muster.us.send("PUT", "/v1/secrets/KEY", r#"{"value":"ours alone"}"#).await;
    let headers = json!({"headers": {"Authorization": "{{secret:KEY}}"}, "approval": "always"});
    let tools = vec![entry(&server.url(), headers)];
    let agent = agent(&muster, tools.clone()).await;
    assert!(server.header("authorization").iter().all(|sent| sent.as_deref() == Some("ours alone")));
    let path = run(&muster, &agent, "make").await;
    server.asked();
    let approval = muster.us.get(&format!("{path}/approvals")).await.ok()["data"][0]["id"].clone();
    let approve = json!({"approval_id": approval, "decision": "approve"});
    assert_eq!(muster.them.get(&format!("/v1/agents/{agent}")).await.code, 404);
    assert_eq!(muster.them.get(&format!("{path}/approvals")).await.code, 404);
    assert_eq!(muster.them.post(&format!("{path}/approvals"), approve).await.code, 404);
    let start = json!({"message": "call shop__make {\"city\": \"Oslo\"}"});
    assert_eq!(muster.them.post(&format!("/v1/agents/{agent}/runs"), start).await.code, 404);
    // The same entry finds no secret of ours in another organisation.
    let theirs = json!({"name": "actor", "model": "demo/scripted-l0", "tools": tools});
    assert_eq!(muster.them.post("/v1/agents", theirs).await.param(), "tools[0].url");
    muster.drain().await;
    assert_eq!((server.asked(), server.calls()), (vec![], vec![]));
}
