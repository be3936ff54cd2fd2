//! What a trigger says: which events, what the agent is told of them, and on which terms that is started.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Ends, Objects, Source};
use crate::{order::Terms, run::Prompt};

/// What a trigger says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// What its owner calls it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Where its events come from.
    pub source: Source,
    /// Of the source `run`: which ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Ends>,
    /// Of the source `s3`: which objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Objects>,
    /// Whether its events start anything; otherwise it is as if it were not there.
    pub enabled: bool,
    /// An expression that holds for the events that start something; `None`: all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What the agent is told.
    pub told: Told,
    /// Whose runs it starts, and how they differ from what the agent says.
    pub terms: Terms,
    /// What the Cotool surface calls its source, and what it keeps with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cotool: Option<Cotool>,
}

/// What the agent is told of an event. Texts are templates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// A run with this prompt.
    Prompt(Prompt),
    /// A batch: an item for each of what an expression yields, which texts know as `row`.
    Rows {
        /// The expression.
        rows: String,
        /// The item's own id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_id: Option<String>,
        /// What each item's run is told.
        prompt: Prompt,
    },
    /// Of the source `s3` a batch: an item for each row of the object, which texts know as `row`.
    Each {
        /// The item's own id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_id: Option<String>,
        /// What each item's run is told.
        prompt: Prompt,
    },
    /// The event's body as it is: a run's input, or of the source `s3` the rows of the object as items of a batch.
    Body,
}

/// What only the Cotool surface knows of a trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cotool {
    /// What it calls the source.
    pub source: String,
    /// What it keeps with it: nothing here reads it.
    pub config: Map<String, Json>,
}
