//! Triggers as bodies and answers of this surface have them.

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    Caller,
    run::Prompt,
    schedule::Schedule,
    trigger::{Definition, Shown, Source, Told, Trigger},
};

use super::crons;
use crate::{
    decode::hidden,
    patch::{Given, ReadOnly},
};

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceView {
    Webhook,
    Email,
    Slack,
    Jira,
    Linear,
    /// Times: no event. It is a schedule on the native surface.
    Cron,
}

impl SourceView {
    const ALL: [Self; 6] = [Self::Webhook, Self::Email, Self::Slack, Self::Jira, Self::Linear, Self::Cron];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "email",
            Self::Slack => "slack",
            Self::Jira => "jira",
            Self::Linear => "linear",
            Self::Cron => "cron",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }

    /// How its events are proven; `None` for `cron`, which has none.
    pub(super) const fn proven(self) -> Option<Source> {
        match self {
            Self::Slack => Some(Source::Slack),
            Self::Webhook | Self::Email | Self::Jira | Self::Linear => Some(Source::Token),
            Self::Cron => None,
        }
    }

    /// What a trigger's source is called here, wherever it was made.
    pub(super) fn of(trigger: &Trigger) -> Self {
        let kept = trigger.definition.cotool.as_ref().and_then(|cotool| Self::named(&cotool.source));
        let slack = trigger.definition.source == Source::Slack;
        kept.unwrap_or(if slack { Self::Slack } else { Self::Webhook })
    }
}

/// What a trigger shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SaveTrigger {
    pub(super) source: SourceView,
    #[schemars(length(min = 1, max = 200))]
    pub(super) name: String,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    pub(super) description: String,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    /// `message` is a template of what the agent is told, `filter` an expression that must hold: our own choice. Without a `message` the agent is told
    /// the body as it is. All else is kept, and nothing here reads it. Of the source `cron` `message` is what the agent is told, and `timezone` by whose
    /// clocks: UTC unless given.
    #[serde(default)]
    pub(super) config: Map<String, Value>,
    /// Of the source `cron`, and of no other: the five fields of cron, or what else a schedule of the native surface takes.
    #[schemars(length(max = 256))]
    pub(super) cron_schedule: Option<String>,
    /// The sender's own; one is made unless given. Not shown again.
    #[schemars(with = "Option<String>", length(max = 256))]
    #[serde(default, deserialize_with = "hidden")]
    pub(super) secret: Option<SecretString>,
}

const fn yes() -> bool {
    true
}

/// What a trigger shall be instead: what is left out stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UpdateTrigger {
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    pub(super) name: Given<String>,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    pub(super) description: Given<String>,
    #[serde(default)]
    pub(super) enabled: Given<bool>,
    /// In the place of all that was there.
    #[serde(default)]
    pub(super) config: Given<Map<String, Value>>,
    /// Of the source `cron`, and of no other.
    #[schemars(length(max = 256))]
    #[serde(default)]
    pub(super) cron_schedule: Given<String>,
    #[serde(default, rename = "source")]
    #[schemars(skip)]
    pub(super) _source: ReadOnly,
    #[serde(default, rename = "id")]
    #[schemars(skip)]
    pub(super) _id: ReadOnly,
    #[serde(default, rename = "agentId")]
    #[schemars(skip)]
    pub(super) _agent_id: ReadOnly,
    #[serde(default, rename = "organizationId")]
    #[schemars(skip)]
    pub(super) _organization_id: ReadOnly,
    #[serde(default, rename = "createdAt")]
    #[schemars(skip)]
    pub(super) _created_at: ReadOnly,
    #[serde(default, rename = "updatedAt")]
    #[schemars(skip)]
    pub(super) _updated_at: ReadOnly,
}

/// Whether a trigger starts anything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusBody {
    pub(super) enabled: bool,
}

/// A trigger.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TriggerView {
    pub(super) id: String,
    pub(super) agent_id: String,
    pub(super) organization_id: String,
    pub(super) source: SourceView,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) enabled: bool,
    pub(super) config: Map<String, Value>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    /// Shown when it is saved, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
    /// Of the source `cron`: when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cron_schedule: Option<String>,
    /// Of the source `cron`: when it last started a run, or was to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_run_attempted_at: Option<String>,
}

impl TriggerView {
    pub(super) fn of(trigger: &Trigger, caller: &Caller) -> Self {
        let Definition { name, description, enabled, filter, told, terms, cotool, .. } = trigger.definition.clone();
        let mut config = cotool.map(|cotool| cotool.config).unwrap_or_default();
        if let Told::Prompt(Prompt::Message(message)) = told {
            config.insert("message".to_owned(), message.into());
        }
        config.extend(filter.map(|filter| ("filter".to_owned(), filter.into())));
        Self {
            id: trigger.id.to_string(),
            agent_id: terms.agent_id.to_string(),
            organization_id: caller.tenant().org().to_string(),
            source: SourceView::of(trigger),
            name,
            description,
            enabled,
            config,
            created_at: trigger.created_at.rfc3339(),
            updated_at: trigger.updated_at.rfc3339(),
            secret: None,
            cron_schedule: None,
            last_run_attempted_at: None,
        }
    }

    pub(super) fn of_cron(schedule: &Schedule, caller: &Caller) -> Self {
        Self {
            id: schedule.id.to_string(),
            agent_id: schedule.order.terms.agent_id.to_string(),
            organization_id: caller.tenant().org().to_string(),
            source: SourceView::Cron,
            name: schedule.name.clone(),
            description: schedule.kept.description.clone(),
            enabled: !schedule.paused,
            config: crons::config(schedule),
            created_at: schedule.created_at.rfc3339(),
            updated_at: schedule.updated_at.rfc3339(),
            secret: None,
            cron_schedule: Some(schedule.schedule.clone()),
            last_run_attempted_at: crons::last_attempted(schedule),
        }
    }

    pub(super) fn shown(shown: &Shown, caller: &Caller) -> Self {
        let secret = shown.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        Self { secret, ..Self::of(&shown.trigger, caller) }
    }
}

/// What is needed to save a trigger of a source.
#[derive(Serialize, JsonSchema)]
pub(super) struct FieldsView {
    pub(super) success: bool,
    pub(super) data: FieldsDataView,
}

/// See [`FieldsView`].
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldsDataView {
    /// A new secret that a trigger may be saved with; nobody remembers it. None of the source `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
    /// Where events go, once `{triggerId}` is known. None of the source `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) webhook_url: Option<String>,
    /// What `config` may have in it that acts.
    pub(super) additional_fields: Vec<FieldView>,
}

/// A field of a config.
#[derive(Serialize, JsonSchema)]
pub(super) struct FieldView {
    pub(super) name: &'static str,
    pub(super) required: bool,
}

/// What became of an event.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutionView {
    /// The run that it has started, or the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) execution_id: Option<String>,
    /// Why nothing was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'static str>,
    /// What Slack wants to have back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) challenge: Option<String>,
}
