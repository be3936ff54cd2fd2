//! What models are asked about the answers of an evaluation, and who of them is needed for that.

use std::{collections::BTreeSet, sync::Arc};

use super::{judge, similarity};
use crate::{
    agent::AgentVersion,
    app::App,
    batch,
    error::{Error, Result},
    model::ModelName,
    provider,
    run::Pinned,
    tenant::Tenant,
    test_set::{Case, Kind},
};

/// The most judged validations that the cases of an evaluation may have together: each is an item of a batch.
const JUDGED_LIMIT: usize = batch::ITEMS_LIMIT;
/// What the test set is called in requests.
const SET: &str = "test_set_id";

/// What a model is asked: about the answer to a case, what a validation of it asks.
pub(super) struct Question<'a> {
    /// The case's number among those that are looked at.
    pub(super) case: usize,
    /// The validation's number.
    pub(super) validation: usize,
    pub(super) answer: &'a str,
    pub(super) about: About<'a>,
    /// The model that the validation names.
    pub(super) model: Option<&'a str>,
}

/// What it is asked.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    /// A judge scores it by these criteria.
    Criteria(&'a str),
    /// It is compared with this sentence.
    Sentence(&'a str),
}

impl<'a> About<'a> {
    /// What a validation asks a model, if it does, and the model that it names.
    fn of(kind: &'a Kind) -> Option<(Self, Option<&'a str>)> {
        match kind {
            Kind::LlmV0 { llm_criteria, model_reference } => {
                Some((Self::Criteria(llm_criteria), model_reference.as_deref()))
            }
            Kind::SemanticSimilarity { sentence, model, .. } => Some((Self::Sentence(sentence), model.as_deref())),
            Kind::Exact { .. } | Kind::ContentMatch { .. } | Kind::JsonSchema { .. } | Kind::ToolCall { .. } => None,
        }
    }
}

/// What models are asked about these answers, in order: the same whoever asks, for answers do not change.
pub(super) fn questions<'a>(cases: &'a [Case], answers: &'a [Option<String>]) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    for (case, (of, answer)) in cases.iter().zip(answers).enumerate() {
        let Some(answer) = answer else { continue };
        for (validation, one) in of.validations.iter().enumerate() {
            if let Some((about, model)) = About::of(&one.kind) {
                questions.push(Question { case, validation, answer, about, model });
            }
        }
    }
    questions
}

/// How many validations of the case a model decides.
pub(super) fn judged(case: &Case) -> usize {
    case.validations.iter().filter(|validation| validation.kind.asks_model()).count()
}

/// Who is needed to decide validations of an evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needed {
    judge: bool,
    comparer: bool,
}

/// Who is needed to decide the validations of these cases.
///
/// # Errors
/// [`Error::Invalid`] when there are too many, or no model does it where none is named; [`Error::UnknownModel`] when one that is named is gone.
pub(super) async fn check(app: &App, tenant: Tenant, cases: &[Case], configurations: &[Pinned]) -> Result<Needed> {
    let number = cases.iter().map(judged).fold(0, usize::saturating_add);
    if number > JUDGED_LIMIT {
        let message = format!("has {number} validations that a model decides, and may have at most {JUDGED_LIMIT}");
        return Err(Error::invalid(SET, message));
    }
    let kinds = || cases.iter().flat_map(|case| &case.validations).map(|validation| &validation.kind);
    let named =
        |(about, model): (About<'_>, Option<&str>)| Some((model?.to_owned(), matches!(about, About::Sentence(_))));
    let models: BTreeSet<(String, bool)> = kinds().filter_map(About::of).filter_map(named).collect();
    for (model, embeds) in models {
        let name = provider::resolve(app, tenant, SET, &model).await?;
        if embeds && !provider::embeds(app, tenant, &name).await? {
            return Err(Error::invalid(SET, format!("compares by '{model}', whose provider has no embeddings")));
        }
    }
    let (mut needed, mut unsaid) = (Needed::default(), Needed::default());
    for (about, model) in kinds().filter_map(About::of) {
        let (needed, unsaid) = match about {
            About::Criteria(_) => (&mut needed.judge, &mut unsaid.judge),
            About::Sentence(_) => (&mut needed.comparer, &mut unsaid.comparer),
        };
        *needed = true;
        *unsaid |= model.is_none();
    }
    for (index, Pinned { model, .. }) in configurations.iter().enumerate() {
        let refused = |what: &str, variable: &str| {
            let message =
                format!("no model may {what} its answers where a validation names none: {variable} is not set");
            Err(Error::invalid(format!("configurations[{index}]"), message))
        };
        if unsaid.judge && app.judge_model(model).is_none() {
            return refused("judge", "MUSTER_JUDGE_MODEL");
        }
        if unsaid.comparer && app.embedding_model(model).is_none() {
            return refused("compare", "MUSTER_EMBEDDING_MODEL");
        }
    }
    Ok(needed)
}

/// Who decides validations of the answers of a configuration, as agents that no list has: a judge, and one that compares.
pub(super) fn agents(app: &App, needed: Needed, pinned: &Pinned) -> [Option<Arc<AgentVersion>>; 2] {
    let (tenant, own, now) = (pinned.tenant, &pinned.model, app.now());
    // Where no other model may do it, each validation names one: that was looked at.
    let or_own = |model: Option<ModelName>| model.unwrap_or_else(|| own.clone());
    let judge = needed.judge.then(|| judge::agent(tenant, or_own(app.judge_model(own)), now));
    let comparer = needed.comparer.then(|| similarity::agent(tenant, or_own(app.embedding_model(own)), now));
    [judge, comparer].map(|agent| agent.map(Arc::new))
}
