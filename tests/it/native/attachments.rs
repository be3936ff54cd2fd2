//! Files that come with a request: fetched through the guard and nowhere else, bounded, in chats and batches; and what many do to
//! one file at the same time.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use model_server::{Format, Tools};
use serde_json::{Value, json};
use shared::model::settings::Settings;

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    of_two_uploads_at_once_one_is_the_file_and_stays_it,
    a_url_is_fetched_once_and_its_file_is_shown_again,
    no_url_leads_to_where_none_may,
    a_batch_brings_files_along_or_keeps_none,
    an_image_stays_with_tools_and_a_schema_through_a_chat,
    an_image_is_shown_in_anthropics_format,
    of_a_long_chat_what_was_shown_last_is_shown,
);

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot really a picture";

fn inline(content: &[u8], media_type: &str) -> Value {
    json!({"media_type": media_type, "data": STANDARD.encode(content)})
}

async fn ended(muster: &Muster, agent: &str, body: Value) -> Value {
    let id = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202), "id");
    muster.drain().await;
    let run = muster.us.get(&format!("/v1/runs/{id}")).await.ok();
    assert_eq!(run["status"], "done", "{run}");
    run
}

/// What the model was sent last.
fn sent(muster: &Muster) -> String {
    muster.models.last(Format::OpenAi).unwrap().body["messages"].to_string()
}

async fn files(muster: &Muster) -> usize {
    muster.us.get("/v1/files").await.ok()["data"].as_array().unwrap().len()
}

async fn of_two_uploads_at_once_one_is_the_file_and_stays_it(muster: Muster) {
    for round in 0..10 {
        let body = json!({"name": "a.txt", "media_type": "text/plain", "bytes": 4});
        let made = muster.us.post("/v1/files", body).await.status(201);
        let (path, url) = (format!("/v1/files/{}", text(&made, "id")), text(&made["upload"], "url"));
        let anyone = muster.us.nobody();
        let (one, other) = tokio::join!(anyone.send("PUT", &url, "aaaa"), anyone.send("PUT", &url, "bbbb"));
        let mut codes = [one.code, other.code];
        codes.sort_unstable();
        assert_eq!(codes, [200, 409], "{round}");
        let (first, kept) = if one.code == 200 { (one, "aaaa") } else { (other, "bbbb") };
        assert_eq!(muster.us.get(&path).await.ok()["sha256"], first.body["sha256"]);
        assert_eq!(muster.us.get(&format!("{path}/content")).await.text, kept, "{round}");
        let (deleted, late) = tokio::join!(muster.us.delete(&path), anyone.send("PUT", &url, "cccc"));
        assert_eq!(deleted.code, 204);
        assert!([404, 409].contains(&late.code), "{}", late.code);
        assert_eq!(muster.us.get(&path).await.code, 404);
    }
}

async fn a_url_is_fetched_once_and_its_file_is_shown_again(muster: Muster) {
    let server = serve(vec![("text/plain", "what the address said")]);
    let agent = muster.us.agent("openai/fake").await;
    let attachment = json!({"url": format!("http://{server}/notes/today.txt?x=1")});
    let first = ended(&muster, &agent, json!({"message": "one", "attachments": [attachment]})).await;
    assert!(sent(&muster).contains("what the address said"));
    let messages = muster.us.get(&format!("/v1/runs/{}/messages", text(&first, "id"))).await.ok();
    assert_eq!(messages["data"][0]["attachments"][0]["name"], "today.txt");
    // The server answers once: what is shown again is what was kept.
    ended(&muster, &agent, json!({"message": "two", "chat_id": first["id"]})).await;
    assert!(sent(&muster).contains("what the address said"));
}

async fn no_url_leads_to_where_none_may(muster: Muster) {
    let canary = TcpListener::bind("127.0.0.2:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let inward = format!("http://{}/secret.txt", canary.local_addr().unwrap());
    let agent = muster.us.agent("demo/scripted-l0").await;
    let moved =
        [inward.clone(), "http://169.254.169.254/latest/meta-data/".to_owned(), "file:///etc/passwd".to_owned()];
    let urls = moved.iter().map(|to| format!("http://{}/moved", redirect(to))).chain([inward]);
    for url in urls {
        let body = json!({"message": "a", "attachments": [{"url": url}]});
        let refused = muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await;
        assert_eq!(refused.param(), "attachments[0].url", "{url}");
    }
    let touched = canary.accept().map(|_| ());
    assert_eq!(touched.unwrap_err().kind(), ErrorKind::WouldBlock);
    let same = vec![json!({"message": "a", "attachments": [{"url": "https://localhost/"}]}); 17];
    let many = muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({ "items": same })).await;
    assert_eq!(many.param(), "items[0].attachments[0].url");
    assert_eq!((files(&muster).await, &muster.us.get("/v1/runs").await.ok()["data"]), (0, &json!([])));
}

async fn a_batch_brings_files_along_or_keeps_none(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let path = format!("/v1/agents/{agent}/batches");
    let item = |message: &str, attachment: Value| json!({"message": message, "attachments": [attachment]});
    let good = item("good", inline(b"came along", "text/plain"));
    for (bad, field) in [
        (inline(b"GIF89a", "image/png"), "data"),
        (json!({"file_id": "file_019a2b3c-4d5e-7f60-8123-456789abcdef"}), "file_id"),
    ] {
        let refused = muster.us.post(&path, json!({"items": [good, item("bad", bad)]})).await;
        assert_eq!(refused.param(), format!("items[1].attachments[0].{field}"));
    }
    assert_eq!(files(&muster).await, 0, "what came with a refused batch is not kept");
    let batch = muster.us.post(&path, json!({"items": [good]})).await.status(202);
    muster.drain().await;
    let batch = muster.us.get(&format!("/v1/batches/{}", text(&batch, "id"))).await.ok();
    assert_eq!(batch["counts"]["done"], 1);
    assert!(sent(&muster).contains("came along"));
    assert_eq!(files(&muster).await, 1);
}

async fn an_image_stays_with_tools_and_a_schema_through_a_chat(muster: Muster) {
    let server = Tools::start().await.unwrap();
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool =
        json!({"type": "http", "name": "act", "method": "POST", "url": server.url("/act"), "parameters": parameters});
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let seer = json!({"name": "seer", "model": "demo/scripted-l0", "tools": [tool], "output_schema": schema});
    let seer = text(&muster.us.post("/v1/agents", seer).await.status(201), "id");
    let message = "look, and\ncall act {\"city\": \"Oslo\"}";
    let first = json!({"message": message, "attachments": [inline(PNG, "image/png")]});
    let first = ended(&muster, &seer, first).await;
    assert_eq!((&first["output"], &first["usage"]["model_calls"]), (&json!({"n": 0}), &json!(2)), "{first}");
    assert_eq!(server.effects().len(), 1);

    let plain = json!({"model": "openai/fake", "tools": [], "output_schema": null});
    muster.us.patch(&format!("/v1/agents/{seer}"), plain).await.ok();
    ended(&muster, &seer, json!({"message": "and now?", "chat_id": first["id"]})).await;
    let sent = sent(&muster);
    for part in [format!("data:image/png;base64,{}", STANDARD.encode(PNG)), "call_0".to_owned(), "and now?".to_owned()]
    {
        assert!(sent.contains(&part), "{part}: {sent}");
    }
}

async fn an_image_is_shown_in_anthropics_format(muster: Muster) {
    let base_url = format!("http://{}", muster.models.addr());
    let muster = muster.with_models(Settings::from_lookup(|name| match name {
        "ANTHROPIC_BASE_URL" => Some(base_url.clone()),
        "ANTHROPIC_API_KEY" => Some("key".to_owned()),
        _ => None,
    }));
    let agent = muster.us.agent("anthropic/fake").await;
    for (bytes, media_type) in [(PNG, "image/png"), (b"\xff\xd8\xff\xe0 no picture", "image/jpeg")] {
        ended(&muster, &agent, json!({"message": "What is this?", "attachments": [inline(bytes, media_type)]})).await;
        let body = muster.models.last(Format::Anthropic).unwrap().body;
        let source = json!({"type": "base64", "media_type": media_type, "data": STANDARD.encode(bytes)});
        let content = json!([{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]);
        assert_eq!(body["messages"], json!([{"role": "user", "content": content}]));
    }
}

async fn of_a_long_chat_what_was_shown_last_is_shown(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let mut chat = Value::Null;
    for (message, letter) in [("one", "a"), ("two", "b")] {
        let large = letter.repeat(11 * 1024 * 1024);
        let body = json!({"name": format!("{letter}.txt"), "media_type": "text/plain", "bytes": large.len()});
        let made = muster.us.post("/v1/files", body).await.status(201);
        muster.us.nobody().send("PUT", &text(&made["upload"], "url"), large).await.ok();
        let mut body = json!({"message": message, "attachments": [{"file_id": made["id"]}]});
        if !chat.is_null() {
            body["chat_id"] = chat;
        }
        chat = ended(&muster, &agent, body).await["id"].clone();
    }
    let sent = sent(&muster);
    assert!(sent.contains("the file \\\"a.txt\\\" was shown here, and is left out now") && !sent.contains("aaaa"));
    assert!(sent.contains("bbbb") && sent.len() < 12 * 1024 * 1024);
}

/// A server that answers so many requests, and then is gone.
fn serve(answers: Vec<(&'static str, &'static str)>) -> SocketAddr {
    let whole = |(media_type, body): (&str, &str)| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    listen(answers.into_iter().map(whole).collect())
}

fn redirect(to: &str) -> SocketAddr {
    listen(vec![format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")])
}

fn listen(answers: Vec<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}
