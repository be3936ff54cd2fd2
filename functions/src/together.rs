//! Several agents changed together: the same on every surface that offers it, but for the words. Knows no surface.

use std::{marker::PhantomData, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use shared::{
    App, Caller, Error, Result,
    agent::{self, AgentVersion, Change, Draft, Unknown},
    error::Problem,
    id::AgentId,
};

use crate::{Request, decode};

/// What is done about agents that are not there: our own addition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateQuery {
    /// Whether one that is not there is a 404 for the whole; it is left out unless given.
    #[serde(default)]
    strict: bool,
}

/// What shall change about several agents, each as for one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateAgents")]
pub(crate) struct UpdateAgents<T> {
    /// 1 to 200, each for another agent.
    #[schemars(with = "Vec<UpdateItem<T>>", length(min = 1, max = 200))]
    items: Vec<Value>,
    #[serde(skip)]
    change: PhantomData<fn() -> T>,
}

/// What shall change about one of several agents.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "UpdateItem")]
struct UpdateItem<T> {
    /// Which agent.
    id: String,
    #[schemars(flatten)]
    change: T,
}

/// How a surface writes ids, and what its changes do to an agent.
#[derive(Debug)]
pub(crate) struct Words<T> {
    /// The id that is written so, if one is.
    pub(crate) id: fn(&str) -> Option<AgentId>,
    /// Edits what the agent is.
    pub(crate) apply: fn(&T, &mut Draft) -> Result<()>,
}

/// Changes what the body names, all or nothing; those that are there, as they are now, in the order of the request.
pub(crate) async fn update<T: DeserializeOwned + Send + Sync>(
    app: &App,
    caller: &Caller,
    request: &Request,
    words: Words<T>,
) -> Result<Vec<Arc<AgentVersion>>> {
    let UpdateQuery { strict } = request.query()?;
    let UpdateAgents::<T> { items, .. } = request.json()?;
    let items = items_of::<T>(items)?;
    let changes: Vec<Change<'_>> = items
        .iter()
        .map(|item| Change { id: (words.id)(&item.id), apply: Box::new(|draft| (words.apply)(&item.change, draft)) })
        .collect();
    let unknown = if strict { Unknown::Refused } else { Unknown::LeftOut };
    agent::update_many(app, caller, &changes, unknown).await
}

/// Each object's `id` and what is beside it; everything that is wrong is named, below `items`.
fn items_of<T: DeserializeOwned>(mut values: Vec<Value>) -> Result<Vec<UpdateItem<T>>> {
    let mut problems = Vec::new();
    let mut ids = Vec::with_capacity(values.len());
    for (index, value) in values.iter_mut().enumerate() {
        let Some(fields) = value.as_object_mut() else { continue };
        let message = match fields.remove("id") {
            Some(Value::String(id)) => {
                ids.push(id);
                continue;
            }
            None => "is required",
            Some(_) => "must be a string",
        };
        problems.push(Problem { field: format!("items[{index}].id"), message: message.to_owned() });
    }
    let changes = decode::each("items", values);
    if problems.is_empty() {
        return Ok(ids.into_iter().zip(changes?).map(|(id, change)| UpdateItem { id, change }).collect());
    }
    if let Err(Error::Invalid(more)) = changes {
        problems.extend(more);
    }
    Err(Error::Invalid(problems))
}
