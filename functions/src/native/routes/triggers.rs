//! Triggers, and where their events come in.

use crate::native::{
    hooks::{self, HookView},
    trigger_views::{NewTriggerView, TestedView, TriggerEventView, TriggerView},
    triggers::{self, CreateTrigger, RotateSecret, TestTrigger, UpdateTrigger},
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Make a trigger: its events start runs or batches. Its secret is shown once
    create_trigger = POST "/v1/triggers" => triggers::create_trigger {
        body: CreateTrigger,
        answer: 201 NewTriggerView | 404,
        access: [write api_keys, read agents, write runs, use models],
    }
    /// List triggers, newest first
    list_triggers = GET "/v1/triggers" => triggers::list_triggers {
        query: ListQuery,
        answer: 200 PageView<TriggerView>,
        access: [write api_keys, write runs],
        wait: Long,
    }
    /// Get a trigger
    get_trigger = GET "/v1/triggers/{trigger_id}" => triggers::get_trigger {
        answer: 200 TriggerView,
        access: [write api_keys, write runs],
    }
    /// Change a trigger: what it starts from then on is in the name of this key
    update_trigger = PATCH "/v1/triggers/{trigger_id}" => triggers::update_trigger {
        body: UpdateTrigger,
        answer: 200 TriggerView,
        access: [write api_keys, read agents, write runs, use models],
    }
    /// Delete a trigger: what it has started goes on
    delete_trigger = DELETE "/v1/triggers/{trigger_id}" => triggers::delete_trigger {
        answer: 204,
        access: [write api_keys, write runs],
    }
    /// Give a trigger another secret: the one before holds for a day more
    rotate_trigger_secret = POST "/v1/triggers/{trigger_id}/rotate_secret" => triggers::rotate_trigger_secret {
        body: RotateSecret,
        answer: 200 NewTriggerView,
        access: [write api_keys, write runs],
    }
    /// List what became of a trigger's events, newest first
    list_trigger_events = GET "/v1/triggers/{trigger_id}/events" => triggers::list_trigger_events {
        query: ListQuery,
        answer: 200 PageView<TriggerEventView>,
        access: [write api_keys, write runs],
    }
    /// Try a trigger with an event: nothing is started
    test_trigger = POST "/v1/triggers/{trigger_id}/test" => triggers::test_trigger {
        body: TestTrigger,
        answer: 200 TestedView,
        access: [write api_keys, read agents, write runs, use models, read buckets],
    }
    /// Take an event for a trigger: no key, but a proof of its sender
    ///
    /// Any bytes, at most 1 MiB. The same event again is 200 with what it has started. 401 for an unknown trigger, one that is switched off,
    /// and a proof that does not hold. 422 when it cannot be made into what the agent is told: then it may come again. More than 600 a
    /// minute are 429.
    receive_hook = POST "/v1/hooks/{trigger_id}" => hooks::receive_hook {
        answer: 202 HookView | 200 HookView | 400 | 401 | 413 | 422 | 429,
        access: [read agents, write runs, write messages, send queue, use models, read buckets],
        limit: shared::trigger::BODY_LIMIT_BYTES,
    }
}
