//! An agent's system prompts: the one that it has, those that it had, and drafts of those that it may have.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AgentVersion, current};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::{AgentId, PromptId},
    idempotency::Claim,
    page, store,
    tenant::{Caller, Scope},
};

/// The most drafts of an agent; a few more when some are made at the same moment.
pub const DRAFTS_LIMIT: usize = 100;
/// How far back prompts that an agent had are looked for, in versions.
pub const VERSIONS_LOOKED_AT: usize = page::LIMIT;

/// A draft, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptDraft {
    /// Its id.
    pub id: PromptId,
    /// What is new about it: at most 2,000 characters.
    pub description: String,
    /// 1 to 200,000 characters.
    pub prompt: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A system prompt of an agent, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemPrompt {
    /// The draft's id, or one that follows from the version that had it first.
    pub id: Uuid,
    /// What was said of the draft; empty for one that never was a draft.
    pub description: String,
    /// The prompt.
    pub prompt: String,
    /// Where it stands.
    pub status: PromptStatus,
    /// When it was made, as a draft or with a version.
    pub created_at: Timestamp,
    /// When a version last began to have it; otherwise when it was made.
    pub updated_at: Timestamp,
}

/// Where a system prompt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptStatus {
    /// The agent never had it.
    Draft,
    /// It has it.
    Active,
    /// It had it.
    Previous,
}

/// A new draft, checked, not yet stored: see [`create_draft`].
///
/// # Errors
/// [`Error::NotFound`] for the agent; [`Error::Invalid`]; [`Error::Conflict`] when it has [`DRAFTS_LIMIT`] already.
pub async fn plan_draft(
    app: &App,
    caller: &Caller,
    id: AgentId,
    description: String,
    prompt: String,
) -> Result<PromptDraft> {
    caller.require(Scope::AgentsWrite)?;
    current(app, caller.tenant(), id).await?;
    let mut problems = Vec::new();
    let mut refuse = |field: &str, message: &str| {
        problems.push(Problem { field: field.to_owned(), message: message.to_owned() });
    };
    if prompt.trim().is_empty() {
        refuse("prompt", "must not be empty");
    }
    if prompt.chars().count() > 200_000 {
        refuse("prompt", "must be at most 200000 characters long");
    }
    if description.chars().count() > 2_000 {
        refuse("description", "must be at most 2000 characters long");
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    if app.store().prompt_drafts(caller.tenant(), id, DRAFTS_LIMIT).await?.len() >= DRAFTS_LIMIT {
        return Err(Error::Conflict(format!("the agent has {DRAFTS_LIMIT} drafts already, which is the most")));
    }
    let now = app.now();
    Ok(PromptDraft { id: PromptId::new(now), description, prompt, created_at: now })
}

/// Stores a draft.
///
/// # Errors
/// [`Error::Conflict`] when a request with the same idempotency key was faster.
pub async fn create_draft(app: &App, caller: &Caller, id: AgentId, draft: &PromptDraft, claim: Claim) -> Result<()> {
    match app.store().save_prompt_draft(caller.tenant(), id, draft, claim.write(app, None)?).await {
        Err(store::Error::Conflict { .. }) => Err(Claim::in_progress()),
        other => Ok(other?),
    }
}

/// The agent's system prompts, newest first: drafts, and what its last [`VERSIONS_LOOKED_AT`] versions had. A draft that a version has
/// is that version's prompt. Each text is there once, but for drafts that say the same.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn prompts(app: &App, caller: &Caller, id: AgentId) -> Result<Vec<SystemPrompt>> {
    caller.require(Scope::AgentsRead)?;
    let tenant = caller.tenant();
    let now = current(app, tenant, id).await?;
    let (versions, _) = app.store().agent_history(tenant, id, now.number, None, VERSIONS_LOOKED_AT).await?;
    let drafts = app.store().prompt_drafts(tenant, id, DRAFTS_LIMIT.saturating_mul(2)).await?;
    let mut found: Vec<SystemPrompt> = drafts.into_iter().map(|draft| of_draft(draft, &now, &versions)).collect();
    let mut said: BTreeSet<String> = found.iter().map(|prompt| prompt.prompt.clone()).collect();
    for version in versions.iter().filter(|version| !version.definition.system_prompt.is_empty()) {
        if said.insert(version.definition.system_prompt.clone()) {
            found.push(of_version(version, &now, &versions));
        }
    }
    found.sort_by_key(|prompt| std::cmp::Reverse(prompt.created_at));
    Ok(found)
}

fn of_draft(draft: PromptDraft, now: &AgentVersion, versions: &[AgentVersion]) -> SystemPrompt {
    let PromptDraft { id, description, prompt, created_at } = draft;
    let (status, _, last) = standing(&prompt, now, versions);
    let updated_at = last.map_or(created_at, |last| began(last, versions).max(created_at));
    SystemPrompt { id: id.uuid(), description, prompt, status, created_at, updated_at }
}

fn of_version(version: &AgentVersion, now: &AgentVersion, versions: &[AgentVersion]) -> SystemPrompt {
    let prompt = version.definition.system_prompt.clone();
    let (status, first, last) = standing(&prompt, now, versions);
    let first = first.unwrap_or(version);
    let (created_at, updated_at) = (first.updated_at, began(last.unwrap_or(first), versions));
    SystemPrompt { id: first.id(), description: String::new(), prompt, status, created_at, updated_at }
}

/// Where the prompt stands, and the first and the last version that has it. `versions` are the newest first.
fn standing<'a>(
    prompt: &str,
    now: &AgentVersion,
    versions: &'a [AgentVersion],
) -> (PromptStatus, Option<&'a AgentVersion>, Option<&'a AgentVersion>) {
    let mut having = versions.iter().filter(|version| version.definition.system_prompt == prompt);
    let last = having.next();
    let first = having.next_back().or(last);
    let status = match last {
        _ if now.definition.system_prompt == prompt => PromptStatus::Active,
        Some(_) => PromptStatus::Previous,
        None => PromptStatus::Draft,
    };
    (status, first, last)
}

/// When the versions up to this one began to have its prompt without a gap.
fn began(last: &AgentVersion, versions: &[AgentVersion]) -> Timestamp {
    let up_to = versions.iter().skip_while(|version| version.number > last.number);
    let same = up_to.take_while(|version| version.definition.system_prompt == last.definition.system_prompt);
    same.last().unwrap_or(last).updated_at
}
