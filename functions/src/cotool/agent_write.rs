//! What an agent shall be, or what shall change about it, as bodies say it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use shared::{
    App, Error, Result,
    agent::{Change, Draft},
    error::Problem,
    id::AgentId,
};

use super::parts::{ContextDocView, InputView, PlanningView, SkillView, ToolActionConfigView, each};
use crate::patch::{Given, ReadOnly, nullable, set};

/// What an agent shall be: `name`, `description` and `systemPrompt` must be given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("required" = ["name", "description", "systemPrompt"]))]
pub(super) struct CreateAgent(UpdateAgent);

/// What shall change about an agent. What is left out stays; a list takes the place of the whole list; `null` takes away what may be
/// missing. An agent as it was read may be sent back whole: what is only read is passed over, but for the `id` of another.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UpdateAgent {
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    name: Given<String>,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: Given<String>,
    /// `{{name}}` takes the value of an input of that name that the agent declares.
    #[schemars(length(max = 200_000))]
    #[serde(default)]
    system_prompt: Given<String>,
    /// Its tools, in this order: those that it has, and otherwise those of that name that another agent of the organisation has now, as they
    /// are there. What tools are is said on the native surface (`POST` and `PATCH /v1/agents`): a name that no agent has a tool of, or
    /// agents have different ones of, is refused. Our own choice.
    #[serde(default)]
    tool_names: Given<Vec<String>>,
    #[schemars(length(max = 50))]
    #[serde(default)]
    inputs: Given<Vec<InputView>>,
    /// A model of this deployment, as `provider/model` or an alias. A new agent has the deployment's default model unless given.
    #[serde(default)]
    model_alias: Given<String>,
    /// `never` unless given.
    #[serde(default)]
    planning_mode: Given<PlanningView>,
    /// The JSON Schema (2020-12) of the result: one that does not satisfy it ends a run badly. It may carry `x-cotool`.
    #[serde(default, deserialize_with = "nullable")]
    structured_output_schema: Option<Option<Value>>,
    #[schemars(length(max = 50))]
    #[serde(default)]
    tags: Given<Vec<String>>,
    #[schemars(length(max = 50))]
    #[serde(default)]
    context_docs: Given<Vec<ContextDocView>>,
    #[schemars(length(max = 50))]
    #[serde(default)]
    skills: Given<Vec<SkillView>>,
    /// What each result must meet: the model is told of them, each 1 to 2,000 characters.
    #[schemars(length(max = 50))]
    #[serde(default)]
    acceptance_criteria: Given<Vec<String>>,
    /// Kept for a service outside this project.
    #[schemars(length(max = 50))]
    #[serde(default)]
    tool_action_configs: Given<Vec<ToolActionConfigView>>,
    /// Kept for a service outside this project.
    #[schemars(length(max = 50))]
    #[serde(default)]
    cli_names: Given<Vec<String>>,
    /// Kept for a service outside this project.
    #[serde(default, deserialize_with = "nullable")]
    tines_story_import_id: Option<Option<String>>,
    /// Kept for a service outside this project.
    #[serde(default)]
    persistent_workspace_enabled: Given<bool>,
    /// Kept for a service outside this project.
    #[serde(default, deserialize_with = "nullable")]
    detection_query: Option<Option<String>>,
    /// Kept for a service outside this project.
    #[serde(default, deserialize_with = "nullable")]
    siem_type: Option<Option<String>>,
    /// Kept for a service outside this project.
    #[serde(default)]
    is_suggestion: Given<bool>,
    #[serde(default)]
    #[schemars(skip)]
    id: Option<Value>,
    #[serde(default, rename = "organizationId")]
    #[schemars(skip)]
    _organization_id: ReadOnly,
    #[serde(default, rename = "createdAt")]
    #[schemars(skip)]
    _created_at: ReadOnly,
    #[serde(default, rename = "updatedAt")]
    #[schemars(skip)]
    _updated_at: ReadOnly,
    #[serde(default, rename = "deletedAt")]
    #[schemars(skip)]
    _deleted_at: ReadOnly,
    #[serde(default, rename = "isBuiltIn")]
    #[schemars(skip)]
    _is_built_in: ReadOnly,
    #[serde(default, rename = "triggerSummary")]
    #[schemars(skip)]
    _trigger_summary: ReadOnly,
    #[serde(default, rename = "lastDetectionRunAt")]
    #[schemars(skip)]
    _last_detection_run_at: ReadOnly,
}

impl CreateAgent {
    /// As asked for, without its tools.
    pub(super) fn draft(&self, app: &App) -> Result<Draft> {
        let Self(body) = self;
        let required = [
            ("name", body.name.is_some()),
            ("description", body.description.is_some()),
            ("systemPrompt", body.system_prompt.is_some()),
        ];
        let missing = required.into_iter().filter(|(_, given)| !given);
        let problem = |(field, _): (&str, bool)| Problem { field: field.to_owned(), message: "is required".to_owned() };
        let problems: Vec<Problem> = missing.map(problem).collect();
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let mut draft = Draft::new("", app.models().default_model().to_string());
        body.apply(&mut draft);
        Ok(draft)
    }

    /// The names of its tools.
    pub(super) fn tool_names(&self) -> &[String] {
        self.0.tool_names.as_deref().unwrap_or_default()
    }
}

impl UpdateAgent {
    /// Refuses what was read of another agent.
    pub(super) fn is_of(&self, id: AgentId) -> Result<()> {
        let same = |said: &Value| said.as_str().and_then(|said| said.parse().ok()) == Some(id);
        if self.id.as_ref().is_none_or(same) {
            return Ok(());
        }
        Err(Error::invalid("id", "is not the agent's in the path; it may be left out"))
    }

    /// What it changes.
    pub(super) fn change(&self) -> Change<'_> {
        Change::new(|draft| self.apply(draft)).with_tools(self.tool_names.as_deref())
    }

    fn apply(&self, draft: &mut Draft) {
        set(&mut draft.name, &self.name);
        set(&mut draft.description, &self.description);
        set(&mut draft.system_prompt, &self.system_prompt);
        set(&mut draft.model, &self.model_alias);
        set(&mut draft.inputs, &self.inputs.clone().map(each));
        set(&mut draft.output_schema, &self.structured_output_schema);
        let guidance = &mut draft.guidance;
        set(&mut guidance.planning_mode, &self.planning_mode.map(Into::into));
        set(&mut guidance.tags, &self.tags);
        set(&mut guidance.context_docs, &self.context_docs.clone().map(each));
        set(&mut guidance.skills, &self.skills.clone().map(each));
        set(&mut guidance.acceptance_criteria, &self.acceptance_criteria);
        let outside = &mut draft.outside;
        set(&mut outside.tool_action_configs, &self.tool_action_configs.clone().map(each));
        set(&mut outside.cli_names, &self.cli_names);
        set(&mut outside.tines_story_import_id, &self.tines_story_import_id);
        set(&mut outside.persistent_workspace_enabled, &self.persistent_workspace_enabled);
        set(&mut outside.detection_query, &self.detection_query);
        set(&mut outside.siem_type, &self.siem_type);
        set(&mut outside.is_suggestion, &self.is_suggestion);
    }
}
