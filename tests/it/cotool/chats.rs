//! Chats: lists of them, what was said in one, and what people think of it.

use serde_json::{Value, json};
use shared::store::row::Key;
use uuid::Uuid;

use super::{agent, agent_runs::run_key, fields, made, path};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    chats_are_listed_newest_first_and_counted,
    what_is_no_page_of_chats_is_refused_with_its_field,
    a_history_tells_everything_in_order_with_ids_that_stay,
    feedback_is_shown_with_its_event_and_the_last_one_wins,
    feedback_writes_no_row_of_a_run,
    what_is_no_feedback_is_refused_and_keeps_nothing,
    what_is_not_ours_is_not_found,
    a_lesser_key_is_refused_with_what_it_lacks,
);

const UNKNOWN: &str = "019a2b3c-4d5e-7f60-8123-456789abcdef";

async fn go_on(muster: &Muster, agent: &str, chat: &str, message: &str) -> String {
    let body = json!({"message": message, "chat_id": format!("run_{chat}")});
    let run = muster.us.post(&format!("/v1/agents/agent_{agent}/runs"), body).await.status(202);
    muster.drain().await;
    text(&run, "id").replace("run_", "")
}

async fn run(muster: &Muster, agent: &str, message: &str) -> String {
    let run = muster.us.run(&format!("agent_{agent}"), message).await;
    muster.drain().await;
    run.replace("run_", "")
}

/// An agent that may call another.
async fn boss(muster: &Muster, helped_by: &str) -> String {
    let helper = json!([{"type": "agent", "name": "helper", "agent_id": format!("agent_{helped_by}")}]);
    let boss = json!({"name": "boss", "model": "openai/fake", "tools": helper});
    text(&muster.us.post("/v1/agents", boss).await.status(201), "id").replace("agent_", "")
}

async fn history(muster: &Muster, chat: &str) -> Vec<Value> {
    let found = muster.us.get(&format!("/api/chat/history?chatId={chat}")).await.ok();
    assert_eq!(found["chat"]["id"], json!(chat));
    found["events"].as_array().unwrap().clone()
}

async fn chats_are_listed_newest_first_and_counted(muster: Muster) {
    let (one, other) = (agent(&muster.us).await, agent(&muster.us).await);
    let helped = boss(&muster, &one).await;
    let mut begun = Vec::new();
    for n in 0..7 {
        let agent = [&one, &other][n % 2];
        begun.push((run(&muster, agent, &format!("chat {n}")).await, agent.clone()));
        muster.pass(1_000);
    }
    // None of these begins a chat but the boss's own.
    let last = go_on(&muster, &one, &begun[2].0, "and now?").await;
    muster.pass(1_000);
    let call = format!("call helper {}\nsay done", json!({"message": "m"}));
    begun.push((run(&muster, &helped, &call).await, helped));
    begun.reverse();
    let mut seen = Vec::new();
    for offset in [0, 3, 6, 9] {
        let found = muster.us.get(&format!("/api/chats?limit=3&offset={offset}")).await.ok();
        assert_eq!(found["totalCount"], json!(begun.len()));
        seen.extend(found["chats"].as_array().unwrap().clone());
    }
    let shown: Vec<(String, String)> = seen.iter().map(|chat| (text(chat, "id"), text(chat, "agentId"))).collect();
    assert_eq!(shown, begun);
    let longer = seen.iter().find(|chat| chat["runCount"] == 2).unwrap();
    let expected = json!({
        "id": begun[5].0, "agentId": one, "agentName": "a", "title": "chat 2", "createdAt": longer["createdAt"],
        "updatedAt": longer["updatedAt"], "status": "done", "isStreaming": false, "triggerSource": "native", "runCount": 2,
    });
    assert_eq!(longer, &expected);
    let runs = muster.us.get("/api/agent-runs").await.ok();
    let last = runs["runs"].as_array().unwrap().iter().find(|run| run["id"] == json!(last)).unwrap().clone();
    assert_eq!(json!([last["updatedAt"], last["chatId"]]), json!([longer["updatedAt"], longer["id"]]));

    for (agent, count) in [(&one, 4), (&other, 3)] {
        let found = muster.us.get(&format!("{}/chats", path(agent))).await.ok();
        assert_eq!(found["totalCount"], json!(count));
        let expected: Vec<&String> = begun.iter().filter(|(_, of)| of == agent).map(|(id, _)| id).collect();
        let shown: Vec<String> = found["chats"].as_array().unwrap().iter().map(|chat| text(chat, "id")).collect();
        assert_eq!(shown.iter().collect::<Vec<_>>(), expected);
        let rest = muster.us.get(&format!("{}/chats?offset=1&limit=1", path(agent))).await.ok();
        assert_eq!((&rest["chats"][0]["id"], &rest["totalCount"]), (&json!(expected[1]), &json!(count)));
    }
    let since = text(&seen[2], "createdAt");
    let found = muster.us.get(&format!("/api/chats?limit=10&offset=0&dateFrom={since}")).await.ok();
    assert_eq!((found["chats"].as_array().unwrap().as_slice(), &found["totalCount"]), (&seen[..3], &json!(3)));
    // One that goes on is not done.
    let body = json!({"message": "once more", "chat_id": format!("run_{}", begun[5].0)});
    muster.us.post(&format!("/v1/agents/agent_{one}/runs"), body).await.status(202);
    let found = muster.us.get("/api/chats?limit=100&offset=0").await.ok();
    let longer = found["chats"].as_array().unwrap().iter().find(|chat| chat["runCount"] == 3).unwrap().clone();
    assert_eq!(json!([longer["status"], longer["isStreaming"]]), json!(["running", true]));
}

async fn what_is_no_page_of_chats_is_refused_with_its_field(muster: Muster) {
    let id = agent(&muster.us).await;
    for (query, expected) in [
        ("", &["limit", "offset"][..]),
        ("?limit=1", &["offset"]),
        ("?offset=0", &["limit"]),
        ("?limit=0&offset=0", &["limit"]),
        ("?limit=101&offset=0", &["limit"]),
        ("?limit=1&offset=-1", &["offset"]),
        ("?limit=1&offset=0&page=1", &["page"]),
        ("?limit=1&offset=0&dateFrom=x", &["dateFrom"]),
    ] {
        assert_eq!(fields(muster.us.get(&format!("/api/chats{query}")).await), expected, "{query}");
    }
    for (query, field) in [("limit=101", "limit"), ("offset=x", "offset"), ("page=1", "page")] {
        assert_eq!(fields(muster.us.get(&format!("{}/chats?{query}", path(&id))).await), [field], "{query}");
    }
    for call in ["history", "meta"] {
        assert_eq!(fields(muster.us.get(&format!("/api/chat/{call}")).await), ["chatId"]);
        assert_eq!(fields(muster.us.get(&format!("/api/chat/{call}?chatId=x&y=1")).await), ["y"]);
    }
}

async fn a_history_tells_everything_in_order_with_ids_that_stay(muster: Muster) {
    let helper = agent(&muster.us).await;
    let id = boss(&muster, &helper).await;
    let call = format!("call helper {}\ncall helper {}\nsay done", json!({"message": "m"}), json!({"message": "n"}));
    let chat = run(&muster, &id, &call).await;
    let next = go_on(&muster, &id, &chat, "say more").await;
    let events = history(&muster, &chat).await;
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "user-message",
        "tool-call",
        "tool-call",
        "tool-result",
        "tool-result",
        "assistant-message",
        "user-message",
        "assistant-message",
    ];
    assert_eq!(types, expected, "{events:?}");
    assert_eq!(events[0]["content"], json!(call));
    assert_eq!(events[7]["content"], json!("more"));
    assert_eq!(json!([events[5]["runId"], events[6]["runId"]]), json!([chat, next]));
    for (call, result, message) in [(1, 3, "m"), (2, 4, "n")] {
        assert_eq!(json!([events[call]["toolName"], events[call]["args"]]), json!(["helper", {"message": message}]));
        assert_eq!(events[call]["toolCallId"], events[result]["toolCallId"]);
        assert_eq!(events[result]["isError"], json!(false));
    }
    let ids: std::collections::BTreeSet<String> = events.iter().map(|event| text(event, "id")).collect();
    assert_eq!(ids.len(), events.len());
    assert!(events.iter().all(|event| event["createdAt"].is_string()));
    assert_eq!(history(&muster, &chat).await, events);
    // Those of a run that went on with a chat are the chat's.
    muster.us.get(&format!("/api/chat/history?chatId={next}")).await.status(404);
}

async fn feedback_is_shown_with_its_event_and_the_last_one_wins(muster: Muster) {
    let helper = agent(&muster.us).await;
    let id = boss(&muster, &helper).await;
    let chat = run(&muster, &id, &format!("call helper {}\nsay done", json!({"message": "m"}))).await;
    let next = go_on(&muster, &id, &chat, "say more").await;
    let meta = async || muster.us.get(&format!("/api/chat/meta?chatId={chat}")).await.ok();
    let empty = meta().await;
    assert_eq!(empty, json!({"chatId": chat, "title": empty["title"], "feedbackByEvent": {}}));
    assert!(text(&empty, "title").starts_with("call helper"));
    let events = history(&muster, &chat).await;
    let mut expected = json!({});
    for (n, event) in events.iter().enumerate() {
        let label = ["up", "down"][n % 2];
        let body = json!({
            "label": label, "chatEventId": event["id"], "comment": format!("event {n}"), "agentId": id,
        });
        let at = format!("/api/agent-runs/{}/feedback", text(event, "runId"));
        for _ in 0..2 {
            let given = muster.us.post(&at, body.clone()).await;
            assert_eq!((given.code, given.text.as_str()), (200, ""));
        }
        expected[text(event, "id")] = json!([body["label"], body["comment"], event["runId"]]);
    }
    for (run, label) in [(&chat, "up"), (&next, "down"), (&chat, "down")] {
        muster.us.post(&format!("/api/agent-runs/{run}/feedback"), json!({"label": label})).await.status(200);
    }
    expected[&chat] = json!(["down", null, chat]);
    expected[&next] = json!(["down", null, next]);
    let said = |meta: &Value| -> Value {
        let of = |feedback: &Value| json!([feedback["label"], feedback["comment"], feedback["runId"]]);
        let all = meta["feedbackByEvent"].as_object().unwrap();
        assert!(all.values().all(|feedback| feedback["createdAt"].is_string()));
        all.iter().map(|(id, feedback)| (id.clone(), of(feedback))).collect::<serde_json::Map<_, _>>().into()
    };
    assert_eq!(said(&meta().await), expected);
    // Many at the same moment: one of them wins, and none fails.
    let at = format!("/api/agent-runs/{chat}/feedback");
    let bodies: Vec<Value> = (0..6).map(|n| json!({"label": "up", "comment": n.to_string()})).collect();
    let given = futures_util::future::join_all(bodies.into_iter().map(|body| muster.us.post(&at, body))).await;
    assert!(given.iter().all(|answer| answer.code == 200), "{given:?}");
    let said = said(&meta().await);
    assert_eq!((said.as_object().unwrap().len(), &said[&chat][0]), (events.len() + 2, &json!("up")));
}

async fn feedback_writes_no_row_of_a_run(muster: Muster) {
    let id = agent(&muster.us).await;
    let run = muster.us.run(&format!("agent_{id}"), "hello").await.replace("run_", "");
    let key: Key = run_key(&muster, &run);
    let before = muster.app.store().backend().get(&key).await.unwrap();
    muster.us.post(&format!("/api/agent-runs/{run}/feedback"), json!({"label": "up"})).await.status(200);
    let event = text(&history(&muster, &run).await[0], "id");
    let body = json!({"label": "down", "chatEventId": event});
    muster.us.post(&format!("/api/agent-runs/{run}/feedback"), body).await.status(200);
    assert_eq!(muster.app.store().backend().get(&key).await.unwrap(), before);
    muster.drain().await;
    let messages = muster.us.get(&format!("/v1/runs/run_{run}/messages")).await.ok();
    assert_eq!(messages["data"].as_array().unwrap().len(), 2, "feedback is no message");
}

async fn what_is_no_feedback_is_refused_and_keeps_nothing(muster: Muster) {
    let id = agent(&muster.us).await;
    let run = run(&muster, &id, "hello").await;
    let at = format!("/api/agent-runs/{run}/feedback");
    for (body, field) in [
        (json!({}), "label"),
        (json!({"label": "meh"}), "label"),
        (json!({"label": 1}), "label"),
        (json!({"label": "up", "comment": "é".repeat(1_001)}), "comment"),
        (json!({"label": "up", "comment": 1}), "comment"),
        (json!({"label": "up", "colour": "red"}), "colour"),
    ] {
        assert_eq!(fields(muster.us.post(&at, body.clone()).await), [field], "{body}");
    }
    let meta = muster.us.get(&format!("/api/chat/meta?chatId={run}")).await.ok();
    assert_eq!(meta["feedbackByEvent"], json!({}));
    muster.us.post(&at, json!({"label": "up", "comment": "é".repeat(1_000)})).await.status(200);
    let meta = muster.us.get(&format!("/api/chat/meta?chatId={run}")).await.ok();
    assert_eq!(meta["feedbackByEvent"][&run]["comment"].as_str().unwrap().chars().count(), 1_000);
}

async fn what_is_not_ours_is_not_found(muster: Muster) {
    let (id, other) = (agent(&muster.us).await, agent(&muster.us).await);
    let run = run(&muster, &id, "hello").await;
    let elsewhere = self::run(&muster, &id, "hello").await;
    let event = text(&history(&muster, &elsewhere).await[0], "id");
    for call in ["history", "meta"] {
        let foreign = muster.them.get(&format!("/api/chat/{call}?chatId={run}")).await;
        assert_eq!(foreign.body, json!({"error": "chat not found"}));
        for chat in [UNKNOWN, "x", "", &format!("run_{run}"), "%00"] {
            let answer = muster.us.get(&format!("/api/chat/{call}?chatId={chat}")).await;
            assert_eq!((answer.code, &answer.text), (404, &foreign.text), "{call} {chat}");
        }
    }
    for agent in [id.as_str(), UNKNOWN, "x"] {
        let foreign = muster.them.get(&format!("{}/chats", path(agent))).await;
        assert_eq!(foreign.status(404), json!({"error": "agent not found"}));
    }
    assert_eq!(muster.them.get("/api/chats?limit=1&offset=0").await.ok(), json!({"chats": [], "totalCount": 0}));
    let at = |run: &str| format!("/api/agent-runs/{run}/feedback");
    let up = json!({"label": "up"});
    let foreign = muster.them.post(&at(&run), up.clone()).await;
    assert_eq!(foreign.body, json!({"error": "run not found"}));
    for unknown in [UNKNOWN, "x", &format!("run_{run}")] {
        let answer = muster.us.post(&at(unknown), up.clone()).await;
        assert_eq!((answer.code, &answer.text), (404, &foreign.text), "{unknown}");
    }
    for agent in [other.as_str(), UNKNOWN, "x"] {
        let answer = muster.us.post(&at(&run), json!({"label": "up", "agentId": agent})).await;
        assert_eq!((answer.code, &answer.text), (404, &foreign.text), "{agent}");
    }
    for event in [event.as_str(), &format!("{event}.1"), &Uuid::now_v7().to_string(), "", &run] {
        let answer = muster.us.post(&at(&run), json!({"label": "up", "chatEventId": event})).await;
        assert_eq!(answer.status(404), json!({"error": "event not found"}), "{event}");
    }
    let meta = muster.us.get(&format!("/api/chat/meta?chatId={run}")).await.ok();
    assert_eq!(meta["feedbackByEvent"], json!({}));
    let deleted = text(&made(&muster.us, json!({})).await, "id");
    assert_eq!(muster.us.get(&format!("{}/chats", path(&deleted))).await.ok()["totalCount"], json!(0));
    muster.us.delete(&format!("/v1/agents/agent_{deleted}")).await;
    muster.us.get(&format!("{}/chats", path(&deleted))).await.status(404);
}

async fn a_lesser_key_is_refused_with_what_it_lacks(muster: Muster) {
    let id = agent(&muster.us).await;
    let run = run(&muster, &id, "hello").await;
    let writer = muster.us.new_key(json!({"scopes": ["agents:write", "runs:write"]})).await;
    for at in [
        format!("{}/chats", path(&id)),
        "/api/chats?limit=1&offset=0".to_owned(),
        format!("/api/chat/history?chatId={run}"),
        format!("/api/chat/meta?chatId={run}"),
    ] {
        assert_eq!(writer.get(&at).await.status(403)["missingPerms"], json!(["agent.read"]), "{at}");
    }
    let reader = muster.us.new_key(json!({"scopes": ["agents:read", "runs:read"]})).await;
    let refused = reader.post(&format!("/api/agent-runs/{run}/feedback"), json!({"label": "up"})).await.status(403);
    assert_eq!(refused["missingPerms"], json!(["agent.execute"]));
    reader.get(&format!("/api/chat/meta?chatId={run}")).await.ok();
}
