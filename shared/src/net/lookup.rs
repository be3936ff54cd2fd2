//! Names to addresses: all of them, asked for once.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many names are looked up at a time: each takes a thread until the system gives up, and users choose the names.
const LOOKUPS_AT_A_TIME: usize = 64;

/// Who knows names.
#[derive(Debug, Clone)]
pub(super) enum Lookup {
    /// The system: its hosts file and its name server, IPv4 and IPv6.
    System(Arc<Semaphore>),
    /// What a test says.
    #[cfg(test)]
    Stub(Arc<stub::Stub>),
}

impl Lookup {
    pub(super) fn system() -> Self {
        Self::System(Arc::new(Semaphore::new(LOOKUPS_AT_A_TIME)))
    }

    /// All addresses of this name.
    pub(super) async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::System(permits) => {
                let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
                let name = name.to_owned();
                spawn_blocking(move || {
                    let _until_the_system_is_done = permit;
                    (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect())
                })
                .await?
            }
            #[cfg(test)]
            Self::Stub(stub) => stub.addresses(name),
        }
    }
}

#[cfg(test)]
pub(crate) mod stub {
    //! A name server that says what a test wants, one answer after the other, and counts.

    use std::{
        collections::{BTreeMap, VecDeque},
        io,
        net::IpAddr,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    /// Answers by name: the last one stays.
    #[derive(Debug, Default)]
    pub(crate) struct Stub {
        answers: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
        asked: AtomicUsize,
    }

    impl Stub {
        /// This name's next answer.
        pub(crate) fn answer(&self, name: &str, addresses: &[&str]) {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            self.answers.lock().unwrap().entry(name.to_owned()).or_default().push_back(addresses);
        }

        /// How often anything was asked.
        pub(crate) fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        pub(in crate::net) fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let mut answers = self.answers.lock().unwrap();
            let queue = answers.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            let answer = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() };
            answer.ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }
}
