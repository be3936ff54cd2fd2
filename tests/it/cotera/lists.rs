//! The messages of a chat and the chats of the workspace.

use serde_json::{Value, json};

use super::{agent, fields, start};
use crate::harness::{Muster, on_every_backend, redacted, text};

on_every_backend!(
    the_messages_of_a_chat_are_listed_in_order,
    the_chats_of_the_workspace_are_listed_newest_first,
    a_chat_that_was_gone_on_with_is_listed_once,
    chats_are_listed_by_agent_and_status,
);

const CHATS: &str = "/api/v1/resource/chat/list";

async fn the_messages_of_a_chat_are_listed_in_order(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let ids = start(&muster, &agent, &["hello"]).await;
    let path = format!("/api/v1/resource/chat/{}/list", ids[0]);
    let message =
        |role: &str, content: &Value| json!({"id": "<id>", "role": role, "content": content, "createdAt": "<time>"});
    let user = message("user", &json!("hello"));
    assert_eq!(muster.us.get(&path).await.shape(200), json!({"success": true, "result": [user]}));
    muster.drain().await;
    let whole = muster.us.get(&path).await.ok();
    let said = message("assistant", &whole["result"][1]["content"]);
    assert_eq!(redacted(&whole), json!({"success": true, "result": [user, said]}));
    assert_eq!(muster.us.get(&path).await.ok(), whole, "ids stay the same");
    let one = muster.us.get(&format!("{path}?limit=1")).await.ok();
    assert_eq!(one["result"], json!([whole["result"][0]]));
    let rest = muster.us.get(&format!("{path}?limit=1&after={}", text(&one["result"][0], "id"))).await.ok();
    assert_eq!(rest["result"], json!([whole["result"][1]]));
    let none = muster.us.get(&format!("{path}?after={}", text(&whole["result"][1], "id"))).await.ok();
    assert_eq!(none["result"], json!([]));
    for query in ["limit=0", "limit=1001", "limit=x", "after=x", "colour=red"] {
        let field = query.split('=').next().unwrap();
        assert_eq!(fields(muster.us.get(&format!("{path}?{query}")).await), [field], "{query}");
    }
}

async fn the_chats_of_the_workspace_are_listed_newest_first(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.insert(0, start(&muster, &agent, &[&format!("chat {number}")]).await.remove(0));
        muster.pass(2);
    }
    let all = muster.us.get(CHATS).await.ok();
    assert_eq!((&all["success"], all.get("nextPage")), (&json!(true), None));
    assert_eq!(
        redacted(&all["result"][0]),
        json!({
            "id": "<id>", "agentId": "<id>", "status": "queued", "title": "chat 4", "createdAt": "<time>",
            "updatedAt": "<time>",
        })
    );
    let of = |page: &Value| -> Vec<String> {
        page["result"].as_array().unwrap().iter().map(|chat| text(chat, "id")).collect()
    };
    assert_eq!(of(&all), ids);
    let (mut seen, mut page) = (Vec::new(), 0);
    loop {
        let found = muster.us.get(&format!("{CHATS}?perPage=2&page={page}")).await.ok();
        seen.extend(of(&found));
        match found.get("nextPage") {
            Some(next) => {
                assert_eq!(next, page + 1);
                page += 1;
            }
            None => break,
        }
    }
    assert_eq!((seen, page), (ids, 2));
    assert_eq!(muster.us.get(&format!("{CHATS}?page=9")).await.ok(), json!({"success": true, "result": []}));
    assert_eq!(muster.them.get(CHATS).await.ok()["result"], json!([]));
    for query in ["perPage=0", "perPage=101", "page=-1", "page=x", "agentId=1", "status=slow", "colour=red"] {
        let field = query.split('=').next().unwrap();
        assert_eq!(fields(muster.us.get(&format!("{CHATS}?{query}")).await), [field], "{query}");
    }
    for page in ["500", "18446744073709551615"] {
        assert_eq!(fields(muster.us.get(&format!("{CHATS}?page={page}")).await), ["page"]);
    }
}

async fn a_chat_that_was_gone_on_with_is_listed_once(muster: Muster) {
    let muster = muster.at_work();
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let first = super::chat(&muster, &agent, json!({"message": "first"})).await.ok();
    muster.pass(60_000);
    let again = json!({"message": "second", "chatId": first["chatId"]});
    super::chat(&muster, &agent, again).await.ok();
    let listed = muster.us.get(CHATS).await.ok();
    let chats = listed["result"].as_array().unwrap();
    assert_eq!((chats.len(), &chats[0]["id"], &chats[0]["title"]), (1, &first["id"], &json!("first")));
    assert!(text(&chats[0], "updatedAt") > text(&chats[0], "createdAt"));
    let runs = muster.us.get("/v1/runs").await.ok();
    let second = runs["data"].as_array().unwrap().iter().find(|run| run["id"] != run["chat_id"]).unwrap();
    let second = text(second, "id").replace("run_", "");
    assert_eq!(muster.us.get(&super::status_path(&second)).await.code, 404, "a chat has the id of its first run");
}

async fn chats_are_listed_by_agent_and_status(muster: Muster) {
    let (one, other) = (agent(&muster.us, "demo/scripted-l0").await, agent(&muster.us, "demo/scripted-l0").await);
    let done = start(&muster, &one, &["a"]).await;
    muster.drain().await;
    muster.pass(2);
    let queued = start(&muster, &other, &["b"]).await;
    for (query, expected) in [
        (format!("agentId={one}"), vec![&done[0]]),
        (format!("agentId={other}"), vec![&queued[0]]),
        ("status=done".to_owned(), vec![&done[0]]),
        ("status=queued".to_owned(), vec![&queued[0]]),
        (format!("status=done&agentId={other}"), vec![]),
        ("agentId=019a2b3c-4d5e-7f60-8123-456789abcdef".to_owned(), vec![]),
    ] {
        let found = muster.us.get(&format!("{CHATS}?{query}")).await.ok();
        let ids: Vec<String> = found["result"].as_array().unwrap().iter().map(|chat| text(chat, "id")).collect();
        assert_eq!(ids.iter().collect::<Vec<_>>(), expected, "{query}");
    }
}
