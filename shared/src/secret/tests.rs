//! Filling, over a SQLite file: what is missing, moved or kept under another pepper.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

use std::collections::BTreeSet;

use super::*;
use crate::{
    clock::Clock,
    config::{Config, LEASE_MS, MODEL_TIMEOUT_MS, SyncRuns},
    file::{Files, Folder},
    id::{KeyId, OrgId},
    limit::{KeyLimits, Limiter},
    model::settings::Settings,
    queue::{Queue, embedded::Embedded},
    store::{
        Backend, Store,
        row::{Key, Rev, Row, Table, When, Write},
        sqlite::Sqlite,
    },
};

const PEPPER: &str = "a pepper for tests, 32 bytes long";

fn store() -> Store {
    let path = std::env::temp_dir().join(format!("muster-secret-{}.db", uuid::Uuid::now_v7()));
    let store = Store::new(Backend::Sqlite(Sqlite::open(&path).unwrap()));
    // The file goes when the store closes it.
    std::fs::remove_file(&path).unwrap();
    store
}

fn app(store: &Store, pepper: &str) -> App {
    let config = Config {
        pepper: SecretString::from(pepper),
        models: Settings::from_lookup(|_| None),
        judge_model: None,
        embedding_model: None,
        lease_ms: LEASE_MS,
        model_timeout_ms: MODEL_TIMEOUT_MS,
        sync_runs: SyncRuns::InProcess { limit_ms: 1_000 },
        allow_cidrs: Vec::new(),
        completions_path: None,
        files: crate::file::Limits::default(),
        sole_epoch: None,
    };
    let (queue, _) = Embedded::new();
    let files = Files::Folder(Folder::new(std::env::temp_dir().join("no-files")));
    App::new(config, Clock::System, store.clone(), Queue::Embedded(queue), files, Limiter::in_memory()).unwrap()
}

fn caller(app: &App) -> Caller {
    let tenant = Tenant::of(OrgId::new(app.now()));
    let key_id = KeyId::new(app.now());
    Caller { tenant, key_id, scopes: Vec::new(), limits: KeyLimits::default(), budget_of: key_id }
}

async fn given(app: &App, caller: &Caller, name: &str, value: &str) {
    put(app, caller, name, &SecretString::from(value)).await.unwrap();
}

async fn filled(app: &App, caller: &Caller, template: &str) -> String {
    let opened = open(app, caller.tenant(), [template]).await.unwrap();
    opened.fill(template).unwrap().expose_secret().to_owned()
}

async fn unfilled(app: &App, caller: &Caller, template: &str) -> String {
    open(app, caller.tenant(), [template]).await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_a_tool_says_of_a_secret_is_taken_out() {
    let app = app(&store(), PEPPER);
    let caller = caller(&app);
    given(&app, &caller, "KEY", "a \"quoted\" key").await;
    given(&app, &caller, "PIN", "1234").await;
    let opened = open(&app, caller.tenant(), ["{{secret:KEY}}", "{{secret:PIN}}"]).await.unwrap();
    let echo = |text: &str| opened.redaction().clean(text.as_bytes(), false);
    assert_eq!(echo("you sent a \"quoted\" key, 1234"), "you sent [secret], 1234");
    assert_eq!(echo(r#"{"sent": "a \"quoted\" key"}"#), r#"{"sent": "[secret]"}"#);
}

#[tokio::test]
async fn a_template_takes_what_the_secret_is_at_that_moment() {
    let app = app(&store(), PEPPER);
    let caller = caller(&app);
    assert_eq!(filled(&app, &caller, "no secret {{here}}").await, "no secret {{here}}");
    given(&app, &caller, "KEY", "one").await;
    given(&app, &caller, "USER", "me").await;
    assert_eq!(filled(&app, &caller, "{{secret:USER}}:{{secret:KEY}};{{secret:KEY}}").await, "me:one;one");
    given(&app, &caller, "KEY", "two").await;
    assert_eq!(filled(&app, &caller, "Bearer {{secret:KEY}}").await, "Bearer two");
    delete(&app, &caller, "KEY").await.unwrap();
    assert_eq!(unfilled(&app, &caller, "{{secret:USER}}{{secret:KEY}}").await, "there is no secret named 'KEY'");
    assert!(unfilled(&app, &caller, "{{secret:").await.contains("{{secret:NAME}}"));
}

#[tokio::test]
async fn a_row_that_was_moved_does_not_open() {
    let store = store();
    let app = app(&store, PEPPER);
    let (ours, theirs) = (caller(&app), caller(&app));
    given(&app, &ours, "KEY", "canary").await;
    let place = |caller: &Caller, name: &str| {
        Key::new(Table::Agents, format!("O#{}#SECRETS", caller.tenant().org()), format!("S#{name}"))
    };
    let row = store.backend().get(&place(&ours, "KEY")).await.unwrap().unwrap();
    assert!(!row.body.contains("canary"));
    for (caller, name) in [(&theirs, "KEY"), (&ours, "OTHER")] {
        let moved = Row { key: place(caller, name), rev: Rev::fresh(), ..row.clone() };
        store.backend().transact(vec![Write::Put(moved, When::Absent)]).await.unwrap();
        let said = unfilled(&app, caller, &format!("{{{{secret:{name}}}}}")).await;
        assert_eq!(said, format!("the secret '{name}' cannot be opened: put it again"));
    }
    assert_eq!(filled(&app, &ours, "{{secret:KEY}}").await, "canary");
}

#[tokio::test]
async fn organisations_have_secrets_of_the_same_name_apart() {
    let app = app(&store(), PEPPER);
    let (ours, theirs) = (caller(&app), caller(&app));
    given(&app, &ours, "KEY", "ours").await;
    assert_eq!(unfilled(&app, &theirs, "{{secret:KEY}}").await, "there is no secret named 'KEY'");
    given(&app, &theirs, "KEY", "theirs").await;
    assert_eq!(filled(&app, &ours, "{{secret:KEY}}").await, "ours");
    delete(&app, &theirs, "KEY").await.unwrap();
    assert_eq!(filled(&app, &ours, "{{secret:KEY}}").await, "ours");
}

#[tokio::test]
async fn another_pepper_opens_nothing() {
    let store = store();
    let before = app(&store, PEPPER);
    let caller = caller(&before);
    given(&before, &caller, "KEY", "canary").await;
    let after = app(&store, "another pepper, also long enough");
    assert!(matches!(open(&after, caller.tenant(), ["{{secret:KEY}}"]).await, Err(Unfilled::Closed { .. })));
    given(&after, &caller, "KEY", "again").await;
    assert_eq!(filled(&after, &caller, "{{secret:KEY}}").await, "again");
}

#[tokio::test]
async fn secrets_put_at_the_same_time_are_all_kept_up_to_the_limit() {
    let app = app(&store(), PEPPER);
    let caller = caller(&app);
    for number in 0..SECRETS_LIMIT - 5 {
        given(&app, &caller, &format!("N{number:03}"), "x").await;
    }
    let value = SecretString::from("x");
    let racing = (0..10).map(|number| format!("R{number}")).collect::<Vec<_>>();
    let puts = racing.iter().map(|name| put(&app, &caller, name, &value));
    let outcomes = futures_util::future::join_all(puts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    for refused in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(refused, Error::Conflict(_)), "{refused}");
    }
    given(&app, &caller, "N000", "another value of one that is there").await;
    let mut listed = BTreeSet::new();
    let mut after = None;
    loop {
        let page = list(&app, &caller, &PageRequest::new(Some(60), after).unwrap()).await.unwrap();
        assert!(page.entries.iter().all(|secret| listed.insert(secret.name.clone())));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), SECRETS_LIMIT);
    delete(&app, &caller, "N001").await.unwrap();
    given(&app, &caller, "NEW", "x").await;
}
