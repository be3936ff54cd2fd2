//! How AWS is called: one HTTP client with TLS by ring, timeouts, retries. Knows no table and no message.

pub(crate) mod backoff;
pub(crate) mod fault;
mod http;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_types::retry::ReconnectMode;

pub use self::http::{http_client, patient_http_client};
use crate::{config::variable, error::Fault, queue::sqs::Sqs, store::dynamo::Dynamo};

/// The longest wait for a connection with TLS: an endpoint of the same region answers within 10 ms, and a lost SYN is
/// sent again after 1 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The longest wait for an answer to one attempt. The slowest that is sound is a write of 16 MiB or a transaction of
/// 4 MiB, some hundred milliseconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest that one operation may take with all its attempts: well below the 29 s of API Gateway.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// How often an operation is attempted.
pub const ATTEMPTS: u32 = 8;

/// The first wait between two attempts; each is random from 0 to a bound that doubles (full jitter).
pub const FIRST_BACKOFF: Duration = Duration::from_millis(25);

/// The longest wait between two attempts.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// How long [`warm`] may take.
const WARM_LIMIT: Duration = Duration::from_secs(2);

/// The configuration of a Lambda function: region, credentials and endpoint (`AWS_ENDPOINT_URL`) as the environment says.
/// A function's credentials are always there, so the other places where the SDK would look are left out: of the binary too.
///
/// # Errors
/// When the HTTP client cannot be made.
pub fn config() -> Result<SdkConfig, Fault> {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .http_client(http_client()?)
        .retry_config(retries())
        .timeout_config(timeouts());
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

/// As [`config`], with all the places where the SDK looks for credentials: for tests, which can set more.
///
/// # Errors
/// As [`config`].
pub fn loader() -> Result<ConfigLoader, Fault> {
    Ok(aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client()?)
        .retry_config(retries())
        .timeout_config(timeouts()))
}

fn retries() -> RetryConfig {
    reusing(RetryConfig::standard())
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(LONGEST_BACKOFF)
}

/// A connection goes on after a 5xx, which says nothing of the connection; the SDK's next mode of retries does so too. One that breaks,
/// or that the service closes, `reqwest` gives up by itself.
pub(crate) fn reusing(retries: RetryConfig) -> RetryConfig {
    retries.with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// Resolves the credentials and opens a connection to each service, so that the first request does not wait for it:
/// to be called while Lambda initialises a function, when the CPU is free of charge. Errors are ignored; takes at most 2 s.
pub async fn warm(store: Option<&Dynamo>, queue: Option<&Sqs>) {
    let store = async {
        if let Some(store) = store {
            store.touch().await;
        }
    };
    let queue = async {
        if let Some(queue) = queue {
            queue.touch().await;
        }
    };
    let both = Box::pin(async { tokio::join!(store, queue) });
    // A first request that is slow is all that can come of it.
    let _ = tokio::time::timeout(WARM_LIMIT, both).await;
}
