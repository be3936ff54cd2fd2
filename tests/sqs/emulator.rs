//! ministack, on a port of its own, as long as it is held.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use aws_config::SdkConfig;
use aws_sdk_sqs::config::{Credentials, Region};

pub(crate) struct Emulator {
    process: Child,
    endpoint: String,
    _state: tempfile::TempDir,
}

impl Emulator {
    #[allow(clippy::disallowed_methods, reason = "the tests have no configuration of their own")]
    pub(crate) async fn start() -> Self {
        let program = std::env::var("MUSTER_TEST_MINISTACK").expect("MUSTER_TEST_MINISTACK: see tests/emulators.sh");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let state = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_REGION", "eu-west-1")
            .env("STATE_DIR", state.path())
            .current_dir(state.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Self { process, endpoint: format!("http://127.0.0.1:{port}"), _state: state };
        let client = aws_sdk_sqs::Client::new(&emulator.config().await);
        for _ in 0..40 {
            if client.list_queues().send().await.is_ok() {
                return emulator;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("ministack does not answer");
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ours, with this endpoint.
    pub(crate) async fn config(&self) -> SdkConfig {
        shared::aws::loader()
            .unwrap()
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .load()
            .await
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
