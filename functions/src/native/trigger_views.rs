//! Triggers as answers have them, and what both bodies and answers say of one.

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    Error, Result,
    clock::Timestamp,
    error::Problem,
    run::Prompt,
    trigger::{Definition, End, Ends, Event, Objects, Outcome, Shown, Source, Tested, Told, Trigger},
};

use super::terms::{TermsView, agent};
use crate::hooks;

/// Where events come from, and so how they are proven.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceView {
    /// Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks,
    /// `X-Hub-Signature-256`; told apart by `X-GitHub-Delivery`.
    Github,
    /// `Stripe-Signature`; told apart by the event's `id`.
    Stripe,
    /// `X-Slack-Signature`; told apart by `event_id`, or by what is signed.
    Slack,
    /// The secret in `Authorization: Bearer` or `x-muster-token`; told apart by `Idempotency-Key` or `webhook-id`.
    Token,
    /// Rules of Amazon EventBridge, through the function that is deployed for them, or by HTTP with the secret as of `token`; told apart by the
    /// event's `id`.
    Eventbridge,
    /// The same, of new objects in a bucket of S3, as `object` says: told apart by key and version.
    S3,
    /// Ends of runs of this organisation, as `from` says.
    Run,
}

/// Which objects are a trigger's events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectsView {
    /// Of this bucket, which must be one that the operator lets be read.
    bucket: String,
    /// With keys that begin so.
    #[schemars(length(max = 1024))]
    #[serde(default)]
    prefix: String,
    /// With keys that end so.
    #[schemars(length(max = 1024))]
    #[serde(default)]
    suffix: String,
}

impl From<ObjectsView> for Objects {
    fn from(ObjectsView { bucket, prefix, suffix }: ObjectsView) -> Self {
        Self { bucket, prefix, suffix }
    }
}

impl From<Objects> for ObjectsView {
    fn from(Objects { bucket, prefix, suffix }: Objects) -> Self {
        Self { bucket, prefix, suffix }
    }
}

/// Which ends of runs are a trigger's events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndsView {
    /// Whose runs: not those that it does as a sub-agent or in an evaluation.
    agent_id: String,
    /// How they ended: `done` unless given.
    #[schemars(length(min = 1, max = 3))]
    #[serde(default = "well")]
    on: Vec<EndView>,
}

fn well() -> Vec<EndView> {
    vec![EndView::Done]
}

/// How a run ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EndView {
    Done,
    Error,
    Interrupted,
}

impl EndsView {
    pub(super) fn read(self) -> Result<Ends> {
        let agent_id = agent(&self.agent_id)?;
        let end = |end| match end {
            EndView::Done => End::Done,
            EndView::Error => End::Error,
            EndView::Interrupted => End::Interrupted,
        };
        Ok(Ends { agent_id, on: self.on.into_iter().map(end).collect() })
    }
}

impl From<Ends> for EndsView {
    fn from(ends: Ends) -> Self {
        let end = |end| match end {
            End::Done => EndView::Done,
            End::Error => EndView::Error,
            End::Interrupted => EndView::Interrupted,
        };
        Self { agent_id: ends.agent_id.prefixed(), on: ends.on.into_iter().map(end).collect() }
    }
}

impl From<SourceView> for Source {
    fn from(view: SourceView) -> Self {
        match view {
            SourceView::StandardWebhooks => Self::StandardWebhooks,
            SourceView::Github => Self::Github,
            SourceView::Stripe => Self::Stripe,
            SourceView::Slack => Self::Slack,
            SourceView::Token => Self::Token,
            SourceView::Eventbridge => Self::Eventbridge,
            SourceView::S3 => Self::S3,
            SourceView::Run => Self::Run,
        }
    }
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        match source {
            Source::StandardWebhooks => Self::StandardWebhooks,
            Source::Github => Self::Github,
            Source::Stripe => Self::Stripe,
            Source::Slack => Self::Slack,
            Source::Token => Self::Token,
            Source::Eventbridge => Self::Eventbridge,
            Source::S3 => Self::S3,
            Source::Run => Self::Run,
        }
    }
}

/// What the agent is told, as bodies say it.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    pub(super) message: Option<String>,
    pub(super) inputs: Option<Map<String, Value>>,
    pub(super) rows: Option<String>,
    pub(super) custom_id: Option<String>,
}

impl Parts {
    pub(super) fn told(self, source: Source) -> Result<Told> {
        let Self { message, inputs, rows, custom_id } = self;
        let of_object = source == Source::S3;
        let prompt = match (message, inputs) {
            (Some(_), Some(_)) => return Err(Error::invalid("message", "must be given without inputs")),
            (Some(message), None) => Some(Prompt::Message(message)),
            (None, Some(inputs)) => Some(Prompt::Inputs(inputs)),
            (None, None) => None,
        };
        match (rows, custom_id, prompt) {
            (Some(_), _, _) if of_object => Err(Error::invalid("rows", "are those of the object")),
            (None, custom_id, Some(prompt)) if of_object => Ok(Told::Each { custom_id, prompt }),
            (None, Some(_), None) if of_object => {
                Err(Error::invalid("message", "or inputs must be given with custom_id"))
            }
            (None, Some(_), _) => Err(Error::invalid("custom_id", "is an item's: rows is missing")),
            (None, None, Some(prompt)) => Ok(Told::Prompt(prompt)),
            (None, None, None) => Ok(Told::Body),
            (Some(rows), custom_id, Some(prompt)) => Ok(Told::Rows { rows, custom_id, prompt }),
            (Some(_), _, None) => Err(Error::invalid("message", "or inputs must be given with rows")),
        }
    }
}

impl From<&Told> for Parts {
    fn from(told: &Told) -> Self {
        let parts = |prompt: &Prompt| match prompt.clone() {
            Prompt::Message(message) => Self { message: Some(message), ..Self::default() },
            Prompt::Inputs(inputs) => Self { inputs: Some(inputs), ..Self::default() },
        };
        match told {
            Told::Prompt(prompt) => parts(prompt),
            Told::Rows { rows, custom_id, prompt } => {
                Self { rows: Some(rows.clone()), custom_id: custom_id.clone(), ..parts(prompt) }
            }
            Told::Each { custom_id, prompt } => Self { custom_id: custom_id.clone(), ..parts(prompt) },
            Told::Body => Self::default(),
        }
    }
}

/// A trigger, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TriggerView {
    id: String,
    name: String,
    description: String,
    source: SourceView,
    /// Of the source `run`: which ends.
    from: Option<EndsView>,
    /// Of the source `s3`: which objects.
    object: Option<ObjectsView>,
    enabled: bool,
    /// Where its events go by POST; `null` where they come otherwise.
    url_path: Option<String>,
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    rows: Option<String>,
    custom_id: Option<String>,
    filter: Option<String>,
    #[serde(flatten)]
    terms: TermsView,
    /// Until when the secret before the last rotation holds too.
    previous_secret_until: Option<String>,
    created_at: String,
    updated_at: String,
}

impl TriggerView {
    pub(super) fn new(trigger: &Trigger, now: Timestamp) -> Self {
        let Definition { name, description, source, from, object, enabled, filter, told, terms, cotool: _ } =
            trigger.definition.clone();
        let Parts { message, inputs, rows, custom_id } = Parts::from(&told);
        Self {
            id: trigger.id.prefixed(),
            name,
            description,
            source: source.into(),
            from: from.map(Into::into),
            object: object.map(Into::into),
            enabled,
            url_path: source.by_http().then(|| format!("/v1/hooks/{}", trigger.id.prefixed())),
            message,
            inputs,
            rows,
            custom_id,
            filter,
            terms: terms.into(),
            previous_secret_until: trigger.overlap_until(now).map(|at| at.rfc3339()),
            created_at: trigger.created_at.rfc3339(),
            updated_at: trigger.updated_at.rfc3339(),
        }
    }
}

/// A trigger with its new secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct NewTriggerView {
    /// The secret: shown here, and never again; `null` where none is needed.
    secret: Option<String>,
    #[serde(flatten)]
    about: TriggerView,
}

impl NewTriggerView {
    pub(super) fn new(shown: &Shown, now: Timestamp) -> Self {
        let secret = shown.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        Self { secret, about: TriggerView::new(&shown.trigger, now) }
    }
}

/// What became of an event.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TriggerEventView {
    event_id: String,
    received_at: String,
    /// `accepted`, `filtered` or `failed`.
    outcome: &'static str,
    run_id: Option<String>,
    batch_id: Option<String>,
    /// Of one that failed: what was wrong.
    problems: Vec<ProblemView>,
}

/// Something that is wrong.
#[derive(Debug, Serialize, JsonSchema)]
struct ProblemView {
    /// As the trigger calls it; empty when it is the whole.
    field: String,
    message: String,
}

impl From<Event> for TriggerEventView {
    fn from(event: Event) -> Self {
        let (outcome, started, problems) = match event.outcome {
            Outcome::Started(started) => ("accepted", Some(started), Vec::new()),
            Outcome::Filtered => ("filtered", None, Vec::new()),
            Outcome::Failed(problems) => ("failed", None, problems),
        };
        let (run_id, batch_id) = started.map(hooks::ids).unwrap_or_default();
        let problems = problems.into_iter().map(|(field, message)| ProblemView { field, message }).collect();
        let received_at = event.received_at.rfc3339();
        Self { event_id: event.event_id, received_at, outcome, run_id, batch_id, problems }
    }
}

/// What an event would come to.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct TestedView {
    /// `run`, `batch`, `filtered` or `failed`.
    would: &'static str,
    /// What a run would be told.
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    /// How many items a batch would have.
    count: Option<usize>,
    /// The first 20 of them.
    items: Vec<TestedItemView>,
    /// What is wrong.
    problems: Vec<ProblemView>,
}

/// An item that a batch would have.
#[derive(Debug, Serialize, JsonSchema)]
struct TestedItemView {
    custom_id: Option<String>,
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
}

fn said(prompt: Prompt) -> (Option<String>, Option<Map<String, Value>>) {
    match prompt {
        Prompt::Message(message) => (Some(message), None),
        Prompt::Inputs(inputs) => (None, Some(inputs)),
    }
}

impl From<Tested> for TestedView {
    fn from(tested: Tested) -> Self {
        match tested {
            Tested::Filtered => Self { would: "filtered", ..Self::default() },
            Tested::Run(prompt) => {
                let (message, inputs) = said(prompt);
                Self { would: "run", message, inputs, ..Self::default() }
            }
            Tested::Batch(count, items) => {
                let item = |(custom_id, prompt)| {
                    let (message, inputs) = said(prompt);
                    TestedItemView { custom_id, message, inputs }
                };
                let items = items.into_iter().map(item).collect();
                Self { would: "batch", count: Some(count), items, ..Self::default() }
            }
            Tested::Failed(problems) => {
                let view = |Problem { field, message }| ProblemView { field, message };
                Self { would: "failed", problems: problems.into_iter().map(view).collect(), ..Self::default() }
            }
        }
    }
}
