//! Files: kept, uploaded, shown to models, and nobody else's.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    a_file_is_kept_listed_read_and_deleted,
    what_makes_no_file_is_refused_with_its_field,
    an_upload_makes_an_announced_file_ready,
    an_upload_is_for_one_file_once_and_in_time,
    an_image_and_a_text_reach_the_model,
    what_cannot_be_attached_starts_nothing,
    files_of_a_batch_reach_each_run,
    a_chat_goes_on_with_what_it_was_shown,
    a_deleted_file_is_said_to_be_gone,
    a_file_of_another_organisation_is_not_found,
    the_same_key_keeps_a_file_once,
);

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot really a picture";

fn png() -> Value {
    json!({"name": "dot.png", "media_type": "image/png", "data": STANDARD.encode(PNG)})
}

fn csv(content: &str) -> Value {
    json!({"name": "rows.csv", "media_type": "text/csv", "data": STANDARD.encode(content)})
}

async fn file(us: &Client, body: Value) -> String {
    text(&us.post("/v1/files", body).await.status(201), "id")
}

async fn run(muster: &Muster, agent: &str, body: Value) -> Value {
    let id = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202), "id");
    muster.drain().await;
    muster.us.get(&format!("/v1/runs/{id}")).await.ok()
}

/// The path and query of an address.
fn target(url: &str) -> &str {
    url.strip_prefix("http://here:1").unwrap_or(url)
}

async fn a_file_is_kept_listed_read_and_deleted(muster: Muster) {
    let made = muster.us.post("/v1/files", csv("a,b\n1,2\n")).await.status(201);
    let expected = json!({
        "id": made["id"], "name": "rows.csv", "media_type": "text/csv", "bytes": 8, "sha256": made["sha256"], "status": "ready",
        "problem": null, "created_at": made["created_at"],
    });
    assert_eq!(made, expected);
    assert_eq!(made["sha256"].as_str().unwrap().len(), 64);
    let path = format!("/v1/files/{}", text(&made, "id"));
    assert_eq!(muster.us.get(&path).await.ok(), made);
    let second = file(&muster.us, png()).await;
    let listed = muster.us.get("/v1/files?limit=1").await.ok();
    assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&json!(second), &json!(true)));
    let after = text(&listed, "next_cursor");
    assert_eq!(muster.us.get(&format!("/v1/files?limit=1&after={after}")).await.ok()["data"][0], made);
    let content = muster.us.get(&format!("{path}/content")).await;
    assert_eq!((content.code, content.text.as_str()), (200, "a,b\n1,2\n"));
    assert_eq!((content.header("content-type"), content.header("x-content-type-options")), ("text/csv", "nosniff"));
    muster.us.delete(&path).await.status(204);
    for gone in [&path, &format!("{path}/content")] {
        muster.us.get(gone).await.status(404);
    }
    muster.us.delete(&path).await.status(404);
}

async fn what_makes_no_file_is_refused_with_its_field(muster: Muster) {
    let with = |name: &str, value: Value| {
        let mut body = csv("a");
        body[name] = value;
        body
    };
    for (body, field) in [
        (with("name", json!("")), "name"),
        (with("name", json!("a\u{7}")), "name"),
        (with("name", json!("x".repeat(201))), "name"),
        (with("media_type", json!("application/pdf")), "media_type"),
        (with("media_type", json!("text/plain; charset=latin1")), "media_type"),
        (with("data", json!("***")), "data"),
        (with("data", json!("")), "data"),
        (with("data", json!(STANDARD.encode([0xff, 0xfe]))), "data"),
        (with("media_type", json!("image/png")), "data"),
        (with("bytes", json!(1)), "data"),
        (with("data", Value::Null), "data"),
        (json!({"name": "a", "media_type": "text/plain", "bytes": 0}), "bytes"),
        (json!({"name": "a", "media_type": "text/plain", "bytes": 20 * 1024 * 1024 + 1}), "bytes"),
        (with("folder", json!("x")), "folder"),
    ] {
        assert_eq!(muster.us.post("/v1/files", body.clone()).await.param(), field, "{body}");
    }
    assert_eq!(muster.us.get("/v1/files").await.ok()["data"], json!([]));
}

async fn an_upload_makes_an_announced_file_ready(muster: Muster) {
    let large = vec![b'x'; 7 * 1024 * 1024];
    let body = json!({"name": "large.txt", "media_type": "text/plain", "bytes": large.len()});
    let made = muster.us.with("host", "here:1").post("/v1/files", body).await.status(201);
    assert_eq!((&made["status"], &made["sha256"]), (&json!("pending"), &Value::Null));
    let upload = &made["upload"];
    assert_eq!((&upload["method"], &upload["headers"]), (&json!("PUT"), &json!({"content-type": "text/plain"})));
    let url = text(upload, "url");
    assert!(url.starts_with("http://here:1/v1/files/file_"), "{url}");
    let path = format!("/v1/files/{}", text(&made, "id"));
    muster.us.get(&format!("{path}/content")).await.status(409);
    let put = muster.us.nobody().send("PUT", target(&url), large).await.ok();
    assert_eq!((&put["status"], &put["bytes"]), (&json!("ready"), &json!(7 * 1024 * 1024)));
    assert_eq!(muster.us.get(&path).await.ok(), put);
}

async fn an_upload_is_for_one_file_once_and_in_time(muster: Muster) {
    let announced = |bytes: usize| json!({"name": "a.png", "media_type": "image/png", "bytes": bytes});
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(muster.us.post("/v1/files", announced(PNG.len())).await.status(201));
    }
    let url = |made: &Value| text(&made["upload"], "url");
    let path = |made: &Value| format!("/v1/files/{}/content", text(made, "id"));
    let token = |made: &Value| url(made).split_once("token=").unwrap().1.to_owned();
    let anyone = muster.us.nobody();
    let other = format!("{}?token={}", path(&made[1]), token(&made[0]));
    anyone.send("PUT", &other, PNG).await.status(404);
    let mut forged = token(&made[0]).into_bytes();
    forged[5] = if forged[5] == b'A' { b'B' } else { b'A' };
    let forged = format!("{}?token={}", path(&made[0]), String::from_utf8(forged).unwrap());
    anyone.send("PUT", &forged, PNG).await.status(404);
    anyone.send("PUT", &format!("{}?token=", path(&made[0])), PNG).await.status(404);
    assert_eq!(anyone.send("PUT", &path(&made[0]), PNG).await.param(), "token");
    anyone.send("PUT", &url(&made[0]), &PNG[1..]).await.status(400);
    anyone.send("PUT", &url(&made[0]), vec![b'x'; PNG.len()]).await.status(400);
    anyone.send("PUT", &url(&made[0]), vec![b'x'; 20 * 1024 * 1024 + 1]).await.status(413);
    anyone.send("PUT", &url(&made[0]), PNG).await.ok();
    anyone.send("PUT", &url(&made[0]), PNG).await.status(409);
    muster.pass(3_600_001);
    anyone.send("PUT", &url(&made[1]), PNG).await.status(404);
    assert_eq!(muster.us.get("/v1/files").await.ok()["data"][1]["status"], "pending");
}

async fn an_image_and_a_text_reach_the_model(muster: Muster) {
    let (image, table) = (file(&muster.us, png()).await, file(&muster.us, csv("city,people\nOslo,717710")).await);
    let agent = muster.us.agent("openai/fake").await;
    let note = json!({"media_type": "text/markdown", "data": STANDARD.encode("# A note"), "name": "note.md"});
    let attachments = json!([{"file_id": image}, {"file_id": table}, note]);
    let ended = run(&muster, &agent, json!({"message": "What is this?", "attachments": attachments})).await;
    assert_eq!(ended["status"], "done", "{ended}");
    let sent = muster.models.last(model_server::Format::OpenAi).unwrap().body;
    let content = sent["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    for part in
        ["What is this?", "city,people\\\\nOslo,717710", "rows.csv", "# A note", "image/png", &STANDARD.encode(PNG)]
    {
        let part = part.replace("\\\\", "\\");
        assert!(content.contains(&part), "{part}: {content}");
    }
    let messages = muster.us.get(&format!("/v1/runs/{}/messages", text(&ended, "id"))).await.ok();
    let shown = messages["data"][0]["attachments"].as_array().unwrap();
    assert_eq!(shown[0], json!({"file_id": image, "name": "dot.png", "media_type": "image/png", "bytes": PNG.len()}));
    assert_eq!((&shown[2]["name"], shown.len()), (&json!("note.md"), 3));
    assert_eq!(messages["data"][0]["content"], "What is this?");
    let files = muster.us.get("/v1/files").await.ok();
    assert_eq!(files["data"][0]["id"], shown[2]["file_id"], "what came with the run is a file like others");
}

async fn what_cannot_be_attached_starts_nothing(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let kept = file(&muster.us, csv("a")).await;
    let pending = json!({"name": "a", "media_type": "text/plain", "bytes": 1});
    let pending = file(&muster.us, pending).await;
    let good = json!({"media_type": "text/plain", "data": "YQ=="});
    let of_them = file(&muster.them, csv("theirs")).await;
    for (bad, field) in [
        (json!({"file_id": "x"}), "file_id"),
        (json!({"file_id": "file_019a2b3c-4d5e-7f60-8123-456789abcdef"}), "file_id"),
        (json!({"file_id": of_them}), "file_id"),
        (json!({"file_id": pending}), "file_id"),
        (json!({"media_type": "text/plain", "data": "*"}), "data"),
        (json!({"media_type": "image/png", "data": "YQ=="}), "data"),
        (json!({"media_type": "a/b", "data": "YQ=="}), "media_type"),
        (json!({"url": "http://169.254.169.254/latest/meta-data"}), "url"),
        (json!({"url": "file:///etc/passwd"}), "url"),
        (json!({"url": "https://localhost/x"}), "url"),
        (json!({"url": format!("http://{}/nothing.txt", muster.models.addr())}), "url"),
    ] {
        let body = json!({"message": "a", "attachments": [good, bad]});
        let refused = muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await;
        assert_eq!(refused.param(), format!("attachments[1].{field}"), "{bad}");
    }
    for bad in [json!({}), json!({"file_id": kept, "url": "https://a.example"}), json!({"data": "YQ=="})] {
        let body = json!({"message": "a", "attachments": [bad]});
        assert_eq!(muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.param(), "attachments[0]");
    }
    let many = json!({"message": "a", "attachments": vec![json!({"file_id": kept}); 17]});
    assert_eq!(muster.us.post(&format!("/v1/agents/{agent}/runs"), many).await.param(), "attachments");
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]));
    assert_eq!(muster.us.get("/v1/files").await.ok()["data"].as_array().unwrap().len(), 2, "nothing was kept");
}

async fn files_of_a_batch_reach_each_run(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let kept = file(&muster.us, csv("shared,by\nall,runs")).await;
    let item = |n: usize| json!({"message": format!("item {n}"), "attachments": [{"file_id": kept}]});
    let path = format!("/v1/agents/{agent}/batches");
    let bad = json!({"items": [item(0), {"message": "b", "attachments": [{"file_id": "file_1"}]}]});
    assert_eq!(muster.us.post(&path, bad).await.param(), "items[1].attachments[0].file_id");
    let unknown = "file_019a2b3c-4d5e-7f60-8123-456789abcdef";
    let bad = json!({"items": [item(0), {"message": "b", "attachments": [{"file_id": unknown}]}]});
    assert_eq!(muster.us.post(&path, bad).await.param(), "items[1].attachments[0].file_id");
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]));
    let batch = muster.us.post(&path, json!({"items": [item(0), item(1), item(2)]})).await.status(202);
    muster.drain().await;
    let batch = muster.us.get(&format!("/v1/batches/{}", text(&batch, "id"))).await.ok();
    assert_eq!(batch["counts"]["done"], 3);
    let sent = muster.models.last(model_server::Format::OpenAi).unwrap().body;
    assert!(sent["messages"].to_string().contains("shared,by"), "{sent}");
}

async fn a_chat_goes_on_with_what_it_was_shown(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let kept = file(&muster.us, csv("first,file")).await;
    let first = run(&muster, &agent, json!({"message": "one", "attachments": [{"file_id": kept}]})).await;
    let other = json!({"media_type": "text/plain", "data": STANDARD.encode("second file")});
    let body = json!({"message": "two", "chat_id": first["id"], "attachments": [other]});
    let second = run(&muster, &agent, body).await;
    assert_eq!((&second["status"], &second["chat_id"]), (&json!("done"), &first["id"]));
    let sent = muster.models.last(model_server::Format::OpenAi).unwrap().body["messages"].to_string();
    for part in ["one", "first,file", "two", "second file"] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
}

async fn a_deleted_file_is_said_to_be_gone(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let kept = file(&muster.us, csv("to be deleted")).await;
    let first = run(&muster, &agent, json!({"message": "one", "attachments": [{"file_id": kept}]})).await;
    muster.us.delete(&format!("/v1/files/{kept}")).await.status(204);
    let second = run(&muster, &agent, json!({"message": "two", "chat_id": first["id"]})).await;
    assert_eq!(second["status"], "done");
    let sent = muster.models.last(model_server::Format::OpenAi).unwrap().body["messages"].to_string();
    assert!(sent.contains("was deleted") && !sent.contains("to be deleted"), "{sent}");
}

async fn a_file_of_another_organisation_is_not_found(muster: Muster) {
    let kept = file(&muster.us, csv("ours")).await;
    let them = muster.them.with("x-request-id", "same");
    for (method, rest) in [("GET", ""), ("GET", "/content"), ("DELETE", "")] {
        let foreign = them.send(method, &format!("/v1/files/{kept}{rest}"), "").await;
        let unknown =
            them.send(method, &format!("/v1/files/file_019a2b3c-4d5e-7f60-8123-456789abcdef{rest}"), "").await;
        assert_eq!((foreign.code, foreign.text), (404, unknown.text), "{method} {rest}");
    }
    assert_eq!(them.get("/v1/files").await.ok()["data"], json!([]));
    assert_eq!(muster.us.get(&format!("/v1/files/{kept}/content")).await.text, "ours");
}

async fn the_same_key_keeps_a_file_once(muster: Muster) {
    let us = muster.us.with("idempotency-key", "file");
    let first = us.post("/v1/files", csv("a")).await;
    let again = us.post("/v1/files", csv("a")).await;
    assert_eq!((first.code, &first.body), (again.code, &again.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    us.post("/v1/files", csv("b")).await.status(422);
    assert_eq!(muster.us.get("/v1/files").await.ok()["data"].as_array().unwrap().len(), 1);
}
