//! The worker: messages of the queue name runs, and it works on them. Knows no protocol: that is the engine's.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use shared::{App, clock::Timestamp, engine, queue::Chunk};

/// An event of SQS.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// The messages.
    #[serde(rename = "Records")]
    pub records: Vec<Record>,
}

/// A message.
#[derive(Debug, Deserialize)]
pub struct Record {
    /// Its id.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// A [`Chunk`] as JSON.
    pub body: String,
}

/// Which messages are to come again; the others are done with.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The messages.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<Failed>,
}

/// A message that is to come again.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// Its id.
    #[serde(rename = "itemIdentifier")]
    pub message_id: String,
}

/// Works on the runs of these messages until `until` at most.
pub async fn worker(app: &App, event: Event, until: Timestamp) -> Outcome {
    let outcomes = join_all(event.records.into_iter().map(|record| work_on(app, record, until))).await;
    Outcome { failures: outcomes.into_iter().filter_map(Result::err).collect() }
}

async fn work_on(app: &App, record: Record, until: Timestamp) -> Result<(), Failed> {
    let Record { message_id, body } = record;
    let outcome = match Chunk::from_body(&body) {
        Ok(chunk) => engine::work_on(app, chunk, Some(until)).await,
        Err(error) => Err(shared::Error::Internal(error)),
    };
    outcome.map_err(|error| {
        tracing::error!(message_id, ?error, "the message comes again");
        Failed { message_id }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_and_the_outcome_are_as_sqs_writes_them() {
        let event = r#"{"Records":[{"messageId":"m1","receiptHandle":"r","body":"{}","attributes":{},"eventSource":"aws:sqs"}]}"#;
        let event: Event = serde_json::from_str(event).unwrap();
        assert_eq!(event.records[0].message_id, "m1");
        let outcome = Outcome { failures: vec![Failed { message_id: "m1".to_owned() }] };
        assert_eq!(serde_json::to_string(&outcome).unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":"m1"}]}"#);
    }
}
