//! Schedules whose times EventBridge Scheduler says, through its SDK and the workers' queue, against the emulator.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use aws_sdk_scheduler::Client;
use bytes::Bytes;
use http_body_util::BodyExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use shared::{
    App,
    api_key::{self, NewKey},
    clock::{Clock, Timestamp},
    config::{Config, LEASE_MS, SyncRuns},
    engine,
    file::{Files, Folder, Limits},
    limit::Limiter,
    model::settings::Settings,
    queue::{Chunk, Queue, sqs::Sqs},
    schedule::{EventBridge, Timers},
    store::{Backend, Store, sqlite::Sqlite},
};

use crate::emulator::Emulator;

const GROUP: &str = "timers";
const ROLE: &str = "arn:aws:iam::000000000000:role/timers";

/// A Muster whose timers are the emulator's.
struct Muster {
    app: App,
    key: String,
    agent: String,
    shift: Arc<AtomicI64>,
    timers: Client,
    queue: aws_sdk_sqs::Client,
    queue_url: String,
    queue_arn: String,
    _emulator: Emulator,
    _folder: tempfile::TempDir,
}

impl Muster {
    async fn start() -> Self {
        let emulator = Emulator::start().await;
        let aws = emulator.config().await;
        let (timers, queue) = (Client::new(&aws), aws_sdk_sqs::Client::new(&aws));
        timers.create_schedule_group().name(GROUP).send().await.unwrap();
        let queue_url = queue.create_queue().queue_name("worker").send().await.unwrap().queue_url.unwrap();
        let queue_arn = "arn:aws:sqs:eu-west-1:000000000000:worker".to_owned();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(Backend::Sqlite(Sqlite::open(&folder.path().join("muster.db")).unwrap()));
        let config = Config {
            pepper: SecretString::from("a pepper for tests, 32 bytes long"),
            models: Settings::from_lookup(|_| None),
            judge_model: None,
            embedding_model: None,
            lease_ms: LEASE_MS,
            model_timeout_ms: 1_000,
            sync_runs: SyncRuns::InProcess { limit_ms: 30_000 },
            allow_cidrs: Vec::new(),
            completions_path: None,
            files: Limits::default(),
            sole_epoch: None,
        };
        let files = Files::Folder(Folder::new(folder.path().join("files")));
        let shift = Arc::new(AtomicI64::new(0));
        let sqs = Queue::Sqs(Sqs::new(queue.clone(), queue_url.clone(), queue_url.clone()));
        let clock = Clock::Shifted(Arc::clone(&shift));
        let app = App::new(config, clock, store, sqs, files, Limiter::in_memory()).unwrap();
        let bridge = EventBridge::new(&aws, GROUP.to_owned(), ROLE.to_owned(), queue_arn.clone());
        let app = app.with_timers(Timers::EventBridge(bridge));
        let (_, minted) = api_key::create_for_organisation(&app, "us", NewKey::default()).await.unwrap();
        let key = minted.secret.expose_secret().to_owned();
        let mut muster = Self {
            app,
            key,
            agent: String::new(),
            shift,
            timers,
            queue,
            queue_url,
            queue_arn,
            _emulator: emulator,
            _folder: folder,
        };
        let (status, agent) =
            muster.send("POST", "/v1/agents", json!({"name": "x", "model": "demo/scripted-l0"})).await;
        assert_eq!(status, 201, "{agent}");
        muster.agent = agent["id"].as_str().unwrap().to_owned();
        muster
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", self.key)).body(body).unwrap();
        let response = functions::handle(&self.app, request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn schedule(&self, when: &str) -> Value {
        let body = json!({"agent_id": self.agent, "name": "x", "schedule": when, "message": "hi"});
        let (status, made) = self.send("POST", "/v1/schedules", body).await;
        assert_eq!(status, 201, "{made}");
        made
    }

    /// What the schedule's timer says, if there is one.
    async fn timer(&self, schedule: &Value) -> Option<String> {
        let name = schedule["id"].as_str().unwrap().strip_prefix("sched_").unwrap();
        let timer = self.timers.get_schedule().name(name).group_name(GROUP).send().await;
        match timer {
            Ok(timer) => {
                let target = timer.target().unwrap();
                assert_eq!((target.arn(), target.role_arn()), (self.queue_arn.as_str(), ROLE));
                assert_eq!(timer.schedule_expression_timezone(), Some("UTC"));
                assert!(target.input().unwrap().contains(name));
                timer.schedule_expression
            }
            Err(error) => {
                assert!(error.as_service_error().unwrap().is_resource_not_found_exception(), "{error:?}");
                None
            }
        }
    }

    /// The next message on the queue, if one comes within so many seconds.
    async fn receive(&self, seconds: u32) -> Option<Chunk> {
        for _ in 0..seconds {
            let call = self.queue.receive_message().queue_url(&self.queue_url).wait_time_seconds(1);
            let message = call.send().await.unwrap().messages.unwrap_or_default().pop();
            if let Some(message) = message {
                let (queue, receipt) = (&self.queue_url, message.receipt_handle.unwrap());
                self.queue.delete_message().queue_url(queue).receipt_handle(receipt).send().await.unwrap();
                return Some(Chunk::from_body(&message.body.unwrap()).unwrap());
            }
        }
        None
    }
}

/// The schedule's next time, as a timer says it: to the second, and never too early.
fn said(schedule: &Value) -> Option<String> {
    let seconds = Timestamp::parse_rfc3339(schedule["next_at"].as_str()?).unwrap().seconds_ceil();
    let whole = Timestamp::from_millis(seconds * 1_000).rfc3339_seconds();
    Some(format!("at({})", whole.trim_end_matches('Z')))
}

#[tokio::test]
async fn a_timer_says_when_a_time_has_come_and_is_gone_when_there_is_none() {
    let muster = Muster::start().await;
    let soon = muster.app.now().plus_ms(4_000).rfc3339_seconds();
    let schedule = muster.schedule(&format!("at({})", soon.trim_end_matches('Z'))).await;
    assert_eq!(muster.timer(&schedule).await, said(&schedule));
    let chunk = muster.receive(40).await.expect("the timer says that the time has come");
    assert_eq!(chunk.schedule.map(|id| json!(id.prefixed())), Some(schedule["id"].clone()));
    for _ in 0..3 {
        engine::work_on(&muster.app, chunk.clone(), None).await.unwrap();
    }
    let path = format!("/v1/schedules/{}", schedule["id"].as_str().unwrap());
    let (_, seen) = muster.send("GET", &path, Value::Null).await;
    assert_eq!(json!([seen["status"], seen["last_firing"]["outcome"]]), json!(["ended", "started"]));
    assert_eq!(muster.timer(&schedule).await, None);
    let run = muster.receive(5).await.expect("the run wants a worker");
    assert_eq!((run.runs.len(), run.schedule), (1, None));
    engine::work_on(&muster.app, run, None).await.unwrap();
    let (_, runs) = muster.send("GET", "/v1/runs", Value::Null).await;
    assert_eq!(json!([runs["data"].as_array().unwrap().len(), runs["data"][0]["status"]]), json!([1, "done"]));
}

#[tokio::test]
async fn a_timer_follows_its_schedule_and_the_reaper_looks_after_both() {
    let muster = Muster::start().await;
    let schedule = muster.schedule("cron(0 9 * * ? *)").await;
    assert_eq!(muster.timer(&schedule).await, said(&schedule));
    let path = format!("/v1/schedules/{}", schedule["id"].as_str().unwrap());
    let patch = async |body: Value| muster.send("PATCH", &path, body).await.1;
    let changed = patch(json!({"timezone": "Asia/Tokyo"})).await;
    assert_ne!(said(&changed), said(&schedule));
    assert_eq!(muster.timer(&schedule).await, said(&changed));
    patch(json!({"paused": true})).await;
    assert_eq!(muster.timer(&schedule).await, None);
    let resumed = patch(json!({"paused": false, "schedule": "rate(1 hour)"})).await;
    assert_eq!(muster.timer(&schedule).await, said(&patch(json!({"name": "y"})).await));
    // What the timer should have said is lost: the reaper looks a minute and a half later.
    muster.shift.fetch_add(3_600_000 + 60_000, Ordering::Relaxed);
    assert_eq!(engine::reap(&muster.app).await.unwrap(), engine::Reaped::default());
    muster.shift.fetch_add(31_000, Ordering::Relaxed);
    assert_eq!(engine::reap(&muster.app).await.unwrap().schedules, 1);
    let (_, seen) = muster.send("GET", &path, Value::Null).await;
    assert_eq!(seen["last_firing"]["scheduled_at"], resumed["next_at"]);
    assert_eq!(muster.timer(&schedule).await, said(&seen));
    assert_eq!(muster.send("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(muster.timer(&schedule).await, None);
}
