//! What is refused when an agent with a server is saved: nothing is stored then.

use serde_json::{Value, json};

use super::{
    entry,
    raw::{Raw, Reply},
    save,
    server::{Server, Speaks, tool},
};
use crate::harness::{Muster, on_every_backend};

on_every_backend!(
    entries_that_make_no_sense_are_refused_before_anybody_is_asked,
    tools_that_may_not_be_are_refused_with_their_place,
    servers_that_are_none_are_refused,
);

async fn nothing_is_stored(muster: &Muster) {
    assert_eq!(muster.us.get("/v1/agents").await.ok()["data"], json!([]));
}

async fn entries_that_make_no_sense_are_refused_before_anybody_is_asked(muster: Muster) {
    let server = Server::start(Speaks::New, &[tool("make", "Makes")]).await;
    let url = server.url();
    for (fields, field) in [
        (json!({"url": "http://127.0.0.2/"}), "tools[0].url"),
        (json!({"url": "https://10.0.0.1/mcp"}), "tools[0].url"),
        (json!({"url": "ftp://127.0.0.1/"}), "tools[0].url"),
        (json!({"name": "x".repeat(33)}), "tools[0].name"),
        (json!({"name": "no spaces"}), "tools[0].name"),
        (json!({"policy": "verify"}), "tools[0].policy"),
        (json!({"timeout_ms": 0}), "tools[0].timeout_ms"),
        (json!({"tools": []}), "tools[0].tools"),
        (json!({"tools": ["make", "make"]}), "tools[0].tools[1]"),
        (json!({"tools": [""]}), "tools[0].tools[0]"),
        (json!({"headers": {"Mcp-Session-Id": "x"}}), "tools[0].headers.Mcp-Session-Id"),
        (json!({"headers": {"accept": "x"}}), "tools[0].headers.accept"),
        (json!({"headers": {"host": "x"}}), "tools[0].headers.host"),
        (json!({"headers": {"x": "{{secret:no good}}"}}), "tools[0].headers.x"),
    ] {
        assert_eq!(save(&muster, vec![entry(&url, fields.clone())]).await.param(), field, "{fields}");
    }
    let many: Vec<Value> = (0..17).map(|n| entry(&url, json!({"name": format!("shop{n}")}))).collect();
    assert_eq!(save(&muster, many).await.param(), "tools");
    assert_eq!(save(&muster, vec![entry(&url, json!({"method": "GET"}))]).await.code, 400);
    assert_eq!(server.asked(), Vec::<String>::new());
    nothing_is_stored(&muster).await;
}

async fn tools_that_may_not_be_are_refused_with_their_place(muster: Muster) {
    let schema = |schema: Value| json!({"name": "make", "description": "", "inputSchema": schema});
    let large = schema(json!({"type": "object", "description": "x".repeat(65 * 1024)}));
    let loops = schema(json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}}));
    for bad in [tool("make", &"x".repeat(2_001)), large, loops, schema(json!({"type": "string"}))] {
        let server = Server::start(Speaks::New, &[tool("look", "Looks"), bad]).await;
        for (fields, field) in [(json!({"tools": ["look", "make"]}), "tools[0].tools[1]"), (json!({}), "tools[0].url")]
        {
            let refused = save(&muster, vec![entry(&server.url(), fields)]).await;
            assert_eq!(refused.body["error"]["param"], field, "{}", refused.text);
            assert!(refused.text.len() < 2_000 && refused.text.contains("'make'"), "{}", refused.text);
        }
    }
    let server = Server::start(Speaks::Old, &[tool("look", "Looks")]).await;
    let refused = save(&muster, vec![entry(&server.url(), json!({"tools": ["look", "mak\u{435}"]}))]).await;
    assert_eq!(refused.param(), "tools[0].tools[1]");
    server.has(&[]);
    assert_eq!(save(&muster, vec![entry(&server.url(), json!({}))]).await.param(), "tools[0].url");
    nothing_is_stored(&muster).await;
    let of = |count: usize, length: usize| {
        let tools: Vec<Value> = (0..count).map(|n| tool(&format!("t{n}"), &"x".repeat(length))).collect();
        move |method: &str, _: usize, _: &Value| {
            (method == "tools/list").then(|| Reply::Result(json!({ "tools": tools })))
        }
    };
    for (count, length, field) in [(129, 0, Some("tools")), (1_001, 0, Some("tools[0].url")), (128, 1_900, None)] {
        let server = Raw::start(of(count, length)).await;
        let saved = save(&muster, vec![entry(&server.url(), json!({}))]).await;
        assert_eq!(saved.code, if field.is_some() { 400 } else { 201 }, "{}", saved.text);
        assert_eq!(saved.body["error"]["param"].as_str(), field);
    }
}

async fn servers_that_are_none_are_refused(muster: Muster) {
    type Says = Box<dyn Fn(&str, usize, &Value) -> Option<Reply> + Send + Sync>;
    let all = |reply: Reply| -> Says { Box::new(move |_, _, _| Some(reply.clone())) };
    let lists =
        |reply: Reply| -> Says { Box::new(move |method, _, _| (method == "tools/list").then(|| reply.clone())) };
    let tools = json!({"tools": [tool("act", "Acts")]});
    let endless: Says = Box::new(|method, nth, _| {
        let page = json!({"tools": [tool(&format!("t{nth}"), "")], "nextCursor": "again"});
        (method == "tools/list").then(|| Reply::Result(page))
    });
    let pages: Says = Box::new(|method, nth, _| {
        let page = json!({"tools": [tool(&format!("t{nth}"), &"x".repeat(900 * 1024))], "nextCursor": "again"});
        (method == "tools/list").then(|| Reply::Result(page))
    });
    let large = Reply::Result(json!({"tools": [tool("act", &"x".repeat(2 * 1024 * 1024))]}));
    let many = Reply::Result(json!({"tools": [tool("act", "Acts")], "more": vec![0; 60_000]}));
    for (name, says, expected) in [
        ("a web page", all(Reply::Status(200, "<html>".to_owned())), "did not answer as an MCP server does"),
        ("nothing there", all(Reply::Status(404, "no".to_owned())), "answered HTTP 404"),
        ("no access", all(Reply::Status(401, "no".to_owned())), "answered HTTP 401"),
        ("broken", all(Reply::Status(500, "no".to_owned())), "answered HTTP 500"),
        ("a redirect", all(Reply::Status(307, String::new())), "answered HTTP 307"),
        ("hangs up", all(Reply::Cut), "gave no complete answer"),
        ("half an answer", lists(Reply::Half), "gave no complete answer"),
        ("wrong id", lists(Reply::Json(json!({"jsonrpc": "2.0", "id": 999, "result": tools}))), "did not answer as"),
        ("no id", lists(Reply::Json(json!({"jsonrpc": "2.0", "result": tools}))), "did not answer as"),
        ("no tools at all", lists(Reply::Result(json!({"things": []}))), "did not answer as"),
        (
            "an error",
            lists(Reply::Json(json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}}))),
            "as",
        ),
        ("too large", lists(large), "says more than is read of it"),
        ("too much in a session", pages, "says more than is read of it"),
        ("too many values", lists(many), "did not answer as"),
        ("pages for ever", endless, "lists more than"),
        (
            "other events",
            lists(Reply::Events(vec![json!({"jsonrpc": "2.0", "method": "x"})])),
            "gave no complete answer",
        ),
    ] {
        let server = Raw::start(says).await;
        let refused = save(&muster, vec![entry(&server.url(), json!({"timeout_ms": 2_000}))]).await.status(400);
        let message = refused["error"]["message"].as_str().unwrap();
        assert_eq!(refused["error"]["param"], "tools[0].url", "{name}");
        assert!(message.contains(expected), "{name}: {message}");
        assert!(server.asked("tools/call").is_empty());
    }
    let gone = Raw::start(|_, _, _| None).await.url();
    let refused = save(&muster, vec![entry(&gone, json!({}))]).await.status(400);
    assert!(refused["error"]["message"].as_str().unwrap().contains("could not be reached"), "{refused}");
    nothing_is_stored(&muster).await;
}
