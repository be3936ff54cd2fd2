//! A secret with a value that is nowhere else is taken through every call and every refusal, with every log line there is. It
//! must then be in no answer, no log line, and in nothing that is stored. Each backend has a process of its own, as a process
//! has one log.

use std::{env, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::json;
use shared::store::row::{Key, Rev, Row, Table, When, Write};
use tempfile::TempDir;
use tracing_subscriber::filter::LevelFilter;
use uuid::Uuid;

use crate::{
    dynamo::Database,
    harness::{Answer, Client, Log, Muster},
    mcp::raw::{Raw, Reply},
};

/// Says to the child process on which backend, and what the value is.
const CHILD: &str = "MUSTER_TEST_CANARY";

#[test]
fn a_secret_is_seen_nowhere_on_sqlite() {
    in_a_child("sqlite");
}

#[test]
fn a_secret_is_seen_nowhere_on_dynamo() {
    in_a_child("dynamo");
}

fn in_a_child(backend: &str) {
    let canary = format!("canary{}", Uuid::now_v7().simple());
    let this = module_path!().split_once("::").unwrap().1;
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("{this}::child_with_a_secret")])
        .env(CHILD, format!("{backend} {canary}"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&said).replace(&canary, "<canary>");
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(!forms(&canary).iter().any(|form| holds(&said, form)), "{text}");
}

/// Without its variable it is no test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "the tests have no configuration of their own")]
async fn child_with_a_secret() {
    let Ok(said) = env::var(CHILD) else { return };
    let (backend, canary) = said.split_once(' ').unwrap();
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    lines.with_writer(move || writer.clone()).init();
    let muster = if backend == "sqlite" { Muster::on_sqlite().await } else { Muster::on_dynamo().await };

    let mut answers = calls(&muster.us, canary).await;
    answers.extend(through_a_server(&muster, canary).await);
    let stored = stored(&muster).await;
    assert!(holds(&stored, "S#KEY") && holds(&stored, "sealed"), "what is stored was not looked at");
    answers.push(muster.us.delete("/v1/secrets/KEY").await);
    answers.extend(failures(&muster, canary).await);

    let log = log.0.lock().unwrap().clone();
    for line in ["put_secret", "refused: invalid input", "the store is broken"] {
        assert!(holds(&log, line), "the log was not kept: no '{line}'");
    }
    assert!(backend == "sqlite" || holds(&log, "TRACE"), "not every line was kept");
    for form in forms(canary) {
        assert!(!holds(&stored, &form), "in the store");
        assert!(!holds(&log, &form), "in the log");
        for answer in &answers {
            let headers = format!("{:?}", answer.headers);
            assert!(!answer.text.contains(&form) && !headers.contains(&form), "in an answer of {}", answer.code);
        }
    }
    assert!(!holds(&log, &muster.us.key()) && !holds(&stored, &muster.us.key()), "the key itself");
}

/// Puts the secret, and tries to in every way that is refused.
async fn calls(us: &Client, canary: &str) -> Vec<Answer> {
    let good = json!({ "value": canary }).to_string();
    let mut answers = Vec::new();
    for client in [us.clone(), us.with("idempotency-key", "once"), us.with("idempotency-key", "once")] {
        let answer = client.send("PUT", "/v1/secrets/KEY", good.clone()).await;
        assert_eq!(answer.code, 200);
        answers.push(answer);
    }
    for body in [
        format!(r#"{{"value": {canary}}}"#),
        format!(r#"{{"value": ["{canary}"]}}"#),
        format!(r#"{{"value": {{"{canary}": 1}}}}"#),
        format!(r#"{{"{canary}": "x"}}"#),
        format!(r#"{{"value": "{canary}", "value": "{canary}"}}"#),
        format!(r#"{{"value": "{canary}", "{canary}": 1}}"#),
        format!(r#""{canary}""#),
        format!(r#"["{canary}"]"#),
        canary.to_owned(),
        format!(r#"{{"value": "{canary}"#),
        format!(r#"{{"value": "{canary}"}} {canary}"#),
        format!(r#"{{"value": "{canary}\n"}}"#),
        format!(r#"{{"value": "{canary}\u0000"}}"#),
        format!(r#"{{"value": "{canary}\ud800"}}"#),
        format!(r#"{{"value": "{}"}}"#, canary.repeat(300)),
    ] {
        let answer = us.send("PUT", "/v1/secrets/KEY", body.clone()).await;
        assert_eq!(answer.code, 400, "{}", body.replace(canary, "<canary>"));
        answers.push(answer);
    }
    let broken = [good.trim_end_matches('}').as_bytes(), b"\xff\xfe\"}"].concat();
    answers.push(us.send("PUT", "/v1/secrets/KEY", broken).await);
    let lesser = us.new_key(json!({"scopes": ["agents:write"]})).await;
    let nobody = us.with_key("ag_live_nothing");
    let strange = us.with("x-org-id", "another");
    for (client, method, path, code) in [
        (us, "PUT", "/v1/secrets/bad%20name", 400),
        (us, "PUT", &format!("/v1/secrets/{canary}."), 400),
        (us, "DELETE", &format!("/v1/secrets/{canary}."), 404),
        (us, "POST", "/v1/secrets/KEY", 405),
        (us, "PATCH", &format!("/v1/secrets/{canary}"), 405),
        (us, "PUT", "/v1/secrets/KEY/value", 404),
        (&us.with("idempotency-key", "\u{e9}"), "PUT", "/v1/secrets/KEY", 400),
        (&lesser, "PUT", "/v1/secrets/KEY", 403),
        (&nobody, "PUT", "/v1/secrets/KEY", 401),
        (&strange, "PUT", "/v1/secrets/KEY", 403),
        (us, "GET", "/v1/secrets", 200),
    ] {
        let answer = client.send(method, path, good.clone()).await;
        assert_eq!(answer.code, code, "{method} {}", path.replace(canary, "<canary>"));
        answers.push(answer);
    }
    answers
}

/// Sends it to an MCP server that repeats it wherever it can, when an agent is saved and when its tool is called.
async fn through_a_server(muster: &Muster, canary: &str) -> Vec<Answer> {
    let server = Raw::start(|method, _, message| {
        let said = message["authorization"].as_str().unwrap_or("nothing");
        let tool = json!({"name": "act", "description": said, "inputSchema": {"type": "object", "title": said}});
        match method {
            "tools/list" => Some(Reply::Result(json!({"tools": [tool], "_meta": {said: said}}))),
            "tools/call" => Some(Reply::Result(json!({"content": [{"type": "text", "text": said}]}))),
            _ => None,
        }
    })
    .await;
    let headers = json!({"Authorization": "Bearer {{secret:KEY}}"});
    let tool = json!({"type": "mcp", "name": "shop", "url": server.url(), "headers": headers});
    let body = json!({"name": "actor", "model": "demo/scripted-l0", "tools": [tool]});
    let saved = muster.us.post("/v1/agents", body).await;
    let run = muster.us.run(saved.body["id"].as_str().unwrap(), "call shop__act").await;
    Box::pin(muster.drain()).await;
    let sent = server.asked("tools/call");
    assert!(sent.len() == 1 && sent[0]["authorization"] == format!("Bearer {canary}"), "it was not sent");
    let messages = muster.us.get(&format!("/v1/runs/{run}/messages")).await;
    assert!(messages.text.contains("Bearer [secret]"), "it was not answered");
    vec![saved, messages]
}

/// The same calls when the list of names cannot be read.
async fn failures(muster: &Muster, canary: &str) -> Vec<Answer> {
    let key = Key::new(Table::Agents, format!("O#{}#SECRETS", muster.us.org), "LIST");
    let row = Row { key, rev: Rev::fresh(), body: "{".to_owned(), listed: None, due: None, expires_at_s: None };
    muster.app.store().backend().transact(vec![Write::Put(row, When::Any)]).await.unwrap();
    let put = muster.us.send("PUT", "/v1/secrets/KEY", json!({ "value": canary }).to_string()).await;
    let answers = vec![put, muster.us.get("/v1/secrets").await, muster.us.delete("/v1/secrets/KEY").await];
    assert!(answers.iter().all(|answer| answer.code == 500));
    answers
}

/// Every byte of the SQLite file and what belongs to it, or every attribute of every item of the tables.
async fn stored(muster: &Muster) -> Vec<u8> {
    match muster.app.store().backend() {
        shared::store::Backend::Sqlite(_) => {
            let files = std::fs::read_dir(muster.kept::<TempDir>().path()).unwrap();
            files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
        }
        shared::store::Backend::Dynamo(_) => items(muster.kept::<Database>()).await,
        shared::store::Backend::Simulated(rows) => {
            rows.every_row().iter().flat_map(|row| row.body.clone().into_bytes()).collect()
        }
    }
}

async fn items(database: &Database) -> Vec<u8> {
    let mut bytes = Vec::new();
    for table in Table::ALL {
        let scan = database.client.scan().table_name(format!("{}{}", database.prefix, table.name()));
        for item in scan.send().await.unwrap().items() {
            for value in item.values() {
                match (value.as_s().or_else(|_| value.as_n()), value.as_b()) {
                    (Ok(text), _) => bytes.extend_from_slice(text.as_bytes()),
                    (_, Ok(blob)) => bytes.extend_from_slice(blob.as_ref()),
                    _ => bytes.extend_from_slice(format!("{value:?}").as_bytes()),
                }
            }
        }
    }
    bytes
}

/// The value as it is, in hexadecimal, and within base64 at each of its three places.
fn forms(canary: &str) -> Vec<String> {
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![canary.to_owned(), hex.to_uppercase(), hex];
    for before in 0..3 {
        let text = STANDARD_NO_PAD.encode(["\0".repeat(before).as_str(), canary].concat());
        // The characters at both ends depend on what is beside the value.
        forms.push(text[if before == 0 { 0 } else { 4 }..text.len() - 2].to_owned());
    }
    forms
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
