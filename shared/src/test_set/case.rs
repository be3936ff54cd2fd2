//! Cases: what may be in one, how many may come at once, and which go into one row.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Validation;
use crate::{
    app::App,
    error::{Error, Problem, Result},
    provider,
    run::{MESSAGE_LIMIT_BYTES, Prompt},
    store::{chunk, test_sets::Cases},
    tenant::Tenant,
};

/// The most cases that are added at once, and the most bytes of JSON that they may have: what one transaction of the store takes.
pub const ADDED_LIMIT: usize = 1_000;
/// See [`ADDED_LIMIT`].
pub const ADDED_LIMIT_BYTES: usize = 3 * 1024 * 1024;
/// The most validations of a case.
pub const VALIDATIONS_LIMIT: usize = 20;

/// The longest id that a caller may give to a case, in characters.
const CUSTOM_ID_CHARS: usize = 64;

/// A case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The caller's own id of it: 1 to 64 characters. Nothing is looked up by it, so two may have the same.
    pub custom_id: Option<String>,
    /// What the agent is told.
    pub prompt: Prompt,
    /// What must hold of its answer: all of 1 to [`VALIDATIONS_LIMIT`].
    pub validations: Vec<Validation>,
}

/// Cases that are checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) cases: Vec<Case>,
    pub(super) bytes: usize,
}

fn length(case: &Case) -> usize {
    serde_json::to_string(case).map_or(0, |text| text.len())
}

/// Refuses a model that a validation names and that cannot be called.
async fn check_models(app: &App, tenant: Tenant, cases: &[Case], field: &str) -> Result<()> {
    let mut known = HashSet::new();
    for (case, of) in cases.iter().enumerate() {
        for (index, validation) in of.validations.iter().enumerate() {
            let Some((named, model)) = validation.kind.names_model() else { continue };
            if known.insert(model) {
                let field = format!("{field}[{case}].validations[{index}].{named}");
                provider::resolve(app, tenant, &field, model).await?;
            }
        }
    }
    Ok(())
}

impl Checked {
    /// The cases; `field` is what they are in the request, as in `items[3].validations`.
    pub(super) async fn new(app: &App, tenant: Tenant, cases: Vec<Case>, field: &str) -> Result<Self> {
        if cases.len() > ADDED_LIMIT {
            let message = format!("must be at most {ADDED_LIMIT} at once, not {}", cases.len());
            return Err(Error::invalid(field, message));
        }
        let mut problems = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            problems.extend(case.problems(&format!("{field}[{index}]")));
            // Others go on meanwhile: a thousand cases can have many large patterns.
            tokio::task::yield_now().await;
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        check_models(app, tenant, &cases, field).await?;
        let bytes = cases.iter().map(length).fold(0, usize::saturating_add);
        if bytes > ADDED_LIMIT_BYTES {
            return Err(Error::invalid(field, format!("must be at most {ADDED_LIMIT_BYTES} bytes of JSON at once")));
        }
        Ok(Self { cases, bytes })
    }
}

impl Case {
    /// Whether it can be read again, within its row: a body that can be read may be written a little deeper.
    fn can_be_read(&self) -> bool {
        let text = serde_json::to_string(&[[[self]]]);
        text.is_ok_and(|text| serde_json::from_str::<Value>(&text).is_ok())
    }

    fn problems(&self, at: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, message: String| {
            problems.push(Problem { field: format!("{at}.{field}"), message });
        };
        if self.custom_id.as_ref().is_some_and(|id| id.is_empty() || id.chars().count() > CUSTOM_ID_CHARS) {
            wrong("custom_id", format!("must be 1 to {CUSTOM_ID_CHARS} characters long"));
        }
        match &self.prompt {
            Prompt::Message(text) if text.trim().is_empty() => wrong("message", "must not be empty".to_owned()),
            Prompt::Message(text) if text.len() > MESSAGE_LIMIT_BYTES => {
                wrong("message", format!("must be at most {MESSAGE_LIMIT_BYTES} bytes long"));
            }
            Prompt::Message(_) | Prompt::Inputs(_) => {}
        }
        if !(1..=VALIDATIONS_LIMIT).contains(&self.validations.len()) {
            wrong("validations", format!("must be 1 to {VALIDATIONS_LIMIT}, not {}", self.validations.len()));
        }
        let each = self.validations.iter().take(VALIDATIONS_LIMIT).enumerate();
        problems.extend(each.filter_map(|(index, one)| one.problem(&format!("{at}.validations[{index}]"))));
        if !self.can_be_read() {
            problems.push(Problem { field: at.to_owned(), message: "is nested too deeply".to_owned() });
        }
        problems
    }
}

/// The rows of new cases, the first of which has that number.
pub(super) fn rows(mut first: usize, cases: &[Case]) -> Vec<(Cases, usize)> {
    let mut rows = Vec::new();
    for cases in chunk::parts(cases.to_vec(), length).into_iter().filter(|cases| !cases.is_empty()) {
        let (count, bytes) = (cases.len(), cases.iter().map(length).fold(0, usize::saturating_add));
        rows.push((Cases { first, cases }, bytes));
        first = first.saturating_add(count);
    }
    rows
}
