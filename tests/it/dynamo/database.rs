//! A DynamoDB to test against: an emulator in this process, or the AWS account of the environment when
//! `MUSTER_TEST_DYNAMODB=aws`.

use std::{net::SocketAddr, sync::Arc, thread};

use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, Region},
};
use shared::store::{
    Backend,
    dynamo::{Dynamo, create_tables, delete_tables},
};
use tokio::{runtime, sync::oneshot};
use uuid::Uuid;

use super::faults::{Faults, Line};

/// Four empty tables of its own, gone when it is dropped.
pub(crate) struct Database {
    /// Through the line, with its faults.
    pub(crate) store: Dynamo,
    /// Past the line: for looking at what is stored.
    pub(crate) client: Client,
    pub(crate) line: Arc<Line>,
    pub(crate) prefix: String,
    server: Option<Emulator>,
}

impl Database {
    pub(crate) async fn new() -> Self {
        Self::with_faults(0, Faults::default()).await
    }

    pub(crate) async fn with_faults(seed: u64, faults: Faults) -> Self {
        let (server, config) = if on_aws() {
            (None, shared::aws::loader().unwrap().load().await)
        } else {
            let server = Emulator::start();
            let config = shared::aws::loader()
                .unwrap()
                .region(Region::new("eu-west-1"))
                .endpoint_url(format!("http://{}", server.address))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .load();
            let config = config.await;
            (Some(server), config)
        };
        let prefix = format!("muster-test-{}-", Uuid::now_v7().simple());
        let client = Client::new(&config);
        create_tables(&client, &prefix).await.unwrap();
        let line = Line::new(seed, faults);
        let http_client = line.over(config.http_client().unwrap());
        let store = Dynamo::new(Client::new(&config.into_builder().http_client(http_client).build()), prefix.as_str());
        Self { store, client, line, prefix, server }
    }

    /// The store without faults, as another process has it.
    pub(crate) fn elsewhere(&self) -> Backend {
        Backend::Dynamo(Dynamo::new(self.client.clone(), self.prefix.as_str()))
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend::Dynamo(self.store.clone())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let (client, prefix) = (self.client.clone(), self.prefix.clone());
        let deleting = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(delete_tables(&client, &prefix)).unwrap();
        });
        deleting.join().unwrap();
    }
}

#[allow(clippy::disallowed_methods, reason = "the tests have no configuration of their own")]
fn on_aws() -> bool {
    std::env::var("MUSTER_TEST_DYNAMODB").is_ok_and(|backend| backend == "aws")
}

/// On threads of its own, as it blocks the one that it works on.
struct Emulator {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

impl Emulator {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let database = dynoxide::Database::memory().unwrap();
                tokio::select! {
                    served = dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address, stop: Some(stop) }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
