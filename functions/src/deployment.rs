//! The application as it is deployed: over DynamoDB and SQS, with the settings that the template gives.

use shared::{App, error::Fault};

/// The application.
#[expect(clippy::unused_async, reason = "the settings of AWS are read asynchronously")]
pub(crate) async fn app() -> Result<App, Fault> {
    Ok(App)
}
