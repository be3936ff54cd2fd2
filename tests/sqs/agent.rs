//! A run whose agent has a tool that is a Lambda function, from the call that starts it to its end: the emulator runs the function.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use model_server::{Options, Server};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use shared::{
    App,
    api_key::{self, NewKey},
    clock::Clock,
    config::{Config, LEASE_MS, SyncRuns},
    engine,
    file::{Files, Folder, Limits},
    limit::Limiter,
    model::settings::Settings,
    queue::{
        Queue,
        embedded::{Embedded, Receiver},
    },
    store::{Backend, Store, sqlite::Sqlite},
};
use tempfile::TempDir;

use crate::{emulator::Emulator, lambda};

/// An application with what the emulator is for it, a key, a queue and a model server.
pub(crate) struct Muster {
    pub(crate) app: App,
    key: String,
    pub(crate) receiver: Receiver,
    pub(crate) models: Server,
    shift: Arc<AtomicI64>,
    _folder: TempDir,
}

impl Muster {
    pub(crate) async fn with(own: impl FnOnce(App) -> App) -> Self {
        let (folder, models) = (tempfile::tempdir().unwrap(), Server::start(Options::default()).await.unwrap());
        let base_url = format!("http://{}", models.addr());
        let config = Config {
            pepper: SecretString::from("a pepper for tests, 32 bytes long"),
            models: Settings::from_lookup(|name| (name == "OPENAI_BASE_URL").then(|| base_url.clone())),
            judge_model: None,
            embedding_model: None,
            lease_ms: LEASE_MS,
            model_timeout_ms: 10_000,
            sync_runs: SyncRuns::InProcess { limit_ms: 30_000 },
            allow_cidrs: Vec::new(),
            completions_path: None,
            files: Limits::default(),
            sole_epoch: None,
        };
        let (queue, receiver) = Embedded::new();
        let store = Store::new(Backend::Sqlite(Sqlite::open(&folder.path().join("muster.db")).unwrap()));
        let files = Files::Folder(Folder::new(folder.path().join("files")));
        let shift = Arc::new(AtomicI64::new(0));
        let clock = Clock::Shifted(Arc::clone(&shift));
        let app = own(App::new(config, clock, store, Queue::Embedded(queue), files, Limiter::in_memory()).unwrap());
        let (_, minted) = api_key::create_for_organisation(&app, "us", NewKey::default()).await.unwrap();
        Self { app, key: minted.secret.expose_secret().to_owned(), receiver, models, shift, _folder: folder }
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn pass(&self, millis: i64) {
        self.shift.fetch_add(millis, Ordering::Relaxed);
    }

    /// The status and body of an answer at the border.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", self.key)).body(body).unwrap();
        let response = functions::handle(&self.app, request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// A run of an agent with that function as its tool, to its end: how it ended, and what its calls came to.
    async fn run(&mut self, function: &str, message: &str) -> (Value, Vec<Value>) {
        let tool = json!({"type": "lambda", "name": "act", "function": function, "policy": "once",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "fail": {"type": "string"}}}});
        let agent = json!({"name": "traveller", "model": "openai/fake", "tools": [tool]});
        let (status, agent) = self.send("POST", "/v1/agents", agent).await;
        assert_eq!(status, 201, "{agent}");
        let path = format!("/v1/agents/{}/runs", agent["id"].as_str().unwrap());
        let (status, run) = self.send("POST", &path, json!({ "message": message })).await;
        assert_eq!(status, 202, "{run}");
        let chunk = self.receiver.receive().await.unwrap();
        engine::work_on(&self.app, chunk, None).await.unwrap();
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        let (_, messages) = self.send("GET", &format!("{path}/messages"), Value::Null).await;
        let calls = messages["data"].as_array().unwrap().iter().filter(|message| message["role"] == "tool");
        (self.send("GET", &path, Value::Null).await.1, calls.cloned().collect())
    }
}

#[tokio::test]
async fn an_agent_acts_through_a_function() {
    let emulator = Emulator::start().await;
    lambda::make(&emulator, "act").await;
    let (functions, service) = lambda::functions(&emulator, &["act", "cut-off"]).await;
    let mut muster = Muster::with(|app| app.with_functions(functions)).await;

    let (ended, calls) =
        muster.run("act", "call act {\"city\": \"Oslo\"}\nthen\ncall act {\"city\": \"Bergen\"}\nsay been there").await;
    assert_eq!(json!([ended["status"], ended["result"]]), json!(["done", "been there"]), "{ended}");
    let told =
        |call: &Value| serde_json::from_str::<Value>(call["content"].as_str().unwrap()).unwrap()["got"]["city"].clone();
    assert_eq!(calls.iter().map(told).collect::<Vec<Value>>(), ["Oslo", "Bergen"], "{calls:?}");
    assert!(calls.iter().all(|call| call["outcome"] == "answered"), "{calls:?}");
    let id = ended["id"].as_str().unwrap();
    let keys: Vec<Value> =
        service.contexts().iter().map(|context| context["custom"]["idempotencyKey"].clone()).collect();
    assert_eq!(keys, [json!(format!("{id}/2")), json!(format!("{id}/4"))], "each call has a key of its own, once");

    let (ended, calls) = muster.run("act", "call act {\"fail\": \"no such city\"}\nsay sorry").await;
    assert_eq!(json!([ended["status"], calls[0]["outcome"]]), json!(["done", "failed"]), "{calls:?}");
    assert!(calls[0]["content"].as_str().unwrap().contains("no such city"), "{calls:?}");

    // The connection breaks: nobody knows whether it ran, and it is not invoked again.
    let before = service.contexts().len();
    let (ended, calls) = muster.run("cut-off", "call act {\"city\": \"Oslo\"}\nsay who knows").await;
    assert_eq!(json!([ended["status"], calls[0]["outcome"]]), json!(["done", "unknown"]), "{calls:?}");
    assert_eq!((service.contexts().len(), muster.models.stats().calls), (before + 1, 3 + 2 + 2));
}
