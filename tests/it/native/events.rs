//! Events of runs: as JSON and as streams, whoever looks and whenever, the same numbers for the same things.

use std::time::Duration;

use model_server::Tools;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Muster, on_every_backend, text},
    reaper::LEASE_AND_MORE_MS,
};

on_every_backend!(
    a_run_tells_what_happened_in_order,
    a_streamed_run_tells_its_answer_piece_by_piece,
    a_stream_that_broke_goes_on_where_it_was,
    a_stream_follows_a_run_that_others_work_on,
    tools_and_people_are_told_of,
    a_run_that_ends_badly_says_so_last,
    the_same_key_streams_the_same_run,
    a_later_holder_goes_on_with_the_numbers,
    what_makes_no_stream_is_refused,
);

/// The events of a stream that was read to its end, as their data; each says the same in its own lines.
fn told(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.code, answer.header("content-type")), (200, "text/event-stream"), "{}", answer.text);
    let mut events = Vec::new();
    for block in answer.text.split("\n\n").filter(|block| block.starts_with("id: ")) {
        let lines: Vec<&str> = block.lines().collect();
        let [id, event, data] = lines[..] else { panic!("{block}") };
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(id, format!("id: {}", data["seq"]));
        assert_eq!(event.strip_prefix("event: "), data["type"].as_str());
        events.push(data);
    }
    events
}

/// All events of a run, in pages of two.
pub(super) async fn pages(muster: &Muster, run: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut after = json!(0);
    loop {
        let page = muster.us.get(&format!("/v1/runs/{run}/events?limit=2&after={after}")).await.ok();
        events.extend(page["data"].as_array().unwrap().clone());
        after = page["next_after"].clone();
        if page["has_more"] == false {
            return events;
        }
    }
}

async fn stream(muster: &Muster, run: &str, last: usize) -> Answer {
    let us = muster.us.with("accept", "text/event-stream").with("last-event-id", &last.to_string());
    us.get(&format!("/v1/runs/{run}/events")).await
}

pub(super) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// From 1 on, without a gap, and the last one alone tells of an end.
pub(super) fn whole(events: &[Value]) {
    for (event, expected) in events.iter().zip(1..) {
        assert_eq!(event["seq"], expected, "{events:?}");
    }
    let end = |event: &&Value| ["run.done", "run.error", "run.interrupted"].contains(&event["type"].as_str().unwrap());
    assert_eq!(events.iter().filter(end).count(), 1, "{events:?}");
    assert!(end(&events.last().unwrap()), "{events:?}");
}

async fn a_run_tells_what_happened_in_order(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let run = muster.us.run(&agent, "hello").await;
    assert_eq!(types(&pages(&muster, &run).await), ["run.created"]);
    muster.drain().await;
    let events = pages(&muster, &run).await;
    whole(&events);
    assert_eq!(types(&events), ["run.created", "run.started", "message.completed", "usage.updated", "run.done"]);
    let ended = muster.us.get(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!(events[0]["agent_id"], agent.as_str());
    assert_eq!(events[2]["message"]["content"], ended["result"]);
    assert_eq!(events[3]["usage"], ended["usage"]);
    assert_eq!((&events[4]["result"], &events[4]["cost_micro_usd"]), (&ended["result"], &ended["cost_micro_usd"]));
    assert!(events.iter().all(|event| event["run_id"] == run.as_str() && event["at"].is_string()));
    assert_eq!(told(&stream(&muster, &run, 0).await), events);
}

async fn a_streamed_run_tells_its_answer_piece_by_piece(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l400").await;
    let answer = muster.us.post(&format!("/v1/agents/{agent}/runs/stream"), json!({"message": "a\nb"})).await;
    let events = told(&answer);
    whole(&events);
    let pieces: Vec<&str> = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert!(pieces.len() > 3, "{events:?}");
    let message = &events.iter().find(|event| event["type"] == "message.completed").unwrap()["message"];
    assert_eq!(message["content"], pieces.concat());
    let delta = events.iter().find(|event| event["type"] == "message.delta").unwrap();
    assert_eq!((&delta["message_id"], &delta["attempt"]), (&message["id"], &json!(1)));
    let run = text(&events[0], "run_id");
    assert_eq!(answer.header("location"), format!("/v1/runs/{run}"));
    assert_eq!(pages(&muster, &run).await, events, "whoever looks later sees the same");
}

async fn a_stream_that_broke_goes_on_where_it_was(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l200").await;
    let answer = muster.us.post(&format!("/v1/agents/{agent}/runs/stream"), json!({"message": "one two"})).await;
    let events = told(&answer);
    let run = text(&events[0], "run_id");
    for last in 0..events.len() {
        assert_eq!(told(&stream(&muster, &run, last).await), events[last..], "after {last}");
    }
    assert_eq!(stream(&muster, &run, events.len()).await.code, 204, "a client that has seen all is not to come back");
    for beyond in [events.len() + 1, usize::try_from(u32::MAX).unwrap()] {
        assert_eq!(stream(&muster, &run, beyond).await.param(), "Last-Event-ID");
    }
}

async fn a_stream_follows_a_run_that_others_work_on(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l300").await;
    let run = muster.us.run(&agent, "hello").await;
    let watchers = (0..5).map(|last| {
        let (us, path) = (muster.us.clone(), format!("/v1/runs/{run}/events"));
        tokio::spawn(async move {
            let us = us.with("accept", "text/event-stream").with("last-event-id", &(last % 2).to_string());
            (last % 2, told(&us.get(&path).await))
        })
    });
    let watchers: Vec<_> = watchers.collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    muster.drain().await;
    let events = pages(&muster, &run).await;
    whole(&events);
    for watcher in watchers {
        let (last, seen) = watcher.await.unwrap();
        assert_eq!(seen, events[last..]);
    }
}

async fn tools_and_people_are_told_of(muster: Muster) {
    let muster = muster.at_work();
    let server = Tools::start().await.unwrap();
    let tool = json!({
        "type": "http", "name": "act", "method": "POST", "url": server.url("/do/it"), "approval": "always",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    });
    let body = json!({"name": "actor", "model": "openai/fake-t1-p2", "tools": [tool]});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let us = muster.us.clone();
    let path = format!("/v1/agents/{agent}/runs/stream");
    let streamed = tokio::spawn(async move { told(&us.post(&path, json!({"message": "do it"})).await) });
    let listed = muster.until("/v1/runs", |runs| runs["data"][0]["status"] == "waiting").await;
    let run = text(&listed["data"][0], "id");
    let asked = muster.us.get(&format!("/v1/runs/{run}/approvals")).await.ok();
    for (approval, decision) in asked["data"].as_array().unwrap().iter().zip(["approve", "deny"]) {
        let said = json!({"approval_id": approval["id"], "decision": decision});
        muster.us.post(&format!("/v1/runs/{run}/approvals"), said).await.ok();
    }
    let events = streamed.await.unwrap();
    whole(&events);
    let told: Vec<&str> = types(&events).into_iter().filter(|kind| *kind != "message.delta").collect();
    let mut expected = vec!["run.created", "run.started", "message.completed", "usage.updated"];
    expected.extend(["approval.required"; 2]);
    assert_eq!(told[..6], expected);
    let mut tools = told[6..9].to_vec();
    tools.sort_unstable();
    assert_eq!(tools, ["tool_call.completed", "tool_call.failed", "tool_call.started"]);
    assert_eq!(told[9..], ["message.completed", "usage.updated", "run.done"]);
    let approvals: Vec<&Value> = events.iter().filter_map(|event| event.get("approval")).collect();
    assert_eq!(json!(approvals), asked["data"]);
    let failed = events.iter().find(|event| event["type"] == "tool_call.failed").unwrap();
    assert_eq!(failed["message"]["outcome"], "denied");
    assert_eq!(pages(&muster, &run).await, events);
}

async fn a_run_that_ends_badly_says_so_last(muster: Muster) {
    let agent = muster.us.agent("openai/fake-e9-x400").await;
    let failed = muster.us.post(&format!("/v1/agents/{agent}/runs/stream"), json!({"message": "x"})).await;
    let events = told(&failed);
    whole(&events);
    assert_eq!(types(&events), ["run.created", "run.started", "run.error"]);
    assert_eq!((&events[2]["reason"], &events[2]["result"]), (&json!("model_error"), &Value::Null));

    let agent = muster.us.agent("demo/scripted-l0").await;
    let run = muster.us.run(&agent, "x").await;
    muster.us.post(&format!("/v1/runs/{run}/cancel"), json!({})).await.ok();
    assert_eq!(types(&pages(&muster, &run).await), ["run.created", "run.interrupted"]);

    let agent = muster.us.agent("demo/scripted-l5000").await;
    let (us, path) = (muster.us.clone(), format!("/v1/agents/{agent}/runs/stream"));
    let streamed = tokio::spawn(async move { told(&us.post(&path, json!({"message": "a b c d e f g h"})).await) });
    let listed = muster.until("/v1/runs?status=running", |runs| runs["data"][0].is_object()).await;
    let run = text(&listed["data"][0], "id");
    muster.until(&format!("/v1/runs/{run}/events"), |events| events["data"][2].is_object()).await;
    muster.us.post(&format!("/v1/runs/{run}/cancel"), json!({})).await;
    let events = streamed.await.unwrap();
    whole(&events);
    assert_eq!(events.last().unwrap()["type"], "run.interrupted");
    assert!(types(&events).contains(&"message.delta"));
}

async fn the_same_key_streams_the_same_run(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l200").await;
    let path = format!("/v1/agents/{agent}/runs/stream");
    let us = muster.us.with("idempotency-key", "once");
    let body = json!({"message": "only once"});
    let first = {
        let (us, path, body) = (us.clone(), path.clone(), body.clone());
        tokio::spawn(async move { told(&us.post(&path, body).await) })
    };
    muster.until("/v1/runs", |runs| runs["data"][0].is_object()).await;
    let during = us.post(&path, body.clone()).await;
    assert_eq!(during.header("idempotency-replayed"), "true");
    let first = first.await.unwrap();
    whole(&first);
    assert_eq!(told(&during), first);
    assert_eq!(told(&us.with("last-event-id", "3").post(&path, body.clone()).await), first[3..]);
    assert_eq!(muster.models.calls_with("only once"), 1);
    us.post(&path, json!({"message": "something else"})).await.status(422);
}

async fn a_later_holder_goes_on_with_the_numbers(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l1500").await;
    let (us, path) = (muster.us.clone(), format!("/v1/agents/{agent}/runs/stream"));
    let streamed = tokio::spawn(async move { told(&us.post(&path, json!({"message": "a b c d e f g h"})).await) });
    let listed = muster.until("/v1/runs?status=running", |runs| runs["data"][0].is_object()).await;
    let run = text(&listed["data"][0], "id");
    muster.until(&format!("/v1/runs/{run}/events"), |events| events["data"][3].is_object()).await;
    let before = pages(&muster, &run).await;
    // As if the first holder had stood still for longer than its lease: both go on from here.
    muster.pass(LEASE_AND_MORE_MS);
    muster.reap().await;
    muster.drain().await;
    let streamed = streamed.await.unwrap();
    muster.until(&format!("/v1/runs/{run}"), |run| run["terminal"] == true).await;
    let events = pages(&muster, &run).await;
    whole(&events);
    assert_eq!(events[..before.len()], before, "what was told stays told");
    // Where a process has an end, its streams end with it: what passed is longer than that.
    assert_eq!(events[..streamed.len()], streamed);
    for last in 0..events.len() {
        assert_eq!(told(&stream(&muster, &run, last).await), events[last..]);
    }
}

async fn what_makes_no_stream_is_refused(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/runs/stream");
    assert_eq!(muster.us.post(&path, json!({"message": ""})).await.param(), "message");
    assert_eq!(muster.us.post(&path, json!({"message": "a", "max_steps": 0})).await.param(), "max_steps");
    muster.them.post(&path, json!({"message": "a"})).await.status(404);
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]), "nothing was started");
    let run = muster.us.run(&agent, "a").await;
    let events = format!("/v1/runs/{run}/events");
    for bad in ["x", "-1", "1.5", "4294967296", "1 2"] {
        let us = muster.us.with("accept", "text/event-stream").with("last-event-id", bad);
        assert_eq!(us.get(&events).await.param(), "Last-Event-ID", "{bad}");
    }
    // Who says to have seen what was never told would wait for ever, or miss the end.
    for drained in [false, true] {
        if drained {
            muster.drain().await;
        }
        let last = pages(&muster, &run).await.len();
        for never in [last + 1, 500] {
            assert_eq!(stream(&muster, &run, never).await.param(), "Last-Event-ID", "{never} {drained}");
            assert_eq!(muster.us.get(&format!("{events}?after={never}")).await.param(), "after", "{never} {drained}");
        }
        let us = muster.us.with("accept", "text/event-stream");
        assert_eq!(us.get(&format!("{events}?after=500")).await.param(), "after");
        assert_eq!(muster.us.get(&format!("{events}?after={last}")).await.ok()["data"], json!([]));
    }
    for (bad, field) in [("limit=0", "limit"), ("limit=501", "limit"), ("after=x", "after"), ("from=1", "from")] {
        assert_eq!(muster.us.get(&format!("{events}?{bad}")).await.param(), field);
    }
    let unknown = muster.them.with("x-request-id", "same");
    let foreign = unknown.get(&events).await;
    assert_eq!(foreign.code, 404);
    assert_eq!(foreign.text, unknown.get("/v1/runs/run_019a2b3c-4d5e-7f60-8123-456789abcdef/events").await.text);
}
