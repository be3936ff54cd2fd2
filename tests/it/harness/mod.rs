//! A Muster in this process: every route, the queue, a clock that a test can move, a model server, two organisations. On each
//! backend the rest is as its host has it: limits in memory and alone on SQLite, limits in the store beside others on DynamoDB.

mod client;
mod document;
mod log;
mod receiver;
mod redact;

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) use client::{Answer, Client, text};
pub(crate) use document::{assert_documented, document};
pub(crate) use log::Log;
use model_server::{Options, Server};
pub(crate) use receiver::{Got, Receiver as Endpoint, Reply};
pub(crate) use redact::redacted;
use secrecy::{ExposeSecret, SecretString};
use shared::{
    App, Caller,
    api_key::{self, NewKey},
    clock::Clock,
    config::{Config, LEASE_MS, SyncRuns},
    engine,
    file::{self, Files, Folder, Limits},
    limit::Limiter,
    model::settings::Settings,
    queue::{
        Chunk, Queue,
        embedded::{Embedded, Receiver},
    },
    store::{Backend, Store, sqlite::Sqlite},
};
use tokio::{sync::Mutex, task::AbortHandle};

use crate::dynamo::Faults;

/// Makes a test of each case on each backend: `<module>::on_sqlite::<case>` and `<module>::on_dynamo::<case>`.
macro_rules! on_every_backend {
    ($($case:ident),* $(,)?) => {
        $crate::harness::on_every_backend!(@backend on_sqlite $($case)*);
        $crate::harness::on_every_backend!(@backend on_dynamo $($case)*);
    };
    (@backend $backend:ident $($case:ident)*) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::harness::Muster::$backend().await).await;
            })*
        }
    };
}

pub(crate) use on_every_backend;

/// A price for some models of the model server; `openai/fake-l1` has none.
const PRICES: &str = r#"{"models": [
    {"name": "openai/fake", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-e1", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-l80", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-t1", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-t1-p20", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-t1-p50", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-t999", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-l20", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-l20-r1", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-l500", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-u", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-y", "input": 1000000, "output": 2000000},
    {"name": "openai/fake-q", "input": 1, "output": 1}
]}"#;

/// The longest that a test waits for what happens beside it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a developer asks of a test.
#[expect(clippy::disallowed_methods, reason = "what a developer asks of a test")]
pub(crate) fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How long a model may take for an answer here, in milliseconds.
pub(crate) const MODEL_TIMEOUT_MS: u64 = 10_000;

/// A Muster, all of it.
pub(crate) struct Muster {
    pub(crate) app: App,
    /// What `openai/…` models are.
    pub(crate) models: Server,
    /// With a key that may do everything, of one organisation.
    pub(crate) us: Client,
    /// The same, of another.
    pub(crate) them: Client,
    shift: Arc<AtomicI64>,
    queue: Embedded,
    receiver: Arc<Mutex<Receiver>>,
    worker: Option<AbortHandle>,
    keep: Box<dyn Any + Send + Sync>,
    /// The bytes of files.
    files: tempfile::TempDir,
}

impl Muster {
    pub(crate) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::Sqlite(Sqlite::open(&folder.path().join("muster.db")).unwrap());
        let epoch = uuid::Uuid::now_v7().to_string();
        Self::over(backend, Box::new(folder), Limiter::in_memory(), Some(epoch)).await
    }

    pub(crate) async fn on_dynamo() -> Self {
        let (backend, database) = crate::dynamo::fixture_with_faults(0, Faults::default()).await;
        Self::over(backend, Box::new(database), Limiter::in_store(), None).await
    }

    /// As [`Muster::on_dynamo`], on a database whose calls fail now and then.
    pub(crate) async fn on_faulty_dynamo(seed: u64) -> Self {
        let (backend, database) = crate::dynamo::fixture_with_faults(seed, Faults::USUAL).await;
        Self::over(backend, Box::new(database), Limiter::in_memory(), None).await
    }

    async fn over(
        backend: Backend,
        keep: Box<dyn Any + Send + Sync>,
        limiter: Limiter,
        sole_epoch: Option<String>,
    ) -> Self {
        let models = Server::start(Options::default()).await.unwrap();
        let base_url = format!("http://{}", models.addr());
        let config = Config {
            pepper: SecretString::from("a pepper for tests, 32 bytes long"),
            models: Settings::from_lookup(|name| match name {
                "OPENAI_BASE_URL" => Some(base_url.clone()),
                "MUSTER_PRICES" => Some(PRICES.to_owned()),
                _ => None,
            }),
            judge_model: None,
            embedding_model: None,
            lease_ms: LEASE_MS,
            model_timeout_ms: MODEL_TIMEOUT_MS,
            sync_runs: SyncRuns::InProcess { limit_ms: 30_000 },
            // The tool server of the tests is on this machine.
            allow_cidrs: vec!["127.0.0.1/32".parse().unwrap()],
            completions_path: None,
            files: Limits::default(),
            sole_epoch,
        };
        let (queue, receiver) = Embedded::new();
        let shift = Arc::new(AtomicI64::new(0));
        let clock = Clock::Shifted(Arc::clone(&shift));
        let folder = tempfile::tempdir().unwrap();
        let files = Files::Folder(Folder::new(folder.path().to_owned()));
        let app = App::new(config, clock, Store::new(backend), Queue::Embedded(queue.clone()), files, limiter).unwrap();
        let (us, them) = (client_of(&app, "us").await, client_of(&app, "them").await);
        let receiver = Arc::new(Mutex::new(receiver));
        Self { app, models, us, them, shift, queue, receiver, worker: None, keep, files: folder }
    }

    /// Who calls as `us`, through another process over the same store: it wakes nobody who holds a run in this one.
    pub(crate) fn another_process(&self) -> Client {
        self.us.of(&self.beside(self.app.config().clone(), Limiter::in_store()))
    }

    /// The same with leases of so many milliseconds.
    pub(crate) fn with_lease(self, lease_ms: i64) -> Self {
        let config = Config { lease_ms, ..self.app.config().clone() };
        self.with(config)
    }

    /// The same with that model as the judge of results.
    pub(crate) fn with_judge(self, model: &str) -> Self {
        let config = Config { judge_model: Some(model.to_owned()), ..self.app.config().clone() };
        self.with(config)
    }

    /// The same with that model for embeddings.
    pub(crate) fn with_embeddings(self, model: &str) -> Self {
        let config = Config { embedding_model: Some(model.to_owned()), ..self.app.config().clone() };
        self.with(config)
    }

    /// The same with that path of completions beside their own.
    pub(crate) fn with_completions_path(self, path: &str) -> Self {
        let config = Config { completions_path: Some(path.to_owned()), ..self.app.config().clone() };
        self.with(config)
    }

    /// The same with these limits for files.
    pub(crate) fn with_file_limits(self, files: Limits) -> Self {
        let config = Config { files, ..self.app.config().clone() };
        self.with(config)
    }

    /// The same with these providers, and no others.
    pub(crate) fn with_models(self, models: Settings) -> Self {
        let config = Config { models, ..self.app.config().clone() };
        self.with(config)
    }

    /// How many files of bytes there are, whoever they belong to.
    pub(crate) fn bytes_kept(&self) -> usize {
        let folders = std::fs::read_dir(self.files.path()).unwrap().map(|folder| folder.unwrap().path());
        folders.map(|folder| std::fs::read_dir(folder).unwrap().count()).sum()
    }

    /// The same with these settings.
    fn with(mut self, config: Config) -> Self {
        self.app = self.beside(config, Limiter::in_memory());
        (self.us, self.them) = (self.us.of(&self.app), self.them.of(&self.app));
        self
    }

    /// Another application over the same store, queue and files.
    fn beside(&self, config: Config, limiter: Limiter) -> App {
        let (clock, store) = (Clock::Shifted(Arc::clone(&self.shift)), self.app.store().clone());
        let files = Files::Folder(Folder::new(self.files.path().to_owned()));
        App::new(config, clock, store, Queue::Embedded(self.queue.clone()), files, limiter).unwrap()
    }

    /// What is queued next.
    pub(crate) async fn receive(&self) -> Chunk {
        self.receiver.lock().await.receive().await.unwrap()
    }

    /// The same with a worker that takes what is queued, as a host has it.
    pub(crate) fn at_work(mut self) -> Self {
        let (app, receiver) = (self.app.clone(), Arc::clone(&self.receiver));
        let worker = tokio::spawn(async move {
            while let Some(chunk) = receiver.lock().await.receive().await {
                tokio::spawn(work_on(app.clone(), chunk));
            }
        });
        self.worker = Some(worker.abort_handle());
        self
    }

    /// Works on what is queued until nothing is.
    pub(crate) async fn drain(&self) {
        let mut receiver = self.receiver.lock().await;
        while self.queue.waiting() > 0 {
            let chunk = receiver.receive().await.unwrap();
            engine::work_on(&self.app, chunk, None).await.unwrap();
        }
    }

    /// Works on each message that is queued by two workers at the same moment, as when it is delivered twice.
    pub(crate) async fn drain_twice(&self) {
        let mut receiver = self.receiver.lock().await;
        while self.queue.waiting() > 0 {
            let chunk = receiver.receive().await.unwrap();
            let work = |chunk| Box::pin(engine::work_on(&self.app, chunk, None));
            let (one, other) = tokio::join!(work(chunk.clone()), work(chunk));
            one.and(other).unwrap();
        }
    }

    /// Loses what is queued.
    pub(crate) async fn lose_messages(&self) -> usize {
        let mut receiver = self.receiver.lock().await;
        let mut lost = 0;
        while self.queue.waiting() > 0 {
            receiver.receive().await.unwrap();
            lost += 1;
        }
        lost
    }

    /// How many messages are queued.
    pub(crate) fn queued(&self) -> usize {
        self.queue.waiting()
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn pass(&self, millis: i64) {
        self.shift.fetch_add(millis, Ordering::Relaxed);
    }

    /// The moment that many milliseconds from now, as the surfaces write it.
    pub(crate) fn in_ms(&self, millis: i64) -> String {
        self.app.now().plus_ms(millis).rfc3339()
    }

    pub(crate) async fn reap(&self) -> engine::Reaped {
        let reaped = engine::reap(&self.app).await.unwrap();
        file::sweep(&self.app).await.unwrap();
        reaped
    }

    /// The same by another process over the same store.
    pub(crate) async fn reap_by_another(&self) -> engine::Reaped {
        engine::reap(&self.beside(self.app.config().clone(), Limiter::in_store())).await.unwrap()
    }

    /// What the store lives in: a folder, or a database.
    pub(crate) fn kept<T: 'static>(&self) -> &T {
        self.keep.downcast_ref().unwrap()
    }

    /// Who calls as `client`.
    pub(crate) async fn caller(&self, client: &Client) -> Caller {
        api_key::authenticate(&self.app, Some(&client.key()), None).await.unwrap()
    }

    /// Looks at the path until `found` is content with it.
    pub(crate) async fn until(&self, path: &str, found: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let begun = Instant::now();
        let mut seen = self.us.get(path).await.ok();
        while !found(&seen) {
            assert!(begun.elapsed() < PATIENCE, "{path} did not become what it should: {seen}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = self.us.get(path).await.ok();
        }
        seen
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.abort();
        }
    }
}

async fn work_on(app: App, chunk: Chunk) {
    engine::work_on(&app, chunk, None).await.unwrap();
}

async fn client_of(app: &App, org: &str) -> Client {
    let (org, minted) = api_key::create_for_organisation(app, org, NewKey::default()).await.unwrap();
    Client::new(app.clone(), org, minted.secret.expose_secret())
}
