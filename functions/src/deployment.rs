//! The application as it is deployed: over DynamoDB and SQS, with the settings that the template gives.

use aws_sdk_dynamodb as dynamodb;
use aws_sdk_sqs as sqs;
use secrecy::SecretString;
use shared::{
    App, aws,
    clock::Clock,
    config::{Config, LONG_WAIT_MS, SHORT_WAIT_MS, SyncRuns, required, variable},
    error::Fault,
    file::{Files, S3},
    limit::Limiter,
    queue::{Queue, sqs::Sqs},
    s3,
    schedule::{EventBridge, Timers},
    store::{Backend, Store, dynamo::Dynamo},
    tool::lambda::{Functions, Invoker, Name},
    trigger::Buckets,
    webhook::bus::{self, Bus},
};

use crate::serve;

/// The application, with its connections open: to be made while Lambda initialises the function. `sends` is whether it may
/// send to the queue, `streams` whether it streams its answers.
///
/// # Errors
/// When a setting is missing or makes no sense.
pub(crate) async fn app(sends: bool, streams: bool) -> Result<App, Fault> {
    let aws_config = aws::config()?;
    let store = Dynamo::new(dynamodb::Client::new(&aws_config), required("MUSTER_TABLE_PREFIX")?);
    let (queue_url, posts_url) = (required("MUSTER_QUEUE_URL")?, required("MUSTER_POSTS_QUEUE_URL")?);
    let queue = Sqs::new(sqs::Client::new(&aws_config), queue_url, posts_url);
    let pepper = SecretString::from(required("MUSTER_PEPPER")?);
    let config = Config::from_environment(pepper, sync_runs(streams), None)?;
    aws::warm(Some(&store), Some(&queue).filter(|_| sends)).await;
    let store = Store::new(Backend::Dynamo(store));
    let files = Files::S3(S3::new(&aws_config, &bucket()?)?);
    let app = App::new(config, Clock::System, store, Queue::Sqs(queue), files, Limiter::in_store())?;
    serve::check_completions_path(&app)?;
    // The functions that tools may be: only those that check or run agents know them.
    let scope = variable("MUSTER_FUNCTION_SCOPE").unwrap_or_default();
    let names = Name::list(&variable("MUSTER_TOOL_FUNCTIONS").unwrap_or_default(), &scope)?;
    let (group, role) = (required("MUSTER_TIMER_GROUP")?, required("MUSTER_TIMER_ROLE")?);
    let timers = Timers::EventBridge(EventBridge::new(&aws_config, group, role, required("MUSTER_QUEUE_ARN")?));
    let bus = variable("MUSTER_EVENT_BUS").map(|name| Bus::EventBridge(bus::EventBridge::new(&aws_config, name)));
    let named = "MUSTER_SOURCE_BUCKETS";
    let buckets = match variable(named) {
        Some(list) => Buckets::new(s3::Client::from_environment()?, named, &list)?,
        None => Buckets::default(),
    };
    let aws_config = aws_config.into_builder().http_client(aws::patient_http_client()?).build();
    let functions = Functions::Aws(Invoker::new(&aws_config, scope, names));
    Ok(app.with_functions(functions).with_timers(timers).with_bus(bus.unwrap_or_default()).with_buckets(buckets))
}

/// Where the bucket of files is: at an endpoint for all of AWS, where one is set, as an emulator's.
fn bucket() -> Result<String, Fault> {
    Ok(match variable("AWS_ENDPOINT_URL") {
        Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), required("MUSTER_FILES_BUCKET")?),
        None => format!("https://{}", required("MUSTER_FILES_DOMAIN")?),
    })
}

/// A function that streams its answers has time to run runs itself; behind a gateway that hangs up early, a worker does.
const fn sync_runs(streams: bool) -> SyncRuns {
    if streams {
        SyncRuns::InProcess { limit_ms: LONG_WAIT_MS }
    } else {
        SyncRuns::ThroughQueue { limit_ms: SHORT_WAIT_MS }
    }
}
