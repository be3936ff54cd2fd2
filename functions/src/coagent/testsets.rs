//! Test sets on CoAgent's surface. The shape of a case is the vendor's validations within our own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    App, Error, Result, Scope,
    error::Problem,
    id::TestSetId,
    page::{self, PageRequest},
    run::Prompt,
    test_set::{self, Case, TestSet, Validation},
};

use super::part::{self, PartQuery};
use crate::{
    Request, Response, auth, claims, decode, response,
    validations::{self, KindView},
};

/// What the cases are called in requests.
const CASES: &str = "cases";
/// The most test sets of a list: our own limit.
const SETS_LIMIT: usize = 1_000;

/// What a test set shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTestset {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    /// At most 1,000 of 3 MiB together.
    #[schemars(length(max = 1_000), with = "Vec<TestCase>")]
    cases: Vec<Value>,
}

/// A case: what an agent is told, and what must hold of its answer.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestCase {
    /// The caller's own: 1 to 64 characters.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    id: Option<String>,
    /// A message, or an object of inputs.
    input: Value,
    /// All of them must hold: 1 to 20.
    #[schemars(length(min = 1, max = 20))]
    validations: Vec<ValidationView>,
}

/// What must hold of an answer.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ValidationView {
    /// The caller's own: 1 to 64 characters.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    id_validation: Option<String>,
    kind: KindView,
}

/// A test set, without its cases.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TestsetView {
    id: String,
    name: String,
    description: String,
    case_count: usize,
    created_at: String,
}

/// The test sets, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TestsetsView {
    testsets: Vec<TestsetView>,
}

/// A test set with its cases.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WholeTestsetView {
    #[serde(flatten)]
    set: TestsetView,
    cases: Vec<TestCase>,
}

impl From<&TestSet> for TestsetView {
    fn from(set: &TestSet) -> Self {
        Self {
            id: set.id.to_string(),
            name: set.name.clone(),
            description: set.description.clone(),
            case_count: set.cases,
            created_at: set.created_at.rfc3339_seconds(),
        }
    }
}

impl From<Case> for TestCase {
    fn from(case: Case) -> Self {
        let Case { custom_id, prompt, validations } = case;
        let input = match prompt {
            Prompt::Message(text) => Value::String(text),
            Prompt::Inputs(inputs) => Value::Object(inputs),
        };
        let view = |Validation { id, kind }| ValidationView { id_validation: id, kind: KindView::from(kind) };
        Self { id: custom_id, input, validations: validations.into_iter().map(view).collect() }
    }
}

fn case(at: &str, body: TestCase) -> Result<Case, Problem> {
    let TestCase { id, input, validations } = body;
    let prompt = match input {
        Value::String(text) => Prompt::Message(text),
        Value::Object(inputs) => Prompt::Inputs(inputs),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            let message = "must be a message or an object of inputs".to_owned();
            return Err(Problem { field: format!("{at}.input"), message });
        }
    };
    let validation = |ValidationView { id_validation, kind }| Validation { id: id_validation, kind: kind.into() };
    Ok(Case { custom_id: id, prompt, validations: validations.into_iter().map(validation).collect() })
}

/// A problem in the words of this surface, where the core has others.
fn in_our_words(error: Error) -> Error {
    error.with_fields(|field| match field.rsplit_once('.') {
        Some((at, "message" | "inputs")) => format!("{at}.input"),
        Some((at, "custom_id")) => format!("{at}.id"),
        Some((at, "id")) => format!("{at}.id_validation"),
        Some((at, last)) => validations::path(last).map_or(field.to_owned(), |path| format!("{at}.kind.{path}")),
        None => field.to_owned(),
    })
}

pub(super) async fn create_testset(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let CreateTestset { name, description, cases: values } = request.json()?;
        let planned = test_set::plan(app, &caller, (name, description), decode::each_as(CASES, values, case)?, CASES)
            .await
            .map_err(in_our_words)?;
        let cases = planned.cases().iter().cloned().map(TestCase::from).collect();
        let response = response::created(&WholeTestsetView { set: planned.set().into(), cases });
        test_set::create(app, planned, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn list_testsets(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (mut testsets, mut after) = (Vec::new(), None);
    loop {
        let page = test_set::list(app, &caller, &PageRequest::new(Some(page::LIMIT), after)?).await?;
        testsets.extend(page.entries.iter().map(TestsetView::from));
        match page.next {
            Some(next) if testsets.len() < SETS_LIMIT => after = Some(next),
            _ => break,
        }
    }
    testsets.truncate(SETS_LIMIT);
    Ok(response::ok(&TestsetsView { testsets }))
}

pub(super) async fn get_testset(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id: TestSetId = request.id("testset_id")?;
    let part: PartQuery = request.query()?;
    let (set, cases) = test_set::with_cases(app, &caller, id, part.offset(), part.limit()?).await?;
    let whole = WholeTestsetView { set: (&set).into(), cases: cases.into_iter().map(TestCase::from).collect() };
    part::answer(&whole, CASES)
}
