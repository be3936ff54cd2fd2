//! Agents: a prompt and a model under a name. Every change makes a new version that never changes; a run is pinned to one.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::AgentId,
    idempotency::Claim,
    model::ModelName,
    page::{Page, PageRequest},
    random, store,
    tenant::{Caller, Scope, Tenant},
};

/// Key-value pairs of the caller's own; see [`check_metadata`] for the limits.
pub type Metadata = BTreeMap<String, String>;

/// Whether tool calls run by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They do.
    #[default]
    Auto,
    /// A run waits at each for a person's say.
    Manual,
}

/// The most model calls of a run unless its agent says otherwise.
pub const MAX_STEPS: u32 = 25;
/// The most that an agent may allow.
pub const MAX_STEPS_LIMIT: u32 = 200;
/// The most tokens of one answer unless the agent says otherwise.
pub const MAX_TOKENS: u32 = 4_096;
/// The most that an agent may allow.
pub const MAX_TOKENS_LIMIT: u32 = 1_000_000;
/// How often a change is tried again when others change agents at the same time.
const TRIES: u32 = 40;

/// What an agent is, as somebody asks for it: not checked yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// 1 to 200 characters.
    pub name: String,
    /// At most 2,000 characters.
    pub description: String,
    /// At most 200,000 characters.
    pub system_prompt: String,
    /// A model of this deployment, as `provider/model` or an alias.
    pub model: String,
    /// The most model calls of a run, 1 to [`MAX_STEPS_LIMIT`].
    pub max_steps: u32,
    /// The most tokens of one answer; `None` is [`MAX_TOKENS`].
    pub max_tokens: Option<u32>,
    /// 0 to 2; `None` is the provider's default.
    pub temperature: Option<f64>,
    /// The most that a run may cost, in micro-USD; `None` is no limit.
    pub budget_micro_usd: Option<u64>,
    /// Whether tool calls run by themselves.
    pub mode: Mode,
    /// At most 16 pairs.
    pub metadata: Metadata,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            system_prompt: String::new(),
            model: String::new(),
            max_steps: MAX_STEPS,
            max_tokens: None,
            temperature: None,
            budget_micro_usd: None,
            mode: Mode::Auto,
            metadata: Metadata::new(),
        }
    }
}

/// One version of an agent. Checked, and never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentVersion {
    /// Whose version it is.
    pub agent_id: AgentId,
    /// Counts up from 1.
    pub number: u32,
    /// When the agent was made.
    pub created_at: Timestamp,
    /// When this version was made.
    pub updated_at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub definition: Definition,
}

/// What an agent is, checked. The fields mean what [`Draft`]'s do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are documented at Draft")]
pub struct Definition {
    pub name: String,
    pub description: String,
    pub system_prompt: String,
    pub model: ModelName,
    pub max_steps: u32,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f64>,
    pub budget_micro_usd: Option<u64>,
    pub mode: Mode,
    pub metadata: Metadata,
}

impl Definition {
    fn new(app: &App, draft: Draft) -> Result<Self> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, field: &str, message: String| {
            if !holds {
                problems.push(Problem { field: field.to_owned(), message });
            }
        };
        check(!draft.name.trim().is_empty(), "name", "must not be empty".to_owned());
        for (field, text, most) in [
            ("name", &draft.name, 200),
            ("description", &draft.description, 2_000),
            ("system_prompt", &draft.system_prompt, 200_000),
        ] {
            check(text.chars().count() <= most, field, format!("must be at most {most} characters long"));
        }
        check(
            (1..=MAX_STEPS_LIMIT).contains(&draft.max_steps),
            "max_steps",
            format!("must be from 1 to {MAX_STEPS_LIMIT}"),
        );
        let tokens = draft.max_tokens.is_none_or(|most| (1..=MAX_TOKENS_LIMIT).contains(&most));
        check(tokens, "max_tokens", format!("must be from 1 to {MAX_TOKENS_LIMIT}"));
        check(
            draft.temperature.is_none_or(|t| (0.0..=2.0).contains(&t)),
            "temperature",
            "must be from 0 to 2".to_owned(),
        );
        check_metadata(&draft.metadata, &mut problems);
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let model = resolve_model(app, &draft.model)?;
        check_budget(app, &model, draft.budget_micro_usd)?;
        Ok(Self {
            name: draft.name,
            description: draft.description,
            system_prompt: draft.system_prompt,
            model,
            max_steps: draft.max_steps,
            max_tokens: draft.max_tokens,
            temperature: draft.temperature,
            budget_micro_usd: draft.budget_micro_usd,
            mode: draft.mode,
            metadata: draft.metadata,
        })
    }
}

impl From<Definition> for Draft {
    fn from(definition: Definition) -> Self {
        let Definition {
            name,
            description,
            system_prompt,
            model,
            max_steps,
            max_tokens,
            temperature,
            budget_micro_usd,
            mode,
            metadata,
        } = definition;
        let model = model.as_str().to_owned();
        Self {
            name,
            description,
            system_prompt,
            model,
            max_steps,
            max_tokens,
            temperature,
            budget_micro_usd,
            mode,
            metadata,
        }
    }
}

/// The model of this name, if this deployment can call it.
///
/// # Errors
/// [`Error::UnknownModel`] with the names that would do.
pub(crate) fn resolve_model(app: &App, name: &str) -> Result<ModelName> {
    app.models().resolve(name).map_err(|unknown| Error::UnknownModel {
        field: "model".to_owned(),
        name: name.to_owned(),
        known: unknown.known,
    })
}

/// A budget needs a price: without one it could not be kept.
pub(crate) fn check_budget(app: &App, model: &ModelName, budget_micro_usd: Option<u64>) -> Result<()> {
    match budget_micro_usd {
        None => Ok(()),
        Some(0) => Err(Error::invalid("budget_micro_usd", "must be at least 1")),
        Some(_) if app.models().price(model).is_none() => Err(Error::invalid(
            "budget_micro_usd",
            format!(
                "the price of model '{model}' is not known, so a budget cannot be kept; set its price in MUSTER_PRICES"
            ),
        )),
        Some(_) => Ok(()),
    }
}

/// Adds what is wrong with the metadata: at most 16 pairs, keys of 1 to 64 and values of at most 512 characters.
pub(crate) fn check_metadata(metadata: &Metadata, problems: &mut Vec<Problem>) {
    let mut refuse = |field: String, message: &str| problems.push(Problem { field, message: message.to_owned() });
    if metadata.len() > 16 {
        refuse("metadata".to_owned(), "must have at most 16 pairs");
    }
    for (key, value) in metadata {
        if key.is_empty() || key.chars().count() > 64 {
            refuse("metadata".to_owned(), "each key must be 1 to 64 characters long");
        }
        if value.chars().count() > 512 {
            refuse(format!("metadata.{key}"), "must be at most 512 characters long");
        }
    }
}

/// A new agent, checked and with its id, not yet stored: see [`create`].
///
/// # Errors
/// [`Error::Invalid`], [`Error::UnknownModel`], [`Error::Forbidden`].
pub fn plan(app: &App, caller: &Caller, draft: Draft) -> Result<AgentVersion> {
    caller.require(Scope::AgentsWrite)?;
    let now = app.now();
    let definition = Definition::new(app, draft)?;
    Ok(AgentVersion { agent_id: AgentId::new(now), number: 1, created_at: now, updated_at: now, definition })
}

/// Stores a planned agent.
///
/// # Errors
/// As the store says.
pub async fn create(app: &App, caller: &Caller, agent: &AgentVersion, claim: Claim) -> Result<()> {
    point_to(app, caller.tenant(), agent, None, claim).await
}

/// The agent's current version.
///
/// # Errors
/// [`Error::NotFound`], also for one that was deleted.
pub async fn get(app: &App, caller: &Caller, id: AgentId) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    current(app, caller.tenant(), id).await
}

/// The current version, whatever the caller may look at: for starting runs.
pub(crate) async fn current(app: &App, tenant: Tenant, id: AgentId) -> Result<Arc<AgentVersion>> {
    let bucket = app.store().agent_bucket(tenant, id).await?;
    let number = bucket.current(id).ok_or(Error::NotFound("agent"))?;
    version(app, tenant, id, number).await
}

/// One version, from memory if this process has seen it.
pub(crate) async fn version(app: &App, tenant: Tenant, id: AgentId, number: u32) -> Result<Arc<AgentVersion>> {
    if let Some(known) = app.remembered_version(tenant.org(), id, number) {
        return Ok(known);
    }
    let found = app.store().agent_version(tenant, id, number).await?.ok_or(Error::NotFound("agent version"))?;
    let found = Arc::new(found);
    app.remember_version(tenant.org(), found.clone());
    Ok(found)
}

/// The organisation's agents, newest first; with `metadata`, those that have all of its pairs.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, page: &PageRequest, metadata: &Metadata) -> Result<Page<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    let of = format!("agents?{metadata:?}");
    let after = page.position(&of)?;
    let mut pointers = app.store().agent_pointers(caller.tenant()).await?;
    pointers.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
    let mut rest =
        pointers.into_iter().filter(|(id, _)| after.as_ref().is_none_or(|after| id.to_string() < *after)).peekable();
    let mut entries = Vec::new();
    let mut last = None;
    while entries.len() < page.limit && rest.peek().is_some() {
        let wanted: Vec<_> = rest.by_ref().take(page.limit).collect();
        for version in app.store().agent_versions(caller.tenant(), &wanted).await? {
            let fits = metadata.iter().all(|(key, value)| version.definition.metadata.get(key) == Some(value));
            if fits && entries.len() == page.limit {
                return Ok(Page::new(entries, last.as_deref(), &of));
            }
            last = Some(version.agent_id.to_string());
            if fits {
                entries.push(version);
            }
        }
    }
    let more = rest.peek().is_some();
    Ok(Page::new(entries, last.as_deref().filter(|_| more), &of))
}

/// Changes the agent: `change` edits what it is now. A change that changes nothing makes no version.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`], [`Error::UnknownModel`].
pub async fn update(app: &App, caller: &Caller, id: AgentId, change: impl Fn(&mut Draft)) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::AgentsWrite)?;
    for attempt in 1..=TRIES {
        let now = current(app, caller.tenant(), id).await?;
        let mut draft = Draft::from(now.definition.clone());
        change(&mut draft);
        let definition = Definition::new(app, draft)?;
        if definition == now.definition {
            return Ok(now);
        }
        let number = now.number.saturating_add(1);
        let next = AgentVersion { agent_id: id, number, created_at: now.created_at, updated_at: app.now(), definition };
        match point_to(app, caller.tenant(), &next, Some(now.number), Claim::none()).await {
            Ok(()) => return Ok(Arc::new(next)),
            Err(Error::Conflict(_)) => random::pause(attempt).await,
            Err(error) => return Err(error),
        }
    }
    Err(Error::Unavailable("the agent is being changed by others all the time".into()))
}

/// Deletes the agent. Runs that were started keep their version and go on.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn delete(app: &App, caller: &Caller, id: AgentId) -> Result<()> {
    caller.require(Scope::AgentsWrite)?;
    for attempt in 1..=TRIES {
        let mut bucket = app.store().agent_bucket(caller.tenant(), id).await?;
        if !bucket.remove(id) {
            return Err(Error::NotFound("agent"));
        }
        match app.store().save_agent_bucket(bucket, None, None).await {
            Ok(()) => return Ok(()),
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the agent is being changed by others all the time".into()))
}

/// The agent's versions, newest first.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`] for a cursor of another list.
pub async fn versions(app: &App, caller: &Caller, id: AgentId, page: &PageRequest) -> Result<Page<AgentVersion>> {
    caller.require(Scope::AgentsRead)?;
    current(app, caller.tenant(), id).await?;
    let of = format!("versions/{id}");
    let (versions, next) = app.store().agent_history(caller.tenant(), id, page.position(&of)?, page.limit).await?;
    Ok(Page::new(versions, next.as_deref(), &of))
}

/// Makes a new version that says what version `number` said.
///
/// # Errors
/// [`Error::NotFound`] for the agent or the version; [`Error::UnknownModel`] when its model is gone.
pub async fn restore(app: &App, caller: &Caller, id: AgentId, number: u32) -> Result<Arc<AgentVersion>> {
    caller.require(Scope::AgentsWrite)?;
    current(app, caller.tenant(), id).await?;
    let old = version(app, caller.tenant(), id, number).await?;
    update(app, caller, id, |draft| *draft = Draft::from(old.definition.clone())).await
}

/// Makes this version the current one, if `from` still is (`None`: if the agent is new).
///
/// The bucket holds other agents too; only a change of this agent is a conflict, a change of another is tried again.
async fn point_to(app: &App, tenant: Tenant, to: &AgentVersion, from: Option<u32>, claim: Claim) -> Result<()> {
    let claim = claim.write(app, None)?;
    for attempt in 1..=TRIES {
        let mut bucket = app.store().agent_bucket(tenant, to.agent_id).await?;
        if bucket.current(to.agent_id) != from {
            return Err(Error::Conflict("the agent was changed at the same time".to_owned()));
        }
        bucket.point(to.agent_id, to.number);
        match app.store().save_agent_bucket(bucket, Some(to), claim.clone()).await {
            Ok(()) => return Ok(()),
            Err(store::Error::Conflict { index: 0 | 1 }) => random::pause(attempt).await,
            Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("agents are being changed by others all the time".into()))
}
