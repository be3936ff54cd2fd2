//! Secrets with values that are nowhere else are taken wherever secrets go, with every log line there is: a secret of an organisation
//! through every call and every refusal, to tools and MCP servers that repeat it in every way; providers' keys and addresses to providers that
//! do; signed addresses of attachments. They must then be in no answer, no log line, and in nothing that is stored; and what is told
//! once, as a new key or an address for an upload, in nothing else. Each backend has a process of its own, as a process has one log.

mod issued;
mod kinds;
mod providers;
mod put;
mod tools;

use std::{env, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use shared::store::row::Table;
use tempfile::TempDir;
use tracing_subscriber::{filter::LevelFilter, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};
use uuid::Uuid;

use crate::{
    dynamo::Database,
    harness::{Log, Muster},
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
    assert!(!every_form(&canary).iter().any(|form| holds(&said, form)), "{text}");
}

/// Without its variable it is no test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "the tests have no configuration of their own")]
async fn child_with_a_secret() {
    let Ok(said) = env::var(CHILD) else { return };
    let (backend, canary) = said.split_once(' ').unwrap();
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    // The one crate whose lines no host writes because of what it says.
    let shown = Targets::new().with_default(LevelFilter::TRACE).with_target("genai", LevelFilter::OFF);
    tracing_subscriber::registry().with(shown).with(lines).init();
    let muster = if backend == "sqlite" { Muster::on_sqlite().await } else { Muster::on_dynamo().await };
    let providers = providers::start().await;
    let muster = muster.with_models(providers::settings(&providers, canary));

    let mut answers = put::calls(&muster.us, canary).await;
    answers.extend(put::providers(&muster.us, canary).await);
    answers.extend(put::triggers(&muster.us, canary).await);
    answers.extend(providers::own(&muster, canary).await);
    answers.extend(tools::through_a_server(&muster, canary).await);
    answers.extend(tools::through_requests(&muster, canary).await);
    answers.extend(kinds::through_refusals(&muster, canary).await);
    answers.extend(providers::asked(&muster, &providers, canary).await);
    answers.extend(issued::attached(&muster, canary).await);
    let (issued, others) = issued::told_once(&muster).await;
    let stored = stored(&muster).await;
    assert!(holds(&stored, "S#KEY") && holds(&stored, "sealed"), "what is stored was not looked at");
    answers.push(muster.us.delete("/v1/secrets/KEY").await);
    answers.extend(put::failures(&muster, canary).await);

    let log = log.0.lock().unwrap().clone();
    for line in ["put_secret", "refused: invalid input", "the store is broken", "a model call failed", "did not answer"]
    {
        assert!(holds(&log, line), "the log was not kept: no '{line}'");
    }
    assert!(holds(&log, "TRACE"), "not every line was kept");
    for form in every_form(canary) {
        assert!(!holds(&stored, &form), "in the store: {}", before(&stored, &form));
        assert!(!holds(&log, &form), "in the log: {}", line_with(&log, &form));
        for answer in answers.iter().chain(&others) {
            let headers = format!("{:?}", answer.headers);
            let seen = answer.text.contains(&form) || headers.contains(&form);
            assert!(!seen, "in an answer of {}: {}", answer.code, answer.text.replace(&form, "<canary>"));
        }
    }
    for secret in issued.iter().chain([&muster.us.key()]) {
        assert!(!holds(&log, secret) && !holds(&stored, secret), "what is told once: {}", line_with(&log, secret));
        assert!(answers.iter().chain(&others).all(|answer| !answer.text.contains(secret.as_str())), "told again");
    }
    println!(
        "{} answers, {} bytes of log and {} that are stored: 0 found",
        answers.len() + others.len(),
        log.len(),
        stored.len()
    );
}

/// What stands before it.
fn before(bytes: &[u8], secret: &str) -> String {
    let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&bytes[at.saturating_sub(500)..at]).into_owned()
}

/// The line that has it, without it.
fn line_with(log: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(log);
    let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default();
    line.replace(secret, "<canary>").chars().take(500).collect()
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

/// The forms of every value that must be nowhere.
fn every_form(canary: &str) -> Vec<String> {
    [vec![canary.to_owned()], kinds::parts(canary)].concat().iter().flat_map(|value| forms(value)).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}
