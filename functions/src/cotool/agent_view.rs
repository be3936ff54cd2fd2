//! An agent, and its versions, as this surface shows them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use shared::{
    agent::{AgentVersion, Definition, Guidance, Outside},
    id::{AgentId, OrgId},
};

use super::{
    parts::{ContextDocView, InputView, PlanningView, SkillView, ToolActionConfigView, each},
    trigger_names::SummaryView,
};

/// An agent, as its current version says.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentView {
    id: String,
    organization_id: String,
    #[serde(flatten)]
    definition: DefinitionView,
    /// When the agent was made.
    created_at: String,
    /// When it was changed last.
    updated_at: String,
    /// Always `null`: a deleted agent is shown nowhere.
    deleted_at: Option<String>,
    /// Always `false`.
    is_built_in: bool,
    /// Its triggers, newest first, schedules last; none for a key that may not look at runs.
    trigger_summary: Vec<SummaryView>,
    /// Always `null`: it is of a service outside this project.
    last_detection_run_at: Option<String>,
}

/// What an agent is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DefinitionView {
    name: String,
    description: String,
    system_prompt: String,
    /// The names of its tools. What they are, the native surface says.
    tool_names: Vec<String>,
    inputs: Vec<InputView>,
    model_alias: String,
    planning_mode: PlanningView,
    structured_output_schema: Option<Value>,
    tags: Vec<String>,
    context_docs: Vec<ContextDocView>,
    skills: Vec<SkillView>,
    acceptance_criteria: Vec<String>,
    /// Kept for a service outside this project, as all that follow.
    tool_action_configs: Vec<ToolActionConfigView>,
    cli_names: Vec<String>,
    tines_story_import_id: Option<String>,
    persistent_workspace_enabled: bool,
    detection_query: Option<String>,
    siem_type: Option<String>,
    is_suggestion: bool,
}

impl From<&Definition> for DefinitionView {
    fn from(definition: &Definition) -> Self {
        let definition = definition.clone();
        let Guidance { planning_mode, skills, acceptance_criteria, context_docs, tags } = definition.guidance;
        let Outside {
            tool_action_configs,
            cli_names,
            tines_story_import_id,
            persistent_workspace_enabled,
            detection_query,
            siem_type,
            is_suggestion,
        } = definition.outside;
        Self {
            name: definition.name,
            description: definition.description,
            system_prompt: definition.system_prompt,
            tool_names: definition.tools.into_iter().map(|tool| tool.name).collect(),
            inputs: each(definition.inputs),
            model_alias: definition.model.to_string(),
            planning_mode: planning_mode.into(),
            structured_output_schema: definition.output_schema,
            tags,
            context_docs: each(context_docs),
            skills: each(skills),
            acceptance_criteria,
            tool_action_configs: each(tool_action_configs),
            cli_names,
            tines_story_import_id,
            persistent_workspace_enabled,
            detection_query,
            siem_type,
            is_suggestion,
        }
    }
}

impl AgentView {
    /// The agent of this organisation, which is new: no trigger starts it.
    pub(super) fn new(org: OrgId, version: &AgentVersion) -> Self {
        Self::of(org, version, &HashMap::new())
    }

    /// The agent of this organisation, with its triggers among these.
    pub(super) fn of(org: OrgId, version: &AgentVersion, triggers: &HashMap<AgentId, Vec<SummaryView>>) -> Self {
        Self {
            id: version.agent_id.to_string(),
            organization_id: org.to_string(),
            definition: DefinitionView::from(&version.definition),
            created_at: version.created_at.rfc3339(),
            updated_at: version.updated_at.rfc3339(),
            deleted_at: None,
            is_built_in: false,
            trigger_summary: triggers.get(&version.agent_id).cloned().unwrap_or_default(),
            last_detection_run_at: None,
        }
    }
}

/// A version of an agent: it never changes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionView {
    /// Follows from the agent's and the version's number.
    id: String,
    agent_id: String,
    /// Counts up from 1.
    version: u32,
    definition: DefinitionView,
    /// The agent's description in that version.
    description: String,
    created_at: String,
}

impl From<&AgentVersion> for VersionView {
    fn from(version: &AgentVersion) -> Self {
        Self {
            id: version.id().to_string(),
            agent_id: version.agent_id.to_string(),
            version: version.number,
            definition: DefinitionView::from(&version.definition),
            description: version.definition.description.clone(),
            created_at: version.updated_at.rfc3339(),
        }
    }
}
