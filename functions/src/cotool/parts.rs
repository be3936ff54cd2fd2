//! The parts of an agent that bodies have both ways.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::agent::{Channel, ContextDoc, Input, InputType, Planning, Skill, ToolActionConfig};

use crate::patch::ReadOnly;

/// Whether the model is asked to make a plan first. What it is asked is our own choice.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PlanningView {
    /// It is not.
    Never,
    /// When the task takes several steps.
    Auto,
    /// In any case.
    Always,
}

impl From<PlanningView> for Planning {
    fn from(view: PlanningView) -> Self {
        match view {
            PlanningView::Never => Self::Never,
            PlanningView::Auto => Self::Auto,
            PlanningView::Always => Self::Always,
        }
    }
}

impl From<Planning> for PlanningView {
    fn from(planning: Planning) -> Self {
        match planning {
            Planning::Never => Self::Never,
            Planning::Auto => Self::Auto,
            Planning::Always => Self::Always,
        }
    }
}

/// An input that the agent declares: a run without a required one is refused.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputView {
    /// `text` unless given; the other types are those of the native surface.
    #[serde(default, rename = "type")]
    kind: InputKind,
    /// `A-Z a-z 0-9 _`, different within an agent. `{{name}}` in the system prompt takes its value.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// What it is.
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    /// Whether each run must be given it: `false` unless given.
    #[serde(default)]
    required: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum InputKind {
    #[default]
    Text,
    Number,
    Boolean,
    Integer,
    Array,
    Object,
}

impl From<InputView> for Input {
    fn from(view: InputView) -> Self {
        let kind = match view.kind {
            InputKind::Text => InputType::String,
            InputKind::Number => InputType::Number,
            InputKind::Boolean => InputType::Boolean,
            InputKind::Integer => InputType::Integer,
            InputKind::Array => InputType::Array,
            InputKind::Object => InputType::Object,
        };
        Self { name: view.name, description: view.description, required: view.required, kind }
    }
}

impl From<Input> for InputView {
    fn from(input: Input) -> Self {
        let kind = match input.kind {
            InputType::String => InputKind::Text,
            InputType::Number => InputKind::Number,
            InputType::Boolean => InputKind::Boolean,
            InputType::Integer => InputKind::Integer,
            InputType::Array => InputKind::Array,
            InputType::Object => InputKind::Object,
        };
        Self { name: input.name, description: input.description, required: input.required, kind }
    }
}

/// A document that is somewhere else: the model is told of it, and not given it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ContextDocView {
    #[schemars(length(min = 1, max = 500))]
    provider: String,
    #[schemars(length(min = 1, max = 500))]
    id: String,
    #[schemars(length(min = 1, max = 500))]
    name: String,
    #[schemars(length(min = 1, max = 500))]
    mime_type: String,
}

impl From<ContextDocView> for ContextDoc {
    fn from(ContextDocView { provider, id, name, mime_type }: ContextDocView) -> Self {
        Self { provider, id, name, mime_type }
    }
}

impl From<ContextDoc> for ContextDocView {
    fn from(ContextDoc { provider, id, name, mime_type }: ContextDoc) -> Self {
        Self { provider, id, name, mime_type }
    }
}

/// A skill. There is no catalogue of skills here: what `skill` says is what the model is given.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SkillView {
    #[schemars(length(min = 1, max = 500))]
    skill_id: String,
    #[schemars(length(max = 500))]
    skill_version_id: Option<String>,
    /// What the model is given; the shape is our own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    skill: Option<SkillText>,
    /// Not counted here.
    #[serde(default, skip_serializing, rename = "invocationCount30d")]
    #[schemars(skip)]
    _invocations: ReadOnly,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SkillText {
    #[schemars(length(max = 500))]
    #[serde(default)]
    name: String,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    /// At most 200,000 characters in all skills together.
    #[serde(default)]
    content: String,
}

impl From<SkillView> for Skill {
    fn from(SkillView { skill_id, skill_version_id, skill, .. }: SkillView) -> Self {
        let (name, description, content) =
            skill.map_or_else(Default::default, |skill| (skill.name, skill.description, skill.content));
        Self { skill_id, skill_version_id, name, description, content }
    }
}

impl From<Skill> for SkillView {
    fn from(Skill { skill_id, skill_version_id, name, description, content }: Skill) -> Self {
        let said = !(name.is_empty() && description.is_empty() && content.is_empty());
        let skill = said.then_some(SkillText { name, description, content });
        Self { skill_id, skill_version_id, skill, _invocations: ReadOnly }
    }
}

/// How another service lets its users act: kept as it is.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ToolActionConfigView {
    #[schemars(length(min = 1, max = 500))]
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    allowed_channels: Vec<ChannelView>,
    #[serde(default)]
    hide_agent_button: bool,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChannelView {
    #[schemars(length(min = 1, max = 500))]
    id: String,
    #[schemars(length(max = 500))]
    name: String,
}

impl From<ToolActionConfigView> for ToolActionConfig {
    fn from(view: ToolActionConfigView) -> Self {
        let channel = |ChannelView { id, name }| Channel { id, name };
        Self {
            kind: view.kind,
            allowed_channels: view.allowed_channels.into_iter().map(channel).collect(),
            hide_agent_button: view.hide_agent_button,
        }
    }
}

impl From<ToolActionConfig> for ToolActionConfigView {
    fn from(config: ToolActionConfig) -> Self {
        let channel = |Channel { id, name }| ChannelView { id, name };
        Self {
            kind: config.kind,
            allowed_channels: config.allowed_channels.into_iter().map(channel).collect(),
            hide_agent_button: config.hide_agent_button,
        }
    }
}

/// These as those, one by one.
pub(super) fn each<T, U: From<T>>(these: Vec<T>) -> Vec<U> {
    these.into_iter().map(Into::into).collect()
}
