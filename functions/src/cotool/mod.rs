//! Cotool's surface: agent configuration, atomic batch update, runs, triggers. Knows no other surface.

mod agent_runs;
mod agent_view;
mod agent_write;
mod agents;
mod attachments;
mod chats;
mod crons;
pub(crate) mod error;
mod events;
mod fields;
mod parts;
mod prompts;
mod query;
mod result;
mod runs;
mod trigger_names;
mod trigger_views;
mod triggers;

use self::{
    agent_runs::{FeedbackBody, RunsQuery, RunsView},
    agent_view::{AgentView, VersionView},
    agent_write::{CreateAgent, UpdateAgent},
    agents::{AgentsView, CopyView},
    chats::{AgentChatsQuery, ChatQuery, ChatsQuery, ChatsView, HistoryView, MetaView},
    prompts::{CreatePrompt, PromptView},
    result::ResultView,
    runs::{InterruptBody, OlderStatusView, RunBody, RunStatusView, StartedView},
    trigger_views::{ExecutionView, FieldsView, SaveTrigger, StatusBody, TriggerView, UpdateTrigger},
};
use crate::together::{UpdateAgents, UpdateQuery};

crate::route::routes! { Cotool;
    /// List all agents, newest first, as they are at one moment
    cotool_list_agents = GET "/api/agents" => agents::list_agents {
        answer: 200 Vec<AgentView>,
        access: [write api_keys, read agents, write runs],
        wait: Long,
    }
    /// Make an agent
    cotool_create_agent = POST "/api/agents" => agents::create_agent {
        body: CreateAgent,
        answer: 200 AgentView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// Change 1 to 200 agents together: all of them or none
    ///
    /// An agent that is not there is left out of the answer. Nobody sees some of them changed and others not, in a list or one after the
    /// other. One bad item, and no agent is changed. `strict` is our own addition.
    cotool_update_agents = PUT "/api/agents/batch" => agents::update_agents {
        query: UpdateQuery,
        body: UpdateAgents<UpdateAgent>,
        answer: 200 AgentsView | 404,
        access: [write api_keys, write agents, write runs, use models],
        wait: Long,
    }
    /// Get an agent
    cotool_get_agent = GET "/api/agents/{agent_id}" => agents::get_agent {
        answer: 200 AgentView,
        access: [write api_keys, read agents, write runs],
    }
    /// Change an agent: makes a new version, unless nothing changes
    cotool_update_agent = PUT "/api/agents/{agent_id}" => agents::update_agent {
        body: UpdateAgent,
        answer: 200 AgentView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// List all versions of an agent, newest first
    cotool_list_agent_versions = GET "/api/agents/{agent_id}/versions" => agents::list_agent_versions {
        answer: 200 Vec<VersionView>,
        access: [write api_keys, read agents, write runs],
        wait: Long,
    }
    /// Make another agent that is as this one is now
    cotool_copy_agent = POST "/api/agents/{agent_id}/copy" => agents::copy_agent {
        answer: 200 CopyView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// List an agent's system prompts, newest first: drafts, the one that it has, those that it had
    ///
    /// Of those that it had, the ones of its last 100 versions. A draft is `active` once the agent's `systemPrompt` is the same text.
    cotool_list_system_prompts = GET "/api/agents/{agent_id}/system-prompts" => prompts::list_system_prompts {
        answer: 200 Vec<PromptView>,
        access: [write api_keys, read agents, write runs],
        wait: Long,
    }
    /// Make a draft of a system prompt: the agent stays as it is
    ///
    /// At most 100 for an agent: our own limit.
    cotool_create_system_prompt = POST "/api/agents/{agent_id}/system-prompts" => prompts::create_system_prompt {
        body: CreatePrompt,
        answer: 200 PromptView,
        access: [write api_keys, write agents, write runs],
    }
    /// Run an agent and wait for what comes of it
    ///
    /// A run that ends badly is a 500 that says why: our own choice. So is the 409 for one that outlasts the call or waits for a person;
    /// it goes on, and is found with the calls below.
    cotool_run_sync = POST "/api/agents/{agent_id}/run-sync" => runs::run_sync {
        body: RunBody,
        answer: 200 ResultView,
        access: [write api_keys, read agents, write runs, write messages, read files, send queue, use models, use tools],
        wait: Long,
    }
    /// Run an agent and do not wait
    cotool_run_async = POST "/api/agents/{agent_id}/run-async" => runs::run_async {
        body: RunBody,
        answer: 200 StartedView,
        access: [write api_keys, read agents, write runs, write messages, read files, send queue, use models],
    }
    /// Say where a run stands
    cotool_get_run_status = GET "/api/agents/{agent_id}/run-async/{run_id}/status" => runs::get_run_status {
        answer: 200 RunStatusView,
        access: [write api_keys, write runs],
    }
    /// Say whether a run has ended: the older form
    cotool_get_run = GET "/api/agents/{agent_id}/run-async/{run_id}" => runs::get_run {
        answer: 200 OlderStatusView,
        access: [write api_keys, write runs],
    }
    /// Get what came of a run
    ///
    /// 409 as long as it goes on, 500 when it ended badly: our own choices.
    cotool_get_run_result = GET "/api/agents/{agent_id}/run-async/{run_id}/result" => runs::get_run_result {
        answer: 200 ResultView | 409,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// End a chat's last run
    ///
    /// What was sent already cannot be taken back. A chat that has ended stays as it is.
    cotool_interrupt_chat = POST "/api/chat/interrupt" => runs::interrupt_chat {
        body: InterruptBody,
        answer: 200 | 404,
        access: [write api_keys, write runs, send queue],
    }
    /// List runs, in any order, and count them
    ///
    /// Runs of every surface are there, and those that runs started as sub-agents; of a batch, when it is accepted. The forms of filters
    /// are our own choice, and so is what `triggerSource` says. Filtered by agents, trigger sources and dates, and sorted by `createdAt`,
    /// it reads no more than the list of runs and the page. Any other filter or order reads the row of each run that those leave. More than
    /// a million runs are not looked at in one call, nor more than 100,000 rows read: then it is a 400 that names `dateFrom`.
    cotool_list_agent_runs = GET "/api/agent-runs" => agent_runs::list_agent_runs {
        query: RunsQuery,
        answer: 200 RunsView,
        access: [write api_keys, write runs],
    }
    /// Say what is thought of a run, or of something that was said in it
    ///
    /// It takes the place of what was thought of the same before: our own choice. The run stays as it is, and may be going on.
    cotool_give_feedback = POST "/api/agent-runs/{run_id}/feedback" => agent_runs::give_feedback {
        body: FeedbackBody,
        answer: 200,
        access: [write api_keys, write runs, write messages],
    }
    /// List the chats of an agent, newest first, and count them
    cotool_list_agent_chats = GET "/api/agents/{agent_id}/chats" => chats::list_agent_chats {
        query: AgentChatsQuery,
        answer: 200 ChatsView,
        access: [write api_keys, read agents, write runs],
    }
    /// List chats, newest first, and count them
    ///
    /// A run that no run started as a sub-agent and that goes on with no chat begins one, on whichever surface. More than a million runs
    /// are not looked at in one call: then it is a 400 that names `dateFrom`.
    cotool_list_chats = GET "/api/chats" => chats::list_chats {
        query: ChatsQuery,
        answer: 200 ChatsView,
        access: [write api_keys, write runs],
    }
    /// Get everything that was said in a chat, over all its runs
    ///
    /// What events look like is our own choice. Each has an id of its own, which feedback may name.
    cotool_get_chat_history = GET "/api/chat/history" => chats::get_chat_history {
        query: ChatQuery,
        answer: 200 HistoryView | 404,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// List an agent's triggers, newest first
    cotool_list_triggers = GET "/api/agents/{agent_id}/trigger" => triggers::list_triggers {
        answer: 200 Vec<TriggerView>,
        access: [write api_keys, read agents, write runs],
        wait: Long,
    }
    /// Say what a trigger of a source is saved with
    cotool_get_trigger_fields = GET "/api/agents/{agent_id}/trigger/{source}/fields" => triggers::get_trigger_fields {
        answer: 200 FieldsView,
        access: [write api_keys, read agents, write runs],
    }
    /// Make a trigger: its secret is shown once
    cotool_save_trigger = POST "/api/agents/{agent_id}/trigger/save" => triggers::save_trigger {
        body: SaveTrigger,
        answer: 200 TriggerView,
        access: [write api_keys, read agents, write runs, write messages, write files, use models, set timers],
    }
    /// Change a trigger
    cotool_update_trigger = PUT "/api/agents/{agent_id}/trigger/{trigger_id}" => triggers::update_trigger {
        body: UpdateTrigger,
        answer: 200 TriggerView,
        access: [write api_keys, read agents, write runs, write messages, write files, use models, send queue, set timers],
    }
    /// Switch a trigger on or off
    cotool_set_trigger_status = PATCH "/api/agents/{agent_id}/trigger/{trigger_id}/status" => triggers::set_trigger_status {
        body: StatusBody,
        answer: 200 TriggerView,
        access: [write api_keys, read agents, write runs, write messages, write files, use models, send queue, set timers],
    }
    /// Run a trigger's agent with an event, which is any JSON
    ///
    /// No key: the sender shows the trigger's secret, or signs with it. The same event again is answered with the same run. 422 when it is
    /// nothing for the agent. All of this is our own choice; the vendor's document shows only the bodies.
    cotool_run_trigger = POST "/api/trigger/{source}/{trigger_id}" => triggers::run_trigger {
        answer: 200 ExecutionView | 400 | 401 | 413 | 422 | 429,
        access: [read agents, write runs, write messages, send queue, use models, read buckets],
        limit: shared::trigger::BODY_LIMIT_BYTES,
    }
    /// Get a chat's title and what is thought of it
    cotool_get_chat_meta = GET "/api/chat/meta" => chats::get_chat_meta {
        query: ChatQuery,
        answer: 200 MetaView | 404,
        access: [write api_keys, write runs, read messages],
    }
}
