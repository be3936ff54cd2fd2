//! The native surface: complete. Knows no other surface.

mod agents;
mod approvals;
mod batches;
mod budgets;
mod documents;
pub(crate) mod error;
mod evaluation_reports;
mod evaluation_views;
mod evaluations;
mod events;
mod explain;
mod files;
mod gates;
mod hooks;
mod inputs;
mod keys;
mod messages;
mod models;
mod reductions;
mod report;
mod results;
mod runs;
mod schedule_views;
mod schedules;
mod secrets;
mod sent;
mod terms;
mod test_sets;
mod trigger_views;
mod triggers;
mod usage;
mod views;
mod webhooks;

use serde_json::Value;

use self::{
    agents::{AgentView, CreateAgent, UpdateAgent, UpdatedView},
    approvals::{ApprovalsView, Decide},
    batches::{BatchQuery, BatchView, CancelledBatchView, CreateBatch},
    budgets::{BudgetsView, PutBudgets},
    evaluation_views::{CellsView, EvaluationView},
    evaluations::{CellsQuery, CreateEvaluation},
    events::{EventsQuery, EventsView, StreamedEvent},
    explain::ExplainView,
    files::{CreateFile, FileView, UploadQuery},
    gates::GateQuery,
    hooks::HookView,
    keys::{CreateKey, KeyView, NewKeyView, RotateKey},
    messages::MessagesView,
    models::{LimitsView, ModelsView},
    results::{ResultsQuery, ResultsView},
    runs::{CancelledView, CreateRun, ListRuns, RunView, WaitQuery},
    schedule_views::{FiringView, NextView, ScheduleView},
    schedules::{CreateSchedule, NextQuery, UpdateSchedule},
    secrets::{PutSecret, SecretView},
    test_sets::{AddCases, CaseView, CreateTestSet, TestSetView},
    trigger_views::{NewTriggerView, TestedView, TriggerEventView, TriggerView},
    triggers::{CreateTrigger, RotateSecret, TestTrigger, UpdateTrigger},
    usage::{UsageEntryView, UsageQuery},
    views::{ListQuery, PageView},
    webhooks::{
        CreateWebhook, DeliveriesQuery, DeliveryView, NewWebhookView, Redeliver, RedeliveredView, TestSentView,
        UpdateWebhook, WebhookView, WebhooksView,
    },
};
use crate::together::{UpdateAgents, UpdateQuery};

crate::route::routes! { Native;
    /// This document
    openapi = GET "/openapi.json" => documents::openapi {
        answer: 200 Value,
        access: [],
    }
    /// Make a key: its secret is shown once
    create_key = POST "/v1/keys" => keys::create_key {
        body: CreateKey,
        answer: 201 NewKeyView,
        access: [write api_keys, write runs],
    }
    /// List keys, newest first
    list_keys = GET "/v1/keys" => keys::list_keys {
        query: ListQuery,
        answer: 200 PageView<KeyView>,
        access: [write api_keys, write runs],
    }
    /// Revoke a key: it is dead at once
    revoke_key = DELETE "/v1/keys/{key_id}" => keys::revoke_key {
        answer: 200 KeyView,
        access: [write api_keys, write runs],
    }
    /// Make a key that takes another's place, which goes on for a while if you like
    rotate_key = POST "/v1/keys/{key_id}/rotate" => keys::rotate_key {
        body: RotateKey,
        answer: 201 NewKeyView,
        access: [write api_keys, write runs],
    }
    /// Make an agent
    create_agent = POST "/v1/agents" => agents::create_agent {
        body: CreateAgent,
        answer: 201 AgentView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// List agents, newest first
    list_agents = GET "/v1/agents" => agents::list_agents {
        query: ListQuery,
        answer: 200 PageView<AgentView>,
        access: [write api_keys, read agents, write runs],
        wait: Long,
    }
    /// Get an agent
    get_agent = GET "/v1/agents/{agent_id}" => agents::get_agent {
        answer: 200 AgentView,
        access: [write api_keys, read agents, write runs],
    }
    /// Change an agent: makes a new version, unless nothing changes
    ///
    /// With `gate` it is changed only if the changed agent does well enough on a test set: it is run on each case of that set first, with its
    /// tools. When the evaluation has ended, each threshold is held against its figure, not against the figure's interval. When all are met
    /// the agent is changed, and the header `gate-evaluation` names the evaluation. When one is not, or its figure is not known, the answer
    /// is 422 `gate_failed` and says which and why. When the agent was changed meanwhile it is 409. 202 is the evaluation that has not
    /// ended: send the same again with its id as `gate_evaluation`. A change that changes nothing is not tried.
    update_agent = PATCH "/v1/agents/{agent_id}" => agents::update_agent {
        query: GateQuery,
        body: UpdateAgent,
        answer: 200 AgentView | 202 EvaluationView,
        access: [write api_keys, write agents, write runs, write messages, send queue, use models],
    }
    /// Change 1 to 200 agents together: all of them or none
    ///
    /// Nobody sees some of them changed and others not, in a list or one after the other. One bad item, and no agent is changed.
    update_agents = PATCH "/v1/agents" => agents::update_agents {
        query: UpdateQuery,
        body: UpdateAgents<UpdateAgent>,
        answer: 200 UpdatedView | 404,
        access: [write api_keys, write agents, write runs, use models],
        wait: Long,
    }
    /// Delete an agent: its runs go on
    delete_agent = DELETE "/v1/agents/{agent_id}" => agents::delete_agent {
        answer: 204,
        access: [write api_keys, write agents, write runs],
    }
    /// List an agent's versions, newest first
    list_agent_versions = GET "/v1/agents/{agent_id}/versions" => agents::list_agent_versions {
        query: ListQuery,
        answer: 200 PageView<AgentView>,
        access: [write api_keys, read agents, write runs],
        wait: Long,
    }
    /// Make an old version the current one again, as a new version
    restore_agent_version = POST "/v1/agents/{agent_id}/versions/{version}/restore" => agents::restore_agent_version {
        answer: 200 AgentView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// Start a run, and wait for its end if you like
    create_run = POST "/v1/agents/{agent_id}/runs" => runs::create_run {
        query: WaitQuery,
        body: CreateRun,
        answer: 202 RunView | 200 RunView,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models],
    }
    /// Start a run and follow it: its events as they happen, the model's answer piece by piece
    stream_run = POST "/v1/agents/{agent_id}/runs/stream" => events::stream_run {
        body: CreateRun,
        answer: 200 "text/event-stream" StreamedEvent | 204,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models, use tools],
        wait: Long,
    }
    /// List runs, newest first
    list_runs = GET "/v1/runs" => runs::list_runs {
        query: ListRuns,
        answer: 200 PageView<RunView>,
        access: [write api_keys, write runs, read messages],
    }
    /// Get a run
    get_run = GET "/v1/runs/{run_id}" => runs::get_run {
        answer: 200 RunView,
        access: [write api_keys, write runs, read messages],
    }
    /// List a run's messages, in order
    list_run_messages = GET "/v1/runs/{run_id}/messages" => messages::list_run_messages {
        answer: 200 MessagesView,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// List a run's events, in order: in pages, or as a stream that goes on where `Last-Event-ID` says
    list_run_events = GET "/v1/runs/{run_id}/events" => events::list_run_events {
        query: EventsQuery,
        answer: 200 EventsView | 200 "text/event-stream" StreamedEvent | 204,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// Say why a run stands where it stands
    explain_run = GET "/v1/runs/{run_id}/explain" => explain::explain_run {
        answer: 200 ExplainView,
        access: [write api_keys, write runs, read messages],
    }
    /// List the tool calls of a run about which a person is asked
    list_run_approvals = GET "/v1/runs/{run_id}/approvals" => approvals::list_run_approvals {
        answer: 200 ApprovalsView,
        access: [write api_keys, write runs, read messages],
    }
    /// Approve or deny a tool call: the run goes on at once
    decide_run_approval = POST "/v1/runs/{run_id}/approvals" => approvals::decide_run_approval {
        body: Decide,
        answer: 200 RunView,
        access: [write api_keys, write runs, read messages, send queue],
    }
    /// Cancel a run and every run below it, and say what had been sent already
    cancel_run = POST "/v1/runs/{run_id}/cancel" => runs::cancel_run {
        answer: 200 CancelledView | 202 CancelledView,
        access: [write api_keys, write runs, read messages, send queue],
    }
    /// Start a batch of runs, and wait for their end if you like
    create_batch = POST "/v1/agents/{agent_id}/batches" => batches::create_batch {
        query: BatchQuery,
        body: CreateBatch,
        answer: 202 BatchView | 200 BatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models],
    }
    /// List batches, newest first
    list_batches = GET "/v1/batches" => batches::list_batches {
        query: ListQuery,
        answer: 200 PageView<BatchView>,
        access: [write api_keys, write runs],
    }
    /// Get a batch, and how far it is
    get_batch = GET "/v1/batches/{batch_id}" => batches::get_batch {
        answer: 200 BatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue],
    }
    /// List a batch's results in the order of the request
    list_batch_results = GET "/v1/batches/{batch_id}/results" => results::list_batch_results {
        query: ResultsQuery,
        answer: 200 ResultsView | 200 "application/x-ndjson" String | 200 "text/csv" String,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// Cancel every run of a batch that has not ended
    cancel_batch = POST "/v1/batches/{batch_id}/cancel" => batches::cancel_batch {
        answer: 200 CancelledBatchView | 202 CancelledBatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue],
    }
    /// Start a new batch of the items that did not end well
    retry_batch = POST "/v1/batches/{batch_id}/retry" => batches::retry_batch {
        query: WaitQuery,
        answer: 202 BatchView | 200 BatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models],
    }
    /// Make a test set: cases that agents are tried with
    create_test_set = POST "/v1/test_sets" => test_sets::create_test_set {
        body: CreateTestSet,
        answer: 201 TestSetView,
        access: [write api_keys, read agents, write runs, write messages, use models],
    }
    /// List test sets, newest first
    list_test_sets = GET "/v1/test_sets" => test_sets::list_test_sets {
        query: ListQuery,
        answer: 200 PageView<TestSetView>,
        access: [write api_keys, write runs, read messages],
    }
    /// Get a test set, without its cases
    get_test_set = GET "/v1/test_sets/{test_set_id}" => test_sets::get_test_set {
        answer: 200 TestSetView,
        access: [write api_keys, write runs, read messages],
    }
    /// Delete a test set with its cases
    delete_test_set = DELETE "/v1/test_sets/{test_set_id}" => test_sets::delete_test_set {
        answer: 204,
        access: [write api_keys, write runs, write messages],
    }
    /// Add cases to a test set, all of them or none: new ones, or the case that a run makes
    add_test_cases = POST "/v1/test_sets/{test_set_id}/items" => test_sets::add_test_cases {
        body: AddCases,
        answer: 200 TestSetView,
        access: [write api_keys, read agents, write runs, write messages, use models],
    }
    /// List a test set's cases, in the order in which they were added
    list_test_cases = GET "/v1/test_sets/{test_set_id}/items" => test_sets::list_test_cases {
        query: ListQuery,
        answer: 200 PageView<CaseView>,
        access: [write api_keys, write runs, read messages],
    }
    /// Start an evaluation of a test set: each of its cases is run with each configuration
    create_evaluation = POST "/v1/test_sets/{test_set_id}/evaluations" => evaluations::create_evaluation {
        query: WaitQuery,
        body: CreateEvaluation,
        answer: 202 EvaluationView | 200 EvaluationView,
        access: [write api_keys, write agents, write runs, write messages, send queue, use models],
    }
    /// List evaluations, newest first
    list_evaluations = GET "/v1/evaluations" => evaluations::list_evaluations {
        query: ListQuery,
        answer: 200 PageView<EvaluationView>,
        access: [write api_keys, write runs],
    }
    /// Get an evaluation: how far it is, and what came of each configuration
    get_evaluation = GET "/v1/evaluations/{evaluation_id}" => evaluations::get_evaluation {
        answer: 200 EvaluationView,
        access: [write api_keys, read agents, write runs, write messages, send queue, use models],
    }
    /// List what came of each case with each configuration, case by case, as it is at this moment
    ///
    /// CSV, NDJSON and the page are of this moment; JUnit XML is 409 until the evaluation is done, because CI would take a part of its tests
    /// for all of them. 409 too when the test set was deleted before the evaluation had ended: then nobody knows any more what would
    /// have been correct.
    list_evaluation_results = GET "/v1/evaluations/{evaluation_id}/results" => evaluations::list_evaluation_results {
        query: CellsQuery,
        answer: 200 CellsView | 200 "application/x-ndjson" String | 200 "text/csv" String | 200 "application/xml" String
            | 200 "text/html" String | 409,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// Cancel every run of an evaluation that has not ended: who has no answer then has missed
    cancel_evaluation = POST "/v1/evaluations/{evaluation_id}/cancel" => evaluations::cancel_evaluation {
        answer: 200 EvaluationView | 202 EvaluationView,
        access: [write api_keys, read agents, write runs, read messages, use models],
    }
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
    /// Make a schedule: a run or a batch is started at its times
    create_schedule = POST "/v1/schedules" => schedules::create_schedule {
        body: CreateSchedule,
        answer: 201 ScheduleView | 404,
        access: [write api_keys, read agents, write runs, write messages, write files, use models, set timers],
    }
    /// List schedules, newest first
    list_schedules = GET "/v1/schedules" => schedules::list_schedules {
        query: ListQuery,
        answer: 200 PageView<ScheduleView>,
        access: [write api_keys, write runs],
        wait: Long,
    }
    /// Get a schedule: whether it is active, when its next time is, and what came of the last
    get_schedule = GET "/v1/schedules/{schedule_id}" => schedules::get_schedule {
        answer: 200 ScheduleView,
        access: [write api_keys, write runs],
    }
    /// Change, pause or resume a schedule
    update_schedule = PATCH "/v1/schedules/{schedule_id}" => schedules::update_schedule {
        body: UpdateSchedule,
        answer: 200 ScheduleView,
        access: [write api_keys, read agents, write runs, write messages, write files, use models, send queue, set timers],
    }
    /// Delete a schedule: what it started goes on
    delete_schedule = DELETE "/v1/schedules/{schedule_id}" => schedules::delete_schedule {
        answer: 204,
        access: [write api_keys, write runs, set timers],
    }
    /// Fire a schedule now, also a paused one: it starts something, waits or is skipped as at its times
    run_schedule = POST "/v1/schedules/{schedule_id}/run" => schedules::run_schedule {
        answer: 202 FiringView,
        access: [write api_keys, read agents, write runs, write messages, send queue, read files, use models],
    }
    /// List a schedule's next times
    list_next_times = GET "/v1/schedules/{schedule_id}/next" => schedules::list_next_times {
        query: NextQuery,
        answer: 200 NextView,
        access: [write api_keys, write runs],
    }
    /// List what became of a schedule's times, newest first, for 90 days
    list_firings = GET "/v1/schedules/{schedule_id}/firings" => schedules::list_firings {
        query: ListQuery,
        answer: 200 PageView<FiringView>,
        access: [write api_keys, write runs],
    }
    /// Keep a file to show to runs: with its bytes, or to be uploaded
    create_file = POST "/v1/files" => files::create_file {
        body: CreateFile,
        answer: 201 FileView,
        access: [write api_keys, write runs, write messages, write files],
    }
    /// List files, newest first
    list_files = GET "/v1/files" => files::list_files {
        query: ListQuery,
        answer: 200 PageView<FileView>,
        access: [write api_keys, write runs, read messages],
    }
    /// Get a file, without its bytes: whether they have come is looked at
    get_file = GET "/v1/files/{file_id}" => files::get_file {
        answer: 200 FileView,
        access: [write api_keys, write runs, write messages, write files],
    }
    /// Read a file: its bytes, or an address where they are for some minutes
    ///
    /// They are of the file's own `media_type`. 409 as long as they have not come.
    get_file_content = GET "/v1/files/{file_id}/content" => files::get_file_content {
        answer: 200 "*/*" String | 302 | 409,
        access: [write api_keys, write runs, write messages, write files],
    }
    /// Upload a file's bytes to the address that its making answered: only where files are in a folder of this host
    upload_file = PUT "/v1/files/{file_id}/content" => files::upload_file {
        query: UploadQuery,
        answer: 200 FileView | 400 | 409 | 413,
        access: [write messages, write files],
        limit: shared::file::FILE_LIMIT_BYTES,
        admit: files::may_upload,
        deployed: false,
    }
    /// Delete a file: runs that were shown it keep its name
    delete_file = DELETE "/v1/files/{file_id}" => files::delete_file {
        answer: 204,
        access: [write api_keys, write runs, write messages, delete files],
    }
    /// Keep a secret for tools to send, or give it another value: nobody can read it again
    put_secret = PUT "/v1/secrets/{name}" => secrets::put_secret {
        body: PutSecret,
        answer: 200 SecretView,
        access: [write api_keys, write agents, write runs],
    }
    /// List the names of secrets, in order
    list_secrets = GET "/v1/secrets" => secrets::list_secrets {
        query: ListQuery,
        answer: 200 PageView<SecretView>,
        access: [write api_keys, read agents, write runs],
    }
    /// Delete a secret: tools that name it are not called any more
    delete_secret = DELETE "/v1/secrets/{name}" => secrets::delete_secret {
        answer: 204,
        access: [write api_keys, write agents, write runs],
    }
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
    /// List the models that this deployment can call, with prices
    list_models = GET "/v1/models" => models::list_models {
        answer: 200 ModelsView,
        access: [write api_keys, write runs, use models],
    }
    /// Set the budgets of the organisation: what is not given is taken away
    put_budgets = PUT "/v1/budgets" => budgets::put_budgets {
        body: PutBudgets,
        answer: 200 BudgetsView,
        access: [write api_keys, write runs],
    }
    /// Get the budgets of the organisation, and how much of them is committed
    get_budgets = GET "/v1/budgets" => budgets::get_budgets {
        answer: 200 BudgetsView,
        access: [write api_keys, write runs],
    }
    /// Add up what was used, by day, agent, key or model
    list_usage = GET "/v1/usage" => usage::list_usage {
        query: UsageQuery,
        answer: 200 PageView<UsageEntryView>,
        access: [write api_keys, write runs],
    }
    /// Say which limits hold
    get_limits = GET "/v1/limits" => models::get_limits {
        answer: 200 LimitsView,
        access: [write api_keys, write runs],
    }
}
