//! Logs of sessions: written, read, filtered, listed; and what runs tell of themselves beside them.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    what_is_written_down_is_read_in_order_of_time,
    the_same_entries_again_are_recorded_once,
    writers_of_one_session_lose_nothing,
    a_bad_entry_is_named_and_nothing_is_recorded,
    the_older_shape_is_kept_too,
    a_chat_tells_of_itself_beside_what_was_written,
    a_tool_call_and_an_error_are_told,
    sessions_and_chats_are_listed_newest_first,
    what_is_chosen_is_answered_as_a_list,
    what_is_too_much_to_be_read_at_once_is_read_in_parts,
    logs_have_a_limit_of_their_own,
    calls_of_this_surface_are_counted_apart_from_others,
    another_organisations_session_is_empty,
);

const LOGS: &str = "/api/v1/logs";

fn entry(session: &str, number: u64, timestamp: u64) -> Value {
    json!({
        "version": "2.0.0", "session_id": session, "prompt_number": 1, "turn_number": number, "event_id": format!("e{number}"),
        "event_type": "user_input", "timestamp": timestamp, "prompt": format!("number {number}"), "of_my_own": {"a": [1, null]},
    })
}

async fn read(muster: &Muster, session: &str) -> Vec<Value> {
    muster.us.get(&format!("{LOGS}/{session}")).await.ok().as_array().unwrap().clone()
}

fn kinds(entries: &[Value]) -> Vec<String> {
    entries.iter().map(|entry| text(entry, "event_type")).collect()
}

async fn what_is_written_down_is_read_in_order_of_time(muster: Muster) {
    let (one, two, three) = (entry("s/1", 1, 1_000), entry("s/1", 2, 2_000), entry("s/1", 3, 3_000));
    let answer = muster.us.post(LOGS, three.clone()).await.ok();
    assert_eq!(answer, json!({"success": true, "message": "1 recorded"}));
    muster.us.post(LOGS, json!([two, entry("other", 9, 5), one])).await.ok();
    assert_eq!(read(&muster, "s%2F1").await, [one, two.clone(), three]);
    let part = muster.us.get(&format!("{LOGS}/s%2F1?offset=1&limit=1")).await.ok();
    assert_eq!(part, json!([two]));
    assert_eq!(read(&muster, "unknown").await, Vec::<Value>::new());
    for (query, expected) in [("from=2000", 1..3), ("to=2000", 0..2), ("from=1001&to=2999", 1..2), ("from=3001", 0..0)]
    {
        let all = json!([entry("s/1", 1, 1_000), entry("s/1", 2, 2_000), entry("s/1", 3, 3_000)]);
        let found = muster.us.get(&format!("{LOGS}/s%2F1?{query}")).await.ok();
        assert_eq!(found.as_array().unwrap()[..], all.as_array().unwrap()[expected.clone()], "{query}");
        let filtered = muster.us.get(&format!("/api/v1/filter_logs/s%2F1?pre=all&{query}")).await.ok();
        assert_eq!(filtered, found);
    }
    for query in ["limit=0", "limit=x", "offset=-1", "colour=red", "from=x"] {
        let refused = muster.us.get(&format!("{LOGS}/s?{query}")).await.status(400);
        assert_eq!(refused["error"]["details"]["field"], query.split('=').next().unwrap(), "{query}");
    }
}

async fn the_same_entries_again_are_recorded_once(muster: Muster) {
    let entries = json!((0..250).map(|number| entry("s", number, 1_000 + number)).collect::<Vec<_>>());
    for _ in 0..3 {
        muster.us.post(LOGS, entries.clone()).await.ok();
    }
    assert_eq!(json!(read(&muster, "s").await), entries);
    let listed = muster.us.get("/api/v1/runs?summarize=1").await.ok();
    let expected = json!([{"run_id": "s", "log_count": 250, "start_timestamp": 1_000, "end_timestamp": 1_249}]);
    assert_eq!(listed, expected);
}

async fn writers_of_one_session_lose_nothing(muster: Muster) {
    let writers = (0..8_u64).map(|writer| {
        let us = muster.us.clone();
        tokio::spawn(async move {
            for number in 0..5 {
                let number = writer * 100 + number;
                us.post(LOGS, entry("s", number, number)).await.ok();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(read(&muster, "s").await.len(), 40);
    assert_eq!(muster.us.get("/api/v1/runs?summarize=1").await.ok()[0]["log_count"], 40);
}

async fn a_bad_entry_is_named_and_nothing_is_recorded(muster: Muster) {
    let with = |field: &str, value: Value| {
        let mut bad = entry("s", 1, 1);
        bad[field] = value;
        bad
    };
    for (field, value) in [
        ("session_id", json!("")),
        ("session_id", json!("x".repeat(513))),
        ("version", json!(2)),
        ("prompt_number", json!(-1)),
        ("turn_number", json!("1")),
        ("event_id", Value::Null),
        ("event_type", json!("party")),
        ("timestamp", json!("2026-01-01T00:00:00Z")),
        ("timestamp", json!(-1)),
        ("timestamp", json!(u64::MAX)),
        ("timestamp", json!(1.5)),
    ] {
        let refused = muster.us.post(LOGS, json!([entry("s", 0, 0), with(field, value.clone())])).await.status(400);
        assert_eq!(refused["success"], false);
        assert!(text(&refused, "message").starts_with(&format!("[1].{field}: ")), "{refused}");
        let alone = muster.us.post(LOGS, with(field, value)).await.status(400);
        assert!(text(&alone, "message").contains(field), "{alone}");
    }
    let mut missing = entry("s", 1, 1);
    missing.as_object_mut().unwrap().remove("event_id");
    assert_eq!(text(&muster.us.post(LOGS, missing).await.status(400), "message"), "event_id: is required");
    let odd = muster.us.with("idempotency-key", "\u{e9}").post(LOGS, entry("s", 1, 1)).await.status(400);
    assert_eq!(odd["success"], false);
    for body in ["", "{", "[]", "5", "[5]", "null"] {
        assert_eq!(muster.us.send("POST", LOGS, body).await.status(400)["success"], false, "{body}");
    }
    let many = json!((0..1_001).map(|number| entry("s", number, number)).collect::<Vec<_>>());
    assert!(text(&muster.us.post(LOGS, many).await.status(400), "message").contains("1000"));
    assert_eq!(muster.us.get("/api/v1/runs").await.ok(), json!([]));
}

async fn the_older_shape_is_kept_too(muster: Muster) {
    let start = json!({"log_type": "run_start", "prompt": "hi", "run_id": "old", "timestamp": 1_000, "meta": {}});
    let end = json!({"log_type": "run_end", "response": "yes", "elapsed_msec": "5", "run_id": "old",
        "timestamp": "1970-01-01T00:00:02Z", "meta": {}});
    muster.us.post(LOGS, end.clone()).await.ok();
    muster.us.post(LOGS, start.clone()).await.ok();
    assert_eq!(read(&muster, "old").await, [start.clone(), end]);
    let found = muster.us.get("/api/v1/filter_logs/old?pre=log_type_start").await.ok();
    assert_eq!(found, json!([start]));
}

async fn a_chat_tells_of_itself_beside_what_was_written(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let run = muster.us.run(&agent, "hello").await;
    let chat = run.strip_prefix("run_").unwrap().to_owned();
    assert_eq!(kinds(&read(&muster, &chat).await), ["session_start", "user_input"]);
    muster.drain().await;
    muster.pass(10);
    let next = muster.us.post(&format!("/v1/agents/{agent}/runs"), json!({"message": "and?", "chat_id": run})).await;
    next.status(202);
    muster.drain().await;
    let told = read(&muster, &chat).await;
    let one = ["session_start", "user_input", "llm_call", "llm_response", "session_end"];
    assert_eq!(kinds(&told), [&one[..], &one[1..]].concat());
    for entry in &told {
        assert_eq!((&entry["session_id"], &entry["version"]), (&json!(chat), &json!("2.0.0")), "{entry}");
        assert!(entry["timestamp"].is_u64() && entry["turn_number"].is_u64() && entry["event_id"].is_string());
        assert_eq!(entry["meta"]["agent_name"], "tester");
    }
    let numbers: Vec<u64> = told.iter().map(|entry| entry["prompt_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 1, 1, 1, 1, 2, 2, 2, 2]);
    let ids: std::collections::BTreeSet<String> = told.iter().map(|entry| text(entry, "event_id")).collect();
    assert_eq!(ids.len(), told.len());
    assert_eq!(told[1]["prompt"], "hello");
    let tokens = muster.us.get(&format!("/api/v1/filter_logs/{chat}?pre=lmmcall_tokens")).await.ok();
    assert!(tokens[0]["input_tokens"].as_u64().unwrap() > 0 && tokens.as_array().unwrap().len() == 2, "{tokens}");

    // What a client writes about the chat stands beside it; the same is told under the native surface's name for it.
    let now = told[0]["timestamp"].as_u64().unwrap();
    muster.us.post(LOGS, entry(&chat, 1, now.saturating_sub(1))).await.ok();
    assert_eq!(kinds(&read(&muster, &chat).await)[..2], ["user_input", "session_start"]);
    assert_eq!(read(&muster, &run).await, told);
    assert_eq!(muster.us.get("/api/v1/runs?summarize=1").await.ok()[0]["log_count"], told.len() + 1);
}

async fn a_tool_call_and_an_error_are_told(muster: Muster) {
    let us = &muster.us;
    let tool = json!({"type": "http", "name": "look", "description": "", "method": "GET", "url": "https://example.com/",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}});
    let body = json!({"name": "a", "model": "openai/fake", "tools": [tool]});
    let agent = text(&us.post("/v1/agents", body).await.status(201), "id");
    let run = us.run(&agent, "call look {\"n\": \"no number\"}\nsay done").await;
    muster.drain().await;
    let told = read(&muster, &run).await;
    let expected = [
        "session_start",
        "user_input",
        "llm_call",
        "llm_response",
        "tool_call",
        "tool_response",
        "llm_call",
        "llm_response",
        "session_end",
    ];
    assert_eq!(kinds(&told), expected);
    assert_eq!(told[4]["tool_call"], json!({"tool_name": "look", "parameters": {"n": "no number"}}));
    assert_eq!(
        (&told[5]["tool_response"]["success"], &told[5]["tool_response"]["error_message"]),
        (&json!(false), &json!("refused"))
    );

    let run = us.run(&agent, "anything").await;
    us.post(&format!("/v1/runs/{run}/cancel"), json!({})).await.ok();
    let told = read(&muster, &run).await;
    assert_eq!(kinds(&told)[2..], ["error", "session_end"]);
    assert!(text(&told[2]["error_info"], "error_type").len() > 3);
}

async fn sessions_and_chats_are_listed_newest_first(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let mut expected = Vec::new();
    for number in 0..4 {
        let run = muster.us.run(&agent, "hello").await;
        muster.pass(2);
        muster.us.post(LOGS, entry(&format!("s{number}"), 0, 7)).await.ok();
        muster.pass(2);
        expected.insert(0, run.strip_prefix("run_").unwrap().to_owned());
        expected.insert(0, format!("s{number}"));
    }
    assert_eq!(muster.us.get("/api/v1/runs").await.ok(), json!(expected));
    assert_eq!(muster.us.get("/api/v1/runs?limit=3&summarize=0").await.ok(), json!(expected[..3]));
    assert_eq!(muster.us.get("/api/v1/runs?limit=3&offset=4").await.ok(), json!(expected[4..7]));
    muster.us.get("/api/v1/runs?offset=999&limit=2").await.status(400);
    let summaries = muster.us.get("/api/v1/runs?summarize=1&limit=2").await.ok();
    assert_eq!(summaries[0], json!({"run_id": "s3", "log_count": 1, "start_timestamp": 7, "end_timestamp": 7}));
    let chat = read(&muster, &expected[1]).await;
    let times = (&chat[0]["timestamp"], &chat[chat.len() - 1]["timestamp"]);
    let summary = &summaries[1];
    assert_eq!((&summary["start_timestamp"], &summary["end_timestamp"]), times);
    assert_eq!((&summary["run_id"], &summary["log_count"]), (&json!(expected[1]), &json!(chat.len())));
    for query in ["limit=0", "limit=1001", "summarize=2", "summarize=yes", "summarize=1&limit=101"] {
        muster.us.get(&format!("/api/v1/runs?{query}")).await.status(400);
    }
}

async fn what_is_chosen_is_answered_as_a_list(muster: Muster) {
    muster.us.post(LOGS, json!([entry("s", 1, 1), entry("s", 2, 2)])).await.ok();
    let chosen = async |pre: &str| {
        let pre =
            pre.replace('%', "%25").replace('&', "%26").replace('[', "%5B").replace(']', "%5D").replace('`', "%60");
        muster.us.get(&format!("/api/v1/filter_logs/s?pre={}", pre.replace(' ', "%20"))).await
    };
    assert_eq!(chosen("[?turn_number==`2`].prompt").await.ok(), json!(["number 2"]));
    assert_eq!(chosen("length(@)").await.ok(), json!([2]));
    assert_eq!(chosen("all").await.ok().as_array().unwrap().len(), 2);
    assert_eq!(chosen("nobody").await.ok(), json!([]));
    for pre in ["[?", "[@,@,@,@,@,@,@,@,@,@,@][]|[@,@,@,@,@,@,@,@,@,@]"] {
        assert_eq!(chosen(pre).await.status(400)["error"]["details"]["field"], "pre", "{pre}");
    }
    muster.us.get("/api/v1/filter_logs/s").await.status(400);
}

async fn what_is_too_much_to_be_read_at_once_is_read_in_parts(muster: Muster) {
    for number in 0..6_u64 {
        let mut large = entry("s", number, number);
        large["prompt"] = json!("x".repeat(3 * 1024 * 1024));
        muster.us.post(LOGS, large).await.ok();
    }
    let refused = muster.us.get(&format!("{LOGS}/s?limit=1")).await.status(400);
    assert_eq!(refused["error"]["details"]["field"], "from");
    let one = muster.us.get(&format!("{LOGS}/s?from=5")).await.ok();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["turn_number"]), (1, &json!(5)));
    let refused = muster.us.get(&format!("{LOGS}/s?from=4")).await.status(400);
    assert_eq!(refused["error"]["details"]["field"], "limit");
    assert_eq!(muster.us.get("/api/v1/filter_logs/s?from=1&pre=length(@)").await.ok(), json!([5]));
    let grows = muster.us.get("/api/v1/filter_logs/s?from=1&pre=length(to_string(%5B@,@,@%5D))").await.status(400);
    assert_eq!(grows["error"]["details"]["field"], "pre");
    assert_eq!(muster.us.get("/api/v1/runs?summarize=1").await.ok()[0]["log_count"], 6);
}

async fn logs_have_a_limit_of_their_own(muster: Muster) {
    let us = muster.us.new_key(json!({"requests_per_minute": 5})).await;
    us.get("/api/v1/runs").await.ok();
    us.get("/api/v1/runs").await.status(429);
    for number in 0..50 {
        us.post(LOGS, entry("s", number, number)).await.ok();
    }
}

async fn calls_of_this_surface_are_counted_apart_from_others(muster: Muster) {
    let us = muster.us.new_key(json!({"name": "with the surfaces' own limits"})).await;
    let (mut taken, begun) = (0, Instant::now());
    while us.get("/api/v1/runs").await.code == 200 {
        taken += 1;
    }
    // A fifth of 100 at once, and 100 a minute.
    let most = 20 + begun.elapsed().as_millis() * 100 / 60_000 + 1;
    assert!((20..=most).contains(&taken), "{taken} of {most}");
    for _ in 0..50 {
        us.get("/v1/limits").await.ok();
    }
}

async fn another_organisations_session_is_empty(muster: Muster) {
    muster.us.post(LOGS, entry("s", 1, 1)).await.ok();
    let run = muster.us.run(&muster.us.agent("demo/scripted-l0").await, "hello").await;
    for session in ["s", &run] {
        assert_eq!(muster.them.get(&format!("{LOGS}/{session}")).await.ok(), json!([]));
        assert_eq!(muster.them.get(&format!("/api/v1/filter_logs/{session}?pre=all")).await.ok(), json!([]));
    }
    assert_eq!(muster.them.get("/api/v1/runs").await.ok(), json!([]));
    let reader = muster.us.new_key(json!({"scopes": ["runs:read"]})).await;
    assert_eq!(reader.post(LOGS, entry("s", 2, 2)).await.status(403)["error"]["code"], "FORBIDDEN");
    muster.us.nobody().post(LOGS, entry("s", 2, 2)).await.status(401);
    let writer = muster.us.new_key(json!({"scopes": ["runs:write"]})).await;
    writer.get(&format!("{LOGS}/s")).await.status(403);
}
