//! CoAgent's surface: agents, completions, test sets, providers, logs. Knows no other surface.

mod agents;
mod completions;
pub(crate) mod error;
mod filter;
mod health;
mod logs;
mod part;
mod providers;
mod testset_run_views;
mod testset_runs;
mod testsets;
mod usd;

use serde_json::{Map, Value};

use self::{
    agents::{AgentView, AgentsView, CreateAgent},
    completions::{CompletionBody, CompletionView},
    health::Health,
    logs::{FilterQuery, LogBody, LogsQuery, RecordedView, SessionsQuery},
    part::PartQuery,
    providers::{ChangedView, ProviderBody, ProviderModelsView, ProviderView, ProvidersView},
    testset_run_views::TestsetRunView,
    testset_runs::{CreateTestsetRun, StartedView},
    testsets::{CreateTestset, TestsetsView, WholeTestsetView},
};

crate::route::routes! { Coagent;
    /// Whether the service is up
    coagent_health = GET "/health" => health::coagent_health {
        answer: 200 Health,
        access: [],
    }
    /// Whether the service is up
    coagent_api_health = GET "/api/v1/health" => health::coagent_health {
        answer: 200 Health,
        access: [],
    }
    /// Answer a prompt: a run that is told in the log of the session `run_id`
    ///
    /// The path is our own choice; the operator may name another beside it (`MUSTER_COMPLETIONS_PATH`). Our own choice, too, is what a run is answered with that did not end well: 502 (`UPSTREAM_ERROR`) when the model could not be
    /// called or its answer not be used, 409 when a budget or somebody ended it, or when it outlasts the call: it goes on then.
    coagent_complete = POST "/api/v1/completions" => completions::complete {
        body: CompletionBody,
        answer: 200 CompletionView | 404 | 502,
        access: [write api_keys, write agents, write runs, write messages, read files, send queue, use models, use tools],
        wait: Long,
    }
    /// List all agents, newest first, as they are at one moment: those that were made on other surfaces too
    coagent_list_agents = GET "/api/v1/agents" => agents::list_agents {
        answer: 200 AgentsView,
        access: [write api_keys, read agents, write runs],
        wait: Long,
    }
    /// Make an agent
    ///
    /// 409 when an agent that was made on this surface has the name, until that is deleted or called otherwise.
    coagent_create_agent = POST "/api/v1/agents" => agents::create_agent {
        body: CreateAgent,
        answer: 201 AgentView | 404,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// Get an agent: `agent_` may stand before its id
    coagent_get_agent = GET "/api/v1/agents/{agent_id}" => agents::get_agent {
        answer: 200 AgentView,
        access: [write api_keys, read agents, write runs],
    }
    /// List the model providers: the organisation's own, at most 100, and, only to be looked at, those of the deployment
    ///
    /// The shape of the answers is our own choice.
    coagent_list_providers = GET "/api/v1/providers" => providers::list_providers {
        answer: 200 ProvidersView,
        access: [write api_keys, read agents, write runs, use models],
    }
    /// Bring a model provider: a vendor's account of one's own, or a server that speaks a vendor's format
    ///
    /// Its models are `model_ref` here and `id/model` on other surfaces, for this organisation alone. 409 when it has a provider of that `id`, or
    /// 100. What they cost is known where the vendor's own address is called, and not with a `custom_url`.
    coagent_create_provider = POST "/api/v1/providers" => providers::create_provider {
        body: ProviderBody,
        answer: 201 ChangedView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// Get a model provider
    coagent_get_provider = GET "/api/v1/providers/{provider_id}" => providers::get_provider {
        answer: 200 ProviderView,
        access: [write api_keys, read agents, write runs, use models],
    }
    /// Change all of a model provider but its id
    ///
    /// Runs that are under way go by it within 3 seconds, from their next model call on.
    coagent_update_provider = PUT "/api/v1/providers/{provider_id}" => providers::update_provider {
        body: ProviderBody,
        answer: 200 ChangedView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// Delete a model provider
    ///
    /// Runs that are under way with a model of it, and without another to fall back to, fail at their next model call.
    coagent_delete_provider = DELETE "/api/v1/providers/{provider_id}" => providers::delete_provider {
        answer: 204,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// List the models that are known of a provider: those that it was said to have, or its vendor's with a known price
    coagent_list_provider_models = GET "/api/v1/providers/{provider_id}/models" => providers::list_provider_models {
        answer: 200 ProviderModelsView,
        access: [write api_keys, read agents, write runs, use models],
    }
    /// Write down what happened in a session: one entry or a list of up to 1,000
    ///
    /// The same call again changes nothing. A bad entry, and nothing is recorded. Kept for 13 months: our own choice.
    coagent_record_logs = POST "/api/v1/logs" => logs::record_logs {
        body: LogBody,
        answer: 200 RecordedView | 400 RecordedView,
        access: [write api_keys, write runs, write messages]
    }
    /// List everything of a session, the oldest first: what was written down, and what the runs of a chat tell
    ///
    /// A chat's id is a session's too. A session that nobody knows is an empty list. An answer has at most 5 MiB: our own limit.
    coagent_get_logs = GET "/api/v1/logs/{session_id}" => logs::get_logs {
        query: LogsQuery,
        answer: 200 Vec<Map<String, Value>>,
        access: [write api_keys, write runs, read messages]
    }
    /// List the sessions, chats among them, the newest first: ids, or each added up
    coagent_list_sessions = GET "/api/v1/runs" => logs::list_sessions {
        query: SessionsQuery,
        answer: 200 Vec<Value>,
        access: [write api_keys, write runs, read messages]
    }
    /// List what a preset or a JMESPath expression yields of a session's entries
    ///
    /// What the presets yield is our own choice. A value that is no list is the only one of its list; none is an empty list. An expression
    /// that could make more than 100 times as much of the entries, or 64 MiB, is refused.
    coagent_filter_logs = GET "/api/v1/filter_logs/{session_id}" => logs::filter_logs {
        query: FilterQuery,
        answer: 200 Vec<Value>,
        access: [write api_keys, write runs, read messages]
    }
    /// List the test sets, newest first: at most 1,000
    coagent_list_testsets = GET "/api/v1/testsets" => testsets::list_testsets {
        answer: 200 TestsetsView,
        access: [write api_keys, write runs, read messages]
    }
    /// Make a test set of 1,000 cases at most: more can be added on the native surface
    ///
    /// 404 (`MODEL_NOT_FOUND`) when a validation names a model that cannot be called.
    coagent_create_testset = POST "/api/v1/testsets" => testsets::create_testset {
        body: CreateTestset,
        answer: 201 WholeTestsetView | 404,
        access: [write api_keys, read agents, write runs, write messages, use models]
    }
    /// Get a test set with its cases
    ///
    /// An answer has at most 5 MiB: our own limit.
    coagent_get_testset = GET "/api/v1/testsets/{testset_id}" => testsets::get_testset {
        query: PartQuery,
        answer: 200 WholeTestsetView,
        access: [write api_keys, write runs, read messages]
    }
    /// Run a test set: each of its cases with each configuration
    ///
    /// It is an evaluation of the native surface, and goes on by itself. What a configuration may say together is our own choice: an agent as
    /// it is now, with another preamble, another model, or both; or, without an agent, a preamble and a model, as a completion has them.
    /// 404 (`MODEL_NOT_FOUND`) for a model that cannot be called.
    coagent_create_testset_run = POST "/api/v1/testsets/{testset_id}/run" => testset_runs::create_testset_run {
        body: CreateTestsetRun,
        answer: 201 StartedView,
        access: [write api_keys, write agents, write runs, write messages, send queue, use models],
    }
    /// Get a run of a test set: how far it is, what came of each configuration, and of each case with each
    ///
    /// An evaluation that was started on the native surface can be read here too. The shape of the answer is our own choice. It has at most
    /// 5 MiB: our own limit. Who only looks whether it has ended asks for few cells.
    coagent_get_testset_run = GET "/api/v1/testsets/{testset_id}/runs/{run_id}" => testset_runs::get_testset_run {
        query: PartQuery,
        answer: 200 TestsetRunView,
        access: [write api_keys, read agents, write runs, write messages, send queue, use models],
    }
}
