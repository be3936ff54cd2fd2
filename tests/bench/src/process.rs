//! A server as a child process: started, asked whether it is ready, looked at in `/proc`, killed.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::Outcome;

/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ticks of processor time in a second, on Linux.
const TICKS_PER_S: f64 = 100.0;

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    started: Instant,
}

/// The program of this name that was built with this one.
pub(crate) fn program(name: &str) -> Outcome<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(format!("{} is not built", path.display()).into()) }
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    /// Starts the command, which shall listen at the address.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Outcome<Self> {
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).spawn()?;
        Ok(Self { child, address, started })
    }

    /// Waits until `GET /health` is answered 200, and says how long after its start that was.
    pub(crate) fn ready(&mut self) -> Outcome<Duration> {
        while self.started.elapsed() < PATIENCE {
            if healthy(self.address).unwrap_or(false) {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended: {status}").into());
            }
            sleep(Duration::from_micros(500));
        }
        Err("the server does not become ready".into())
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time that it has used, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) * 1000.0 / TICKS_PER_S)
    }

    /// A line of its `/proc` status in MB: `VmRSS` is what is resident now, `VmHWM` the most that was.
    pub(crate) fn memory_mb(&self, line: &str) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status.lines().find_map(|entry| entry.strip_prefix(line)?.strip_prefix(':'));
        let kib = found.and_then(|rest| rest.split_whitespace().next()).ok_or("no such line")?.parse::<f64>()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Kills it as a loss of power would: no handler runs.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn healthy(address: SocketAddr) -> Outcome<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"HTTP/1.1 200")
}

/// Runs the command to its end and answers what it printed.
pub(crate) fn printed(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Outcome<Vec<u8>> {
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output()?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("it failed: {}", output.status).into()) }
}
