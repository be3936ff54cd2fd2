//! Agents and their versions.

use crate::{
    native::{
        agents::{self, AgentView, CreateAgent, UpdateAgent, UpdatedView},
        evaluation_views::EvaluationView,
        gates::GateQuery,
        views::{ListQuery, PageView},
    },
    together::{UpdateAgents, UpdateQuery},
};

crate::route::routes! { Native;
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
}
