//! How much there may be of files: of an organisation, in memory, and of bytes without a row.

use std::{pin::pin, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, poll, stream};
use model_server::Tools;
use serde_json::{Value, json};
use shared::{
    engine,
    file::{Limits, TOGETHER_LIMIT_BYTES, UNCLAIMED_MS},
    id::RunId,
    queue::Chunk,
};

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    an_organisation_keeps_so_many_files,
    an_organisation_keeps_so_many_bytes,
    of_many_at_once_as_many_are_kept_as_may_be,
    runs_wait_until_there_is_memory_for_their_files,
    a_run_that_waits_for_memory_after_a_tool_keeps_its_lease_and_what_it_knows,
    bytes_whose_row_was_never_written_go_after_a_day,
    bytes_that_were_swept_are_named_by_no_row,
    bytes_of_an_upload_that_came_too_late_go_after_a_day,
);

fn limited(muster: Muster, files: u64, bytes: u64) -> Muster {
    muster.with_file_limits(Limits { files, bytes, ..Limits::default() })
}

fn file(content: &str) -> Value {
    json!({"name": "a.txt", "media_type": "text/plain", "data": STANDARD.encode(content)})
}

fn announced(bytes: usize) -> Value {
    json!({"name": "a.txt", "media_type": "text/plain", "bytes": bytes})
}

/// What a refusal says.
fn full(answer: crate::harness::Answer) -> String {
    let refused = answer.status(409);
    assert_eq!(refused["error"]["code"], "conflict", "{refused}");
    text(&refused["error"], "message")
}

async fn files(client: &Client) -> usize {
    client.get("/v1/files").await.ok()["data"].as_array().unwrap().len()
}

async fn an_organisation_keeps_so_many_files(muster: Muster) {
    let muster = limited(muster, 3, 1_000);
    let us = &muster.us;
    let limits = us.get("/v1/limits").await.ok();
    assert_eq!((&limits["files"], &limits["files_bytes"]), (&json!(3), &json!(1_000)));
    let upload = us.post("/v1/files", announced(1)).await.status(201);
    let first = text(&us.post("/v1/files", file("1")).await.status(201), "id");
    for content in ["2", "3"] {
        us.post("/v1/files", file(content)).await.status(201);
    }
    let message = "an organisation has at most 3 files of at most 1000 bytes together: delete some";
    assert_eq!(full(us.post("/v1/files", file("4")).await), message);
    assert_eq!(full(us.post("/v1/files", announced(1)).await), message);
    let agent = us.agent("demo/scripted-l0").await;
    let attachment = json!({"media_type": "text/plain", "data": "YQ=="});
    let body = json!({"message": "a", "attachments": [attachment]});
    assert_eq!(full(us.post(&format!("/v1/agents/{agent}/runs"), body.clone()).await), message);
    assert_eq!(full(us.post(&format!("/v1/agents/{agent}/batches"), json!({ "items": [body] })).await), message);
    let url = text(&upload["upload"], "url");
    assert_eq!(full(us.nobody().send("PUT", &url, "u").await), message);
    assert_eq!((files(us).await, muster.bytes_kept()), (4, 3), "nothing of what was refused is kept");
    assert_eq!(us.get("/v1/runs").await.ok()["data"], json!([]));
    muster.them.post("/v1/files", file("theirs")).await.status(201);

    us.delete(&format!("/v1/files/{first}")).await.status(204);
    us.nobody().send("PUT", &url, "u").await.ok();
    assert_eq!(full(us.post("/v1/files", file("4")).await), message);
}

async fn an_organisation_keeps_so_many_bytes(muster: Muster) {
    let muster = limited(muster, 100, 10);
    let us = &muster.us;
    let first = text(&us.post("/v1/files", file("123456")).await.status(201), "id");
    full(us.post("/v1/files", file("12345")).await);
    full(us.post("/v1/files", announced(5)).await);
    us.post("/v1/files", file("1234")).await.status(201);
    full(us.post("/v1/files", file("1")).await);
    us.delete(&format!("/v1/files/{first}")).await.status(204);
    us.post("/v1/files", file("654321")).await.status(201);
    assert_eq!((files(us).await, muster.bytes_kept()), (2, 2));
}

async fn of_many_at_once_as_many_are_kept_as_may_be(muster: Muster) {
    let muster = limited(muster, 5, 1_000);
    let made = (0..16).map(|_| muster.us.post("/v1/files", file("x")));
    let mut codes: Vec<u16> = stream::iter(made).buffer_unordered(16).map(|answer| answer.code).collect().await;
    codes.sort_unstable();
    let expected = [[201_u16; 5].as_slice(), &[409; 11]].concat();
    assert_eq!((codes, files(&muster.us).await), (expected, 5));
    muster.pass(UNCLAIMED_MS + 1);
    muster.reap().await;
    assert_eq!(muster.bytes_kept(), 5);
}

/// A message with a file that there is room for, but not for two.
async fn about_a_large_file(muster: &Muster) -> Value {
    let large = "x".repeat(11 * 1024 * 1024);
    let made = muster.us.post("/v1/files", announced(large.len())).await.status(201);
    muster.us.nobody().send("PUT", &text(&made["upload"], "url"), large).await.ok();
    json!({"message": "what is this?", "attachments": [{"file_id": made["id"]}]})
}

async fn runs_wait_until_there_is_memory_for_their_files(muster: Muster) {
    // Room for the files of one run.
    let limits = Limits { shown_bytes: TOGETHER_LIMIT_BYTES, ..Limits::default() };
    let muster = muster.with_file_limits(limits).at_work();
    let body = json!({"items": vec![about_a_large_file(&muster).await; 5]});
    let agent = muster.us.agent("openai/fake-l500").await;
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let ended = muster.until(&path, |batch| !batch["ended_at"].is_null()).await;
    assert_eq!(ended["counts"]["done"], 5);
    let stats = muster.models.stats();
    assert_eq!((stats.max_in_flight, stats.calls), (1, 5), "one after the other, and each once");
    for run in muster.us.get("/v1/runs").await.ok()["data"].as_array().unwrap() {
        let explained = muster.us.get(&format!("/v1/runs/{}/explain", text(run, "id"))).await.ok();
        assert_eq!(explained["attempts"].as_array().unwrap().len(), 1, "{explained}");
    }
}

async fn a_run_that_waits_for_memory_after_a_tool_keeps_its_lease_and_what_it_knows(muster: Muster) {
    let limits = Limits { shown_bytes: TOGETHER_LIMIT_BYTES, ..Limits::default() };
    let muster = muster.with_file_limits(limits).with_lease(1_500).at_work();
    let (us, body, server) = (&muster.us, about_a_large_file(&muster).await, Tools::start().await.unwrap());
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool = json!({"type": "http", "name": "act", "method": "POST", "url": server.url("/do/it?rest=1000"), "parameters": parameters});
    let actor = json!({"name": "actor", "model": "openai/fake-t1", "tools": [tool]});
    let actor = text(&us.post("/v1/agents", actor).await.status(201), "id");
    let acting = us.post(&format!("/v1/agents/{actor}/runs"), body.clone()).await.status(202);
    let id = RunId::parse_prefixed(&text(&acting, "id")).unwrap();
    let tenant = muster.caller(us).await.tenant();
    let acting = format!("/v1/runs/{}", text(&acting, "id"));
    let tool_is_called = async {
        while server.effects().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await
        }
    };
    tool_is_called.await;
    // Another has the memory from before the tool answers until long after a lease.
    let slow = us.agent("openai/fake-l5000").await;
    let other = us.post(&format!("/v1/agents/{slow}/runs"), body).await.status(202);
    let other = format!("/v1/runs/{}", text(&other, "id"));
    let answers =
        |messages: &Value| messages["data"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
    muster.until(&format!("{acting}/messages"), answers).await;
    while us.get(&other).await.ok()["terminal"] == false {
        assert_eq!(us.get(&acting).await.ok()["status"], "running", "its tool's answer is known, and it waits");
        // A message that comes again finds the lease renewed, and its worker does not take the run.
        let again = engine::work_on(&muster.app, Chunk::new(tenant, vec![id]), None);
        tokio::time::timeout(Duration::from_secs(2), again).await.expect("the run was taken").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = muster.until(&acting, |run| run["terminal"] == true).await;
    assert_eq!((&ended["status"], &ended["usage"]["model_calls"]), (&json!("done"), &json!(2)), "{ended}");
    assert_eq!((muster.models.stats().calls, server.requests()), (3, 1));
}

/// Does what is asked until the bytes are there, and no further: as when the process died then.
async fn until_bytes_are_there(
    muster: &Muster,
    mut request: std::pin::Pin<&mut impl Future<Output = crate::harness::Answer>>,
) {
    while muster.bytes_kept() == 0 {
        assert!(poll!(&mut request).is_pending());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn bytes_whose_row_was_never_written_go_after_a_day(muster: Muster) {
    {
        let mut request = pin!(muster.us.post("/v1/files", file("lost")));
        until_bytes_are_there(&muster, request.as_mut()).await;
    }
    muster.reap().await;
    assert_eq!((files(&muster.us).await, muster.bytes_kept()), (0, 1));
    let kept = text(&muster.us.post("/v1/files", file("kept")).await.status(201), "id");
    muster.pass(UNCLAIMED_MS + 1);
    muster.reap().await;
    assert_eq!((files(&muster.us).await, muster.bytes_kept()), (1, 1));
    assert_eq!(muster.us.get(&format!("/v1/files/{kept}/content")).await.text, "kept");
}

async fn bytes_that_were_swept_are_named_by_no_row(muster: Muster) {
    let mut request = pin!(muster.us.post("/v1/files", file("slow")));
    until_bytes_are_there(&muster, request.as_mut()).await;
    muster.pass(UNCLAIMED_MS + 1);
    muster.reap().await;
    assert_eq!(muster.bytes_kept(), 0);
    request.await.status(409);
    assert_eq!(files(&muster.us).await, 0);
}

async fn bytes_of_an_upload_that_came_too_late_go_after_a_day(muster: Muster) {
    // Also of the same bytes only the note goes.
    for (late, there) in [("slow", 2), ("fast", 1)] {
        let made = muster.us.post("/v1/files", announced(4)).await.status(201);
        let (url, anyone) = (text(&made["upload"], "url"), muster.us.nobody());
        let mut slow = pin!(anyone.send("PUT", &url, late));
        until_bytes_are_there(&muster, slow.as_mut()).await;
        anyone.send("PUT", &url, "fast").await.ok();
        slow.await.status(409);
        assert_eq!(muster.bytes_kept(), there);
        muster.pass(UNCLAIMED_MS + 1);
        muster.reap().await;
        let path = format!("/v1/files/{}", text(&made, "id"));
        assert_eq!((muster.us.get(&format!("{path}/content")).await.text, muster.bytes_kept()), ("fast".to_owned(), 1));
        muster.us.delete(&path).await.status(204);
        assert_eq!(muster.bytes_kept(), 0, "a deletion does not wait for a day");
    }
}
