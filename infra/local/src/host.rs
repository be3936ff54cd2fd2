//! The host: the application over one folder, with the worker, the reaper and the listener around it, in one process.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use secrecy::SecretString;
use shared::{
    App,
    clock::Clock,
    config::{self, Config, LONG_WAIT_MS, SyncRuns},
    engine,
    file::{self, Files, Folder},
    limit::Limiter,
    queue::{
        Chunk, Queue,
        embedded::{Embedded, Receiver},
    },
    s3,
    store::{Backend, Store, sqlite::Sqlite},
    trigger::Buckets,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::http;

/// How many runs are worked on side by side: more wait in the queue.
const RUNS_AT_A_TIME: usize = 10_000;
/// How often a run that may be why earlier processes died is looked at.
const SUSPECT_PERIOD: Duration = Duration::from_millis(20);
/// How often a message is delivered when the store fails, and how long after one time the next is: as a queue service has it.
const DELIVERIES: u32 = 10;
const REDELIVERY: Duration = Duration::from_secs(1);
/// How often the reaper looks.
const REAPER_PERIOD: Duration = Duration::from_secs(1);
/// How long runs in flight may take to end when the process is asked to stop; then they go on after the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How many files and connections the process may have open, if the system lets it: two for each run in flight.
const OPEN_FILES: u64 = 65_536;

/// Why the host cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Another process serves this folder.
    #[error("another process serves {}; there can be one", .0.display())]
    Taken(PathBuf),
    /// The folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] shared::store::Error),
    /// A setting makes no sense.
    #[error(transparent)]
    Setting(#[from] config::Invalid),
    /// The buckets that triggers may read cannot be read.
    #[error("MUSTER_SOURCE_BUCKETS: {0}")]
    Buckets(#[source] shared::error::Fault),
    /// The settings make no application.
    #[error(transparent)]
    Unusable(#[from] shared::app::Unusable),
}

/// The application over this folder, without a host around it: for what an operator does beside a server.
///
/// # Errors
/// As [`Failure`] says.
pub fn app_beside(data: &Path) -> Result<App, Failure> {
    open(data).map(|(app, _)| app)
}

fn open(data: &Path) -> Result<(App, Receiver), Failure> {
    let folder = |source| Failure::Folder { path: data.to_owned(), source };
    fs::create_dir_all(data).map_err(folder)?;
    let pepper = pepper(&data.join("pepper"))?;
    let store = Store::new(Backend::Sqlite(Sqlite::open(&data.join("muster.db"))?));
    let (queue, receiver) = Embedded::new();
    let epoch = uuid::Uuid::now_v7().to_string();
    let config = Config::from_environment(pepper, SyncRuns::InProcess { limit_ms: LONG_WAIT_MS }, Some(epoch))?;
    let files = Files::Folder(files(data));
    let app = App::new(config, Clock::System, store, Queue::Embedded(queue), files, Limiter::in_memory())?;
    Ok((app.with_buckets(buckets()?), receiver))
}

/// The buckets whose objects triggers may read: with the credentials of the environment, if there are any buckets.
fn buckets() -> Result<Buckets, Failure> {
    let name = "MUSTER_SOURCE_BUCKETS";
    let Some(list) = config::variable(name) else { return Ok(Buckets::default()) };
    Ok(Buckets::new(s3::Client::from_environment().map_err(Failure::Buckets)?, name, &list)?)
}

/// Where the bytes of files are.
fn files(data: &Path) -> Folder {
    Folder::new(data.join("files"))
}

/// The folder's secret: made at the first start, readable by its owner alone.
fn pepper(path: &Path) -> Result<SecretString, Failure> {
    let folder = |source| Failure::Folder { path: path.to_owned(), source };
    let mut made = OpenOptions::new();
    made.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut made, 0o600);
    match made.open(path) {
        Ok(mut file) => {
            let mut random = [0; 32];
            File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).map_err(folder)?;
            let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(folder)?;
            Ok(SecretString::from(text))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(path).map_err(folder)?;
            Ok(SecretString::from(text.trim().to_owned()))
        }
        Err(error) => Err(folder(error)),
    }
}

/// A host that serves.
#[derive(Debug)]
pub struct Host {
    /// The application, for who is in the same process.
    pub app: App,
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    listener: JoinHandle<io::Result<()>>,
    worker: JoinHandle<()>,
    reaper: JoinHandle<()>,
    /// Held as long as the host lives, so that no other serves the folder.
    _lock: File,
}

impl Host {
    /// Serves the folder at the address; when this returns, every route answers.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn start(data: &Path, listen: SocketAddr) -> Result<Self, Failure> {
        let _ = rlimit::increase_nofile_limit(OPEN_FILES);
        fs::create_dir_all(data).map_err(|source| Failure::Folder { path: data.to_owned(), source })?;
        let lock = lock(data)?;
        files(data).clear_unfinished().map_err(|source| Failure::Folder { path: data.to_owned(), source })?;
        let (app, receiver) = open(data)?;
        functions::check_completions_path(&app)?;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|source| Failure::Listen { address: listen, source })?;
        let address = listener.local_addr().map_err(|source| Failure::Listen { address: listen, source })?;
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn(work(app.clone(), receiver, stopped.clone()));
        let reaper = tokio::spawn(look_after(app.clone(), stopped.clone()));
        let listener = tokio::spawn(http::serve(listener, app.clone(), until(stopped)));
        Ok(Self { app, address, stop, listener, worker, reaper, _lock: lock })
    }

    /// Stops: no new request, no new run; what is in flight may end for a few seconds, and otherwise goes on after the next start.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = timeout(STOP_PATIENCE, self.listener).await;
        let _ = timeout(STOP_PATIENCE, self.worker).await;
        let _ = self.reaper.await;
    }
}

fn lock(data: &Path) -> Result<File, Failure> {
    let path = data.join("lock");
    let folder = |source| Failure::Folder { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Taken(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(Failure::Folder { path, source }),
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Works on what the queue names, until the host stops; then waits for what is in flight.
async fn work(app: App, mut queue: Receiver, stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(RUNS_AT_A_TIME));
    let stop = until(stopped);
    tokio::pin!(stop);
    loop {
        let chunk = tokio::select! {
            chunk = queue.receive() => chunk,
            () = &mut stop => None,
        };
        let Some(chunk) = chunk else { break };
        let wanted = u32::try_from(chunk.runs.len()).unwrap_or(u32::MAX);
        let Ok(place) = places.clone().acquire_many_owned(wanted).await else { break };
        let app = app.clone();
        tokio::spawn(async move {
            deliver(&app, chunk).await;
            drop(place);
        });
    }
    let all = u32::try_from(RUNS_AT_A_TIME).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
}

/// Works on what a message names: once more after a while when the store fails, and then once more.
async fn deliver(app: &App, chunk: Chunk) {
    for delivery in 1..=DELIVERIES {
        match engine::work_on(app, chunk.clone(), None).await {
            Ok(()) => return,
            Err(shared::Error::Unavailable(_)) if delivery < DELIVERIES => sleep(REDELIVERY).await,
            Err(error) => {
                tracing::error!(error = ?error, "a message was not worked on; the reaper will send it again");
                return;
            }
        }
    }
}

/// Works on runs one after the other, on each until it has got a step further: should one end the process, the others are not in
/// hand.
async fn one_by_one(app: App, suspects: Vec<Chunk>) {
    for chunk in suspects {
        let (worker, runs) = (app.clone(), chunk.clone());
        let work = tokio::spawn(async move { deliver(&worker, runs).await });
        while !work.is_finished() && engine::suspected(&app, &chunk).await {
            sleep(SUSPECT_PERIOD).await;
        }
    }
}

/// Goes on with what an earlier process left, and then looks at what is due, until the host stops. Requests are answered
/// meanwhile: how much was left says nothing about when the host is ready.
async fn look_after(app: App, stopped: watch::Receiver<bool>) {
    let work = async {
        let left = left(&app).await;
        if left.asked > 0 || !left.suspects.is_empty() {
            tracing::info!(runs = left.asked, suspects = left.suspects.len(), "going on with what was left");
        }
        tokio::join!(one_by_one(app.clone(), left.suspects), reap(app.clone()));
    };
    tokio::select! {
        () = work => {}
        () = until(stopped) => {}
    }
}

/// What was left; while it cannot be found, it is looked for again.
async fn left(app: &App) -> engine::Left {
    loop {
        match engine::recover(app).await {
            Ok(left) => return left,
            Err(error) => tracing::error!(error = ?error, "what was left cannot be found; it is looked for again"),
        }
        sleep(REAPER_PERIOD).await;
    }
}

async fn reap(app: App) {
    let mut ticks = interval(REAPER_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = engine::reap(&app).await {
            tracing::error!(error = ?error, "the reaper could not look; it looks again");
        }
        if let Err(error) = file::sweep(&app).await {
            tracing::error!(error = ?error, "files without a row could not be looked for; they are looked for again");
        }
    }
}
