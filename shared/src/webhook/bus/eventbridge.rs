//! A bus of Amazon EventBridge, by PutEvents.

use aws_config::SdkConfig;
use aws_sdk_eventbridge::{Client, types::PutEventsRequestEntry};

use super::{SOURCE, detail};
use crate::{aws::fault::CallFault, error::Fault, webhook::Delivery};

/// A bus.
#[derive(Debug)]
pub struct EventBridge {
    client: Client,
    name: String,
}

impl EventBridge {
    /// The bus of that name or ARN.
    #[must_use]
    pub fn new(config: &SdkConfig, name: String) -> Self {
        Self { client: Client::new(config), name }
    }

    /// Puts the event, which is at most a few kilobytes.
    pub(super) async fn put(&self, delivery: &Delivery) -> Result<(), Fault> {
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(delivery.kind.name())
            .detail(detail(delivery)?)
            .time(aws_smithy_types::DateTime::from_millis(delivery.created_at.millis()))
            .build();
        let call = self.client.put_events().entries(entry);
        let answer = call.send().await.map_err(|error| CallFault::of("PutEvents", &error))?;
        let refused = answer.entries().iter().find_map(|entry| Some((entry.error_code()?, entry.error_message())));
        match refused {
            Some((code, message)) => Err(format!("{code}: {}", message.unwrap_or("no message")).into()),
            None if answer.failed_entry_count() > 0 => Err("the event was not taken".into()),
            None => Ok(()),
        }
    }
}
