//! `muster serve` as a child process over a folder of its own, with a model server in this process.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use model_server::{Options, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{client::Client, random::Random};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
/// How long a process may take to be ready, or to die when it is bound to.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Served {
    pub(crate) model: Server,
    pub(crate) client: Client,
    child: Child,
    /// A process that stands still while another has its place.
    frozen: Option<Child>,
    address: SocketAddr,
    folder: TempDir,
}

impl Served {
    /// Serves a new folder, with a key that has no limits.
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let model = Server::start(Options::default()).await.unwrap();
        let address = free_address();
        let made = Command::new(MUSTER)
            .args(["key", "create", "--org", "test", "--requests-per-minute", "0", "--in-flight", "0", "--json"])
            .arg("--data")
            .arg(folder.path())
            .output()
            .unwrap();
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let client = Client::new(address, made["key"].as_str().unwrap());
        let child = spawn(&folder, address, &model, &[]);
        let mut served = Self { model, client, child, frozen: None, address, folder };
        served.ready().await;
        served
    }

    /// Starts the process again, to die at that point.
    pub(crate) async fn start_again(&mut self, fault: Option<&str>) {
        let setting = fault.map(|fault| ("MUSTER_FAULT", fault));
        self.start_with(setting.as_slice()).await;
    }

    /// Starts the process again with these settings.
    pub(crate) async fn start_with(&mut self, settings: &[(&str, &str)]) {
        self.child = spawn(&self.folder, self.address, &self.model, settings);
        self.ready().await;
    }

    /// Starts another process over the same folder beside this one, which stands still; false when this one was writing as it
    /// stopped, and so holds the file. What keeps others out, the lock, is taken away: on Lambda there is none.
    #[cfg(feature = "fault-points")]
    pub(crate) async fn starts_beside(&mut self) -> bool {
        std::fs::remove_file(self.folder.path().join("lock")).unwrap();
        self.address = free_address();
        self.client = self.client.at(self.address);
        let beside = spawn(&self.folder, self.address, &self.model, &[]);
        self.frozen = Some(std::mem::replace(&mut self.child, beside));
        while self.client.get("/health").await.is_err() {
            if self.child.try_wait().unwrap().is_some() {
                assert!(self.log().contains("the store is not available"), "the process ended: {}", self.log());
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Starts the process again with these settings if it is dead, and says whether it was. One that dies as it starts is started again.
    #[cfg(feature = "fault-points")]
    pub(crate) async fn revive(&mut self, settings: &[(&str, &str)]) -> bool {
        if self.child.try_wait().unwrap().is_none() {
            return false;
        }
        self.child = spawn(&self.folder, self.address, &self.model, settings);
        while self.client.get("/health").await.is_err() && self.child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(2)).await;
        }
        true
    }

    pub(crate) async fn ready(&mut self) {
        let started = Instant::now();
        while self.client.get("/health").await.is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "the process ended: {}", self.log());
            assert!(started.elapsed() < PATIENCE, "the process does not become ready");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// What its processes have said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How much memory the process has at this moment, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills the process so many times, each time after it has lived so many milliseconds at least and at most, and starts it again.
    pub(crate) async fn killed_at_random(&mut self, random: &mut Random, kills: u64, (least, most): (u64, u64)) {
        for _ in 0..kills {
            sleep(Duration::from_millis(random.between(least, most))).await;
            self.kill();
            self.start_again(None).await;
        }
    }

    /// Sends the process a signal that Rust's library does not know: the one that stands still, if there are two.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.frozen.as_ref().unwrap_or(&self.child);
        let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the process stands still by itself.
    #[cfg(feature = "fault-points")]
    pub(crate) async fn stops(&self) {
        let (started, stat) = (Instant::now(), format!("/proc/{}/stat", self.child.id()));
        // What stands behind the name is the state.
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(started.elapsed() < PATIENCE, "the process goes on");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the process dies by itself.
    #[cfg(feature = "fault-points")]
    pub(crate) async fn dies(&mut self) -> std::process::ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the process goes on");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until this many runs have ended, and answers all there are.
    pub(crate) async fn all_ended(&self, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let runs = self.client.runs().await.unwrap();
            let open: Vec<&Value> = runs.iter().filter(|run| run["terminal"] != true).collect();
            if runs.len() >= count && open.is_empty() {
                return runs;
            }
            assert!(started.elapsed() < PATIENCE * 2, "{} runs, of them open: {open:?}", runs.len());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// How often the model was called beyond once a prompt. No call is made that its run does not count.
    pub(crate) fn calls_beyond_one(&self, runs: &[Value], prompt_of: impl Fn(&Value) -> String) -> u64 {
        let mut beyond = 0;
        for run in runs {
            let calls = self.model.calls_with(&prompt_of(run));
            let counted = run["usage"]["model_calls"].as_u64().unwrap();
            assert!((1..=counted).contains(&calls), "{calls} calls, {counted} counted: {run}");
            beyond += calls - 1;
        }
        beyond
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        for child in [Some(&mut self.child), self.frozen.as_mut()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An address that nobody else is given, also while the process that listens there is dead: not among those (from 32,768 on) that
/// the system gives to whoever asks for any.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + (number % 20_000) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn spawn(folder: &TempDir, address: SocketAddr, model: &Server, settings: &[(&str, &str)]) -> Child {
    let mut command = Command::new(MUSTER);
    command.arg("serve").arg("--data").arg(folder.path()).arg("--listen").arg(address.to_string());
    command.env("OPENAI_BASE_URL", format!("http://{}/v1", model.addr())).env_remove("OPENAI_API_KEY");
    // The tool server of the tests is on this machine.
    command.env("MUSTER_ALLOW_CIDRS", "127.0.0.1/32");
    command.envs(settings.iter().copied());
    let log = File::options().append(true).create(true).open(folder.path().join("log")).unwrap();
    command.stdin(Stdio::null()).stderr(log).spawn().unwrap()
}
