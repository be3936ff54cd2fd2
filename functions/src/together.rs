//! Several agents changed together: the same on every surface that offers it, but for the words. Knows no surface.

use std::{marker::PhantomData, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use shared::{
    App, Caller, Error, Result,
    agent::{self, AgentVersion, Change, OfAgent, Unknown},
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

/// Changes that a request asks for, all or nothing.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    items: Vec<UpdateItem<T>>,
    unknown: Unknown,
}

/// What the request asks for.
pub(crate) fn asked<T: DeserializeOwned>(request: &Request) -> Result<Asked<T>> {
    let UpdateQuery { strict } = request.query()?;
    let UpdateAgents::<T> { items, .. } = request.json()?;
    Ok(Asked { items: items_of::<T>(items)?, unknown: if strict { Unknown::Refused } else { Unknown::LeftOut } })
}

impl<T: Send + Sync> Asked<T> {
    /// Does it: `id` reads an id as the surface writes it, `change` says what an item does. Those that are there, as they are now, in the order
    /// of the request.
    pub(crate) async fn done(
        &self,
        app: &App,
        caller: &Caller,
        id: fn(&str) -> Option<AgentId>,
        change: fn(&T) -> Change<'_>,
    ) -> Result<Vec<Arc<AgentVersion>>> {
        let changes: Vec<OfAgent<'_>> = self.items.iter().map(|item| (id(&item.id), change(&item.change))).collect();
        agent::update_many(app, caller, &changes, self.unknown).await
    }
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
