//! Test sets: cases, each with what an agent is told and what must hold of its answer. A set only grows: what its first cases are stays as it
//! is, so that whoever remembers how many there were knows which.

mod case;
mod validation;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::case::{Checked, rows};
pub(crate) use self::validation::compiled;
pub use self::{
    case::{ADDED_LIMIT, ADDED_LIMIT_BYTES, Case, VALIDATIONS_LIMIT},
    validation::{Kind, PATTERN_LIMIT_BYTES, Validation},
};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Problem, Result},
    id::{OrgId, RunId, TestSetId},
    idempotency::Claim,
    message::Record,
    page::{Page, PageRequest},
    random,
    run::{self, Prompt},
    store::{self, Versioned},
    tenant::{Caller, Scope, Tenant},
};

/// The most cases of a set.
pub const CASES_LIMIT: usize = 10_000;
/// The most bytes of JSON that the cases of a set may have together.
pub const SET_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// The longest name of a set, and the longest description, in characters.
pub const NAME_LIMIT: usize = 200;
/// See [`NAME_LIMIT`].
pub const DESCRIPTION_LIMIT: usize = 2_000;

/// How many bytes of cases a page has, unless its first row of them has more: less than what a Lambda function can answer.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How often a set's row is read again when others write it at the same time.
const TRIES: u32 = 10;

/// A test set, without its cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSet {
    /// Its id.
    pub id: TestSetId,
    pub(crate) org: OrgId,
    /// What its owner calls it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How many cases it has.
    pub cases: usize,
    /// How many bytes of JSON they have.
    pub(crate) bytes: usize,
    /// When it was made.
    pub created_at: Timestamp,
    /// When cases were added last.
    pub updated_at: Timestamp,
    /// It is being deleted, and there for nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl TestSet {
    /// The set with these cases too.
    fn with(&self, added: &Checked, now: Timestamp, field: &str) -> Result<Self> {
        let cases = self.cases.saturating_add(added.cases.len());
        let bytes = self.bytes.saturating_add(added.bytes);
        if cases > CASES_LIMIT {
            let message = format!("the set has {} cases, and may have at most {CASES_LIMIT}", self.cases);
            return Err(Error::invalid(field, message));
        }
        if bytes > SET_LIMIT_BYTES {
            let message = format!("the cases of a set may have at most {SET_LIMIT_BYTES} bytes of JSON together");
            return Err(Error::invalid(field, message));
        }
        Ok(Self { cases, bytes, updated_at: now, ..self.clone() })
    }
}

/// A set that is checked and has its id, not yet kept: see [`create`].
#[derive(Debug)]
pub struct Planned {
    set: TestSet,
    cases: Vec<Case>,
}

impl Planned {
    /// The set as it will be.
    #[must_use]
    pub const fn set(&self) -> &TestSet {
        &self.set
    }

    /// Its cases.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }
}

/// Checks a set and its first cases, of which there may be none. `field` is what they are called in the request.
///
/// # Errors
/// [`Error::Invalid`] naming what is wrong; [`Error::Forbidden`].
pub async fn plan(
    app: &App,
    caller: &Caller,
    (name, description): (String, String),
    cases: Vec<Case>,
    field: &str,
) -> Result<Planned> {
    caller.require(Scope::RunsWrite)?;
    let mut problems = Vec::new();
    if !(1..=NAME_LIMIT).contains(&name.chars().count()) {
        let message = format!("must be 1 to {NAME_LIMIT} characters long");
        problems.push(Problem { field: "name".to_owned(), message });
    }
    if description.chars().count() > DESCRIPTION_LIMIT {
        let message = format!("must be at most {DESCRIPTION_LIMIT} characters long");
        problems.push(Problem { field: "description".to_owned(), message });
    }
    let checked = match Checked::new(cases, field).await {
        Ok(checked) if problems.is_empty() => checked,
        Ok(_) => return Err(Error::Invalid(problems)),
        Err(Error::Invalid(more)) => {
            problems.extend(more);
            return Err(Error::Invalid(problems));
        }
        Err(error) => return Err(error),
    };
    let now = app.now();
    let (id, org) = (TestSetId::new(now), caller.tenant().org());
    let set =
        TestSet { id, org, name, description, cases: 0, bytes: 0, created_at: now, updated_at: now, deleted: false };
    Ok(Planned { set: set.with(&checked, now, field)?, cases: checked.cases })
}

/// Keeps the set with its cases, all of it or nothing.
///
/// # Errors
/// [`Error::InProgress`] when a request with the same idempotency key was faster; as the store says.
pub async fn create(app: &App, planned: Planned, claim: Claim) -> Result<TestSet> {
    let Planned { set, cases } = planned;
    match app.store().save_test_set(&set, None, &rows(0, &cases), claim.write(app, None)?).await {
        Ok(()) => Ok(set),
        Err(store::Error::Conflict { .. }) => Err(Claim::in_progress()),
        Err(error) => Err(error.into()),
    }
}

/// Adds cases to the set, all of them or none. `field` is what they are called in the request; `claim` is the claim with the answer for the
/// set as it will be.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`] naming what is wrong; [`Error::InProgress`] as [`create`].
pub async fn add(
    app: &App,
    caller: &Caller,
    id: TestSetId,
    (cases, field): (Vec<Case>, &str),
    claim: impl Fn(&TestSet) -> Claim,
) -> Result<TestSet> {
    caller.require(Scope::RunsWrite)?;
    let mut seen = found(app, caller.tenant(), id).await?;
    let added = Checked::new(cases, field).await?;
    if added.cases.is_empty() {
        return Err(Error::invalid(field, "must be at least one"));
    }
    for attempt in 1..=TRIES {
        let set = seen.value.with(&added, app.now(), field)?;
        let (rows, claim) = (rows(seen.value.cases, &added.cases), claim(&set).write(app, None)?);
        match app.store().save_test_set(&set, Some(seen.rev), &rows, claim).await {
            Ok(()) => return Ok(set),
            Err(store::Error::Conflict { index: 0 }) => random::pause(attempt).await,
            Err(store::Error::Conflict { .. }) => return Err(Claim::in_progress()),
            Err(error) => return Err(error.into()),
        }
        seen = found(app, caller.tenant(), id).await?;
    }
    Err(Error::Unavailable("the test set is being written all the time".into()))
}

/// The case that a run makes: told what it was told, the answer must be exactly that, or the run's own when nothing is expected.
///
/// # Errors
/// [`Error::NotFound`] for the run; [`Error::Invalid`] naming `run_id` when it was told something that a case cannot have: files, or a chat
/// that went before; [`Error::Conflict`] when nothing is expected and the run has no answer.
pub async fn case_of_run(app: &App, caller: &Caller, id: RunId, expected: Option<Value>) -> Result<Case> {
    caller.require(Scope::RunsRead)?;
    let run = run::get(app, caller, id).await?;
    if run.chat_id != run.id {
        return Err(Error::invalid("run_id", "goes on with a chat, which a case cannot have"));
    }
    let slot = app.store().slots(caller.tenant(), &[(id, 0)]).await?.pop().flatten();
    let Some(Record::Input { text, inputs, attachments }) = slot.map(|slot| slot.record) else {
        return Err(Error::Internal("the input of a run is missing".into()));
    };
    if !attachments.is_empty() {
        return Err(Error::invalid("run_id", "was told something with files, which a case cannot have"));
    }
    let expected = match expected {
        Some(expected) => expected,
        None => run::output(app, caller, &run).await?.map(Value::String).ok_or_else(|| {
            Error::Conflict("the run has not ended well, so what is expected must be given".to_owned())
        })?,
    };
    let validation = Validation { id: None, kind: Kind::Exact { expected } };
    let prompt = inputs.map_or(Prompt::Message(text), Prompt::Inputs);
    Ok(Case { custom_id: None, prompt, validations: vec![validation] })
}

/// The set.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(app: &App, caller: &Caller, id: TestSetId) -> Result<TestSet> {
    caller.require(Scope::RunsRead)?;
    Ok(found(app, caller.tenant(), id).await?.value)
}

/// The set, whatever the caller may look at.
pub(crate) async fn found(app: &App, tenant: Tenant, id: TestSetId) -> Result<Versioned<TestSet>> {
    let found = app.store().test_set(tenant, id).await?;
    found.filter(|set| !set.value.deleted).ok_or(Error::NotFound("test set"))
}

/// The organisation's test sets, newest first. A page may be short while more follow.
///
/// # Errors
/// [`Error::Invalid`] for a cursor of another list.
pub async fn list(app: &App, caller: &Caller, page: &PageRequest) -> Result<Page<TestSet>> {
    caller.require(Scope::RunsRead)?;
    let before = page.position("test_sets")?;
    let (mut sets, next) = app.store().test_sets(caller.tenant(), before, page.limit).await?;
    sets.retain(|set| !set.deleted);
    Ok(Page::new(sets, next.as_deref(), "test_sets"))
}

/// The set's cases with their numbers, in the order in which they were added. A page is short when its cases are large.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`] for a cursor of another list.
pub async fn cases(app: &App, caller: &Caller, id: TestSetId, page: &PageRequest) -> Result<Page<(usize, Case)>> {
    let set = get(app, caller, id).await?;
    let of = format!("cases/{id}");
    let after = page.position(&of)?.and_then(|position| position.parse::<usize>().ok());
    let from = after.map_or(0, |after| after.saturating_add(1));
    let cases = cases_from(app, &set, from, page.limit).await?;
    let last = cases.last().map(|(number, _)| *number).filter(|last| last.saturating_add(1) < set.cases);
    Ok(Page::new(cases, last.map(|last| last.to_string()).as_deref(), &of))
}

/// The set with its cases from number `from` on, at most `most`: all together have at most [`SET_LIMIT_BYTES`].
///
/// # Errors
/// [`Error::NotFound`].
pub async fn with_cases(
    app: &App,
    caller: &Caller,
    id: TestSetId,
    from: usize,
    most: usize,
) -> Result<(TestSet, Vec<Case>)> {
    let set = get(app, caller, id).await?;
    let cases = cases_of(app, &set, from, most).await?;
    Ok((set, cases))
}

/// The set's cases from number `from` on, at most `most`, whatever the caller may look at.
pub(crate) async fn some_cases(
    app: &App,
    tenant: Tenant,
    id: TestSetId,
    from: usize,
    most: usize,
) -> Result<Vec<Case>> {
    cases_of(app, &found(app, tenant, id).await?.value, from, most).await
}

async fn cases_of(app: &App, set: &TestSet, from: usize, most: usize) -> Result<Vec<Case>> {
    let (mut cases, mut next) = (Vec::new(), from);
    while cases.len() < most {
        let found = cases_from(app, set, next, most.saturating_sub(cases.len())).await?;
        let Some((last, _)) = found.last() else { break };
        next = last.saturating_add(1);
        cases.extend(found.into_iter().map(|(_, case)| case));
    }
    Ok(cases)
}

/// The set's cases from number `from` on, at most `most`, and fewer when they are large; at least one, if there is one.
pub(crate) async fn cases_from(app: &App, set: &TestSet, from: usize, most: usize) -> Result<Vec<(usize, Case)>> {
    let (tenant, end) = (Tenant::of(set.org), from.saturating_add(most).min(set.cases));
    if from >= end {
        return Ok(Vec::new());
    }
    let mut places = app.store().case_places(tenant, set.id, from, end).await?;
    let (mut bytes, mut number) = (0_usize, 0_usize);
    places.retain(|place| {
        bytes = bytes.saturating_add(place.bytes);
        number = number.saturating_add(1);
        number == 1 || bytes <= PAGE_BYTES
    });
    let mut cases = app.store().cases(tenant, set.id, &places).await?;
    cases.retain(|(number, _)| (from..end).contains(number));
    // They are written with the set's row: when none is there, the set is gone by now.
    if cases.is_empty() { Err(Error::NotFound("test set")) } else { Ok(cases) }
}

/// Deletes the set with its cases. When this fails, the set is gone or not: the same call again does the rest.
///
/// # Errors
/// [`Error::NotFound`]; as the store says.
pub async fn delete(app: &App, caller: &Caller, id: TestSetId) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    let tenant = caller.tenant();
    for attempt in 1..=TRIES {
        let Versioned { value: set, rev } =
            app.store().test_set(tenant, id).await?.ok_or(Error::NotFound("test set"))?;
        let outcome = if set.deleted {
            app.store().delete_test_set(tenant, id, rev).await
        } else {
            app.store().save_test_set(&TestSet { deleted: true, ..set }, Some(rev), &[], None).await
        };
        match outcome {
            Ok(()) if set.deleted => return Ok(()),
            Ok(()) => {}
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the test set is being written all the time".into()))
}
