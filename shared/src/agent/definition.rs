//! What an agent is, what may be asked for, and what is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    guidance::{Guidance, Outside},
    inputs::{self, Input},
    sub_agents,
};
use crate::{
    app::App,
    error::{Error, Problem, Result},
    model::{ModelName, ToolMode},
    money::Limit,
    provider,
    tenant::Tenant,
    tool::{self, Tool},
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

/// The most models that an agent may fall back to.
pub const FALLBACK_MODELS_LIMIT: usize = 5;

/// What an agent is: checked, and never changed; or a [`Draft`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition<M = ModelName> {
    /// 1 to 200 characters.
    pub name: String,
    /// At most 2,000 characters.
    pub description: String,
    /// At most 200,000 characters; `{{name}}` takes an input that is declared.
    pub system_prompt: String,
    /// A model of this deployment or of a provider of its organisation, as `provider/model`, or an alias.
    pub model: M,
    /// The models that are called instead when it cannot be, in this order: at most [`FALLBACK_MODELS_LIMIT`].
    #[serde(default = "Vec::new")]
    pub fallback_models: Vec<M>,
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
    /// What its model may call: at most [`tool::TOOLS_LIMIT`].
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// How it is told of them.
    #[serde(default)]
    pub tool_mode: ToolMode,
    /// The JSON Schema that its last answer satisfies; `None` is any text.
    #[serde(default)]
    pub output_schema: Option<Value>,
    /// What its runs are given: at most [`super::INPUTS_LIMIT`]; with none, anything.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// At most 16 pairs.
    pub metadata: Metadata,
    /// What the model is told besides the system prompt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guidance: Guidance,
    /// What it carries for services outside this project.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outside: Outside,
    /// Its model is told nothing, and says how alike two texts are: so are agents that nobody made, who compare answers of evaluations.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compares: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What an agent shall be, as somebody asks for it: not checked yet.
pub type Draft = Definition<String>;

impl<M> Definition<M> {
    /// One of that name with that model, and nothing else said.
    pub fn new(name: impl Into<String>, model: M) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            system_prompt: String::new(),
            model,
            fallback_models: Vec::new(),
            max_steps: MAX_STEPS,
            max_tokens: None,
            temperature: None,
            budget_micro_usd: None,
            mode: Mode::default(),
            tools: Vec::new(),
            tool_mode: ToolMode::default(),
            output_schema: None,
            inputs: Vec::new(),
            metadata: Metadata::new(),
            guidance: Guidance::default(),
            outside: Outside::default(),
            compares: false,
        }
    }
}

impl Draft {
    /// The definition, if everything about it may be so; otherwise all that is wrong. What it has of what the agent `was` is not looked at
    /// again: an agent, a model or an address that it names may have gone since, and everything else can be changed nevertheless.
    pub(super) async fn checked(mut self, app: &App, tenant: Tenant, was: Option<&Definition>) -> Result<Definition> {
        self.check(app, tenant, was).await?;
        if let Some(was) = was.filter(|was| self.calls_what(was)) {
            return Ok(self.with_models(was.model.clone(), was.fallback_models.clone()));
        }
        let had = was.into_iter().flat_map(|was| std::iter::once(&was.model).chain(&was.fallback_models));
        let had: Vec<&ModelName> = had.collect();
        let model = resolve(app, tenant, "model", &self.model, &had).await?;
        let fallbacks = resolve_fallbacks(app, tenant, Some(&model), &self.fallback_models, &had).await?;
        check_budget(app, tenant, Some(&model), &fallbacks, self.budget_micro_usd).await?;
        Ok(self.with_models(model, fallbacks))
    }

    /// Whether it calls the models that the agent called, with the same budget.
    fn calls_what(&self, was: &Definition) -> bool {
        let fallbacks = was.fallback_models.iter().map(ModelName::as_str);
        self.model == was.model.as_str()
            && self.fallback_models.iter().map(String::as_str).eq(fallbacks)
            && self.budget_micro_usd == was.budget_micro_usd
    }

    /// Refuses what no agent may be, where this is a change of one that nobody knows: its model is `unsaid` unless the change says
    /// another, and then nothing is held against what its model may be.
    pub(super) async fn check_of_any(mut self, app: &App, tenant: Tenant, unsaid: &str) -> Result<()> {
        self.check(app, tenant, None).await?;
        let model = match self.model != unsaid {
            true => Some(resolve(app, tenant, "model", &self.model, &[]).await?),
            false => None,
        };
        let fallbacks = resolve_fallbacks(app, tenant, model.as_ref(), &self.fallback_models, &[]).await?;
        check_budget(app, tenant, model.as_ref(), &fallbacks, self.budget_micro_usd).await
    }

    /// Looks at everything but models and what they cost.
    async fn check(&mut self, app: &App, tenant: Tenant, was: Option<&Definition>) -> Result<()> {
        let mut problems = Vec::new();
        let had = was.map_or(&[][..], |was| &was.tools);
        sub_agents::resolve(app, tenant, &mut self.tools, had, &mut problems).await?;
        let mut check = |holds: bool, field: &str, message: String| {
            if !holds {
                problems.push(Problem { field: field.to_owned(), message });
            }
        };
        check(!self.name.trim().is_empty(), "name", "must not be empty".to_owned());
        for (field, text, most) in [
            ("name", &self.name, 200),
            ("description", &self.description, 2_000),
            ("system_prompt", &self.system_prompt, 200_000),
        ] {
            check(text.chars().count() <= most, field, format!("must be at most {most} characters long"));
        }
        check(
            (1..=MAX_STEPS_LIMIT).contains(&self.max_steps),
            "max_steps",
            format!("must be from 1 to {MAX_STEPS_LIMIT}"),
        );
        let tokens = self.max_tokens.is_none_or(|most| (1..=MAX_TOKENS_LIMIT).contains(&most));
        check(tokens, "max_tokens", format!("must be from 1 to {MAX_TOKENS_LIMIT}"));
        check(
            self.temperature.is_none_or(|t| (0.0..=2.0).contains(&t)),
            "temperature",
            "must be from 0 to 2".to_owned(),
        );
        check(
            self.fallback_models.len() <= FALLBACK_MODELS_LIMIT,
            "fallback_models",
            format!("must be at most {FALLBACK_MODELS_LIMIT}"),
        );
        check_metadata(&self.metadata, &mut problems);
        tool::check(app.guard(), app.functions(), &self.tools, had, &mut problems);
        inputs::check(&self.inputs, &mut problems);
        self.guidance.check(&mut problems);
        self.outside.check(&mut problems);
        if let Some(Err(message)) = self.output_schema.as_ref().map(tool::schema::check_output) {
            problems.push(Problem { field: "output_schema".to_owned(), message });
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
    }
}

impl Definition {
    /// What it says, to be changed.
    pub(super) fn to_draft(&self) -> Draft {
        let fallbacks = self.fallback_models.iter().map(ToString::to_string).collect();
        self.clone().with_models(self.model.to_string(), fallbacks)
    }
}

impl<M> Definition<M> {
    fn with_models<N>(self, model: N, fallback_models: Vec<N>) -> Definition<N> {
        Definition {
            name: self.name,
            description: self.description,
            system_prompt: self.system_prompt,
            model,
            fallback_models,
            max_steps: self.max_steps,
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            budget_micro_usd: self.budget_micro_usd,
            mode: self.mode,
            tools: self.tools,
            tool_mode: self.tool_mode,
            output_schema: self.output_schema,
            inputs: self.inputs,
            metadata: self.metadata,
            guidance: self.guidance,
            outside: self.outside,
            compares: self.compares,
        }
    }
}

/// The model of this name. One that the agent had stays its, whether it can be called now or not.
async fn resolve(app: &App, tenant: Tenant, field: &str, name: &str, had: &[&ModelName]) -> Result<ModelName> {
    match had.iter().find(|had| had.as_str() == name) {
        Some(had) => Ok((*had).clone()),
        None => provider::resolve(app, tenant, field, name).await,
    }
}

/// The models of these names, each another one.
async fn resolve_fallbacks(
    app: &App,
    tenant: Tenant,
    model: Option<&ModelName>,
    names: &[String],
    had: &[&ModelName],
) -> Result<Vec<ModelName>> {
    let mut found: Vec<ModelName> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let field = format!("fallback_models[{index}]");
        let fallback = resolve(app, tenant, &field, name, had).await?;
        if model.into_iter().chain(&found).any(|known| app.models().same(known, &fallback)) {
            return Err(Error::invalid(field, "must be another model than 'model' and those before it"));
        }
        found.push(fallback);
    }
    Ok(found)
}

/// A budget needs the price of every model that may be called: without one it could not be kept.
pub(crate) async fn check_budget(
    app: &App,
    tenant: Tenant,
    model: Option<&ModelName>,
    fallbacks: &[ModelName],
    budget_micro_usd: Option<u64>,
) -> Result<()> {
    match budget_micro_usd {
        None => Ok(()),
        Some(0) => Err(Error::invalid("budget_micro_usd", "must be at least 1")),
        Some(_) => unpriced(app, tenant, model, fallbacks).await?.map_or(Ok(()), |(model, hint)| {
            let message = format!("the price of model '{model}' is not known, so a budget cannot be kept; {hint}");
            Err(Error::invalid("budget_micro_usd", message))
        }),
    }
}

/// The same for budgets that the request did not name: those of its key and organisation.
pub(crate) async fn check_prices(
    app: &App,
    tenant: Tenant,
    model: &ModelName,
    fallbacks: &[ModelName],
    limits: &[Limit],
) -> Result<()> {
    let Some(limit) = limits.first() else { return Ok(()) };
    unpriced(app, tenant, Some(model), fallbacks).await?.map_or(Ok(()), |(model, hint)| {
        let budget = limit.ledger.budget.name();
        let message = format!("the price of '{model}' is not known, so the {budget} budget cannot be kept; {hint}");
        Err(Error::invalid("model", message))
    })
}

/// One without a known price, and what may be done about it.
async fn unpriced<'a>(
    app: &App,
    tenant: Tenant,
    model: Option<&'a ModelName>,
    fallbacks: &'a [ModelName],
) -> Result<Option<(&'a ModelName, &'static str)>> {
    for model in model.into_iter().chain(fallbacks) {
        let whose = provider::whose(app, tenant, model.as_str()).await?;
        if whose.price(app, model).is_none() {
            return Ok(Some((model, whose.price_hint())));
        }
    }
    Ok(None)
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
