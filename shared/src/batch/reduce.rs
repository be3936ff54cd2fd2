//! Reductions: one run over all results of a batch, when all of its runs have ended, or so many of a hundred. It starts in the transaction that
//! says in the batch's row that it did, so it starts once, and no batch is written as ended whose reduction was forgotten.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Batch, Progress};
use crate::{
    agent::{self, InputType, Metadata},
    app::App,
    aside::aside,
    error::{Error, Problem, Result},
    id::{AgentId, RunId},
    message::{Record, Slot},
    model::ModelName,
    run::{self, DEADLINE_MS, NewRun, Pinned, Prompt, Run},
    template::{self, Known},
    tenant::{Caller, Mandate},
};

/// The most bytes of what a reduction is told.
pub const REDUCTION_LIMIT_BYTES: usize = 1024 * 1024;
/// The most bytes of what the runs of a batch have said together, of which a template makes what a reduction is told.
pub const RESULTS_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of JSON of its inputs with their templates.
const INPUTS_LIMIT_BYTES: usize = 64 * 1024;
/// How many results are read at a time: any may be large.
const READ_AT_A_TIME: usize = 50;
/// How often about all runs of a batch are looked at, to see whether so many of a hundred have ended.
const LOOKS: u16 = 32;

/// What a reduction shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewReduction {
    /// Whose version is run; `None` is the batch's agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Which one; `None` is the current one when the batch starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Another model than the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it is told: templates that know `batch` and `results`; `None` is the results that ended well, a JSON object a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// When so many of a hundred runs have ended: 1 to 100.
    pub percent: u8,
    /// The most model calls; `None` is the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// The most that it may cost, in micro-USD; `None` is the agent's own. Nothing of the batch's budget is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_micro_usd: Option<u64>,
    /// Pairs beside those of the batch.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A reduction of a batch, pinned as the batch is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reduction {
    /// Whose version is run.
    pub agent_id: AgentId,
    /// Which one.
    pub agent_version: u32,
    /// When so many of a hundred runs have ended.
    pub percent: u8,
    /// What has come of it, when that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Reduced>,
    prompt: Option<Prompt>,
    model: ModelName,
    mode: agent::Mode,
    max_steps: u32,
    budget_micro_usd: Option<u64>,
    metadata: Metadata,
    mandate: Mandate,
}

/// What has come of a reduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduced {
    /// This run was started.
    Run(RunId),
    /// Nothing was: why, for a person.
    Failed(String),
}

impl Reduction {
    /// Whether it starts when a part of the runs has ended, and has not.
    pub(super) const fn is_partial(&self) -> bool {
        self.percent < 100 && self.outcome.is_none()
    }
}

impl Batch {
    /// The run that its reduction is, if it was started.
    #[must_use]
    pub fn reduction_run(&self) -> Option<RunId> {
        match self.reduction.as_ref()?.outcome.as_ref()? {
            Reduced::Run(id) => Some(*id),
            Reduced::Failed(_) => None,
        }
    }

    /// Whether somebody waits for its end, or for that of a part of its runs.
    pub(crate) fn awaited(&self) -> bool {
        let reduces = self.reduction.as_ref().is_some_and(|reduction| reduction.outcome.is_none());
        self.settled.is_none() && (reduces || self.webhook_url.is_some())
    }

    /// Whether it is time for its reduction.
    pub(super) fn reduces(&self, progress: &Progress) -> bool {
        let Some(reduction) = self.reduction.as_ref().filter(|reduction| reduction.outcome.is_none()) else {
            return false;
        };
        let enough = u32::from(self.items).saturating_mul(reduction.percent.into()).div_ceil(100);
        let part = progress.counts.ended() >= enough && progress.counts.done > 0 && !self.cancel_requested;
        part || progress.ended_at.is_some()
    }

    /// Whether all runs are looked at when this one has ended: one in so many, so that all looks together cost what a few do.
    pub(super) fn looks_at(&self, index: u16) -> bool {
        let every = self.items.checked_div(LOOKS).unwrap_or(0).max(1);
        index.checked_rem(every) == Some(0)
    }
}

/// Checks a reduction and pins it. `metadata` is the batch's.
///
/// # Errors
/// [`Error::Invalid`] with fields below `reduce`; [`Error::NotFound`] for the agent; [`Error::UnknownModel`].
pub(super) async fn pin(
    app: &App,
    caller: &Caller,
    of: AgentId,
    metadata: &Metadata,
    new: NewReduction,
) -> Result<Reduction> {
    let named = |error: Error| error.with_fields(|field| format!("reduce.{field}"));
    let NewReduction { agent_id, version, model, prompt, percent, max_steps, budget_micro_usd, .. } = new;
    let mut problems = Vec::new();
    let mut refuse = |field: &str, message: String| problems.push(Problem { field: field.to_owned(), message });
    if !(1..=100).contains(&percent) {
        refuse("percent", "must be from 1 to 100".to_owned());
    }
    match &prompt {
        Some(Prompt::Inputs(inputs)) if json!(inputs).to_string().len() > INPUTS_LIMIT_BYTES => {
            refuse("inputs", format!("must be at most {INPUTS_LIMIT_BYTES} bytes of JSON"));
        }
        Some(Prompt::Message(message)) if message.len() > INPUTS_LIMIT_BYTES => {
            refuse("message", format!("must be at most {INPUTS_LIMIT_BYTES} bytes long"));
        }
        Some(prompt) => template::check_prompt(prompt, &mut problems),
        None => {}
    }
    if !problems.is_empty() {
        return Err(named(Error::Invalid(problems)));
    }
    let mut all = metadata.clone();
    all.extend(new.metadata);
    let agent_id = agent_id.unwrap_or(of);
    let agent = agent::wanted(app, caller.tenant(), agent_id, version).await?;
    let declared: Vec<(&str, InputType)> =
        agent.definition.inputs.iter().map(|input| (input.name.as_str(), input.kind)).collect();
    let sample = prompt
        .as_ref()
        .map_or_else(|| Prompt::Message("the results".to_owned()), |prompt| template::sample(prompt, &declared));
    sample.checked(&agent.definition, "", None).map_err(|problems| named(Error::Invalid(problems)))?;
    let nothing = Prompt::Message(String::new());
    let new = NewRun {
        model,
        max_steps,
        budget_micro_usd,
        metadata: all,
        ..NewRun::of(agent_id, nothing, run::Origin::Native)
    };
    let pinned = run::pin_to(app, caller, agent, &new).await.map_err(named)?;
    Ok(Reduction {
        agent_id,
        agent_version: pinned.agent.number,
        percent,
        outcome: None,
        prompt,
        model: pinned.model,
        mode: pinned.mode,
        max_steps: pinned.max_steps,
        budget_micro_usd: pinned.budget_micro_usd,
        metadata: pinned.metadata,
        mandate: caller.mandate(),
    })
}

/// What becomes of the batch's reduction now: the run that it is, with its input, or why there is none.
///
/// # Errors
/// As the store says: it is to be decided later then.
pub(super) async fn decide(
    app: &App,
    batch: &Batch,
    reduction: &Reduction,
    progress: &Progress,
) -> Result<std::result::Result<(Box<Run>, Slot), String>> {
    if batch.cancel_requested {
        return Ok(Err("the batch was cancelled".to_owned()));
    }
    if progress.counts.done == 0 {
        return Ok(Err("no run of the batch ended well".to_owned()));
    }
    let agent = match agent::wanted(app, batch.tenant(), reduction.agent_id, Some(reduction.agent_version)).await {
        Ok(agent) => agent,
        Err(Error::NotFound(what)) => return Ok(Err(format!("the {what} is no more"))),
        Err(error) => return Err(error),
    };
    let prompt = match told(app, batch, reduction, progress).await? {
        Ok(prompt) => prompt,
        Err(problem) => return Ok(Err(problem)),
    };
    let (text, inputs) = match prompt.checked(&agent.definition, "", None) {
        Ok(checked) => checked,
        Err(problems) => return Ok(Err(Error::Invalid(problems).to_string())),
    };
    if text.len() > REDUCTION_LIMIT_BYTES {
        return Ok(Err(format!("what it would be told has more than {REDUCTION_LIMIT_BYTES} bytes")));
    }
    let (caller, now) = (reduction.mandate.caller(batch.tenant()), app.now());
    let pinned = Pinned {
        tenant: batch.tenant(),
        key_id: caller.key_id(),
        key_budget: caller.key_budget(),
        agent: Arc::clone(&agent),
        model: reduction.model.clone(),
        mode: reduction.mode,
        max_steps: reduction.max_steps,
        budget_micro_usd: reduction.budget_micro_usd,
        deadline_at: now.plus_ms(DEADLINE_MS),
        metadata: reduction.metadata.clone(),
        origin: batch.origin,
    };
    let mut run = run::first_row(app, &pinned, RunId::of_reduction(batch.id), &text, None);
    run.cause = batch.cause;
    run.reduces = Some(batch.id);
    Ok(Ok((Box::new(run), Record::Input { text, inputs, attachments: Vec::new() }.at(now))))
}

/// What it is told, or why it cannot be.
async fn told(
    app: &App,
    batch: &Batch,
    reduction: &Reduction,
    progress: &Progress,
) -> Result<std::result::Result<Prompt, String>> {
    let results = match results(app, batch).await? {
        Ok(results) => results,
        Err(problem) => return Ok(Err(problem)),
    };
    let Some(prompt) = reduction.prompt.clone() else { return Ok(lines(&results)) };
    let mut about = batch.about(progress);
    about.insert("id".to_owned(), batch.id.prefixed().into());
    let known = [("batch", about.into()), ("results", Json::Array(results))];
    let prompt = aside(move || Known::of_results(known, REDUCTION_LIMIT_BYTES).prompt(&prompt)).await?;
    Ok(prompt.map_err(|problem| Error::Invalid(vec![problem]).to_string()))
}

/// The results that ended well, a JSON object a line.
fn lines(results: &[Json]) -> std::result::Result<Prompt, String> {
    let mut text = String::new();
    for result in results.iter().filter(|result| result["status"] == "done") {
        let name = if result["custom_id"].is_null() { "index" } else { "custom_id" };
        text.push_str(&json!({ name: result[name], "output": result["output"] }).to_string());
        text.push('\n');
        if text.len() > REDUCTION_LIMIT_BYTES {
            return Err(format!(
                "the results come to more than {REDUCTION_LIMIT_BYTES} bytes: say with a template what of them"
            ));
        }
    }
    Ok(Prompt::Message(text))
}

/// What templates know of the runs that have ended, in the order of the items.
async fn results(app: &App, batch: &Batch) -> Result<std::result::Result<Vec<Json>, String>> {
    let (mut all, mut bytes) = (Vec::new(), 0_usize);
    for ids in batch.run_ids().chunks(READ_AT_A_TIME) {
        let runs = app.store().runs(batch.tenant(), ids).await?.into_iter().flatten().map(|found| found.value);
        let ended: Vec<Run> = runs.filter(|run| run.status.terminal()).collect();
        let outputs = run::outputs_of(app, batch.tenant(), &ended).await?;
        for (run, said) in ended.iter().zip(outputs) {
            let error = run.error.as_ref().map_or(0, String::len);
            bytes = bytes.saturating_add(error).saturating_add(said.as_ref().map_or(0, String::len));
            if bytes > RESULTS_LIMIT_BYTES {
                return Ok(Err(format!("the runs have said more than {RESULTS_LIMIT_BYTES} bytes together")));
            }
            let of = run.batch.as_ref();
            all.push(json!({
                "index": of.map(|batch| batch.index),
                "custom_id": of.and_then(|batch| batch.custom_id.as_deref()),
                "run_id": run.id.prefixed(),
                "status": run.status.name(),
                "error": run.error,
                "output": said.map(|said| run.output(said)),
            }));
        }
    }
    Ok(Ok(all))
}
