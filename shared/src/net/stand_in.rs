//! Servers for tests: one that answers as it is told and keeps what it was asked, and one that nobody may reach.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    /// The header of this name, in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A server for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// A server at a port of this address, which answers with the bytes that `answer` gives, and closes.
    pub(crate) async fn start(ip: &str, answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (asked, connections) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicUsize>::default());
        let (kept, count, answer) = (Arc::clone(&asked), Arc::clone(&connections), Arc::new(answer));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&answer)));
            }
        });
        Self { addr, asked, connections, _tasks: tasks }
    }

    /// One that says `reached`.
    pub(crate) async fn plain(ip: &str) -> Self {
        Self::start(ip, |_| reply("200 OK", "", "reached")).await
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connected. Waits a moment, for those that are on their way.
    pub(crate) async fn connections(&self) -> usize {
        sleep(Duration::from_millis(50)).await;
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve<A: Fn(&Asked) -> Vec<u8>>(mut stream: TcpStream, kept: Arc<Mutex<Vec<Asked>>>, answer: Arc<A>) {
    let mut bytes = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut bytes).await {
        if let Some(asked) = whole(&bytes) {
            kept.lock().unwrap().push(asked.clone());
            let bytes = answer(&asked);
            let _ = stream.write_all(&bytes).await;
            return;
        }
    }
}

/// The request, if all of it is there.
fn whole(bytes: &[u8]) -> Option<Asked> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let asked =
        Asked { method: first.next()?, target: first.next()?, headers: headers.collect(), body: body.to_owned() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    (body.len() >= length).then_some(asked)
}

/// An answer; `headers` are lines, each with its end.
pub(crate) fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}
