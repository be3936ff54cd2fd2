//! Names to addresses: all of them, asked for once.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::id::OrgId;

/// How many names are looked up at a time: each takes a thread until the system gives up, and users choose the names.
const LOOKUPS_AT_A_TIME: usize = 64;
/// How many of them are of one organisation, so that names that nobody answers for keep nobody else waiting.
const OF_ONE_AT_A_TIME: usize = 16;

/// Who knows names, and how many may be asked for.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    places: Arc<Places>,
    asked: Asked,
}

#[derive(Debug, Clone)]
enum Asked {
    /// The system: its hosts file and its name server, IPv4 and IPv6.
    System,
    /// What a test says.
    #[cfg(test)]
    Stub(Arc<stub::Stub>),
}

/// The places of look-ups: some for all, and no more than a share of them for each organisation. Those without one share one.
#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    shares: Mutex<HashMap<Option<OrgId>, Weak<Semaphore>>>,
}

/// A place, until this is dropped.
struct Place {
    _share: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// Waits for a place.
    async fn take(&self, of: Option<OrgId>) -> io::Result<Place> {
        // Who waits for its own share stands in nobody's way.
        let share = self.share(of).acquire_owned().await.map_err(io::Error::other)?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.map_err(io::Error::other)?;
        Ok(Place { _share: share, _of_all: of_all })
    }

    /// The share of that organisation. Those that nobody uses any more are forgotten.
    fn share(&self, of: Option<OrgId>) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&of).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(OF_ONE_AT_A_TIME));
        shares.insert(of, Arc::downgrade(&share));
        share
    }
}

impl Lookup {
    pub(super) fn system() -> Self {
        let all = Arc::new(Semaphore::new(LOOKUPS_AT_A_TIME));
        Self { places: Arc::new(Places { all, shares: Mutex::default() }), asked: Asked::System }
    }

    /// All addresses of this name, for that organisation.
    pub(super) async fn addresses(&self, of: Option<OrgId>, name: &str) -> io::Result<Vec<IpAddr>> {
        let place = self.places.take(of).await?;
        let name = name.to_owned();
        match &self.asked {
            Asked::System => {
                spawn_blocking(move || {
                    let _until_the_system_is_done = place;
                    (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect())
                })
                .await?
            }
            #[cfg(test)]
            Asked::Stub(stub) => {
                let stub = Arc::clone(stub);
                tokio::spawn(async move {
                    let _until_the_stub_is_done = place;
                    stub.addresses(&name).await
                })
                .await?
            }
        }
    }

    /// The same, with a test's answers.
    #[cfg(test)]
    pub(super) fn stubbed(self, stub: Arc<stub::Stub>) -> Self {
        Self { asked: Asked::Stub(stub), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::clock::Timestamp;

    /// Long enough for a name that is answered for at once.
    const SOON: Duration = Duration::from_secs(20);

    async fn asks_for_slow(lookup: Lookup, of: Option<OrgId>) {
        let _ = lookup.addresses(of, "slow.example.net").await;
    }

    #[tokio::test]
    async fn an_organisation_whose_names_nobody_answers_for_keeps_no_other_waiting() {
        let stub = Arc::new(stub::Stub::default());
        stub.answer("quick.example.com", &["1.1.1.1"]);
        stub.is_silent_about("slow.example.net");
        let lookup = Lookup::system().stubbed(Arc::clone(&stub));
        let [slow, quick] = [1, 2].map(|at| Some(OrgId::new(Timestamp::from_millis(at))));
        let _all: Vec<_> =
            (0..LOOKUPS_AT_A_TIME * 2).map(|_| tokio::spawn(asks_for_slow(lookup.clone(), slow))).collect();
        while stub.asked() < OF_ONE_AT_A_TIME {
            tokio::task::yield_now().await;
        }
        for of in [quick, None] {
            let found = timeout(SOON, lookup.addresses(of, "quick.example.com")).await.unwrap().unwrap();
            assert_eq!(found, ["1.1.1.1".parse::<IpAddr>().unwrap()]);
        }
        // Giving up frees no place before the answer comes: a thread waits for it.
        let own = timeout(Duration::from_millis(50), lookup.addresses(slow, "quick.example.com")).await;
        assert!(own.is_err() && stub.asked() == OF_ONE_AT_A_TIME + 2, "{}", stub.asked());
        stub.answers_again();
        assert!(timeout(SOON, lookup.addresses(slow, "quick.example.com")).await.unwrap().is_ok());
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

    use tokio::sync::watch;

    /// Answers by name: the last one stays.
    #[derive(Debug, Default)]
    pub(crate) struct Stub {
        answers: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
        asked: AtomicUsize,
        /// The name that gets no answer.
        silent: watch::Sender<Option<String>>,
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

        /// Whoever asks for this name waits.
        pub(in crate::net) fn is_silent_about(&self, name: &str) {
            self.silent.send_replace(Some(name.to_owned()));
        }

        /// Nobody waits any more.
        pub(in crate::net) fn answers_again(&self) {
            self.silent.send_replace(None);
        }

        pub(in crate::net) async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answers = |silent: &Option<String>| silent.as_deref() != Some(name);
            self.silent.subscribe().wait_for(answers).await.map_err(io::Error::other)?;
            let mut answers = self.answers.lock().unwrap();
            let queue = answers.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            let answer = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() };
            answer.ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }
}
