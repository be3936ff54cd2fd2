//! A log file whose one thread writes everything that waits, makes it durable, and then answers everyone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::mpsc,
    thread,
};

use serde_json::Value;
use tokio::sync::oneshot;

struct Line {
    bytes: Vec<u8>,
    durable: oneshot::Sender<()>,
}

/// The log.
pub(crate) struct Log(mpsc::Sender<Line>);

impl Log {
    /// Opens the file, and makes it if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (lines, waiting) = mpsc::channel();
        thread::Builder::new().name("log".to_owned()).spawn(move || write(file, &waiting))?;
        Ok(Self(lines))
    }

    /// Returns when the line is on the disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) async fn append(&self, line: &Value) -> Result<(), Stopped> {
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        let (durable, written) = oneshot::channel();
        self.0.send(Line { bytes, durable }).map_err(|_| Stopped)?;
        written.await.map_err(|_| Stopped)
    }
}

/// The log cannot be written any more.
#[derive(Debug)]
pub(crate) struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the log cannot be written")
    }
}

impl std::error::Error for Stopped {}

fn write(mut file: File, waiting: &mpsc::Receiver<Line>) {
    let mut buffer = Vec::new();
    let mut answers = Vec::new();
    while let Ok(first) = waiting.recv() {
        for line in std::iter::once(first).chain(waiting.try_iter()) {
            buffer.extend_from_slice(&line.bytes);
            answers.push(line.durable);
        }
        if let Err(error) = file.write_all(&buffer).and_then(|()| file.sync_data()) {
            eprintln!("floor: {error}");
            return;
        }
        buffer.clear();
        for answer in answers.drain(..) {
            let _ = answer.send(());
        }
    }
}
