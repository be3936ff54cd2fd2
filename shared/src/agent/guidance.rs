//! What an agent's model is told besides its system prompt, and what an agent carries for services outside this project.

use std::{collections::BTreeSet, fmt::Write};

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// The most entries of each list here.
const ENTRIES_LIMIT: usize = 50;
/// The longest short text, as an id or a name, in characters.
const SHORT_LIMIT: usize = 500;
/// The longest criterion or description, in characters.
const LONG_LIMIT: usize = 2_000;
/// The most that all skills of an agent say together, in characters.
const SKILLS_LIMIT: usize = 200_000;

/// What the model is told besides the system prompt, after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guidance {
    /// Whether it makes a plan first.
    pub planning_mode: Planning,
    /// What it knows how to do: the model is given all of it.
    pub skills: Vec<Skill>,
    /// What its result must meet, one by one.
    pub acceptance_criteria: Vec<String>,
    /// Documents that it is told of by name; what is in them it is not given.
    pub context_docs: Vec<ContextDoc>,
    /// Words to find it by.
    pub tags: Vec<String>,
}

/// Whether the model makes a plan before it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Planning {
    /// It is told nothing about plans.
    #[default]
    Never,
    /// When it takes several steps.
    Auto,
    /// In any case.
    Always,
}

/// Instructions under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// Which skill: 1 to 500 characters.
    pub skill_id: String,
    /// Which version of it: at most 500 characters.
    pub skill_version_id: Option<String>,
    /// Its name: at most 500 characters.
    pub name: String,
    /// When it is of use: at most 2,000 characters.
    pub description: String,
    /// The instructions: at most 200,000 characters together with those of the agent's other skills.
    pub content: String,
}

/// A document that is somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they say what they are; each 1 to 500 characters")]
pub struct ContextDoc {
    pub provider: String,
    pub id: String,
    pub name: String,
    pub mime_type: String,
}

/// What an agent carries for services outside this project: checked, kept, and given back as it came. Nothing here reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "they mean what those services say")]
pub struct Outside {
    pub tool_action_configs: Vec<ToolActionConfig>,
    pub cli_names: Vec<String>,
    pub tines_story_import_id: Option<String>,
    pub persistent_workspace_enabled: bool,
    pub detection_query: Option<String>,
    pub siem_type: Option<String>,
    pub is_suggestion: bool,
}

/// How another service lets its users act on what an agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they mean what that service says")]
pub struct ToolActionConfig {
    pub kind: String,
    pub allowed_channels: Vec<Channel>,
    pub hide_agent_button: bool,
}

/// A channel of another service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they mean what that service says")]
pub struct Channel {
    pub id: String,
    pub name: String,
}

/// What is wrong, field by field.
struct Checked<'a>(&'a mut Vec<Problem>);

impl Checked<'_> {
    fn refuse(&mut self, field: &str, message: String) {
        self.0.push(Problem { field: field.to_owned(), message });
    }

    fn at_most(&mut self, field: &str, text: &str, most: usize) {
        if text.chars().count() > most {
            self.refuse(field, format!("must be at most {most} characters long"));
        }
    }

    fn some(&mut self, field: &str, text: &str, most: usize) {
        if text.trim().is_empty() {
            self.refuse(field, "must not be empty".to_owned());
        }
        self.at_most(field, text, most);
    }

    /// Whether there are not too many.
    fn few(&mut self, field: &str, count: usize) {
        if count > ENTRIES_LIMIT {
            self.refuse(field, format!("must have at most {ENTRIES_LIMIT} entries"));
        }
    }

    /// Texts, each another one.
    fn texts(&mut self, field: &str, texts: &[String], most: usize) {
        self.few(field, texts.len());
        let mut seen = BTreeSet::new();
        for (index, text) in texts.iter().enumerate() {
            let at = format!("{field}[{index}]");
            self.some(&at, text, most);
            if !seen.insert(text) {
                self.refuse(&at, "is there twice".to_owned());
            }
        }
    }
}

impl Guidance {
    /// Adds what is wrong with it.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let mut checked = Checked(problems);
        checked.texts("acceptance_criteria", &self.acceptance_criteria, LONG_LIMIT);
        checked.texts("tags", &self.tags, SHORT_LIMIT);
        checked.few("context_docs", self.context_docs.len());
        for (index, doc) in self.context_docs.iter().enumerate() {
            let ContextDoc { provider, id, name, mime_type } = doc;
            for (field, text) in [("provider", provider), ("id", id), ("name", name), ("mime_type", mime_type)] {
                checked.some(&format!("context_docs[{index}].{field}"), text, SHORT_LIMIT);
            }
        }
        checked.few("skills", self.skills.len());
        for (index, skill) in self.skills.iter().enumerate() {
            checked.some(&format!("skills[{index}].skill_id"), &skill.skill_id, SHORT_LIMIT);
            let version = skill.skill_version_id.as_deref().unwrap_or_default();
            checked.at_most(&format!("skills[{index}].skill_version_id"), version, SHORT_LIMIT);
            checked.at_most(&format!("skills[{index}].skill.name"), &skill.name, SHORT_LIMIT);
            checked.at_most(&format!("skills[{index}].skill.description"), &skill.description, LONG_LIMIT);
        }
        let said: usize = self.skills.iter().map(|skill| skill.content.chars().count()).sum();
        if said > SKILLS_LIMIT {
            checked.refuse("skills", format!("must say at most {SKILLS_LIMIT} characters together"));
        }
    }

    /// The system prompt with what the model is told besides it; unchanged when there is nothing.
    pub(crate) fn added_to(&self, mut system: String) -> String {
        let mut section = |title: &str, text: &str| {
            let gap = if system.is_empty() { "" } else { "\n\n" };
            // A text never fails to be written to.
            let _ = write!(system, "{gap}## {title}\n{text}");
        };
        match self.planning_mode {
            Planning::Never => {}
            Planning::Auto => {
                section("Plan", "If the task takes several steps, make a plan of them first and follow it.")
            }
            Planning::Always => section("Plan", "Before anything else, make a plan of the steps, and follow it."),
        }
        for skill in &self.skills {
            let Skill { skill_id, name, description, content, .. } = skill;
            let name = if name.is_empty() { skill_id } else { name };
            let parts: Vec<&str> = [description, content].into_iter().map(String::as_str).collect();
            section(&format!("Skill: {name}"), parts.join("\n").trim());
        }
        if !self.context_docs.is_empty() {
            let line = |doc: &ContextDoc| format!("- {} ({}, {}: {})", doc.name, doc.mime_type, doc.provider, doc.id);
            section("Documents", &self.context_docs.iter().map(line).collect::<Vec<_>>().join("\n"));
        }
        if !self.acceptance_criteria.is_empty() {
            let line = |criterion: &String| format!("- {criterion}");
            let lines: Vec<String> = self.acceptance_criteria.iter().map(line).collect();
            section("Your result must meet each of these", &lines.join("\n"));
        }
        system
    }
}

impl Outside {
    /// Adds what is wrong with it.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let mut checked = Checked(problems);
        checked.texts("cli_names", &self.cli_names, SHORT_LIMIT);
        for (field, text, most) in [
            ("tines_story_import_id", &self.tines_story_import_id, SHORT_LIMIT),
            ("detection_query", &self.detection_query, LONG_LIMIT * 10),
            ("siem_type", &self.siem_type, SHORT_LIMIT),
        ] {
            checked.at_most(field, text.as_deref().unwrap_or_default(), most);
        }
        checked.few("tool_action_configs", self.tool_action_configs.len());
        for (index, config) in self.tool_action_configs.iter().enumerate() {
            let at = format!("tool_action_configs[{index}]");
            checked.some(&format!("{at}.type"), &config.kind, SHORT_LIMIT);
            checked.few(&format!("{at}.allowed_channels"), config.allowed_channels.len());
            for (index, channel) in config.allowed_channels.iter().enumerate() {
                checked.some(&format!("{at}.allowed_channels[{index}].id"), &channel.id, SHORT_LIMIT);
                checked.at_most(&format!("{at}.allowed_channels[{index}].name"), &channel.name, SHORT_LIMIT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_told_everything_after_the_system_prompt() {
        assert_eq!(Guidance::default().added_to("Be kind.".to_owned()), "Be kind.");
        let skill = Skill {
            skill_id: "s1".to_owned(),
            skill_version_id: None,
            name: String::new(),
            description: String::new(),
            content: "Count twice.".to_owned(),
        };
        let guidance = Guidance {
            planning_mode: Planning::Always,
            skills: vec![skill],
            acceptance_criteria: vec!["is short".to_owned(), "is true".to_owned()],
            ..Guidance::default()
        };
        let expected = "## Plan\nBefore anything else, make a plan of the steps, and follow it.\n\n## Skill: s1\nCount twice.\n\n\
            ## Your result must meet each of these\n- is short\n- is true";
        assert_eq!(guidance.added_to(String::new()), expected);
        assert_eq!(guidance.added_to("Be kind.".to_owned()), format!("Be kind.\n\n{expected}"));
    }
}
