//! The queue over SQS, files in S3, timers, the event bus, and tools that are Lambda functions, through the real SDK, against an emulator:
//! `tests/emulators.sh` makes one and runs this. Without
//! `MUSTER_TEST_MINISTACK`, the path of ministack's executable, every case fails: nothing here passes for want of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::excessive_nesting,
    reason = "a test fails by panicking, in its helper functions too, and may print"
)]

mod agent;
mod bus;
mod emulator;
mod files;
mod lambda;
mod objects;
mod partial;
mod schedules;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use emulator::Emulator;
use partial::{Partial, Refusal};
use serde_json::json;
use shared::queue::{Chunk, Queue, sqs::Sqs};
use uuid::Uuid;

struct Fixture {
    client: Client,
    queue_url: String,
    queue: Queue,
    partial: Arc<Partial>,
    _emulator: Emulator,
}

async fn fixture(refusal: Refusal) -> Fixture {
    let emulator = Emulator::start().await;
    let config = emulator.config().await;
    let client = Client::new(&config);
    let name = format!("muster-{}", Uuid::now_v7().simple());
    let queue_url = client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
    let partial = Partial::new(refusal);
    let http_client = partial.over(config.http_client().unwrap());
    let sender = Client::new(&config.into_builder().http_client(http_client).build());
    let queue = Queue::Sqs(Sqs::new(sender, queue_url.as_str(), queue_url.as_str()));
    Fixture { client, queue_url, queue, partial, _emulator: emulator }
}

impl Fixture {
    /// Receives, each message once, until so many came or the time is over.
    async fn receive(&self, count: usize, within: Duration) -> Vec<Message> {
        let until = Instant::now() + within;
        let mut received = Vec::new();
        while received.len() < count && Instant::now() < until {
            let call = self.client.receive_message().queue_url(&self.queue_url).max_number_of_messages(10);
            let call = call.wait_time_seconds(1).message_system_attribute_names(MessageSystemAttributeName::All);
            received.extend(call.visibility_timeout(600).send().await.unwrap().messages.unwrap_or_default());
        }
        received
    }

    async fn depth(&self) -> usize {
        let call = self.client.get_queue_attributes().queue_url(&self.queue_url);
        let answer = call.attribute_names(QueueAttributeName::ApproximateNumberOfMessages).send().await.unwrap();
        answer.attributes.unwrap()[&QueueAttributeName::ApproximateNumberOfMessages].parse().unwrap()
    }
}

/// Messages of one organisation, each with its own two runs.
fn chunks(count: usize) -> Vec<Chunk> {
    let org = Uuid::now_v7();
    let chunk =
        |_| Chunk::from_body(&json!({ "org": org, "runs": [Uuid::now_v7(), Uuid::now_v7()] }).to_string()).unwrap();
    (0..count).map(chunk).collect()
}

fn bodies<'a>(chunks: impl IntoIterator<Item = &'a Chunk>) -> BTreeSet<String> {
    chunks.into_iter().map(Chunk::body).collect()
}

#[tokio::test]
async fn all_of_1100_messages_arrive_once_and_can_be_read() {
    let fixture = fixture(Refusal::None).await;
    let sent = chunks(1_100);
    fixture.queue.send(sent.clone(), 0).await.unwrap();
    assert_eq!(fixture.partial.calls(), 110);
    assert_eq!(fixture.depth().await, 1_100);
    let received = fixture.receive(1_100, Duration::from_secs(60)).await;
    let read: Vec<Chunk> = received.iter().map(|message| Chunk::from_body(message.body().unwrap()).unwrap()).collect();
    assert_eq!(read.len(), 1_100);
    assert_eq!(bodies(&read), bodies(&sent));
}

#[tokio::test]
async fn the_organisation_is_the_message_group() {
    let fixture = fixture(Refusal::None).await;
    let sent = chunks(1);
    fixture.queue.send(sent.clone(), 0).await.unwrap();
    let received = fixture.receive(1, Duration::from_secs(5)).await;
    let group = received[0].attributes().unwrap().get(&MessageSystemAttributeName::MessageGroupId).cloned();
    assert_eq!(group, Some(sent[0].tenant().org().to_string()));
}

#[tokio::test]
async fn a_delayed_message_is_not_there_before() {
    let fixture = fixture(Refusal::None).await;
    let started = Instant::now();
    fixture.queue.send(chunks(1), 4).await.unwrap();
    assert_eq!(fixture.receive(1, Duration::from_secs(2)).await.len(), 0);
    assert_eq!(fixture.receive(1, Duration::from_secs(10)).await.len(), 1);
    assert!(started.elapsed() >= Duration::from_secs(4));
}

#[tokio::test]
async fn entries_that_fail_are_sent_again_and_others_are_not() {
    let fixture = fixture(Refusal::Passing).await;
    let sent = chunks(25);
    fixture.queue.send(sent.clone(), 0).await.unwrap();
    // Three pages, and of each the entries that failed once more.
    assert_eq!(fixture.partial.calls(), 6);
    let received = fixture.receive(26, Duration::from_secs(10)).await;
    let read: Vec<Chunk> = received.iter().map(|message| Chunk::from_body(message.body().unwrap()).unwrap()).collect();
    assert_eq!((read.len(), bodies(&read)), (25, bodies(&sent)));
}

#[tokio::test]
async fn an_entry_that_is_our_mistake_is_reported_and_not_sent_again() {
    let fixture = fixture(Refusal::OurMistake).await;
    assert!(fixture.queue.send(chunks(10), 0).await.is_err());
    assert_eq!(fixture.partial.calls(), 1);
}
