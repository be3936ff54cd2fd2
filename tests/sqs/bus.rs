//! What happens, as events on a bus of Amazon EventBridge, through its SDK, against the emulator: a rule brings them to a queue.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::Target;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use serde_json::{Value, json};
use shared::{
    engine,
    webhook::bus::{Bus, EventBridge},
};
use tests::tap::{self, Tap};

use crate::{agent::Muster, emulator::Emulator};

const BUS: &str = "ends";

/// A queue to which a rule brings what comes on the bus.
struct Heard {
    client: aws_sdk_sqs::Client,
    queue_url: String,
}

impl Heard {
    async fn on(config: &SdkConfig) -> Self {
        let client = aws_sdk_sqs::Client::new(config);
        let queue_url = client.create_queue().queue_name("heard").send().await.unwrap().queue_url.unwrap();
        let bridge = aws_sdk_eventbridge::Client::new(config);
        bridge.create_event_bus().name(BUS).send().await.unwrap();
        let rule = bridge.put_rule().name("ours").event_bus_name(BUS).event_pattern(r#"{"source": ["muster"]}"#);
        rule.send().await.unwrap();
        let target = Target::builder().id("queue").arn("arn:aws:sqs:eu-west-1:000000000000:heard").build().unwrap();
        bridge.put_targets().rule("ours").event_bus_name(BUS).targets(target).send().await.unwrap();
        Self { client, queue_url }
    }

    /// What has come.
    async fn events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let call = self.client.receive_message().queue_url(&self.queue_url).max_number_of_messages(10);
            let found = call.visibility_timeout(600).send().await.unwrap().messages.unwrap_or_default();
            if found.is_empty() {
                return events;
            }
            events.extend(found.iter().map(|message| serde_json::from_str::<Value>(message.body().unwrap()).unwrap()));
        }
    }
}

/// The first calls are not taken: by the entry, by the service, and by nobody.
#[derive(Debug, Default)]
struct Deaf {
    calls: AtomicUsize,
    first: usize,
}

impl Tap for Deaf {
    async fn pass(
        &self,
        connection: SharedHttpConnector,
        request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        if request.headers().get("x-amz-target") != Some("AWSEvents.PutEvents") {
            return connection.call(request).await;
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call >= self.first {
            return connection.call(request).await;
        }
        let refused = json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "not now"}]});
        match call % 2 {
            0 => Ok(tap::answer(200, &refused)),
            _ => Ok(tap::answer(400, &json!({"__type": "InternalException"}))),
        }
    }
}

/// Works on what is queued until nothing comes for a while.
async fn drain(muster: &mut Muster) {
    while let Ok(Some(chunk)) = tokio::time::timeout(Duration::from_millis(500), muster.receiver.receive()).await {
        engine::work_on(&muster.app, chunk, None).await.unwrap();
    }
}

/// A run and a batch of two, which have ended; their ids.
async fn worked(muster: &mut Muster) -> (Value, Value) {
    let (status, agent) = muster.send("POST", "/v1/agents", json!({"name": "a", "model": "demo/scripted-l0"})).await;
    assert_eq!(status, 201, "{agent}");
    let path = format!("/v1/agents/{}", agent["id"].as_str().unwrap());
    let run = json!({"message": "hello", "metadata": {"job": "7"}});
    let (status, run) = muster.send("POST", &format!("{path}/runs"), run).await;
    assert_eq!(status, 202, "{run}");
    let items = json!({"items": [{"message": "one"}, {"message": "two"}]});
    let (status, batch) = muster.send("POST", &format!("{path}/batches"), items).await;
    assert_eq!(status, 202, "{batch}");
    drain(muster).await;
    (run["id"].clone(), batch["id"].clone())
}

fn by_kind(events: &[Value]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    events.iter().for_each(|event| *kinds.entry(event["detail-type"].as_str().unwrap()).or_default() += 1);
    kinds
}

#[tokio::test]
async fn ends_of_runs_and_batches_come_on_the_bus() {
    let emulator = Emulator::start().await;
    let config = emulator.config().await;
    let heard = Heard::on(&config).await;
    let bus = Bus::EventBridge(EventBridge::new(&config, BUS.to_owned()));
    let mut muster = Muster::with(|app| app.with_bus(bus)).await;
    let (run, batch) = worked(&mut muster).await;
    let events = heard.events().await;
    assert_eq!(by_kind(&events), BTreeMap::from([("batch.ended", 1), ("run.done", 3)]), "{events:?}");
    assert!(events.iter().all(|event| event["source"] == "muster"));
    let of =
        |field: &str, id: &Value| events.iter().find(|event| event["detail"][field] == *id).unwrap()["detail"].clone();
    let detail = of("run_id", &run);
    assert_eq!((&detail["status"], &detail["metadata"]), (&json!("done"), &json!({"job": "7"})));
    assert_eq!((&detail["chain"]["root"], &detail["chain"]["length"]), (&json!(run.as_str().unwrap()[4..]), &json!(1)));
    assert!(detail["event_id"].as_str().unwrap().starts_with("evt_"), "{detail}");
    let batches: Vec<&Value> = events.iter().filter(|event| event["detail-type"] == "batch.ended").collect();
    assert_eq!((&batches[0]["detail"]["batch_id"], &batches[0]["detail"]["counts"]["done"]), (&batch, &json!(2)));
    // Nothing is left that would be put again.
    muster.pass(600_000);
    assert_eq!(engine::reap(&muster.app).await.unwrap().deliveries, 0);
}

#[tokio::test]
async fn what_the_bus_does_not_take_is_put_again() {
    let emulator = Emulator::start().await;
    let config = emulator.config().await;
    let heard = Heard::on(&config).await;
    let deaf = Arc::new(Deaf { first: 14, ..Deaf::default() });
    let client = tap::tapped(deaf.clone(), config.http_client().unwrap());
    let deafened = config.clone().into_builder().http_client(client).build();
    let bus = Bus::EventBridge(EventBridge::new(&deafened, BUS.to_owned()));
    let mut muster = Muster::with(|app| app.with_bus(bus)).await;
    worked(&mut muster).await;
    for _ in 0..10 {
        muster.pass(24 * 60 * 60 * 1_000);
        engine::reap(&muster.app).await.unwrap();
        drain(&mut muster).await;
    }
    let events = heard.events().await;
    assert_eq!(by_kind(&events), BTreeMap::from([("batch.ended", 1), ("run.done", 3)]), "{events:?}");
    let mut ids: Vec<&str> = events.iter().map(|event| event["detail"]["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each once");
    assert!(deaf.calls.load(Ordering::Relaxed) >= 14 + 4);
}
