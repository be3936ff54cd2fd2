//! Webhooks.

use crate::native::{
    views::PageView,
    webhooks::{
        self, CreateWebhook, DeliveriesQuery, DeliveryView, NewWebhookView, Redeliver, RedeliveredView, TestSentView,
        UpdateWebhook, WebhookView, WebhooksView,
    },
};

crate::route::routes! { Native;
    /// Make a webhook: an address that events are sent to. Its secret is shown once
    ///
    /// Events are sent as Standard Webhooks 1.0 has it: `webhook-id` is the event's, the same on every try, `webhook-timestamp`,
    /// `webhook-signature` (`v1`). What is answered with 2xx within 15 s is delivered; else it is tried again, ten times in three days. 410
    /// switches the webhook off, and so do five days without a success. Other processes tell it what happens from 5 seconds later on.
    create_webhook = POST "/v1/webhooks" => webhooks::create_webhook {
        body: CreateWebhook,
        answer: 201 NewWebhookView,
        access: [write api_keys, write runs],
    }
    /// List webhooks, oldest first
    list_webhooks = GET "/v1/webhooks" => webhooks::list_webhooks {
        answer: 200 WebhooksView,
        access: [write api_keys, write runs],
    }
    /// Get a webhook, without its secret
    get_webhook = GET "/v1/webhooks/{webhook_id}" => webhooks::get_webhook {
        answer: 200 WebhookView,
        access: [write api_keys, write runs],
    }
    /// Change a webhook, or switch it off or on
    update_webhook = PATCH "/v1/webhooks/{webhook_id}" => webhooks::update_webhook {
        body: UpdateWebhook,
        answer: 200 WebhookView,
        access: [write api_keys, write runs],
    }
    /// Delete a webhook: what was not sent yet is not sent
    delete_webhook = DELETE "/v1/webhooks/{webhook_id}" => webhooks::delete_webhook {
        answer: 204,
        access: [write api_keys, write runs],
    }
    /// Give a webhook a new secret: the old one signs beside it for 24 hours
    rotate_webhook_secret = POST "/v1/webhooks/{webhook_id}/rotate" => webhooks::rotate_webhook_secret {
        answer: 200 NewWebhookView,
        access: [write api_keys, write runs],
    }
    /// List what was sent to a webhook in the last 30 days, and what is to be, newest event first
    list_webhook_deliveries = GET "/v1/webhooks/{webhook_id}/deliveries" => webhooks::list_webhook_deliveries {
        query: DeliveriesQuery,
        answer: 200 PageView<DeliveryView>,
        access: [write api_keys, write runs],
    }
    /// Send again: one event, or all that failed in a time. The ids stay the same
    redeliver_webhook = POST "/v1/webhooks/{webhook_id}/redeliver" => webhooks::redeliver_webhook {
        body: Redeliver,
        answer: 200 RedeliveredView,
        access: [write api_keys, write runs, send queue],
    }
    /// Send an event of type `webhook.test` that tells nothing
    test_webhook = POST "/v1/webhooks/{webhook_id}/test" => webhooks::test_webhook {
        answer: 200 TestSentView,
        access: [write api_keys, write runs, send queue],
    }
}
