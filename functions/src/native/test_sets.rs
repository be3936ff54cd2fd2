//! Test sets on the native surface.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    App, Caller, Error, Result, Scope,
    error::Problem,
    id::{RunId, TestSetId},
    run::Prompt,
    test_set::{self, Case, TestSet, Validation},
};

use super::views::{ListQuery, PageView, prompt};
use crate::{
    Request, Response, auth, claims, decode, response,
    validations::{self, KindView},
};

/// What the cases are called in requests.
const ITEMS: &str = "items";

/// What a test set shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTestSet {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    /// Its first cases: at most 1,000 of 3 MiB together. More can be added.
    #[schemars(length(max = 1_000), with = "Vec<CaseBody>")]
    #[serde(default)]
    items: Vec<Value>,
}

/// What is added to a test set: `items`, and after them the case that the run of `run_id` makes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddCases {
    /// At most 1,000 cases of 3 MiB together.
    #[schemars(length(max = 1_000), with = "Vec<CaseBody>")]
    #[serde(default)]
    items: Vec<Value>,
    /// A run that was told no files and goes on with no chat: what it was told is the case's. Needs the right to read runs.
    run_id: Option<String>,
    /// What its answer must be, as in `exact`: the run's own answer unless given.
    expected: Option<Value>,
    /// Your own id of the case that the run makes.
    #[schemars(length(min = 1, max = 64))]
    custom_id: Option<String>,
}

/// A case: a `message` or `inputs`, and what must hold of the answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseBody {
    /// Your own id of it: 1 to 64 characters.
    #[schemars(length(min = 1, max = 64))]
    custom_id: Option<String>,
    /// What an agent is told.
    message: Option<String>,
    /// Inputs by name.
    inputs: Option<Map<String, Value>>,
    /// All of them must hold: 1 to 20.
    #[schemars(length(min = 1, max = 20))]
    validations: Vec<KindView>,
}

/// A test set, without its cases.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TestSetView {
    id: String,
    name: String,
    description: String,
    /// How many cases it has: at most 10,000, of 16 MiB together.
    items: usize,
    created_at: String,
    /// When cases were added last.
    updated_at: String,
}

impl From<&TestSet> for TestSetView {
    fn from(set: &TestSet) -> Self {
        Self {
            id: set.id.prefixed(),
            name: set.name.clone(),
            description: set.description.clone(),
            items: set.cases,
            created_at: set.created_at.rfc3339(),
            updated_at: set.updated_at.rfc3339(),
        }
    }
}

/// A case.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CaseView {
    /// Its number in the set, from 0: it never changes.
    index: usize,
    custom_id: Option<String>,
    message: Option<String>,
    inputs: Option<Map<String, Value>>,
    validations: Vec<KindView>,
}

impl CaseView {
    fn new((index, case): (usize, Case)) -> Self {
        let Case { custom_id, prompt, validations } = case;
        let (message, inputs) = match prompt {
            Prompt::Message(message) => (Some(message), None),
            Prompt::Inputs(inputs) => (None, Some(inputs)),
        };
        let validations = validations.into_iter().map(|validation| validation.kind.into()).collect();
        Self { index, custom_id, message, inputs, validations }
    }
}

fn case(at: &str, body: CaseBody) -> Result<Case, Problem> {
    let CaseBody { custom_id, message, inputs, validations } = body;
    let validations = validations.into_iter().map(|kind| Validation { id: None, kind: kind.into() }).collect();
    Ok(Case { custom_id, prompt: prompt(at, message, inputs)?, validations })
}

/// A problem with the field where bodies have it.
fn in_our_words(error: Error) -> Error {
    error.with_fields(|field| match field.rsplit_once('.') {
        Some((at, last)) => validations::path(last).map_or(field.to_owned(), |path| format!("{at}.{path}")),
        None => field.to_owned(),
    })
}

/// The cases that are to be added.
async fn added(app: &App, caller: &Caller, body: AddCases) -> Result<Vec<Case>> {
    let AddCases { items, run_id, expected, custom_id } = body;
    let mut cases = decode::each_as(ITEMS, items, case)?;
    let Some(id) = run_id else {
        let of_a_run = [("expected", expected.is_some()), ("custom_id", custom_id.is_some())];
        return match of_a_run.into_iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(Error::invalid(field, "is said of a run: run_id is missing")),
            None => Ok(cases),
        };
    };
    let id = RunId::parse_prefixed(&id).map_err(|_| Error::NotFound("run"))?;
    let case = test_set::case_of_run(app, caller, id, expected).await?;
    cases.push(Case { custom_id, ..case });
    Ok(cases)
}

pub(super) async fn create_test_set(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let CreateTestSet { name, description, items } = request.json()?;
        let planned = test_set::plan(app, &caller, (name, description), decode::each_as(ITEMS, items, case)?, ITEMS)
            .await
            .map_err(in_our_words)?;
        let response = response::created(&TestSetView::from(planned.set()));
        test_set::create(app, planned, claims::answered(claim, &response)).await?;
        Ok(response)
    })
    .await
}

pub(super) async fn list_test_sets(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = test_set::list(app, &caller, &page).await?;
    Ok(response::ok(&PageView::of(page, |set| TestSetView::from(&set))))
}

pub(super) async fn get_test_set(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let set = test_set::get(app, &caller, request.id("test_set_id")?).await?;
    Ok(response::ok(&TestSetView::from(&set)))
}

pub(super) async fn delete_test_set(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    test_set::delete(app, &caller, request.id("test_set_id")?).await?;
    Ok(response::no_content())
}

pub(super) async fn add_test_cases(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let id: TestSetId = request.id("test_set_id")?;
    claims::once(app, &caller, &request, Scope::RunsWrite, async |claim| {
        let added = added(app, &caller, request.json()?).await?;
        let answer = |set: &TestSet| response::ok(&TestSetView::from(set));
        let set = test_set::add(app, &caller, id, (added, ITEMS), |set| claims::answered(claim.clone(), &answer(set)))
            .await
            .map_err(in_our_words)?;
        Ok(answer(&set))
    })
    .await
}

pub(super) async fn list_test_cases(app: &App, request: Request) -> Result<Response> {
    let caller = auth::caller(app, &request).await?;
    let (page, _) = request.query::<ListQuery>()?.page()?;
    let page = test_set::cases(app, &caller, request.id("test_set_id")?, &page).await?;
    Ok(response::ok(&PageView::of(page, CaseView::new)))
}
